"""Records cannot lie: no time without an ok, no failure without a reason, no foreign file read as ours."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cases import case
from benchmarks.errors import UnreadableResults
from benchmarks.records import COLUMNS, Record, Status, describe, from_csv, read, to_csv
from tests import planted


def record(**changes):
    """A row that is ok unless told otherwise."""
    row = {
        "run_id": "r",
        "suite": "smoke",
        "framework": "numpy",
        "implementation": "numpy/naive",
        "device": "cpu",
        "status": Status.OK,
        "median_s": 1e-3,
        **describe(case("c", "here", T=4, N=2, H=8, causal="top_left", window=(3, None), softcap=2.5)),
    }
    return Record(**{**row, **changes})


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_a_failure_carries_no_time(status):
    """A status other than ok with a median is refused by the record type itself."""
    with pytest.raises(ValueError, match="only ok rows carry a time"):
        record(status=status, reason="because")


def test_an_ok_row_needs_a_time():
    """Ok without a median is refused."""
    with pytest.raises(ValueError, match="only ok rows carry a time"):
        record(median_s=None)


@pytest.mark.parametrize("median", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_is_a_positive_number(median):
    """Zero, negative, NaN and infinite times are refused."""
    with pytest.raises(ValueError, match="expected a number above 0"):
        record(median_s=median)


def test_a_failure_needs_a_reason():
    """A row that is not ok says why."""
    with pytest.raises(ValueError, match="without a reason"):
        record(status=Status.ERROR, median_s=None)


def test_round_trip():
    """What is written is what is read, types and all."""
    rows = [record(), record(status=Status.UNSUPPORTED, median_s=None, reason="no float16, and\na second line")]
    assert from_csv(to_csv(rows), "here") == rows


def test_first_columns_are_the_contract():
    """The order of the first columns is fixed: scripts outside the repository rely on it."""
    expected = ["schema_version", "run_id", "suite", "case", "framework", "implementation", "device", "dtype", "pass"]
    expected += list("BTSNKHV")
    assert list(COLUMNS[: len(expected)]) == expected
    timing = ["median_s", "ci_low_s", "ci_high_s", "min_s", "q25_s", "q75_s", "samples", "blocks", "processes"]
    start = COLUMNS.index("status")
    assert list(COLUMNS[start + 2 : start + 2 + len(timing)]) == timing


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\tx"])
def test_a_reason_is_no_formula(text):
    """Foreign text that a spreadsheet would run is written as text."""
    line = to_csv([record(status=Status.ERROR, median_s=None, reason=text)]).splitlines()[1]
    assert f"'{text}" in line.replace('""', '"')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "no column schema_version"),
        ("schema_version,case\n1,x\n", "lacks the column"),
    ],
)
def test_foreign_files_are_refused(text, says):
    """A file that is no summary.csv is refused with what is wrong with it."""
    with pytest.raises(UnreadableResults, match=says):
        from_csv(text, "here")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("schema_version", "99", "line 2: schema_version '99'"),
        ("median_s", "fast", "line 2: median_s='fast', expected float"),
        ("median_s", "-1", "line 2: .*expected a number above 0"),
        ("B", "x", "line 2: B='x', expected int"),
        ("status", "great", "line 2: status='great'"),
        ("median_s", "", "only ok rows carry a time"),
    ],
)
def test_a_bad_value_is_named_with_its_line(column, value, says):
    """The message names file, line, column and value."""
    header, row = to_csv([record()]).splitlines()
    cells = row.split(",")
    cells[COLUMNS.index(column)] = value
    with pytest.raises(UnreadableResults, match=says):
        from_csv("\n".join([header, ",".join(cells)]), "here")


def test_a_missing_file_is_one_line(tmp_path):
    """A path that cannot be read ends in the program's own error."""
    with pytest.raises(UnreadableResults, match="cannot be read"):
        read(tmp_path)


@given(st.text(max_size=300))
def test_no_text_makes_the_reader_crash(text):
    """Whatever the file holds, the reader returns rows or says what is wrong."""
    with contextlib.suppress(UnreadableResults):
        from_csv("schema_version," + text, "here")


def test_columns_are_documented():
    """results/README.md names every column."""
    from pathlib import Path

    text = (Path(__file__).parents[1] / "results" / "README.md").read_text()
    words = set(text.replace("`", " ").replace(",", " ").split())
    assert [column for column in COLUMNS if column not in words] == []
    assert len(COLUMNS) == len(dataclasses.fields(Record))


def test_a_reason_cannot_steer_a_terminal():
    """A CSV may be printed: what a foreign exception holds of escapes and bells is not in it, line ends and tabs are."""
    reason = "one\x1b[2Jtwo\x07\x9b31m\tthree\nfour"
    (back,) = from_csv(to_csv([planted.record("case", status=Status.ERROR, reason=reason)]), "here")
    assert back.reason == "one?[2Jtwo??31m\tthree\nfour"
