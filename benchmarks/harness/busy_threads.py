"""How many threads do the work of a call, by the kernel's account of each: whatever a framework says of itself."""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS = 5


def thread_seconds() -> dict[int, float]:
    """Thread of this process -> seconds of processor time that it has used; empty where the system does not tell."""
    found = {}
    try:
        threads = os.listdir("/proc/self/task") if sys.platform == "linux" else []  # noqa: PTH208 - names are all it takes
    except OSError:
        return {}
    for name in threads:
        thread = int(name)
        try:
            found[thread] = time.clock_gettime((~thread << 3) | 6)  # Linux's number of the clock of one thread
        except OSError:
            continue  # it has just ended
    return found


def threads_busy(call: Callable[[], object], seconds: Callable[[], dict[int, float]] = thread_seconds) -> float | None:
    """Processor time of all threads over that of the busiest one, in the middle one of several calls: 1.0 where one thread
    does the work, 2.0 where two share it alike. None where the system does not tell.

    Over the busiest one's time, not over the wall's: where neighbours hold the CPUs, two threads that take turns on one of
    them would look like one.

    Args:
        call: what is looked at, its barrier included.
        seconds: thread -> processor time used so far, in s.

    """
    found = []
    for _ in range(_CALLS):
        before = seconds()
        call()
        spent = [used - before.get(thread, 0.0) for thread, used in seconds().items()]
        if max(spent, default=0.0) > 0:
            found.append(sum(spent) / max(spent))
    return statistics.median(found) if found else None
