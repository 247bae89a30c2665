"""Frameworks are listed without being imported, and missing, broken or unknown ones are told apart in words that help."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import backends
from backends import registry
from backends.framework import Framework
from tests.helpers import fresh

HEAVY = {"tensorflow", "keras", "jax", "jaxlib", "torch", "onnx", "onnxruntime"}
HOOKS = [name for name in vars(Framework) if not name.startswith("_")]

LOAD = """
import sys, backends
try:
    backends.load(sys.argv[1])
except ImportError as error:
    print(type(error).__name__, error, sep=": ")
"""


def test_importing_backends_imports_nothing() -> None:
    """`import backends` costs microseconds: not even NumPy comes with it."""
    assert fresh(f"import sys, backends; print(sorted({HEAVY | {'numpy'}} & set(sys.modules)))") == "[]"


@pytest.mark.parametrize("call", ["names()", "implementations()", "implementations('jax')", "reference", "select"])
def test_listing_imports_no_framework(call: str) -> None:
    """Names, implementations and the oracle need none of the frameworks."""
    assert fresh(f"import sys, backends; backends.{call}; print(sorted({HEAVY} & set(sys.modules)))") == "[]"


def test_names_are_the_frameworks_in_order() -> None:
    """The frameworks of the contract, NumPy first, and the implementations in the same order."""
    assert backends.names()[:4] == ("numpy", "tf_keras", "jax", "torch")
    order = [backends.names().index(i.framework) for i in backends.implementations().values()]
    assert order == sorted(order)
    assert set(order) == set(range(len(backends.names())))


@pytest.mark.parametrize("name", registry.names())
def test_implementations_of_one_framework(name: str) -> None:
    """Asked for one framework, its implementations come, by their ids, and no others."""
    found = backends.implementations(name)
    assert found
    assert all(id == i.id and i.framework == name for id, i in found.items())


def test_every_public_name_is_there() -> None:
    """What __all__ promises can be had, and what it does not is an AttributeError with the name."""
    for name in backends.__all__:
        assert getattr(backends, name) is not None
    with pytest.raises(AttributeError, match="no_such"):
        backends.no_such  # noqa: B018


def test_load_returns_the_framework(framework_name: str) -> None:
    """An installed framework loads, twice as well as once, says its version and has a CPU."""
    framework = backends.load(framework_name)
    assert framework is backends.load(framework_name)
    assert str(registry.installed_version(framework_name)).partition("+")[0] in framework.version()
    assert "cpu" in framework.devices()
    assert all(isinstance(value, str) for value in framework.settings().values())
    assert "threads" in framework.settings()


@pytest.mark.parametrize("name", registry.names())
def test_every_module_offers_what_a_framework_must(name: str) -> None:
    """Each hook of the protocol is there with the same parameters, before the framework is loaded."""
    module = registry.module(name)
    for hook in HOOKS:
        wanted = list(inspect.signature(getattr(Framework, hook)).parameters)[1:]
        assert list(inspect.signature(getattr(module, hook)).parameters) == wanted, hook


@pytest.mark.parametrize("name", ["nonsense", "", "numpy/naive", "Torch"])
def test_an_unknown_framework_is_told_with_the_known_ones(name: str) -> None:
    """The message holds what was asked for and what there is."""
    with pytest.raises(backends.MissingFramework) as error:
        backends.load(name)
    assert repr(name) in str(error.value)
    assert "numpy, tf_keras, jax, torch" in str(error.value)
    with pytest.raises(backends.MissingFramework):
        backends.implementations(name)


def test_an_unknown_implementation_is_told_with_those_of_its_framework() -> None:
    """A slip in the name is answered with the names of the same framework."""
    import numpy as np

    a = np.zeros((1, 2, 1, 4), np.float32)
    with pytest.raises(KeyError) as error:
        backends.attention(a, a, a, implementation="numpy/nave")
    assert "numpy/nave" in str(error.value)
    assert "numpy/naive, numpy/blocked" in str(error.value)
    assert "torch/" not in str(error.value)
    with pytest.raises(KeyError, match="torch/naive"):
        backends.attention(a, a, a, implementation="nonsense/naive")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("tf_keras", "tensorflow"),
        ("tf_keras", "keras"),
        ("jax", "jax"),
        ("torch", "torch"),
        ("onnxruntime", "onnxruntime"),
        ("onnxruntime", "onnx"),
    ],
)
def test_a_missing_framework_is_told_with_the_remedy(name: str, package: str) -> None:
    """Where a package is not installed, the message names the framework, the package and the command that installs it."""
    hide = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
    if package == "keras" and registry.installed_version(name) is None:
        pytest.skip("without tensorflow, keras is not what is missing")
    told = fresh(hide + LOAD, name, flags=())
    assert told.startswith(f"MissingFramework: {name} is not installed")
    assert f"no module {package}" in told
    assert f'pip install -e ".[{name}]" -c constraints.txt' in told


BROKEN = {
    "an error of its own": (
        "raise ImportError('libcuda.so.1: cannot open shared object')",
        "libcuda.so.1: cannot open",
    ),
    "a missing dependency": ("import opt_einsum_that_is_not_there", "No module named 'opt_einsum_that_is_not_there'"),
    "a missing part": ("import {0}.no_such_part", "{0}.no_such_part"),
    "another kind of error": ("raise RuntimeError('built for another NumPy\\nsecond line')", "built for another NumPy"),
    "a slip in its code": ("def f(:", "SyntaxError"),
}


@pytest.mark.parametrize("name", ["tf_keras", "jax", "torch", "onnxruntime"])
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_framework_is_told_with_its_own_error(name: str, how: str, tmp_path: Path) -> None:
    """Installed but not importable is another thing than missing: the cause is shown, and no remedy that would not help."""
    package = registry.entry(name).packages[0]
    code, cause = BROKEN[how]
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(code.format(package))
    told = fresh(LOAD, name, path=tmp_path)
    assert told.startswith(f"BrokenFramework: {name} is installed but does not import: ")
    assert cause.format(package) in told
    assert "\n" not in told
    assert "pip install" not in told


@pytest.mark.parametrize("name", ["tf_keras", "jax", "torch", "onnxruntime"])
def test_a_broken_framework_breaks_no_other(name: str, tmp_path: Path) -> None:
    """While one framework fails, the list is complete and NumPy computes."""
    package = registry.entry(name).packages[0]
    (tmp_path / f"{package}.py").write_text("raise OSError('broken')")
    code = """
import numpy as np, backends
a = np.ones((1, 2, 1, 4), np.float32)
print(len(backends.implementations()), backends.attention(a, a, a).sum())
"""
    assert fresh(code, path=tmp_path) == f"{len(backends.implementations())} 8.0"


def test_every_framework_but_numpy_has_an_extra() -> None:
    """The install command names the extra that the project defines."""
    for name in backends.names()[1:]:
        assert f".[{name}]" in registry.install_command(name)
