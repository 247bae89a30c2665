"""Some cells of a stored run, in an order that was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from benchmarks.errors import UsageError
from benchmarks.plausible import is_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.records import Record

_TOLD_AT_MOST = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the user typed; of each field one has to match, and nothing given is everything."""

    cases: Sequence[str] = ()
    """Globs, as those of implementations."""
    implementations: Sequence[str] = ()
    frameworks: Sequence[str] = ()
    devices: Sequence[str] = ()
    dtypes: Sequence[str] = ()
    passes: Sequence[str] = ()
    statuses: Sequence[str] = ()


_FIELDS: tuple[tuple[str, str, Callable[[Record], str]], ...] = (
    ("cases", "case", lambda r: r.case),
    ("implementations", "implementation", lambda r: r.implementation),
    ("frameworks", "framework", lambda r: r.framework),
    ("devices", "device", lambda r: r.device),
    ("dtypes", "dtype", lambda r: r.dtype),
    ("passes", "pass", lambda r: r.pass_),
    ("statuses", "status", lambda r: str(r.status)),
)
_GLOBS = ("cases", "implementations")


def select(records: Sequence[Record], selection: Selection) -> list[Record]:
    """The cells that match. UsageError where a filter, or all of them together, match nothing."""
    found = list(records)
    for name, option, of in _FIELDS:
        patterns = getattr(selection, name)
        if not patterns:
            continue
        there = dict.fromkeys(map(of, records))
        matched: set[str] = set()
        for pattern in patterns:
            own = {value for value in there if (fnmatchcase(value, pattern) if name in _GLOBS else value == pattern)}
            if not own:
                told = list(there)[:_TOLD_AT_MOST] + ["..."] * (len(there) > _TOLD_AT_MOST)
                raise UsageError(f"no cell has the {option} {pattern!r}; there are: {', '.join(told)}")
            matched |= own
        found = [record for record in found if of(record) in matched]
    if not found:
        raise UsageError("no cell matches all of these filters; leave one out")
    return found


SORTS: dict[str, Callable[[Record], float | None]] = {
    "median": lambda r: r.median_s,
    "error": lambda r: r.error_over_bound,
    "memory": lambda r: r.peak_memory_bytes,
    "first-call": lambda r: r.first_call_s,
    "gflops": lambda r: None if r.gflops is None else -r.gflops,
    "speedup": lambda r: None if r.speedup is None else -r.speedup,
    "interval": lambda r: None if not (r.median_s and r.ci_low_s and r.ci_high_s) else r.ci_high_s / r.ci_low_s,
}
"""What can be put first: the smallest of these."""
BY_NAME: dict[str, Callable[[Record], str]] = {"case": lambda r: r.case, "implementation": lambda r: r.implementation}


def by_case(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Case -> its cells, both in the order in which they come."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.case, []).append(record)
    return found


def ordered(records: Sequence[Record], by: str | None, *, reverse: bool = False) -> list[Record]:
    """Case by case: cells by what was asked, and cases by their first cell; what has no such number comes last.

    by: one of SORTS or BY_NAME; None: as they come. UsageError for any other.
    """
    groups = list(by_case(records).values())
    if by is None:
        groups = groups[::-1] if reverse else groups
    elif by == "case":
        groups.sort(key=lambda cells: _naturally(cells[0].case), reverse=reverse)
    elif by == "implementation":
        groups = [sorted(cells, key=lambda r: r.implementation, reverse=reverse) for cells in groups]
    elif by in SORTS:
        value, sign = SORTS[by], -1 if reverse else 1

        def rank(record: Record) -> tuple[bool, float]:
            number = value(record)
            return number is None, 0.0 if number is None else sign * number

        groups = sorted((sorted(cells, key=rank) for cells in groups), key=lambda cells: rank(cells[0]))
    else:
        raise UsageError(f"--sort {by!r}, expected one of {', '.join((*BY_NAME, *SORTS))}")
    return [record for cells in groups for record in cells]


def _naturally(text: str) -> list[tuple[int, str]]:
    """self-128 before self-2048."""
    return [(int(word), "") if is_count(word) else (-1, word) for word in re.split(r"(\d+)", text)]
