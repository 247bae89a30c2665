"""Runs as pandas DataFrames."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.foreign import read_bytes
from benchmarks.records import COLUMNS, Status, read

if TYPE_CHECKING:
    import pandas as pd


def load(run: str | Path) -> pd.DataFrame:
    """The cells of a run folder or a summary.csv: columns as results/README.md has them, `status` an ordered category.

    Raises UnreadableResults where the file is not a summary.csv of a known schema.
    """
    import pandas as pd

    frame = pd.DataFrame([dataclasses.astuple(r) for r in read(Path(run))], columns=list(COLUMNS))
    frame["status"] = pd.Categorical([str(s) for s in frame["status"]], [str(s) for s in Status], ordered=True)
    return frame


def load_samples(run: str | Path) -> pd.DataFrame:
    """The timed blocks of a run folder, with `per_call_s` added. Raises UnreadableResults."""
    from benchmarks.blocks import TEXTS, read_blocks

    file = Path(run) / "samples.csv"
    frame = read_blocks(read_bytes(file), str(file)).astype(dict.fromkeys(TEXTS, "str"))
    return frame.assign(per_call_s=frame["seconds"] / frame["calls"])
