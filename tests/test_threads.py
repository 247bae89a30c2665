"""--threads: every framework sizes its pools by it, what it says it uses is recorded, and a difference is told."""

from __future__ import annotations

import csv

import pytest

from backends import registry
from benchmarks import suites
from benchmarks.harness import environment
from benchmarks.harness.schedule import Scheduler
from benchmarks.harness.session import Greeting
from benchmarks.harness.state import State
from benchmarks.plan import Plan
from benchmarks.records import Status
from tests.processes import attnbench

ONE_OF_EACH = ("numpy/naive", "tf_keras/attention", "jax/naive-jit", "torch/naive", "onnxruntime/naive")


def test_every_framework_takes_as_many_threads_as_are_asked_for(tmp_path):
    """What each of them reports is in its row, and the variables are those of the run."""
    here = [id for id in ONE_OF_EACH if registry.installed_version(id.partition("/")[0]) is not None]
    words = [word for id in here for word in ("--implementation", id)]
    run = attnbench(
        "run", "--suite", "smoke", "--case", "tiny-self", "--threads", "1", *words, "--out", tmp_path / "run"
    )
    assert run.returncode == 0, run.stderr
    rows = list(csv.DictReader((tmp_path / "run" / "summary.csv").read_text().splitlines()))
    assert {row["implementation"]: row["threads"] for row in rows} == dict.fromkeys(here, "1")
    assert "were asked for" not in run.stderr
    assert '"OMP_NUM_THREADS": "1"' in (tmp_path / "run" / "environment.json").read_text()


def test_another_number_of_threads_is_told():
    """A framework that uses fewer than it was told to, or more, is an event of its own; one that does as told is not."""
    plan = Plan(suite="smoke", cases=suites.load("smoke"), implementations=("numpy/naive", "torch/naive"), threads=3)
    told = []
    greetings = {
        name: Greeting(name, Status.OK, "", "1", ("cpu",), (("threads", threads),), 0.0)
        for name, threads in (("numpy", "2"), ("torch", "3"))
    }
    Scheduler(plan, None, State(), told.append)._welcome(greetings)
    assert [e for e in told if e["event"] == "threads"] == [
        {"event": "threads", "framework": "numpy", "asked": 3, "found": "2"}
    ]


@pytest.mark.parametrize(
    ("quota", "cpus", "threads"), [(None, (), None), (1.5, (0, 1), 1), (0.5, (0,), 1), (2.0, (0, 1), None)]
)
def test_a_quota_of_cpu_time_is_respected(monkeypatch, quota, cpus, threads):
    """Frameworks count CPUs and not the quota: where it feeds fewer, it decides."""
    monkeypatch.setattr(environment, "cpu_quota", lambda: quota)
    assert environment.threads_of_quota(cpus) == threads


def test_no_threads_are_a_usage_error(tmp_path):
    assert attnbench("run", "--threads", "0", "--out", tmp_path / "run").returncode == 2
