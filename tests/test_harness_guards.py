"""What the harness itself may cost: a parent that stays small, workers that start together, work that is linear in cells."""

from __future__ import annotations

import sys
from multiprocessing import Pipe
from pathlib import Path

import pytest

from benchmarks.cases import case
from benchmarks.cli import run_command
from benchmarks.cli.options import Format
from benchmarks.harness import schedule
from benchmarks.harness import session as sessions
from benchmarks.harness.schedule import Scheduler
from benchmarks.harness.session import Greeting, Session, usual_workers
from benchmarks.harness.state import State
from benchmarks.plan import Plan
from benchmarks.records import Status
from benchmarks.run_folder import RunFolder
from tests.processes import ROOT, python

SMALL_BYTES = 200e6
_RUN = """
import atexit, re, runpy, sys
from pathlib import Path
tell = lambda: print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
atexit.register(tell)
sys.argv = ["benchmarks", "run", "--suite", "smoke", "--framework", "numpy", "--out", {out!r}]
runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no Linux")
def test_the_process_that_the_user_starts_stays_small(tmp_path):
    """From the first import to the page, by the kernel's mark of that process alone."""
    done = python(_RUN.format(out=str(tmp_path / "run")))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").stat().st_size > 100_000
    assert 1024 * int(done.stdout.split()[-1]) < SMALL_BYTES


def test_a_page_that_fails_is_told_and_fails_no_run(tmp_path, capsys):
    """The last line of what its process said; no place to look at."""
    folder = RunFolder.create(
        tmp_path / "run", Plan(suite="x", cases=(case("a", "s", T=8),), implementations=("numpy/naive",))
    )
    run_command._write_page(folder, Format.TABLE)
    folder.close()
    out, err = capsys.readouterr()
    assert err.startswith("attnbench: no report.html: ")
    assert "summary.csv" in err
    assert out == ""


class Rendezvous:
    """Fake workers, none of which says hello before all have been asked to: whoever waits for one of them before waits for
    ever, and is told so.
    """

    def __init__(self, expected):
        self.expected, self.asked, self.started = expected, [], []

    def start(self, spec, log):
        return _Waiting(self, spec)


class _Waiting:
    def __init__(self, all_, spec):
        self._all, self.name, self.pid, self.alive = all_, spec.name, 2**22 + 1, True
        self.connection, self._other = Pipe()
        all_.started.append(self.name)

    def send(self, op, /, **fields):
        assert op == "hello"
        self._all.asked.append(self)
        if len(self._all.asked) == self._all.expected:
            for worker in self._all.asked:
                worker._other.send("hello")

    def look(self):
        assert len(self._all.asked) == self._all.expected, f"{self.name} is waited for before all have been started"

    def receive(self, limit_s, *, waited_s=0.0):
        self.look()
        self.connection.recv()
        return {"status": "ok", "reason": "", "version": "1", "devices": ["cpu"], "settings": {}, "import_s": 1.0}

    def ask(self, op, limit_s, /, **fields):
        self.send(op, **fields)
        return self.receive(limit_s)

    def stop(self):
        self.connection.close()
        self._other.close()


def test_workers_start_side_by_side(monkeypatch):
    """And the oracle's first of all: it computes while the others import."""
    names = ("numpy", "jax", "torch")
    fakes = Rendezvous(len(names))
    monkeypatch.setattr(sessions, "Worker", fakes.start)
    with Session(usual_workers(names)) as session:
        session.launch()
        assert fakes.started == ["oracle", *names]
        assert {name: said.status for name, said in session.greetings().items()} == dict.fromkeys(names, Status.OK)


class Answering:
    """A session whose workers answer at once, whatever they are asked; keeps what was asked."""

    def __init__(self, folder, names):
        self.folder, self._names, self.asked = folder, names, []

    def __contains__(self, name):
        return name in self._names

    def launch(self):
        self.asked.append("launch")

    def freeze(self):
        """Nothing runs."""

    def greetings(self):
        return {name: Greeting(name, Status.OK, "", "1", ("cpu",)) for name in self._names}

    def oracle(self, limit_s, /, **fields):
        self.asked.append("oracle")
        Path(fields["file"]).touch()
        return {"status": "ok", "reason": "", "flops": 1, "flops_conventional": 1, "bytes": 1, "naive_error": 0.0}

    def ask(self, name, op, limit_s, /, **fields):
        self.asked.append(op)
        numbers = dict.fromkeys(("per_call_s", "seconds", "canary_s", "gflops", "gb_per_s", "call_s"), 1e-5)
        return {"status": "ok", "reason": "", "kernel": "", "threads_busy": None, **numbers}

    def ask_side_by_side(self, queues, op, limit_s, ended=None):
        for name, queue in queues.items():
            for token, fields in queue:
                yield token, self.ask(name, op, limit_s, **fields)


def work_of(cases, folder, monkeypatch):
    """Requests to workers, events, and operations of our own code that a whole run of so many cases takes."""
    monkeypatch.setattr(schedule, "handicaps", lambda *_: [])
    folder.mkdir()
    plan = Plan(
        suite="x",
        cases=tuple(case(f"c{n}", "s", T=16) for n in range(cases)),
        implementations=("numpy/naive", "numpy/blocked", "torch/naive"),
        processes=2,
        blocks=2,
    )
    session, state, events, operations = Answering(folder, plan.frameworks), State(), [], 0

    def emit(event):
        events.append(event["event"])
        state.apply(event)

    def trace(frame, what, _):
        nonlocal operations
        file = frame.f_code.co_filename
        if not file.startswith((f"{ROOT}/benchmarks", f"{ROOT}/backends", "<string>")):
            return None
        frame.f_trace_opcodes = True
        operations += what == "opcode"
        return trace

    scheduler, before = Scheduler(plan, session, state, emit), sys.gettrace()
    sys.settrace(trace)
    try:
        scheduler.run()
    finally:
        sys.settrace(before)
    assert events.count("failed") == 0
    assert len(state.done) == 2 * cases
    return len(session.asked), len(events), operations


def test_a_runs_own_work_is_linear_in_its_cells(tmp_path, monkeypatch):
    """Twice as many cells more are twice as much work more: what is asked and told exactly, what is computed nearly."""
    asked, told, done = zip(*(work_of(n, tmp_path / str(n), monkeypatch) for n in (1, 10, 20, 40)), strict=True)
    assert asked[3] - asked[2] == 2 * (asked[2] - asked[1])
    assert told[3] - told[2] == 2 * (told[2] - told[1])
    assert done[3] - done[2] == pytest.approx(2 * (done[2] - done[1]), rel=0.01)
