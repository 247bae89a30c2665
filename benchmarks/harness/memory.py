"""Peak memory of one call, beyond what was there before it: the kernel's high-water mark of this process, reset by hand.

What the mark shows is how far resident memory rose during a call. An allocator that keeps what was freed would hide a warm
call: glibc's is told to give it back first (NumPy, PyTorch and XLA stand on it), and a framework with an allocator of its
own has a hook, `watch` (see backends.interface.Watching). The first call of a cell tells less: it compiles, starts threads
and loads libraries, 40 to 140 MiB that no later call needs. Against the temporaries that XLA's compiler plans (64 MiB of
scores) a warm call after the trim was off by 0 to 5 MiB, upwards.

Resolution: the kernel counts pages in batches per CPU and hands out huge pages of 2 MiB, so that a row may say 0 and means
less than 4 MiB. Address space that is reserved and never touched does not count.
"""

from __future__ import annotations

import ctypes
import gc
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backends.interface import Framework

PROC = Path("/proc/self")
_RESET_PEAK = "5"
"""man 5 proc_pid_clear_refs, since Linux 4.0."""
_STALE_BYTES = 2**21
"""How far the mark may stand above what is resident right after its reset; further, and the kernel did not reset it."""
_CALLS, _ENOUGH_S = 3, 1.0
"""The least of so many calls, or of those that fit so many seconds: when threads free is chance, what is needed is not."""

Peak = Callable[[], int | None]
"""Bytes by which the peak rose since the watch began; None where that cannot be said."""


def watch_process(proc: Path = PROC) -> Peak | None:
    """Give freed memory back to the system and reset the high-water mark. None where there is no such mark (no Linux)."""
    gc.collect()
    _trim()
    try:
        (proc / "clear_refs").write_text(_RESET_PEAK)
        before = _bytes(proc, "VmRSS")
        if _bytes(proc, "VmHWM") > before + _STALE_BYTES:
            return None
    except (OSError, LookupError):
        return None
    return lambda: _bytes(proc, "VmHWM") - before


def _bytes(proc: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", (proc / "status").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"no {name} in {proc / 'status'}")
    return int(found[1]) * 1024


def _trim() -> None:
    """Glibc's malloc keeps up to 64 MiB and more of what was freed; other C libraries keep less and have no such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def peak_bytes(
    call: Callable[[], Any], framework: Framework, device: str, earlier: Any, itemsize: int, proc: Path = PROC
) -> int | None:
    """Bytes that a warm call takes at its peak beyond its inputs and what it returns; None where nobody can tell.

    `earlier`: what a call returned before. An output that is the same object again was there already. On the CPU the
    framework's allocator and the kernel both see a part, and the greater counts; elsewhere there is the allocator alone.
    """
    least: int | None = None
    start = time.monotonic()
    for _ in range(_CALLS):
        found = _one(call, framework, device, earlier, itemsize, proc)
        if found is None:
            return least
        least = found if least is None else min(least, found)
        if time.monotonic() - start > _ENOUGH_S:
            break
    return least


def _one(
    call: Callable[[], Any], framework: Framework, device: str, earlier: Any, itemsize: int, proc: Path
) -> int | None:
    begin: Callable[[str], Peak | None] | None = getattr(framework, "watch", None)
    # The framework first: what its allocator gives back is not resident any more when the kernel's mark is reset.
    watches = [None if begin is None else begin(device), watch_process(proc) if device == "cpu" else None]
    returned = call()
    rises = [rise for watch in watches if watch is not None and (rise := watch()) is not None]
    if not rises:
        return None
    return max(0, max(rises) - _bytes_anew(returned, earlier, itemsize))


def _bytes_anew(returned: Any, earlier: Any, itemsize: int) -> int:
    """Bytes of the arrays that were not returned before."""
    before = {id(array) for array in _arrays(earlier)}
    return sum(itemsize * math.prod(array.shape) for array in _arrays(returned) if id(array) not in before)


def _arrays(returned: Any) -> list[Any]:
    return [array for array in (returned if isinstance(returned, tuple) else (returned,)) if array is not None]
