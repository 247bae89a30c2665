"""The journal of a run: one JSON object a line, only ever appended to, by one process at a time, each line on disk before the
next thing happens.

A line that a crash has torn is the last one, and never was an event: reading passes over it, opening cuts it off.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.files import OWN, sync_folder
from benchmarks.foreign import decoded, opened, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

JOURNAL = "journal.jsonl"
LOCK = "lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Journal:
    """The journal of a folder, open for appending, and the folder's lock with it."""

    def __init__(self, folder: Path) -> None:
        """UsageError where another process has it open; OSError where it cannot be written."""
        self.file = folder / JOURNAL
        self._lock = _lock(folder)
        try:
            self._handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | OWN, 0o666)
            sync_folder(folder)
        except BaseException:
            _unlock(folder, self._lock)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """Of what it holds."""
        return os.fstat(self._handle).st_size

    def cut(self, whole_bytes: int) -> None:
        """Take off what comes after so many bytes: a torn line, to which the next event would be glued."""
        if self.size_bytes > whole_bytes:
            os.ftruncate(self._handle, whole_bytes)
            _sync(self._handle)

    def append(self, event: Mapping[str, Any]) -> None:
        """Put one event on disk. UsageError where the disk is full or gone: then nothing of it is there."""
        line = json.dumps(event).encode() + b"\n"
        before = self.size_bytes
        try:
            while line:
                line = line[os.write(self._handle, line) :]
            _sync(self._handle)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, before)
            raise UsageError(
                f"cannot write to {self.file}: {error.strerror or error}; what was measured until then is there"
            ) from None

    def close(self) -> None:
        """Let go of the file and the lock; once is enough."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            _unlock(self.file.parent, self._lock)


def read_journal(file: Path, take: Callable[[dict[str, Any]], None]) -> int:
    """Give each event to `take`; how many bytes whole lines take up. UnreadableResults where it cannot be read, and for a
    damaged line that is not the last.
    """
    whole_bytes = 0
    with opened(file) as (lines, _):
        for number, line in enumerate(lines, start=1):
            try:
                if not line.endswith(b"\n"):
                    break
                take(parse_json(decoded(line, "it"), "it"))
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                if lines.read(1):
                    told = str(error) if isinstance(error, UnreadableResults) else f"{type(error).__name__}: {error}"
                    raise UnreadableResults(f"{file}, line {number} is damaged: {told[:200]}") from None
                break
            whole_bytes += len(line)
    return whole_bytes


def _lock(folder: Path) -> int:
    """Take the folder's lock, which ends with the process that holds it, however it ends; its handle.

    UsageError with the process that holds it.
    """
    file = folder / LOCK
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | OWN, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 100).decode("ascii", "replace").strip() or "that has just started"
            os.close(handle)
            raise UsageError(
                f"{folder} is in use by process {holder}: wait for it, or end it; or choose another folder"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:  # some network file systems have none: then there is no lock to take
                os.close(handle)
                raise
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == file.stat().st_ino:
                os.ftruncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
                return handle
        os.close(handle)  # whoever held it has taken it away between our two steps


def _unlock(folder: Path, handle: int) -> None:
    """Gone first, free then: nobody else can have taken a lock on a file that will be gone."""
    with contextlib.suppress(OSError):
        (folder / LOCK).unlink()
    os.close(handle)
