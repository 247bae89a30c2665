"""A real cluster on this machine: a scheduler and two workers, each a process, one of which is killed while it measures."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.records import Status, read
from tests.processes import ROOT, attnbench, started

pytest.importorskip("distributed")
LIMIT_S = 120.0
WORDS = ("run", "--suite", "smoke", "--case", "tiny-*", "--implementation", "numpy/naive", "--block-ms", 1)
QUIET = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}


def until(condition):
    """What the condition gives, as soon as it gives something."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to pass")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """(address, its workers' processes); all of it on 127.0.0.1, without dashboards and nannies."""
    folder = tmp_path_factory.mktemp("cluster")
    place = folder / "scheduler.json"
    usual = ("--host", "127.0.0.1", "--no-dashboard")
    with contextlib.ExitStack() as opened:

        def start(module, *words):
            command = [
                sys.executable,
                "-m",
                f"distributed.cli.{module}",
                *usual,
                "--scheduler-file",
                str(place),
                *words,
            ]
            with (folder / f"{module}.log").open("ab") as log:
                process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **QUIET})
            opened.callback(process.wait, 30)
            opened.callback(process.kill)
            return process

        start("dask_scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        address = until(lambda: place.exists() and json.loads(place.read_text() or "{}").get("address"))
        words = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--resources", "attnbench-cpu=1")
        yield (
            address,
            [start("dask_worker", *words, "--name", f"w{n}", "--local-directory", str(folder)) for n in range(2)],
        )


def measuring(worker):
    """The process that measures for a worker, once it has timed a block."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(worker.pid).children():
            command = child.cmdline()
            if "benchmarks.cluster.measuring" in command:
                with contextlib.suppress(OSError):
                    if '"block"' in (Path(command[-1]) / "journal.jsonl").read_text():
                        return child
    return None


def test_a_worker_that_is_killed_while_it_measures(cluster, tmp_path):
    """Its case is measured by the other one, the run is whole, and nothing that it had started is left."""
    address, workers = cluster
    out = tmp_path / "run"
    with started(*WORDS, "--blocks", 400, "--cluster", address, "--out", out) as run:
        victim, process = until(lambda: next(((w, m) for w in workers if (m := measuring(w))), None))
        scratch = Path(process.cmdline()[-1]).parent
        family = [process, *process.children(recursive=True)]
        victim.send_signal(signal.SIGKILL)
        _, told = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 0, told
    events = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    (lost,) = [event for event in events if event["event"] == "lost"]
    parts = {case: event["worker"] for event in events if event["event"] == "part" for case in event["cases"]}
    assert set(parts) == {"tiny-self", "tiny-grouped-causal"}
    assert all(parts[case] != lost["worker"] for case in lost["cases"])
    records = read(out)
    assert [record.status for record in records] == [Status.OK] * 2
    assert len({record.machine for record in records}) == 1
    assert records[0].machine
    assert records[0].machine in told
    _gone, alive = psutil.wait_procs(family, timeout=30)
    assert not alive, alive
    assert not scratch.exists()  # it did not go on to its end: it saw that nobody waits for it


def test_a_cluster_run_is_resumed_there(cluster, tmp_path):
    """Ctrl-C ends it with 130 and what was measured; --resume brings the rest, and elsewhere it is refused."""
    address, _ = cluster
    out = tmp_path / "run"
    with started(*WORDS, "--blocks", 100, "--cluster", address, "--out", out) as run:
        journal = out / "journal.jsonl"
        until(lambda: journal.exists() and '"part"' in journal.read_text())
        run.send_signal(signal.SIGINT)
        printed, told = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 130, told
    assert "--cluster ADDRESS" in printed
    assert sorted(r.status for r in read(out)) == [Status.ERROR, Status.OK]
    assert attnbench("run", "--resume", out).returncode == 2
    done = attnbench("run", "--resume", out, "--cluster", address, "--quiet")
    assert done.returncode == 0, done.stderr
    assert [r.status for r in read(out)] == [Status.OK] * 2
