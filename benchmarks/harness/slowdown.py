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
_ROUNDS = 4
_TRIAL_S = 0.1
_LEAST_TRIALS = 14
_TURN = 7
_ALTERED_FROM_S = 0.01
"""Laps longer than this take no notice of what a little work between them does to the caches."""


class ExtraWork:
    """Adds `share` of the time of some calls when called: repeated additions over a small array, no sleeping, no clock.

    A few additions between two calls cost more than they take alone, for the call has used the caches meanwhile: 5 % came out
    as 8. So they are calibrated where they work, between laps of calls.
    """

    def __init__(self, call: Callable[[], object], share: float, lap: int = 1) -> None:
        """Calibrate for laps of `lap` calls: call and work in alternation, the middle ratio of several; then laps with and
        without the work in alternation. `call` includes its barrier.
        """
        self._array = np.zeros(_NUMBERS)
        self._owed = 0.0
        calls, units = _count(call), _count(self._unit)
        ratios = [_seconds(call, calls) / calls / (_seconds(self._unit, units) / units) for _ in range(_BATCHES)]
        self.units_per_call = share * statistics.median(ratios)
        # The share of a call that a unit takes alone.
        unit = share / self.units_per_call if self.units_per_call else 0.0
        for number in range(1, _ROUNDS + 1 if share else 1):
            seen = self._seen(call, lap)
            if seen is None:
                break
            # Added, and less each time (H. Robbins, S. Monro, 1951): a quotient of noisy times is too large on average.
            self.units_per_call = max(0.0, self.units_per_call + (share - seen) / unit / number)

    def _seen(self, call: Callable[[], object], lap: int) -> float | None:
        """By which share laps take longer with the work than without; None where they are long.

        In turns of several laps: what the work does to the caches, the next lap pays.
        """
        plain: list[float] = []
        slowed: list[float] = []
        while sum(plain) + sum(slowed) < _TRIAL_S or len(plain) < _LEAST_TRIALS:
            for _ in range(_TURN):
                plain.append(_seconds(call, lap))
                if plain[0] > _ALTERED_FROM_S:
                    return None
            for _ in range(_TURN):
                start = time.perf_counter()
                _seconds(call, lap)
                self(lap)
                slowed.append(time.perf_counter() - start)
        return statistics.median(slowed) / statistics.median(plain) - 1

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
