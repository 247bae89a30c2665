"""The process that measures on a machine of a cluster: `python -m benchmarks.cluster.measuring FOLDER`.

It is a process of its own, so that nothing is timed between a Dask worker's threads. It ends when its standard input does,
which is when whoever started it is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import INTERRUPTED, UnreadableResults, UsageError
from benchmarks.harness.cpus import resolve_cpus
from benchmarks.harness.threads import with_threads
from benchmarks.measure import measure
from benchmarks.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.plan import Plan

SCRATCH = "attnbench-cluster-"
"""How the name of the folder begins that the run's folder lies in."""
STARTED = "started"
"""File in the folder: the machine is ours, and from here on silence means that something hangs."""
BUSY_LIMIT_S = 3600.0
REFUSED, BUSY = 2, 75
"""Exit statuses: the request cannot be met on this machine; another one held it for too long."""
_LOOK_S = 0.2


def main() -> int:
    """Measure the plan of the folder; the exit status."""
    place = Path(sys.argv[1])
    orphaned = threading.Event()
    threading.Thread(target=_end_with_parent, args=[orphaned], daemon=True).start()
    try:
        return _measure(place)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if orphaned.is_set() and place.parent.name.startswith(SCRATCH):
            shutil.rmtree(place.parent, ignore_errors=True)  # nobody else is left to do it


def _measure(place: Path) -> int:
    try:
        folder, plan, state = RunFolder.resume(place)
        plan = settled(plan)
        with alone(plan.device):
            (place / STARTED).touch()
            outcome = measure(plan, folder, state, lambda event: None)
    except (UsageError, UnreadableResults) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except TimeoutError as error:
        print(error, file=sys.stderr)
        return BUSY
    return INTERRUPTED if outcome.interrupted else 0


def settled(plan: Plan) -> Plan:
    """The plan with the CPUs and threads of this machine. UsageError where it has not what was asked for."""
    cpus = resolve_cpus(plan.cpus_asked or None)
    threads, variables = with_threads(plan.threads, cpus, neutral=plan.neutral, variables=plan.variables)
    return dataclasses.replace(plan, cpus=cpus, threads=threads, variables=variables)


@contextlib.contextmanager
def alone(device: str, limit_s: float = BUSY_LIMIT_S) -> Iterator[None]:
    """One such process at a time on this machine and device, whatever workers it has. The kernel lets go for a dead one.

    TimeoutError where another one holds the machine for longer than the limit.
    """
    path = Path(tempfile.gettempdir()) / f"attnbench-{device}.lock"
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except PermissionError:  # another user's, which may be read and locked, but not opened for creating
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    end = time.monotonic() + limit_s
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError(f"another measurement has held {path} for {limit_s:g} s") from None
                time.sleep(_LOOK_S)
        yield
    finally:
        os.close(lock)


def _end_with_parent(orphaned: threading.Event) -> None:
    """As Ctrl-C would: the workers are ended, and nothing of theirs stays."""
    while os.read(0, 4096):
        pass
    orphaned.set()
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background, it may be ignored
    raise SystemExit(main())
