"""`show`: a stored run again; what a file says is escaped, and a filter that matches nothing is an error."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from benchmarks.cases import case
from benchmarks.cli.options import Format
from benchmarks.cli.show_command import ShowRequest, show_run
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.records import Status, describe, from_csv, to_csv
from benchmarks.selection import SORTS, Selection, ordered, select
from benchmarks.stored_run import case_of, cases_of, read_stored
from benchmarks.suites import load
from tests.processes import ROOT, attnbench
from tests.test_records import record

BASELINE = ROOT / "results" / "baselines" / "amd-epyc-25-1-avx2-2-cores" / "smoke"


def cell(case_, implementation, median_s=None, **rest):
    """A row of a case by its name; without a time where there is none."""
    status = {} if median_s is not None else {"status": Status.UNSUPPORTED, "reason": "no"}
    names = {"case": case_, "implementation": implementation, "framework": implementation.partition("/")[0]}
    return record(**{**names, **status, "median_s": median_s, **rest})


ROWS = [
    cell("c-10", "numpy/a", 3.0, error_over_bound=0.1),
    cell("c-10", "jax/b", 1.0, error_over_bound=0.9),
    cell("c-9", "numpy/a", 0.5, error_over_bound=0.5),
    cell("c-9", "jax/b"),
]


def shown(path, capsys, format=Format.TABLE, **selection):
    """What is printed."""
    sort = selection.pop("sort", None)
    show_run(
        ShowRequest(run=path, selection=Selection(**selection), sort=sort, reverse=False, format=format, parquet=None)
    )
    return capsys.readouterr().out


def test_filters_are_and_between_and_or_within():
    """Each filter has to match, any of its values; globs where ids are."""
    assert select(ROWS, Selection()) == ROWS
    assert select(ROWS, Selection(cases=["c-1*"], frameworks=["jax"])) == [ROWS[1]]
    assert select(ROWS, Selection(implementations=["jax/*", "numpy/a"], statuses=["ok"])) == ROWS[:3]


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        ({"cases": ["zzz"]}, "no cell has the case 'zzz'; there are: c-10, c-9"),
        ({"cases": ["c-9", "zzz"]}, "no cell has the case 'zzz'"),
        ({"frameworks": ["num*"]}, "no cell has the framework"),
        ({"cases": ["c-9"], "frameworks": ["jax"], "statuses": ["ok"]}, "no cell matches all of these filters"),
    ],
)
def test_what_matches_nothing_is_an_error(selection, told):
    """Whatever else matches; never an empty table."""
    with pytest.raises(UsageError, match=told.replace("*", r"\*")):
        select(ROWS, Selection(**selection))


def test_order():
    """Cells of a case by what was asked, cases by their first cell; without such a number last; cases as people count."""
    by = {name: [(r.case, r.implementation) for r in ordered(ROWS, name)] for name in ("median", "error", "case")}
    assert by["median"] == [("c-9", "numpy/a"), ("c-9", "jax/b"), ("c-10", "jax/b"), ("c-10", "numpy/a")]
    assert by["error"] == [("c-10", "numpy/a"), ("c-10", "jax/b"), ("c-9", "numpy/a"), ("c-9", "jax/b")]
    assert by["case"][0][0] == "c-9"
    worst = [r.implementation for r in ordered(ROWS, "error", reverse=True)]
    assert worst == ["jax/b", "numpy/a", "numpy/a", "jax/b"]
    with pytest.raises(UsageError, match="--sort 'time', expected one of"):
        ordered(ROWS, "time")


@pytest.mark.parametrize("name", SORTS)
def test_every_order_takes_rows_without_numbers(name):
    """A row that was not timed has none of them, and all rows stay."""
    assert sorted(r.key for r in ordered(ROWS, name)) == sorted(r.key for r in ROWS)


def test_a_problem_and_its_row_are_inverse():
    """Of each case of every suite, in each pass that it may be in."""
    for known in load("full"):
        row = record(**describe(known))
        assert case_of(row).to_dict() == {**known.to_dict(), "source": "", "values": "normal"}


def test_the_run_is_printed_as_it_was(capsys):
    """Table, limits and the three lines of the stored baseline, and where it comes from."""
    out, cells = shown(BASELINE, capsys), len(read_stored(BASELINE).records)
    assert out.splitlines()[0].startswith("tiny-self  B2 T64")
    for words in ("limits, measured", "worth compiling", "Fastest overall: ", f"{cells} cells of 2026", "AMD EPYC"):
        assert words in out
    some = shown(BASELINE, capsys, frameworks=["numpy"], cases=["tiny-self"], sort="error")
    assert "jax/" not in some.partition("limits, measured")[0]
    assert f"2 of {cells} cells" in some


def test_other_formats_hold_the_same_cells(capsys):
    """JSON, CSV and JUnit of what was asked for."""
    numpy = {"frameworks": ["numpy"]}
    rows = json.loads(shown(BASELINE, capsys, Format.JSON, **numpy))
    assert [row["implementation"] for row in rows] == ["numpy/naive", "numpy/blocked"] * 2
    assert from_csv(shown(BASELINE, capsys, Format.CSV), "printed") == read_stored(BASELINE).records
    assert ET.fromstring(shown(BASELINE, capsys, Format.JUNIT)).attrib["tests"] == str(
        len(read_stored(BASELINE).records)
    )


def test_what_a_file_says_stays_text(tmp_path, capsys):
    """Escapes, markup and line breaks in names and reasons reach neither terminal, Markdown, annotations nor XML."""
    evil = "\x1b[31m|<script>\n::error::\u202e"
    rows = [
        record(case="c" + evil, implementation="numpy/" + evil),
        record(case="d", implementation="x" + evil, status=Status.ERROR, median_s=None, reason="r" + evil),
    ]
    file = tmp_path / "any.csv"
    file.write_text(to_csv(rows), encoding="utf-8", newline="")
    for format in Format:
        out = shown(file, capsys, format)
        if format in (Format.CSV, Format.JSON):
            continue
        assert not set("\x1b\u202e") & set(out)
        assert "\n::error::" not in out
        if format is Format.MARKDOWN:
            assert "<script>" not in out
    ET.fromstring(shown(file, capsys, Format.JUNIT))


def test_a_bare_summary_has_no_limits(tmp_path, capsys):
    """A summary.csv by another name stands alone: its rows, and no environment from beside it."""
    file = tmp_path / "other.csv"
    file.write_text((BASELINE / "summary.csv").read_text())
    (tmp_path / "environment.json").write_text("not even JSON")
    assert "limits, measured" not in shown(file, capsys)


@pytest.mark.parametrize(
    "environment",
    [
        {"matmul_gflops": {"float32": {"numpy": "fast"}}},
        {"matmul_gflops": {"float32": {"numpy": -1}}},
        {"stream_gb_per_s": [1]},
        {"call_overhead_s": {"numpy": "short"}},
        {"handicaps": {"a": 1}},
        {"handicaps": [{"variable": "A=1", "gflops": 1}]},
    ],
)
def test_a_damaged_environment_is_told(tmp_path, environment):
    """One line that names the file, no traceback."""
    (tmp_path / "summary.csv").write_text((BASELINE / "summary.csv").read_text())
    (tmp_path / "environment.json").write_text(json.dumps({"schema_version": 1, **environment}))
    with pytest.raises(UnreadableResults, match=r"environment\.json"):
        read_stored(tmp_path)


def test_a_run_of_several_machines_knows_the_limits_of_each(tmp_path, capsys):
    """Each table of limits under its machine's name; the rates in the unit of its roof."""
    rows = [record(machine=name, gflops=1.0, gb_per_s=2.0, flops=100, moved_bytes=200) for name in ("a-1", "b-2")]
    (tmp_path / "summary.csv").write_text(to_csv(rows))
    of = {
        "a-1": {"matmul_gflops": {"float32": {"numpy": 11.0}}, "stream_gb_per_s": {"numpy": 12.0}},
        "b-2": {"matmul_gflops": {"float32": {"numpy": 21.0}}, "call_overhead_s": {"numpy": 2.2e-8}},
    }
    machines = {name: {"schema_version": 1, **told} for name, told in of.items()}
    (tmp_path / "environment.json").write_text(json.dumps({"schema_version": 1, "machines": machines}))
    lines = [" ".join(line.split()) for line in shown(tmp_path, capsys).splitlines()]
    assert [line.split()[6] for line in lines if line.startswith("implementation")] == ["GB/s", "GFLOP/s"]
    assert [line for line in lines if line.startswith("numpy ")] == ["numpy 11.0 12.0 -", "numpy 21.0 - 22.0 ns"]


def test_rows_that_describe_no_problem_are_shown_all_the_same():
    """Another program's rows have no sizes; only what needs the problem leaves them out."""
    odd = [record(case="odd", window="a:b"), record(case="even")]
    assert [c.name for c in cases_of(odd)] == ["even"]
    assert case("even", "", T=4, N=2, H=8).shape == cases_of(odd)[0].shape


def test_on_the_command_line():
    """Exit status 2 with one line for what matches nothing, 0 otherwise."""
    good = attnbench("show", BASELINE, "--implementation", "jax/*", "--sort", "memory", "--format", "csv")
    assert (good.returncode, len(good.stdout.splitlines())) == (0, 9)
    bad = attnbench("show", BASELINE, "--status", "crashed")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "attnbench: no cell has the status 'crashed'; there are: ok, unsupported\n"
