"""One row of summary.csv, its schema, and the reading and writing of it. A result file is data: reading one runs no code."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UnreadableResults
from benchmarks.foreign import as_bytes, check_end, check_room, csv_header, csv_rows, read_bytes
from benchmarks.plausible import check_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from benchmarks.cases import Case

SCHEMA_VERSION = 1
"""1: the first. A reader refuses versions that it does not know."""


class Status(StrEnum):
    """How a cell ended. Only OK carries a time."""

    OK = "ok"
    INCORRECT = "incorrect"
    UNSUPPORTED = "unsupported"
    NOT_INSTALLED = "not_installed"
    ERROR = "error"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"


FAILURES = frozenset(Status) - {Status.OK, Status.UNSUPPORTED, Status.NOT_INSTALLED}
"""What makes a run exit with 1, unless it was not tried."""
_ROW_BYTES = 950
"""What a record takes."""
NOT_TRIED = "not tried: "
"""How the reason of a cell begins that was left out because a shorter one told how it would end: where a sweep ends, as
planned.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One cell: case x implementation x device x pass. The order of the fields is the order of the columns."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    suite: str
    case: str
    framework: str
    implementation: str
    device: str
    dtype: str
    pass_: str = "forward"  # noqa: S105 - the pass of a cell, not a password
    """Column `pass`."""
    B: int
    T: int
    S: int
    N: int
    K: int
    H: int
    V: int
    causal: str = ""
    window: str = ""
    softcap: float | None = None
    scale: float | None = None
    mask: str = ""
    bias: str = ""
    kv_lengths: str = ""
    status: Status
    reason: str = ""
    """Why the status is not ok, in one line."""
    median_s: float | None = None
    """Seconds per call: the median over the blocks of each process, then the geometric mean over the processes; on one CPU
    each block at the core speed of quiet moments: see core_speed."""
    ci_low_s: float | None = None
    ci_high_s: float | None = None
    """95 % interval of the median, over processes and blocks."""
    min_s: float | None = None
    q25_s: float | None = None
    q75_s: float | None = None
    samples: int | None = None
    """Timed calls."""
    blocks: int | None = None
    processes: int | None = None
    first_call_s: float | None = None
    """The first call in a fresh process, with tracing and compiling; not part of the median."""
    gflops: float | None = None
    """Counting the visible pairs only."""
    gflops_conventional: float | None = None
    """Counting as the FlashAttention papers do: all pairs, halved if causal."""
    gb_per_s: float | None = None
    """moved_bytes over the median."""
    peak_fraction: float | None = None
    """gflops over what the roofline of this run allows for the case: see benchmarks.limits."""
    peak_memory_bytes: int | None = None
    """Of a warm call, beyond its inputs and what it returns; see benchmarks.harness.memory."""
    max_abs_error: float | None = None
    error_over_bound: float | None = None
    error_over_naive: float | None = None
    """Largest error over that of the textbook computation in the same dtype (FlashAttention's rule: at most 2)."""
    speedup: float | None = None
    """Median of the framework's naive implementation over this one's."""
    noise_floor: float | None = None
    threads: str = ""
    layout: str = ""
    matmul_precision: str = ""
    jit: str = ""
    """Compile mode, or eager."""
    lowered: str = ""
    """Semantics expressed through the mask or bias before the clock."""
    kernel: str = ""
    """What the profiler or the compiler says has run."""
    median_raw_s: float | None = None
    """Median over all blocks of the seconds per call, as the clock gave them."""
    flops: int | None = None
    """Of one call, for the visible pairs: see work."""
    moved_bytes: int | None = None
    """Of one call, what the visible pairs need and what is written, each once: see work."""
    machine: str = ""
    """What it was measured on, as harness.environment.machine_id names it; empty in files from before it was recorded."""
    device_s: float | None = None
    """Seconds that the device works for a call, its cache warm: without what the host takes to ask for it and to learn that
    it is done. Of accelerators, where the framework lets one measure it; see device_clock."""
    device_cold_s: float | None = None
    """The same with an empty second-level cache."""
    device_clock: str = ""
    """What told device_s: "events" (from before the first kernel to after the last), "kernels" (their own times, added up)."""
    checked: str = ""
    """What was held to the oracle: "3 of 32 heads" where a problem is too large for all of them; empty: everything."""
    first_call_cache: str = ""
    """"hit" where first_call_s took compiled code from a cache on the disk, which an earlier run had filled; else empty."""

    def __post_init__(self) -> None:
        timed = self.median_s is not None
        if timed != (self.status is Status.OK):
            raise ValueError(
                f"{self.key}: status {self.status} with median_s={self.median_s}: only ok rows carry a time"
            )
        if not timed and self.device_s is not None:
            raise ValueError(
                f"{self.key}: status {self.status} with device_s={self.device_s}: only ok rows carry a time"
            )
        if self.median_s is not None and not (math.isfinite(self.median_s) and self.median_s > 0):
            raise ValueError(f"{self.key}: median_s={self.median_s}, expected a number above 0")
        if self.status is not Status.OK and not self.reason:
            raise ValueError(f"{self.key}: status {self.status} without a reason")

    @property
    def failed(self) -> bool:
        """Whether something went wrong; where a sweep ends, nothing did."""
        return self.status in FAILURES and not self.reason.startswith(NOT_TRIED)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What identifies a cell among those of its machine."""
        return (self.case, self.implementation, self.device, self.pass_)


def _column(name: str) -> str:
    return name.rstrip("_")


FIELDS = tuple(f.name for f in dataclasses.fields(Record))
COLUMNS = tuple(map(_column, FIELDS))
_REQUIRED = frozenset(_column(f.name) for f in dataclasses.fields(Record) if f.default is dataclasses.MISSING)


def by_machine(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Machine -> its records, both in the order in which they come. Times of two machines are never held together."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.machine, []).append(record)
    return found


def describe(case: Case) -> dict[str, Any]:
    """The columns that follow from the case."""
    semantics = case.semantics
    window = "" if semantics.window is None else ":".join("" if w is None else str(w) for w in semantics.window)
    return {
        "case": case.name,
        "dtype": case.dtype,
        "pass_": case.pass_,
        **dataclasses.asdict(case.shape),
        "causal": semantics.causal or "",
        "window": window,
        "softcap": semantics.softcap,
        "scale": semantics.scale,
        "mask": case.mask or "",
        "bias": case.bias or "",
        "kv_lengths": "" if case.kv_lengths is None else " ".join(map(str, case.kv_lengths)),
    }


def to_csv(records: Iterable[Record]) -> str:
    """Summary.csv as text: floats with nine significant digits, empty for what was not measured."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow([_cell(getattr(record, name)) for name in FIELDS])
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.9g}"
    return str(value) if isinstance(value, int) else safe_text(str(value))


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All but tab and line end."""


def safe_text(text: str) -> str:
    """Text for a CSV: a spreadsheet would run what starts like a formula; reasons and kernels come from foreign code.

    A carriage return becomes a line end: csv.writer does not quote it, and a reader takes it for the end of the row. Other
    control characters become question marks: the CSV may be printed, and would steer the terminal.
    """
    text = _CONTROL.sub("?", text.replace("\r\n", "\n").replace("\r", "\n"))
    return f"'{text}" if text[:1] in ("=", "+", "@", "-", "\t") else text


def from_csv(text: bytes | str, where: str) -> list[Record]:
    """Records of a summary.csv. UnreadableResults says what is wrong and on which line."""
    data = as_bytes(text)
    header = csv_header(data, where, "summary.csv")
    if "schema_version" not in header:
        raise UnreadableResults(f"{where} has no column schema_version: it is not a summary.csv")
    if missing := sorted(_REQUIRED - set(header)):
        raise UnreadableResults(f"{where} lacks the column {missing[0]}")
    check_room(where, len(data), len(data) + _ROW_BYTES * data.count(b"\n"))
    places = {column: place for place, column in enumerate(header)}
    fields = [(name, column, kind, places[column]) for name, column, kind in _FIELDS if column in places]
    texts: dict[str, str] = {}
    """One and the same text of many rows is kept once."""
    rows = csv_rows(data, where)
    next(rows)
    return [_record(fields, row, texts, f"{where}, line {line}") for line, row in rows]


def _record(fields: Sequence[tuple[str, str, str, int]], row: list[str], texts: dict[str, str], where: str) -> Record:
    values: dict[str, Any] = {}
    for name, column, kind, place in fields:
        text = row[place]
        if kind == "str":
            values[name] = texts.setdefault(text, text)
        elif text or kind not in _OPTIONAL:
            try:
                values[name] = _PARSERS[kind](text)
            except ValueError:
                if name == "schema_version":
                    break
                expected = kind.partition(" |")[0]
                raise UnreadableResults(f"{where}: {column}={text[:80]!r}, expected {expected}") from None
    if values.get("schema_version") != SCHEMA_VERSION:
        told = row[next(place for name, _, _, place in fields if name == "schema_version")]
        raise UnreadableResults(f"{where}: schema_version {told[:80]!r}, expected {SCHEMA_VERSION}")
    try:
        record = Record(**values)
    except ValueError as error:
        raise UnreadableResults(f"{where}: {error}") from None
    check_numbers(record, where)
    return record


def _whole(text: str) -> int:
    """A whole number of 64 bits: what is counted here needs no more, and what is computed with it stays quick."""
    value = int(text) if len(text) < 40 else 2**63
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


_PARSERS: dict[str, Callable[[str], Any]] = {
    "int": _whole,
    "int | None": _whole,
    "float | None": float,
    "Status": Status,
}
_OPTIONAL = frozenset({"int | None", "float | None"})
_FIELDS = tuple((f.name, _column(f.name), str(f.type)) for f in dataclasses.fields(Record))


def read(path: Path) -> list[Record]:
    """Records of a run folder or a summary.csv. UnreadableResults says which line is wrong."""
    file = path / "summary.csv" if path.is_dir() else path
    data = read_bytes(file)
    records = from_csv(data, str(file))
    check_end(data, str(file))
    return records
