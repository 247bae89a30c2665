"""Which CPUs the workers run on."""

from __future__ import annotations

import os

from benchmarks.errors import UsageError
from benchmarks.plausible import is_count


def cpus_allowed() -> int:
    """How many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve_cpus(text: str | None) -> tuple[int, ...]:
    """The CPUs that a text names: 2 is the last two (the first serves interrupts), 0,3 are those two, None is all."""
    if text is None:
        return ()
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("--cpus needs a system that can bind processes to CPUs, and this one cannot; leave it out")
    allowed = sorted(os.sched_getaffinity(0))
    words = text.removesuffix(",").split(",")  # "3," names one CPU, "3" counts three
    if not all(is_count(word.strip()) for word in words):
        raise UsageError(f"--cpus {text!r}, expected how many (1) or which, separated by commas (0,2)")
    numbers = [int(word) for word in words]
    if len(numbers) == 1 and "," not in text:
        if not 1 <= numbers[0] <= len(allowed):
            raise UsageError(f"--cpus {text}, expected 1 to {len(allowed)}: so many may be used here")
        return tuple(allowed[-numbers[0] :])
    if strange := [n for n in numbers if n not in allowed]:
        raise UsageError(f"--cpus names CPU {strange[0]}, expected some of {', '.join(map(str, allowed))}")
    return tuple(sorted(set(numbers)))
