"""The journal and the state: what happened is on disk, and folding it again gives the same run."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from benchmarks import suites
from benchmarks.comparison.samples import parse_samples
from benchmarks.comparison.summaries import parse_summary
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.harness.state import State
from benchmarks.plan import CellKey, Plan
from benchmarks.records import Status, to_csv
from benchmarks.results import NOT_REACHED, to_records
from benchmarks.run_folder import RunFolder, samples_csv

PLAN = Plan(suite="smoke", cases=suites.load("smoke")[:1], implementations=("numpy/naive", "numpy/blocked"))
CASE = PLAN.cases[0].name
FACTS = {"first_call_s": 0.5, "per_call_s": 0.1, "lowered": [], "kernel": "k", "layout": "BNTH", "jit": "eager"}
FACTS |= {"max_abs_error": 1e-7, "error_over_bound": 0.1}


def cell(implementation, **fields):
    """An event about a cell."""
    return {"case": CASE, "implementation": implementation, "device": "cpu", **fields}


def block(implementation, process, number, seconds):
    """A block event."""
    place = {"process": process, "block": number, "order": number, "calls": 10}
    return cell(implementation, event="block", **place, seconds=seconds, canary_s=1e-6)


EVENTS = [
    {"event": "greeting", "framework": "numpy", "status": "ok", "reason": "", "version": "numpy 2", "devices": ["cpu"]},
    {"event": "matmul", "framework": "numpy", "dtype": "float32", "gflops": 100.0},
    {"event": "oracle", "case": CASE, "naive_error": 2e-7, "flops": 1000, "flops_conventional": 1000, "bytes": 500},
    cell("numpy/naive", event="prepared", facts=FACTS),
    cell("numpy/blocked", event="failed", status="crashed", reason="worker was killed by SIGSEGV"),
    block("numpy/naive", 0, 0, 1.0),
    block("numpy/naive", 0, 1, 1.2),
    {"event": "case", "case": CASE, "process": 0},
    block("numpy/naive", 1, 0, 9.0),
    {"event": "something of the future"},
]


def folded(events):
    """A state from events."""
    state = State()
    for event in events:
        state.apply(event)
    return state


def test_records_follow_from_events():
    """A timed cell and a crashed one become their rows."""
    naive, blocked = to_records(PLAN, folded(EVENTS[:8]), "r")
    assert naive.status is Status.OK
    assert naive.median_s == pytest.approx(0.11)
    assert naive.error_over_naive == pytest.approx(0.5)
    assert naive.peak_fraction == pytest.approx(1000 / 0.11 / 1e9 / 100)
    assert naive.speedup == 1.0
    assert (blocked.status, blocked.reason) == (Status.CRASHED, "worker was killed by SIGSEGV")


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "-1\r\n=2"])
def test_blocks_are_no_formulas_and_belong_to_their_cells(name):
    """A name that a spreadsheet would run, or that ends the row, is written alike in both files."""
    plan = dataclasses.replace(PLAN, cases=(dataclasses.replace(PLAN.cases[0], name=name),))
    state = folded({**event, "case": name} if "case" in event else event for event in EVENTS)
    records = to_records(plan, state, "r")
    (rows,) = parse_summary(to_csv(records), "summary.csv").values()
    blocks = samples_csv(state, {record.case: record.pass_ for record in records})
    cells = [field for row in csv.reader(io.StringIO(blocks, newline="")) for field in row]
    assert not any(field.startswith(("=", "@", "-")) for field in cells)
    timed = {key for key, row in rows.items() if row.status is Status.OK}
    samples = parse_samples(blocks, "samples.csv", {"": rows}, ())[""]
    assert set(samples.logs) == timed != set()


def test_a_cell_that_was_not_reached_says_so():
    """An interrupted run has rows without a time and with the reason."""
    assert {r.reason for r in to_records(PLAN, folded(EVENTS[:3]), "r")} == {NOT_REACHED}


def test_resume_keeps_half_measured_cases():
    """Blocks of a (case, process) that was not finished stay; which of them are there is known, and what comes next."""
    known = folded(EVENTS).cells[CellKey(CASE, "numpy/naive", "cpu")]
    assert (known.rounds(0), known.rounds(1), known.rounds(2)) == ({0, 1}, {0}, set())
    assert len(list(known.all_blocks())) == 3


def test_the_time_of_a_session_that_was_killed_counts():
    """Without an end its last event tells how long it lasted."""
    begin = {"event": "begin", "t_s": 0.0}
    killed = [begin, {**EVENTS[0], "t_s": 7.0}]
    assert folded([*killed, begin, {"event": "end", "wall_s": 3.0, "t_s": 3.5}]).wall_s == 10.0
    assert folded([begin, {"event": "end", "wall_s": 3.0, "t_s": 3.5}, begin]).wall_s == 3.0


def test_a_journal_is_folded_back(tmp_path):
    """Written and read, the events give the same plan, records and samples."""
    folder = RunFolder.create(tmp_path / "run", PLAN)
    for event in EVENTS[:8]:
        folder.append(event)
    folder.close()
    plan, state = RunFolder(tmp_path / "run").load()
    assert plan == PLAN
    assert to_records(plan, state, "r") == to_records(PLAN, folded(EVENTS[:8]), "r")
    passes = {case.name: case.pass_ for case in PLAN.cases}
    assert samples_csv(state, passes) == samples_csv(folded(EVENTS[:8]), passes)


def test_a_torn_last_line_is_passed_over(tmp_path):
    """A crash in the middle of a write costs that line only; a damaged line elsewhere is an error."""
    folder = RunFolder.create(tmp_path / "run", PLAN)
    for event in EVENTS[:8]:
        folder.append(event)
    folder.close()
    journal = tmp_path / "run" / "journal.jsonl"
    whole = journal.read_text()
    journal.write_text(whole + '{"event": "blo')
    assert RunFolder(tmp_path / "run").load()[1].done == {(CASE, 0)}
    journal.write_text("garbage\n" + whole)
    with pytest.raises(UnreadableResults, match="line 1 is damaged"):
        RunFolder(tmp_path / "run").load()


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    """A second run into the same folder is refused, with the way out."""
    RunFolder.create(tmp_path / "run", PLAN).close()
    with pytest.raises(UsageError, match=r"holds a run already.*--resume"):
        RunFolder.create(tmp_path / "run", PLAN)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    """A path under a file is no folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        RunFolder.create(tmp_path / "file" / "run", PLAN)


def test_nothing_to_resume_is_told(tmp_path):
    """An empty folder holds no run; a damaged plan is named."""
    with pytest.raises(UsageError, match="holds no run to resume"):
        RunFolder(tmp_path).load()
    (tmp_path / "plan.json").write_text(json.dumps({"suite": "smoke"}))
    (tmp_path / "journal.jsonl").write_text("")
    with pytest.raises(UnreadableResults, match=r"plan\.json is damaged"):
        RunFolder(tmp_path).load()


def test_a_run_is_a_dataframe(tmp_path):
    """benchmarks.load and load_samples give the rows and the blocks; what is no run is refused."""
    import benchmarks

    folder = RunFolder.create(tmp_path / "run", PLAN)
    state = folded(EVENTS[:8])
    folder.write_results(to_records(PLAN, state, "r"), state)
    folder.close()
    frame = benchmarks.load(tmp_path / "run")
    assert list(frame["implementation"]) == ["numpy/naive", "numpy/blocked"]
    assert frame["status"].cat.ordered
    assert frame["median_s"].dtype == float
    assert frame["pass"].eq("forward").all()
    samples = benchmarks.load_samples(tmp_path / "run")
    assert list(samples["per_call_s"].round(3)) == [0.1, 0.12]
    with pytest.raises(UnreadableResults, match="cannot be read"):
        benchmarks.load_samples(tmp_path)
    with pytest.raises(UnreadableResults, match="cannot be read"):
        benchmarks.load(tmp_path)


def test_a_folder_with_logs_of_somebody_else_is_refused(tmp_path):
    """A usage error takes away what the run has made, and never what was there."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="holds a run already"):
        RunFolder.create(tmp_path, PLAN)
    assert (tmp_path / "logs" / "mine.txt").read_text() == "precious"
