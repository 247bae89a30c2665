"""Known slowdowns, for testing what watches for unknown ones: real work, as much as takes a known share of a call."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS = 2048
"""float64, in the smallest cache: about a microsecond to add to."""
_BATCH_S = 0.002
_BATCHES = 15


class ExtraWork:
    """Adds `share` of the time of some calls when called: repeated additions over a small array, no sleeping, no clock.

    After many short calls it works once, not after each: a few additions between two calls cost more than they take, for the
    call has used the caches meanwhile, and 5 % came out as 8.
    """

    def __init__(self, call: Callable[[], object], share: float) -> None:
        """Calibrate: call and work in alternation, the middle ratio of several. `call` includes its barrier."""
        self._array = np.zeros(_NUMBERS)
        self._owed = 0.0
        calls, units = _count(call), _count(self._unit)
        ratios = [_seconds(call, calls) / calls / (_seconds(self._unit, units) / units) for _ in range(_BATCHES)]
        self.units_per_call = share * statistics.median(ratios)

    def _unit(self) -> None:
        np.add(self._array, 1.0, out=self._array)

    def __call__(self, calls: int = 1) -> None:
        """So many calls' worth; what is less than a unit is owed to the next time."""
        self._owed += self.units_per_call * calls
        while self._owed >= 1:
            self._unit()
            self._owed -= 1


def _seconds(function: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        function()
    return time.perf_counter() - start


def _count(function: Callable[[], object]) -> int:
    """How often the function fills a batch."""
    function()
    return max(1, round(_BATCH_S / max(_seconds(function, 3) / 3, 1e-7)))
