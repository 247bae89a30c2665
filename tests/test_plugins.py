"""A plug-in is one file: a good one is listed and runs, a bad one is told in one line and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import backends
from backends import interface
from tests.helpers import fresh, make_problem

GOOD = """
from backends import Unsupported, implementation

@implementation("numpy/mine", accepts={"scale"})
def attention(query, key, value, *, scale=None):
    \"\"\"The first key's value.\"\"\"
    if query.shape[1] > 20:
        raise Unsupported("no long queries")
    return value[:, :1].repeat(query.shape[1], 1)
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    backends.implementations()
    monkeypatch.setattr(interface, "_REGISTERED", dict(interface.registered()))
    return


@pytest.fixture
def write(tmp_path: Path) -> Iterator[object]:
    """write("code") makes a plug-in file; names are counted up."""
    count = iter(range(99))

    def make(code: str, name: str = "plugin{}.py") -> Path:
        path = tmp_path / name.format(next(count))
        path.write_text(code)
        return path

    return make  # type: ignore[return-value]


def refused(path: Path | str) -> str:
    """The message of the refusal, which is one line and names the file; nothing has been registered."""
    before = dict(interface.registered())
    with pytest.raises(backends.PluginError) as error:
        backends.load_plugin(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert dict(interface.registered()) == before, "a refused plug-in left its implementations behind"
    return str(error.value)


def test_a_good_plugin_is_listed_and_runs(write) -> None:
    """The ids that it defines are returned, listed among those of its framework, and can be asked for."""
    path = write(GOOD)
    assert backends.load_plugin(path) == ("numpy/mine",)
    mine = backends.implementations("numpy")["numpy/mine"]
    assert mine.summary == "The first key's value."
    problem = make_problem(N=2, K=2)
    out = backends.attention(**problem.arguments(), implementation="numpy/mine")
    assert np.array_equal(out, problem.inputs.value[:, :1].repeat(12, 1))
    with pytest.raises(backends.Unsupported, match="no long queries"):
        backends.attention(**make_problem(T=21, N=2, K=2).arguments(), implementation="numpy/mine")
    with pytest.raises(backends.Unsupported, match="no softcap"):
        backends.attention(**problem.arguments(), softcap=2.0, implementation="numpy/mine")


def test_the_path_may_be_text(write) -> None:
    """A path as text, as the command line has it, will do."""
    assert backends.load_plugin(str(write(GOOD))) == ("numpy/mine",)


def test_a_plugin_may_define_several(write) -> None:
    """All ids come back, in the order of the file, also of frameworks that are not imported by that."""
    code = GOOD + GOOD.replace("numpy/mine", "jax/mine") + GOOD.replace("numpy/mine", "torch/mine")
    assert backends.load_plugin(write(code)) == ("numpy/mine", "jax/mine", "torch/mine")


def test_the_same_file_may_be_loaded_again(write) -> None:
    """Loading a file twice, edited in between, gives its ids again and runs the new code."""
    path = write(GOOD)
    backends.load_plugin(path)
    path.write_text(
        GOOD.replace("[:, :1]", "[:, 1:2]") + "# longer, for a file of the same second and size is cached\n"
    )
    assert backends.load_plugin(path) == ("numpy/mine",)
    problem = make_problem(N=2, K=2)
    out = backends.attention(**problem.arguments(), implementation="numpy/mine")
    assert np.array_equal(out, problem.inputs.value[:, 1:2].repeat(12, 1))


def test_a_missing_file(tmp_path: Path) -> None:
    """What is not there, or a folder, is not a file."""
    assert "is not a file" in refused(tmp_path / "none.py")
    assert "is not a file" in refused(tmp_path)


def test_a_file_of_another_kind(write) -> None:
    """A name that does not end in .py is not Python."""
    assert "ends in .py" in refused(write(GOOD, "plugin.txt"))


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("def attention(:", "SyntaxError"),
        ("raise RuntimeError('no such\\nluck')", "RuntimeError: no such"),
        ("import no_such_module", "No module named 'no_such_module'"),
        (GOOD + "raise RuntimeError('at the end')", "RuntimeError: at the end"),
        (GOOD.replace('"scale"', '"scail"'), "scail"),
        (GOOD.replace('accepts={"scale"}', 'layout="THB"'), "THB"),
        (GOOD.replace("numpy/mine", "mine"), "framework/name"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_file_that_does_not_import(write, code: str, cause: str) -> None:
    """Its own error is shown, and what it had registered before the error is not kept."""
    message = refused(write(code))
    assert "does not import" in message
    assert cause in message


def test_a_file_that_defines_nothing(write) -> None:
    """A file without the decorator is told of it."""
    assert "@backends.implementation" in refused(write("x = 1\n"))


def test_an_id_of_an_unknown_framework(write) -> None:
    """The message holds the id and the frameworks that there are, and the id is not listed afterwards."""
    message = refused(write(GOOD.replace("numpy/mine", "cupy/mine")))
    assert "cupy/mine" in message
    assert "numpy, tf_keras, jax, torch" in message
    assert "cupy/mine" not in backends.implementations()


@pytest.mark.parametrize("id", ["numpy/naive", "jax/nn"])
def test_an_id_that_is_taken(write, id: str) -> None:
    """A built-in implementation cannot be replaced: the message asks for another name."""
    message = refused(write(GOOD.replace("numpy/mine", id)))
    assert f"{id!r} is taken" in message
    assert "choose another name" in message


def test_two_plugins_cannot_share_an_id(write) -> None:
    """The second file of the same id is refused, the first one stays."""
    first = write(GOOD)
    backends.load_plugin(first)
    assert "'numpy/mine' is taken" in refused(write(GOOD))


def test_an_id_is_taken_before_its_module_has_been_imported(write) -> None:
    """Whether anything was listed before does not matter: a plug-in cannot take a built-in id and so break the list."""
    code = """
import sys, backends
try:
    backends.load_plugin(sys.argv[1])
except backends.PluginError as error:
    print("taken" in str(error), "numpy/naive" in backends.implementations())
"""
    assert fresh(code, str(write(GOOD.replace("numpy/mine", "numpy/naive")))) == "True True"


def test_loading_a_plugin_imports_no_framework(write) -> None:
    """A plug-in for JAX is listed where JAX is not imported, like the built-in ones."""
    code = """
import sys, backends
print(*backends.load_plugin(sys.argv[1]), "jax/mine" in backends.implementations(), "jax" in sys.modules)
"""
    assert fresh(code, str(write(GOOD.replace("numpy/mine", "jax/mine")))) == "jax/mine True False"


def test_a_plugin_has_the_same_module_in_every_process(write) -> None:
    """What one process has pickled, or a compiler has kept on the disk, another one finds again."""
    code = """
import sys, backends
backends.load_plugin(sys.argv[1])
print(backends.implementations("numpy")["numpy/mine"].function.__module__)
"""
    path = str(write(GOOD))
    assert fresh(code, path) == fresh(code, path)
