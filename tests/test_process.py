"""Workers: frozen while others are asked, gone with their parent, told when they lie or die."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.harness import process
from benchmarks.harness.process import Worker, WorkerFailed, WorkerSpec
from benchmarks.harness.protocol import Garbled, receive
from benchmarks.harness.session import Session, usual_workers
from benchmarks.records import Status
from tests.processes import ROOT


def state_becomes(pid, wanted):
    """Whether a process reaches a state ("T" stopped, "gone") within some seconds: signals take their time."""
    for _ in range(200):
        try:
            now = psutil.Process(pid).status()
        except psutil.NoSuchProcess:
            now = "gone"
        if now in (wanted, psutil.STATUS_ZOMBIE if wanted == "gone" else wanted):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def worker(tmp_path):
    """A NumPy worker that has said hello."""
    made = Worker(WorkerSpec(name="numpy", framework="numpy"), tmp_path / "log")
    assert made.ask("hello", 60)["status"] == Status.OK
    yield made
    made.stop()


def test_an_idle_worker_is_frozen_and_wakes_up_when_asked(worker):
    """SIGSTOP while idle; the next request thaws it."""
    worker.freeze()
    assert state_becomes(worker.pid, psutil.STATUS_STOPPED)
    assert worker.ask("release", 60)["status"] == Status.OK
    assert not worker.frozen


def test_only_the_worker_that_is_asked_runs():
    """A session freezes every other worker, the oracle's too."""
    with Session(usual_workers(["numpy"])) as session:
        session.launch()
        session.greetings()
        session.ask("numpy", "release", 60)
        assert session._oracle is not None
        assert state_becomes(session._oracle.pid, psutil.STATUS_STOPPED)
        session.freeze()
        pids = [w.pid for w in session._workers.values()]
        assert all(state_becomes(pid, psutil.STATUS_STOPPED) for pid in pids)
        folder = session.folder
    assert all(state_becomes(pid, "gone") for pid in pids)
    assert not folder.exists()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_no_worker_outlives_its_parent(tmp_path, frozen):
    """SIGKILL of the parent takes the workers along, frozen ones too."""
    code = f"""
import pathlib, time
from benchmarks.harness import process
from benchmarks.harness.process import Worker, WorkerSpec
worker = Worker(WorkerSpec(name="numpy", framework="numpy"), pathlib.Path({str(tmp_path / "log")!r}))
worker.ask("hello", 60)
if {frozen}:
    worker.freeze()
print(worker.pid, flush=True)
time.sleep(1000)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert state_becomes(pid, "gone")


def test_a_request_that_fails_is_an_answer(worker):
    """An exception inside the worker comes back as a status with its words, and the worker lives on."""
    answer = worker.ask("block", 60, cell="nobody", calls=1)
    assert (answer["status"], answer["reason"]) == (Status.ERROR, "KeyError: 'nobody'")
    assert worker.ask("release", 60)["status"] == Status.OK


def test_the_answer_to_another_request_is_none(worker):
    """A false answer was taken for that of the first request; the right one, coming late, does not answer the second."""
    worker.send("release")
    worker._asked += 1
    with pytest.raises(WorkerFailed, match="without being asked") as failure:
        worker.receive(60)
    assert failure.value.idle


def test_a_dead_worker_tells_how_it_ended(worker):
    """Killed from outside, the next request says by which signal."""
    psutil.Process(worker.pid).send_signal(signal.SIGTERM)
    with pytest.raises(WorkerFailed, match="killed by SIGTERM") as failure:
        worker.ask("release", 60)
    assert failure.value.status is Status.CRASHED
    with pytest.raises(WorkerFailed):
        worker.ask("release", 60)


class Pipe:
    """A connection that delivers what it is given."""

    def __init__(self, payload):
        self.payload = payload

    def recv_bytes(self, maxlength):
        """The payload."""
        return self.payload


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe", b"[1]", b"null", b'"text"'])
def test_garbage_is_no_message(payload):
    """Whatever is not a JSON object is refused as garbled, and nothing of it is run."""
    with pytest.raises(Garbled):
        receive(Pipe(payload))


def test_a_worker_runs_the_checkout_it_starts_in(tmp_path, monkeypatch):
    """PYTHONSAFEPATH in the environment would have both sides of `ab` run the installed code."""
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    (tmp_path / "benchmarks" / "harness").mkdir(parents=True)
    for package in ("benchmarks", "benchmarks/harness"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "benchmarks" / "harness" / "worker.py").write_text("raise SystemExit('the checkout')")
    made = Worker(WorkerSpec(name="other", root=tmp_path), tmp_path / "log")
    with pytest.raises(WorkerFailed, match="the checkout"):
        made.ask("hello", 60)


def test_all_command_lines_are_equally_long(tmp_path, monkeypatch):
    """Their length moves the stack; a descriptor of one digit on side A and of two on side B made a difference of sides."""
    told = []

    def refuse(command, **_):
        told.append(command)
        raise OSError

    monkeypatch.setattr(process.subprocess, "Popen", refuse)
    with contextlib.ExitStack() as held:
        for more in (0, 120):
            for _ in range(more):
                held.enter_context((tmp_path / "log").open("ab"))
            with pytest.raises(WorkerFailed):
                Worker(WorkerSpec(name="a", framework="numpy"), tmp_path / "log")
    descriptors = [command[command.index("--fd") + 1] for command in told]
    assert len({len(word) for word in descriptors}) == 1
    assert len({len(str(int(word))) for word in descriptors}) > 1
