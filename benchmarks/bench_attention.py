"""A suite as pytest-benchmark sees it: every cell is checked against the oracle first, then timed the way that tool times.

    python -m pytest -p benchmarks.pytest_options benchmarks/bench_attention.py --benchmark-enable --suite smoke
    nox -s pytest-benchmark -- --suite decode --implementation 'torch/*' --benchmark-json out.json

The plug-in brings --suite, --case, --implementation and --plugin; without it the suite is smoke. --benchmark-enable is needed
because this project's pytest options disable benchmarks. All of pytest-benchmark's own options work: saving, comparing, JSON.

For those who have pytest-benchmark in place. It measures one cell after the other in one process that holds all frameworks:
`python -m benchmarks run` and `ab` alternate and restart, and see smaller differences.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import backends
from backends import registry
from backends.backward import expect_all
from backends.interface import KernelMismatch
from backends.plugins import installed_plugins
from benchmarks import inputs as seeded
from benchmarks import suites
from benchmarks.errors import UsageError
from benchmarks.harness.cell import Cell, Incorrect
from benchmarks.plan import asked_frameworks, check_installed, select_cases, select_implementations
from benchmarks.records import Status, describe

if TYPE_CHECKING:
    from backends.accuracy import Expected
    from backends.framework import Framework
    from backends.problem import Inputs
    from benchmarks.cases import Case

DEVICE = "cpu"
SEED = 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per cell, the implementations of a case one after the other."""
    config = metafunc.config
    try:
        cases = select_cases(_suite(config), config.getoption("case", []))
        chosen = _implementations(config.getoption("implementation", []), config.getoption("plugin", []))
    except (UsageError, backends.PluginError) as error:
        raise pytest.Collector.CollectError(str(error)) from None  # told without a traceback
    cells = [pytest.param(case.name, id, id=f"{case.name}-{id}") for case in cases for id in chosen]
    metafunc.parametrize(("case", "implementation"), cells)


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")  # of cells that are skipped or wrong
def test_attention(case: str, implementation: str, benchmark: Any, pytestconfig: pytest.Config) -> None:
    """Right first, timed second, and right afterwards on inputs that it has not seen."""
    problem, inputs, expected = _problem(_suite(pytestconfig), case, SEED)
    _, fresh, fresh_expected = _problem(_suite(pytestconfig), case, SEED + 1)
    cell = _checked(problem, implementation, inputs, expected)
    framework, prepared = cell.framework, cell.prepared

    def call() -> None:
        framework.barrier(prepared.call())

    benchmark.group = case
    benchmark.extra_info |= _described(cell)
    with cell.implementation.context():
        benchmark(call)
    try:
        cell.recheck(inputs, expected, fresh, fresh_expected)
    except Incorrect as error:
        benchmark.has_error = True  # keeps its time out of every file
        pytest.fail(f"incorrect: {error}", pytrace=False)


def _suite(config: pytest.Config) -> str:
    suite: str = config.getoption("suite", "smoke")
    return suite


def _implementations(patterns: list[str], plugins: list[str]) -> list[str]:
    """Those that were asked for; unasked ones only where their framework is installed."""
    wanted = [*(str(Path(file).resolve()) for file in plugins), *installed_plugins()]
    plugged = [id for plugin in wanted for id in backends.load_plugin(plugin)]
    chosen = select_implementations([], patterns, DEVICE, plugged)
    check_installed(asked_frameworks([], patterns))
    return [id for id in chosen if registry.installed_version(id.partition("/")[0]) is not None]


@functools.lru_cache(maxsize=2)
def _problem(suite: str, name: str, seed: int) -> tuple[Case, Inputs, dict[str, Expected]]:
    """A case with its inputs and its oracle; the two that are remembered serve all implementations of a case."""
    case = next(case for case in suites.load(suite) if case.name == name)
    inputs = seeded.make(case, seed)
    return case, inputs, expect_all(inputs, case.semantics)


def _checked(case: Case, implementation: str, inputs: Inputs, expected: dict[str, Expected]) -> Cell:
    """A cell that gave the right answer; anything else ends the test before a clock runs."""
    chosen = registry.implementations()[implementation]
    try:
        framework: Framework = registry.load(chosen.framework)
        return Cell.prepare(case, chosen, framework, DEVICE, inputs, expected)
    except backends.Unsupported as refusal:
        pytest.skip(f"unsupported: {refusal}")
    except Incorrect as error:
        pytest.fail(f"incorrect: {error}", pytrace=False)
    except (KernelMismatch, backends.MissingFramework, backends.BrokenFramework) as error:
        pytest.fail(str(error), pytrace=False)


def _described(cell: Cell) -> dict[str, Any]:
    """The cell in the words of summary.csv: `compare` reads them, and so can others."""
    settings, described = cell.framework.settings(), describe(cell.case)
    return {
        "framework": cell.implementation.framework,
        "implementation": cell.implementation.id,
        "device": cell.device,
        "pass": described.pop("pass_"),
        **described,
        "error_over_bound": cell.judgement.error_over_bound,
        "threads": settings.get("threads", ""),
        "layout": cell.implementation.layout,
        "matmul_precision": settings.get("matmul_precision", ""),
        "jit": cell.implementation.compile or "eager",
        "lowered": "; ".join(cell.prepared.lowered),
        "kernel": cell.kernel,
        "status": str(Status.OK),
    }
