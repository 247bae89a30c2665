"""summary.csv, held to more than its schema: whole lines, each cell once, times in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.errors import UnreadableResults
from benchmarks.foreign import as_bytes, check_end, csv_header
from benchmarks.records import COLUMNS, from_csv

if TYPE_CHECKING:
    from benchmarks.comparison.side import Key
    from benchmarks.records import Record

_OTHER_UNITS = ("ms", "us", "ns", "min", "h", "seconds")


def parse_summary(data: bytes | str, where: str) -> dict[str, dict[Key, Record]]:
    """Machine -> its cells in their order. Where one machine is named, what names none (it was lost) is that one's."""
    data = as_bytes(data)
    header = csv_header(data, where, "summary.csv")
    if "schema_version" in header:
        check_end(data, where)
        _check_units(header, where)
    records = from_csv(data, where)
    named = {record.machine for record in records if record.machine}
    nameless = next(iter(named)) if len(named) == 1 else ""
    found: dict[str, dict[Key, Record]] = {}
    for number, record in enumerate(records, start=2):
        cells = found.setdefault(record.machine or nameless, {})
        if record.key in cells:
            raise UnreadableResults(
                f"{where}, line {number}: {' '.join(record.key)} is here twice, expected each cell once"
            )
        cells[record.key] = record
    if not found:
        raise UnreadableResults(f"{where} has a header and no cells")
    return found


def _check_units(header: list[str], where: str) -> None:
    """A column such as median_ms beside or instead of median_s: times are in seconds here, or not read at all."""
    foreign = {
        f"{name.removesuffix('_s')}_{unit}": name for name in COLUMNS if name.endswith("_s") for unit in _OTHER_UNITS
    }
    for column in header:
        if column in foreign:
            raise UnreadableResults(
                f"{where} has the column {column}, expected {foreign[column]}: times are in seconds"
            )
