"""One row of summary.csv, its schema, and the reading and writing of it. A result file is data: reading one runs no code."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UnreadableResults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
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
    """Query, key, value, mask, bias and output, each moved once."""
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
    """Of one call, each array once: see work."""
    machine: str = ""
    """What it was measured on, as harness.environment.machine_id names it; empty in files from before it was recorded."""

    def __post_init__(self) -> None:
        timed = self.median_s is not None
        if timed != (self.status is Status.OK):
            raise ValueError(
                f"{self.key}: status {self.status} with median_s={self.median_s}: only ok rows carry a time"
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


def safe_text(text: str) -> str:
    """Text for a CSV: a spreadsheet would run what starts like a formula; reasons and kernels come from foreign code."""
    return f"'{text}" if text[:1] in ("=", "+", "@", "-", "\t", "\r") else text


def _kind(type_: str) -> tuple[Callable[[str], Any], str, bool]:
    """How a column is read, what it is called, and whether it may be empty."""
    kind = type_.partition(" |")[0]
    return {"int": int, "float": float, "Status": Status}.get(kind, str), kind, "None" in type_


_KINDS = tuple((f.name, _column(f.name), *_kind(str(f.type))) for f in dataclasses.fields(Record))


def from_csv(text: str, where: str) -> list[Record]:
    """Records of a summary.csv. UnreadableResults says what is wrong and on which line."""
    reader = csv.DictReader(io.StringIO(text))
    try:
        header = reader.fieldnames
        if not header:
            raise UnreadableResults(f"{where} is empty, expected a summary.csv with a header line")
        if "schema_version" not in header:
            raise UnreadableResults(f"{where} has no column schema_version: it is not a summary.csv")
        if missing := sorted(_REQUIRED - set(header)):
            raise UnreadableResults(f"{where} lacks the column {missing[0]}")
        return [_record(row, f"{where}, line {number}") for number, row in enumerate(reader, start=2)]
    except csv.Error as error:
        raise UnreadableResults(f"{where}: {error}") from error


def _record(row: dict[str, str], where: str) -> Record:
    if row.get("schema_version") != str(SCHEMA_VERSION):
        raise UnreadableResults(f"{where}: schema_version {row.get('schema_version')!r}, expected {SCHEMA_VERSION}")
    values: dict[str, Any] = {}
    for name, column, parse, kind, may_be_empty in _KINDS:
        text = row.get(column) or ""
        if parse is str:
            values[name] = text
        elif not text and may_be_empty:
            values[name] = None
        else:
            try:
                values[name] = parse(text)
            except ValueError as error:
                raise UnreadableResults(f"{where}: {column}={text!r}, expected {kind}") from error
    try:
        return Record(**values)
    except ValueError as error:
        raise UnreadableResults(f"{where}: {error}") from error


def read(path: Path) -> list[Record]:
    """Records of a run folder or a summary.csv."""
    file = path / "summary.csv" if path.is_dir() else path
    try:
        return from_csv(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableResults(f"{file} cannot be read: {error}") from error
