"""Runs as pandas DataFrames."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import UnreadableResults
from benchmarks.records import COLUMNS, Status, read
from benchmarks.run_folder import LATER_SAMPLE_COLUMNS, SAMPLE_COLUMNS

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
    """The timed blocks of a run folder, with `per_call_s` added where it is not there. Raises UnreadableResults."""
    import pandas as pd

    file = Path(run) / "samples.csv"
    try:
        frame = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise UnreadableResults(f"{file} cannot be read: {error}") from None
    if missing := [c for c in SAMPLE_COLUMNS if c not in frame and c not in LATER_SAMPLE_COLUMNS]:
        raise UnreadableResults(f"{file} lacks the column {missing[0]}")
    return frame if "per_call_s" in frame else frame.assign(per_call_s=frame["seconds"] / frame["calls"])
