"""Peak memory of one call, beyond what was there before it: the kernel's high-water mark of this process, reset by hand.

The mark shows how far resident memory rises during a call. It misses what an allocator has kept: glibc's is told to give
that back first, but the top of a thread's arena (XLA's temporaries, up to 32 MiB each) and the arenas of TensorFlow and ONNX
Runtime stay. TensorFlow's tells its own peak (`watch`, see backends.framework.Watching): the greater counts. Where no
allocator tells, the kernel is asked, too, which anonymous pages the call has touched and left resident; less inputs and
outputs, that counts where it is more. The first call of a cell would tell less: it compiles, starts threads and loads
libraries, 40 to 140 MiB that no later call needs.

How good it is, found with arrays of known size: 64 MiB and more to a tenth; compiled JAX with 64 (16) MiB of temporaries by
XLA's own plan at 67 (19) MiB. Below 32 MiB an array may be counted twice that JAX frees and makes again elsewhere (eager,
16 MiB: 34). Huge pages, counters that lag, and 2 to 3 MiB of the interpreter's: two runs differ by up to 3 MiB, and less
than 4 MiB is as good as nothing. Address space that is never touched does not count.
"""

from __future__ import annotations

import ctypes
import gc
import math
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.framework import Framework

PROC = Path("/proc/self")
_FORGET_TOUCHED, _RESET_PEAK = "1", "5"
"""man 5 proc_pid_clear_refs; the second since Linux 4.0."""
_STALE_BYTES = 2**21
"""How far the mark may stand above what is resident right after its reset; further, and the kernel did not reset it."""
_CALLS, _ENOUGH_S = 3, 0.1
"""The median of so many calls, or of those that fit so many seconds: when threads free memory is chance."""

Rise = Callable[[], int | None]
"""Bytes by which a peak rose since the watch began; None where that cannot be said."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel has seen of a call."""

    rise_bytes: int
    """Of the high-water mark."""
    touched_bytes: int
    """Anonymous memory that was touched and is still resident, inputs and outputs among it."""


def watch_process(proc: Path = PROC, *, touched: bool = True) -> Callable[[], Seen] | None:
    """Give freed memory back and begin to watch. None where the kernel keeps no such marks (no Linux). `touched`: whether pages
    that a call touches are looked for, too, which takes the kernel as long as many a call; else they are 0.
    """
    gc.collect()
    _trim()
    try:
        for what in (_FORGET_TOUCHED, _RESET_PEAK) if touched else (_RESET_PEAK,):
            (proc / "clear_refs").write_text(what)
        before = _bytes(proc, "VmRSS")
        if _bytes(proc, "VmHWM") > before + _STALE_BYTES:
            return None
    except (OSError, LookupError):
        return None

    # The mark first: reading the other takes memory itself.
    return lambda: Seen(_bytes(proc, "VmHWM") - before, _touched(proc) if touched else 0)


def _bytes(proc: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", (proc / "status").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"no {name} in {proc / 'status'}")
    return int(found[1]) * 1024


def _touched(proc: Path) -> int:
    """Bytes of anonymous mappings, and of the heap, that were touched and are still resident: not of files."""
    found, counts = 0, False
    with (proc / "smaps").open() as lines:
        for line in lines:
            words = line.split()
            if not words[0].endswith(":"):  # the head of a mapping, which ends with its file or its name if it has one
                counts = len(words) < 6 or words[5] == "[heap]"
            elif counts and words[0] == "Referenced:":
                found += int(words[1]) * 1024
    return found


def _trim() -> None:
    """Glibc's malloc keeps up to 64 MiB and more of what was freed; other C libraries keep less and have no such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def peak_bytes(
    call: Callable[[], Any],
    framework: Framework,
    device: str,
    earlier: Any,
    itemsize: int,
    input_bytes: int = 0,
    proc: Path = PROC,
) -> int | None:
    """Bytes that a warm call takes at its peak beyond its inputs and what it returns; None where nobody can tell.

    `earlier`: what a call returned before; an output that is the same object again was there already. On the CPU the
    kernel and the framework's allocator both see a part, and the greater counts; elsewhere there is the allocator alone.
    """
    found: list[int] = []
    start = time.monotonic()
    while len(found) < _CALLS and (not found or time.monotonic() - start <= _ENOUGH_S):
        one = _one(call, framework, device, earlier, itemsize, input_bytes, proc)
        if one is None:
            break
        found.append(one)
    return statistics.median_low(found) if found else None


def _one(
    call: Callable[[], Any],
    framework: Framework,
    device: str,
    earlier: Any,
    itemsize: int,
    input_bytes: int,
    proc: Path,
) -> int | None:
    begin: Callable[[str], Rise | None] | None = getattr(framework, "watch", None)
    allocator = None if begin is None else begin(device)
    process = watch_process(proc, touched=allocator is None) if device == "cpu" else None
    returned = call()
    rise = None if allocator is None else allocator()
    output_bytes, resident = _bytes_of(returned, earlier, itemsize)
    taken = [] if rise is None else [rise - output_bytes]
    if process is not None:
        seen = process()
        taken.append(seen.rise_bytes - output_bytes)
        if rise is None:
            taken.append(seen.touched_bytes - input_bytes - resident - output_bytes)
    return max(0, *taken) if taken else None


def _bytes_of(returned: Any, earlier: Any, itemsize: int) -> tuple[int, int]:
    """Bytes of the arrays that are new, and of those that were returned before."""
    before = {id(array) for array in _arrays(earlier)}
    new = known = 0
    for array in _arrays(returned):
        shape = array.shape() if callable(array.shape) else array.shape  # ONNX Runtime's is a method
        size = itemsize * math.prod(shape)
        new, known = (new, known + size) if id(array) in before else (new + size, known)
    return new, known


def _arrays(returned: Any) -> list[Any]:
    return [array for array in (returned if isinstance(returned, tuple) else (returned,)) if array is not None]
