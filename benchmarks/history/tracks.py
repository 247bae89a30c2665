"""From runs to series: one per cell, over the runs that may stand in one trend, with its gaps.

Machines, settings that steer speed, suites, problems and threads are never mixed: each combination is a series of its own.
What else a run was made with (versions, commit, Python, kernel) may differ, for that is what a history is about.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.comparability import MACHINE, MEMORY_TOLERANCE, PROBLEM
from benchmarks.harness.environment import machine_slug
from benchmarks.harness.steering import PLACES
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from benchmarks.comparison.side import Key
    from benchmarks.history.runs import Run
    from benchmarks.records import Record

UNKNOWN_MACHINE = "unknown machine"
Conditions = tuple[tuple[str, str], ...]
"""(name, value), sorted."""


class Order(StrEnum):
    """Of the runs."""

    AUTO = "auto"
    """By commit where the runs were measured in another order than that of their commits, otherwise as measured."""
    MEASURED = "measured"
    COMMITTED = "committed"
    """By the time of the commit, runs of one commit as measured."""


@dataclass(frozen=True, slots=True)
class Point:
    """A cell in one run."""

    record: Record | None
    """None: the run does not have it."""

    @property
    def is_timed(self) -> bool:
        """Whether there is a time; otherwise it is a gap."""
        return self.record is not None and self.record.status is Status.OK

    @property
    def status(self) -> str:
        """How it ended, or that it is missing."""
        return "missing" if self.record is None else str(self.record.status)


@dataclass(frozen=True, slots=True)
class Series:
    """A cell over all runs of its track."""

    key: Key
    conditions: Conditions
    """Of the cell: threads, and what its framework's worker had otherwise than all."""
    points: tuple[Point, ...]
    """One for each run."""

    @property
    def latest(self) -> Record:
        """The last row that there is."""
        return next(p.record for p in reversed(self.points) if p.record is not None)


@dataclass(frozen=True, slots=True)
class Track:
    """The runs that stand in one trend, in order, and their cells."""

    machine: str
    suite: str
    conditions: Conditions
    """Beyond the machine's name: hardware, CPUs, variables."""
    runs: tuple[Run, ...]
    series: tuple[Series, ...]
    by_commit: bool
    """Whether runs stand where their commits do, not where they were measured."""

    def when(self, place: int) -> datetime | None:
        """The moment that a run stands for."""
        run = self.runs[place]
        return (run.committed or run.measured) if self.by_commit else run.measured


def tracks(runs: Sequence[Run], order: Order = Order.AUTO) -> list[Track]:
    """Every track, by machine, suite and settings."""
    memory = _memory_classes(runs)
    found: dict[tuple[str, str, Conditions], list[Run]] = defaultdict(list)
    for run in runs:
        machine, conditions = setting_of(run, memory)
        for suite in dict.fromkeys(record.suite for record in run.records.values()):
            found[machine, suite, conditions].append(run)
    return [_track(*place, found[place], order) for place in sorted(found)]


def setting_of(run: Run, memory: Mapping[float, float] | None = None) -> tuple[str, Conditions]:
    """The machine in a word, and under which conditions the whole run was made."""
    environment = run.environment
    machine = environment.get("machine")
    if not machine:
        return UNKNOWN_MACHINE, ()
    found = {f"machine.{name}": str(machine[name]) for name in MACHINE if name in machine}
    if (size := _memory(run)) is not None:
        found["machine.memory_bytes"] = f"{(memory or {}).get(size, size):.0f}"
    found["cpus"] = str(len(environment.get("cpus", ())) or "all")
    variables = environment.get("variables", {})
    found |= {f"variables.{name}": str(value) for name, value in variables.items() if name not in PLACES}
    return machine_slug(machine), tuple(sorted(found.items()))


def _memory(run: Run) -> float | None:
    size = run.environment.get("machine", {}).get("memory_bytes")
    return float(size) if isinstance(size, int | float) and 0 < size < 1e18 else None


def _memory_classes(runs: Iterable[Run]) -> dict[float, float]:
    """Size -> the smallest of those that differ by less than the kernel's own use does."""
    classes: dict[float, float] = {}
    first = last = 0.0
    for size in sorted({size for run in runs if (size := _memory(run)) is not None}):
        if size > last * (1 + MEMORY_TOLERANCE):
            first = size
        classes[size], last = first, size
    return classes


def _track(machine: str, suite: str, conditions: Conditions, runs: list[Run], order: Order) -> Track:
    by_measuring = sorted(runs, key=lambda run: (_stamp(run.measured), run.source))
    by_commit = order is Order.COMMITTED or (order is Order.AUTO and _out_of_order(by_measuring))
    # Python's sort is stable: runs of one commit stay as measured.
    placed = sorted(by_measuring, key=lambda run: _stamp(run.committed or run.measured)) if by_commit else by_measuring
    return Track(machine, suite, conditions, tuple(placed), tuple(_series(placed, suite)), by_commit)


def _out_of_order(runs: Sequence[Run]) -> bool:
    """Whether commits were measured in another order than they were made in: a history made after the fact."""
    stamps = [_stamp(run.committed) for run in runs if run.committed is not None]
    return stamps != sorted(stamps)


def _stamp(time: datetime | None) -> float:
    """Runs whose time nobody knows stand first."""
    return time.timestamp() if time is not None else float("-inf")


def _series(runs: Sequence[Run], suite: str) -> list[Series]:
    found: dict[tuple[Any, ...], dict[int, Record]] = defaultdict(dict)
    for place, run in enumerate(runs):
        for record in run.records.values():
            if record.suite == suite:
                problem = tuple(getattr(record, name) for name in PROBLEM)
                found[record.key, _cell_conditions(run, record), problem][place] = record
    return [
        Series(key, conditions, tuple(Point(rows.get(place)) for place in range(len(runs))))
        for (key, conditions, _), rows in found.items()
    ]


def _cell_conditions(run: Run, record: Record) -> Conditions:
    told = run.environment.get("frameworks", {}).get(record.framework, {})
    found = {"threads": record.threads or _threads(run, record.framework)}
    if record.device != "cpu":
        found["devices"] = str(told.get("devices", ""))
    if "variables" in told:  # runs from before it was recorded are taken for having had what all workers were given
        own, common = told["variables"], run.environment.get("variables", {})
        for name in (own.keys() | common.keys()) - PLACES:
            if own.get(name) != common.get(name):
                found[f"variables.{name}"] = str(own.get(name, "not set"))
    return tuple(sorted(found.items()))


def _threads(run: Run, framework: str) -> str:
    """Of a row that says nothing, because it failed: what the framework's other rows have."""
    rows = (r.threads for r in run.records.values() if r.framework == framework and r.threads)
    settings = run.environment.get("frameworks", {}).get(framework, {}).get("settings", {})
    return next(rows, str(settings.get("threads", "")))
