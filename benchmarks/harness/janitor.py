"""What remains when a parent is killed: its workers, even frozen ones, and its temporary folder. Taken away by a process that
does nothing but wait for that.

The kernel's death signal, which workers ask for (worker.die_with_parent), comes too late for one that has not asked yet, and
is Linux's. This file is run by itself, with the standard library alone, so that it is there in some forty milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

_TRIES = 50
"""A worker that is being ended may still write into the folder."""


class Janitor:
    """In the parent: the folder, and the process that takes it away."""

    def __init__(self) -> None:
        """Raises OSError where there is no place for a folder."""
        # Its name before the folder: there is no moment in which nobody would take it away.
        self.folder = Path(tempfile.gettempdir()) / f"attnbench-{uuid.uuid4().hex}"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is not for it
        )
        try:
            self.folder.mkdir(mode=0o700)
        except OSError:
            self.close()
            raise

    def born(self, pid: int) -> None:
        """A process, the head of its group, that is not to outlive this one."""
        self._tell(f"+{pid}")

    def ended(self, pid: int) -> None:
        """It has ended: its number may be somebody else's soon."""
        self._tell(f"-{pid}")

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # it was killed: then there is none
            os.write(self._process.stdin.fileno(), f"{line}\n".encode())  # type: ignore[union-attr] # a pipe, as asked

    def close(self) -> None:
        """Let it take away the folder, and end."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr] # a pipe, as asked
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


def main() -> None:
    """Wait until the parent is gone, or has closed the pipe; then end what it has left."""
    alive: set[int] = set()
    for line in sys.stdin:
        number = int(line[1:])
        (alive.add if line[0] == "+" else alive.discard)(number)
    for pid in alive:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    folder = Path(sys.argv[1])
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.1)


if __name__ == "__main__":
    main()
