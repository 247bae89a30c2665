"""What a comparison says, as data: a verdict per cell, what else got worse, and whether the whole is green."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """On the time of one cell, B against A."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    """The interval lies within the threshold."""
    INCONCLUSIVE = "inconclusive"
    """Neither: more measuring would tell."""


class Gate(StrEnum):
    """What is held besides time."""

    STATUS = "status"
    """Ok before, not ok now."""
    ACCURACY = "accuracy"
    MEMORY = "memory"
    MISSING = "missing"


class Exit(IntEnum):
    """Of `compare` and `ab`."""

    GREEN = 0
    REGRESSION = 1
    NOT_COMPARABLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """B's time over A's."""

    ratio: float
    low: float
    high: float
    """95 % interval of the ratio."""
    p: float
    """Of no change, two-sided, corrected over all cells (Holm)."""
    smallest_visible: float
    """The slowdown that this pair would have shown nine times in ten: 0.04 is 4 %."""
    units: int
    """What the statistics stand on: pairs of processes (live), or processes of both sides (stored)."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something besides time that got worse."""

    gate: Gate
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellComparison:
    """One cell."""

    case: str
    implementation: str
    device: str
    pass_: str
    a_s: float | None = None
    b_s: float | None = None
    """Medians; None where that side has no time."""
    change: Change | None = None
    verdict: Verdict | None = None
    """None where there is nothing to judge on both sides."""
    note: str = ""
    """Why there is no verdict, where it is nobody's fault: unsupported on both sides."""
    complaints: tuple[Complaint, ...] = ()
    machine: str = ""
    """Where several are compared."""

    @property
    def is_worse(self) -> bool:
        """Whether this cell makes the comparison red."""
        return self.verdict is Verdict.SLOWER or bool(self.complaints)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All cells."""

    a: str
    b: str
    """What was compared, in words: a path, a revision, an implementation."""
    threshold: float
    """0.05 is 5 %; cells may have their own."""
    alpha: float
    cells: tuple[CellComparison, ...]
    notes: tuple[str, ...] = ()
    """What the reader has to know: forced over a difference of machines, how far the machine itself moved."""

    @property
    def judged(self) -> int:
        """Cells with a verdict."""
        return sum(cell.verdict is not None for cell in self.cells)

    def count(self, verdict: Verdict) -> int:
        """Cells with this verdict."""
        return sum(cell.verdict is verdict for cell in self.cells)

    @property
    def worse(self) -> tuple[CellComparison, ...]:
        """Cells that make it red."""
        return tuple(cell for cell in self.cells if cell.is_worse)

    @property
    def exit(self) -> Exit:
        """Red where a cell got worse; never green where nothing was measured, or where nothing could have been seen."""
        if self.worse:
            return Exit.REGRESSION
        blind = all(cell.change is None or math.isinf(cell.change.high) for cell in self.cells)
        return Exit.NOT_COMPARABLE if blind else Exit.GREEN
