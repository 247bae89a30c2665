"""The backward pass: the oracle's gradients against differences and autograd, and every implementation against the oracle."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backends
from backends import backward, execution, reference, registry
from backends.accuracy import judge_all
from backends.backward import expect_all
from backends.interface import Unsupported
from backends.problem import InvalidProblem, Semantics
from backends.visibility import visible
from tests.helpers import Problem, hold_gradients, implementation, make_problem, problems, with_upstream

ORACLE_PROBLEMS = (
    make_problem(1, B=1, T=3, S=4, N=2, K=1, H=3, V=2),
    make_problem(2, B=1, T=4, S=4, N=2, K=2, H=3, causal="top_left", bias=(2, 4, 4), softcap=1.5),
    make_problem(3, B=2, T=3, S=5, N=2, K=1, H=3, causal="bottom_right", window=(2, 0), bias=(2, 1, 3, 1), scale=-0.4),
    make_problem(4, B=2, T=2, S=3, N=1, K=1, H=2, kv_lengths=(3, 0), mask=(2, 3), bias=()),
)


@pytest.mark.parametrize("problem", [with_upstream(p) for p in ORACLE_PROBLEMS], ids=range(len(ORACLE_PROBLEMS)))
def test_the_oracle_is_the_slope_of_its_own_output(problem: Problem) -> None:
    """Central differences of sum(output * upstream), number by number."""
    inputs, step = problem.inputs, 1e-5
    found = backward.compute(inputs, problem.semantics)
    assert set(found) == set(backward.wanted(inputs))

    def loss(changed: Any) -> float:
        return float((reference.compute(changed, problem.semantics)[0] * inputs.upstream).sum())

    for name, gradient in found.items():
        array = getattr(inputs, name)
        for place in np.ndindex(array.shape):
            moved = []
            for sign in (1, -1):
                copy = array.copy()
                copy[place] += sign * step
                moved.append(loss(dataclasses.replace(inputs, **{name: copy})))
            assert gradient[place] == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-8), (name, place)


@pytest.mark.parametrize("scores_at_once", [1, 100, 1 << 19])
@pytest.mark.parametrize(
    "asked",
    [
        {"causal": "top_left"},
        {"causal": "bottom_right", "kv_lengths": (40, 3)},
        {"window": (4, 2), "bias": (2, 1, 1, 40)},
        {"window": (None, 0), "bias": (4, 30, 1), "softcap": 2.0},
        {"window": (3, None), "causal": "bottom_right", "bias": (2, 4, 30, 40), "kv_lengths": (0, 33)},
    ],
    ids=str,
)
def test_keys_out_of_sight_are_left_out_and_change_nothing(
    asked: dict[str, Any], scores_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of causal, windows and lengths the oracle computes what is in sight; of the same as a mask, all. Bounds included."""
    monkeypatch.setattr(reference, "_SCORES_AT_ONCE", scores_at_once)
    problem = with_upstream(make_problem(6, T=30, S=40, **asked))
    inputs, semantics = problem.inputs, problem.semantics
    seen = np.broadcast_to(visible(inputs, semantics), (2, 4, 30, 40))
    assert sum(block.scores.size for block in reference.rows(inputs, semantics)) < seen.size
    cut = expect_all(inputs, semantics)
    whole = expect_all(
        dataclasses.replace(inputs, mask=seen, kv_lengths=None),
        Semantics(softcap=semantics.softcap, scale=semantics.scale),
    )
    assert cut.keys() == whole.keys()
    for name, known in cut.items():
        np.testing.assert_allclose(known.out, whole[name].out, rtol=0, atol=1e-13, err_msg=name)
        for unit, coefficient in known.coefficients.items():
            expected = whole[name].coefficients[unit]
            if unit == "smallest":  # counted once for each block of rows that sees a key
                assert (coefficient <= expected * 1.00001).all(), name
            elif unit == "output":  # so is a rounding of the gradient of a key
                assert (coefficient >= np.abs(known.out) * 0.99999).all(), name
            else:
                np.testing.assert_allclose(coefficient, expected, rtol=1e-5, atol=1e-6, err_msg=f"{name} {unit}")


@pytest.mark.parametrize("problem", [with_upstream(p) for p in ORACLE_PROBLEMS], ids=range(len(ORACLE_PROBLEMS)))
def test_threads_share_a_large_problem_and_give_the_same(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks of rows for each head, in runs of several threads, against one after the other."""
    monkeypatch.setattr(reference, "_SCORES_AT_ONCE", problem.inputs.shape.S)
    alone = expect_all(problem.inputs, problem.semantics)
    monkeypatch.setattr(reference, "_SPREAD_FROM", 1)
    monkeypatch.setattr(reference, "threads", lambda: 3)
    shared = expect_all(problem.inputs, problem.semantics)
    assert shared.keys() == alone.keys()
    for name, told in alone.items():
        np.testing.assert_allclose(shared[name].out, told.out, rtol=1e-12, atol=1e-14)
        for unit, coefficient in told.coefficients.items():
            np.testing.assert_allclose(shared[name].coefficients[unit], coefficient, rtol=1e-5, atol=1e-30)


@settings(max_examples=30, deadline=None)
@given(problems(longest=16), st.integers(0, 99))
def test_the_oracle_agrees_with_float64_autograd_of_torch(problem: Problem, seed: int) -> None:
    """An expression that shares no line with ours, differentiated by somebody else."""
    torch = pytest.importorskip("torch", reason="torch differentiates here")
    problem = with_upstream(problem, seed)
    inputs, semantics, shape = problem.inputs, problem.semantics, problem.inputs.shape
    full = (shape.B, shape.N, shape.T, shape.S)
    seen = torch.tensor(np.broadcast_to(visible(inputs, semantics), full).copy())
    q, k, v = (torch.tensor(a, requires_grad=True) for a in (inputs.query, inputs.key, inputs.value))
    bias = None if inputs.bias is None else torch.tensor(inputs.bias, requires_grad=True)
    each = torch.arange(shape.N) // (shape.N // shape.K)
    scores = torch.einsum("btnh,bsnh->bnts", q, k[:, :, each]) * (
        shape.H**-0.5 if semantics.scale is None else semantics.scale
    )
    if semantics.softcap is not None:
        scores = semantics.softcap * torch.tanh(scores / semantics.softcap)
    if bias is not None:
        scores = scores + bias
    sees = seen.any(-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(~seen & sees, -torch.inf), -1) * sees
    out = torch.einsum("bnts,bsnv->btnv", weights, v[:, :, each])
    sources = {"query": q, "key": k, "value": v} | ({} if bias is None else {"bias": bias})
    theirs = torch.autograd.grad(out, list(sources.values()), torch.tensor(inputs.upstream))
    ours = backward.compute(inputs, semantics)
    for name, gradient in zip(sources, theirs, strict=True):
        np.testing.assert_allclose(ours[name], gradient.numpy(), rtol=1e-9, atol=1e-11, err_msg=name)


SLOW = ("torch/naive-compile", "torch/flex")
FEW = (
    make_problem(1, dtype="float32", V=24, mask=(2, 1, 12, 20), hidden=0.3, bias=(4, 12, 20), kv_lengths=(20, 7)),
    make_problem(2, dtype="float16", T=9, S=9, N=2, K=2, H=8, causal="bottom_right", window=(4, 1), softcap=20.0),
)
"""For those whose every problem takes a compiler seconds."""


def test_any_gradient_is_right_within_the_bound_or_refused(cpu_id: str) -> None:
    """Whatever the semantics: right gradients of query, key, value and bias, or Unsupported with a reason."""
    chosen, outcomes = implementation(cpu_id), Counter[str]()
    if cpu_id in SLOW:
        outcomes.update(hold_gradients(cpu_id, with_upstream(problem)) for problem in FEW)
    else:
        examples = 30 if chosen.compile is None and "jax" not in chosen.framework else 8

        @settings(max_examples=examples, deadline=None)
        @given(problems(dtypes=chosen.dtypes))
        def holds(problem: Problem) -> None:
            outcomes[hold_gradients(cpu_id, with_upstream(problem))] += 1

        holds()
    assert "refused without a reason" not in outcomes
    plain = with_upstream(make_problem(dtype="float32", T=9, S=9, N=2, K=2, H=8))
    refuses = isinstance(chosen.gradient, str) or cpu_id in REFUSED
    assert hold_gradients(cpu_id, plain) == ("refused" if refuses else "accepted")
    if cpu_id in REFUSED:
        with pytest.raises(Unsupported, match=REFUSED[cpu_id]):
            backends.gradients(**plain.arguments(), upstream=plain.inputs.upstream, implementation=cpu_id)


REFUSED = {"torch/flex": "no backward pass on the CPU"}
"""Implementations whose framework refuses every backward pass on the CPU, and why."""


@pytest.mark.parametrize("id", ["torch/naive", "jax/naive", "tf_keras/attention"])
def test_each_framework_s_own_autodiff_of_its_textbook_form_agrees(id: str) -> None:
    """In float64, to eleven digits: the standard means the same thing backwards in every framework."""
    pytest.importorskip({"tf_keras": "tensorflow"}.get(id.partition("/")[0], id.partition("/")[0]))
    problem = with_upstream(make_problem(5, T=7, S=9, causal="top_left", bias=(4, 7, 9), softcap=3.0))
    chosen = implementation(id)
    framework = registry.load(chosen.framework)
    found = execution.run(
        chosen, framework, execution.prepare(chosen, framework, problem.inputs, problem.semantics), problem.inputs
    )
    for name, gradient in backward.compute(problem.inputs, problem.semantics).items():
        np.testing.assert_allclose(found[name][0], gradient, rtol=1e-11, atol=1e-13, err_msg=name)


def test_gradients_come_in_the_shapes_and_dtype_of_their_arrays() -> None:
    """backends.gradients is attention and its way back, for NumPy's users."""
    problem = with_upstream(make_problem(dtype="float32", bias=(1, 12, 20)))
    arguments = problem.arguments() | {"upstream": problem.inputs.upstream}
    found = backends.gradients(**arguments)
    assert np.array_equal(found.output, backends.attention(**problem.arguments()))
    for name in backward.NAMES:
        own = getattr(found, name)
        assert own.shape == arguments[name].shape
        assert own.dtype == np.float32
    assert backends.gradients(**{**arguments, "bias": None}).bias is None


@pytest.mark.parametrize(("T", "S"), [(0, 4), (4, 0)])
def test_no_queries_or_no_keys_have_gradients_of_zero(T: int, S: int) -> None:
    problem = with_upstream(make_problem(T=T, S=S))
    found = backends.gradients(**problem.arguments(), upstream=problem.inputs.upstream)
    assert not found.key.any()
    assert found.query.shape == problem.inputs.query.shape


def test_a_gradient_that_is_not_returned_is_told_by_its_name() -> None:
    """The judge says which is missing."""
    given = with_upstream(make_problem())
    chosen, framework = registry.implementations("numpy")["numpy/naive"], registry.load("numpy")

    def forgetful(*arrays: Any, **keywords: Any) -> tuple[Any, ...]:
        out, of_query, _, *others = chosen.gradient(*arrays, **keywords)  # type: ignore[misc, operator]
        return (out, of_query, None, *others)

    own = dataclasses.replace(chosen, gradient=forgetful)
    prepared = execution.prepare(own, framework, given.inputs, given.semantics)
    found = execution.run(own, framework, prepared, given.inputs)
    expected = expect_all(given.inputs, given.semantics)
    told = judge_all(found, given.inputs.dtype, expected, own.roundoffs(given.inputs.dtype))
    assert not told.correct
    assert told.reason == "gradients of key: none returned"


def test_an_upstream_gradient_of_another_shape_is_refused() -> None:
    problem = make_problem()
    with pytest.raises(InvalidProblem, match=r"upstream has shape \(2, 12, 4, 3\), expected .*\(2, 12, 4, 16\)"):
        backends.gradients(**problem.arguments(), upstream=np.zeros((2, 12, 4, 3)))
    with pytest.raises(InvalidProblem, match="upstream has dtype float32, expected float64"):
        backends.gradients(**problem.arguments(), upstream=np.zeros((2, 12, 4, 16), np.float32))


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("id", ["numpy/naive", "numpy/blocked"])
def test_what_is_hidden_has_no_part_in_any_gradient(id: str, poison: float) -> None:
    """NaN and Inf in what is invisible leave the gradients of everything else as they were, and nobody is warned."""
    problem = with_upstream(make_problem(kv_lengths=(20, 7)))
    clean = backends.gradients(**problem.arguments(), upstream=problem.inputs.upstream, implementation=id)
    for name in ("key", "value"):
        array = getattr(problem.inputs, name).copy()
        array[1, 7:] = poison
        arguments = problem.arguments() | {name: array, "upstream": problem.inputs.upstream}
        for one, other in zip(clean, backends.gradients(**arguments, implementation=id), strict=True):
            assert one is None or np.array_equal(one, other)


@settings(max_examples=20, deadline=None)
@given(problems())
def test_the_log_sum_exp_of_numpy_is_the_oracle_s(problem: Problem) -> None:
    for id in ("numpy/naive", "numpy/blocked"):
        found = backends.log_sum_exp(**problem.arguments(), implementation=id)
        np.testing.assert_allclose(found, backends.reference.log_sum_exp(**problem.arguments()), rtol=1e-12, atol=1e-12)
