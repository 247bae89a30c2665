"""Runs as pandas DataFrames with types: numbers are numbers, what may be missing is nullable, names are ordered categories."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from backends.problem import DTYPES, PASSES
from benchmarks.comparison.summaries import parse_summary
from benchmarks.errors import UsageError
from benchmarks.foreign import csv_header, csv_rows, read_bytes
from benchmarks.records import COLUMNS, FIELDS, Record, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd


_KNOWN: dict[str, tuple[str, ...]] = {
    "status": tuple(map(str, Status)),
    "pass": PASSES,
    "dtype": DTYPES,
    "device": ("cpu", "cuda"),
}
"""Categories in an order of their own; what is not here comes after them."""
_APPEARING = ("run_id", "suite", "case", "framework", "implementation")
"""Categories in the order in which the runs have them: that of the suite and of the registry."""
_TYPES = {f.name: str(f.type) for f in dataclasses.fields(Record)}


def load(*runs: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """The cells of runs, folders or summary.csv files: columns as results/README.md has them.

    `run_id` tells several runs apart; where two have the same, it is the path that was given.

    Raises UnreadableResults where a file is not a summary.csv of a known schema, UsageError where no run, or one twice, is
    given.
    """
    paths = _paths(runs)
    found = {path: _records(path) for path in paths}
    ids = [records[0].run_id for records in found.values()]
    return frame_of(
        [
            record if ids.count(record.run_id) == 1 else dataclasses.replace(record, run_id=str(path))
            for path, records in found.items()
            for record in records
        ]
    )


def frame_of(records: Sequence[Record]) -> pd.DataFrame:
    """Records as `load` returns them."""
    import pandas as pd

    columns = {}
    for name, column in zip(FIELDS, COLUMNS, strict=True):
        values, type_ = [getattr(record, name) for record in records], _TYPES[name]
        if column in _KNOWN or column in _APPEARING:
            columns[column] = _ordered(pd.Series(map(str, values), dtype="object"), column)
        elif type_.startswith("int"):
            columns[column] = pd.Series(values, dtype="Int64" if "None" in type_ else "int64")
        elif type_.startswith("float"):
            columns[column] = pd.Series(values, dtype="float64")
        else:
            columns[column] = pd.Series(values, dtype="str")
    return pd.DataFrame(columns)


def load_samples(*runs: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """The timed blocks of run folders, with `run_id` as in `load`, and `per_call_s` added where it is not there.

    Raises as `load` does.
    """
    import pandas as pd

    paths = _paths(runs)
    ids = [_run_id(path) for path in paths]
    frames = []
    for path, run_id in zip(paths, ids, strict=True):
        frame = _samples(path / "samples.csv")
        frame.insert(0, "run_id", run_id if ids.count(run_id) == 1 else str(path))
        frames.append(frame)
    found = pd.concat(frames, ignore_index=True)
    for column in ("run_id", "case", "implementation", "device", "pass"):
        found[column] = _ordered(found[column], column)
    return found


def _samples(file: Path) -> pd.DataFrame:
    from benchmarks.blocks import MACHINE, read_blocks

    frame = read_blocks(read_bytes(file), str(file))
    if MACHINE in frame:
        frame = frame.astype({MACHINE: "str"})
    return frame if "per_call_s" in frame else frame.assign(per_call_s=frame["seconds"] / frame["calls"])


def _ordered(values: pd.Series, column: str) -> pd.Series:
    """As a category whose order is that of _KNOWN, then that of appearance."""
    import pandas as pd

    categories = dict.fromkeys((*_KNOWN.get(column, ()), *values.unique()))
    return values.astype(pd.CategoricalDtype(list(categories), ordered=True))


def _paths(runs: tuple[str | Path | Iterable[str | Path], ...]) -> list[Path]:
    flat = [one for given in runs for one in ([given] if isinstance(given, str | Path) else given)]
    paths = [Path(one) for one in flat]
    if not paths:
        raise UsageError("no run given, expected run folders or summary.csv files")
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise UsageError(f"{twice[0]} is given twice, expected each run once")
    return paths


def _records(path: Path) -> list[Record]:
    file = path / "summary.csv" if path.is_dir() else path
    return [record for cells in parse_summary(read_bytes(file), str(file)).values() for record in cells.values()]


def _run_id(folder: Path) -> str:
    """That of the summary.csv beside the samples; the folder's name where there is none."""
    file = folder / "summary.csv"
    if not file.is_file():
        return folder.name
    data = read_bytes(file)
    header = csv_header(data, str(file), "summary.csv")
    _, row = next(itertools.islice(csv_rows(data, str(file)), 1, None), (0, []))
    return dict(zip(header, row, strict=False)).get("run_id") or folder.name
