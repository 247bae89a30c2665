"""Numbers that can be: times above 0 and in seconds, counts that a computer can count to, nothing endless."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.errors import UnreadableResults

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.records import Record

SHORTEST_S, LONGEST_S = 1e-15, 1e12
"""Beyond these, no time in a file was measured."""
_TIMES = (
    "median_s", "ci_low_s", "ci_high_s", "min_s", "q25_s", "q75_s", "first_call_s", "median_raw_s", "device_s",
    "device_cold_s",
)  # fmt: skip
_COUNTS = ("samples", "blocks", "processes")
_FINITE = (
    "softcap", "scale", "gflops", "gflops_conventional", "gb_per_s", "peak_fraction", "max_abs_error", "error_over_naive",
    "speedup", "noise_floor",
)  # fmt: skip
_AT_LEAST_0 = ("error_over_bound", "peak_memory_bytes")
_ROUNDING = 1e-6
"""Written with nine significant digits."""


def check_numbers(record: Record, where: str) -> None:
    """UnreadableResults for numbers that cannot be, and for times that contradict each other."""
    for name, is_possible, expected in _RULES:
        value = getattr(record, name)
        if value is not None and not is_possible(value):
            raise UnreadableResults(f"{where}: {name}={value}, expected {expected}")
    if record.median_s is None:
        return
    for low, high in (("min_s", "median_s"), ("ci_low_s", "median_s"), ("median_s", "ci_high_s")):
        x, y = getattr(record, low), getattr(record, high)
        if x is not None and y is not None and x > y * (1 + _ROUNDING):
            raise UnreadableResults(f"{where}: {low}={x:g} is above {high}={y:g}: are the units mixed?")


def is_count(text: str) -> bool:
    """Whether it is a whole number that a computer can count to."""
    return text.isascii() and text.isdecimal() and len(text) <= 18


def is_time(value: float) -> bool:
    """Whether so many seconds can have been measured."""
    return SHORTEST_S <= value <= LONGEST_S


_RULES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    *((name, is_time, "a number above 0, of seconds that can be") for name in _TIMES),
    *((name, lambda value: value >= 1, "at least 1") for name in _COUNTS),
    *((name, lambda value: 0 <= value < math.inf, "a number of at least 0") for name in _AT_LEAST_0),
    *((name, math.isfinite, "a finite number") for name in _FINITE),
)
"""Field, what it has to be, and that in words."""
