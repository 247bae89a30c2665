"""How long a CUDA device works for a call, without what the host takes to ask for it and to learn that it is done.

PyTorch's way is a pair of CUDA events around the call. The device is kept busy until the host has handed over the whole
call, so that no gap in between counts; what an event itself costs does (2 to 3 us on an H200), and so do the pauses between
the kernels of one call. JAX has no events: there CUPTI tells the time of every kernel, and their sum is taken, as tokamax
does. device_clock says which of the two it is.

`is_cold`: the second-level cache is overwritten before each call, as Triton's do_bench does; else the call finds there what
the one before has left.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

EVENTS, KERNELS = "events", "kernels"
_FLUSHES = 2
"""Times the second-level cache: what is written before a cold call."""
_FALLBACK_L2_BYTES = 64 << 20
_CYCLES_PER_S = 2e9
"""No clock of these devices is faster: a pause in cycles is at least as long as it is meant to be."""
_LONGEST_PAUSE_S = 0.02


def torch_events(call: Callable[[], Any], calls: int, *, is_cold: bool) -> list[float]:
    """Seconds on the current CUDA device for each of so many calls of PyTorch's, by its events."""
    import torch

    cuda = torch.cuda
    cuda.synchronize()
    start = time.perf_counter()
    call()
    handed_over_s = time.perf_counter() - start
    cuda.synchronize()
    # The one way to keep a stream busy that needs no memory; PyTorch's own tests and Triton's stand on it.
    pause = functools.partial(cuda._sleep, int(_CYCLES_PER_S * min(2 * handed_over_s, _LONGEST_PAUSE_S)))  # noqa: SLF001
    scratch = _torch_scratch() if is_cold else None
    found = []
    for _ in range(calls):
        begin, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        if scratch is not None:
            scratch.zero_()
        pause()
        begin.record()
        call()
        end.record()
        cuda.synchronize()
        found.append(begin.elapsed_time(end) * 1e-3)
    return found


@functools.cache
def _torch_scratch() -> Any:
    import torch

    size = getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "L2_cache_size", _FALLBACK_L2_BYTES)
    return torch.empty(_FLUSHES * size, dtype=torch.int8, device="cuda")


def jax_kernels(call: Callable[[], Any], calls: int, *, is_cold: bool) -> list[float] | None:
    """Seconds of the kernels of each of so many calls of JAX's, by CUPTI; None where this build of JAX has none, or where the
    calls did not launch the same kernels.
    """
    import jax

    cupti = _cupti()
    if cupti is None:
        return None
    flush = _jax_flush() if is_cold else None
    between = 0
    if flush is not None:
        flush()
        between = len(_kernels(cupti, flush))
    of_one = len(_kernels(cupti, lambda: jax.block_until_ready(call())))

    def every() -> None:
        for _ in range(calls):
            if flush is not None:
                flush()
            jax.block_until_ready(call())

    return sums(_kernels(cupti, every), between, of_one, calls)


def sums(kernels: list[tuple[str, float]], between: int, of_one: int, calls: int) -> list[float] | None:
    """Seconds of each of so many calls of `of_one` kernels, from (name, milliseconds) of all of them in their order, where
    `between` others come before each call; None where they are not as many, or not the same each time.
    """
    step = between + of_one
    if not of_one or len(kernels) != step * calls:
        return None
    each = [kernels[start + between : start + step] for start in range(0, len(kernels), step)]
    names = [name for name, _ in each[0]]
    if any([name for name, _ in own] != names for own in each):
        return None
    return [sum(milliseconds for _, milliseconds in own) * 1e-3 for own in each]


def _kernels(cupti: Any, work: Callable[[], Any]) -> list[tuple[str, float]]:
    cupti._cupti_init()  # noqa: SLF001 - what jax.experimental.mosaic.gpu.profiler stands on, which times compiled functions alone
    try:
        work()
    finally:
        told = cupti._cupti_get_timings(True)  # noqa: SLF001 - the same; True: CUPTI lets go of the process again
    return list(told or [])


def _cupti() -> Any:
    """The extension of JAX's that speaks to CUPTI; None where there is none."""
    try:
        from jax._src.lib import mosaic_gpu
    except ImportError:
        return None
    extension = getattr(mosaic_gpu, "_mosaic_gpu_ext", None)
    return extension if hasattr(extension, "_cupti_init") and hasattr(extension, "_cupti_get_timings") else None


@functools.cache
def _jax_flush() -> Callable[[], Any]:
    """Overwrites the cache: one kernel, without memory of its own once it is compiled."""
    import jax
    import jax.numpy as jnp

    gpu = jax.devices("gpu")[0]
    held = [jax.device_put(jnp.zeros(_FLUSHES * _FALLBACK_L2_BYTES, jnp.int8), gpu)]
    other = jax.jit(lambda array: array + jnp.int8(1), donate_argnums=0)

    def flush() -> None:
        held[0] = jax.block_until_ready(other(held[0]))

    return flush
