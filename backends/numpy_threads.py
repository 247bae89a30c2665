"""NumPy's threads: how many there are, work spread over them while BLAS keeps to one in each, and memory of their own."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@cache
def blas() -> Any:
    """threadpoolctl's controller, or None where it is not installed: backends/ asks for NumPy alone."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return None
    return ThreadpoolController().select(user_api="blas")


@cache
def threads() -> int:
    """Threads that BLAS was told to use (OPENBLAS_NUM_THREADS and the like), else the CPUs this process may run on."""
    controller = blas()
    told = [lib["num_threads"] for lib in controller.info()] if controller is not None else []
    return max(told, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="attention")


def _one_blas_thread() -> AbstractContextManager[Any]:
    """While several of our threads multiply, each BLAS call keeps to its own: nested threads fight for the cores."""
    controller = blas()
    return nullcontext() if controller is None else controller.limit(limits=1)


def mapped(work: Callable[..., T], tasks: Sequence[tuple[Any, ...]], over: int) -> Iterator[T]:
    """What `work` gives for each task, in their order, on several threads where `over` asks for them; the first ones are
    begun first, so let them be the longest.
    """
    size = min(over, len(tasks))
    if size <= 1:
        for task in tasks:
            yield work(*task)
        return
    with _one_blas_thread():
        yield from _pool(size).map(lambda task: work(*task), tasks)


def spread(work: Callable[..., None], tasks: Sequence[tuple[Any, ...]], over: int) -> None:
    """Do every task, as `mapped` does."""
    for _ in mapped(work, tasks, over):
        pass


_OWN = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array of this thread's own, with whatever it held last; the next call with this name gives the same memory.

    Kept, for fresh memory costs: the first touch of each page of 4 KiB took 0.5 to 1 us.
    """
    size = math.prod(shape) * dtype.itemsize
    kept: np.ndarray | None = getattr(_OWN, name, None)
    if kept is None or kept.size < size:
        kept = np.empty(size, np.uint8)
        setattr(_OWN, name, kept)
    return kept[:size].view(dtype).reshape(shape)
