"""Reading files that a stranger may have written: bounded in size, time and memory; one line says what is wrong.

What is read here is data and stays data. A reader may take four times a file's size in memory, and ALLOWANCE_BYTES beyond
that: a file that would take more is refused before it is parsed, whatever it holds.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UnreadableResults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

MOST_BYTES = 2**31
"""Of a table of results: twenty million blocks."""
SMALL_BYTES = 2**22
"""Of a description, such as noise.json."""
LARGE_BYTES = 2**26
"""Of a description that grows with what it describes: the cases of plan.json, the machines of environment.json."""
ALLOWANCE_BYTES = 2**27
_FACTOR = 4
_LONGEST_ROW = 2**20
"""Characters. A reason or a kernel may be long, but no cell is a book."""
_VALUE_BYTES = 128
"""What a value of JSON takes at most, besides the characters of its texts."""
_WIDE = ((re.compile(rb"[\xf0-\xf4]"), 4), (re.compile(rb"[\xc4-\xef]"), 2))
"""How wide Python keeps every character of a text in which one such byte begins a character."""
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"PK": "zip", b"\x28\xb5": "zstd"}


@contextlib.contextmanager
def opened(file: Path, most: int = MOST_BYTES) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file and its size in bytes. UnreadableResults where it is none, larger than `most`, or cannot be read."""
    if "\0" in str(file):
        raise UnreadableResults(f"{str(file)!r} is no name of a file")
    try:
        # A pipe that nobody writes to would be waited for without end, and a device never ends.
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            size = _size_of(os.fstat(handle), file, most)
        except UnreadableResults:
            os.close(handle)
            raise
        with os.fdopen(handle, "rb") as stream:
            yield stream, size
    except OSError as error:
        raise UnreadableResults(f"{file} cannot be read: {error.strerror or error}") from None


def read_bytes(file: Path, most: int = MOST_BYTES) -> bytes:
    """What a regular file holds, without a byte-order mark. UnreadableResults where it is none, or larger than `most`."""
    with opened(file, most) as (stream, size):
        return stream.read(size).removeprefix(b"\xef\xbb\xbf")


def _size_of(found: os.stat_result, file: Path, most: int) -> int:
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a socket or a device"
        raise UnreadableResults(f"{file} is {kind}, expected a file")
    if found.st_size > most:
        raise UnreadableResults(f"{file} is {found.st_size:,} bytes large, expected at most {most:,}")
    return found.st_size


def read_text(file: Path, most: int = MOST_BYTES) -> str:
    """The text of a file. UnreadableResults where there is none."""
    return decoded(read_bytes(file, most), str(file))


def as_bytes(text: bytes | str) -> bytes:
    """UTF-8; what cannot be written in it becomes a question mark."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")


def decoded(data: bytes, where: str) -> str:
    """UTF-8 as text. UnreadableResults names the byte that is none, and what the file may be instead."""
    width = next((width for pattern, width in _WIDE if pattern.search(data)), 1)
    check_room(where, len(data), len(data) * (1 + width))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableResults(f"{where} is no text: byte {error.start} is not UTF-8{_guess(data)}") from None


def _guess(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return " (it looks like UTF-16: save it as UTF-8)"
    form = next((name for magic, name in _COMPRESSED.items() if data.startswith(magic)), None)
    return f" (it looks like {form}: unpack it first)" if form else ""


def check_room(where: str, size: int, needed: int) -> None:
    """UnreadableResults where a file of `size` bytes would take so much memory that it cannot be what it says it is."""
    if needed > _FACTOR * size + ALLOWANCE_BYTES:
        raise UnreadableResults(
            f"{where} would take {needed / 2**20:,.0f} MiB of memory for {size / 2**20:,.1f} MiB: it holds far more, and far "
            "smaller, values than results do"
        )


def parse_json(text: str, where: str) -> Any:
    """The value. UnreadableResults where it is none, or made to fill the memory."""
    values = text.count(",") + text.count("[") + text.count("{")
    check_room(where, len(text), 2 * sys.getsizeof(text) + _VALUE_BYTES * values)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableResults(f"{where} is no JSON: {error}") from None


def check_kinds(data: Any, kinds: Mapping[str, type | tuple[type, ...]]) -> None:
    """ValueError where `data` is no object of JSON, or lacks one of the names or has another kind of value there."""
    if not isinstance(data, dict):
        raise ValueError(f"{type(data).__name__}, expected an object")  # noqa: TRY004 - the file is wrong, not the caller
    for name, kind in kinds.items():
        value = data.get(name)
        # In Python, True is a number.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            kinds_told = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise ValueError(f"{name}={str(value)[:40]!r}, expected {kinds_told}")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{name}={str(value)[:40]}..., expected a number of 64 bits")


def csv_rows(data: bytes | BinaryIO, where: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV, the header first, empty lines left out, each with its line. UnreadableResults as they come.

    Each row has as many fields as the header. Of an opened file, no more than a row is in memory at once.
    """
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    lines = _Lines(source)
    reader = csv.reader(lines)
    columns = None
    try:
        for row in reader:
            lines.row = 0
            if not row:
                continue
            columns = len(row) if columns is None else columns
            if len(row) != columns:
                raise UnreadableResults(
                    f"{where}, line {reader.line_num} has {len(row)} fields, expected {columns}: was it cut off?"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise UnreadableResults(f"{where}, line {reader.line_num}: {error}") from None
    except UnicodeDecodeError:
        source.seek(0)
        decoded(source.read(), where)
    finally:
        lines.let_go()


class _Lines:
    """The lines of a text, of which csv.reader takes as many as a row has: none may be endless, nor any row."""

    def __init__(self, source: BinaryIO) -> None:
        self._text = io.TextIOWrapper(source, "utf-8-sig", newline="")
        self.row = 0
        """Characters of the row so far."""

    def let_go(self) -> None:
        """Leave the file open for whoever has opened it."""
        with contextlib.suppress(ValueError):  # closed already
            self._text.detach()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(_LONGEST_ROW)
        self.row += len(line)
        if not line:
            raise StopIteration
        if self.row >= _LONGEST_ROW:
            raise csv.Error(f"a row of more than {_LONGEST_ROW:,} characters")
        return line


def csv_header(data: bytes, where: str, what: str) -> list[str]:
    """The names of the columns. UnreadableResults where there are none, or one stands there twice."""
    _, header = next(csv_rows(data, where), (0, []))
    if not header:
        raise UnreadableResults(f"{where} is empty, expected a {what} with a header line")
    seen: set[str] = set()
    for column in header:
        if column in seen:
            raise UnreadableResults(f"{where} has the column {column} twice")
        seen.add(column)
    return header


def check_end(data: bytes | BinaryIO, where: str) -> None:
    """UnreadableResults where the last line has no end: a cut within a number leaves another number."""
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    source.seek(max(0, source.seek(0, os.SEEK_END) - 1))
    is_whole = source.read(1) == b"\n"
    source.seek(0)
    if not is_whole:
        lines = max(1, sum(1 for _ in source))
        raise UnreadableResults(f"{where}, line {lines} has no end: was the file cut off?")
