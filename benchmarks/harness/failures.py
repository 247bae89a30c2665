"""What an exception inside a worker makes of a cell: a status, and one line that says why."""

from __future__ import annotations

import backends
from backends.interface import KernelMismatch, Unsupported
from benchmarks.harness.cell import Incorrect
from benchmarks.harness.room import NoRoom
from benchmarks.records import Status

_MEMORY_WORDS = (
    "out of memory",
    "resource_exhausted",
    "resource exhausted",
    "can't allocate",
    "failed to allocate",
    "bad_alloc",
)


def status_of(error: BaseException) -> Status:
    """The status that an exception stands for."""
    if isinstance(error, Unsupported):
        return Status.UNSUPPORTED
    if isinstance(error, Incorrect):
        return Status.INCORRECT
    if isinstance(error, backends.MissingFramework):
        return Status.NOT_INSTALLED
    text = f"{type(error).__name__} {error}".lower()
    if isinstance(error, MemoryError) or any(word in text for word in _MEMORY_WORDS):
        return Status.OUT_OF_MEMORY
    return Status.ERROR


def told(error: BaseException) -> str:
    """An exception in one line: what it says, with its type where that is not one of ours."""
    line = " ".join(str(error).split())[:400]
    ours = (
        Unsupported,
        NoRoom,
        Incorrect,
        KernelMismatch,
        backends.MissingFramework,
        backends.BrokenFramework,
        backends.PluginError,
    )
    return line if isinstance(error, ours) and line else f"{type(error).__name__}: {line}".rstrip(": ")
