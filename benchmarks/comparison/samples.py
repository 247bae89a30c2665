"""samples.csv: from every block of a run to one log time per process of each cell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmarks.blocks import MACHINE, TEXTS, read_blocks
from benchmarks.core_speed import QUIET, slopes
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import as_bytes
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pandas as pd

    from benchmarks.comparison.side import Key
    from benchmarks.records import Record

_COLUMNS = (*TEXTS, "process", "block", "calls", "seconds", "canary_s", "per_call_s")
"""The order of the blocks among cells tells nothing here."""
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
    data: bytes | str, where: str, machines: Mapping[str, Mapping[Key, Record]], one_core: Collection[str]
) -> dict[str, Samples]:
    """Read the blocks of each machine; on one core each at the core speed of the run's quiet moments.

    UnreadableResults for blocks that cannot be, that belong to no cell, or that are not those of the summary.

    Args:
        machines: as summaries.parse_summary gives them.
        one_core: those of them whose workers had one CPU.

    """
    frame = read_blocks(as_bytes(data), where, _COLUMNS)
    del data
    if len(machines) == 1:
        ((machine, records),) = machines.items()
        return {machine: _samples(frame, where, records, one_core=machine in one_core)}
    if MACHINE not in frame:
        raise UnreadableResults(
            f"{where} lacks the column {MACHINE}, and its summary.csv is of {len(machines)} machines"
        )
    parts = {str(name): part for name, part in frame.groupby(MACHINE, sort=False, observed=True)}
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
    group = _groups(frame, cell, where)
    laps = "per_call_s" in frame
    per_call_s = (frame["per_call_s"] if laps else frame["seconds"] / frame["calls"]).to_numpy()
    _check_agreement(cell, per_call_s, keys, where, records)
    if frame.empty:  # nothing was timed: every cell failed or was refused
        return Samples({}, {}, 0.0, laps)
    log_time, log_canary = np.log(per_call_s), np.log(frame["canary_s"].to_numpy())
    log_quiet = float(np.quantile(log_canary, QUIET))
    slope = slopes(cell, group, log_time, log_canary) if one_core else np.zeros(len(keys))
    log_canary -= log_quiet
    log_canary *= slope[cell]
    log_time -= log_canary
    logs: dict[Key, list[float]] = defaultdict(list)
    of_group = np.zeros(int(group.max()) + 1, np.int64)
    of_group[group] = cell
    for place, value in zip(of_group.tolist(), _medians(group, log_time).tolist(), strict=True):
        logs[keys[place]].append(value)
    ok = {key: tuple(values) for key, values in logs.items() if records[key].status is Status.OK}
    return Samples(ok, {key: float(s) for key, s in zip(keys, slope, strict=True)} if one_core else {}, log_quiet, laps)


def _groups(frame: pd.DataFrame, cell: np.ndarray, where: str) -> np.ndarray:
    """A number for each process of each cell, in their order. UnreadableResults for a block that is there twice."""
    process, block = frame["process"].to_numpy(), frame["block"].to_numpy()
    order = np.lexsort((block, process, cell))
    moved = np.diff(cell[order]).astype(bool) | np.diff(process[order]).astype(bool)
    twice = ~moved & (np.diff(block[order]) == 0)
    if twice.any():
        row = int(np.sort(order[1:][twice])[0])
        raise UnreadableResults(
            f"{where}, line {frame.index[row] + 2}: block {block[row]} of its process is here twice"
        )
    group = np.zeros(len(order), np.int64)
    group[order[1:]] = np.cumsum(moved)
    return group


def _medians(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Of each group; groups are numbered from 0, each of them has values."""
    counts = np.bincount(group)
    values = values[np.lexsort((values, group))]
    start = np.cumsum(counts) - counts
    return (values[start + (counts - 1) // 2] + values[start + counts // 2]) / 2


def _cells(frame: pd.DataFrame) -> tuple[np.ndarray, list[Key]]:
    """A number for the cell of each row, and the cells by number."""
    code = np.zeros(len(frame), np.int64)
    for column in TEXTS:
        code = code * max(len(frame[column].cat.categories), 1) + frame[column].cat.codes.to_numpy()
    _, first, cell = np.unique(code, return_index=True, return_inverse=True)
    rows = frame[list(TEXTS)].iloc[first].astype("object").itertuples(index=False, name=None)
    return cell, [cast("Key", row) for row in rows]


def _check_agreement(
    cell: np.ndarray, per_call_s: np.ndarray, keys: list[Key], where: str, records: Mapping[Key, Record]
) -> None:
    """The blocks of an ok cell are those that its summary was made from: none lost, the same times in the same unit."""
    counted = dict(zip(keys, np.bincount(cell).tolist(), strict=True)) if keys else {}
    median = dict(zip(keys, _medians(cell, per_call_s).tolist(), strict=True)) if keys else {}
    for key, record in records.items():
        if record.median_s is None:
            continue
        blocks = counted.get(key, 0)
        if blocks == 0 or (record.blocks is not None and blocks != record.blocks):
            said = "some" if record.blocks is None else str(record.blocks)
            raise UnreadableResults(
                f"{where} has {blocks} blocks of {' '.join(key)}, summary.csv says {said}: was it cut off?"
            )
        found, told = median[key], record.median_raw_s or record.median_s
        if abs(found - told) > _AGREEMENT * told:
            raise UnreadableResults(
                f"{where}: the median of {' '.join(key)} is {found:g} s, summary.csv says {told:g} s: "
                "are the units mixed?"
            )
