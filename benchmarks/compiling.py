"""What compiling costs beside what it gains: after how many calls a compiled implementation has caught up with its twin."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backends.interface import Implementation
    from benchmarks.records import Record


@dataclass(frozen=True, slots=True)
class Payback:
    """Of one compiled implementation over the cases that its twin did too."""

    compiled: str
    eager: str
    calls: Mapping[str, int | None]
    """Case -> the number of calls after the first from which on compiling has paid; None: never."""
    cached: int = 0
    """In how many of the cases the compiled code was found on the disk: there compiling costs more than was seen."""


def twins(implementations: Mapping[str, Implementation]) -> dict[str, str]:
    """Compiled implementation -> the one in which the framework runs the same function as it stands."""
    eager = {i.function: i.id for i in implementations.values() if i.compile is None}
    return {i.id: eager[i.function] for i in implementations.values() if i.compile and i.function in eager}


def paybacks(records: Sequence[Record], twin: Mapping[str, str]) -> list[Payback]:
    """For each compiled implementation and each case that both timed: after how many calls compiling is worth it."""
    of_cell = {(r.implementation, r.case): r for r in records if r.median_s is not None}
    found: dict[str, dict[str, int | None]] = defaultdict(dict)
    cached: dict[str, int] = defaultdict(int)
    for (implementation, case), compiled in of_cell.items():
        eager = of_cell.get((twin.get(implementation, ""), case))
        if eager is not None and compiled.first_call_s is not None and eager.first_call_s is not None:
            found[implementation][case] = calls_until_paid(compiled, eager)
            cached[implementation] += compiled.first_call_cache == "hit"
    return [Payback(name, twin[name], calls, cached[name]) for name, calls in found.items()]


def calls_until_paid(compiled: Record, eager: Record) -> int | None:
    """(first call compiled - first call eager) / (median eager - median compiled), rounded up; at least 0.

    None, never, where the compiled one is not faster, or not beyond the intervals of the two.
    """
    gained = (eager.median_s or 0.0) - (compiled.median_s or 0.0)
    if gained <= 0 or _low(eager) <= _high(compiled):
        return None
    return max(0, math.ceil(((compiled.first_call_s or 0.0) - (eager.first_call_s or 0.0)) / gained))


def _low(record: Record) -> float:
    return (record.median_s or 0.0) if record.ci_low_s is None else record.ci_low_s


def _high(record: Record) -> float:
    return (record.median_s or 0.0) if record.ci_high_s is None else record.ci_high_s
