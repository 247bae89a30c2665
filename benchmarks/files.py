"""Files that are there whole or not at all, also when the power fails while they are written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PART = ".part"
"""How the name of a file ends that is being written."""


def write_atomically(file: Path, text: str) -> None:
    """Put a file in place of what was there before. Raises OSError, and leaves the old one and nothing else then.

    Lone surrogates, as in names of files that are no UTF-8, are written as escapes.
    """
    data = text.encode("utf-8", "backslashreplace")
    if file.exists() and not file.is_file():  # /dev/stdout, a pipe: nothing to replace
        file.write_bytes(data)
        return
    part = file.with_name(file.name + PART)
    try:
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """The names in a folder on disk: without it a power failure may undo a rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
