"""Ctrl-C: the block is finished, what was measured is written, nothing is left behind, and the run can go on."""

from __future__ import annotations

import json
import os
import signal
import time

import psutil
import pytest

from benchmarks.harness.interrupts import Patience
from tests.processes import attnbench, started

WAITS = """
import pathlib, time
from backends import implementation
from backends.reference import attention as right

place = pathlib.Path({place!r})


@implementation("numpy/waits")
def _(query, key, value, **rest):
    if (place / "wait").exists():
        (place / "waiting").touch()
        while not (place / "go").exists():
            time.sleep(0.01)
        (place / "gone").touch()
    return right(query, key, value, **rest).astype(query.dtype)
"""


def test_ctrl_c_writes_what_there_is_and_the_run_goes_on(tmp_path):
    """Exit 130, the files of the contract, the way to go on, no worker left; --resume completes it."""
    words = ("run", "--suite", "smoke", "--framework", "numpy", "--blocks", "400", "--out", str(tmp_path / "run"))
    with started(*words) as run:
        for line in run.stderr:
            if line.startswith("timing:"):
                break
        workers = psutil.Process(run.pid).children(recursive=True)
        assert workers
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert f"--resume {tmp_path / 'run'}" in out
    for name in ("summary.csv", "samples.csv", "environment.json"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    assert not list((tmp_path / "run").glob("*.part"))
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    plan = tmp_path / "run" / "plan.json"
    plan.write_text(plan.read_text().replace('"blocks": 400', '"blocks": 2'))
    again = attnbench("run", "--resume", tmp_path / "run", "--format", "json", "--quiet")
    assert again.returncode == 0, again.stderr
    rows = json.loads(again.stdout)
    assert [r["status"] for r in rows] == ["ok"] * 4
    assert all(r["blocks"] >= 2 for r in rows)


def test_ctrl_c_tells_what_a_check_has_been_answered_by_then(tmp_path):
    """Exit 130; what deviates and the count so far; no half of a matrix in a file."""
    plugin = tmp_path / "waits.py"
    plugin.write_text(WAITS.format(place=str(tmp_path)))
    words = ("--implementation", "numpy/naive", "--implementation", "numpy/waits", "--plugin", str(plugin))
    (tmp_path / "wait").touch()
    with started("check", *words, "--csv", str(tmp_path / "matrix.csv")) as run:
        for line in run.stderr:
            if line.startswith("numpy/naive: "):
                break
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert "Interrupted: 33 of 66 answers: 31 pass, 2 refused. No file was written." in out.replace("\n", " ")
    assert not (tmp_path / "matrix.csv").exists()


@pytest.mark.parametrize("twice", [False, True])
def test_the_first_ctrl_c_finishes_the_block_and_the_second_does_not(tmp_path, twice):
    """Once: the call that was running ends, and its block is in the journal. Twice: the run ends in the middle of the call."""
    plugin, journal = tmp_path / "waits.py", tmp_path / "run" / "journal.jsonl"
    plugin.write_text(WAITS.format(place=str(tmp_path)))
    case = ("--case", "tiny-self", "--implementation", "numpy/waits", "--plugin", str(plugin), "--blocks", "40000")

    def blocks():
        return journal.read_text().count('"event": "block"') if journal.exists() else 0

    def wait_until(reached):
        deadline = time.monotonic() + 120
        while not reached():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with started(
        "run", "--suite", "smoke", *case, "--block-ms", "0.1", "--quiet", "--out", str(tmp_path / "run")
    ) as run:
        wait_until(lambda: blocks() > 0)
        (tmp_path / "wait").touch()
        wait_until((tmp_path / "waiting").exists)
        before = blocks()
        run.send_signal(signal.SIGINT)
        time.sleep(1)
        assert run.poll() is None
        run.send_signal(signal.SIGINT) if twice else (tmp_path / "go").touch()
        _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert (tmp_path / "gone").exists() == (not twice)
    assert blocks() == before + (0 if twice else 1)
    assert (tmp_path / "run" / "summary.csv").stat().st_size > 0


def interrupt():
    """Ctrl-C, now."""
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def heeded():
    """Whoever runs the tests in the background has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_patience_waits_once():
    """Deferred to the end of the outermost, raised at once outside and the second time; then all is as before."""
    done = []

    def nested(patience):
        with patience.unbroken():
            with patience.unbroken():
                interrupt()
                done.append("inner")
            done.append("outer")
        done.append("never")

    def twice(patience):
        with patience.unbroken():
            interrupt()
            done.append("once")
            interrupt()
            done.append("never")

    with Patience() as patience:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        for what in (nested, twice):
            with pytest.raises(KeyboardInterrupt):
                what(patience)
    assert done == ["inner", "outer", "once"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_stays_ignored_where_it_was():
    """A job in the background is none of the terminal's business."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Patience() as patience, patience.unbroken():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
