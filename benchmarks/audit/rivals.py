"""Other tools' own decisions on the same work, with the same budget: whether they call a known slowdown slower.

Each trial is what a user of the tool would do: a run of the baseline, a run of the candidate, the tool's own comparison. Every
process is fresh. Wall-clock time is measured, so one trial runs at a time.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.audit.rival_work import SAYS, VARIABLE, Work
from benchmarks.errors import UsageError
from benchmarks.harness.process import ROOT, bound_to

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FAIL_EXPRESSION = "median:5%"
"""pytest-benchmark's gate; its percentages are whole numbers."""
_REGRESSED = "Performance has regressed"
_SLOWER = re.compile(r": \d+\.\d+x slower$", re.MULTILINE)
_PROCESSES, _VALUES = 20, 3
"""pyperf's own numbers."""
_FEWEST_PROCESSES = 2
_SHORTEST_VALUE_S = 0.001
"""Below this pyperf warns."""
_LIMIT_S = 3600.0


class RivalFailed(RuntimeError):
    """The tool ended without a decision; the message holds its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalTrial:
    """One decision."""

    called_slower: bool
    seconds: float
    """Wall-clock of both runs and the comparison: what a user waits."""
    measured_s: float
    """The part of it that the tool timed and kept, both sides: what the budget is about."""
    said: str
    """The tool's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """What a tool decided in several trials of the same slowdown."""

    trials: int
    called_slower: int
    seconds: float
    measured_s: float


@dataclass(frozen=True, slots=True)
class _Rival:
    package: str
    """As it is imported."""
    decide: Callable[[Work, float, float, Path], tuple[bool, float, str]]
    """(work, slowdown, budget, folder) -> whether it said slower, seconds measured, its words."""


def trial(rival: str, work: Work, slowdown: float, budget_s: float) -> RivalTrial:
    """Baseline as it is, candidate slowed down by the share `slowdown`; both measured for about `budget_s`.

    Raises UsageError for a tool that is unknown or not installed, RivalFailed for one that ends without a decision.
    """
    check_rivals([rival])
    _seconds_per_call(work)  # once for all trials, outside of the tool's time
    with tempfile.TemporaryDirectory(prefix="attnbench-") as folder:
        start = time.perf_counter()
        called_slower, measured_s, said = RIVALS[rival].decide(work, slowdown, budget_s, Path(folder))
        seconds = time.perf_counter() - start
    return RivalTrial(called_slower=called_slower, seconds=seconds, measured_s=measured_s, said=said)


def run_rivals(
    names: Sequence[str],
    work: Work,
    slowdowns: Sequence[float],
    trials: int,
    budget_s: float,
    show: Callable[[str, float, RivalTrial], None] | None = None,
) -> dict[str, dict[float, Alarms]]:
    """Alarms by tool and slowdown. Trials go round: what the machine does meanwhile hits all tools and slowdowns alike."""
    check_rivals(names)
    seen: dict[tuple[str, float], list[RivalTrial]] = defaultdict(list)
    for _ in range(trials):
        for name in names:
            for slowdown in slowdowns:
                found = trial(name, work, slowdown, budget_s)
                seen[name, slowdown].append(found)
                if show is not None:
                    show(name, slowdown, found)
    return {name: {slowdown: _alarms(seen[name, slowdown]) for slowdown in slowdowns} for name in names}


def check_rivals(names: Sequence[str]) -> None:
    """UsageError for a tool that is unknown or not installed."""
    for name in names:
        if name not in RIVALS:
            raise UsageError(f"unknown rival {name!r}, expected one of {', '.join(RIVALS)}")
        if importlib.util.find_spec(RIVALS[name].package) is None:
            raise UsageError(f"rival {name} is not installed; install it: pip install -c constraints.txt {name}")


def _alarms(found: Sequence[RivalTrial]) -> Alarms:
    return Alarms(
        trials=len(found),
        called_slower=sum(t.called_slower for t in found),
        seconds=sum(t.seconds for t in found),
        measured_s=sum(t.measured_s for t in found),
    )


def _pytest_benchmark(work: Work, slowdown: float, budget_s: float, folder: Path) -> tuple[bool, float, str]:
    """The exit status is its decision; that it is a decision and no mishap, its words must say."""
    # A pytest.ini of its own: this project's options would disable it. The storage has to lie below the working directory:
    # where the machine's description differs (the clock rate of the moment is part of it) it fails on any other.
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    plain = "-m pytest -c pytest.ini --noconftest -p pytest_benchmark.plugin -p no:cacheprovider --benchmark-storage=storage"
    options = (
        *(*plain.split(), "--benchmark-only", "--benchmark-enable", "--benchmark-autosave", "--benchmark-min-rounds=5"),
        *(f"--benchmark-max-time={budget_s}", str(Path(__file__).with_name("rival_pytest.py"))),
    )
    gate = ("--benchmark-compare=0001", f"--benchmark-compare-fail={FAIL_EXPRESSION}")
    code, output = _run(options, work, 0.0, folder)
    if code:
        raise RivalFailed(f"pytest-benchmark, baseline: {_last_words(output)}")
    code, output = _run((*options, *gate), work, slowdown, folder)
    return read_pytest_benchmark(code, output, folder / "storage")


def read_pytest_benchmark(code: int, output: str, storage: Path) -> tuple[bool, float, str]:
    """Whether the second run called it slower, the seconds that both measured, and why.

    It fails with a non-zero exit status and a message; without the message the failure is something else.
    """
    regressed = _REGRESSED in output
    if regressed != bool(code):
        raise RivalFailed(f"pytest-benchmark exited with {code}: {_last_words(output)}")
    measured = 0.0
    for file in sorted(storage.rglob("*.json")):
        for bench in json.loads(file.read_text(encoding="utf-8"))["benchmarks"]:
            measured += bench["stats"]["total"] * bench["stats"]["iterations"]
    why = next((line.strip() for line in output.splitlines() if "has failed" in line), "")
    return regressed, measured, why or f"within {FAIL_EXPRESSION}"


def _pyperf(work: Work, slowdown: float, budget_s: float, folder: Path) -> tuple[bool, float, str]:
    """Its words are its decision: compare_to exits with 0 whatever it finds."""
    processes, loops = pyperf_size(_seconds_per_call(work), budget_s)
    # Without --copy-env its workers lose the variables that steer BLAS and OpenMP.
    plain = ("-m", "benchmarks.audit.rival_pyperf", "--copy-env", "--quiet", "--warmups=1")
    options = (*plain, f"--processes={processes}", f"--values={_VALUES}", f"--loops={loops}")
    for side, share in (("baseline", 0.0), ("candidate", slowdown)):
        code, output = _run((*options, "-o", f"{side}.json"), work, share, folder)
        if code:
            raise RivalFailed(f"pyperf, {side}: {_last_words(output)}")
    return compare_pyperf(folder / "baseline.json", folder / "candidate.json")


def pyperf_size(per_call_s: float, budget_s: float) -> tuple[int, int]:
    """(processes, loops), so that the values that pyperf keeps take about the budget.

    Its own 20 processes of 3 values where these last long enough, else fewer processes.
    """
    values = budget_s / max(per_call_s, _SHORTEST_VALUE_S)
    processes = min(_PROCESSES, max(_FEWEST_PROCESSES, int(values / _VALUES)))
    return processes, max(1, round(budget_s / (processes * _VALUES * per_call_s)))


def compare_pyperf(baseline: Path, candidate: Path) -> tuple[bool, float, str]:
    """What `pyperf compare_to` says: whether it is "slower", the seconds of the values of both files, and its words."""
    command = [sys.executable, "-m", "pyperf", "compare_to", str(baseline), str(candidate)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=baseline.parent)
    if done.returncode or not done.stdout.strip():
        raise RivalFailed(f"pyperf compare_to exited with {done.returncode}: {_last_words(done.stdout + done.stderr)}")
    said = " ".join(done.stdout.split())
    return bool(_SLOWER.search(done.stdout)), sum(map(_pyperf_seconds, (baseline, candidate))), said


def _pyperf_seconds(file: Path) -> float:
    suite = json.loads(file.read_text(encoding="utf-8"))
    seconds = 0.0
    for bench in suite["benchmarks"]:
        common = {**suite.get("metadata", {}), **bench.get("metadata", {})}
        for run in bench["runs"]:
            loops = {**common, **run.get("metadata", {})}.get("loops", 1)
            seconds += loops * sum(run.get("values", ()))
    return seconds


@functools.cache
def _seconds_per_call(work: Work) -> float:
    with tempfile.TemporaryDirectory(prefix="attnbench-") as folder:
        code, output = _run(("-m", "benchmarks.audit.rival_work"), work, 0.0, Path(folder))
    said = [line.removeprefix(SAYS) for line in output.splitlines() if line.startswith(SAYS)]
    if code or not said:
        raise RivalFailed(f"{work.implementation} on {work.case.name}: {_last_words(output)}")
    return float(said[0])


def _run(words: Sequence[str], work: Work, slowdown: float, folder: Path) -> tuple[int, str]:
    """Exit status and output of a fresh Python process in `folder`; it and what it starts end with it, whatever happens."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYPERF_"))}
    searched = os.pathsep.join(filter(None, (str(ROOT), inherited.get("PYTHONPATH", ""))))
    variables: Mapping[str, str] = {
        **inherited,
        "PYTHONPATH": searched,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # other plug-ins would cost it seconds
        VARIABLE: work.told(slowdown),
    }
    with bound_to(work.cpus):
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    try:
        output, _ = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise RivalFailed(f"no end within {_LIMIT_S:g} s: {' '.join(words)}") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, output


def _last_words(output: str) -> str:
    lines = [" ".join(line.split())[:300] for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing said"


RIVALS: Mapping[str, _Rival] = {
    "pytest-benchmark": _Rival("pytest_benchmark", _pytest_benchmark),
    "pyperf": _Rival("pyperf", _pyperf),
}
