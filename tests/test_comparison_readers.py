"""From files to sides: what is read, what is refused with file and line, and that data stays data."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest

from benchmarks.comparison.comparability import differences
from benchmarks.comparison.noise import noise_beside, read_noise
from benchmarks.comparison.readers import read_side
from benchmarks.comparison.stored import compare_sides
from benchmarks.errors import UnreadableResults
from benchmarks.records import Status, to_csv
from tests.planted import ENVIRONMENT, edited, pytest_benchmark, record, usual, write_run


@pytest.fixture
def run(tmp_path):
    """A run folder with 4 cells, 3 processes and 4 blocks."""
    return write_run(tmp_path / "run")


def refused(path, *words):
    """UnreadableResults that holds the words, on one line."""
    __tracebackhide__ = True
    with pytest.raises(UnreadableResults) as caught:
        read_side(path)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def table(file):
    """Rows of a CSV, the header first."""
    return list(csv.reader(io.StringIO(file.read_text())))


def rewrite(file, rows):
    """The reverse."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    file.write_text(out.getvalue())


def put(file, line, column, value):
    """Another value in one place; line 2 is the first after the header."""
    rows = table(file)
    rows[line - 1][rows[0].index(column)] = value
    rewrite(file, rows)


def test_a_run_folder(run):
    """Records by key, one log time per process, the environment."""
    side = read_side(run)
    assert [key[0] for key in side.records] == ["case-0", "case-1", "case-2", "case-3"]
    assert {len(logs) for logs in side.logs.values()} == {3}
    assert side.logs[("case-1", "numpy/naive", "cpu", "forward")] == pytest.approx([math.log(2e-3)] * 3, abs=0.02)
    assert side.environment["machine"] == ENVIRONMENT["machine"]
    assert side.label == str(run)


def test_the_time_of_a_process_is_the_median_of_its_blocks(run):
    """An outlier block moves nothing, nor do seconds that a neighbour took: the middle lap counts."""
    rows = table(run / "samples.csv")
    mine = [row for row in rows[1:] if row[0] == "case-0" and row[4] == "0"]
    logs = sorted(math.log(float(row[10])) for row in mine)
    expected = (logs[1] + logs[2]) / 2
    assert read_side(run).logs[("case-0", "numpy/naive", "cpu", "forward")][0] == pytest.approx(expected)


def test_a_run_from_before_there_were_laps(tmp_path, run):
    """Calls divide the seconds of its blocks; with a run that has laps it may not be compared, for blocks tell another time."""
    old = read_side(write_run(tmp_path / "old", laps=False))
    assert not old.laps
    assert read_side(run).laps
    for key, logs in read_side(run).logs.items():
        assert old.logs[key] == pytest.approx(logs)
    refusals = differences(old, read_side(run)).refused
    assert [str(one) for one in refusals] == ["what a block's time is (mean of its calls / middle lap)"]
    assert not differences(old, old).refused


def test_its_summary_brings_what_lies_beside_it(run):
    """summary.csv in a run folder is the run folder; under another name or elsewhere it stands alone."""
    assert read_side(run / "summary.csv").logs == read_side(run).logs
    alone = run.parent / "mine.csv"
    alone.write_text((run / "summary.csv").read_text())
    assert read_side(alone).logs == {}
    assert read_side(alone).environment == {}
    (run / "samples.csv").unlink()
    (run / "environment.json").unlink()
    assert read_side(run).records == read_side(alone).records


@pytest.mark.parametrize("name", ["summary.csv", "samples.csv"])
def test_columns_may_be_in_any_order(run, name):
    """And unknown ones may stand among them."""
    expected = read_side(run)
    rows = table(run / name)
    order = np.random.default_rng(0).permutation(len(rows[0]))
    rewrite(run / name, [["extra" if n == 0 else "x", *(row[place] for place in order)] for n, row in enumerate(rows)])
    assert read_side(run).records == expected.records
    assert read_side(run).logs == expected.logs


def test_names_that_look_like_something_else_stay_names(tmp_path):
    """A case may be called NA, 01 or =1+1."""
    names = ["NA", "01", "nan", "1.0"]
    run = write_run(tmp_path / "run")
    for name in ("summary.csv", "samples.csv"):
        rows = table(run / name)
        place = rows[0].index("case")
        for row in rows[1:]:
            row[place] = names[int(row[place].removeprefix("case-"))]
        rewrite(run / name, rows)
    assert {key[0] for key in read_side(run).logs} == set(names)


def test_cells_that_failed_have_no_times(tmp_path):
    """Their blocks, from before they failed, are left out."""

    def fail(made):
        return record(made.case, status=Status.TIMEOUT) if made.case == "case-1" else made

    side = read_side(write_run(tmp_path / "run", change=fail))
    assert {key[0] for key in side.logs} == {"case-0", "case-2", "case-3"}
    assert len(side.records) == 4


def test_a_run_that_timed_nothing_has_no_times(tmp_path):
    """All cells refused: a samples.csv of one header line is read, as no blocks."""
    folder = write_run(tmp_path / "run", change=lambda made: record(made.case, status=Status.UNSUPPORTED))
    samples = folder / "samples.csv"
    samples.write_text(samples.read_text().splitlines()[0] + "\n")
    side = read_side(folder)
    assert side.logs == {}
    assert len(side.records) == 4


# What is refused, in summary.csv.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "no column schema_version"),
        ("<html>\n<body>no</body>\n", "no column schema_version"),
        ("schema_version,case\n1,x\n", "lacks the column"),
        (to_csv([]), "a header and no cells"),
        ("\x00\x01\x02\n", "no column schema_version"),
        ('{"benchmarks"', "no JSON"),
    ],
)
def test_no_summary(tmp_path, text, says):
    """Empty, foreign, headerless, cellless."""
    file = tmp_path / "summary.csv"
    file.write_text(text)
    refused(file, "summary.csv", says)


def test_a_picture_is_no_summary(tmp_path):
    """Bytes that are no text."""
    file = tmp_path / "summary.csv"
    file.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    refused(file, "summary.csv is no text")


def test_nothing_there(tmp_path):
    """Neither file nor run folder."""
    refused(tmp_path / "none", "none cannot be read", "No such file")
    refused(tmp_path, "holds no summary.csv")


@pytest.mark.parametrize("end", [-1, -2, -40, -200])
def test_a_summary_that_was_cut_off(run, end):
    """Wherever the cut is, even in its last number."""
    file = run / "summary.csv"
    file.write_text(file.read_text()[:end])
    refused(file, "summary.csv, line ", "cut off")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("schema_version", "2", "schema_version '2', expected 1"),
        ("median_s", "nan", "expected a number above 0"),
        ("median_s", "-1", "expected a number above 0"),
        ("median_s", "0", "expected a number above 0"),
        ("median_s", "1.2 ms", "median_s='1.2 ms', expected float"),
        ("median_s", "1.2", "are the units mixed?"),
        ("median_s", "", "only ok rows carry a time"),
        ("ci_low_s", "-1", "ci_low_s=-1.0, expected a number above 0"),
        ("ci_high_s", "inf", "ci_high_s=inf, expected a number above 0"),
        ("error_over_bound", "nan", "error_over_bound=nan, expected a number of at least 0"),
        ("peak_memory_bytes", "-5", "peak_memory_bytes=-5, expected a number of at least 0"),
        ("processes", "0", "processes=0, expected at least 1"),
        ("status", "fine", "status='fine'"),
        ("case", "case-0", "case-0 numpy/naive cpu forward is here twice"),
    ],
)
def test_a_row_that_cannot_be(run, column, value, says):
    """Named with its line."""
    put(run / "summary.csv", 3, column, value)
    refused(run, "summary.csv, line 3", says)


def test_a_column_in_another_unit(run):
    """Times in milliseconds are not taken for seconds."""
    file = run / "summary.csv"
    file.write_text(file.read_text().replace(",median_s,", ",median_ms,", 1))
    refused(file, "median_ms, expected median_s")


def test_a_column_twice(run):
    """Which one counts is not guessed."""
    rows = table(run / "summary.csv")
    rewrite(run / "summary.csv", [[*row, row[0]] for row in rows])
    refused(run, "the column schema_version twice")


# What is refused, in samples.csv and environment.json.


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("seconds", "nan", "seconds=nan, expected a number above 0"),
        ("seconds", "inf", "seconds=inf, expected a number above 0"),
        ("seconds", "-0.01", "seconds=-0.01, expected a number above 0"),
        ("seconds", "0", "seconds=0, expected a number above 0"),
        ("seconds", "0.01 s", "seconds='0.01 s', expected a number"),
        ("seconds", "", "seconds='', expected a number"),
        ("canary_s", "0", "canary_s=0, expected a number above 0"),
        ("calls", "0", "calls=0, expected a whole number of at least 1"),
        ("calls", "1.5", "calls='1.5', expected a number"),
        ("calls", "99999999999999999999", "expected a whole number"),
        ("process", "-1", "process=-1, expected a whole number of at least 0"),
        ("case", "unknown", "unknown numpy/naive cpu forward is not in summary.csv"),
        ("block", "0", "is here twice"),
    ],
)
def test_a_block_that_cannot_be(run, column, value, says):
    """Named with its line."""
    put(run / "samples.csv", 3, column, value)
    refused(run, "samples.csv, line 3", says)


@pytest.mark.parametrize("end", [-1, -3, -20])
def test_samples_that_were_cut_off(run, end):
    """Within a line."""
    file = run / "samples.csv"
    file.write_text(file.read_text()[:end])
    refused(run, "samples.csv, line 49", "cut off")


@pytest.mark.parametrize("kept", [1, 20, 48])
def test_samples_that_lack_lines(run, kept):
    """Whole lines missing, seen from the summary."""
    rewrite(run / "samples.csv", table(run / "samples.csv")[:kept])
    refused(run, "samples.csv has", "summary.csv says 12", "cut off")


@pytest.mark.parametrize("line", [2, 7])
def test_a_line_that_is_too_long(run, line):
    """One field more is no index column."""
    rows = table(run / "samples.csv")
    rows[line - 1].append("7")
    rewrite(run / "samples.csv", rows)
    refused(run, f"samples.csv, line {line} has 12 fields, expected 11")


def test_samples_in_another_unit(run):
    """Milliseconds in one file and seconds in the other."""
    rows = table(run / "samples.csv")
    for row in rows[1:]:
        row[10] = str(float(row[10]) * 1000)
    rewrite(run / "samples.csv", rows)
    refused(run, "are the units mixed?")


@pytest.mark.parametrize(("text", "says"), [("", "is empty"), ("a,b\n", "lacks the column case")])
def test_no_samples(run, text, says):
    """A file under that name that is none."""
    (run / "samples.csv").write_text(text)
    refused(run, "samples.csv", says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "is list, expected an object"),
        ('{"schema_version": 2}', "schema_version 2, expected 1"),
        ("{}", "schema_version None"),
        ('{"schema_version": 1, "machine": []}', "machine is list"),
        ('{"schema_version": 1, "frameworks": {"numpy": 3}}', "frameworks holds what is no object"),
        ('{"schema_version": 1, "frameworks": {"numpy": {"settings": []}}}', "settings of numpy"),
        ('{"schema_version": 1, "frameworks": {"numpy": {"variables": "OMP"}}}', "variables of numpy"),
        ('{"schema_version": 1, "cpus": 3}', "cpus is int"),
    ],
)
def test_no_environment(run, text, says):
    """A fingerprint that cannot be read is not passed over: it would let another machine through."""
    (run / "environment.json").write_text(text)
    refused(run, "environment.json", says)


# pytest-benchmark's JSON.


def test_pytest_benchmarks_json(tmp_path):
    """Cells from extra_info, one process of rounds in seconds, the machine under our names."""
    file = tmp_path / "out.json"
    file.write_text(json.dumps(pytest_benchmark({"a": [1e-3, 2e-3, 4e-3], "b": [1.0]}, T=128, causal="top_left")))
    side = read_side(file)
    key = ("a", "numpy/naive", "cpu", "forward")
    assert side.records[key].median_s == pytest.approx(2e-3)
    assert side.records[key].T == 128
    assert side.records[key].causal == "top_left"
    assert side.logs[key] == pytest.approx((math.log(2e-3),))
    assert side.environment["machine"]["cpu"] == "AMD EPYC"
    assert side.environment["python"] == "3.11.7"


def test_pytest_benchmarks_json_without_rounds(tmp_path):
    """Its median is what there is."""
    data = pytest_benchmark({"a": [1e-3, 2e-3]})
    del data["benchmarks"][0]["stats"]["data"]
    file = tmp_path / "out.json"
    file.write_text(json.dumps(data))
    assert next(iter(read_side(file).records.values())).median_s == pytest.approx(1.5e-3)


def test_a_run_against_pytest_benchmarks_json(tmp_path, run):
    """The same cells, whoever measured them; what the JSON does not say is no difference."""
    file = tmp_path / "out.json"
    file.write_text(json.dumps(pytest_benchmark({f"case-{n}": [1e-3 * (n + 1)] * 5 for n in range(4)})))
    found = compare_sides(read_side(run), read_side(file), usual(), 0.01)
    assert found.judged == 4
    assert not found.worse


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("benchmarks"), "no list named benchmarks"),
        (lambda d: d.update(benchmarks=[]), "no list named benchmarks"),
        (lambda d: d["benchmarks"].append(3), "benchmark 2 has no stats"),
        (lambda d: d["benchmarks"].append(d["benchmarks"][0]), "benchmark 2: a numpy/naive cpu forward is here twice"),
        (lambda d: d["benchmarks"][0]["extra_info"].pop("case"), "extra_info names no case"),
        (lambda d: d["benchmarks"][0].pop("extra_info"), "extra_info names no case"),
        (lambda d: d["benchmarks"][0]["extra_info"].update(status="fine"), "status 'fine'"),
        (lambda d: d["benchmarks"][0]["extra_info"].update(error_over_bound=float("nan")), "error_over_bound=nan"),
        (lambda d: d["benchmarks"][0]["stats"].update(data=[1e-3, 0]), "a time of 0"),
        (lambda d: d["benchmarks"][0]["stats"].update(data=[float("nan")]), "a time of nan"),
        (lambda d: d["benchmarks"][0]["stats"].update(data=[-1.0]), "a time of -1.0"),
        (lambda d: d["benchmarks"][0]["stats"].update(data=["1 ms"]), "a time of 1 ms"),
        (lambda d: d["benchmarks"][0]["stats"].update(data=[10**400]), "a time of 1000"),
        (lambda d: d["benchmarks"][0]["stats"].update(data={"a": 1}), "expected a list of seconds"),
        (lambda d: d["benchmarks"][0]["stats"].clear(), "a time of None"),
    ],
)
def test_json_that_cannot_be(tmp_path, change, says):
    """Named with the number of the benchmark."""
    data = pytest_benchmark({"a": [1e-3]})
    change(data)
    file = tmp_path / "out.json"
    file.write_text(json.dumps(data))
    refused(file, "out.json", says)


# noise.json.


def test_noise(tmp_path):
    """What an audit leaves beside a run is found there."""
    file = tmp_path / "noise.json"
    assert noise_beside(tmp_path) is None
    file.write_text('{"prior": {"variance": 1e-4, "freedom": 12}, "floor": 0.02}')
    assert noise_beside(tmp_path) == noise_beside(tmp_path / "summary.csv") == file
    found = read_noise(file)
    assert (found.prior.variance, found.prior.freedom, found.floor) == (1e-4, 12.0, 0.02)
    file.write_text('{"prior": null}')
    assert read_noise(file).prior is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"prior": 3}',
        '{"prior": {"variance": 0, "freedom": 1}}',
        '{"prior": {"variance": NaN, "freedom": 1}}',
        '{"prior": {"variance": 1, "freedom": -1}}',
        '{"prior": {"variance": true, "freedom": 1}}',
        '{"prior": null, "floor": -1}',
        '{"prior": null, "floor": "2%"}',
    ],
)
def test_no_noise(tmp_path, text):
    """A file under that name that is none is named."""
    file = tmp_path / "noise.json"
    file.write_text(text)
    with pytest.raises(UnreadableResults, match=r"noise\.json"):
        read_noise(file)


def test_reading_needs_no_particular_environment(run):
    """An edited fingerprint is data like any other."""
    (run / "environment.json").write_text(json.dumps(edited(ENVIRONMENT, machine__cpu=["$(touch x)", {"a": 1}])))
    assert read_side(run).environment["machine"]["cpu"] == ["$(touch x)", {"a": 1}]
