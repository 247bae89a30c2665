"""How many threads the frameworks are asked to use, whether the CPU time that is allowed feeds them, and who uses more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.harness.control_groups import cpu_quota
from benchmarks.harness.cpus import cpus_allowed
from benchmarks.harness.steering import thread_variables, worker_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.harness.state import Event
    from benchmarks.plan import Plan

    Variables = tuple[tuple[str, str], ...]

_OVERRULES: Mapping[str, tuple[str, ...]] = {
    "OPENBLAS_NUM_THREADS": ("GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
    "MKL_NUM_THREADS": ("OMP_NUM_THREADS",),
    "PJRT_NPROC": ("NPROC",),
    "TF_NUM_INTEROP_THREADS": ("TF_NUM_INTRAOP_THREADS",),
}
"""Of those that we set -> others by which a user may have said the same: setting ours would take no notice of his."""
_HEEDED: Mapping[str, tuple[str, ...]] = {
    "numpy": ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
    "tf_keras": ("TF_NUM_INTRAOP_THREADS",),
    "jax": ("PJRT_NPROC", "NPROC"),
    "keras_jax": ("PJRT_NPROC", "NPROC"),
    "torch": ("OMP_NUM_THREADS",),
    "keras_torch": ("OMP_NUM_THREADS",),
    "onnxruntime": ("OMP_NUM_THREADS",),
}
"""Framework -> the variables by which it is asked, the first that is set goes before the others."""
_ASKING = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "PJRT_NPROC", "NPROC",
           "TF_NUM_INTRAOP_THREADS")  # fmt: skip
"""All by which a number is asked for that keeps CPUs busy."""
_CLEARLY = 0.5
"""So much of a thread beyond what was asked for is no accident of measuring: one thread is seen as 1.00 to 1.02."""


def threads_of_quota(cpus: tuple[int, ...] = ()) -> int | None:
    """As many threads as a quota of CPU time feeds, where that is fewer than the CPUs; None: nothing holds them back.

    Frameworks count CPUs, not the quota: with more threads than it feeds, all of them are stopped for part of each period.
    """
    quota = cpu_quota()
    return max(1, int(quota)) if quota is not None and quota < (len(cpus) or cpus_allowed()) else None


def with_threads(
    asked: int | None, cpus: tuple[int, ...], *, neutral: bool, variables: Variables
) -> tuple[int | None, Variables]:
    """Threads of each framework, and the variables that are set for it; what was set by name wins.

    `asked` is for every framework. Where nobody asks and a quota decides, what the user says by his own variables is kept.
    """
    if asked is not None:
        return asked, tuple({**dict(thread_variables(asked)), **dict(variables)}.items())
    threads = threads_of_quota(cpus)
    his = worker_variables(neutral, variables)
    free = [
        (name, value)
        for name, value in thread_variables(threads)
        if not any(known in his for known in (name, *_OVERRULES.get(name, ())))
    ]
    return threads, tuple({**dict(free), **dict(variables)}.items())


def asked_of(framework: str, plan: Plan) -> int | None:
    """How many threads a framework's worker is asked to use, by whomever; None: as many as it chooses."""
    had = worker_variables(plan.neutral, plan.variables)
    told = (_count(had[name]) for name in _HEEDED.get(framework, ()) if name in had)
    return next(told, plan.threads)


def _count(value: str) -> int | None:
    """OMP_NUM_THREADS may name a number for each level of nesting."""
    first = value.partition(",")[0].strip()
    return int(first) if first.isdecimal() and len(first) < 9 and int(first) else None


def thread_notes(
    threads: int | None,
    allowed_cpus: tuple[int, ...],
    *,
    neutral: bool,
    variables: Variables,
    option: str = "",
) -> list[str]:
    """A line for a quota that decides, and one for each number of threads that the CPUs allowed do not feed.

    `threads` and `variables`: as with_threads gave them. `option`: with which the command is told how many, if there is one.
    """
    quota, cpus = cpu_quota(), len(allowed_cpus) or cpus_allowed()
    limit = cpus if quota is None else min(quota, cpus)
    allowed = f"{_cpus(limit)} of time allowed by a quota" if limit < cpus else f"{_cpus(cpus)} may be run on"
    remedy = f"{option} {max(1, int(limit))} fits".lstrip()
    had = worker_variables(neutral, variables)
    asking: dict[int, list[str]] = {}
    for name in _ASKING:
        if (count := _count(had.get(name, ""))) is not None and count > limit:
            asking.setdefault(count, []).append(name)
    notes = []
    if threads is not None and threads <= max(1.0, limit) and limit < cpus:
        notes.append(f"quota: {_cpus(limit)} of time, {cpus} may be run on: {_threads(threads)} each")
    for count, names in asking.items():
        if count == threads and count > max(1.0, limit):
            notes.append(f"{_threads(count)} asked, {allowed}; {remedy}")
        elif count != threads:
            words = " ".join(f"{name}={had[name]}" for name in names)
            notes.append(f"{words} is kept: {_threads(count)} asked, {allowed}; {remedy}")
    return notes


def _cpus(count: float) -> str:
    return f"{count:g} CPU{'' if count == 1 else 's'}"


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def other_than_asked(
    framework: str, plan: Plan, settings: Mapping[str, str], pools: Mapping[str, int]
) -> Iterator[Event]:
    """Events: a framework that says it uses another number of threads than it was asked to; libraries with larger pools.

    `settings`: the framework's own report. `pools`: library -> threads. These only under --threads or a quota, which ask all
    libraries alike.
    """
    asked, found = asked_of(framework, plan), settings.get("threads", "")
    if asked is not None and found.isdecimal() and found != str(asked):
        yield {"event": "threads", "framework": framework, "asked": asked, "found": found}
        return
    if plan.threads is None:
        return
    most = max(plan.threads, asked or 0)
    for library, count in pools.items():
        if count > most:
            yield {"event": "threads", "framework": framework, "asked": most, "found": str(count), "where": library}


def busier_than_asked(framework: str, plan: Plan, busy: float | None) -> Iterator[Event]:
    """An event where clearly more threads did the work of a matmul than the framework was asked to use, whatever it says of
    itself. Fewer is no event: a product may be too small for all of them. `busy`: see busy_threads.
    """
    asked = asked_of(framework, plan)
    if asked is not None and busy is not None and busy > asked + _CLEARLY:
        yield {"event": "threads", "framework": framework, "asked": asked, "found": f"{busy:.1f}", "where": "matmul"}


def threads_line(event: Mapping[str, Any]) -> str:
    """What an event of kind `threads` says, in a sentence."""
    framework, where, told = event["framework"], event.get("where", ""), f"{event['asked']} were asked for"
    if where == "matmul":
        return f"{framework}: {event['found']} threads are busy in its matmul, {told}"
    runs = f"{framework}: {where} has" if where else f"{framework} runs on"
    return f"{runs} {event['found']} threads, {told}"
