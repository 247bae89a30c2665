"""--threads and quotas of CPU time: what frameworks are asked, what they and the kernel then say, and what the user is told."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import re
from types import SimpleNamespace

import pytest

from backends import registry
from benchmarks import suites
from benchmarks.cli import ab_command, audit_command, check_command
from benchmarks.cli.ab_command import SideRequest
from benchmarks.conformance.check import Matrix
from benchmarks.harness import threads
from benchmarks.harness.schedule import Scheduler
from benchmarks.harness.session import Greeting
from benchmarks.harness.state import State
from benchmarks.harness.steering import THREADS, steers
from benchmarks.live import measure as live
from benchmarks.live.state import LiveState
from benchmarks.plan import Plan
from benchmarks.records import Status
from tests.live_plans import planned
from tests.processes import ROOT, attnbench

ONE_OF_EACH = ("numpy/naive", "tf_keras/attention", "jax/naive-jit", "torch/naive", "onnxruntime/naive")
TINY = ("run", "--suite", "smoke", "--case", "tiny-self", "--processes", "1", "--blocks", "1")


def environment(folder):
    """environment.json."""
    return json.loads((folder / "environment.json").read_text())


def plan(**fields):
    """A plan of one case."""
    return Plan(suite="smoke", cases=suites.load("smoke")[:1], implementations=("numpy/naive", "torch/naive"), **fields)


@pytest.fixture
def machine(monkeypatch):
    """A machine of four CPUs, with a quota and variables of the user's."""
    for name in filter(steers, list(os.environ)):
        monkeypatch.delenv(name)

    def make(quota, **variables):
        monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
        monkeypatch.setattr(threads, "cpus_allowed", lambda: 4)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return make


# --- what frameworks are asked ---


@pytest.mark.parametrize(
    ("quota", "cpus", "count"),
    [(None, (), None), (1.5, (0, 1), 1), (1.5, (), 1), (0.5, (0,), 1), (2.0, (0, 1), None), (2.5, (), 2)],
)
def test_a_quota_of_cpu_time_is_respected(machine, quota, cpus, count):
    """Frameworks count CPUs and not the quota: where it feeds fewer, it decides."""
    machine(quota)
    assert threads.threads_of_quota(cpus) == count
    told, variables = threads.with_threads(None, cpus, neutral=False, variables=(("A", "1"),))
    assert told == count
    assert dict(variables) == {"A": "1", **(dict.fromkeys(THREADS, str(count)) if count else {})}


@pytest.mark.parametrize(
    ("his", "left"),
    [
        # OpenBLAS and MKL heed OpenMP's where they have none of their own: setting theirs would overrule it.
        ({"OMP_NUM_THREADS": "8"}, {"PJRT_NPROC", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"}),
        ({"OPENBLAS_NUM_THREADS": "8"}, {*THREADS} - {"OPENBLAS_NUM_THREADS"}),
        ({"GOTO_NUM_THREADS": "8"}, {*THREADS} - {"OPENBLAS_NUM_THREADS"}),
        ({"NPROC": "8"}, {*THREADS} - {"PJRT_NPROC"}),
        ({"MKL_NUM_THREADS": "8", "XLA_FLAGS": "--a"}, {*THREADS} - {"MKL_NUM_THREADS"}),
        ({"TF_NUM_INTRAOP_THREADS": "8"}, {*THREADS} - {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"}),
    ],
)
def test_a_quota_overwrites_nothing_that_the_user_set(machine, his, left):
    """His own variables, or those of --env, are kept; neutral takes the former away, and --threads goes before them."""
    machine(1.5, **his)
    _, variables = threads.with_threads(None, (), neutral=False, variables=())
    assert set(dict(variables)) == left
    _, variables = threads.with_threads(None, (), neutral=True, variables=())
    assert dict(variables) == dict.fromkeys(THREADS, "1")
    _, variables = threads.with_threads(None, (), neutral=True, variables=tuple(his.items()))
    assert dict(variables) == dict.fromkeys(left, "1") | his
    assert threads.with_threads(3, (), neutral=False, variables=())[1] == tuple((name, "3") for name in THREADS)


@pytest.mark.parametrize(
    ("quota", "asked", "his", "lines"),
    [
        (None, None, {}, []),
        (None, 4, {"OMP_NUM_THREADS": "9"}, []),
        (4.0, None, {}, []),
        (1.5, None, {}, ["quota: 1.5 CPUs of time, 4 may be run on: 1 thread each"]),
        (1.0, None, {}, ["quota: 1 CPU of time, 4 may be run on: 1 thread each"]),
        (0.5, 1, {}, ["quota: 0.5 CPUs of time, 4 may be run on: 1 thread each"]),
        (3.0, 2, {}, ["quota: 3 CPUs of time, 4 may be run on: 2 threads each"]),
        (2.0, 8, {}, ["8 threads asked, 2 CPUs of time allowed by a quota; --threads 2 fits"]),
        (1.5, 2, {}, ["2 threads asked, 1.5 CPUs of time allowed by a quota; --threads 1 fits"]),
        (None, 8, {}, ["8 threads asked, 4 CPUs may be run on; --threads 4 fits"]),
        (
            None,
            None,
            {"OMP_NUM_THREADS": "8,2", "MKL_NUM_THREADS": "8", "NPROC": "6"},
            [
                "OMP_NUM_THREADS=8,2 MKL_NUM_THREADS=8 is kept: 8 threads asked, 4 CPUs may be run on; --threads 4 fits",
                "NPROC=6 is kept: 6 threads asked, 4 CPUs may be run on; --threads 4 fits",
            ],
        ),
        (
            2.0,
            None,
            {"OPENBLAS_NUM_THREADS": "3"},
            [
                "quota: 2 CPUs of time, 4 may be run on: 2 threads each",
                "OPENBLAS_NUM_THREADS=3 is kept: 3 threads asked, 2 CPUs of time allowed by a quota; --threads 2 fits",
            ],
        ),
        (None, None, {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "", "KMP_AFFINITY": "99"}, []),
    ],
)
def test_what_is_told_of_threads_and_cpus(machine, quota, asked, his, lines):
    """A quota that decides, and every number that is not fed, whoever asked for it."""
    machine(quota, **his)
    count, variables = threads.with_threads(asked, (), neutral=False, variables=())
    assert threads.thread_notes(count, (), neutral=False, variables=variables, option="--threads") == lines


@pytest.mark.parametrize(
    ("fields", "his", "asked"),
    [
        ({}, {}, None),
        ({"threads": 3}, {}, 3),
        ({"threads": 3, "variables": (("OPENBLAS_NUM_THREADS", "2"),)}, {}, 2),
        ({}, {"OMP_NUM_THREADS": "5"}, 5),
        ({}, {"OMP_NUM_THREADS": "5", "OPENBLAS_NUM_THREADS": "6"}, 6),
        ({"neutral": True}, {"OMP_NUM_THREADS": "5"}, None),
        ({}, {"PJRT_NPROC": "5"}, None),
    ],
)
def test_how_many_numpy_is_asked_to_use(machine, fields, his, asked):
    """By whichever variable it heeds first."""
    machine(None, **his)
    assert threads.asked_of("numpy", plan(**fields)) == asked


def test_a_quota_decides_for_both_sides_of_ab_and_is_told_with_the_verdicts(machine):
    """What one side brings itself is kept, and told of that side."""
    machine(1.5)
    sides = []
    for name, his in (("A", []), ("B", ["OMP_NUM_THREADS=3"])):
        request = SideRequest(implementation=None, python=None, revision=None, variables=his)
        sides.append(ab_command._side(name, request, (), None, (), contextlib.ExitStack()))
    a, b = sides
    assert (a.threads, b.threads) == (1, 1)
    assert dict(a.variables) == dict.fromkeys(THREADS, "1")
    assert (a.label, b.label) == ("this checkout", "OMP_NUM_THREADS=3")
    assert dict(b.variables)["OMP_NUM_THREADS"] == "3"
    told = live.to_comparison(planned(1, a=a, b=b), LiveState(), {}).notes
    quota = "quota: 1.5 CPUs of time, 4 may be run on: 1 thread each"
    kept = "OMP_NUM_THREADS=3 is kept: 3 threads asked, 1.5 CPUs of time allowed by a quota; 1 fits"
    assert told == (f"A: {quota}", f"B: {quota}", f"B: {kept}")
    assert live.to_comparison(planned(1, a=a, b=dataclasses.replace(a, name="B")), LiveState(), {}).notes == (quota,)
    assert live.to_comparison(planned(1), LiveState(), {}).notes == ()


def test_a_quota_decides_for_audit(machine):
    """For the pairs that are measured in alternation, and for the runs that are stored."""
    machine(1.5)
    fields = {"cases": ["tiny-self"], "own_case": None, "suite": "smoke", "implementations": ["numpy/naive"]}
    usual = {"frameworks": [], "cpus": None, "env": None, "threshold": "5%", "alpha": 0.01, "budget_s": 1.0}
    request = SimpleNamespace(**fields, **usual, epochs=6, block_s=0.01, processes=2)
    live_plan, stored_plan = audit_command._plans(request)
    for asked in (live_plan.a, live_plan.b, stored_plan):
        assert (asked.threads, dict(asked.variables)) == (1, dict.fromkeys(THREADS, "1"))


def test_a_quota_decides_for_check_and_is_told(machine, monkeypatch, capsys):
    """Above its summary."""
    machine(2.0)
    given = {}

    def check(chosen, device, **fields):
        given.update(fields)
        return Matrix(tuple(chosen), (), {}, {})

    monkeypatch.setattr(check_command, "check", check)
    check_command.check_conformance(False, None, {}, None, ["numpy/naive"], [], "cpu", None, True, None)
    assert dict(given["variables"]) == dict.fromkeys(THREADS, "2")
    assert "note: quota: 2 CPUs of time, 4 may be run on: 2 threads each" in capsys.readouterr().out


# --- what they and the kernel say ---


def test_another_number_of_threads_is_told(machine):
    """A framework that uses fewer than it was told to, or more, is an event of its own; one that does as told is not."""
    machine(None)
    told, state = [], State()
    greetings = {
        name: Greeting(name, Status.OK, "", "1", ("cpu",), (("threads", count),), 0.0, pools=(("openblas", pool),))
        for name, count, pool in (("numpy", "2", 2), ("torch", "3", 4), ("jax", "as NumPy's", 3))
    }

    def emit(event):
        told.append(event)
        state.apply(event)

    scheduler = Scheduler(plan(threads=3), None, state, emit)
    scheduler._welcome(greetings)
    assert [e for e in told if e["event"] == "threads"] == [
        {"event": "threads", "framework": "numpy", "asked": 3, "found": "2"},
        {"event": "threads", "framework": "torch", "asked": 3, "found": "4", "where": "openblas"},
    ]
    told.clear()
    scheduler._welcome(greetings)  # of the second process
    assert [e for e in told if e["event"] == "threads"] == []
    assert state.notes == [
        "numpy runs on 2 threads, 3 were asked for",
        "torch: openblas has 4 threads, 3 were asked for",
    ]


@pytest.mark.parametrize(
    ("asked", "busy", "is_told"),
    [
        (1, 1.02, False),
        (1, 1.9, True),
        (1, None, False),
        (None, 9.0, False),
        (2, 1.0, False),
        (2, 2.5, False),
        (2, 2.6, True),
    ],
)
def test_more_busy_threads_than_asked_are_told(machine, asked, busy, is_told):
    """Fewer may be the product's size, and a little more is what else a process does."""
    machine(None)
    events = list(threads.busier_than_asked("numpy", plan(threads=asked), busy))
    assert [threads.threads_line(event) for event in events] == (
        [f"numpy: {busy} threads are busy in its matmul, {asked} were asked for"] if is_told else []
    )


IGNORES = """
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from backends import implementation, numpy_backend

TOGETHER, POOL, BYTES = threading.Barrier(4), ThreadPoolExecutor(4), bytes(2_000_000)

def part(number):
    TOGETHER.wait()  # or one thread would take two parts where another is slow to wake
    return hashlib.sha256(BYTES).digest()

def matmul(size, dtype, device):
    return lambda: list(POOL.map(part, range(4)))

numpy_backend.matmul = matmul

@implementation("numpy/ignores")
def attention(query, key, value, **semantics):
    return numpy_backend.naive(query, key, value, **semantics)
"""


def test_a_framework_that_ignores_what_it_is_told_is_found_out(tmp_path):
    """It says one, its libraries have one, and four work, on however few CPUs: seen by the kernel's account, told, and kept."""
    plugin = tmp_path / "ignores.py"
    plugin.write_text(IGNORES)
    words = ("--threads", "1", "--plugin", plugin, "--implementation", "numpy/ignores", "--out", tmp_path / "run")
    run = attnbench(*TINY, *words)
    found = environment(tmp_path / "run")
    (line,) = found["notes"]
    assert re.fullmatch(r"numpy: \d\.\d threads are busy in its matmul, 1 were asked for", line)
    assert line in run.stderr
    assert line in run.stdout
    told = found["threads"]["numpy"]
    assert (told["asked"], told["found"], set(told["pools"].values())) == (1, "1", {1})
    assert 1.5 < told["busy"] < 4.1


def test_every_framework_takes_as_many_threads_as_are_asked_for(tmp_path):
    """What each of them reports is in its row; what its libraries have and what was busy is kept, as are the variables."""
    here = [id for id in ONE_OF_EACH if registry.installed_version(id.partition("/")[0]) is not None]
    words = [word for id in here for word in ("--implementation", id)]
    run = attnbench(*TINY, "--threads", "1", *words, "--out", tmp_path / "run")
    assert run.returncode == 0, run.stderr
    rows = list(csv.DictReader((tmp_path / "run" / "summary.csv").read_text().splitlines()))
    assert {row["implementation"]: row["threads"] for row in rows} == dict.fromkeys(here, "1")
    assert "were asked for" not in run.stderr
    found = environment(tmp_path / "run")
    assert found["variables"]["OMP_NUM_THREADS"] == "1"
    assert found["notes"] == []
    for framework, told in found["threads"].items():
        assert (told["asked"], told["found"]) == (1, "1"), framework
        assert set(told["pools"].values()) == {1}, framework
        assert told["busy"] is None or told["busy"] < 1.5, framework
    assert set(found["threads"]) == {id.partition("/")[0] for id in here}


# --- what the user is told ---

QUOTA = """
from benchmarks.harness import control_groups
control_groups.cpu_quota = lambda *root: 0.5
"""


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_quota_is_told_and_kept(tmp_path, quiet):
    """On stderr, under the table where --quiet silences that, and in environment.json; the user's own variable stays."""
    (tmp_path / "sitecustomize.py").write_text(QUOTA)
    his = {"OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    words = ("--implementation", "numpy/naive", *quiet, "--out", tmp_path / "run")
    run = attnbench(*TINY, *words, environment=his)
    assert run.returncode == 0, run.stderr
    cpus = len(os.sched_getaffinity(0))
    lines = [
        f"quota: 0.5 CPUs of time, {cpus} may be run on: 1 thread each",
        "OPENBLAS_NUM_THREADS=2 is kept: 2 threads asked, 0.5 CPUs of time allowed by a quota; --threads 1 fits",
    ]
    assert [line for line in lines if line in run.stderr] == ([] if quiet else lines)
    printed = " ".join(run.stdout.split())
    assert [line for line in lines if line in printed] == lines
    found = environment(tmp_path / "run")
    assert found["notes"][:2] == lines
    assert found["variables"]["OPENBLAS_NUM_THREADS"] == "2"
    assert found["variables"]["OMP_NUM_THREADS"] == "1"
    assert found["threads"]["numpy"]["asked"] == 2
    shown = attnbench("show", tmp_path / "run")
    assert lines[0] in shown.stdout


def test_no_threads_are_a_usage_error(tmp_path):
    assert attnbench("run", "--threads", "0", "--out", tmp_path / "run").returncode == 2
