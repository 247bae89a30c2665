"""What runs inside a Dask worker: it tells of its machine, and has a part of a run measured by a process of its own.

Dask is not imported here. What goes in and out is text and bytes: no class has to be the same on both sides.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

from backends import registry
from benchmarks.cluster.measuring import BUSY, REFUSED, SCRATCH, STARTED
from benchmarks.harness.environment import machine, machine_id
from benchmarks.harness.process import ROOT, START_LIMIT_S
from benchmarks.harness.steering import steering_variables
from benchmarks.plan import Plan
from benchmarks.run_folder import RunFolder

_ORACLE_LIMIT_S = 600.0
_LOOK_S = 0.25
_END_LIMIT_S = 30.0
_NANNY = "distributed.nanny.pre-spawn-environ"
_running: dict[str, set[subprocess.Popen[bytes]]] = defaultdict(set)
"""Run -> the measuring processes that this worker has started for it."""


@functools.cache
def sources() -> str:
    """A hash of this program's own files: machines with other ones measure something else."""
    found = hashlib.sha256()
    for package in ("backends", "benchmarks"):
        for file in sorted((ROOT / package).rglob("*.py")):
            found.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return found.hexdigest()[:12]


def discover(wanted: list[str]) -> dict[str, Any]:
    """What this machine is and has: the conditions under which it would measure. `wanted`: frameworks."""
    installed = {name: registry.installed_version(name) for name in wanted}
    return {
        "machine": machine_id(),
        "fingerprint": machine(),
        "python": sys.version.split()[0],
        "sources": sources(),
        "frameworks": {name: version for name, version in installed.items() if version is not None},
        "variables": steering_variables(_environment()),
    }


def measure_part(request: str) -> bytes:
    """Measure what the request says; the answer, packed: {"outcome": "ok", "events", "environment"}, or {"outcome", "reason"}
    where it is "refused" (not on this machine), or "failed".
    """
    return zlib.compress(json.dumps(_measure(json.loads(request))).encode())


def unpack(answer: bytes) -> dict[str, Any]:
    """The inverse of what measure_part does at its end."""
    found: dict[str, Any] = json.loads(zlib.decompress(answer))
    return found


def stop(run: str) -> int:
    """End what this worker measures for a run; how many processes that were."""
    processes = list(_running[run])
    for process in processes:
        _close(process)
    return len(processes)


def _measure(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        plan = _with_plugins(Plan.from_dict(request["plan"]), request["plugins"], place)
        folder = RunFolder.create(place / "run", plan)
        folder.close()
        log = place / "measuring.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.cluster.measuring", str(folder.path)],
                cwd=ROOT,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        _running[request["run"]].add(process)
        try:
            hung = _wait(process, folder.path, plan.time_limit_s)
        finally:
            _end(process)
            _running[request["run"]].discard(process)
        if hung is not None:
            return {"outcome": "failed", "reason": hung}
        if process.returncode != 0:
            outcome = "refused" if process.returncode in (REFUSED, BUSY) else "failed"
            return {"outcome": outcome, "reason": _last_words(log, process.returncode)}
        with (folder.path / "journal.jsonl").open(encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines]
        return {"outcome": "ok", "events": events, "environment": folder.environment()}


def _with_plugins(plan: Plan, texts: dict[str, str], place: Path) -> Plan:
    """The plan with plug-ins from files of this machine: their text came along."""
    paths = {}
    for number, (path, text) in enumerate(texts.items()):
        own = place / f"plugin{number}" / Path(path).name
        own.parent.mkdir()
        own.write_text(text, encoding="utf-8")
        paths[path] = str(own)
    return Plan.from_dict({**plan.to_dict(), "plugins": [(f, paths.get(path, path)) for f, path in plan.plugins]})


def _environment() -> dict[str, str]:
    """This worker's, without what Dask's nanny has put in: it would hold every framework to one thread."""
    config = sys.modules.get("dask.config")
    put_in = config.get(_NANNY, {}) if config is not None else {}
    return {name: value for name, value in os.environ.items() if str(put_in.get(name)) != value}


def _wait(process: subprocess.Popen[bytes], folder: Path, time_limit_s: float) -> str | None:
    """Until the process has ended; why it was not waited for where its journal stood still for longer than any step takes."""
    limit_s = _ORACLE_LIMIT_S + START_LIMIT_S + 2 * time_limit_s
    size, moved = -1, time.monotonic()
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_S)
        now = (folder / "journal.jsonl").stat().st_size
        if now != size or not (folder / STARTED).exists():
            size, moved = now, time.monotonic()
        elif time.monotonic() - moved > limit_s:
            return f"nothing was measured for {limit_s:g} s"
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and end it."""
    _close(process)
    try:
        process.wait(_END_LIMIT_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _last_words(log: Path, code: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((" ".join(line.split())[:300] for line in reversed(lines) if line.strip()), "")
    return last or f"the measuring process ended with {code}"
