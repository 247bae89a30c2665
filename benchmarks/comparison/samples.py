"""samples.csv: from every block of a run to one log time per process of each cell."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmarks.comparison.summaries import check_lines
from benchmarks.core_speed import QUIET, slopes
from benchmarks.errors import UnreadableResults
from benchmarks.records import Status
from benchmarks.run_folder import LATER_SAMPLE_COLUMNS, SAMPLE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import pandas as pd

    from benchmarks.comparison.side import Key
    from benchmarks.records import Record

_TEXTS = ("case", "implementation", "device", "pass")
_TIMES = ("seconds", "canary_s")
_COUNTS = ("process", "block", "order", "calls")
_MACHINE = "machine"
_AGREEMENT = 1e-3
"""How far the median of the blocks may be from the one in summary.csv: rounding, and no more."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What the blocks of a run say."""

    logs: dict[Key, tuple[float, ...]]
    """For each ok cell, the median over the blocks of log(seconds per call) in each of its processes."""
    slopes: dict[Key, float]
    """How far each cell follows the core's speed; empty where that was not taken out."""
    log_quiet: float
    """Log of the canary's seconds at the core speed that the logs are told for."""
    laps: bool
    """Whether a block is told by its middle lap; else by seconds / calls."""


def parse_samples(
    text: str, where: str, machines: Mapping[str, Mapping[Key, Record]], one_core: Collection[str]
) -> dict[str, Samples]:
    """Read the blocks of each machine; on one core each at the core speed of the run's quiet moments.

    UnreadableResults for blocks that cannot be, that belong to no cell, or that are not those of the summary.

    Args:
        machines: as summaries.parse_summary gives them.
        one_core: those of them whose workers had one CPU.

    """
    frame = _frame(text, where)
    if len(machines) == 1:
        ((machine, records),) = machines.items()
        return {machine: _samples(frame, where, records, one_core=machine in one_core)}
    if _MACHINE not in frame:
        raise UnreadableResults(
            f"{where} lacks the column {_MACHINE}, and its summary.csv is of {len(machines)} machines"
        )
    parts = {str(name): part for name, part in frame.groupby(_MACHINE, sort=False)}
    for name, part in parts.items():
        if name not in machines:
            raise UnreadableResults(f"{where}, line {part.index[0] + 2}: machine {name} is not in summary.csv")
    nothing = frame.iloc[:0]
    return {
        machine: _samples(parts.get(machine, nothing), where, records, one_core=machine in one_core)
        for machine, records in machines.items()
    }


def _samples(frame: pd.DataFrame, where: str, records: Mapping[Key, Record], *, one_core: bool) -> Samples:
    """Of one machine; the frame's index tells the lines."""
    cell, keys = _cells(frame)
    for place, key in enumerate(keys):
        if key not in records:
            line = frame.index[int(np.argmax(cell == place))] + 2
            raise UnreadableResults(f"{where}, line {line}: {' '.join(key)} is not in summary.csv")
    frame = frame.assign(cell=cell)
    twice = frame.duplicated(["cell", "process", "block"])
    if twice.any():
        line = int(np.argmax(twice.to_numpy()))
        raise UnreadableResults(
            f"{where}, line {frame.index[line] + 2}: block {frame['block'].iloc[line]} of its process is here twice"
        )
    laps = "per_call_s" in frame
    if not laps:
        frame["per_call_s"] = frame["seconds"] / frame["calls"]
    _check_agreement(frame, keys, where, records)
    if frame.empty:  # nothing was timed: every cell failed or was refused
        return Samples({}, {}, 0.0, laps)
    groups = frame.groupby(["cell", "process"], sort=True).ngroup().to_numpy()
    log_time, log_canary = (np.log(frame[name].to_numpy()) for name in ("per_call_s", "canary_s"))
    log_quiet = float(np.quantile(log_canary, QUIET))
    slope = slopes(cell, groups, log_time, log_canary) if one_core else np.zeros(len(keys))
    frame["log"] = log_time - slope[cell] * (log_canary - log_quiet)
    medians = frame.groupby(["cell", "process"], sort=True)["log"].median()
    logs: dict[Key, list[float]] = defaultdict(list)
    for place, value in zip(medians.index.get_level_values("cell"), medians.to_numpy(), strict=True):
        logs[keys[place]].append(float(value))
    ok = {key: tuple(values) for key, values in logs.items() if records[key].status is Status.OK}
    return Samples(ok, {key: float(s) for key, s in zip(keys, slope, strict=True)} if one_core else {}, log_quiet, laps)


def _frame(text: str, where: str) -> pd.DataFrame:
    """All blocks, each number one that can be."""
    import pandas as pd

    header = next(csv.reader(io.StringIO(text)), [])
    if not header:
        raise UnreadableResults(f"{where} is empty, expected a samples.csv with a header line")
    if missing := [c for c in SAMPLE_COLUMNS if c not in header and c not in LATER_SAMPLE_COLUMNS]:
        raise UnreadableResults(f"{where} lacks the column {missing[0]}")
    times = _times(header)
    types = {
        **dict.fromkeys((*_TEXTS, _MACHINE), "str"),
        **dict.fromkeys(_COUNTS, "int64"),
        **dict.fromkeys(times, "float64"),
    }
    try:
        # A case may be called NA or 01: texts stay texts.
        frame = pd.read_csv(io.StringIO(text), dtype=types, keep_default_na=False, na_values=[])
    except (ValueError, OverflowError) as error:
        raise _explained(text, where, error) from None
    wrong = (frame["calls"].to_numpy() < 1) | (frame["process"].to_numpy() < 0)
    for name in times:
        wrong |= ~(np.isfinite(frame[name].to_numpy()) & (frame[name].to_numpy() > 0))
    if wrong.any() or not text.endswith("\n") or not _first_line_fits(text):
        raise _explained(text, where, None)
    return frame


def _times(header: Iterable[str]) -> list[str]:
    return [*_TIMES, *(name for name in LATER_SAMPLE_COLUMNS if name in header)]


def _first_line_fits(text: str) -> bool:
    """Pandas takes a first line that is too long for one with row names."""
    reader = csv.reader(io.StringIO(text))
    return len(next(reader)) == len(next(reader, [])) or next(reader, None) is None


def _explained(text: str, where: str, error: Exception | None) -> UnreadableResults:
    """The first line that is wrong, found the slow way."""
    try:
        check_lines(text, where, known="seconds")
        reader = csv.DictReader(io.StringIO(text))
        for row in reader:
            _check_row(row, f"{where}, line {reader.line_num}")
    except UnreadableResults as found:
        return found
    return UnreadableResults(f"{where} cannot be read: {str(error).strip().splitlines()[-1]}")


def _check_row(row: Mapping[str, str], where: str) -> None:
    times = _times(row)
    for name in (*_COUNTS, *times):
        number = int if name in _COUNTS else float
        try:
            value = number(row[name])
        except ValueError:
            raise UnreadableResults(f"{where}: {name}={row[name]!r}, expected a number") from None
        least = 1 if name == "calls" else 0
        if name in times and not (math.isfinite(value) and value > 0):
            raise UnreadableResults(f"{where}: {name}={row[name]}, expected a number above 0")
        if name in _COUNTS and not least <= value < 2**63:
            raise UnreadableResults(f"{where}: {name}={row[name]}, expected a whole number of at least {least}")


def _cells(frame: pd.DataFrame) -> tuple[np.ndarray, list[Key]]:
    """A number for the cell of each row, and the cells by number."""
    import pandas as pd

    code = np.zeros(len(frame), np.int64)
    for column in _TEXTS:
        codes, names = pd.factorize(frame[column])
        code = code * max(len(names), 1) + codes
    _, first, cell = np.unique(code, return_index=True, return_inverse=True)
    rows = frame[list(_TEXTS)].iloc[first].itertuples(index=False, name=None)
    return cell, [cast("Key", row) for row in rows]


def _check_agreement(frame: pd.DataFrame, keys: list[Key], where: str, records: Mapping[Key, Record]) -> None:
    """The blocks of an ok cell are those that its summary was made from: none lost, the same times in the same unit."""
    grouped = frame.groupby("cell")["per_call_s"]
    counted = dict(zip(keys, grouped.size().to_numpy(), strict=True))
    median = dict(zip(keys, grouped.median().to_numpy(), strict=True))
    for key, record in records.items():
        if record.median_s is None:
            continue
        blocks = int(counted.get(key, 0))
        if blocks == 0 or (record.blocks is not None and blocks != record.blocks):
            said = "some" if record.blocks is None else str(record.blocks)
            raise UnreadableResults(
                f"{where} has {blocks} blocks of {' '.join(key)}, summary.csv says {said}: was it cut off?"
            )
        found, told = float(median[key]), record.median_raw_s or record.median_s
        if abs(found - told) > _AGREEMENT * told:
            raise UnreadableResults(
                f"{where}: the median of {' '.join(key)} is {found:g} s, summary.csv says {told:g} s: "
                "are the units mixed?"
            )
