"""summary.csv, held to more than its schema: whole lines, each cell once, numbers that can be, times in seconds."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

from benchmarks.errors import UnreadableResults
from benchmarks.records import COLUMNS, from_csv

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.comparison.side import Key
    from benchmarks.records import Record

_TIMES = ("ci_low_s", "ci_high_s", "min_s", "q25_s", "q75_s")
_COUNTS = ("samples", "blocks", "processes")
_OTHER_UNITS = ("ms", "us", "ns", "min", "h", "seconds")
_ROUNDING = 1e-6
"""Written with nine significant digits."""


def read_text(file: Path) -> str:
    """The text of a result file. UnreadableResults where there is none."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UnreadableResults(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UnreadableResults(f"{file} is no text: byte {error.start} is not UTF-8") from None


def parse_summary(text: str, where: str) -> dict[str, dict[Key, Record]]:
    """Machine -> its cells in their order. Where one machine is named, what names none (it was lost) is that one's."""
    check_lines(text, where, known="schema_version")
    _check_units(text, where)
    records = from_csv(text, where)
    named = {record.machine for record in records if record.machine}
    nameless = next(iter(named)) if len(named) == 1 else ""
    found: dict[str, dict[Key, Record]] = {}
    for number, record in enumerate(records, start=2):
        cells = found.setdefault(record.machine or nameless, {})
        if record.key in cells:
            raise UnreadableResults(
                f"{where}, line {number}: {' '.join(record.key)} is here twice, expected each cell once"
            )
        _check_numbers(record, f"{where}, line {number}")
        cells[record.key] = record
    if not found:
        raise UnreadableResults(f"{where} has a header and no cells")
    return found


def check_lines(text: str, where: str, *, known: str) -> None:
    """UnreadableResults where a line was cut off. A header without the column `known` is left to those who read it."""
    reader = csv.reader(io.StringIO(text))
    try:
        header = next(reader, [])
        if known not in header:
            return
        for column in header:
            if header.count(column) > 1:
                raise UnreadableResults(f"{where} has the column {column} twice")
        for row in reader:
            if row and len(row) != len(header):
                raise UnreadableResults(
                    f"{where}, line {reader.line_num} has {len(row)} fields, expected {len(header)}: was it cut off?"
                )
    except csv.Error as error:
        raise UnreadableResults(f"{where}, line {reader.line_num}: {error}") from None
    if not text.endswith("\n"):
        raise UnreadableResults(f"{where}, line {reader.line_num} has no end: was the file cut off?")


def _check_units(text: str, where: str) -> None:
    """A column such as median_ms beside or instead of median_s: times are in seconds here, or not read at all."""
    header = next(csv.reader(io.StringIO(text)), [])
    foreign = {
        f"{name.removesuffix('_s')}_{unit}": name for name in COLUMNS if name.endswith("_s") for unit in _OTHER_UNITS
    }
    for column in header:
        if column in foreign:
            raise UnreadableResults(
                f"{where} has the column {column}, expected {foreign[column]}: times are in seconds"
            )


def _check_numbers(record: Record, where: str) -> None:
    for name in _TIMES:
        value = getattr(record, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UnreadableResults(f"{where}: {name}={value}, expected a number above 0")
    for name in _COUNTS:
        count = getattr(record, name)
        if count is not None and count < 1:
            raise UnreadableResults(f"{where}: {name}={count}, expected at least 1")
    for name in ("error_over_bound", "peak_memory_bytes"):
        value = getattr(record, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UnreadableResults(f"{where}: {name}={value}, expected a number of at least 0")
    if record.median_s is None:
        return
    for low, high in (("min_s", "median_s"), ("ci_low_s", "median_s"), ("median_s", "ci_high_s")):
        x, y = getattr(record, low), getattr(record, high)
        if x is not None and y is not None and x > y * (1 + _ROUNDING):
            raise UnreadableResults(f"{where}: {low}={x:g} is above {high}={y:g}: are the units mixed?")
