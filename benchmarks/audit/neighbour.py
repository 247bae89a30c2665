"""A busy neighbour: what a shared machine does to a measurement, on purpose."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.harness.process import bound_to

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPIN = "from benchmarks.harness.worker import die_with_parent\ndie_with_parent()\nwhile True: pass"


@contextlib.contextmanager
def busy_neighbour(wanted: bool) -> Iterator[None]:
    """While it lasts, a process keeps the first CPU busy."""
    if not wanted:
        yield
        return
    first = min(os.sched_getaffinity(0))
    with bound_to((first,)):
        process = subprocess.Popen([sys.executable, "-c", _SPIN], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()
