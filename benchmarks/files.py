"""Files that are there whole or not at all, also when the power fails while they are written; and none beyond the folder that
they are written to, whatever a stranger has packed into it.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

PART = ".part"
"""How the name of a file ends that is being written."""
OWN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""A folder that a stranger has packed may hold links to other files, which are not ours to write to, and pipes, which wait."""


def append_to_own(file: Path) -> BinaryIO:
    """A file of ours, open for appending. Raises OSError where it is a link, or a pipe."""
    return open(file, "ab", opener=lambda path, flags: os.open(path, flags | OWN, 0o666))


def own_folder(folder: Path) -> None:
    """A folder of ours in another one. Raises OSError where it is a link, or cannot be made."""
    folder.mkdir(exist_ok=True)
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "a link stands there, which leads elsewhere")


def write_atomically(file: Path, text: str, *, is_own: bool = False) -> None:
    """Put a file in place of what was there before. Raises OSError, and leaves the old one and nothing else then.

    Lone surrogates, as in names of files that are no UTF-8, are written as escapes. `is_own`: it is a file of a run folder; a
    link or a pipe in its place is replaced, while the user's /dev/stdout is written to.
    """
    data = text.encode("utf-8", "backslashreplace")
    if not is_own and file.exists() and not file.is_file():  # /dev/stdout, a pipe: nothing to replace
        file.write_bytes(data)
        return
    part = file.with_name(file.name + PART)
    part.unlink(missing_ok=True)
    try:
        with open(part, "xb", opener=lambda path, flags: os.open(path, flags | OWN, 0o666)) as stream:
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
