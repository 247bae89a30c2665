"""What a parent looks after: memory before the machine suffers, logs before a disk does, workers that die between requests."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.cases import case
from benchmarks.errors import UsageError
from benchmarks.harness import control_groups, environment, guard, process, room
from benchmarks.harness.guard import Guard
from benchmarks.harness.janitor import Janitor
from benchmarks.harness.process import Worker, WorkerFailed, WorkerSpec, receive_any
from benchmarks.harness.state import State
from benchmarks.measure import measure
from benchmarks.plan import Plan
from benchmarks.records import Status
from benchmarks.run_folder import RunFolder
from tests.test_process import state_becomes

MB = 10**6


def test_what_holds_too_much_is_told(tmp_path, monkeypatch):
    """Beyond its limit; or beyond what is left of the machine, if it is not small. Otherwise nothing is said."""
    held = psutil.Process().memory_info().rss
    log = tmp_path / "log"
    assert Guard(os.getpid(), log, held + 10**9).complaint() is None
    assert "and --memory-limit is 0.001 GB" in Guard(os.getpid(), log, MB).complaint()
    monkeypatch.setattr(guard, "reserve_bytes", lambda: held / 2)
    assert Guard(os.getpid(), log).complaint() is None
    monkeypatch.setattr(guard, "free_bytes", lambda: held / 4)
    assert "were left: ended before the machine runs out" in Guard(os.getpid(), log).complaint()
    monkeypatch.setattr(guard, "reserve_bytes", lambda: 2 * held)
    assert Guard(os.getpid(), log).complaint() is None


def test_a_long_log_is_begun_anew(tmp_path, monkeypatch):
    """What its process writes afterwards comes after the note, and takes no room before it."""
    monkeypatch.setattr(guard, "LOG_BYTES", 1000)
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as theirs:
        theirs.write(b"x" * 2000)
        Guard(os.getpid(), log).shorten_log()
        theirs.write(b"last words\n")
    assert log.read_bytes() == b"[so far 0 MiB of output, not kept]\nlast words\n"


@pytest.mark.parametrize(
    "error", [psutil.AccessDenied(), FileNotFoundError("/proc/meminfo"), ValueError("no MemTotal")]
)
def test_a_machine_that_tells_nothing_stops_nobody(tmp_path, monkeypatch, error):
    """No /proc, or one that may not be read: no guard, no limits, no numbers, and no failure."""

    def fails(*words, **options):
        raise error

    for name in ("virtual_memory", "Process"):
        monkeypatch.setattr(psutil, name, fails)
    monkeypatch.setattr(control_groups, "_limited", lambda root: ())
    guard.reserve_bytes.cache_clear()
    assert Guard(os.getpid(), tmp_path / "log", MB).complaint() is None
    assert guard.reserve_bytes() > 0
    guard.reserve_bytes.cache_clear()
    assert room.free_bytes() == math.inf
    assert environment.machine()["memory_bytes"] is None
    assert room.refusal(case("c", "here", T=10**5), None, "cpu", 1) is None


def test_memory_is_looked_after_while_several_are_asked(tmp_path, monkeypatch):
    """One of those that compute side by side takes too much: it alone ends, and is no timeout."""
    spec = WorkerSpec(name="a", memory_limit_bytes=MB)
    workers = [Worker(spec, tmp_path / "a"), Worker(WorkerSpec(name="b"), tmp_path / "b")]
    try:
        for worker in workers:
            worker.freeze()
        found = receive_any(workers, 30)
        assert list(found) == ["a"]
        assert (found["a"].status, found["a"].reason[:7]) == (Status.OUT_OF_MEMORY, "it held")
    finally:
        for worker in workers:
            worker.stop()


def test_the_kernel_s_own_end_is_out_of_memory(tmp_path, monkeypatch):
    """SIGKILL while the kernel counts one more process that it has ended for memory; without that it is a crash."""
    for kills, status in (([0, 1], Status.OUT_OF_MEMORY), ([1, 1], Status.CRASHED)):
        counts = iter(kills)
        monkeypatch.setattr(process, "oom_kills", lambda counts=counts: next(counts))
        worker = Worker(WorkerSpec(name="a"), tmp_path / "a")
        psutil.Process(worker.pid).kill()
        with pytest.raises(WorkerFailed) as failure:
            worker.ask("hello", 60)
        assert failure.value.status is status


def test_cells_are_not_blamed_for_a_worker_that_died_between_two_requests(tmp_path):
    """Killed from outside while it waits, as the kernel does first: it is started anew, and every cell is measured."""
    cases = (case("c", "here", T=8, N=1, H=8),)
    plan = Plan(suite="x", cases=cases, implementations=("numpy/naive", "numpy/blocked"), blocks=3, block_s=0.001)
    killed = []

    def show(event):
        if event["event"] == "block" and event["process"] == event["block"] == len(killed):
            killed.append(event)
            for child in psutil.Process().children():
                if "--framework" in child.cmdline():
                    child.kill()
                    child.wait()

    outcome = measure(plan, RunFolder.create(tmp_path / "run", plan), State(), show)
    assert len(killed) == 2
    assert [(r.status, r.blocks, r.processes) for r in outcome.records] == [(Status.OK, 6, 2)] * 2


def test_a_janitor_ends_what_is_frozen_and_takes_the_folder_away(tmp_path, monkeypatch):
    """When its parent is killed, and no death signal was asked for."""
    code = """
import os, signal, subprocess, sys, time
from benchmarks.harness.janitor import Janitor
janitor = Janitor()
(janitor.folder / "file").write_text("x")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
janitor.born(child.pid)
os.kill(child.pid, signal.SIGSTOP)
print(child.pid, janitor.folder, flush=True)
time.sleep(1000)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid, name = parent.stdout.readline().split()
    folder = Path(name)
    assert (folder / "file").exists()
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert state_becomes(int(pid), "gone")
    for _ in range(200):
        if not folder.exists():
            break
        time.sleep(0.05)
    assert not folder.exists()


def test_a_janitor_that_was_killed_is_missed_by_nobody():
    """The folder is taken away at the end all the same."""
    janitor = Janitor()
    janitor._process.kill()
    janitor._process.wait()
    janitor.born(1)
    (janitor.folder / "file").write_text("x")
    janitor.close()
    assert not janitor.folder.exists()


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * 10**9), ("512MiB", 2**29), ("1.5 g", 15 * 10**8), ("1000", 1000)]
)
def test_sizes(text, size):
    from benchmarks.cli.options import parse_bytes

    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "4XB", "0", "1e9", "nan", "9" * 30 + "GB"])
def test_what_is_no_size(text):
    from benchmarks.cli.options import parse_bytes

    with pytest.raises(UsageError, match="expected a size like 4GB or 512MiB"):
        parse_bytes(text)


def test_cells_that_need_more_than_the_limit_are_not_started():
    """The reason says how much and what the limit is."""
    large = case("large", "here", T=4096, N=8, H=64)
    status, reason = room.refusal(large, None, "cpu", 1, 10**8)
    assert (status, reason.endswith("GB, --memory-limit is 0.1 GB")) == (Status.OUT_OF_MEMORY, True)
    assert room.refusal(large, None, "cpu", 1, 10**12) is None
