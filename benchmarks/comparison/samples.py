"""samples.csv: from every block of a run to one log time per process of each cell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmarks.blocks import TEXTS, read_blocks
from benchmarks.core_speed import QUIET, slopes
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import as_bytes
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from benchmarks.comparison.side import Key
    from benchmarks.records import Record

_COLUMNS = (*TEXTS, "process", "block", "calls", "seconds", "canary_s")
"""The order of the blocks among cells tells nothing here."""
_AGREEMENT = 1e-3
"""How far the median of the blocks may be from the one in summary.csv: rounding, and no more."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What the blocks of a run say."""

    logs: dict[Key, tuple[float, ...]]
    """For each ok cell, the median over the blocks of log(seconds / calls) in each of its processes."""
    slopes: dict[Key, float]
    """How far each cell follows the core's speed; empty where that was not taken out."""
    log_quiet: float
    """Log of the canary's seconds at the core speed that the logs are told for."""


def parse_samples(data: bytes | str, where: str, records: Mapping[Key, Record], *, one_core: bool) -> Samples:
    """Read the blocks; on one core each at the core speed of the run's quiet moments.

    UnreadableResults for blocks that cannot be, that belong to no cell, or that are not those of the summary.
    """
    frame = read_blocks(as_bytes(data), where, _COLUMNS)
    cell, keys = _cells(frame)
    for place, key in enumerate(keys):
        if key not in records:
            line = int(np.argmax(cell == place)) + 2
            raise UnreadableResults(f"{where}, line {line}: {' '.join(key)} is not in summary.csv")
    frame = frame.assign(cell=cell)
    twice = frame.duplicated(["cell", "process", "block"])
    if twice.any():
        line = int(np.argmax(twice.to_numpy()))
        raise UnreadableResults(
            f"{where}, line {line + 2}: block {frame['block'].iloc[line]} of its process is here twice"
        )
    frame["per_call_s"] = frame["seconds"] / frame["calls"]
    _check_agreement(frame, keys, where, records)
    if frame.empty:  # nothing was timed: every cell failed or was refused
        return Samples({}, {}, 0.0)
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
    return Samples(ok, {key: float(s) for key, s in zip(keys, slope, strict=True)} if one_core else {}, log_quiet)


def _cells(frame: pd.DataFrame) -> tuple[np.ndarray, list[Key]]:
    """A number for the cell of each row, and the cells by number."""
    code = np.zeros(len(frame), np.int64)
    for column in TEXTS:
        code = code * max(len(frame[column].cat.categories), 1) + frame[column].cat.codes.to_numpy()
    _, first, cell = np.unique(code, return_index=True, return_inverse=True)
    rows = frame[list(TEXTS)].iloc[first].astype("object").itertuples(index=False, name=None)
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
