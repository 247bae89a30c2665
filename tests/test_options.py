"""--framework: what is asked for has to be there; what is not installed is left out, and the header says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT

ABSENT = """
import importlib.metadata as metadata
version = metadata.version
def without_jax(name):
    if name == "jax":
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = without_jax
"""


def pytest_run(
    path: Path, *words: str, test: str = "tests/test_registry.py::test_load_returns_the_framework"
) -> subprocess.CompletedProcess[str]:
    """A run of pytest in a process where `path` is searched for modules first."""
    command = [sys.executable, "-m", "pytest", "-v", test, *words]
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_what_is_not_installed_is_left_out_and_told(tmp_path: Path) -> None:
    """Without the option the tests of a missing framework are not there, and the header names it."""
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    done = pytest_run(tmp_path, "--collect-only")
    assert done.returncode == 0
    assert "not installed: " in done.stdout
    assert "jax" in done.stdout.partition("not installed: ")[2].partition(")")[0]
    assert "[numpy]" in done.stdout
    assert "[jax]" not in done.stdout


def test_what_is_asked_for_and_missing_fails(tmp_path: Path) -> None:
    """With the option the same framework fails the run, with the reason and the remedy."""
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    (tmp_path / "jax.py").write_text("raise ModuleNotFoundError('No module named jax', name='jax')")
    done = pytest_run(tmp_path, "--framework", "jax")
    assert done.returncode == 1
    assert "MissingFramework: jax is not installed" in done.stdout
    assert "1 failed" in done.stdout


def test_what_is_asked_for_is_all_that_runs(tmp_path: Path) -> None:
    """Asked for one framework, the others are left out, and the header says that nobody asked for them."""
    done = pytest_run(tmp_path, "--framework", "numpy")
    assert done.returncode == 0
    assert "frameworks: numpy (not asked for: tf_keras, jax, torch" in done.stdout
    assert "1 passed" in done.stdout


def test_an_unknown_framework_is_a_usage_error(tmp_path: Path) -> None:
    """A misspelt name is refused with the known ones, before any test runs."""
    done = pytest_run(tmp_path, "--framework", "pytorch")
    assert done.returncode == 4
    assert "--framework pytorch: expected one of numpy, tf_keras, jax, torch" in done.stderr
