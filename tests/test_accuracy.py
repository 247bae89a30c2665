"""The tester is tested: planted wrong answers are caught, right answers by other roads are accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backends
from backends import reference
from backends.accuracy import ILL_CONDITIONED, Judgement, Roundoffs, expect, judge, naive_error, round_to
from tests.helpers import Problem, make_problem, run

CLAIMS = {
    "float64": Roundoffs.of("float64"),
    "float32": Roundoffs.of("float32"),
    "float16": Roundoffs.of("float16", accumulate="float32"),
    "bfloat16": Roundoffs.of("bfloat16", accumulate="float32"),
}


def everything(dtype: str) -> Problem:
    """All semantics at once, with rows that see no key: wherever an implementation errs, something here shows it."""
    return make_problem(
        dtype=dtype,
        S=14,
        mask=(2, 1, 12, 14),
        hidden=0.3,
        bias=(4, 12, 14),
        kv_lengths=(14, 9),
        causal="bottom_right",
        window=(10, 0),
        softcap=4.0,
    )


def oracle(problem: Problem, **changed: Any) -> np.ndarray:
    """The oracle's output, rounded to the problem's dtype; some arguments replaced, None takes one away."""
    asked = {**problem.arguments(), **changed}
    return round_to(reference.attention(**asked).astype(np.float64), problem.inputs.dtype)


def judged(out: np.ndarray, problem: Problem) -> Judgement:
    """The verdict on `out` by what its dtype claims."""
    i = problem.inputs
    return judge(out, i.dtype, expect(i, problem.semantics), CLAIMS[i.dtype])


def with_one(value: float) -> Callable[[Problem], np.ndarray]:
    def plant(problem: Problem) -> np.ndarray:
        out = oracle(problem)
        out[1, 7, 2, 5] = value
        return out

    return plant


def one_wrong_row(problem: Problem) -> np.ndarray:
    out = oracle(problem)
    out[0, 8, 1] = out[0, 9, 1]
    return out


def one_wrong_number(problem: Problem) -> np.ndarray:
    out = oracle(problem)
    out[0, 8, 1, 3] += 0.15
    return out


def causal_off_by_one(problem: Problem) -> np.ndarray:
    shape = problem.inputs.shape
    before, after = (np.tri(shape.T, shape.S, shape.S - shape.T + k, dtype=bool) for k in (-11, 1))
    return oracle(problem, causal=None, window=None, mask=problem.inputs.mask & after & ~before)


def mean_in_empty_rows(problem: Problem) -> np.ndarray:
    i = problem.inputs
    mask = np.broadcast_to(i.mask, (2, 4, 12, 14)).copy()
    mask[1, :, 10] = False
    i.mask = mask
    out = oracle(problem)
    out[1, 10] = np.repeat(i.value[1].mean(axis=0), 2, axis=0)
    return round_to(out, i.dtype)


def query_heads_taken_in_turn(problem: Problem) -> np.ndarray:
    i = problem.inputs
    return oracle(problem, key=i.key[:, :, [0, 1, 0, 1]], value=i.value[:, :, [0, 1, 0, 1]])


def softcap_after_the_bias(problem: Problem) -> np.ndarray:
    i = problem.inputs
    scores = np.einsum("btnh,bsnh->bnts", i.query.astype(float), np.repeat(i.key, 2, axis=2).astype(float)) / 4
    bias = 4 * np.tanh((scores + i.bias) / 4) - 4 * np.tanh(scores / 4)
    return oracle(problem, bias=bias.astype(i.bias.dtype))


WRONG: dict[str, Callable[[Problem], np.ndarray]] = {
    "a NaN": with_one(np.nan),
    "an infinity": with_one(np.inf),
    "one wrong row": one_wrong_row,
    "one wrong number": one_wrong_number,
    "two heads swapped": lambda p: oracle(p)[:, :, [1, 0, 2, 3]],
    "two batch elements swapped": lambda p: oracle(p)[::-1],
    "causal off by one": causal_off_by_one,
    "top-left for bottom-right": lambda p: oracle(p, causal="top_left"),
    "not causal": lambda p: oracle(p, causal=None),
    "mean(V) in an empty row": mean_in_empty_rows,
    "no mask": lambda p: oracle(p, mask=None),
    "the mask turned round": lambda p: oracle(p, mask=~p.inputs.mask),
    "batch 0's mask for all": lambda p: oracle(p, mask=p.inputs.mask[:1]),
    "no bias": lambda p: oracle(p, bias=None),
    "head 0's bias for all": lambda p: oracle(p, bias=p.inputs.bias[:1]),
    "no key lengths": lambda p: oracle(p, kv_lengths=None),
    "the last key dropped": lambda p: oracle(p, kv_lengths=p.inputs.kv_lengths - 1),
    "no window": lambda p: oracle(p, window=None),
    "window short by one": lambda p: oracle(p, window=(9, 0)),
    "no softcap": lambda p: oracle(p, softcap=None),
    "softcap after the bias": softcap_after_the_bias,
    "no scale": lambda p: oracle(p, scale=1.0),
    "query heads taken in turn": query_heads_taken_in_turn,
    "key/value heads swapped": lambda p: oracle(p, key=p.inputs.key[:, :, ::-1], value=p.inputs.value[:, :, ::-1]),
    "nothing computed": lambda p: np.zeros_like(oracle(p)),
}


@pytest.mark.parametrize("dtype", CLAIMS)
@pytest.mark.parametrize("mistake", WRONG)
def test_a_planted_mistake_is_caught(mistake: str, dtype: str) -> None:
    """Each mistake is out of bound even by the widest claim, bfloat16's, and the reason says where and by how much."""
    problem = everything(dtype)
    verdict = judged(WRONG[mistake](problem), problem)
    assert not verdict.correct
    assert not verdict.error_over_bound <= 1
    for word in ("out of bound", "(b,t,n,v)=", "got", "expected"):
        assert word in verdict.reason


@pytest.mark.parametrize("dtype", CLAIMS)
def test_the_mistakes_are_the_only_difference(dtype: str) -> None:
    """The same problem without a mistake is accepted, so that it is the mistake that is caught above."""
    problem = everything(dtype)
    verdict = judged(oracle(problem), problem)
    assert verdict.correct
    assert verdict.reason == ""
    assert verdict.error_over_bound <= 1


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_scale_that_is_off_by_one_percent_is_caught(dtype: str) -> None:
    """One percent is out of bound wherever the dtype itself is finer than that."""
    problem = make_problem(dtype=dtype)
    assert not judged(oracle(problem, scale=1.01 / 4), problem).correct


@pytest.mark.parametrize("dtype", CLAIMS)
def test_a_scale_from_the_value_size_is_caught(dtype: str) -> None:
    """V ** -0.5 instead of H ** -0.5."""
    problem = make_problem(dtype=dtype, H=16, V=8)
    assert not judged(oracle(problem, scale=8**-0.5), problem).correct


@pytest.mark.parametrize("shape", [(2, 11, 4, 16), (2, 4, 12, 16), (8, 12, 16), (2, 12, 4), (0,), ()])
def test_a_wrong_shape_is_a_verdict_with_both_shapes(shape: tuple[int, ...]) -> None:
    """The judge does not raise, and names the shape it got and the one it expected."""
    verdict = judged(np.zeros(shape, np.float32), make_problem(dtype="float32"))
    assert not verdict.correct
    assert str(shape) in verdict.reason
    assert "(2, 12, 4, 16)" in verdict.reason


def float16_sums(problem: Problem) -> np.ndarray:
    """Attention on float32 numbers whose products are summed in float16."""
    i = problem.inputs
    scores = np.zeros((2, 4, 12, 20), np.float16)
    for h in range(16):
        key = np.repeat(i.key[..., h], 2, axis=2)
        scores += np.einsum("btn,bsn->bnts", i.query[..., h], key).astype(np.float16)
    weights = np.exp(scores.astype(np.float32) / 4)
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("bnts,bsnv->btnv", weights, np.repeat(i.value, 2, axis=2))


def test_sums_in_less_than_the_claimed_precision_are_caught() -> None:
    """float16 sums inside of a float32 problem are not the arithmetic that was claimed, and fit a claim that says so."""
    problem = make_problem(dtype="float32")
    out = float16_sums(problem)
    assert not judged(out, problem).correct
    honest = Roundoffs.of("float32", accumulate="float16", score="float16")
    assert judge(out, "float32", expect(problem.inputs, problem.semantics), honest).correct


def test_probabilities_in_less_than_the_claimed_precision_are_caught() -> None:
    """Probabilities rounded to bfloat16 in a float32 problem are out of bound."""
    problem = make_problem(dtype="float32", N=1, K=1, B=1)
    block = next(reference.rows(problem.inputs, problem.semantics))
    out = round_to(block.probability.astype(np.float32), "bfloat16") @ block.value
    assert not judged(out[None, :, None], problem).correct


def blocked(problem: Problem, tile: int, order: int = 1, *, base2: bool = False) -> np.ndarray:
    """float32 attention tile by tile with a running softmax; order=-1 walks the keys backwards, base2 uses exp2."""
    i = problem.inputs
    query, key, value = (a.astype(np.float32).swapaxes(1, 2) for a in (i.query, i.key, i.value))
    key, value = (np.repeat(a, query.shape[1] // key.shape[1], axis=1)[:, :, ::order] for a in (key, value))
    factor = np.float32(query.shape[-1] ** -0.5 * (np.log2(np.e) if base2 else 1.0))
    exp = np.exp2 if base2 else np.exp
    bias = np.broadcast_to(np.float32(0) if i.bias is None else i.bias, (*query.shape[:3], key.shape[2]))[..., ::order]
    highest = np.full((*query.shape[:3], 1), -np.inf, np.float32)
    total, sums = np.zeros_like(highest), np.zeros((*query.shape[:3], value.shape[-1]), np.float32)
    for s in range(0, key.shape[2], tile):
        scores = query @ key[:, :, s : s + tile].swapaxes(-1, -2) * factor
        scores += bias[..., s : s + tile].astype(np.float32) * np.float32(np.log2(np.e) if base2 else 1.0)
        raised = np.maximum(highest, scores.max(axis=-1, keepdims=True))
        weights, kept = exp(scores - raised), exp(highest - raised)
        total, sums = (
            total * kept + weights.sum(axis=-1, keepdims=True),
            sums * kept + weights @ value[:, :, s : s + tile],
        )
        highest = raised
    return round_to((sums / total).swapaxes(1, 2), i.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("how", [(300, 1, False), (1, 1, False), (7, -1, False), (64, -1, True), (300, 1, True)])
@pytest.mark.parametrize("shape", [{}, {"T": 1, "S": 300, "H": 64}, {"S": 200, "bias": (4, 12, 200), "V": 3}])
def test_right_answers_by_other_roads_are_accepted(
    dtype: str, how: tuple[int, int, bool], shape: dict[str, Any]
) -> None:
    """Other orders of summation, tiles of any size and exp2 are as right, whatever the dtype of the arrays."""
    problem = make_problem(dtype=dtype, **shape)
    tile, order, base2 = how
    verdict = judged(blocked(problem, tile, order, base2=base2), problem)
    assert verdict.correct, verdict.reason


@pytest.mark.parametrize("id", ["numpy/naive", "numpy/blocked"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])  # in float64 NumPy may do bit for bit what the oracle does
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"T": 64, "S": 64},
        {"T": 1, "S": 500, "H": 64},
        {"bias": (4, 12, 20)},
        {"causal": "top_left", "softcap": 5.0},
    ],
)
def test_the_bound_is_near_the_errors_that_occur(id: str, dtype: str, shape: dict[str, Any]) -> None:
    """Right answers use between 0.5 % and all of the bound: it is neither broken nor so wide that it lets all pass."""
    problem = make_problem(dtype=dtype, **shape)
    claims = backends.implementations("numpy")[id].roundoffs(dtype)
    verdict = judge(run(id, problem)[0], dtype, expect(problem.inputs, problem.semantics), claims)
    assert 0.005 <= verdict.error_over_bound <= 1
    assert verdict.correct


def test_the_bound_is_linear_in_the_roundoffs() -> None:
    """Two claims added have the two bounds added, apart from the oracle's own roundoff, which is in each of them."""
    problem = everything("float32")
    expected = expect(problem.inputs, problem.semantics)
    own = expected.bound(Roundoffs(0, 0, 0, 0, 0))
    a, b = Roundoffs(1e-7, 2e-7, 3e-7, 4e-7, 1e-9), Roundoffs(5e-4, 1e-4, 7e-4, 2e-4, 1e-5)
    both = Roundoffs(*(getattr(a, name) + getattr(b, name) for name in Roundoffs.__slots__))
    parts = (expected.bound(a) - own) + (expected.bound(b) - own)
    np.testing.assert_allclose(expected.bound(both) - own, parts, rtol=1e-12)
    assert (own > 0).all()
    assert own.max() < 1e-12


def test_ill_conditioned_inputs_are_told_as_such() -> None:
    """Where scores may be off by more than the analysis allows, the judge says so rather than to accept or to blame."""
    problem = make_problem(dtype="float16")
    problem.inputs.query *= 200
    assert expect(problem.inputs, problem.semantics).score_error(CLAIMS["float16"]) > ILL_CONDITIONED
    verdict = judged(oracle(problem), problem)
    assert not verdict.correct
    for word in ("ill-conditioned", "float16", "nats"):
        assert word in verdict.reason


def test_the_naive_yardstick_is_of_the_size_of_the_dtype() -> None:
    """The textbook computation errs more in narrower dtypes, and never by more than the bound that it would claim."""
    errors = []
    for dtype in ("float32", "float16", "bfloat16"):  # in float64 it may do bit for bit what the oracle does
        problem, claims = everything(dtype), CLAIMS[dtype]
        expected = expect(problem.inputs, problem.semantics)
        errors.append(naive_error(problem.inputs, problem.semantics, expected))
        assert 0 < errors[-1] <= expected.bound(claims).max()
    assert errors == sorted(errors)
