"""A small run in a process of its own whose parent is killed at a random moment, and what has to hold afterwards."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.processes import ROOT

_RUN = """
import sys
from pathlib import Path
from benchmarks.cases import case
from benchmarks.harness import ceilings
from benchmarks.harness.state import State
from benchmarks.measure import check_resumable, measure
from benchmarks.plan import Plan
from benchmarks.run_folder import RunFolder

ceilings._MEASURED_S, ceilings.STREAM_ROWS = 0.001, {"cpu": 16}  # not what is tested here, and a second each
path = Path(sys.argv[1])
if (path / "plan.json").exists():
    folder, plan, state = RunFolder.resume(path)
    check_resumable(folder, plan, plan.suite)
else:
    cases = tuple(case(f"case-{size}", "here", T=size, N=2, H=8) for size in (16, 24))
    ids = ("numpy/naive", "numpy/blocked")
    plan = Plan(suite="killed", cases=cases, implementations=ids, processes=2, blocks=8, block_s=0.01)
    folder, state = RunFolder.create(path, plan), State()
print("ready", flush=True)


def show(event):
    if event["event"] == "block":
        print("block", event["case"], event["implementation"], event["process"], event["block"], flush=True)


measure(plan, folder, state, show)
"""
CELLS = {(f"case-{size}", f"numpy/{name}") for size in (16, 24) for name in ("naive", "blocked")}
BLOCKS = {(*cell, process, block) for cell in CELLS for process in range(2) for block in range(8)}


def start(folder: Path, temporary: Path) -> subprocess.Popen:
    """The run, begun or gone on with, from the moment at which it may be killed."""
    made = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(folder)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert made.stdout.readline() == "ready\n", made.stderr.read()
    return made


def seen(folder: Path) -> list[tuple[str, str, int, int]]:
    """The blocks that the journal holds in whole lines."""
    lines = (folder / "journal.jsonl").read_bytes().split(b"\n")[:-1]
    events = [json.loads(line) for line in lines]
    return [(e["case"], e["implementation"], e["process"], e["block"]) for e in events if e["event"] == "block"]


def ours(temporary: Path) -> list[psutil.Process]:
    """Processes that were started with this temporary folder: those of one trial."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(temporary) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def shared_memory() -> set[str]:
    """What Python could leave there; browsers and others on this machine use it too. Our own files are in `temporary`."""
    place = Path("/dev/shm")
    return (
        {path.name for path in place.iterdir() if path.name.startswith(("psm_", "sem."))} if place.is_dir() else set()
    )


def trial(folder: Path, temporary: Path, seed: int, longest_s: float) -> int:
    """Kill the run once, or twice, at random moments, and let it be completed; how many blocks the kills have cost.

    Asserts all that is promised of it.
    """
    chance = random.Random(seed)
    shared = shared_memory()
    before: list[tuple[str, str, int, int]] = []
    for _ in range(chance.choice((1, 1, 2))):
        run = start(folder, temporary)
        time.sleep(chance.uniform(0, longest_s))
        run.send_signal(signal.SIGKILL)
        told = [line.split()[1:] for line in run.communicate()[0].splitlines() if line.count(" ") == 4]
        now = seen(folder) if (folder / "journal.jsonl").exists() else []
        finished = [(case, id, int(process), int(block)) for case, id, process, block in told]
        assert now[: len(before) + len(finished)] == before + finished, "what was told is not in the journal"
        assert len(now) <= len(before) + len(finished) + 1
        before = now
        deadline = time.monotonic() + 60
        while (left := ours(temporary)) or list(temporary.iterdir()):
            assert time.monotonic() < deadline, f"left behind: {left}, {list(temporary.iterdir())}"
            time.sleep(0.05)
    run = start(folder, temporary)
    _, error = run.communicate(timeout=240)
    assert run.returncode == 0, error
    blocks = seen(folder)
    assert blocks[: len(before)] == before, "a block was lost"
    assert len(blocks) == len(set(blocks)), "a block was measured twice"
    assert set(blocks) == BLOCKS
    rows = list(csv.DictReader((folder / "summary.csv").read_text().splitlines()))
    assert {(r["case"], r["implementation"], r["status"], r["blocks"], r["processes"]) for r in rows} == {
        (*cell, "ok", "16", "2") for cell in CELLS
    }
    orders = [r["order"] for r in csv.DictReader((folder / "samples.csv").read_text().splitlines())]
    assert sorted(map(int, orders)) == list(range(len(BLOCKS)))
    assert sorted(path.name for path in folder.iterdir()) == [
        "environment.json", "journal.jsonl", "logs", "plan.json", "samples.csv", "summary.csv",
    ]  # fmt: skip
    assert list(temporary.iterdir()) == []
    assert shared_memory() <= shared
    return len(before)
