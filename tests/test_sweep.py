"""A sweep over lengths ends where it was told to, with a reason; what was tried is never taken back."""

from __future__ import annotations

import types

import pytest

from benchmarks import measure
from benchmarks.cases import case
from benchmarks.harness import oracle_answers, sweep
from benchmarks.harness.session import Session
from benchmarks.harness.state import CellState, State
from benchmarks.harness.sweep import Sweep
from benchmarks.plan import CellKey, Plan
from benchmarks.records import NOT_TRIED, Status
from benchmarks.reports.formats import github, junit
from benchmarks.run_folder import RunFolder
from tests.test_records import record

LENGTHS = (8192, 16384, 32768, 65536)
LADDER = tuple(case(f"length-{S}", "here", T=S, N=1) for S in LENGTHS)
OTHER = case("other", "here", T=32768, N=4, H=32)
PLAN = Plan(suite="scaling", cases=(OTHER, *LADDER), implementations=("numpy/naive",))


def cell(S):
    """The one cell of a rung."""
    return CellKey(f"length-{S}", "numpy/naive", "cpu")


def ends(known, S, plan=PLAN):
    """What is said of a rung where `known` holds seconds per call, or a status, by length."""
    state = State()
    for length, told in known.items():
        failed = isinstance(told, Status)
        state.cells[cell(length)] = CellState(status=told) if failed else CellState(facts={"per_call_s": told})
    found = Sweep(plan, state).ends_before([c for c in plan.cases if c.name == f"length-{S}"])
    return found[0][1] if found else None


def test_long_rungs_have_stages_of_their_own():
    """What is short is measured together, with all that is no rung; then length by length."""
    stages = Sweep(PLAN, State()).stages(PLAN.cases)
    assert [[c.name for c in stage] for stage in stages] == [
        ["other", "length-8192"],
        ["length-16384"],
        ["length-32768"],
        ["length-65536"],
    ]
    assert Sweep(PLAN, State()).stages([]) == [[]]


def test_too_long_a_call_is_not_tried():
    """Four times as long for each doubling: 0.2, 0.8, then 3.2 s are more than 2; 0.1 and 0.4 lead to 1.6."""
    status, reason = ends({8192: 0.2, 16384: 0.8}, 32768)
    assert status is Status.TIMEOUT
    assert reason == "not tried: a call would take 3.2 s, more than 2 s (S = 8192: 0.2 s, S = 16384: 0.8 s)"
    assert ends({8192: 0.1, 16384: 0.4}, 32768) is None


def test_the_time_limit_of_a_step_counts_too():
    """Whoever gives less than two seconds to a step gets no calls that take longer."""
    plan = Plan(suite="scaling", cases=LADDER, implementations=("numpy/naive",), time_limit_s=1.0)
    assert ends({8192: 0.1, 16384: 0.4}, 32768, plan) is not None


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.OUT_OF_MEMORY])
def test_what_ended_below_ends_above(status):
    """An implementation that ran out of time or memory does so at every greater length."""
    assert ends({16384: status}, 32768) == (status, "not tried: length-16384 ended so already")


@pytest.mark.parametrize("status", [Status.UNSUPPORTED, Status.NOT_INSTALLED])
def test_what_was_refused_at_every_length_is_not_tried(status):
    """No oracle is asked on its behalf; one refusal alone says nothing, for it may be about that length."""
    assert ends({8192: status, 16384: status}, 32768) == (status, "not tried: every shorter length ended so already")
    assert ends({8192: 0.1, 16384: status}, 32768) is None
    assert ends({8192: status}, 32768) is None


@pytest.mark.parametrize(
    "known",
    [
        {},
        {16384: 9.0},  # one point has no slope
        {8192: 9.0},
        {8192: 9.0, 16384: Status.CRASHED},
        {16384: Status.UNSUPPORTED},
        {8192: 9.0, 16384: 9.0, 32768: 9.0},  # it was tried
        {16384: Status.TIMEOUT, 32768: Status.ERROR},  # its own end stands
    ],
)
def test_what_is_not_known_is_tried(known):
    """Without the two rungs below, or with a result of its own, nothing is said."""
    assert ends(known, 32768) is None


def test_the_oracle_has_its_limit():
    """On a ladder, that of a step; a case that is no rung is asked whatever it takes."""
    told = Sweep(PLAN, State())
    seconds = {"length-8192": 12.0, "length-16384": 50.0, "other": 999.0}
    reason = told.oracle_takes_too_long(LADDER[2], seconds)
    assert reason is not None
    assert reason.startswith("not tried: the oracle would take 2.1e+02 s, more than 180 s (S = 8192: 12 s")
    assert told.oracle_takes_too_long(LADDER[2], {"length-8192": 10.0, "length-16384": 40.0}) is None
    assert told.oracle_takes_too_long(OTHER, seconds) is None


def test_where_the_oracle_ends_all_longer_rungs_end_unasked(tmp_path, monkeypatch):
    """The implementation is fast; the oracle, by the clock that it is shown, takes four times as long at each rung."""
    monkeypatch.setattr(sweep, "_SMALL_FLOPS", 0)
    asked, ask, clock = [], Session.oracle, types.SimpleNamespace(now=0.0)

    def oracle(session, limit_s, /, **fields):
        asked.append(fields["case"]["name"])
        clock.now += 1e-2 * fields["case"]["shape"]["T"] ** 2
        return ask(session, limit_s, **fields)

    monkeypatch.setattr(Session, "oracle", oracle)
    monkeypatch.setattr(oracle_answers, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    cases = tuple(case(f"length-{8 << n}", "here", T=8 << n, N=1, H=8) for n in range(8))
    plan = Plan(suite="scaling", cases=cases, implementations=("numpy/naive",), processes=1, blocks=2, block_s=0.001)
    outcome = measure.measure(plan, RunFolder.create(tmp_path / "run", plan), State(), lambda event: None)
    assert [r.status for r in outcome.records] == [Status.OK] * 5 + [Status.TIMEOUT] * 3
    assert outcome.records[5].reason.startswith("not tried: the oracle would take 6.6e+02 s, more than 180 s (S = 64: ")
    assert {r.reason for r in outcome.records[7:]} == {"not tried: length-512 ended so already"}
    assert set(asked) == {c.name for c in cases[:5]}
    assert not any(r.failed for r in outcome.records)


def test_where_a_sweep_ends_nothing_has_failed():
    """A timeout that was foreseen does not make the exit status 1; one that happened does."""
    foreseen = record(status=Status.TIMEOUT, median_s=None, reason=f"{NOT_TRIED}a call would take 9 s")
    assert not foreseen.failed
    assert github([foreseen]) == ""
    assert 'failures="0" skipped="1"' in junit([foreseen])
    assert record(status=Status.TIMEOUT, median_s=None, reason="no answer within 180 s").failed
    assert not record(status=Status.UNSUPPORTED, median_s=None, reason="no").failed


def test_a_run_ends_its_sweep(tmp_path, monkeypatch):
    """Two rungs are measured, the third is foreseen, the fourth follows; no oracle is asked for those, nor by --resume."""
    monkeypatch.setattr(sweep, "LONGEST_CALL_S", 1e-9)
    monkeypatch.setattr(sweep, "_SMALL_FLOPS", 0)
    asked, ask = [], Session.oracle

    def oracle(session, limit_s, /, **fields):
        asked.append(fields["case"]["name"])
        return ask(session, limit_s, **fields)

    monkeypatch.setattr(Session, "oracle", oracle)
    cases = tuple(case(f"length-{S}", "here", T=S, N=1, H=8) for S in (8, 16, 32, 64))
    plan = Plan(suite="scaling", cases=cases, implementations=("numpy/naive",), blocks=2, block_s=0.001)
    folder = RunFolder.create(tmp_path / "run", plan)
    outcome = measure.measure(plan, folder, State(), lambda event: None)
    assert [r.status for r in outcome.records] == [Status.OK, Status.OK, Status.TIMEOUT, Status.TIMEOUT]
    assert [r.processes for r in outcome.records] == [2, 2, None, None]
    assert outcome.records[2].reason.startswith("not tried: a call would take")
    assert outcome.records[3].reason == "not tried: length-32 ended so already"
    assert set(asked) == {"length-8", "length-16"}
    told = []
    folder, plan, state = RunFolder.resume(tmp_path / "run")
    again = measure.measure(plan, folder, state, told.append)
    assert [event["event"] for event in told] == ["end"]
    assert again.records == outcome.records
