"""The journal: on disk before anything else happens, one writer, torn lines cut, whole files or none."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from benchmarks import files, journal
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.files import write_atomically
from benchmarks.journal import JOURNAL, LOCK, Journal, read_journal
from benchmarks.run_folder import RunFolder
from tests.processes import ROOT
from tests.test_run_folder import EVENTS, PLAN


def events(folder):
    """What the journal of a folder holds."""
    found = []
    read_journal(folder / JOURNAL, found.append)
    return found


def test_an_event_is_on_disk_when_append_returns(tmp_path, monkeypatch):
    """Written, then synced, each one; not written into a buffer."""
    order = []
    write, sync = os.write, journal._sync
    monkeypatch.setattr(os, "write", lambda handle, line: order.append("write") or write(handle, line))
    monkeypatch.setattr(journal, "_sync", lambda handle: order.append("sync") or sync(handle))
    with Journal(tmp_path) as made:
        order.clear()
        for number in range(3):
            made.append({"event": "x", "number": number})
            assert events(tmp_path)[-1]["number"] == number
    assert order == ["write", "sync"] * 3


@pytest.mark.parametrize(
    "torn", ['{"event": "blo', '{"event": "end", "wall_s": 1.0}', '{"event"\n', "\0\0\0\0", "[" * 100_000]
)
def test_a_torn_line_is_cut_off_before_the_run_goes_on(tmp_path, torn):
    """The next event is not glued to it, and a second --resume finds nothing damaged."""
    folder = RunFolder.create(tmp_path / "run", PLAN)
    for event in EVENTS[:8]:
        folder.append(event)
    folder.close()
    with (tmp_path / "run" / JOURNAL).open("a") as file:
        file.write(torn)
    for _ in range(2):
        folder, _, state = RunFolder.resume(tmp_path / "run")
        assert state.wall_s == 0.0
        folder.append({"event": "matmul", "framework": "numpy", "dtype": "float64", "gflops": 1.0})
        folder.close()
    assert [event["event"] for event in events(tmp_path / "run")] == [e["event"] for e in EVENTS[:8]] + ["matmul"] * 2


def test_a_damaged_line_in_the_middle_is_told(tmp_path):
    """What a crash cannot have done is not passed over."""
    (tmp_path / JOURNAL).write_text('{"event": "a"}\nnonsense\n{"event": "b"}\n')
    with pytest.raises(UnreadableResults, match=r"journal\.jsonl, line 2 is damaged"):
        events(tmp_path)


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    """Half a line that was still written is taken back, and what fits later is a line of its own."""
    with Journal(tmp_path) as made:
        made.append({"event": "a"})
        write = os.write

        def full(handle, line):
            if len(line) > 5:
                return write(handle, line[:5])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(UsageError, match="No space left on device; what was measured until then is there"):
                made.append({"event": "b" * 7})
        made.append({"event": "c"})
    assert [event["event"] for event in events(tmp_path)] == ["a", "c"]


HOLDER = """
import pathlib, sys, time
from benchmarks.journal import Journal
Journal(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("name", [JOURNAL, LOCK])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_folder_of_a_stranger_leads_to_no_other_file(tmp_path, name, kind):
    """A link in place of journal or lock: what it points to is neither cut nor written to, and nothing is waited for."""
    other, folder = tmp_path / "other", tmp_path / "run"
    other.write_text("mine")
    RunFolder.create(folder, PLAN).close()
    (folder / name).unlink(missing_ok=True)
    {
        "link": lambda: (folder / name).symlink_to(other),
        "pipe": lambda: os.mkfifo(folder / name),
        "folder": (folder / name).mkdir,
    }[kind]()
    with pytest.raises((UsageError, UnreadableResults), match=r"cannot write to|is a pipe"):
        RunFolder.resume(folder)
    assert other.read_text() == "mine"


@pytest.mark.parametrize("change", [{"per_call_s": -1.0}, {"canary_s": 0.0}, {"seconds": "1"}, {"per_call_s": [1]}])
def test_a_block_that_cannot_be_is_damage(tmp_path, change):
    """A time is a number above 0: no run goes on with another, to fail when its results are computed."""
    block = {
        "event": "block", "case": "c", "implementation": "numpy/naive", "device": "cpu", "process": 0, "block": 0, "order": 0,
        "calls": 1, "seconds": 0.03, "canary_s": 1e-6, "per_call_s": 0.03,
    }  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps(PLAN.to_dict()))
    (tmp_path / JOURNAL).write_text("".join(json.dumps(event) + "\n" for event in (block | change, block)))
    with pytest.raises(UnreadableResults, match="line 1 is damaged"):
        RunFolder(tmp_path).load()


def test_a_lock_is_held_by_the_living_only(tmp_path):
    """A second process is refused with the number of the first; after SIGKILL of that one it is not."""
    (tmp_path / "plan.json").write_text(json.dumps(PLAN.to_dict()))
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            for take in (lambda: Journal(tmp_path), lambda: RunFolder.resume(tmp_path)):
                with pytest.raises(UsageError, match=f"is in use by process {holder.pid}: wait for it, or end it"):
                    take()
        finally:
            holder.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK).read_text() == str(holder.pid)
    RunFolder.resume(tmp_path)[0].close()
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_is_being_made_is_not_made_twice(tmp_path):
    """Between two runs into the same new folder the lock decides."""
    with Journal(tmp_path), pytest.raises(UsageError, match="is in use by process"):
        RunFolder.create(tmp_path, PLAN)


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    """Nothing half-written under its name or any other; and what is written is on disk before it gets the name."""
    file = tmp_path / "summary.csv"
    write_atomically(file, "old")
    order = []
    sync, replace = os.fsync, type(file).replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: order.append("sync") or sync(handle))
    monkeypatch.setattr(type(file), "replace", lambda a, b: order.append("replace") or replace(a, b))
    write_atomically(file, "new \ud800")
    assert order == ["sync", "replace", "sync"]
    assert file.read_text() == "new \\ud800"

    def fails(handle):
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(files.os, "fsync", fails)
    with pytest.raises(OSError, match="no"):
        write_atomically(file, "newer")
    assert file.read_text() == "new \\ud800"
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]
