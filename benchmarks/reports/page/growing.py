"""Time and memory against length: the ladders of a run as datasets of lines, with fitted power laws and the machine's limit."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.problem import InvalidProblem, Semantics, Shape
from benchmarks.cases import Case
from benchmarks.growth import Fit, fit, ladders
from benchmarks.reports.page.cells import limit_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.records import Record
    from benchmarks.reports.page.model import Dataset
    from benchmarks.reports.page.stored_runs import StoredRun

FEWEST_LENGTHS = 2
"""That make a line; an exponent needs more, see benchmarks.growth."""
_NUMBERS = ("S", "exponent")
_TEXTS = ("ladder", "run", "framework", "implementation", "case", "dtype", "pass", "line", "over")


@dataclass(frozen=True, slots=True)
class Ladder:
    """Cases that differ in nothing but their length."""

    name: str
    """Of its first and last case, and of the run where there are several."""
    lengths: int
    weighed: int
    """Lengths at which the memory of some implementation is known: of the one for which most are."""
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


def growing(runs: Sequence[StoredRun]) -> tuple[tuple[Ladder, ...], Dataset, Dataset]:
    """The ladders of all runs, and one row for each point of each line: of time (seconds), and of memory (bytes)."""
    found: list[Ladder] = []
    times: list[dict[str, Any]] = []
    memories: list[dict[str, Any]] = []
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
            place = {"ladder": name, "run": run.label, "over": ""}
            times += _lines(place, records, "seconds", lambda record: record.median_s) + _limits(place, run, records)
            weighed = _lines(place, records, "bytes", lambda record: record.peak_memory_bytes or None)
            memories += weighed
            known = Counter(row["implementation"] for row in weighed if row["line"] == "measured")
            decoding = rungs[0].shape.T != rungs[0].shape.S
            found.append(Ladder(name, len(rungs), max(known.values(), default=0), decoding))
    return tuple(found), _dataset(times, "seconds"), _dataset(memories, "bytes")


def _dataset(rows: Sequence[Mapping[str, Any]], quantity: str) -> Dataset:
    return {name: [row.get(name) for row in rows] for name in (*_TEXTS, *_NUMBERS, quantity)}


def _lines(
    place: Mapping[str, str], records: Sequence[Record], quantity: str, value: Callable[[Record], float | None]
) -> list[dict[str, Any]]:
    """What was measured of each implementation, and the power law that fits it."""
    rows: list[dict[str, Any]] = []
    of: dict[str, list[tuple[Record, float]]] = {}
    for record in sorted(records, key=lambda record: record.S):
        if (known := value(record)) is not None:
            of.setdefault(record.implementation, []).append((record, known))
    for implementation, own in of.items():
        points = [(record.S, float(known)) for record, known in own]
        law = fit(*zip(*points, strict=True))
        told = {
            "implementation": implementation,
            "exponent": law.exponent if law else None,
            "over": f"{law.first} to {law.last}" if law else "",
        }
        for record, known in own:
            rows.append({**place, **_of(record), **told, "line": "measured", "S": record.S, quantity: known})
        if law:
            line = {**place, "framework": own[0][0].framework, **_common(own[0][0]), **told, "line": "fitted"}
            rows += [{**line, "S": S, quantity: at} for S, at in _fitted(law, points)]
    return rows


def _limits(place: Mapping[str, str], run: StoredRun, records: Sequence[Record]) -> list[dict[str, Any]]:
    """The least time that the machine's limits allow, at each length that was measured."""
    limits = {r.S: (limit, r) for r in records if r.median_s is not None and (limit := limit_s(r, run)) is not None}
    of = {**place, "implementation": "limit of the machine", "framework": "", "line": "limit"}
    return [
        {**of, **_common(record), "case": record.case, "S": S, "seconds": limit}
        for S, (limit, record) in sorted(limits.items())
    ]


def _common(record: Record) -> dict[str, Any]:
    return {"dtype": record.dtype, "pass": record.pass_}


def _of(record: Record) -> dict[str, Any]:
    return {"case": record.case, "framework": record.framework, **_common(record)}


def _fitted(law: Fit, points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The ends of the power law, through the middle of the points that it was fitted to."""
    own = [(S, value) for S, value in points if law.first <= S <= law.last]
    middle = sum(math.log(value) - law.exponent * math.log(S) for S, value in own) / len(own)
    return [(S, math.exp(middle + law.exponent * math.log(S))) for S in (law.first, law.last)]
