"""summary.csv, held to more than its schema: whole lines, each cell once, times in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.errors import UnreadableResults
from benchmarks.foreign import as_bytes, check_end, csv_header
from benchmarks.records import COLUMNS, by_key, from_csv

if TYPE_CHECKING:
    from benchmarks.comparison.side import Key
    from benchmarks.records import Record

_OTHER_UNITS = ("ms", "us", "ns", "min", "h", "seconds")


def parse_summary(data: bytes | str, where: str) -> dict[Key, Record]:
    """Its cells in their order."""
    data = as_bytes(data)
    header = csv_header(data, where, "summary.csv")
    if "schema_version" in header:
        check_end(data, where)
        _check_units(header, where)
    found = by_key(from_csv(data, where), where)
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
