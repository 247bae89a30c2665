"""Machines that are not kind: full and read-only disks, no /proc, one CPU with neighbours, quotas, clocks that jump."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import control_groups
from tests.processes import ROOT, TINY, attnbench

RUN = (
    "run",
    *TINY,
    "--implementation",
    "numpy/blocked",
)
_UNSHARE = ("unshare", "--map-root-user", "--mount")


def _may_mount() -> bool:
    probe = "mount -t tmpfs none /mnt"
    with contextlib.suppress(OSError):
        return subprocess.run([*_UNSHARE, "sh", "-c", probe], capture_output=True, check=False).returncode == 0
    return False


mounts = pytest.mark.skipif(not _may_mount(), reason="mounting in a namespace of one's own is not allowed here")


def unshared(script, *words, environment=None):
    """A shell script in a mount namespace of its own, where $RUN is the program; the finished process."""
    run = " ".join([sys.executable, "-m", "benchmarks", *RUN])
    return subprocess.run(
        [*_UNSHARE, "sh", "-c", script, "sh", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "RUN": run, "PROGRAM": f"{sys.executable} -m benchmarks", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@mounts
def test_a_full_disk_ends_the_run_with_one_line_and_it_goes_on_later(tmp_path):
    """Exit 2; what was measured is there in whole lines; with room on the disk --resume completes it."""
    script = """
    mount -t tmpfs -o size=64k none "$1"
    dd if=/dev/zero of="$1/filler" bs=1k count=36 2>/dev/null
    $RUN --blocks 100 --block-ms 10 --quiet --out "$1/run"
    echo "exit $?"
    cp "$1/run/journal.jsonl" "$2/torn.jsonl"
    rm "$1/filler"; mount -o remount,size=10m "$1"
    $PROGRAM run --resume "$1/run" --quiet --format json > "$2/rows.json"
    echo "exit $?"
    """
    (tmp_path / "disk").mkdir()
    done = unshared(script, tmp_path / "disk", tmp_path)
    assert done.stdout.split() == ["exit", "2", "exit", "0"], done.stderr
    line = r"attnbench: cannot write to \S+/journal.jsonl: No space left on device; what was measured until then is there\n"
    assert re.fullmatch(line, done.stderr), done.stderr
    text = (tmp_path / "torn.jsonl").read_text()
    assert text.endswith("}\n")
    assert sum(json.loads(line)["event"] == "block" for line in text.splitlines()) > 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["status"], row["blocks"]) for row in rows] == [("ok", 100)] * 2


@mounts
def test_a_read_only_folder_is_one_line(tmp_path):
    """For a new run, for one that is to go on, and for a run's results that cannot be written in the end."""
    script = """
    mount -t tmpfs none "$1"
    $RUN --blocks 1 --quiet --out "$1/run" > /dev/null
    mount -o remount,ro "$1"
    $RUN --quiet --out "$1/new"; echo "exit $?"
    $PROGRAM run --resume "$1/run" --quiet; echo "exit $?"
    """
    (tmp_path / "disk").mkdir()
    done = unshared(script, tmp_path / "disk")
    assert done.stdout.split() == ["exit", "2", "exit", "2"], done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(re.fullmatch(r"attnbench: cannot write to \S+: Read-only file system", line) for line in lines), lines


@mounts
def test_a_full_temporary_folder_is_a_row(tmp_path):
    """The oracle cannot say what is right there: no cell of it is timed, and the reason is the disk's."""
    script = """
    mount -t tmpfs -o size=16k none "$1"
    dd if=/dev/zero of="$1/filler" bs=1k count=12 2>/dev/null
    TMPDIR="$1" $RUN --blocks 1 --quiet --format csv --out "$2/run"; echo "exit $?"
    ls "$1"
    """
    (tmp_path / "disk").mkdir()
    done = unshared(script, tmp_path / "disk", tmp_path)
    *rows, code, left = done.stdout.splitlines()
    assert (code, left, done.stderr) == ("exit 1", "filler", "")
    for row in csv.DictReader(rows):
        assert (row["status"], "the oracle failed: OSError: " in row["reason"]) == ("error", True), row


@mounts
def test_a_machine_without_proc_is_measured(tmp_path):
    """Nothing that is read there is needed: less is known of the machine, and the cells have their times."""
    script = """
    mount -t tmpfs none /proc
    $RUN --blocks 1 --processes 1 --quiet --format csv --out "$1/run"
    """
    done = unshared(script, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["status"] for row in csv.DictReader(done.stdout.splitlines())] == ["ok", "ok"]


JUMPS = """
import itertools, time
real, jumps = time.time, itertools.cycle((0, 4e7, -4e7, 86400, -3600))
time.time = lambda: real() + next(jumps)
time.time_ns = lambda: int(1e9 * time.time())
"""


def test_a_clock_that_jumps_changes_nothing(tmp_path):
    """In the parent and in the workers; and nobody here asks what time it is in order to measure."""
    (tmp_path / "sitecustomize.py").write_text(JUMPS)
    words = (*RUN, "--blocks", "2", "--processes", "1", "--quiet", "--format", "json", "--out", tmp_path / "run")
    done = attnbench(*words, environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert all(0 < row["median_s"] < 10 for row in json.loads(done.stdout))
    assert 0 < json.loads((tmp_path / "run" / "environment.json").read_text())["wall_s"] < 280
    files = [file for package in ("backends", "benchmarks") for file in (ROOT / package).rglob("*.py")]
    assert [file for file in files if re.search(r"\btime\.time(_ns)?\(", file.read_text())] == []


def test_one_cpu_and_neighbours_on_it(tmp_path):
    """Slow, but measured: both cells have their times."""
    code = "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.execv(sys.executable, sys.argv[1:])"
    spin = [subprocess.Popen([sys.executable, "-c", code, sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        words = (
            *RUN,
            "--blocks",
            "1",
            "--processes",
            "1",
            "--quiet",
            "--format",
            "csv",
            "--out",
            str(tmp_path / "run"),
        )
        command = [sys.executable, "-c", code, sys.executable, "-m", "benchmarks", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    finally:
        for process in spin:
            process.kill()
            process.wait()
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["status"] for row in csv.DictReader(done.stdout.splitlines())] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("version", "levels", "quota"),
    [
        (2, {"": "max 100000"}, None),
        (2, {"": "150000 100000"}, 1.5),
        (2, {"": "max 100000", "a": "200000 100000", "a/b": "max 100000"}, 2.0),
        (1, {"": "-1 100000"}, None),
        (1, {"": "-1 100000", "a": "50000 100000"}, 0.5),
        (1, {"": "nonsense"}, None),
    ],
)
def test_a_quota_of_any_level_counts(tmp_path, version, levels, quota):
    """Of version 1 and 2, the least of all groups that the process is in."""
    inner = max(levels, key=len)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"0::/{inner}\n" if version == 2 else f"7:cpu,cpuacct:/{inner}\n0::/x\n")
    for place, text in levels.items():
        group = tmp_path / "sys/fs/cgroup" / ("" if version == 2 else "cpu") / place
        group.mkdir(parents=True, exist_ok=True)
        names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        for name, value in zip(names, [text] if version == 2 else text.split(), strict=False):
            (group / name).write_text(value + "\n")
    assert control_groups.cpu_quota(tmp_path) == quota


@pytest.fixture
def group():
    """A control group with 700 MB of memory, version 1, as a machine of its own. Skips where none can be made."""
    place = Path("/sys/fs/cgroup/memory") / f"attnbench-test-{os.getpid()}"
    try:
        place.mkdir()
        (place / "memory.limit_in_bytes").write_text(str(700 * 10**6))
    except OSError as error:
        pytest.skip(f"no control group of memory can be made here: {error.strerror}")
    yield place
    place.rmdir()


GROWS = """
import time
from backends import implementation


@implementation("numpy/grows")
def _(query, key, value, **rest):
    held = []
    while True:
        held.append(b"x" * 2**24)
        time.sleep({pause_s})
"""


@pytest.mark.parametrize(("pause_s", "neighbour_bytes"), [(0, 0), (0.02, 300 * 10**6)])
def test_a_small_machine_does_not_suffer(tmp_path, group, pause_s, neighbour_bytes):
    """What grows without end is ended by the guard, or by a faster kernel; its neighbour lives, and the others are timed."""
    (tmp_path / "grows.py").write_text(GROWS.format(pause_s=pause_s))
    join = f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); "
    eats = f"held = b'x' * {neighbour_bytes}; print('full', flush=True); import time; time.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", join + eats], stdout=subprocess.PIPE, text=True) as neighbour:
        try:
            assert neighbour.stdout.readline() == "full\n"
            words = ("--implementation", "numpy/grows", "--plugin", str(tmp_path / "grows.py"), "--blocks", "1")
            words += ("--quiet", "--format", "csv", "--out", str(tmp_path / "run"))
            start = "import sys; os.execv(sys.executable, sys.argv[1:])"
            command = [sys.executable, "-c", join + start, sys.executable, "-m", "benchmarks", *RUN, *words]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
            assert neighbour.poll() is None
        finally:
            neighbour.kill()
    assert (done.returncode, done.stderr) == (1, "")
    rows = {row["implementation"]: row for row in csv.DictReader(done.stdout.splitlines())}
    assert {id: row["status"] for id, row in rows.items()} == {
        "numpy/naive": "ok", "numpy/blocked": "ok", "numpy/grows": "out_of_memory",
    }  # fmt: skip
    assert re.search("ended before the machine runs out|memory ran out|needs about", rows["numpy/grows"]["reason"])
    shutil.rmtree(tmp_path / "run")
