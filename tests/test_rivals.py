"""Other tools' decisions, read rightly: what they say of known numbers, and of a slowdown that nobody can miss."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from benchmarks.audit import rivals
from benchmarks.audit.rival_work import Work
from benchmarks.audit.rivals import RivalFailed, RivalTrial, run_rivals, trial
from benchmarks.cases import case
from benchmarks.errors import UsageError
from tests.processes import ROOT

HUGE = 3.0
"""So much slower that no noise hides it: nothing here depends on close timing."""
BUDGET_S = 0.1
CASE = case("rivals", "some milliseconds a call", T=768, N=8, H=64)
PLUGIN = """
import os
from pathlib import Path
from backends import Unsupported, implementation
from backends.numpy_backend import naive

with Path(__file__).with_name("started").open("a") as started:
    started.write(f"{os.getpid()} {os.environ.get('OMP_MAX_ACTIVE_LEVELS')} {sorted(os.sched_getaffinity(0))}\\n")

@implementation("numpy/told", layout="BNTH", accepts={"scale"})
def _(query, key, value, *, scale=None):
    return naive(query, key, value, scale=scale)

@implementation("numpy/refuses")
def _(query, key, value, **rest):
    raise Unsupported("not today")
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A plug-in that writes down each process that loads it."""
    file = tmp_path_factory.mktemp("rivals") / "told.py"
    file.write_text(PLUGIN)
    return file


@pytest.mark.parametrize("rival", rivals.RIVALS)
def test_a_huge_slowdown_is_called_slower(plugin, monkeypatch, rival):
    """Each tool, run as its users run it, sees it; every process is fresh, has our variables, and our CPUs."""
    pytest.importorskip(rivals.RIVALS[rival].package)
    monkeypatch.setenv("OMP_MAX_ACTIVE_LEVELS", "3")
    cpu = max(os.sched_getaffinity(0))
    started = plugin.with_name("started")
    started.write_text("")
    found = trial(
        rival, Work(case=CASE, implementation="numpy/told", plugins=(str(plugin),), cpus=(cpu,)), HUGE, BUDGET_S
    )
    assert found.called_slower, found
    assert found.said
    assert 0 < found.measured_s < found.seconds
    processes = [line.split(" ", 1) for line in started.read_text().splitlines()]
    assert len({pid for pid, _ in processes}) == len(processes) >= 2
    assert {told for _, told in processes} == {f"3 [{cpu}]"}


def test_pytest_benchmark_passes_what_its_threshold_allows(monkeypatch):
    """Within the threshold it is not called slower: its exit status is the decision, not our arithmetic."""
    monkeypatch.setattr(rivals, "FAIL_EXPRESSION", "median:99999%")
    found = trial("pytest-benchmark", Work(case=CASE, implementation="numpy/naive"), HUGE, BUDGET_S)
    assert not found.called_slower
    assert found.said == "within median:99999%"


@pytest.mark.parametrize(
    ("code", "output", "slower", "said"),
    [
        (0, "1 passed in 1 s", False, "within median:5%"),
        (
            1,
            "Performance has regressed:\n\ttest_cell (0001) - Field 'median' has failed PercentageRegressionCheck: 6.1 > 5.0\n",
            True,
            "test_cell (0001) - Field 'median' has failed PercentageRegressionCheck: 6.1 > 5.0",
        ),
    ],
)
def test_pytest_benchmarks_decision(tmp_path, code, output, slower, said):
    """Exit status and message agree, and the seconds are those of all rounds of both files."""
    for number in ("0001", "0002"):
        benchmarks = [{"stats": {"total": 0.5, "iterations": 3}}]
        (tmp_path / f"{number}_x.json").write_text(json.dumps({"benchmarks": benchmarks}))
    assert rivals.read_pytest_benchmark(code, output, tmp_path) == (slower, 3.0, said)


@pytest.mark.parametrize(
    ("code", "output"), [(1, "1 failed"), (3, "INTERNALERROR> boom"), (0, "Performance has regressed")]
)
def test_pytest_benchmarks_mishap_is_no_decision(tmp_path, code, output):
    """A failed test also ends with a non-zero status: only with the message is it a regression."""
    with pytest.raises(RivalFailed, match=output):
        rivals.read_pytest_benchmark(code, output, tmp_path)


STEADY = (1.00, 1.01, 1.02, 1.00, 1.01, 1.02)


@pytest.mark.parametrize(
    ("candidate", "slower", "says"),
    [
        ([1.02 * v for v in STEADY], True, "1.02x slower"),  # any significant change counts: it has no threshold
        ([0.95 * v for v in STEADY], False, "faster"),
        ([1.02, 1.00, 1.01, 1.03, 1.00, 1.01], False, "not significant"),
        ([0.5, 2.0, 0.6, 1.9, 0.7, 1.8], False, "not significant"),
        (
            [0.5, 2.0, 0.6, 1.9, 1.8],
            True,
            "ERROR when testing",
        ),  # another count of values: it takes that for significant
    ],
)
def test_pyperfs_decision(tmp_path, candidate, slower, says):
    """compare_to's words are the decision, its mishaps included: that is what its users would see."""
    pyperf = pytest.importorskip("pyperf")
    for name, values in (("baseline", STEADY), ("candidate", candidate)):
        about = {"name": "cell", "loops": 2, "unit": "second"}
        run = pyperf.Run([v / 100 for v in values], metadata=about, collect_metadata=False)
        pyperf.Benchmark([run]).dump(str(tmp_path / f"{name}.json"))
    found, measured_s, said = rivals.compare_pyperf(tmp_path / "baseline.json", tmp_path / "candidate.json")
    assert (found, says in said) == (slower, True), said
    assert measured_s == pytest.approx(2 * (sum(STEADY) + sum(candidate)) / 100)


def test_a_file_that_pyperf_cannot_read_is_no_decision(tmp_path):
    """Its last words are told."""
    pytest.importorskip("pyperf")
    with pytest.raises(RivalFailed, match="pyperf compare_to exited with 1"):
        rivals.compare_pyperf(tmp_path / "none.json", tmp_path / "none.json")


@pytest.mark.parametrize(
    ("per_call_s", "budget_s", "size"),
    [
        (0.001, 2.0, (20, 33)),
        (0.1, 2.0, (6, 1)),
        (1.0, 2.0, (2, 1)),
        (0.00001, 0.01, (3, 111)),
    ],
)
def test_pyperf_gets_its_own_numbers_where_the_budget_allows(per_call_s, budget_s, size):
    """20 processes of 3 values, loops to fill the budget; fewer processes where a value would get too short, never one."""
    assert rivals.pyperf_size(per_call_s, budget_s) == size


def test_what_cannot_be_done_is_told(plugin):
    """An implementation that refuses ends the trial with its reason."""
    work = Work(case=CASE, implementation="numpy/refuses", plugins=(str(plugin),))
    with pytest.raises(RivalFailed, match="not today"):
        trial("pytest-benchmark", work, 0.0, BUDGET_S)


def test_a_rival_that_is_not_there(monkeypatch):
    """An unknown name is told with the known ones, a missing tool with the command that installs it."""
    with pytest.raises(UsageError, match="unknown rival 'nope', expected one of pytest-benchmark, pyperf"):
        run_rivals(["nope"], Work(case=CASE, implementation="numpy/naive"), [0.0], 1, BUDGET_S)
    monkeypatch.setattr(rivals.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install -c constraints\.txt pyperf"):
        run_rivals(["pyperf"], Work(case=CASE, implementation="numpy/naive"), [0.0], 1, BUDGET_S)


def test_alarms_are_counted_and_trials_go_round(monkeypatch):
    """Each tool and slowdown once per round, each trial shown, and the sums by tool and slowdown."""
    seen = []
    made = iter(range(1, 99))

    def decided(rival, work, slowdown, budget_s):
        return RivalTrial(called_slower=slowdown > 0, seconds=float(next(made)), measured_s=budget_s, said=rival)

    monkeypatch.setattr(rivals, "trial", decided)
    monkeypatch.setattr(rivals, "check_rivals", lambda _: None)
    work = Work(case=CASE, implementation="numpy/naive")
    found = run_rivals(["x", "y"], work, [0.0, 0.1], 2, 0.5, lambda *told: seen.append(told[:2]))
    assert seen == [("x", 0.0), ("x", 0.1), ("y", 0.0), ("y", 0.1)] * 2
    assert found["x"][0.0] == rivals.Alarms(trials=2, called_slower=0, seconds=1 + 5, measured_s=1.0)
    assert found["y"][0.1] == rivals.Alarms(trials=2, called_slower=2, seconds=4 + 8, measured_s=1.0)


def test_our_files_for_the_tools_are_no_tests_of_ours():
    """`pytest` in the checkout collects none of what is written for rivals."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    words = ("-m", "pytest", "--collect-only", "-q", "benchmarks")
    done = subprocess.run(
        [rivals.sys.executable, *words], cwd=ROOT, env=kept, capture_output=True, text=True, check=False
    )
    assert "no tests collected" in done.stdout
