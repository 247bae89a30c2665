"""Variables of the user's environment that hold a framework's matmul back, proven by measuring with and without them.

Each measurement is a fresh worker, for these variables are read when a library is loaded. Where none is set, none is started.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.harness.process import START_LIMIT_S, Worker, WorkerFailed
from benchmarks.harness.session import usual_workers
from benchmarks.harness.steering import KEPT, worker_variables
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.harness.state import Event
    from benchmarks.plan import Plan

    Measure = Callable[[tuple[str, ...]], float | None]
    """Names that are cleared -> the rate without them, GFLOP/s; None where it could not be had."""

_OPENMP = ("GOMP_", "KMP_", "OMP_")
_TRIED: Mapping[str, tuple[str, ...]] = {
    "numpy": ("BLIS_", "GOTO_", "MKL_", "OPENBLAS_", "VECLIB_", *_OPENMP),
    "tf_keras": ("DNNL_", "ONEDNN_", "TF_"),  # its threads are its own, not OpenMP's
    "jax": ("JAX_", "NPROC", "PJRT_", "XLA_"),
    "torch": ("ATEN_", "DNNL_", "MKL_", "ONEDNN_", *_OPENMP),
    "onnxruntime": ("ORT_", *_OPENMP),
}
"""Framework -> prefixes of the variables that its matmul on the CPU may heed. Keras elsewhere computes with its host's."""
_HOSTS = {"keras_jax": "jax", "keras_torch": "torch"}
_NEVER_SLOW = ("JAX_COMPILATION_CACHE", "TF_CPP_", "TF_FORCE_GPU_", "TF_GPU_", "XLA_PYTHON_CLIENT")
"""Logs, caches and GPU memory: not worth the seconds."""
_TOLD_FROM = 0.85
"""A factor below which a handicap is told: matmul's best of several varies by less than this from process to process."""
_ALONE = 6
"""So many variables are tried each alone, in one framework."""
_SIZE = 1024
_SECONDS = 0.3
_LIMIT_S = 60.0


def steering_matmul(framework: str, variables: Iterable[str]) -> tuple[str, ...]:
    """Of these names, those that a framework's matmul may heed."""
    prefixes = _TRIED.get(framework, ())
    return tuple(v for v in variables if v.startswith(prefixes) and not v.startswith(_NEVER_SLOW) and v not in KEPT)


def find_handicaps(names: tuple[str, ...], measure: Measure) -> list[tuple[tuple[str, ...], float, float]]:
    """(names, GFLOP/s with only these, GFLOP/s with none) for each variable that by itself holds the rate back.

    All together come first: where nothing is lost with all of them, two measurements are all. Leaving them out one by one
    would miss OMP_NUM_THREADS=1 beside OPENBLAS_NUM_THREADS=1. Where none alone explains the loss, they are told together.
    """
    free, held = measure(names), measure(())
    if free is None or held is None or held / free >= _TOLD_FROM:
        return []
    # What is said of somebody's environment is measured twice, and the better rate counts.
    free = max(free, measure(names) or 0.0)
    found: list[tuple[tuple[str, ...], float, float]] = []
    for name in names[:_ALONE] if len(names) > 1 else ():
        others = tuple(n for n in names if n != name)
        rate = measure(others)
        if rate is not None and rate / free < _TOLD_FROM:
            rate = max(rate, measure(others) or 0.0)
            if rate / free < _TOLD_FROM:
                found.append(((name,), rate, free))
    if found:
        return found
    held = max(held, measure(()) or 0.0)
    return [(names, held, free)] if held / free < _TOLD_FROM else []


def handicaps(plan: Plan, frameworks: Iterable[str], folder: Path) -> Iterator[Event]:
    """Events: what is tried, each handicap that was proven, and how long it took. `folder`: for the workers' output.

    What the user has set with --env is wished and not tried. On other devices than the CPU nothing is.
    """
    wished = {name for name, _ in plan.variables}
    values = worker_variables(plan.neutral, plan.variables)
    hosts = dict.fromkeys(_HOSTS.get(framework, framework) for framework in frameworks)
    for framework in hosts if plan.device == "cpu" else ():
        names = steering_matmul(framework, (name for name in values if name not in wished))
        if not names:
            continue
        told: dict[str, Any] = {"framework": framework, "variables": list(names)}
        yield {"event": "trying", **told}
        start = time.monotonic()

        def measure(cleared: tuple[str, ...], framework: str = framework) -> float | None:
            return matmul_gflops(plan, framework, cleared, folder)

        for guilty, rate, free in find_handicaps(names, measure):
            set_to = " ".join(f"{name}={values[name]}" for name in guilty)
            rates = {"gflops": rate, "gflops_without": free}
            yield {"event": "handicap", "framework": framework, "variable": set_to, **rates}
        yield {"event": "tried", **told, "seconds": time.monotonic() - start}


def matmul_gflops(plan: Plan, framework: str, cleared: tuple[str, ...], folder: Path) -> float | None:
    """The rate of a framework's float32 matmul in a fresh worker of this plan, without these variables; None if it fails."""
    (usual,) = usual_workers((framework,), cpus=plan.cpus, neutral=plan.neutral, variables=plan.variables)
    spec = replace(usual, cleared=(*usual.cleared, *cleared))
    fields: dict[str, Any] = {"size": _SIZE, "dtype": "float32", "device": "cpu", "seconds": _SECONDS}
    try:
        worker = Worker(spec, folder / f"handicap-{framework}.log")
        try:
            answers = [worker.ask("hello", START_LIMIT_S), worker.ask("matmul", _LIMIT_S, **fields)]
        finally:
            worker.stop()
    except WorkerFailed:
        return None
    return float(answers[1]["gflops"]) if all(a["status"] == Status.OK for a in answers) else None
