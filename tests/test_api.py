"""backends.attention, called again: what was compiled for a problem serves those of its form, and no others."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from backends import execution, interface, numpy_backend, registry
from backends.accuracy import expect, judge
from tests.helpers import Problem, implementation, make_problem

FORM: dict[str, Any] = {"T": 9, "S": 9, "N": 2, "K": 2, "H": 8}
ID = "numpy/counted"


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    backends.implementations()
    monkeypatch.setattr(interface, "_REGISTERED", dict(interface.registered()))


def counted(monkeypatch: pytest.MonkeyPatch, framework: Any) -> list[str]:
    """The modes in which functions are compiled from here on, one for each."""
    compiled: list[str] = []
    compile = framework.compile

    def count(function: Any, mode: str) -> Any:
        compiled.append(mode)
        return function if framework is numpy_backend else compile(function, mode)

    monkeypatch.setattr(framework, "compile", count)
    return compiled


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often numpy/counted was compiled: numpy/naive with a mode, which NumPy itself does not have."""
    backends.implementation(ID, layout="BNTH", compile="jit")(numpy_backend.naive)
    return counted(monkeypatch, numpy_backend)


def asked(problem: Problem, id: str = ID) -> np.ndarray:
    """What attention gives, held to the oracle."""
    out = backends.attention(**problem.arguments(), implementation=id)
    dtype = problem.inputs.dtype
    verdict = judge(out, dtype, expect(problem.inputs, problem.semantics), implementation(id).roundoffs(dtype))
    assert verdict.correct, verdict.reason
    return out


EVERYTHING = {"mask": (2, 1, 9, 9), "bias": (2, 9, 9), "kv_lengths": (9, 5), "window": (4, 2), "softcap": 20.0}


@pytest.mark.parametrize("semantics", [{}, EVERYTHING], ids=["plain", "everything"])
def test_equal_problems_are_compiled_once(compiled: list[str], semantics: dict[str, Any]) -> None:
    """Other numbers in the same form find the function compiled, and give another answer: the right one."""
    outs = [asked(make_problem(seed, **FORM, **semantics)) for seed in (1, 1, 2)]
    assert compiled == ["jit"]
    assert np.array_equal(outs[0], outs[1])
    assert not np.array_equal(outs[0], outs[2])


@pytest.mark.parametrize("extra", ["mask", "bias", "kv_lengths"])
def test_no_extra_array_is_captured(compiled: list[str], extra: str) -> None:
    """Another mask, bias or lengths beside the same query, key and value are no reason to compile, and are obeyed."""
    first, second = (make_problem(1, **FORM, **{extra: EVERYTHING[extra]}) for _ in range(2))
    array = getattr(second.inputs, extra)
    array[...] = np.roll(array, 1, axis=-1)
    assert not np.array_equal(asked(first), asked(second))
    assert compiled == ["jit"]


@pytest.mark.parametrize(
    "other",
    [
        {"B": 1},
        {"T": 8},
        {"S": 8},
        {"N": 4},
        {"H": 4},
        {"V": 4},
        {"dtype": "float32"},
        {"mask": (9, 9)},
        {"mask": (2, 1, 9, 9)},
        {"bias": (9, 9)},
        {"kv_lengths": (9, 5)},
        {"causal": "top_left"},
        {"causal": "bottom_right"},
        {"window": (2, 1)},
        {"softcap": 2.0},
        {"scale": 0.5},
    ],
    ids=str,
)
def test_another_form_is_compiled_anew(compiled: list[str], other: dict[str, Any]) -> None:
    """Another shape, dtype, extra array or semantics is another function; the first is still there afterwards."""
    first, second = make_problem(**FORM), make_problem(**FORM | other)
    for problem in (first, second, first, second):
        asked(problem)
    assert len(compiled) == 2


def test_one_mask_shape_is_not_another(compiled: list[str]) -> None:
    """A mask that is broadcast differently is another form; leading axes of size 1 may be left out of it."""
    for shape in ((9, 9), (1, 1, 9, 9), (1, 9)):
        asked(make_problem(**FORM, mask=shape, hidden=0.2))
    assert len(compiled) == 2


def test_a_plugin_that_is_loaded_again_is_compiled_again(compiled: list[str], tmp_path: Path) -> None:
    """The new code runs, not what was compiled of the old."""
    code = """
from backends import implementation

@implementation("numpy/mine", compile="jit", dtypes=["float64"])  # a list, which has no hash
def attention(query, key, value):
    return value + {}
"""
    problem, path = make_problem(**FORM), tmp_path / "mine.py"
    for number in ("1", "22"):  # of another length: a file of the same second and size is cached by Python
        path.write_text(code.format(number))
        backends.load_plugin(path)
        for _ in range(2):
            out = backends.attention(**problem.arguments(), implementation="numpy/mine")
            assert np.array_equal(out, problem.inputs.value + int(number))
    assert len(compiled) == 2


def test_the_same_function_registered_in_another_way_is_compiled_again(compiled: list[str]) -> None:
    """What is kept belongs to the implementation, not to its function."""
    asked(make_problem(**FORM))
    backends.implementation(ID, layout="BNTH", compile="xla")(numpy_backend.naive)
    asked(make_problem(**FORM))
    assert compiled == ["jit", "xla"]


def test_what_is_kept_is_bounded(compiled: list[str]) -> None:
    """After many other forms the first is compiled again; the last ones are not."""
    scales = [0.01 * n for n in range(1, 101)]
    for scale in (*scales, scales[-1], scales[0]):
        asked(make_problem(**FORM, scale=scale))
    assert len(compiled) == len(scales) + 1


def test_the_harness_compiles_for_each_cell(compiled: list[str]) -> None:
    """Without being told to keep it, each preparation has a function of its own: no cell warms up another."""
    problem = make_problem(**FORM)
    asked(problem)
    chosen, framework = implementation(ID), registry.load("numpy")
    first, second = (execution.prepare(chosen, framework, problem.inputs, problem.semantics) for _ in range(2))
    assert len(compiled) == 3
    assert first.function is not second.function
    again = execution.prepare(chosen, framework, problem.inputs, problem.semantics, reuse=first)
    assert again.function is first.function


def test_a_refusal_is_not_kept(compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a compiler is missing, attention refuses; once it is there, it computes."""

    def refuse(function: Any, mode: str) -> Any:
        raise backends.Unsupported("no compiler")

    with monkeypatch.context() as missing:
        missing.setattr(numpy_backend, "compile", refuse)
        for _ in range(2):
            with pytest.raises(backends.Unsupported, match="no compiler"):
                asked(make_problem(**FORM))
    asked(make_problem(**FORM))
    assert compiled == ["jit"]


COMPILED = [
    "tf_keras/attention-function",
    "tf_keras/attention-xla",
    "jax/naive-jit",
    "jax/chunked",
    pytest.param("torch/naive-compile", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("id", COMPILED)
def test_each_compiler_serves_several_threads(id: str, needs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called with other numbers, also by several threads at once, what was compiled once gives each its right answer."""
    compiled = counted(monkeypatch, needs(implementation(id).framework))
    interface._REGISTERED[id] = dataclasses.replace(implementation(id))  # another one: nothing is kept for it
    problems = [make_problem(seed, **FORM, dtype="float32", causal="top_left") for seed in range(5)]
    outs = [asked(problem, id) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda problem: asked(problem, id), problems * 4))
    assert len(compiled) == 1
    assert all(np.array_equal(one, other) for one, other in zip(outs * 4, again, strict=True))
