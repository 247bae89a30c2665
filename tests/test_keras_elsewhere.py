"""Keras has one backend in a process: what runs on the others is held to the same tests, each in a process of its own."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import backends
from backends import registry
from tests.helpers import ROOT, fresh


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_test_of_a_framework_passes_in_a_process_of_its_own(elsewhere_name: str, tmp_path: Path) -> None:
    """All tests that are about this framework or one of its implementations run there, and none of them is missing."""
    report = tmp_path / "report.xml"
    words = ("--framework", elsewhere_name, "-k", elsewhere_name, "--junit-xml", str(report), "-q")
    command = [sys.executable, "-m", "pytest", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    ran: dict[str, set[str]] = {}
    for case in ET.parse(report).iter("testcase"):
        if case.find("skipped") is None:
            test, _, parameter = case.attrib["name"].partition("[")
            ran.setdefault(test, set()).add(parameter.rstrip("]"))
    ids = set(backends.implementations(elsewhere_name))
    for test in ("test_any_problem_is_right_within_the_bound_or_refused", "test_the_kernel_that_ran_has_a_name"):
        assert ran[test] == ids
    assert ran["test_load_returns_the_framework"] == {elsewhere_name}


LOAD = """
import sys, types, backends
keras = types.ModuleType("keras")
keras.config = types.SimpleNamespace(backend=lambda: sys.argv[2])
sys.modules["keras"] = keras
try:
    backends.load(sys.argv[1])
except backends.BrokenFramework as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "package", "wanted", "other"),
    [
        ("tf_keras", "tensorflow", "tensorflow", "jax"),
        ("keras_jax", "jax", "jax", "tensorflow"),
        ("keras_torch", "torch", "torch", "tensorflow"),
    ],
)
def test_keras_on_another_backend_is_told_with_the_remedy(name: str, package: str, wanted: str, other: str) -> None:
    """Where Keras runs on another backend already, one line says so, and what to do."""
    pytest.importorskip(package)
    told = fresh(LOAD, name, other)
    assert told.startswith(f"{name} is installed but does not import: RuntimeError: Keras runs on {other}")
    assert f"start another process, with KERAS_BACKEND={wanted}" in told
    assert "\n" not in told


@pytest.mark.parametrize("name", ["keras_jax", "keras_torch"])
def test_keras_brings_no_tensorflow(name: str) -> None:
    """On another backend TensorFlow is not imported: its threads and its memory are nobody's there."""
    if registry.installed_version(name) is None:
        pytest.skip(f"{name} is not installed")
    code = "import sys, backends; backends.load(sys.argv[1]); print('tensorflow' in sys.modules)"
    assert fresh(code, name, flags=()) == "False"


def test_two_that_exclude_one_another_are_a_usage_error() -> None:
    """Asked for two of Keras's frameworks, the test run says that one process holds one, before any test runs."""
    words = ("-m", "pytest", "--framework", "keras_jax", "--framework", "tf_keras", "--collect-only", "-q")
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 4
    assert "Keras has one backend in a process, ask for one of tf_keras, keras_jax, keras_torch" in done.stderr


@pytest.mark.parametrize("absent", ["keras", "jax"])
def test_a_framework_of_two_packages_is_installed_where_both_are(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras without JAX, or JAX without Keras, is no keras_jax."""

    def version(package: str) -> str:
        if package == absent:
            raise importlib.metadata.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert registry.installed_version("keras_jax") is None
    assert registry.installed_version("numpy") == "1.0"
