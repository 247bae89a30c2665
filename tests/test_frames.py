"""Runs as DataFrames: types, orders, several at once, and Parquet that gives back what was written."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

import benchmarks
from benchmarks import parquet
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.frames import frame_of
from benchmarks.records import COLUMNS, Status
from tests.processes import ROOT, attnbench
from tests.test_records import record

BASELINES = ROOT / "results" / "baselines" / "amd-epyc-25-1-avx2-2-cores"
README = (ROOT / "results" / "README.md").read_text("utf-8")


def test_every_column_has_a_type():
    """Counts that may be missing are Int64, numbers float64, names ordered categories, and nothing is an object."""
    frame = benchmarks.load(BASELINES / "smoke")
    assert tuple(frame.columns) == COLUMNS
    kinds = {column: str(frame[column].dtype) for column in COLUMNS}
    assert "object" not in set(kinds.values()) - {str(pd.Series(["a"]).dtype)}
    assert {kinds[letter] for letter in "BTSNKHV"} == {"int64"}
    assert {kinds[c] for c in ("samples", "peak_memory_bytes", "flops")} == {"Int64"}
    assert {kinds[c] for c in ("median_s", "softcap", "noise_floor")} == {"float64"}
    ordered = [column for column in COLUMNS if kinds[column] == "category"]
    assert ordered == [*COLUMNS[1:9], "status"]
    assert all(frame[column].cat.ordered for column in ordered)
    for column in ordered:
        assert f"`{column}`" in README.partition("## In pandas")[2]


def test_categories_come_in_their_order():
    """Cases as the suite has them, statuses and dtypes as this project lists them, whatever the rows hold."""
    rows = [record(case=name, dtype=dtype) for name, dtype in (("b", "float16"), ("a", "float32"), ("b-2", "float64"))]
    frame = frame_of(rows)
    assert list(frame.case.cat.categories) == ["b", "a", "b-2"]
    assert list(frame.sort_values("dtype").dtype) == ["float64", "float32", "float16"]
    assert list(frame.status.cat.categories) == [str(status) for status in Status]
    assert frame.peak_memory_bytes.isna().all()


def test_several_runs(tmp_path):
    """One below the other, told apart by run_id; by their paths where they have the same; a list is as good."""
    both = benchmarks.load(BASELINES / "smoke", BASELINES / "default")
    pd.testing.assert_frame_equal(both, benchmarks.load([BASELINES / "smoke", str(BASELINES / "default")]))
    assert len(both.run_id.cat.categories) == 2
    assert list(both.case.cat.categories)[:2] == ["tiny-self", "tiny-grouped-causal"]
    copy = tmp_path / "copy"
    shutil.copytree(BASELINES / "smoke", copy)
    same = benchmarks.load(BASELINES / "smoke", copy)
    assert set(same.run_id.cat.categories) == {str(BASELINES / "smoke"), str(copy)}
    samples = benchmarks.load_samples(BASELINES / "smoke", copy)
    assert len(set(samples.groupby("run_id", observed=True).size())) == 1
    assert list(samples.run_id.cat.categories) == [str(BASELINES / "smoke"), str(copy)]


def test_samples_join_cells():
    """Every timed cell has as many blocks as its row says, and their calls add up."""
    cells, samples = benchmarks.load(BASELINES / "smoke"), benchmarks.load_samples(BASELINES / "smoke")
    per_cell = samples.groupby(["case", "implementation"], observed=True).agg(
        blocks=("calls", "size"), calls=("calls", "sum")
    )
    timed = cells[cells.status == "ok"].set_index(["case", "implementation"])
    assert (timed.blocks.sort_index().to_list(), timed.samples.sort_index().to_list()) == (
        per_cell.blocks.sort_index().to_list(),
        per_cell.calls.sort_index().to_list(),
    )


def test_mistakes_are_told(tmp_path):
    """No run, one twice, numbers that are none."""
    with pytest.raises(UsageError, match="no run given"):
        benchmarks.load()
    with pytest.raises(UsageError, match="given twice"):
        benchmarks.load(BASELINES / "smoke", BASELINES / "smoke")
    text = (BASELINES / "smoke" / "samples.csv").read_text().splitlines()
    (tmp_path / "samples.csv").write_text("\n".join([text[0], text[1].replace(",0,0,", ",0,zero,", 1)]) + "\n")
    with pytest.raises(UnreadableResults, match="line 2: block='zero', expected a number"):
        benchmarks.load_samples(tmp_path)


def test_parquet_gives_back_what_was_loaded(tmp_path):
    """Both frames of a run, types and orders of categories included."""
    pytest.importorskip("pyarrow")
    shutil.copytree(BASELINES / "smoke", tmp_path / "run")
    parquet.write_run(tmp_path / "run")
    for name, load in (("summary", benchmarks.load), ("samples", benchmarks.load_samples)):
        back = pd.read_parquet(tmp_path / "run" / f"{name}.parquet")
        pd.testing.assert_frame_equal(back, load(tmp_path / "run"))
    assert not list((tmp_path / "run").glob("*.part"))


def test_without_pyarrow_one_line_tells_the_remedy(tmp_path, monkeypatch):
    """Before anything is measured."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--parquet needs pyarrow.*pip install"):
        parquet.check_parquet()


def test_run_and_show_write_parquet(tmp_path):
    """Beside the CSVs, and the cells that are shown."""
    pytest.importorskip("pyarrow")
    words = ("--suite", "smoke", "--case", "tiny-self", "--implementation", "numpy/naive", "--blocks", "1", "--quiet")
    done = attnbench("run", *words, "--parquet", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert {"summary.parquet", "samples.parquet"} <= {file.name for file in (tmp_path / "run").iterdir()}
    shown = attnbench("show", BASELINES / "smoke", "--framework", "jax", "--parquet", tmp_path / "jax.parquet")
    assert shown.returncode == 0, shown.stderr
    assert set(pd.read_parquet(tmp_path / "jax.parquet").framework) == {"jax"}
    refused = attnbench("show", BASELINES / "smoke", "--parquet", tmp_path / "no" / "x.parquet")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
