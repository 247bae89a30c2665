"""`compare` as a process: what users, scripts and CI see. Exit statuses, one-line errors, nothing written over."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from xml.etree import ElementTree as ET

import pytest

from tests.planted import ENVIRONMENT, edited, pytest_benchmark, write_run
from tests.processes import attnbench


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The baseline, the same again, and one with +10 % in case-2."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "base", seed=1)
    write_run(folder / "same", seed=2)
    write_run(folder / "slow", seed=3, slower={2: 1.1})
    return folder


def contents(folder):
    """Every file and its bytes."""
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def fails(result, status, *words):
    """That exit status, one line on stderr that holds the words, nothing on stdout, no traceback."""
    __tracebackhide__ = True
    assert result.returncode == status, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("attnbench: ")
    assert result.stdout == ""


def test_the_same_is_0(runs):
    """Two runs of the same thing: green, with verdicts, and nothing is written."""
    before = contents(runs)
    result = attnbench("compare", runs / "base", runs / "same")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 slower, 0 faster, 4 same, 0 inconclusive" in result.stdout
    assert result.stderr == ""
    assert contents(runs) == before


def test_a_slowdown_is_1(runs):
    """+10 % in one cell: red, named first."""
    result = attnbench("compare", runs / "base", runs / "slow")
    assert result.returncode == 1, result.stdout + result.stderr
    first = next(line for line in result.stdout.splitlines() if "numpy/naive" in line)
    assert first.split()[:2] == ["slower", "case-2"]


def test_a_speed_up_is_0(runs):
    """The other way round it is faster, and green."""
    result = attnbench("compare", runs / "slow", runs / "base", "--format", "json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["counts"]["faster"] == 1


def test_thresholds_from_the_command_line_and_a_file(runs, tmp_path):
    """--threshold, --floor and --thresholds each let the slow cell pass."""
    file = tmp_path / "thresholds.toml"
    file.write_text('[[override]]\ncase = "case-2"\nthreshold = "20%"\n')
    for words in (["--threshold", "20%"], ["--floor", "1ms"], ["--thresholds", file]):
        result = attnbench("compare", runs / "base", runs / "slow", *words)
        assert result.returncode == 0, result.stdout + result.stderr


def test_formats_at_once(runs, tmp_path):
    """Each form parses, and --save-as writes others beside what is printed."""
    saved = [tmp_path / name for name in ("out.md", "out.xml", "out.csv", "out.txt")]
    words = [word for file in saved for word in ("--save-as", file)]
    result = attnbench("compare", runs / "base", runs / "slow", "--format", "json", *words)
    assert result.returncode == 1, result.stderr
    assert json.loads(result.stdout)["exit"] == 1
    comment, junit, table, annotations = (file.read_text() for file in saved)
    assert comment.startswith("### attnbench: worse: 1 of 4 cells")
    assert ET.fromstring(junit).get("failures") == "1"
    assert len(list(csv.DictReader(io.StringIO(table)))) == 4
    assert annotations.startswith("::error title=case-2 numpy/naive::slower")


def test_another_machine_is_3(runs, tmp_path):
    """Refused in one line that names the fields and --force; forced, it is compared and told."""
    other = edited(ENVIRONMENT, machine__cpu="Intel Xeon", variables={"OMP_NUM_THREADS": "1"})
    foreign = write_run(tmp_path / "foreign", seed=2, environment=other)
    result = attnbench("compare", runs / "base", foreign)
    fails(result, 3, "machine.cpu (AMD EPYC / Intel Xeon)", "variables.OMP_NUM_THREADS (not set / 1)", "--force")
    forced = attnbench("compare", runs / "base", foreign, "--force")
    assert forced.returncode == 0, forced.stderr
    assert "forced although they differ in machine.cpu" in forced.stdout


def test_nothing_measured_is_3(runs, tmp_path):
    """No cell in common: never green, and said on stderr whatever the format."""

    def rename(made):
        return dataclasses.replace(made, case=f"other-{made.case}")

    other = write_run(tmp_path / "other", change=rename)
    result = attnbench("compare", runs / "base", other, "--allow-missing", "--format", "csv")
    assert result.returncode == 3
    assert "nothing compared" in result.stderr


def test_missing_cells_are_1(runs, tmp_path):
    """Closed by default, open when asked."""
    fewer = write_run(tmp_path / "fewer", seed=2, cells=3)
    assert attnbench("compare", runs / "base", fewer).returncode == 1
    assert attnbench("compare", runs / "base", fewer, "--allow-missing").returncode == 0


def test_an_audits_noise_is_found(tmp_path):
    """One process a side says nothing; noise.json beside the baseline, or --noise, lets it be judged."""
    a = write_run(tmp_path / "a", processes=1)
    b = write_run(tmp_path / "b", processes=1, slower={1: 1.5})
    result = attnbench("compare", a, b)
    assert "4 inconclusive" in result.stdout
    assert "--processes 2" in " ".join(result.stdout.split())
    noise = tmp_path / "noise.json"
    noise.write_text('{"prior": {"variance": 1e-5, "freedom": 50}, "floor": 0.013}')
    result = attnbench("compare", a, b, "--noise", noise)
    assert result.returncode == 1, result.stdout
    assert "1.3%" in result.stdout
    noise.rename(a / "noise.json")
    assert attnbench("compare", a, b).returncode == 1


def test_pytest_benchmarks_json(tmp_path):
    """Compared like a run, and told that one process cannot be judged."""
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        file.write_text(json.dumps(pytest_benchmark({"a": [1e-3, 1.1e-3], "b": [2e-3]})))
    result = attnbench("compare", *files)
    assert result.returncode == 3, result.stderr
    assert "2 inconclusive" in result.stdout
    assert "nothing could be seen" in result.stderr


def test_columns_in_another_order_are_accepted(runs, tmp_path):
    """And nothing else changes."""
    run = write_run(tmp_path / "run", seed=2)
    for name in ("summary.csv", "samples.csv"):
        rows = list(csv.reader(io.StringIO((run / name).read_text())))
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(row[::-1] for row in rows)
        (run / name).write_text(out.getvalue())
    result = attnbench("compare", runs / "base", run)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 same" in result.stdout


def put(file, column, value):
    """Another value in the second row."""
    rows = list(csv.reader(io.StringIO(file.read_text())))
    rows[2][rows[0].index(column)] = value
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    file.write_text(out.getvalue())


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("summary.csv", lambda f: f.write_text(f.read_text()[:-30]), "cut off"),
        ("samples.csv", lambda f: f.write_text(f.read_text()[:-3]), "cut off"),
        ("summary.csv", lambda f: f.write_text(""), "is empty"),
        ("summary.csv", lambda f: f.write_text("no table\nat all\n"), "it is not a summary.csv"),
        ("summary.csv", lambda f: f.write_bytes(b"\x89PNG\xff\xfe"), "is no text"),
        ("summary.csv", lambda f: put(f, "schema_version", "2"), "schema_version '2', expected 1"),
        ("summary.csv", lambda f: put(f, "case", "case-0"), "is here twice"),
        ("summary.csv", lambda f: put(f, "median_s", "nan"), "expected a number above 0"),
        ("samples.csv", lambda f: put(f, "seconds", "-0.01"), "seconds=-0.01, expected a number above 0"),
        ("samples.csv", lambda f: put(f, "seconds", "0"), "seconds=0, expected a number above 0"),
        ("summary.csv", lambda f: put(f, "median_s", "2.0"), "are the units mixed?"),
        ("summary.csv", lambda f: f.write_text(f.read_text().replace(",status,", ",state,", 1)), "lacks the column status"),
        ("environment.json", lambda f: f.write_text("{"), "is no JSON"),
    ],
    ids=[
        "truncated", "truncated-samples", "empty", "no-csv", "picture", "future-schema", "duplicate", "nan", "negative",
        "zero", "units", "missing-column", "environment",
    ],
)  # fmt: skip
def test_bad_input_is_2(runs, tmp_path, name, damage, says):
    """One line that names the file and what is wrong; the files stay as they are."""
    run = write_run(tmp_path / "run", seed=2)
    damage(run / name)
    before = contents(run)
    fails(attnbench("compare", runs / "base", run, "--format", "csv"), 2, str(run / name), says)
    assert contents(run) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--threshold", "five"], "threshold 'five', expected a share such as 5%"),
        (["--floor", "20"], "expected a number with its unit"),
        (["--thresholds", "none.toml"], "none.toml cannot be read"),
        (["--noise", "none.json"], "none.json cannot be read"),
        (["--save-as", "out.pdf"], "--save-as out.pdf"),
    ],
)
def test_wrong_options_are_2(runs, words, says):
    """One line each."""
    fails(attnbench("compare", runs / "base", runs / "same", *words), 2, says)


def test_a_result_is_not_saved_over_an_input(runs):
    """Whatever its suffix allows."""
    before = contents(runs)
    for file in (runs / "base" / "summary.csv", runs / "same" / "environment.json"):
        fails(attnbench("compare", runs / "base", runs / "same", "--save-as", file), 2, "would write over")
    assert contents(runs) == before


def test_no_such_run_is_2(runs, tmp_path):
    """Neither a folder nor a file; a folder without a run."""
    fails(attnbench("compare", runs / "base", tmp_path / "none"), 2, "none cannot be read")
    fails(attnbench("compare", tmp_path, runs / "base"), 2, "holds no summary.csv")
