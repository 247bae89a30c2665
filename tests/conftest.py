"""What every test file shares: which frameworks are held to the tests, and how hypothesis searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest

from backends import registry

# The same examples in every run: a red run is a change of the code, never luck.
hypothesis.settings.register_profile(
    "attnbench",
    derandomize=True,
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("attnbench")


def pytest_addoption(parser: pytest.Parser) -> None:
    """--framework NAME: asked for, a framework has to be there."""
    parser.addoption(
        "--framework",
        action="append",
        default=[],
        metavar="NAME",
        help="hold this framework to the tests, and fail where it is missing (repeatable; default: those installed)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse names that no framework has."""
    for name in config.getoption("--framework"):
        if name not in registry.names():
            raise pytest.UsageError(f"--framework {name}: expected one of {', '.join(registry.names())}")


def _left_out(config: pytest.Config) -> tuple[str, ...]:
    asked = config.getoption("--framework")
    if asked:
        return tuple(name for name in registry.names() if name not in asked)
    return tuple(name for name in registry.names() if registry.installed_version(name) is None)


def pytest_report_header(config: pytest.Config) -> str:
    """Say which frameworks the run is about: a green run that left one out must not look like one that did not."""
    out = _left_out(config)
    held = ", ".join(name for name in registry.names() if name not in out)
    why = "not asked for" if config.getoption("--framework") else "not installed"
    return f"frameworks: {held}" + (f" ({why}: {', '.join(out)})" if out else "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`cpu_id` runs over the implementations on the CPU, `framework_name` over the frameworks."""
    held = [name for name in registry.names() if name not in _left_out(metafunc.config)]
    if "cpu_id" in metafunc.fixturenames:
        found = registry.implementations().values()
        ids = [i.id for i in found if "cpu" in i.devices and i.framework in held]
        slow = ("torch/naive-compile", "torch/flex")  # some ten seconds of a C++ compiler for each problem
        metafunc.parametrize("cpu_id", [pytest.param(i, marks=pytest.mark.slow) if i in slow else i for i in ids])
    if "framework_name" in metafunc.fixturenames:
        metafunc.parametrize("framework_name", held)


@pytest.fixture(scope="session")
def needs(pytestconfig: pytest.Config) -> Callable[[str], Any]:
    """needs("torch") loads a framework that one test compares with; skips where it is left out of this run."""

    def load(framework: str) -> Any:
        if framework in _left_out(pytestconfig):
            pytest.skip(f"{framework} is left out of this run")
        return registry.load(framework)

    return load
