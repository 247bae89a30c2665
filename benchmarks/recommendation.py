"""Which implementation to use for one problem: what stored runs of this machine say of it, and how sure that is."""

from __future__ import annotations

import importlib.metadata
import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from backends import registry
from benchmarks.comparison.comparability import elsewhere
from benchmarks.comparison.inference import changes, fit_prior, moderate, unpaired
from benchmarks.comparison.readers import read_side
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.harness.environment import machine, machine_slug
from benchmarks.harness.process import ROOT
from benchmarks.harness.steering import worker_variables
from benchmarks.records import Status, describe
from benchmarks.run_folder import DEFAULT_PARENT
from benchmarks.stored_run import read_stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.cases import Case
    from benchmarks.plan import Plan
    from benchmarks.records import Record
    from benchmarks.stored_run import StoredRun

ALPHA = 0.05
"""Chance that any of the others is called slower than the fastest when it is not."""
_ANSWERS = frozenset({Status.OK, Status.INCORRECT, Status.UNSUPPORTED, Status.OUT_OF_MEMORY, Status.TIMEOUT})
"""How a cell has to have ended to answer the question; a crash or an interruption may not come again."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One right implementation."""

    record: Record
    ratio: float
    """Its time over that of the fastest."""
    low: float
    high: float
    """95 % interval of the ratio."""
    alike: bool
    """Whether it cannot be told from the fastest."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an answer comes from."""

    path: Path
    run_id: str
    time: str
    """When it was measured; empty where nobody knows."""
    notes: tuple[str, ...]
    """What has changed since: versions; the machine, where it is another one."""
    measured: bool = False
    """Just now."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer to one question."""

    case: Case
    ranked: tuple[Candidate, ...]
    """From the fastest on."""
    others: tuple[Record, ...]
    """Without a time, and why."""
    source: Source


def find(plan: Plan, runs: Sequence[Path] | None) -> Recommendation | None:
    """What a stored run says of the plan's case, if one of this machine has a row for each of its implementations.

    runs: those to look into, whatever machine they are of, and whether or not they have all implementations; None: all of
    results/runs, and this machine's in results/baselines. Of several, one made with the versions of now, and the latest.

    Raises UnreadableResults for a run that was named and cannot be read, UsageError where none of those that were named
    has timed the problem.
    """
    now = {
        "machine": machine(),
        "python": sys.version.split()[0],
        "variables": worker_variables(plan.neutral, plan.variables),
        "cpus": list(plan.cpus),
    }
    found = []
    for path in _stored_here() if runs is None else runs:
        try:
            stored = read_stored(path)
        except UnreadableResults:
            if runs is not None:
                raise
            continue
        rows = _rows(plan, stored.records)
        strange = (
            elsewhere(stored.environment, now) if stored.environment else ["where it was measured is not recorded"]
        )
        complete = not _lacking(plan, rows)
        if not any(row.status is Status.OK for row in rows) or (runs is None and (strange or not complete)):
            continue
        found.append(_answer(plan, stored, rows, strange))
    if runs is not None and not found:
        raise UsageError(f"no run given has timed this problem: {plan.cases[0].name}; leave --from out to measure it")
    return max(found, key=lambda one: (not one.source.notes, one.source.time), default=None)


def measured(plan: Plan, path: Path, records: Sequence[Record]) -> Recommendation:
    """What a run says that has just ended."""
    return _ranked(plan.cases[0], records, Source(path, path.name, "", (), measured=True))


def _stored_here() -> list[Path]:
    """Folders with a summary, of results/runs and of this machine's baselines."""
    parents = dict.fromkeys((DEFAULT_PARENT, ROOT / DEFAULT_PARENT, ROOT / "results" / "baselines" / machine_slug()))
    files = {file.resolve(): None for parent in parents for file in sorted(parent.glob("*/summary.csv"))}
    return [file.parent for file in files]


def _rows(plan: Plan, records: Sequence[Record]) -> list[Record]:
    """Of the plan's problem, whatever its name there, and of its implementations; each once."""
    case = plan.cases[0]
    wanted = {name: value for name, value in describe(case).items() if name != "case"}
    mine = {
        r.implementation: r
        for r in records
        if r.device == plan.device
        and r.implementation in plan.implementations
        and all(getattr(r, name) == value for name, value in wanted.items())
    }
    return list(mine.values())


def _lacking(plan: Plan, rows: Sequence[Record]) -> list[str]:
    """Implementations that are installed here and have no answer there."""
    answered = {row.implementation for row in rows if row.status in _ANSWERS}
    there = {name for name in plan.frameworks if registry.installed_version(name) is not None}
    return [id for id in plan.implementations if id.partition("/")[0] in there and id not in answered]


def _answer(plan: Plan, stored: StoredRun, rows: Sequence[Record], strange: Sequence[str]) -> Recommendation:
    notes = [f"measured elsewhere: {', '.join(strange)}"] if strange else []
    notes += versions_since(stored.environment, [f for f in plan.frameworks if any(r.framework == f for r in rows)])
    lacking = _lacking(plan, rows)
    notes += [f"nothing there of {', '.join(lacking)}"] if lacking else []
    time = str(stored.environment.get("time", ""))
    return _ranked(plan.cases[0], rows, Source(stored.path, stored.run_id, time, tuple(notes)))


def versions_since(environment: Mapping[str, Any], frameworks: Sequence[str]) -> list[str]:
    """As in: torch 2.12.0 then, 2.13.0 now; for each package of these frameworks whose version was told and is another."""
    found = {}
    for framework in frameworks:
        told = str(environment.get("frameworks", {}).get(framework, {}).get("version", ""))
        then = dict(word.split(" ", 1) for word in told.split(", ") if " " in word)
        for package in registry.entry(framework).packages:
            try:
                now = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                now = "not installed"
            if package in then and then[package] != now:
                found[package] = f"{package} {then[package]} then, {now} now"
    return list(found.values())


def _ranked(case: Case, rows: Sequence[Record], source: Source) -> Recommendation:
    timed = sorted((r for r in rows if r.median_s is not None), key=lambda r: r.median_s or 0.0)
    others = tuple(r for r in rows if r.median_s is None)
    if not timed:
        return Recommendation(case, (), others, source)
    return Recommendation(case, tuple(rank(timed, read_side(source.path).logs)), others, source)


def rank(timed: Sequence[Record], logs: Mapping[Any, Sequence[float]]) -> list[Candidate]:
    """The fastest, then the others with the ratio of their time to its, and whether the two can be told apart.

    By the processes of the run where each cell has several (see comparison.inference; Holm's correction over all); else by
    the intervals of the two medians, which know nothing of what another process would have measured.

    Args:
        timed: rows with a time, from the fastest on.
        logs: of each cell, log seconds per call of its processes.

    """
    best, others = timed[0], timed[1:]
    first = Candidate(best, 1.0, 1.0, 1.0, alike=True)
    if all(len(logs.get(r.key, ())) > 1 for r in timed):
        # The ratio is that of the medians: the logs tell how it scatters, but not at which core speed each framework ran.
        estimates = [
            replace(
                unpaired(logs[best.key], logs[r.key]), log_ratio=math.log((r.median_s or 1.0) / (best.median_s or 1.0))
            )
            for r in others
        ]
        found = changes(moderate(estimates, fit_prior(estimates)), ALPHA)
        told = [Candidate(r, c.ratio, c.low, c.high, alike=c.p > ALPHA) for r, c in zip(others, found, strict=True)]
    else:
        told = [_by_intervals(best, r) for r in others]
    return [first, *told]


def _by_intervals(best: Record, other: Record) -> Candidate:
    ratio = (other.median_s or 1.0) / (best.median_s or 1.0)
    error = math.hypot(_half_width(best), _half_width(other))
    low, high = ratio * math.exp(-error), ratio * math.exp(error)
    return Candidate(other, ratio, low, high, alike=low <= 1)


def _half_width(record: Record) -> float:
    """Of the interval of the median, in logarithms; endless where it is not known."""
    low, high = record.ci_low_s, record.ci_high_s
    return math.log(high / low) / 2 if low and high else math.inf
