"""Known slowdowns that are put into calls, and the CPUs that workers are put on."""

from __future__ import annotations

import contextlib
import os
from types import SimpleNamespace

import psutil
import pytest

from benchmarks.errors import UsageError
from benchmarks.harness import cell as cells
from benchmarks.harness import slowdown
from benchmarks.harness.cell import Cell, time_calls, time_laps
from benchmarks.harness.cpus import resolve_cpus
from benchmarks.harness.process import Worker, WorkerFailed, WorkerSpec
from benchmarks.harness.session import Session, usual_workers
from benchmarks.harness.slowdown import ExtraWork
from benchmarks.records import Status

ALLOWED = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
two_cpus = pytest.mark.skipif(len(ALLOWED) < 2, reason="needs two CPUs to choose from")


def call():
    """What is slowed down: it takes a millisecond by the fake clock."""


@pytest.fixture
def clock(monkeypatch):
    """Seconds by decree: a call of `call` takes a millisecond, a unit of work `clock.unit_s`."""
    found = SimpleNamespace(unit_s=1e-6, units=0)

    def seconds(function, times):
        return times * (1e-3 if function is call else found.unit_s)

    def unit(self):
        found.units += 1

    monkeypatch.setattr(slowdown, "_seconds", seconds)
    monkeypatch.setattr(ExtraWork, "_unit", unit)
    monkeypatch.setattr(ExtraWork, "_seen", lambda self, call, lap: None)
    return found


@pytest.mark.parametrize(("share", "unit_s", "units"), [(0.05, 1e-6, 50), (0.5, 1e-5, 50), (0.0, 1e-6, 0)])
def test_extra_work_is_calibrated_to_a_share(clock, share, unit_s, units):
    """As many units as fit that share of a call, each time it is called."""
    clock.unit_s = unit_s
    work = ExtraWork(call, share)
    assert work.units_per_call == pytest.approx(units)
    work.units_per_call = units  # exactly
    clock.units = 0
    for _ in range(3):
        work()
    assert clock.units == 3 * units


@pytest.mark.parametrize(
    ("seen", "units"),
    [
        ([0.05, 0.05, 0.05, 0.05], 50),
        ([0.08, 0.05, 0.05, 0.05], 20),
        ([0.0, 0.06, 0.05, 0.05], 95),
        ([0.2, 0.0, 0.05, 0.05], 25),
        ([None], 50),
    ],
)
def test_extra_work_is_corrected_where_it_works(clock, monkeypatch, seen, units):
    """Laps that came out slower than asked get less work, others more, each look counting less; long laps stay as they are."""
    told = iter(seen)
    monkeypatch.setattr(ExtraWork, "_seen", lambda self, call, lap: next(told))
    assert ExtraWork(call, 0.05).units_per_call == pytest.approx(units)


def test_extra_work_costs_more_between_calls_than_alone(monkeypatch):
    """Units that take three times as long right after a call are seen to, and a third of them is enough."""
    now = [0.0]
    after_call = [False]

    def spend(self=None):
        now[0] += (3e-6 if after_call[0] else 1e-6) if self is not None else 1e-3
        after_call[0] = self is None or after_call[0]

    def seconds(function, times):
        if function is not spend:
            after_call[0] = False  # a batch of units alone
        start = now[0]
        for _ in range(times):
            function()
        return now[0] - start

    monkeypatch.setattr(slowdown, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(slowdown, "_seconds", seconds)
    monkeypatch.setattr(ExtraWork, "_unit", spend)
    assert ExtraWork(spend, 0.06, 2).units_per_call == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize(("per_call", "calls", "units"), [(0.25, 16, 4), (2.5, 4, 10), (0.25, 3, 0)])
def test_a_part_of_a_unit_is_owed(clock, per_call, calls, units):
    """What is less than a unit is done in a later call: the sum is right, never more."""
    work = ExtraWork(call, 0.1)
    work.units_per_call = per_call
    clock.units = 0
    for _ in range(calls):
        work()
    assert clock.units == units


def test_many_calls_worth_at_once(clock):
    """A block of a hundred calls gets a hundred calls' worth of units."""
    work = ExtraWork(call, 0.1)
    work.units_per_call = 0.25
    clock.units = 0
    work(100)
    assert clock.units == 25


def test_a_unit_is_real_work():
    """It adds to its array: nothing sleeps and nothing can be skipped."""
    work = ExtraWork(lambda: None, 0.5)
    before = work._array.sum()
    work.units_per_call = 3.0
    work._owed = 0.0
    work()
    assert work._array.sum() - before == 3 * work._array.size


def made_up_cell():
    """A cell that only counts: (cell, what happened in order)."""
    happened = []

    @contextlib.contextmanager
    def context():
        happened.append("in")
        yield
        happened.append("out")

    made = Cell(
        case=None,
        implementation=SimpleNamespace(context=context),
        framework=SimpleNamespace(barrier=lambda _: happened.append("barrier")),
        device="cpu",
        prepared=SimpleNamespace(call=lambda: happened.append("call")),
        first_call_s=0.0,
        judgement=None,
    )
    return made, happened


@pytest.mark.parametrize(
    ("calls", "per_call_s", "laps"),
    [(1, 1e-3, [1]), (3, 1e-3, [1, 1, 1]), (9, 4e-5, [3, 3, 3]), (11, 4e-5, [3, 3, 5]), (4, 1e-6, [4])],
)
def test_a_slowed_block_works_after_each_lap(calls, per_call_s, laps):
    """The work comes after the calls of a lap and their barriers, for as many as were timed; short calls share a lap."""
    made, happened = made_up_cell()
    made.per_call_s = per_call_s
    made.slowed = (0.1, happened.append)
    assert min(made.block(calls, 0.1)) > 0
    assert happened == [
        "in",
        "call",
        "barrier",
        *(word for lap in laps for word in [*["call", "barrier"] * lap, lap]),
        "out",
    ]


def test_the_middle_lap_is_told(monkeypatch):
    """One lap that a neighbour made ten times as long counts in the seconds, and not in those per call."""
    ticks = iter([0, 200, 400, 2400, 2600, 3000])
    monkeypatch.setattr(cells, "time", SimpleNamespace(perf_counter_ns=lambda: next(ticks)))
    seconds, per_call_s = time_laps(lambda: None, lambda _: None, [2, 2, 2, 2, 4])
    assert seconds == pytest.approx(3000e-9)
    assert per_call_s == pytest.approx(100e-9)


def test_a_usual_block_does_nothing_else():
    """Without a slowdown there is no work, and none is calibrated; one call comes first that is not timed."""
    made, happened = made_up_cell()
    made.block(3)
    assert happened == ["in", *["call", "barrier"] * 4, "out"]
    assert made.slowed is None


def test_a_slowdown_is_calibrated_once_for_each_share(monkeypatch):
    """Blocks of the same share use the same work; another share gets its own; the call is calibrated with its barrier."""
    made, happened = made_up_cell()
    shares = []

    def calibrated(call, share, lap):
        shares.append(share)
        call()
        return lambda _: None

    monkeypatch.setattr(cells, "ExtraWork", calibrated)
    for share in (0.1, 0.1, 0.2, 0.2):
        made.block(1, share)
    assert shares == [0.1, 0.2]
    assert happened[:3] == ["in", "call", "barrier"]


def test_calls_are_counted():
    """time_calls makes exactly that many calls, each ended by the barrier with what the call gave."""
    seen = []
    numbers = iter(range(10))
    assert time_calls(lambda: next(numbers), seen.append, 4) > 0
    assert seen == [0, 1, 2, 3]


@two_cpus
def test_a_worker_starts_on_its_cpus_and_moves(tmp_path):
    """All its threads run where its spec says, and after bind where they are told; this process stays where it is."""
    first, second = ALLOWED[0], ALLOWED[1]
    spec = WorkerSpec(name="numpy", framework="numpy", cpus=(first,))
    with Session([spec], log=tmp_path) as session:
        session.launch()
        assert session.greetings()["numpy"].status is Status.OK
        pid = session._workers["numpy"].pid
        assert os.sched_getaffinity(pid) == {first}
        session.bind((second,))
        threads = [thread.id for thread in psutil.Process(pid).threads()]
        assert [os.sched_getaffinity(thread) for thread in threads] == [{second}] * len(threads)
        session.restart("numpy")
        assert os.sched_getaffinity(session._workers["numpy"].pid) == {first}
    assert os.sched_getaffinity(0) == set(ALLOWED)


@two_cpus
def test_usual_workers_take_the_cpus_of_the_run(tmp_path):
    """`run --cpus` reaches every worker."""
    assert [spec.cpus for spec in usual_workers(["numpy", "torch"], cpus=(1,))] == [(1,), (1,)]


def test_a_program_that_does_not_start_is_a_failed_worker(tmp_path):
    """Neither an unreadable program nor one that ends at once is a traceback: a greeting with the reason."""
    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o755)
    specs = [
        WorkerSpec(name="text", framework="numpy", python=str(text)),
        WorkerSpec(name="nothing", framework="numpy", python=str(tmp_path / "nothing")),
        WorkerSpec(name="false", framework="numpy", python="/bin/false"),
        WorkerSpec(name="numpy", framework="numpy"),
    ]
    with Session(specs, log=tmp_path) as session:
        session.launch()
        greetings = session.greetings()
        assert [name for name in greetings if name in session] == ["numpy"]
    assert greetings["text"].reason == f"{text} does not start: Exec format error"
    assert greetings["nothing"].reason.endswith("does not start: No such file or directory")
    assert greetings["false"].reason == "worker exited with code 1"
    assert greetings["numpy"].status is Status.OK
    with pytest.raises(WorkerFailed, match="does not start"):
        Worker(specs[0], tmp_path / "log")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, ()), ("1", (9,)), ("3", (4, 5, 9)), ("0,", (0,)), ("9,0", (0, 9)), ("4, 5,4", (4, 5)), (" 2 ", (5, 9))],
)
def test_cpus_are_counted_or_named(monkeypatch, text, expected):
    """A number is so many of the last ones; numbers with a comma are those; none is all."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 5, 9}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", None, raising=False)
    assert resolve_cpus(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0", "expected 1 to 4"),
        ("5", "expected 1 to 4"),
        ("-1", "expected how many"),
        ("", "expected how many"),
        ("a", "expected how many"),
        ("0;4", "expected how many"),
        ("1.5", "expected how many"),
        ("²", "expected how many"),
        ("0,1", "names CPU 1, expected some of 0, 4, 5, 9"),
        (",", "expected how many"),
        ("0,,4", "expected how many"),
    ],
)
def test_cpus_that_are_not_there_are_told(monkeypatch, text, says):
    """One line that says what is expected."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 5, 9}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", None, raising=False)
    with pytest.raises(UsageError, match="--cpus") as error:
        resolve_cpus(text)
    assert says in str(error.value)


def test_cpus_need_a_system_that_binds(monkeypatch):
    """Where processes cannot be bound, --cpus says so."""
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(UsageError, match="cannot; leave it out"):
        resolve_cpus("1")
