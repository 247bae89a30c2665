"""What `recommend` offers to paste is run: each implementation's snippet, over the semantics it takes, held to the oracle."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from backends import backward, registry, snippets
from backends.accuracy import ILL_CONDITIONED, expect, judge, judge_all
from backends.execution import refuse
from backends.interface import Unsupported
from backends.visibility import as_four
from tests.helpers import implementation, make_problem, run, with_upstream

PROBLEMS = {
    "plain": make_problem(K=4, T=12, S=12, dtype="float32"),
    "grouped-causal": make_problem(T=12, S=12, causal="top_left", scale=0.2, dtype="float32"),
    "bottom-right": make_problem(causal="bottom_right", dtype="float32"),
    "cache": make_problem(T=1, causal="bottom_right", dtype="float32"),
    "cache-heads": make_problem(T=1, mask=(2, 4, 1, 20), hidden=0.3, dtype="float32"),
    "cache-bias": make_problem(T=1, kv_lengths=(20, 7), bias=(4, 1, 20), dtype="float32"),
    "lengths": make_problem(K=4, kv_lengths=(20, 7), dtype="float32"),
    "mask-bias": make_problem(mask=(2, 1, 12, 20), bias=(1, 4, 12, 20), hidden=0.3, dtype="float32"),
    "bias": make_problem(bias=(2, 1, 1, 20), V=8, dtype="float32"),
    "window-softcap": make_problem(causal="top_left", window=(3, None), softcap=5.0, T=20, dtype="float32"),
    "all": make_problem(
        mask=(2, 4, 12, 20), bias=(12, 20), hidden=0.1, kv_lengths=(20, 11), causal="bottom_right", softcap=4.0, dtype="float32"
    ),
    "bfloat16": make_problem(T=12, S=12, causal="top_left", mask=(2, 1, 12, 12), hidden=0.1, dtype="bfloat16"),
    "float16": make_problem(K=4, T=12, S=12, bias=(4, 12, 12), dtype="float16"),
    "float64": make_problem(T=12, S=12, causal="top_left", dtype="float64"),
}  # fmt: skip
COMPILED = ("torch/naive-compile", "torch/flex")
ONES = ("grouped-causal", "mask-bias", "cache-heads")
"""Of those that take ten seconds of a C++ compiler each, and of those that are a call of backends.attention."""


def namespace_of(id, problem):
    """The snippet's names, once it has run."""
    text = snippets.snippet(implementation(id), problem.inputs, problem.semantics)
    namespace = {}
    exec(compile(text, f"<snippet of {id}>", "exec"), namespace)
    return text, namespace


def arrays_of(id, problem, plain):
    """What the snippet's functions take, in the framework's own type, or as NumPy arrays."""
    inputs = problem.inputs
    four = {name: as_four(a) if name in ("mask", "bias") else a for name, a in inputs.extras().items()}
    given = [inputs.query, inputs.key, inputs.value, *four.values()]
    kinds = [inputs.dtype] * 3 + [{"mask": "bool", "kv_lengths": "int32"}.get(n, inputs.dtype) for n in inputs.extras()]
    if inputs.upstream is not None:
        given, kinds = [*given, inputs.upstream], [*kinds, inputs.dtype]
    framework = registry.load(id.partition("/")[0])
    if plain and not id.startswith("onnxruntime/"):
        return [framework.to_native(array, kind, "cpu") for array, kind in zip(given, kinds, strict=True)]
    if inputs.dtype == "bfloat16":
        import ml_dtypes

        kinds = [ml_dtypes.bfloat16 if kind == "bfloat16" else kind for kind in kinds]
    return [np.ascontiguousarray(array, dtype=kind) for array, kind in zip(given, kinds, strict=True)]


def back(id, array):
    """In NumPy, bfloat16 as float32, with the dtype that it had."""
    if isinstance(array, np.ndarray):
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array, array.dtype.name
    framework = registry.load(id.partition("/")[0])
    return framework.to_numpy(array), framework.dtype_of(array)


@pytest.fixture(autouse=True)
def x64_as_before(needs):
    """A float64 snippet switches JAX's 64 bits on, as its user has to; not for the tests after it."""
    yield
    import sys

    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", False)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_snippet_computes_what_was_asked_for(cpu_id):
    """Over a dozen problems: right within the bound of its implementation, or refused with the reason that it has."""
    chosen, held = implementation(cpu_id), 0
    few = cpu_id in COMPILED or not snippets.is_plain(cpu_id)
    if chosen.untimed:
        pytest.skip("never timed, and so never recommended")
    for name, problem in PROBLEMS.items():
        if few and name not in ONES:
            continue
        inputs, semantics = problem.inputs, problem.semantics
        try:
            refuse(chosen, inputs, semantics, "cpu")
            text, namespace = namespace_of(cpu_id, problem)
        except Unsupported:
            continue
        plain = snippets.is_plain(cpu_id)
        try:
            native = namespace["attention"](*arrays_of(cpu_id, problem, plain))
        except Exception:  # noqa: BLE001 - whatever the framework says
            with pytest.raises(Unsupported):  # what it cannot do shows in the call, in the framework's words
                run(cpu_id, problem)
            continue
        out, dtype = back(cpu_id, native)
        assert dtype == inputs.dtype, (name, text)
        expected, claims = expect(inputs, semantics), chosen.roundoffs(inputs.dtype)
        assert expected.score_error(claims) <= ILL_CONDITIONED
        verdict = judge(out, dtype, expected, claims)
        assert verdict.correct, f"{name}: {verdict.reason}\n{text}"
        assert plain != ("import backends" in text)
        held += 1
    assert held >= 2


def test_gradients_of_a_snippet(cpu_id):
    """Output and gradients, held to the oracle's; where there is no backward pass, it is refused."""
    if cpu_id in COMPILED:
        pytest.skip("ten seconds of a C++ compiler; the function is that of the same name without it")
    if implementation(cpu_id).untimed:
        pytest.skip("never timed, and so never recommended")
    chosen, problem = implementation(cpu_id), with_upstream(PROBLEMS["grouped-causal"])
    if cpu_id.endswith("keras-layer"):  # no grouped heads
        problem = with_upstream(PROBLEMS["plain"])
    inputs = problem.inputs
    if isinstance(chosen.gradient, str):
        with pytest.raises(Unsupported, match="no backward pass"):
            namespace_of(cpu_id, problem)
        return
    text, namespace = namespace_of(cpu_id, problem)
    plain = snippets.is_plain(cpu_id, backward=True)
    found = namespace["gradients"](*arrays_of(cpu_id, problem, plain))
    names = ("output", *backward.wanted(inputs))
    arrays = {name: back(cpu_id, array) for name, array in zip(names, found, strict=True)}
    verdict = judge_all(
        arrays, inputs.dtype, backward.expect_all(inputs, problem.semantics), chosen.roundoffs(inputs.dtype)
    )
    assert verdict.correct, f"{verdict.reason}\n{text}"


def test_every_plain_snippet_is_of_an_implementation():
    """No line of the table is for an id that is gone; plug-ins and forms of ours are called through backends.attention."""
    known = registry.implementations()
    assert set(snippets._PLAIN) <= set(known)
    mine = dataclasses.replace(known["numpy/naive"], id="numpy/mine")
    problem = PROBLEMS["grouped-causal"]
    text = snippets.snippet(mine, problem.inputs, problem.semantics, plugin="mine.py")
    assert "backends.load_plugin('mine.py')" in text
    assert 'implementation="numpy/mine", causal="top_left", scale=0.2)' in text


def test_a_wrong_snippet_is_caught():
    """The test above can fail: without its scale the snippet is not within the bound."""
    problem = PROBLEMS["grouped-causal"]
    text = snippets.snippet(implementation("numpy/naive"), problem.inputs, problem.semantics)
    namespace = {}
    exec(text.replace("* 0.2", "* 0.25"), namespace)
    out = namespace["attention"](*arrays_of("numpy/naive", problem, True))
    claims = implementation("numpy/naive").roundoffs("float32")
    assert not judge(out, "float32", expect(problem.inputs, problem.semantics), claims).correct
