"""Time against length: each ladder of a run as a dataset of lines, with the fitted power laws and the machine's limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.problem import InvalidProblem, Semantics, Shape
from benchmarks.cases import Case
from benchmarks.growth import Fit, fit, ladders
from benchmarks.reports.page.cells import limit_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.records import Record
    from benchmarks.reports.page.model import Dataset
    from benchmarks.reports.page.stored_runs import StoredRun

FEWEST_LENGTHS = 2
"""That make a line; an exponent needs more, see benchmarks.growth."""
_NUMBERS = ("S", "seconds", "exponent", "memory_exponent")
_TEXTS = ("ladder", "run", "framework", "implementation", "case", "dtype", "pass", "line", "over")


@dataclass(frozen=True, slots=True)
class Ladder:
    """Cases that differ in nothing but their length."""

    name: str
    """Of its first and last case, and of the run where there are several."""
    lengths: int
    decoding: bool
    """Few queries over a growing cache, rather than as many queries as keys."""


def case_of(record: Record) -> Case | None:
    """The problem of a stored cell; None where its columns describe none."""
    try:
        window = tuple(int(side) if side else None for side in record.window.split(":")) if record.window else None
        semantics = Semantics(record.causal or None, window, record.softcap, record.scale)  # type: ignore[arg-type]  # checked there
        lengths = tuple(map(int, record.kv_lengths.split())) if record.kv_lengths else None
        shape = Shape(**{letter: getattr(record, letter) for letter in "BTSNKHV"})
        return Case(
            record.case,
            shape,
            record.dtype,
            semantics,
            record.mask or None,
            record.bias or None,
            lengths,
            "",
            record.pass_,
        )
    except (InvalidProblem, ValueError):
        return None


def growing(runs: Sequence[StoredRun]) -> tuple[tuple[Ladder, ...], Dataset]:
    """The ladders of all runs, and one row for each point of each line."""
    found: list[Ladder] = []
    rows: list[dict[str, Any]] = []
    for run in runs:
        first = {record.case: record for record in run.records}
        cases = [case for record in first.values() if (case := case_of(record)) is not None]
        by_case: dict[str, list[Record]] = {}
        for record in run.records:
            by_case.setdefault(record.case, []).append(record)
        for rungs in ladders(cases, fewest=FEWEST_LENGTHS):
            records = [record for case in rungs for record in by_case[case.name]]
            if not any(record.median_s for record in records):
                continue
            name = f"{rungs[0].name} to {rungs[-1].name}" + (f" · {run.label}" if len(runs) > 1 else "")
            found.append(Ladder(name, len(rungs), rungs[0].shape.T != rungs[0].shape.S))
            rows += _lines(run, name, records)
    return tuple(found), {name: [row.get(name) for row in rows] for name in (*_TEXTS, *_NUMBERS)}


def _lines(run: StoredRun, ladder: str, records: Sequence[Record]) -> list[dict[str, Any]]:
    place = {"ladder": ladder, "run": run.label, "over": ""}
    rows: list[dict[str, Any]] = []
    of: dict[str, list[Record]] = {}
    limits: dict[int, tuple[float, Record]] = {}
    for record in records:
        if record.median_s is not None:
            of.setdefault(record.implementation, []).append(record)
            limit = limit_s(record, run)
            if limit is not None:
                limits[record.S] = (limit, record)
    for implementation, own in of.items():
        own.sort(key=lambda record: record.S)
        time = fit([r.S for r in own], [r.median_s or 0.0 for r in own])
        weighed = [r for r in own if r.peak_memory_bytes]
        memory = fit([r.S for r in weighed], [float(r.peak_memory_bytes or 0) for r in weighed])
        told = {
            "exponent": time.exponent if time else None,
            "memory_exponent": memory.exponent if memory else None,
            "over": f"{time.first} to {time.last}" if time else "",
        }
        for record in own:
            rows.append({**place, **_of(record), "implementation": implementation, "line": "measured"})
            rows[-1] |= {"S": record.S, "seconds": record.median_s, **told}
        if time:
            line = {**place, "framework": own[0].framework, "implementation": implementation, "line": "fitted", **told}
            rows += [{**line, **_common(own[0]), "S": S, "seconds": s} for S, s in _fitted(time, own)]
    for S, (limit, record) in sorted(limits.items()):
        row = {**place, **_common(record), "case": record.case, "implementation": "limit of the machine"}
        rows.append({**row, "framework": "", "line": "limit", "S": S, "seconds": limit})
    return rows


def _common(record: Record) -> dict[str, Any]:
    return {"dtype": record.dtype, "pass": record.pass_}


def _of(record: Record) -> dict[str, Any]:
    return {"case": record.case, "framework": record.framework, **_common(record)}


def _fitted(found: Fit, records: Sequence[Record]) -> list[tuple[int, float]]:
    """The ends of the power law, through the middle of the points that it was fitted to."""
    points = [(r.S, r.median_s) for r in records if r.median_s and found.first <= r.S <= found.last]
    middle = sum(math.log(s) - found.exponent * math.log(S) for S, s in points) / len(points)
    return [(S, math.exp(middle + found.exponent * math.log(S))) for S in (found.first, found.last)]
