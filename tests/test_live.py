"""Whole live comparisons whose epochs are made up; their state and plan."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import pytest

from benchmarks.comparison.thresholds import Threshold, Thresholds
from benchmarks.comparison.verdicts import Gate, Verdict
from benchmarks.live import measure as live
from benchmarks.live import plan as live_plan
from benchmarks.live.plan import Pair, Side
from benchmarks.live.sequential import look, replay
from benchmarks.live.state import LiveState
from benchmarks.records import Status
from tests.live_plans import planned, simulated


class NoWorkers(contextlib.nullcontext):
    """A session that starts nothing."""

    def __init__(self, specs, *, log, keeps):
        super().__init__(self)


@pytest.fixture
def compare(monkeypatch, tmp_path):
    """compare(plan, epoch): live.measure, where epoch(number, pair) gives the log ratio, or fails as (side, status)."""

    def run(plan, epoch):
        asked = []

        class MadeUp:
            def __init__(self, plan, session, state, emit):
                self.emit = emit

            def epoch(self, number, pairs):
                asked.append(list(pairs))
                for pair in pairs:
                    told = epoch(number, pair)
                    place = {"case": pair.case, "a": pair.a, "b": pair.b, "device": pair.device}
                    if isinstance(told, tuple):
                        self.emit({"event": "failed", **place, "side": told[0], "status": told[1], "reason": "because"})
                    else:
                        times = {"calls": 1, "a_s": [1.0], "b_s": [math.exp(told)]}
                        self.emit({"event": "turns", **place, "epoch": number, **times})

        monkeypatch.setattr(live, "Session", NoWorkers)
        monkeypatch.setattr(live, "Alternation", MadeUp)
        events = []
        outcome = live.measure(plan, tmp_path, events.append)
        return outcome, asked, events

    return run


@pytest.mark.parametrize("early", [True, False])
def test_measuring_says_what_replaying_says(compare, early):
    """The loop that measures and the one that audits replay give the same verdicts for the same epochs."""
    rng = np.random.default_rng(17)
    plan = planned(12, epochs=12, stops_early=early)
    logs = simulated(rng, plan, 0.012, {0: 1.05, 1: 1.03, 2: 0.9})
    outcome, asked, events = compare(plan, lambda number, pair: logs[pair][number])
    cells = {(cell.case, cell.implementation): cell for cell in outcome.comparison.cells}
    for pair, (change, verdict) in replay(plan, logs).items():
        cell = cells[pair.case, pair.name]
        assert cell.verdict is verdict
        assert cell.change.units == change.units
        assert (cell.change.ratio, cell.change.p) == pytest.approx((change.ratio, change.p))
    assert len({cell.verdict for cell in cells.values()}) > 1
    assert any(e["event"] == "verdict" for e in events) == early
    assert (sum(map(len, asked)) < 12 * 12) == early


def test_a_verdict_is_not_taken_back(compare):
    """A cell that was clear at the first look is left alone, and keeps its verdict whatever the others do later."""
    rng = np.random.default_rng(18)
    plan = planned(20)
    first = plan.pairs[0]

    def epoch(number, pair):
        noise = rng.normal(0, 0.008 if number < 3 else 3.0)
        return noise + (0.06 if pair == first else 0.0)

    outcome, asked, _ = compare(plan, epoch)
    assert outcome.comparison.cells[0].verdict is Verdict.SLOWER
    assert outcome.comparison.cells[0].change.units == 3
    assert len(asked) == plan.epochs
    assert all(first not in pairs for pairs in asked[3:])
    known = outcome.state.pairs
    again = look(plan, {p: s.log_ratios() for p, s in known.items()}, dict.fromkeys(known, 1.0))
    assert again[first][1] is Verdict.INCONCLUSIVE, "the test would hold without the rule"


def test_it_stops_when_all_is_clear(compare):
    """No epoch more than the slowest cell needs, and the journal holds every event."""
    outcome, asked, events = compare(planned(2, epochs=20), lambda number, _: 0.0001 * number)
    assert [len(pairs) for pairs in asked] == [2, 2, 2]
    assert {cell.verdict for cell in outcome.comparison.cells} == {Verdict.SAME}
    assert [e["event"] for e in events].count("verdict") == 2
    assert events[-1]["event"] == "end"


def test_a_cell_that_fails_is_not_asked_again(compare, tmp_path):
    """Failures on one side are complaints or notes by side; the others go on."""
    plan = planned(5, epochs=3, stops_early=False)
    told = {
        "case-1": ("B", "crashed"),
        "case-2": ("A", "crashed"),
        "case-3": ("B", "unsupported"),
    }

    def epoch(number, pair):
        return told[pair.case] if number == 1 and pair.case in told else 0.001 * number

    outcome, asked, _ = compare(plan, epoch)
    assert [len(pairs) for pairs in asked] == [5, 5, 2]
    cells = {cell.case: cell for cell in outcome.comparison.cells}
    assert [cell.case for cell in outcome.comparison.worse] == ["case-1", "case-3"]
    for name in ("case-1", "case-2", "case-3"):
        assert (cells[name].verdict, cells[name].change, cells[name].a_s, cells[name].b_s) == (None,) * 4
    assert [c.gate for c in cells["case-1"].complaints] == [Gate.STATUS]
    assert "crashed" in cells["case-1"].complaints[0].text
    assert cells["case-2"].complaints == ()
    assert cells["case-2"].note.startswith("A crashed: because")
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines].count("failed") == 3


def test_ctrl_c_judges_what_there_is(compare):
    """Interrupted in the fifth epoch: cells that were measured have verdicts, the others say why they have none."""

    def epoch(number, pair):
        if number == 4 or pair.case == "case-2":
            raise KeyboardInterrupt
        return 0.3 + 0.001 * number

    outcome, _, _ = compare(planned(2, epochs=20), epoch)
    assert not outcome.interrupted  # clear after three
    outcome, _, _ = compare(planned(3, epochs=20), epoch)
    assert outcome.interrupted
    notes = [(cell.verdict, cell.note) for cell in outcome.comparison.cells]
    assert notes == [(Verdict.INCONCLUSIVE, "")] * 2 + [(None, "interrupted before it was measured")]
    assert "too few" in outcome.comparison.notes[0]


def test_the_state_folds_turns():
    """A turn is the geometric mean of its blocks, an epoch the median of its turns, a cell's time the median of all."""
    state = LiveState()
    pair = Pair("c", "numpy/naive", "numpy/blocked")
    place = {"case": "c", "a": pair.a, "b": pair.b, "device": "cpu", "event": "turns", "calls": 2}
    state.apply({**place, "epoch": 1, "a_s": [2.0, 8.0], "b_s": [4.0, 16.0]})
    state.apply({**place, "epoch": 1, "a_s": [2.0], "b_s": [16.0]})
    state.apply({**place, "epoch": 1, "a_s": [2.0], "b_s": [6.0]})
    state.apply({**place, "epoch": 0, "a_s": [2.0], "b_s": [2.0]})
    known = state.pairs[pair]
    assert known.turns[1][0] == pytest.approx((2.0, 4.0))
    assert known.log_ratios() == pytest.approx([0.0, math.log(3)])
    assert known.median_s("A") == pytest.approx(1.0)
    assert known.median_s("B") == pytest.approx(3.5)
    assert known.measured_s == pytest.approx({"A": 16.0, "B": 44.0})


def test_the_state_survives_what_it_does_not_know():
    """Unknown events are passed over; of several failures of a side the first is kept."""
    state = LiveState()
    state.apply({"event": "eclipse", "of": "the moon"})
    place = {"case": "c", "a": "x/y", "b": "x/y", "device": "cpu"}
    state.apply({"event": "failed", **place, "side": "B", "status": "crashed", "reason": "first"})
    state.apply({"event": "failed", **place, "side": "B", "status": "error", "reason": "second"})
    state.apply({"event": "prepared", **place, "side": "A", "facts": {"kernel": "k"}})
    state.apply({"event": "greeting", "worker": "A-x", "version": "1"})
    state.apply({"event": "oracle", "case": "c", "bytes": 3})
    state.apply({"event": "end", "wall_s": 1.5})
    assert state.pairs[Pair("c", "x/y", "x/y")].failures == {"B": (Status.CRASHED, "first")}
    assert state.pairs[Pair("c", "x/y", "x/y")].facts == {"A": {"kernel": "k"}}
    assert (state.greetings["A-x"]["version"], state.cases["c"]["bytes"], state.wall_s) == ("1", 3, 1.5)


def test_a_pair_names_what_it_compares():
    """One implementation, or B against A; each side's worker is that of its framework."""
    same, two = Pair("c", "torch/naive", "torch/naive"), Pair("c", "numpy/naive", "torch/naive")
    assert (same.name, two.name) == ("torch/naive", "torch/naive vs numpy/naive")
    assert (two.worker("A"), two.worker("B")) == ("A-numpy", "B-torch")
    assert (two.implementation("A"), two.implementation("B")) == ("numpy/naive", "torch/naive")
    assert str(two) == "c torch/naive vs numpy/naive cpu"


def test_a_plan_names_its_workers(tmp_path):
    """One worker per side and framework, each with what makes its side, and no plug-in of another framework."""
    plugins = (("numpy", "/p.py"), ("torch", "/q.py"))
    b = Side(name="B", label="b", python="/py", root=tmp_path, plugins=plugins, variables=(("X", "1"),))
    plan = planned(2, implementations=("numpy/naive", "torch/naive", "numpy/blocked"), b=b)
    assert plan.frameworks == ("numpy", "torch")
    workers = {spec.name: spec for spec in plan.workers()}
    assert set(workers) == {"A-numpy", "A-torch", "B-numpy", "B-torch"}
    found = workers["B-numpy"]
    assert (found.framework, found.python, found.root) == ("numpy", "/py", tmp_path)
    assert (found.plugins, found.variables) == (("/p.py",), (("X", "1"),))
    assert workers["A-numpy"].plugins == ()


@pytest.mark.parametrize(
    ("allowed", "cpus", "a", "b"),
    [({0, 1, 2, 3}, (3,), (2,), (3,)), ({0, 1}, (0, 1), (0, 1), (0, 1)), ({5}, (5,), (5,), (5,)), ({0, 1}, (), (), ())],
)
def test_side_a_starts_beside_side_b_where_there_is_room(monkeypatch, allowed, cpus, a, b):
    """On as many other CPUs, or on the same."""
    monkeypatch.setattr(live_plan.os, "sched_getaffinity", lambda _: allowed, raising=False)
    workers = {spec.name: spec.cpus for spec in planned(1, cpus=cpus).workers()}
    assert workers == {"A-numpy": a, "B-numpy": b}


def test_a_plan_is_plain_data():
    """to_dict goes through JSON, with both sides and the thresholds."""
    data = json.loads(json.dumps(planned(2, thresholds=Thresholds(Threshold(0.1, 1e-5))).to_dict()))
    assert [c["name"] for c in data["cases"]] == ["case-0", "case-1"]
    assert (data["a"]["label"], data["b"]["label"]) == ("before", "after")
    assert data["thresholds"]["usual"] == {"relative": 0.1, "floor_s": 1e-5}
    assert data["pairs"][1] == {"case": "case-1", "a": "numpy/naive", "b": "numpy/naive", "device": "cpu"}
