"""Parquet beside the CSVs, where it is asked for: the frames of benchmarks.load and load_samples, types and orders kept."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from benchmarks.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def check_parquet() -> None:
    """UsageError with the remedy where what writes Parquet is not installed; to be asked before anything is measured."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError('--parquet needs pyarrow, which is not installed; install it: pip install -e ".[parquet]"')


def write_parquet(frame: pd.DataFrame, file: Path) -> None:
    """One file, whole or not at all. UsageError where it cannot be written."""
    check_parquet()
    part = file.with_name(file.name + ".part")
    try:
        frame.to_parquet(part, engine="pyarrow", index=False)
        part.replace(file)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from None


def write_run(folder: Path) -> None:
    """summary.parquet and samples.parquet beside the CSVs of a run that has ended."""
    from benchmarks.frames import load, load_samples

    write_parquet(load(folder), folder / "summary.parquet")
    write_parquet(load_samples(folder), folder / "samples.parquet")
