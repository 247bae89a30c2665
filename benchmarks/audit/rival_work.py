"""The child's side of a rival's trial: the very call that our own workers time, for another tool to time its own way.

As a script (`python -m benchmarks.audit.rival_work`) it prints the seconds that one call takes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import backends
from backends import execution, registry
from benchmarks import inputs
from benchmarks.cases import Case
from benchmarks.harness.cell import time_calls
from benchmarks.harness.slowdown import ExtraWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIABLE = "ATTNBENCH_RIVAL_WORK"
"""The environment variable that hands the work down: it reaches the workers that a tool starts, too."""
SAYS = "seconds per call: "
"""Begins the line that the script prints: frameworks print, too."""
_ESTIMATE_S = 0.05
_FEWEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be timed: one cell."""

    case: Case
    implementation: str
    device: str = "cpu"
    plugins: tuple[str, ...] = ()
    """Absolute paths, or module:NAME; see backends.plugins."""
    seed: int = 0
    cpus: tuple[int, ...] = ()
    """CPUs that the tool's processes run on; empty = all."""

    def told(self, slowdown: float) -> str:
        """As the value of VARIABLE."""
        return json.dumps({"work": dataclasses.asdict(self), "slowdown": slowdown})


def asked() -> tuple[Work, float]:
    """What this process was asked to time, and the slowdown: the inverse of Work.told."""
    found = json.loads(os.environ[VARIABLE])
    fields = found["work"]
    lists = {name: tuple(fields[name]) for name in ("plugins", "cpus")}
    return Work(**{**fields, **lists, "case": Case.from_dict(fields["case"])}), float(found["slowdown"])


@contextlib.contextmanager
def timed_call() -> Iterator[Callable[[], None]]:
    """The call with the framework's barrier, within the implementation's context, compiled and slowed down as asked.

    Not judged here: the audit times only what its own run has held to the oracle.
    """
    work, slowdown = asked()
    for plugin in work.plugins:
        backends.load_plugin(plugin)
    implementation = registry.implementations()[work.implementation]
    framework = registry.load(implementation.framework)
    problem = inputs.make(work.case, work.seed)
    attend = execution.prepare(implementation, framework, problem, work.case.semantics, work.device).call
    barrier = framework.barrier

    def plain() -> None:
        barrier(attend())

    with implementation.context():
        plain()  # traces and compiles
        if not slowdown:
            yield plain
            return
        extra = ExtraWork(plain, slowdown)

        def slowed() -> None:
            barrier(attend())
            extra()

        yield slowed


def seconds_per_call() -> float:
    """The middle of a few calls: only to size what a rival is asked to do."""
    with timed_call() as call:
        start, seen = time.perf_counter(), list[float]()
        while len(seen) < _FEWEST or time.perf_counter() - start < _ESTIMATE_S:
            seen.append(time_calls(call, lambda _: None, 1))
    return statistics.median(seen)


if __name__ == "__main__":
    print(f"{SAYS}{seconds_per_call()}")
