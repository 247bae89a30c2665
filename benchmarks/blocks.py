"""samples.csv as a table: every block of a run, each number one that can be."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.errors import UnreadableResults
from benchmarks.foreign import check_end, check_room, csv_header, csv_rows
from benchmarks.plausible import LONGEST_S, SHORTEST_S
from benchmarks.run_folder import LATER_SAMPLE_COLUMNS, SAMPLE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

TEXTS = ("case", "implementation", "device", "pass")
MACHINE = "machine"
"""A column that is there where blocks of several machines are."""
_TIMES = ("seconds", "canary_s", "per_call_s")
_COUNTS = ("process", "block", "order", "calls")
_ROW_BYTES = 170
"""What a block takes while it is compared."""


def read_blocks(data: bytes, where: str, columns: Sequence[str] = SAMPLE_COLUMNS) -> pd.DataFrame:
    """These columns of the blocks, and their machine where it is told; texts are categories. Those that only later files
    have are left out where they are not there. UnreadableResults names the first line that is wrong.
    """
    import pandas as pd

    header = csv_header(data, where, "samples.csv")
    if missing := [name for name in SAMPLE_COLUMNS if name not in header and name not in LATER_SAMPLE_COLUMNS]:
        raise UnreadableResults(f"{where} lacks the column {missing[0]}")
    check_end(data, where)
    check_room(where, len(data), len(data) + _ROW_BYTES * data.count(b"\n"))
    types = {**dict.fromkeys(TEXTS, "category"), **dict.fromkeys(_COUNTS, "int64"), **dict.fromkeys(_TIMES, "float64")}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a number of calls that is NaN is only warned of
            # A case may be called NA or 01: texts stay texts. Without usecols: with it, a line that is too long is cut.
            frame = pd.read_csv(
                io.BytesIO(data),
                dtype={name: types.get(name, "category") for name in header},
                keep_default_na=False,
                na_values=[],
            )
    except (ValueError, OverflowError, Warning) as error:
        raise _explained(data, where, error) from None
    has_row_names = not isinstance(frame.index, pd.RangeIndex)  # a first row that is too long
    wrong = np.zeros(len(frame), bool)
    for name in frame:
        if name in _TIMES:
            values = frame[name].to_numpy()
            wrong |= ~((values >= SHORTEST_S) & (values <= LONGEST_S))
        elif name in _COUNTS:
            wrong |= frame[name].to_numpy() < (1 if name == "calls" else 0)
        else:
            wrong |= frame[name].cat.codes.to_numpy() < 0
    if has_row_names or wrong.any():
        raise _explained(data, where, None)
    return frame[[name for name in (*columns, MACHINE) if name in header]]


def _explained(data: bytes, where: str, error: Exception | Warning | None) -> UnreadableResults:
    """The first line that is wrong, found the slow way."""
    try:
        rows = csv_rows(data, where)
        _, header = next(rows)
        places = {name: header.index(name) for name in (*_COUNTS, *_TIMES) if name in header}
        for line, row in rows:
            for name, place in places.items():
                _check(name, row[place], f"{where}, line {line}")
    except UnreadableResults as found:
        return found
    told = str(error or "its lines are no blocks").strip().splitlines()[-1][:200]
    return UnreadableResults(f"{where} cannot be read: {told}")


def _check(name: str, text: str, where: str) -> None:
    number = int if name in _COUNTS else float
    try:
        value = number(text)
    except ValueError:
        raise UnreadableResults(f"{where}: {name}={text[:80]!r}, expected a number") from None
    least = 1 if name == "calls" else 0
    if name in _TIMES and not (math.isfinite(value) and value > 0):
        raise UnreadableResults(f"{where}: {name}={text[:80]}, expected a number above 0")
    if name in _TIMES and not SHORTEST_S <= value <= LONGEST_S:
        raise UnreadableResults(f"{where}: {name}={text[:80]}, expected a number above 0, and seconds that can be")
    if name in _COUNTS and not least <= value < 2**63:
        raise UnreadableResults(f"{where}: {name}={text[:80]}, expected a whole number of at least {least}")
