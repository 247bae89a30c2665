"""Cases on many machines: who gets what, what happens to what is lost, and that the folder tells it. Machines are made up."""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
import sys

import pytest

from benchmarks import suites
from benchmarks.cluster import dispatch as module
from benchmarks.cluster import task
from benchmarks.cluster.dispatch import ClusterGone, Dispatcher
from benchmarks.cluster.measure import check_resumable, dispatch, finish
from benchmarks.cluster.measuring import alone, settled
from benchmarks.cluster.pieces import pieces, share
from benchmarks.comparison.readers import read_machines
from benchmarks.errors import UsageError
from benchmarks.harness.state import State
from benchmarks.plan import Plan
from benchmarks.records import Status, read
from benchmarks.run_folder import RunFolder
from tests.processes import attnbench, python
from tests.simulated_cluster import SOURCES, Clock, Machines, big_plan, conditions, ends

PLAN = Plan(suite="made-up", cases=big_plan(20, 2).cases, implementations=("numpy/naive", "numpy/blocked"), processes=1)
FACTS = {"first_call_s": 0.5, "per_call_s": 0.1, "lowered": [], "kernel": "k", "layout": "BNTH", "jit": "eager"}
FACTS |= {"max_abs_error": 1e-7, "error_over_bound": 0.1}


@pytest.fixture
def _same_sources(monkeypatch):
    monkeypatch.setattr("benchmarks.cluster.measure.sources", lambda: SOURCES)


def brought(part):
    """What a machine brings home: two blocks of each cell."""
    cases, events = [c for piece in part for c in piece], []
    for own in cases:
        events.append(
            {
                "event": "oracle",
                "case": own.name,
                "naive_error": 1e-7,
                "flops": 10,
                "flops_conventional": 10,
                "bytes": 5,
            }
        )
        for cell in PLAN.cells(own):
            place = {"case": cell.case, "implementation": cell.implementation, "device": cell.device}
            events.append({"event": "prepared", **place, "facts": FACTS})
            for block in range(2):
                where = {"process": 0, "block": block, "order": block, "calls": 10, "seconds": 1.0, "canary_s": 1e-6}
                events.append({"event": "block", **place, **where})
    environment = {"schema_version": 1, "python": "3.11.7", "machine": {}, "wall_s": 1.0, "cpus": [3]}
    return {"outcome": "ok", "events": [*events, *ends(cases, 1)], "environment": environment}


def handed_out(kinds, plan=PLAN, **options):
    """Run a plan on made-up machines: (events, pool)."""
    clock, events = Clock(), []
    pool = Machines(clock, kinds, **options)
    Dispatcher(plan, pool, events.append, clock, SOURCES).run(pieces(plan, State()))
    return events, pool


def of_kind(events, kind):
    """Those events."""
    return [event for event in events if event["event"] == kind]


def measured(events):
    """Every case that a part brought home."""
    return sorted(case for event in of_kind(events, "part") for case in event["cases"])


NAMES = sorted(case.name for case in PLAN.cases)


def test_every_case_is_measured_once():
    """By all machines, with all its implementations on one; no machine is asked for two things at once."""
    events, pool = handed_out({f"w{n}": conditions("a") for n in range(3)})
    assert measured(events) == NAMES
    assert {worker for worker, _ in pool.parts} == {"w0", "w1", "w2"}


@pytest.mark.parametrize("seed", range(20))
def test_what_is_lost_is_measured_elsewhere_or_recorded(seed):
    """However machines come and go: every case is brought home once, measured or as a failure of all its cells."""
    events, _ = handed_out({f"w{n}": conditions("a") for n in range(4)}, seed=seed, lost_share=0.4)
    assert measured(events) == NAMES
    assert of_kind(events, "lost")
    lost = {}
    for event in of_kind(events, "lost"):
        for case in event["cases"]:
            lost[case] = lost.get(case, 0) + 1
    failures = [e for part in of_kind(events, "part") for e in part["events"] if e["event"] == "failed"]
    recorded = {case for case, times in lost.items() if times == module.MOST_ATTEMPTS}
    assert {e["case"] for e in failures} == recorded
    assert len(failures) == 2 * len(recorded)
    assert all(
        e["status"] == "crashed" and "3 times; the last time its machine was lost" in e["reason"] for e in failures
    )


def test_a_lost_part_is_tried_case_by_case():
    """What a machine died of takes no other case with it."""
    kinds = {"w0": conditions("a")}
    clock, events, lost = Clock(), [], []

    class Once(Machines):
        def measure(self, worker, part):
            self.lost_share = 0.0 if lost else 1.0
            lost.append(part)
            super().measure(worker, part)

    pool = Once(clock, kinds)
    Dispatcher(big_plan(200, 2), pool, events.append, clock, SOURCES).run(pieces(big_plan(200, 2), State()))
    first = pool.parts[0][1]
    assert len(first) == 8
    again = [part for _, part in pool.parts[1:] if part[0] in first]
    assert [len(part) for part in again] == [1] * 8


def test_a_part_that_fails_is_tried_again_and_recorded():
    """With the reason that the machine gave."""
    events, _pool = handed_out({"w0": conditions("a")}, answer=lambda part: {"outcome": "failed", "reason": "it hung"})
    failures = [e for part in of_kind(events, "part") for e in part["events"] if e["event"] == "failed"]
    assert {e["reason"] for e in failures} == {"tried 3 times; the last time it hung"}
    assert len(failures) == 20
    assert measured(events) == NAMES


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (conditions("b", sources="else"), "its attnbench is another one"),
        (
            conditions("a", frameworks={"numpy": "2.5"}),
            "machines of its kind began with other frameworks: numpy 2.4, here 2.5",
        ),
        (conditions("a", python="3.12.1"), "other python: 3.11.7, here 3.12.1"),
        (conditions("a", variables={"OMP_NUM_THREADS": "1"}), "OMP_NUM_THREADS not set, here 1"),
        (conditions("b", frameworks={}), "it has no numpy, which another machine of this run has"),
    ],
)
def test_a_machine_that_would_measure_something_else_is_left_out(other, reason):
    """And told, with the difference; the others measure everything."""
    events, pool = handed_out({"w0": conditions("a"), "w1": other})
    (told,) = of_kind(events, "left_out")
    assert (told["worker"], reason in told["reason"]) == ("w1", True)
    assert {worker for worker, _ in pool.parts} == {"w0"}
    assert measured(events) == NAMES


def test_other_machines_may_have_other_versions():
    """A machine of another kind is a machine of its own in all tables."""
    events, _pool = handed_out({"w0": conditions("a"), "w1": conditions("b", frameworks={"numpy": "2.5"})})
    assert {event["machine"] for event in of_kind(events, "part")} == {
        "kind-a-16-cores-abcdef",
        "kind-b-16-cores-abcdef",
    }


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        ({}, "no machine that offers this device"),
        ({"w0": conditions("a", sources="else")}, "1 machines are there and none may"),
    ],
)
def test_nobody_to_measure_ends_the_run(kinds, says):
    """After a limit, with the reason; nobody waits for ever."""
    with pytest.raises(ClusterGone, match=says):
        handed_out(kinds)


@pytest.mark.usefixtures("_same_sources")
def test_the_folder_has_a_row_for_each_cell_with_its_machine(tmp_path):
    """Interrupted, resumed, and read: the same cells as an unbroken run, each on the machine that measured it."""
    folder, clock = RunFolder.create(tmp_path / "run", PLAN), Clock()
    state = State()

    class Interrupted(Machines):
        def measure(self, worker, part):
            if len(self.parts) == 3:
                raise KeyboardInterrupt
            super().measure(worker, part)

    kinds = {"w0": conditions("a"), "w1": conditions("b")}
    pool = Interrupted(clock, kinds, answer=brought)
    assert dispatch(PLAN, folder, state, lambda event: None, pool, pieces(PLAN, state), clock)
    outcome = finish(PLAN, folder, state, interrupted=True)
    assert 0 < sum(r.status is Status.OK for r in outcome.records) < len(outcome.records) == 20

    with (tmp_path / "run" / "journal.jsonl").open("a") as journal:
        journal.write('{"event": "part", "machine": "kind-a-16-c')  # torn by a crash
    again, plan, state = RunFolder.resume(tmp_path / "run")
    assert plan == PLAN
    todo = pieces(plan, state)
    assert len(todo) == 10 - len({r.case for r in outcome.records if r.status is Status.OK})
    assert not dispatch(plan, again, state, lambda event: None, Machines(clock, kinds, answer=brought), todo, clock)
    finish(plan, again, state, interrupted=False)

    records = read(tmp_path / "run")
    assert [(r.case, r.implementation) for r in records] == [
        (c.name, i) for c in PLAN.cases for i in PLAN.implementations
    ]
    assert {r.status for r in records} == {Status.OK}
    sides = read_machines(tmp_path / "run")
    assert set(sides) == {"kind-a-16-cores-abcdef", "kind-b-16-cores-abcdef"}
    assert sum(len(side.logs) for side in sides.values()) == 20
    assert all(side.environment["cpus"] == [3] for side in sides.values())


@pytest.mark.usefixtures("_same_sources")
def test_nothing_measured_is_a_mistake_of_the_request(tmp_path):
    """Exit 2, and not an empty run."""
    folder, clock = RunFolder.create(tmp_path / "run", PLAN), Clock()
    with pytest.raises(UsageError, match="nothing was measured: 1 machines are there"):
        dispatch(
            PLAN,
            folder,
            State(),
            lambda event: None,
            Machines(clock, {"w0": conditions("a", sources="x")}),
            pieces(PLAN, State()),
            clock,
        )
    folder.close()


def test_a_ladder_stays_together():
    """The sweep of scaling is one piece; cases that are no ladder are pieces of their own."""
    scaling = Plan(suite="scaling", cases=suites.load("scaling"), implementations=("numpy/naive",))
    assert [len(piece) for piece in pieces(scaling, State())] == [len(scaling.cases)]
    assert [len(piece) for piece in pieces(PLAN, State())] == [1] * 10


def test_shares_shrink():
    """At most eight at once, at least one, and everything is taken."""
    left, taken = 100, []
    while left:
        taken.append(share(left, 3))
        left -= taken[-1]
    assert taken == sorted(taken, reverse=True)
    assert (taken[0], taken[-1]) == (8, 1)


def test_resuming_elsewhere_is_refused(tmp_path):
    """A run on a cluster goes on there, one on a machine goes on here."""
    folder = RunFolder(tmp_path)
    with pytest.raises(UsageError, match="is a run on a cluster"):
        check_resumable(folder, Plan(suite="smoke", cases=(), implementations=(), cluster=True), None)
    with pytest.raises(UsageError, match="is a run on one machine"):
        check_resumable(folder, Plan(suite="smoke", cases=(), implementations=()), "tcp://127.0.0.1:1")


def test_each_machine_resolves_its_own_cpus():
    """--cpus 1 is that machine's last CPU; what it has not is refused there."""
    plan = Plan(suite="smoke", cases=(), implementations=(), cluster=True, cpus_asked="1")
    assert settled(plan).cpus == (max(os.sched_getaffinity(0)),)
    with pytest.raises(UsageError, match="--cpus 4096"):
        settled(Plan(suite="smoke", cases=(), implementations=(), cluster=True, cpus_asked="4096"))


def test_one_measurement_at_a_time_on_a_machine(tmp_path, monkeypatch):
    """However many workers a machine has; the lock of a process that was killed is free again."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()",
            str(tmp_path / "attnbench-cpu.lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError, match="another measurement has held"), alone("cpu", 0.0):
            pass
        with alone("cuda", 0.0):
            holder.kill()
            holder.wait(30)
    with alone("cpu", 5.0), (tmp_path / "attnbench-cpu.lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_the_nanny_puts_in_is_taken_out(monkeypatch):
    """Dask's nanny would hold every framework to one thread; what the user has set stays."""
    pytest.importorskip("distributed")
    import dask.config

    assert dask.config.get("distributed.nanny.pre-spawn-environ")["OMP_NUM_THREADS"] == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    found = task._environment()
    assert "OMP_NUM_THREADS" not in found
    assert found["OPENBLAS_NUM_THREADS"] == "4"


def test_plugins_travel_as_text(tmp_path):
    """A file of --plugin is written anew where it is used; plug-ins of packages keep their names."""
    plan = Plan(
        suite="smoke", cases=(), implementations=(), plugins=(("numpy", "/gone/mine.py"), ("numpy", "package:thing"))
    )
    found = task._with_plugins(plan, {"/gone/mine.py": "x = 1\n"}, tmp_path)
    assert found.plugins == (("numpy", str(tmp_path / "plugin0" / "mine.py")), ("numpy", "package:thing"))
    assert (tmp_path / "plugin0" / "mine.py").read_text() == "x = 1\n"


def test_a_part_is_measured_by_a_process_of_its_own(tmp_path):
    """The real thing without Dask: a plan in, all events and the environment out."""
    case = suites.load("smoke")[0]
    plan = Plan(suite="smoke", cases=(case,), implementations=("numpy/naive",), processes=1, blocks=2, block_s=0.001)
    answer = task.unpack(task.measure_part(json.dumps({"run": "r", "plan": plan.to_dict(), "plugins": {}})))
    assert answer["outcome"] == "ok", answer
    assert [e["event"] for e in answer["events"]].count("block") == 2
    assert answer["environment"]["frameworks"]["numpy"]["status"] == "ok"
    strange = {**plan.to_dict(), "cpus_asked": "4096"}
    answer = task.unpack(task.measure_part(json.dumps({"run": "r", "plan": strange, "plugins": {}})))
    assert answer["outcome"] == "refused"
    assert "--cpus 4096" in answer["reason"]


def test_dask_is_imported_by_nothing_else():
    """Neither the command line nor what runs in a Dask worker imports it."""
    code = "import sys, benchmarks.cli.run_command, benchmarks.cluster.measure, benchmarks.cluster.task;"
    done = python(
        code + "print(sorted({m.partition('.')[0] for m in sys.modules} & {'dask', 'distributed', 'pandas'}))"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_no_cluster_at_the_address(tmp_path):
    """One line and exit 2, after a bounded time, and no folder is left."""
    pytest.importorskip("distributed")
    words = ("run", "--suite", "smoke", "--implementation", "numpy/naive", "--quiet")
    done = attnbench(*words, "--cluster", "tcp://127.0.0.1:1", "--out", tmp_path / "run")
    assert (done.returncode, "no Dask scheduler answers there" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "run").exists()


def test_the_estimate_is_that_of_the_page():
    """docs/cluster.md has what the simulation says, to the last digit."""
    from pathlib import Path

    from tests.simulated_cluster import table

    assert table() in (Path(__file__).parents[1] / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert random.Random(0).random() == pytest.approx(0.8444218515250481)  # what the figures stand on
