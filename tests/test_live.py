"""Live comparisons without a clock: when to look and what a look may say, on simulated epochs; state, plan, order of turns."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.cases import case
from benchmarks.comparison.prior import Prior
from benchmarks.comparison.thresholds import Override, Threshold, Thresholds
from benchmarks.comparison.verdicts import Gate, Verdict
from benchmarks.errors import UsageError
from benchmarks.harness.process import WorkerFailed
from benchmarks.harness.session import Greeting
from benchmarks.live import measure as live
from benchmarks.live import plan as live_plan
from benchmarks.live import sequential
from benchmarks.live.alternation import Alternation
from benchmarks.live.plan import LivePlan, Pair, Side
from benchmarks.live.sequential import FEWEST_EPOCHS, look, looks, replay
from benchmarks.live.state import LiveState
from benchmarks.records import Status

CHANGED = (Verdict.SLOWER, Verdict.FASTER)
TRIALS = 200


def planned(cells=30, *, implementations=("numpy/naive",), threshold=0.02, **changes):
    """A plan of so many cases, both sides alike."""
    cases = tuple(case(f"case-{number}", "planted", T=4, N=1, H=4) for number in range(cells))
    pairs = tuple(Pair(c.name, id, id) for c in cases for id in implementations)
    sides = {"a": Side(name="A", label="before"), "b": Side(name="B", label="after")}
    thresholds = Thresholds(Threshold(threshold))
    return LivePlan(suite="planted", cases=cases, pairs=pairs, **{**sides, "thresholds": thresholds, **changes})


# --- looking repeatedly ---


@pytest.mark.parametrize("epochs", range(1, 51))
def test_looks_grow_and_end_with_the_last_epoch(epochs):
    """Increasing, none before there are enough pairs of processes, the last at the budget, and few."""
    found = looks(epochs)
    assert list(found) == sorted(set(found))
    assert found[-1] == epochs
    assert found[0] >= min(FEWEST_EPOCHS, epochs)
    assert len(found) <= 3 + 2 * math.log2(epochs)


def simulated(rng, plan, noise, ratios=None, draw=None):
    """A log ratio per epoch and pair: the true one, and noise that belongs to the pair of processes."""
    shape = (len(plan.pairs), plan.epochs)
    drawn = rng.standard_normal(shape) if draw is None else draw(rng, shape)
    logs = drawn * np.broadcast_to(noise, len(plan.pairs))[:, None]
    for place, ratio in (ratios or {}).items():
        logs[place] += math.log(ratio)
    return {pair: list(map(float, row)) for pair, row in zip(plan.pairs, logs, strict=True)}


def verdicts(found):
    """Without the changes."""
    return {pair: verdict for pair, (_, verdict) in found.items()}


def alarms(rng, plan, trials, noise, draw=None):
    """In how many comparisons of identical code any cell is called slower or faster."""
    found = 0
    for _ in range(trials):
        found += any(v in CHANGED for v in verdicts(replay(plan, simulated(rng, plan, noise, draw=draw))).values())
    return found


def student(rng, shape):
    """Tails so heavy that a variance hardly exists."""
    return rng.standard_t(2.5, shape)


def outliers(rng, shape):
    """One pair of processes in ten is ten times as far off."""
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.1, 10, 1)


@pytest.mark.parametrize(
    ("noise", "draw"),
    [
        (0.01, None),
        (np.array([0.003, 0.01, 0.03, 0.01, 0.005, 0.1] * 5), None),
        (0.01 * np.sqrt(4 / np.random.default_rng(5).chisquare(4, 30)), None),
        (np.array([0.1] + [0.01] * 29), None),
        (0.01, student),
        (0.01, outliers),
    ],
    ids=["alike", "five-kinds", "inverse-chi-square", "one-noisy-cell", "heavy-tails", "outliers"],
)
def test_looking_often_raises_no_more_false_alarms(noise, draw):
    """30 cells of identical code, looked at 4 times: any false alarm in at most alpha of 200 comparisons.

    The binomial limit is crossed by chance once in a thousand; the seed is fixed. Threshold 0: significance stands alone.
    """
    plan = planned(threshold=0.0, alpha=0.05)
    assert len(looks(plan.epochs)) == 4
    assert alarms(np.random.default_rng(11), plan, TRIALS, noise, draw) <= stats.binom.ppf(0.999, TRIALS, plan.alpha)


def test_the_simulation_would_find_a_rule_that_trusts_too_much(monkeypatch):
    """Where every cell is taken to be as noisy as most, the one that is noisier raises alarms beyond the limit."""
    monkeypatch.setattr(sequential, "fit_prior", lambda raw: Prior(1e-4, sum(e.freedom for e in raw)))
    noise = np.array([0.1] + [0.01] * 29)
    found = alarms(np.random.default_rng(11), planned(threshold=0.0, alpha=0.05), TRIALS, noise)
    assert found > 2 * stats.binom.ppf(0.999, TRIALS, 0.05)


def test_a_slowdown_is_found_before_the_budget_is_spent():
    """+5 % in one of 30 cells with 1 % noise: found in at least 97 of 100 comparisons, before the last epoch."""
    rng = np.random.default_rng(12)
    plan = planned()
    found = early = 0
    for _ in range(100):
        change, verdict = replay(plan, simulated(rng, plan, 0.01, {7: 1.05}))[plan.pairs[7]]
        found += verdict is Verdict.SLOWER
        early += verdict is Verdict.SLOWER and change.units < plan.epochs
    assert found >= 97
    assert early >= 97


def test_one_cell_alone_is_judged_too():
    """Without other cells to lean on, +5 % with 1 % noise takes longer, and is found in at least 95 of 100 comparisons."""
    rng = np.random.default_rng(13)
    plan = planned(1, epochs=12)
    found = [replay(plan, simulated(rng, plan, 0.01, {0: 1.05}))[plan.pairs[0]][1] for _ in range(100)]
    assert found.count(Verdict.SLOWER) >= 95
    assert Verdict.FASTER not in found


@pytest.mark.parametrize(("true", "share"), [(1.04, 0.01), (1 / 1.04, 0.01), (1.021, 0.05)])
@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_same_is_not_said_of_what_differs(true, share, noise):
    """Cells beyond the threshold of 2 %: SAME at most where their interval may miss, and hardly at twice the threshold."""
    rng = np.random.default_rng(14)
    plan = planned(20)
    said = []
    for _ in range(50):
        said += verdicts(replay(plan, simulated(rng, plan, noise, dict.fromkeys(range(20), true)))).values()
    assert said.count(Verdict.SAME) <= stats.binom.ppf(0.999, len(said), share)


def test_what_is_the_same_is_called_so_and_left_alone():
    """Identical code with 0.5 % noise under a threshold of 2 %: SAME at nearly every cell, most before the last epoch."""
    rng = np.random.default_rng(15)
    plan = planned()
    found = [v for _ in range(30) for v in replay(plan, simulated(rng, plan, 0.005)).values()]
    assert sum(verdict is Verdict.SAME for _, verdict in found) >= 0.97 * len(found)
    assert sum(change.units < plan.epochs for change, _ in found) >= 0.9 * len(found)


def test_noise_is_inconclusive_at_the_budget():
    """Where noise drowns the threshold, nothing is claimed in either direction."""
    rng = np.random.default_rng(16)
    plan = planned(epochs=5)
    found = list(verdicts(replay(plan, simulated(rng, plan, 0.3))).values())
    assert found.count(Verdict.INCONCLUSIVE) == len(found)


def test_a_cell_has_its_own_threshold():
    """An override is found by the case and the name of the pair."""
    plan = planned(2, epochs=3, thresholds=Thresholds(Threshold(0.02), (Override("case-1", "numpy/*", 0.5, None),)))
    logs = {pair: [0.2, 0.2001, 0.1999] for pair in plan.pairs}
    assert [v for _, v in look(plan, logs, dict.fromkeys(plan.pairs, 1.0)).values()] == [Verdict.SLOWER, Verdict.SAME]


def test_nothing_measured_says_nothing():
    """No epochs, no verdicts."""
    plan = planned(2)
    assert look(plan, {}, {}) == {}
    assert look(plan, {plan.pairs[0]: []}, {}) == {}


# --- a whole comparison whose epochs are made up ---


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


# --- state and plan ---


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


# --- the order of turns ---


class Workers:
    """A session whose workers answer from a table: per-call seconds by implementation, faults by (worker, op, cell)."""

    def __init__(self, folder, per_call_s, faults=None, absent=None):
        self.folder = folder
        self.per_call_s = per_call_s
        self.faults = faults or {}
        """(op, cell) -> what happens: "dies" or a status; once each, or always where the status ends in "!"."""
        self.absent = absent or {}
        self.asked = []
        self.alive = set()
        self.versions = {}
        self.lost = set()
        """Those that do not come back."""
        self.oracles = {}
        """Case -> what the oracle's worker answers instead."""
        self.runs = {}

    def launch(self, names):
        self.alive = set(names) - self.absent.keys()
        self.launched = list(names)

    def greetings(self):
        return {
            name: self.absent.get(name)
            or Greeting(name[2:], Status.OK, "", self.versions.get(name, "1.0"), ("cpu",), (("threads", "1"),))
            for name in self.launched
        }

    def oracle(self, limit_s, /, case, **fields):
        told = self.oracles.get(case["name"], {"status": Status.OK, "reason": "", "bytes": 1000})
        if isinstance(told, WorkerFailed):
            raise told
        return told

    def __contains__(self, name):
        return name in self.alive

    def bind(self, cpus):
        self.asked.append(("all", "bind", str(cpus), {}))

    def restart(self, name):
        self.alive.discard(name)
        if name in self.lost:
            raise WorkerFailed(Status.ERROR, "no more")
        self.alive.add(name)
        self.asked.append((name, "restart", "", {}))

    def ask(self, name, op, limit_s, /, cell="", **fields):
        assert name in self.alive, f"{name} is asked to {op}, and is not there"
        self.asked.append((name, op, cell, fields))
        fault = self.faults.get((op, cell or name), "")
        if fault and not fault.endswith("!"):
            del self.faults[op, cell or name]
        if fault.startswith("dies"):
            self.alive.discard(name)
            raise WorkerFailed(Status.CRASHED, "worker exited with code 3")
        if fault:
            return {"status": fault.rstrip("!"), "reason": "not today"}
        answer = {"status": Status.OK, "reason": ""}
        if op == "prepare":
            self.runs[cell] = fields["implementation"]
            facts = {"per_call_s": 99.0, "kernel": "k", "error_over_bound": 0.1}
            return {**answer, **facts} | ({"per_call_s": fields["known"][1]} if fields["known"] else {})
        if op == "estimate":
            return {**answer, "per_call_s": self.per_call_s[self.runs[cell]]}
        return {**answer, "seconds": 1.0} if op == "block" else answer

    def ask_side_by_side(self, queues, op, limit_s):
        for name, queue in queues.items():
            for token, fields in queue:
                try:
                    answer = self.ask(name, op, limit_s, **fields)
                except WorkerFailed:
                    break
                yield token, answer

    def blocks(self):
        """(cell without its side, side, calls) of each block, in order."""
        return [(cell[2:], cell[0], fields["calls"]) for _, op, cell, fields in self.asked if op == "block"]


@pytest.fixture
def alternate(tmp_path):
    """alternate(plan, workers, epochs): run them; the state."""

    def run(plan, workers, epochs=1):
        state = LiveState()
        alternation = Alternation(plan, workers, state, state.apply)
        for number in range(epochs):
            open_pairs = [pair for pair in plan.pairs if not state.pairs[pair].failures]
            alternation.epoch(number, open_pairs)
        return state

    return run


def exchanges_of(blocks):
    """Runs of blocks of one cell, four or two at a time: (cell, order of sides, calls of each)."""
    found = []
    while blocks:
        size = 4 if len(blocks) >= 4 and len({cell for cell, _, _ in blocks[:4]}) == 1 else 2
        group, blocks = blocks[:size], blocks[size:]
        assert len({cell for cell, _, _ in group}) == 1
        found.append((group[0][0], "".join(side for _, side, _ in group), [calls for _, _, calls in group]))
    return found


PER_CALL_S = {"numpy/fast": 0.001, "numpy/middle": 0.1, "numpy/long": 0.3}


def test_an_exchange_is_abba_or_baab(alternate, tmp_path):
    """Both sides have as many blocks of as many calls, mirrored, so that steady drift cancels; both orders occur."""
    plan = planned(3, implementations=("numpy/fast",), budget_s=0.8, epochs=2, block_s=0.02)
    workers = Workers(tmp_path, PER_CALL_S)
    state = alternate(plan, workers)
    found = exchanges_of(workers.blocks())
    assert {order for _, order, _ in found} == {"ABBA", "BAAB"}
    assert all(calls == [20] * 4 for _, _, calls in found)
    # 0.4 s of each side in an epoch, in exchanges of 2 x 0.02 s.
    assert len(found) == 3 * 10
    cells = [cell for cell, _, _ in found]
    assert all({cells[i], cells[i + 1], cells[i + 2]} == set(cells) for i in range(0, 30, 3)), "turns are not spread"
    assert cells[:3] + cells[3:6] + cells[6:9] + cells[9:12] != cells[:3] * 4, "the order of cells is always the same"
    for pair in plan.pairs:
        assert len(state.pairs[pair].turns[0]) == 10
        assert state.pairs[pair].facts["A"]["per_call_s"] == 0.001, "what was found side by side is too long"


def test_each_side_starts_and_prepares_first_in_every_other_epoch(alternate, tmp_path):
    """Who is first finds other caches and gets other pages; else that would be called a difference of the sides."""
    plan = planned(1, implementations=("numpy/fast",), budget_s=0.4, epochs=4)
    workers = Workers(tmp_path, PER_CALL_S)
    launched = []
    launch = workers.launch
    workers.launch = lambda names: (launched.append(list(names)), launch(names))
    alternate(plan, workers, epochs=4)
    assert launched == [["A-numpy", "B-numpy"], ["B-numpy", "A-numpy"]] * 2
    prepared = [name[0] for name, op, _, _ in workers.asked if op == "prepare"]
    assert prepared == ["A", "B", "B", "A"] * 2


def test_long_calls_take_fewer_turns(alternate, tmp_path):
    """Cells get as many exchanges as their share of the budget holds, spread over the rounds; at least one of A and B."""
    plan = planned(1, implementations=tuple(PER_CALL_S), budget_s=0.8, epochs=2, block_s=0.02)
    workers = Workers(tmp_path, PER_CALL_S)
    alternate(plan, workers)
    found = exchanges_of(workers.blocks())
    counts = {name: [order for cell, order, _ in found if name in cell] for name in PER_CALL_S}
    assert {name: len(orders) for name, orders in counts.items()} == {
        "numpy/fast": 10,
        "numpy/middle": 2,
        "numpy/long": 1,
    }
    assert set(counts["numpy/middle"]) <= {"ABBA", "BAAB"}
    assert counts["numpy/long"][0] in ("AB", "BA")
    places = [place for place, (cell, _, _) in enumerate(found) if "middle" in cell]
    assert places[1] - places[0] > 3


def test_calls_are_sized_by_the_slower_side(alternate, tmp_path):
    """A against B of another speed: equal calls, so many that the slower side fills its block."""
    pair = Pair("case-0", "numpy/fast", "numpy/slower")
    plan = dataclasses.replace(planned(1, budget_s=0.8, epochs=2, block_s=0.02), pairs=(pair,))
    workers = Workers(tmp_path, {"numpy/fast": 0.001, "numpy/slower": 0.005})
    state = alternate(plan, workers)
    assert {calls for _, _, calls in workers.blocks()} == {4}
    assert state.pairs[pair].measured_s["A"] == state.pairs[pair].measured_s["B"]


def test_the_same_seed_gives_the_same_turns(alternate, tmp_path):
    """Turns are random, and repeatable."""
    orders = []
    for seed in (1, 1, 2):
        plan = planned(4, implementations=("numpy/fast",), budget_s=0.4, epochs=2, seed=seed)
        workers = Workers(tmp_path, PER_CALL_S)
        alternate(plan, workers)
        orders.append(workers.blocks())
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("status", ["unsupported", "incorrect"])
def test_a_cell_refused_on_one_side_is_not_timed(alternate, tmp_path, side, status):
    """Neither side of it; its neighbours are."""
    plan = planned(2, implementations=("numpy/fast",), budget_s=0.1, epochs=2)
    workers = Workers(tmp_path, PER_CALL_S, {("prepare", f"{side} case-0 numpy/fast cpu"): f"{status}!"})
    state = alternate(plan, workers, epochs=2)
    assert {cell for cell, _, _ in workers.blocks()} == {"case-1 numpy/fast cpu"}
    assert state.pairs[plan.pairs[0]].failures == {side: (Status(status), "not today")}
    assert not state.pairs[plan.pairs[0]].turns
    assert len(state.pairs[plan.pairs[1]].turns) == 2


def test_a_slowdown_is_put_into_one_side_alone(alternate, tmp_path):
    """What `audit` plants reaches B's blocks; A is asked as ever."""
    plan = planned(
        1, implementations=("numpy/fast",), b=Side(name="B", label="b", slowdown=0.05), budget_s=0.1, epochs=1
    )
    workers = Workers(tmp_path, PER_CALL_S)
    alternate(plan, workers)
    slowed = {cell[0]: fields.get("slowdown") for _, op, cell, fields in workers.asked if op == "block"}
    assert slowed == {"A": None, "B": 0.05}


def test_workers_are_bound_before_anything_is_timed(alternate, tmp_path):
    """They start where there is room and are measured where the plan says."""
    plan = planned(1, implementations=("numpy/fast",), cpus=(0,), budget_s=0.1, epochs=1)
    workers = Workers(tmp_path, PER_CALL_S)
    alternate(plan, workers)
    ops = [op for _, op, _, _ in workers.asked]
    assert ops.index("bind") < min(ops.index("estimate"), ops.index("block"))
    assert ops.index("prepare") < ops.index("bind")


@pytest.mark.parametrize("op", ["prepare", "estimate", "block"])
def test_a_cell_that_ends_its_worker_is_told_and_left_out(alternate, tmp_path, op):
    """The worker comes back, its other cells are prepared again and timed; the culprit says how it ended."""
    plan = planned(3, implementations=("numpy/fast",), budget_s=0.2, epochs=2)
    workers = Workers(tmp_path, PER_CALL_S, {(op, "B case-1 numpy/fast cpu"): "dies!"})
    state = alternate(plan, workers, epochs=2)
    status, reason = state.pairs[plan.pairs[1]].failures["B"]
    assert status is Status.CRASHED
    assert reason == f"in {op}: worker exited with code 3"
    for pair in (plan.pairs[0], plan.pairs[2]):
        assert not state.pairs[pair].failures
        assert sorted(state.pairs[pair].turns) == [0, 1]


def test_a_cell_that_only_hung_beside_others_is_tried_alone(alternate, tmp_path):
    """A worker that ended once while all prepared side by side: its cell gets its chance, and is timed."""
    plan = planned(2, implementations=("numpy/fast",), budget_s=0.2, epochs=1)
    workers = Workers(tmp_path, PER_CALL_S, {("prepare", "B case-1 numpy/fast cpu"): "dies"})
    state = alternate(plan, workers)
    assert all(state.pairs[pair].turns and not state.pairs[pair].failures for pair in plan.pairs)


@pytest.mark.parametrize("op", ["prepare", "estimate", "block"])
def test_no_cell_of_a_worker_that_stays_away_is_forgotten(alternate, tmp_path, op):
    """A worker that dies and does not come back: every cell of its side has failed, none is silently unmeasured."""
    plan = planned(3, implementations=("numpy/fast",), budget_s=0.2, epochs=1)
    workers = Workers(tmp_path, PER_CALL_S, {(op, "B case-1 numpy/fast cpu"): "dies"})
    workers.lost = {"B-numpy"}
    state = alternate(plan, workers)
    assert all("B" in state.pairs[pair].failures for pair in plan.pairs)
    comparison = live.to_comparison(plan, state, {})
    assert [cell.complaints[0].gate for cell in comparison.cells] == [Gate.STATUS] * 3


def test_a_worker_that_dies_when_it_should_forget_comes_back(alternate, tmp_path):
    """The cells of that group are measured; the next group has its worker."""
    plan = planned(2, implementations=("numpy/fast",), budget_s=0.2, epochs=2)
    workers = Workers(tmp_path, PER_CALL_S, {("release", "A-numpy"): "dies!"})
    state = alternate(plan, workers, epochs=2)
    assert ("A-numpy", "restart", "", {}) in workers.asked
    assert all(len(state.pairs[pair].turns) == 2 for pair in plan.pairs)


MISSING = Greeting("torch", Status.NOT_INSTALLED, "torch is not installed")
BOTH = ("numpy/fast", "torch/fast")


def test_a_framework_that_neither_side_has_is_told_and_left_out(alternate, tmp_path):
    """Its cells have no verdict and no complaint; those of other frameworks are timed."""
    plan = planned(1, implementations=BOTH, budget_s=0.2, epochs=1)
    workers = Workers(tmp_path, PER_CALL_S, absent={"A-torch": MISSING, "B-torch": MISSING})
    state = alternate(plan, workers)
    assert [bool(state.pairs[pair].turns) for pair in plan.pairs] == [True, False]
    cells = live.to_comparison(plan, state, {}).cells
    assert cells[1].note == "A not_installed: torch is not installed; B not_installed: torch is not installed"
    assert cells[1].complaints == ()


@pytest.mark.parametrize(
    ("absent", "asked", "implementations"),
    [(["B-torch"], (), BOTH), (["A-torch", "B-torch"], ("torch",), BOTH), (["A-torch", "B-torch"], (), BOTH[1:])],
    ids=["on-one-side", "asked-for", "nothing-else"],
)
def test_a_framework_that_has_to_be_there_ends_the_comparison(alternate, tmp_path, absent, asked, implementations):
    """Where only one side lacks it, where it was asked for, and where nothing else is compared."""
    plan = planned(1, implementations=implementations, asked=asked)
    workers = Workers(tmp_path, PER_CALL_S, absent=dict.fromkeys(absent, MISSING))
    with pytest.raises(UsageError, match=r"^side [AB] \((before|after)\): torch is not installed$"):
        alternate(plan, workers)


def test_a_worker_that_is_gone_later_fails_its_cells(alternate, tmp_path):
    """What was measured before is not thrown away with an error of usage; the side that changed is told."""
    plan = planned(2, implementations=("numpy/fast",), budget_s=0.2, epochs=3)
    state = LiveState()
    workers = Workers(tmp_path, PER_CALL_S)
    alternation = Alternation(plan, workers, state, state.apply)
    alternation.epoch(0, plan.pairs)
    workers.versions = {"B-numpy": "2.0"}
    alternation.epoch(1, plan.pairs[:1])
    assert state.pairs[plan.pairs[0]].failures == {"B": (Status.ERROR, "began with 1.0, here is 2.0; start anew")}
    workers.versions, workers.absent = {}, {"B-numpy": Greeting("numpy", Status.CRASHED, "worker exited with code 1")}
    alternation.epoch(2, plan.pairs[1:])
    assert state.pairs[plan.pairs[1]].failures == {"B": (Status.CRASHED, "worker exited with code 1")}


@pytest.mark.parametrize("dies", [True, False])
def test_a_case_without_an_oracle_fails_on_both_sides(alternate, tmp_path, dies):
    """The oracle ran out of memory or died: nobody's regression; the other cases go on."""
    plan = planned(2, implementations=("numpy/fast",), budget_s=0.2, epochs=1)
    workers = Workers(tmp_path, PER_CALL_S)
    failure = WorkerFailed(Status.CRASHED, "worker was killed by SIGKILL")
    workers.oracles["case-0"] = failure if dies else {"status": "out_of_memory", "reason": "MemoryError"}
    state = alternate(plan, workers)
    cells = live.to_comparison(plan, state, {}).cells
    assert "the oracle failed: " in cells[0].note
    assert cells[0].complaints == ()
    assert [bool(state.pairs[pair].turns) for pair in plan.pairs] == [False, True]


def test_more_memory_is_a_complaint():
    """What the first process of a side weighed; later ones weigh nothing, and older checkouts never did."""
    plan, state = planned(1), LiveState()
    (pair,) = plan.pairs
    told = {"event": "prepared", "case": pair.case, "a": pair.a, "b": pair.b, "device": pair.device}
    for side, mib in (("A", 40), ("B", 46), ("B", None)):
        memory = None if mib is None else mib * 2**20
        state.apply({**told, "side": side, "facts": {"per_call_s": 1.0, "peak_memory_bytes": memory}})
    assert [complaint.gate for complaint in live._complaints(pair, state)] == [Gate.MEMORY]
    state.apply({**told, "side": "A", "facts": {"per_call_s": 1.0}})
    assert [complaint.gate for complaint in live._complaints(pair, state)] == [Gate.MEMORY]
    state.pairs[pair].facts["A"].pop("peak_memory_bytes")
    assert live._complaints(pair, state) == []
