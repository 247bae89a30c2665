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


KERAS = tuple(name for name in registry.names() if "keras" in registry.entry(name).packages)
"""Keras has one backend in a process: these exclude one another there."""


def pytest_configure(config: pytest.Config) -> None:
    """Refuse names that no framework has, and several that cannot be held in one process."""
    asked = config.getoption("--framework")
    for name in asked:
        if name not in registry.names():
            raise pytest.UsageError(f"--framework {name}: expected one of {', '.join(registry.names())}")
    if len(set(KERAS) & set(asked)) > 1:
        raise pytest.UsageError(f"--framework: Keras has one backend in a process, ask for one of {', '.join(KERAS)}")


def _left_out(config: pytest.Config) -> tuple[str, ...]:
    asked = config.getoption("--framework")
    if asked:
        return tuple(name for name in registry.names() if name not in asked)
    missing = [name for name in registry.names() if registry.installed_version(name) is None]
    return (*missing, *_elsewhere(config))


def _elsewhere(config: pytest.Config) -> tuple[str, ...]:
    """Those that test_keras_elsewhere holds to the tests, each in a process of its own: installed, and not the first Keras."""
    there = [name for name in KERAS if registry.installed_version(name) is not None]
    return () if config.getoption("--framework") else tuple(there[1:])


def pytest_report_header(config: pytest.Config) -> str:
    """Say which frameworks the run is about: a green run that left one out must not look like one that did not."""
    out, elsewhere = _left_out(config), _elsewhere(config)
    missing = [name for name in out if name not in elsewhere]
    held = ", ".join(name for name in registry.names() if name not in out)
    why = "not asked for" if config.getoption("--framework") else "not installed"
    told = f"frameworks: {held}" + (f" ({why}: {', '.join(missing)})" if missing else "")
    return told + (f"; in processes of their own: {', '.join(elsewhere)}" if elsewhere else "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`cpu_id` runs over the implementations on the CPU, `framework_name` over the frameworks of this process."""
    held = [name for name in registry.names() if name not in _left_out(metafunc.config)]
    if "cpu_id" in metafunc.fixturenames:
        found = registry.implementations().values()
        ids = [i.id for i in found if "cpu" in i.devices and i.framework in held]
        slow = ("torch/naive-compile", "torch/flex")  # some ten seconds of a C++ compiler for each problem
        metafunc.parametrize("cpu_id", [pytest.param(i, marks=pytest.mark.slow) if i in slow else i for i in ids])
    if "framework_name" in metafunc.fixturenames:
        metafunc.parametrize("framework_name", held)
    if "elsewhere_name" in metafunc.fixturenames:
        metafunc.parametrize("elsewhere_name", _elsewhere(metafunc.config))


@pytest.fixture(scope="session")
def needs(pytestconfig: pytest.Config) -> Callable[[str], Any]:
    """needs("torch") loads a framework that one test compares with; skips where it is left out of this run."""

    def load(framework: str) -> Any:
        if framework in _left_out(pytestconfig):
            pytest.skip(f"{framework} is left out of this run")
        return registry.load(framework)

    return load
