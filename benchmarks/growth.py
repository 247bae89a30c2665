"""How time and memory grow with the length: exponents fitted to ladders of cases, and what the next rung would take."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from benchmarks.cases import Case
    from benchmarks.records import Record

FEWEST_RUNGS = 4
"""Cases that differ in nothing but their length make a ladder from this many lengths on."""
_CLEAR_OF_FLOOR = 10.0
"""Points count from this many times the value at the shortest length on: that value is at least the cost of a call."""
_LAST = 4
"""Of those, the longest count: an exponent is about long sequences, and caches bend the curve before."""
_FEWEST_POINTS = 3
_STEEPEST = 3.0


@dataclass(frozen=True, slots=True)
class Fit:
    """A power law over some lengths."""

    exponent: float
    first: int
    """The shortest length that counted."""
    last: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one implementation along one ladder."""

    ladder: str
    """Names of its first and its last case."""
    implementation: str
    time: Fit | None
    """None where too few lengths are clear of what a call costs at any length."""
    memory: Fit | None


def fit(lengths: Sequence[int], values: Sequence[float]) -> Fit | None:
    """The exponent of values ~ length**exponent, by least squares in logarithms over the points that tell it.

    Those at least ten times the value at the shortest length: a constant cost, of which that value is the upper bound, bends
    the exponent by less than 0.1 there. Of these the last four; None where fewer than three are left.

    Args:
        lengths: ascending.
        values: seconds or bytes, one for each length, above 0.

    """
    if not lengths:
        return None
    points = [(n, v) for n, v in zip(lengths, values, strict=True) if v >= _CLEAR_OF_FLOOR * values[0]][-_LAST:]
    if len(points) < _FEWEST_POINTS:
        return None
    x, y = ([math.log(number) for number in numbers] for numbers in zip(*points, strict=True))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    return Fit(slope, points[0][0], points[-1][0])


def expected(lengths: tuple[int, int], values: tuple[float, float], length: int) -> float:
    """The value at a longer length, if it goes on growing as it did between these two.

    At least as the length does, for every key is read; at most as its cube, which only noise makes of two points.
    """
    slope = math.log(values[1] / values[0]) / math.log(lengths[1] / lengths[0])
    return values[1] * (length / lengths[1]) ** min(max(slope, 1.0), _STEEPEST)


def ladders(cases: Iterable[Case], fewest: int = FEWEST_RUNGS) -> list[list[Case]]:
    """Cases that differ in nothing but their length, from short to long: T = S, or S over the same queries.

    The batch is the same in all, or shrinks so that the number of tokens stays, as in the FlashAttention papers. Fewer
    lengths than `fewest` make none.
    """
    cases, found, taken = list(cases), [], set[str]()
    for key in (_same_batch, _same_tokens):
        rungs: dict[Hashable, dict[int, Case]] = defaultdict(dict)
        for case in cases:
            if case.name not in taken:
                rungs[key(case)].setdefault(case.shape.S, case)
        for of_length in rungs.values():
            if len(of_length) >= fewest:
                found.append([of_length[S] for S in sorted(of_length)])
                taken |= {case.name for case in found[-1]}
    return found


def _same_batch(case: Case) -> Hashable:
    return (case.shape.B, *_apart_from_length(case))


def _same_tokens(case: Case) -> Hashable:
    return (case.shape.B * case.shape.T, *_apart_from_length(case))


def _apart_from_length(case: Case) -> tuple[Hashable, ...]:
    shape = case.shape
    queries = "as many as keys" if shape.T == shape.S else shape.T
    rest = (getattr(case, f.name) for f in dataclasses.fields(case) if f.name not in ("name", "source", "shape"))
    return (queries, shape.N, shape.K, shape.H, shape.V, *rest)


def growth(cases: Iterable[Case], records: Sequence[Record]) -> list[Growth]:
    """The exponents of each implementation along each ladder, where at least one of the two can be told."""
    found = []
    for ladder in ladders(cases):
        name = f"{ladder[0].name} to {ladder[-1].name}"
        length = {case.name: case.shape.S for case in ladder}
        of_implementation: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if record.case in length:
                of_implementation[record.implementation].append(record)
        for implementation, own in of_implementation.items():
            time = _fit_of(own, length, lambda record: record.median_s)
            memory = _fit_of(own, length, lambda record: record.peak_memory_bytes)
            if time or memory:
                found.append(Growth(name, implementation, time, memory))
    return found


def _fit_of(
    records: Sequence[Record], length: Mapping[str, int], value: Callable[[Record], float | None]
) -> Fit | None:
    points = sorted((length[r.case], known) for r in records if (known := value(r)))
    return fit([n for n, _ in points], [v for _, v in points])
