"""What a live comparison is asked to do: two sides, the cells, and how long to look."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.thresholds import Threshold, Thresholds
from benchmarks.harness.process import ROOT, WorkerSpec
from benchmarks.harness.steering import neutral_clears

if TYPE_CHECKING:
    from benchmarks.cases import Case

SIDES = ("A", "B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two: an interpreter, a checkout, plug-ins, variables."""

    name: str
    """One of SIDES."""
    label: str
    """In the user's words: a revision, a path, an implementation."""
    python: str = sys.executable
    root: Path = ROOT
    plugins: tuple[tuple[str, str], ...] = ()
    """(framework, plug-in) for each worker that loads one."""
    neutral: bool = False
    """Whether its environment is cleared of the variables that steer; see benchmarks.harness.steering."""
    variables: tuple[tuple[str, str], ...] = ()
    threads: int | None = None
    """Of each framework, where a quota of CPU time decides; None: as many as it chooses."""
    slowdown: float = 0.0
    """Share of a call's time that is added, by `audit`."""

    def worker(self, framework: str, cpus: tuple[int, ...]) -> WorkerSpec:
        """What the worker of a framework is started from, and on."""
        return WorkerSpec(
            name=f"{self.name}-{framework}",
            framework=framework,
            plugins=tuple(plugin for host, plugin in self.plugins if host == framework),
            python=self.python,
            root=self.root,
            variables=self.variables,
            cleared=neutral_clears() if self.neutral else (),
            cpus=cpus,
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """One cell of a live comparison: a case, and the implementation that each side runs."""

    case: str
    a: str
    b: str
    device: str = "cpu"

    def implementation(self, side: str) -> str:
        """Of side "A" or "B"."""
        return self.a if side == "A" else self.b

    def worker(self, side: str) -> str:
        """Name of the worker that runs it."""
        return f"{side}-{self.implementation(side).partition('/')[0]}"

    @property
    def name(self) -> str:
        """The implementation, or both."""
        return self.a if self.a == self.b else f"{self.b} vs {self.a}"

    def __str__(self) -> str:
        return f"{self.case} {self.name} {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """A resolved request."""

    suite: str
    cases: tuple[Case, ...]
    pairs: tuple[Pair, ...]
    a: Side
    b: Side
    thresholds: Thresholds = dataclasses.field(default_factory=lambda: Thresholds(Threshold(0.02)))
    alpha: float = 0.01
    budget_s: float = 4.0
    """Seconds of measuring per cell and side, at most."""
    epochs: int = 8
    """Fresh pairs of processes, at most: part of the noise belongs to the process."""
    block_s: float = 0.005
    asked: tuple[str, ...] = ()
    """Frameworks that were asked for by name: they must load."""
    cpus: tuple[int, ...] = ()
    """Those that are measured on; none named: all."""
    seed: int = 0
    time_limit_s: float = 180.0
    stops_early: bool = True
    """Whether a clear cell is left alone; `audit` measures some to the end."""

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Those that either side needs."""
        return tuple(dict.fromkeys(i.partition("/")[0] for pair in self.pairs for i in (pair.a, pair.b)))

    def workers(self) -> tuple[WorkerSpec, ...]:
        """All workers of both sides."""
        names = dict.fromkeys(pair.worker(side) for side in SIDES for pair in self.pairs)
        sides = {"A": self.a, "B": self.b}
        return tuple(sides[name[0]].worker(name[2:], self._start_on(name[0])) for name in names)

    def _start_on(self, side: str) -> tuple[int, ...]:
        """Side A starts on other CPUs where there are as many more: imports and preparing take half of the time then."""
        if not self.cpus or side == "B":
            return self.cpus
        others = sorted(os.sched_getaffinity(0) - set(self.cpus))
        return tuple(others[-len(self.cpus) :]) if len(others) >= len(self.cpus) else self.cpus

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the folder."""
        data = dataclasses.asdict(self)
        for side in ("a", "b"):
            data[side]["root"] = str(data[side]["root"])
        return {**data, "cases": [c.to_dict() for c in self.cases]}
