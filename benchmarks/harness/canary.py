"""A fixed piece of work beside every timed block: it tells how fast the core was at that moment, whatever is being measured.

On shared machines a core's speed moves by a third within seconds, as the host moves its neighbours about. A block that was slow
while the canary was slow says something about the machine; one that was slow while the canary was not, about the code.
"""

from __future__ import annotations

import math
import time

import numpy as np

_NUMBERS = 2048
"""float64, in the smallest cache: no memory, no threads, no framework."""
_TIMES = 500


class Canary:
    """The same additions each time, about half a millisecond."""

    def __init__(self) -> None:
        self._array = np.zeros(_NUMBERS)
        self._earlier_s = 0.0

    def before(self) -> None:
        """Right before a block."""
        self._earlier_s = self._sing()

    def after(self) -> float:
        """Right after it; seconds of one pass, the geometric mean of both sides of the block."""
        return math.sqrt(self._earlier_s * self._sing()) / _TIMES

    def _sing(self) -> float:
        array = self._array
        start = time.perf_counter_ns()
        for _ in range(_TIMES):
            np.add(array, 1.0, out=array)
        return (time.perf_counter_ns() - start) * 1e-9
