"""What a parent keeps an eye on while a worker computes: its memory, before the machine suffers, and the length of its log.

It looks ten times a second, and for the first time after a tenth of one: most timed blocks have ended by then.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.files import append_to_own
from benchmarks.harness.room import free_bytes, usable_bytes

LOOK_S = 0.1
LOG_BYTES = 1 << 26
"""A log that is longer is begun anew: endless output fills no disk."""
_LEAST_RESERVE_BYTES, _RESERVE = 1 << 28, 0.03
"""Of the machine's memory, what a worker may not take: what it can touch between two looks."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Of one worker."""

    pid: int
    log: Path
    limit_bytes: int | None = None
    """None: what the machine has, less a reserve."""

    def complaint(self) -> str | None:
        """Why the worker has to be ended, if it has to: it holds more than its limit, or more than is left of the machine."""
        self.shorten_log()
        try:
            held = psutil.Process(self.pid).memory_info().rss
        except (OSError, ValueError, psutil.Error):  # gone, or a machine that tells nobody
            return None
        if self.limit_bytes is not None and held > self.limit_bytes:
            return f"it held {_gb(held)} of memory, and --memory-limit is {_gb(self.limit_bytes)}"
        reserve = reserve_bytes()
        # A worker that is small is not what the machine suffers from.
        if held > reserve and (free := free_bytes()) < reserve:
            return f"it held {_gb(held)} of memory, and {_gb(free)} were left: ended before the machine runs out"
        return None

    def shorten_log(self) -> None:
        """Its last words are at the end; what is long gone is not worth a disk."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > LOG_BYTES:
                with append_to_own(self.log) as log:
                    log.truncate(0)
                    log.write(f"[so far {LOG_BYTES >> 20} MiB of output, not kept]\n".encode())


@functools.cache
def reserve_bytes() -> float:
    """What has to be left of the memory of the machine, or of the control group that holds this process."""
    return max(_LEAST_RESERVE_BYTES, _RESERVE * (usable_bytes() or 0))


def _gb(size: float) -> str:
    return f"{size / 1e9:,.3g} GB"


def oom_kills() -> int:
    """How many processes the kernel has ended since the machine started because memory ran out; 0 where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
