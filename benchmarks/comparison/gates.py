"""What is held besides time: a cell that is gone, fails now, errs more or takes more memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.comparison.verdicts import Complaint, Gate
from benchmarks.records import Status

if TYPE_CHECKING:
    from benchmarks.records import Record

ACCURACY_GROWTH = 1.25
ACCURACY_SLACK = 0.01
"""Of the bound. Another order of summation moves the largest error a little; a lost digit moves it by a factor."""
MEMORY_GROWTH = 1.05
MEMORY_SLACK_BYTES = 2**22
"""The resolution of the measurement: runs of the same code differed by up to 3 MiB; see benchmarks.harness.memory."""


def complaints(a: Record, b: Record | None, *, allow_missing: bool) -> tuple[Complaint, ...]:
    """What got worse from `a` to `b` besides time. A cell that had no time in `a` has nothing to lose."""
    if a.status is not Status.OK:
        return ()
    if b is None:
        return () if allow_missing else (Complaint(Gate.MISSING, "in the baseline, not in the candidate"),)
    if b.status is not Status.OK:
        return (Complaint(Gate.STATUS, f"was ok, now {b.status}: {b.reason}"),)
    return accuracy(a.error_over_bound, b.error_over_bound) + memory(a.peak_memory_bytes, b.peak_memory_bytes)


def accuracy(a: float | None, b: float | None) -> tuple[Complaint, ...]:
    """What is to be said of two errors over the bound."""
    if a is None or b is None or b <= max(a * ACCURACY_GROWTH, a + ACCURACY_SLACK):
        return ()
    return (Complaint(Gate.ACCURACY, f"error over bound grew from {a:.3g} to {b:.3g}"),)


def memory(a: int | None, b: int | None) -> tuple[Complaint, ...]:
    """What is to be said of two peaks of memory, in bytes."""
    if a is None or b is None or b <= max(a * MEMORY_GROWTH, a + MEMORY_SLACK_BYTES):
        return ()
    return (Complaint(Gate.MEMORY, f"peak memory grew from {a / 2**20:.1f} to {b / 2**20:.1f} MiB"),)
