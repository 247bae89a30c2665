"""The order of turns of a live comparison, with workers that answer from a table."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.comparison.verdicts import Gate
from benchmarks.errors import UsageError
from benchmarks.harness.process import WorkerFailed
from benchmarks.harness.session import Greeting
from benchmarks.live import measure as live
from benchmarks.live.alternation import Alternation
from benchmarks.live.plan import Pair, Side
from benchmarks.live.state import LiveState
from benchmarks.records import Status
from tests.live_plans import planned


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
