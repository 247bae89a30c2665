"""The oracle against what this project did not write: torch, jax.nn, SciPy, and loops over single numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings

from backends import reference
from tests.helpers import Problem, make_problem, problems

INF, NAN = math.inf, math.nan


def oracle(problem: Problem, **changed: Any) -> np.ndarray:
    """The oracle's output, some arguments replaced."""
    return reference.attention(**{**problem.arguments(), **changed})


def log_sum_exp(problem: Problem, **changed: Any) -> np.ndarray:
    """The oracle's log-sum-exp, some arguments replaced."""
    return reference.log_sum_exp(**{**problem.arguments(), **changed})


def by_einsum(problem: Problem, seen: Any = True, bias: Any = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Output and log-sum-exp as SciPy has them; every row must see a key."""
    i, scale = problem.inputs, problem.semantics.scale
    groups = i.query.shape[2] // i.key.shape[2]
    key, value = np.repeat(i.key, groups, axis=2), np.repeat(i.value, groups, axis=2)
    scores = np.einsum("btnh,bsnh->bnts", i.query, key) * (i.query.shape[-1] ** -0.5 if scale is None else scale)
    scores = np.where(seen, scores + bias, -INF)
    out = np.einsum("bnts,bsnv->btnv", scipy.special.softmax(scores, axis=-1), value)
    return out, np.moveaxis(scipy.special.logsumexp(scores, axis=-1), 1, 2)


def sees(problem: Problem, b: int, n: int, t: int, s: int) -> bool:
    """The standard's words on visibility, for a single pair."""
    i, m = problem.inputs, problem.semantics
    diagonal = t + (i.key.shape[1] - i.query.shape[1] if m.causal == "bottom_right" else 0)
    left, right = m.window or (None, None)
    return (
        (m.causal is None or s <= diagonal)
        and (left is None or s >= diagonal - left)
        and (right is None or s <= diagonal + right)
        and (i.kv_lengths is None or s < i.kv_lengths[b])
        and (i.mask is None or bool(at(problem, i.mask, b, n, t, s)))
    )


def at(problem: Problem, array: np.ndarray, *place: int) -> Any:
    """One number of a mask or bias."""
    shape = problem.inputs.shape
    return np.broadcast_to(array, (shape.B, shape.N, shape.T, shape.S))[place]


def by_loops(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Output and log-sum-exp from loops over single numbers, with nothing clever in them."""
    i, m, shape = problem.inputs, problem.semantics, problem.inputs.shape
    out, lse = np.zeros((shape.B, shape.T, shape.N, shape.V)), np.full((shape.B, shape.T, shape.N), -INF)
    scale = 1 / math.sqrt(shape.H) if m.scale is None else m.scale
    for b, t, n in np.ndindex(shape.B, shape.T, shape.N):
        k = n // (shape.N // shape.K)
        weights: dict[int, float] = {}
        for s in range(shape.S):
            if not sees(problem, b, n, t, s):
                continue
            score = scale * math.fsum(x * y for x, y in zip(i.query[b, t, n], i.key[b, s, k], strict=True))
            if m.softcap is not None:
                score = m.softcap * math.tanh(score / m.softcap)
            weights[s] = math.exp(score + (0.0 if i.bias is None else at(problem, i.bias, b, n, t, s)))
        if weights:
            total = math.fsum(weights.values())
            lse[b, t, n] = math.log(total)
            for v in range(shape.V):
                out[b, t, n, v] = math.fsum(w / total * i.value[b, s, k, v] for s, w in weights.items())
    return out, lse


def close(got: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-12) -> None:
    """Equal within the tolerance, infinities included."""
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


@settings(max_examples=60)
@given(problems(longest=5))
def test_any_problem_equals_loops_over_single_numbers(problem: Problem) -> None:
    """Whatever the semantics, output and log-sum-exp are what the definition gives number by number."""
    out, lse = by_loops(problem)
    close(oracle(problem), out)
    close(log_sum_exp(problem), lse)


@pytest.mark.parametrize(("T", "S"), [(1, 1), (7, 7), (5, 9), (9, 5)])
def test_plain_attention_equals_scipy(T: int, S: int) -> None:
    """Without any masking it is SciPy's softmax between two einsums, and SciPy's logsumexp."""
    problem = make_problem(T=T, S=S, N=3, K=3, H=5, V=7)
    out, lse = by_einsum(problem)
    close(oracle(problem), out)
    close(log_sum_exp(problem), lse)


@pytest.mark.parametrize("causal", [None, "top_left"])
@pytest.mark.parametrize("extra", ["nothing", "mask", "bias"])
def test_equals_torch_in_float64(needs: Callable[[str], Any], causal: str | None, extra: str) -> None:
    """Torch's textbook kernel computes in float64 throughout and agrees to 1e-12."""
    torch = needs("torch").torch
    full = (2, 4, 12, 20)
    problem = make_problem(mask=full if extra == "mask" else None, bias=full if extra == "bias" else None, hidden=0.3)
    i = problem.inputs
    added = np.zeros(full) if i.bias is None else i.bias
    hidden = np.triu(np.ones((12, 20), bool), 1) if causal else np.zeros((12, 20), bool)
    if i.mask is not None:
        i.mask[..., 0] = True  # torch has another opinion on rows that see nothing
        hidden = hidden | ~i.mask
    arrays = (torch.from_numpy(a.swapaxes(1, 2).copy()) for a in (i.query, i.key, i.value))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        theirs = torch.nn.functional.scaled_dot_product_attention(
            *arrays, attn_mask=torch.from_numpy(np.where(hidden, -INF, added)), enable_gqa=True
        )
    close(oracle(problem, causal=causal), theirs.numpy().swapaxes(1, 2))


@pytest.mark.parametrize("asked", [{}, {"causal": "top_left"}, {"window": (3, 2)}, {"kv_lengths": np.array([20, 3])}])
def test_equals_jax_nn_within_its_float32(needs: Callable[[str], Any], asked: dict[str, Any]) -> None:
    """jax.nn agrees as far as its float32 softmax reaches, also on windows and key lengths, which torch lacks."""
    jax = needs("jax").jax
    problem = make_problem(T=20, S=20, H=8)
    theirs = {"is_causal": "causal" in asked, "local_window_size": asked.get("window")}
    theirs["key_value_seq_lengths"] = asked.get("kv_lengths")
    arrays = (a.astype(np.float32) for a in (problem.inputs.query, problem.inputs.key, problem.inputs.value))
    out = jax.nn.dot_product_attention(*arrays, **theirs, implementation="xla")
    close(oracle(problem, **asked), np.asarray(out, np.float64), 1e-5)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 6), (6, 1)])
@pytest.mark.parametrize("causal", ["top_left", "bottom_right"])
def test_causal_hides_what_the_loops_say(causal: str, shape: tuple[int, int]) -> None:
    """Top-left shows s <= t, bottom-right s <= t + S - T, for any T and S."""
    T, S = shape
    seen = np.zeros((T, S), bool)
    for t in range(T):
        for s in range(S):
            seen[t, s] = s <= t if causal == "top_left" else s <= t + S - T
    problem = make_problem(T=T, S=S)
    close(oracle(problem, causal=causal), oracle(problem, mask=seen), 1e-14)


@pytest.mark.parametrize("causal", [None, "top_left", "bottom_right"])
@pytest.mark.parametrize("window", [(0, 0), (2, 0), (0, 3), (1, 2), (None, 1), (1, None), (None, None), (99, 99)])
def test_window_counts_inclusively_from_the_diagonal(window: tuple[int | None, int | None], causal: str | None) -> None:
    """A window keeps `left` keys before the diagonal in force, the diagonal, and `right` keys after it."""
    T, S = 5, 8
    seen = np.zeros((T, S), bool)
    for t in range(T):
        diagonal = t + S - T if causal == "bottom_right" else t
        for s in range(S):
            near = (window[0] is None or diagonal - s <= window[0]) and (window[1] is None or s - diagonal <= window[1])
            seen[t, s] = near and (causal is None or s <= diagonal)
    problem = make_problem(T=T, S=S)
    close(oracle(problem, causal=causal, window=window), oracle(problem, mask=seen), 1e-14)


def test_softcap_comes_before_the_bias() -> None:
    """Scores become c tanh(score / c), and only then the bias is added."""
    problem = make_problem(N=2, K=2, scale=1.0, bias=(2, 2, 12, 20))
    i = problem.inputs
    scores = 3.0 * np.tanh(np.einsum("btnh,bsnh->bnts", i.query, i.key) / 3.0) + i.bias
    out = np.einsum("bnts,bsnv->btnv", scipy.special.softmax(scores, axis=-1), i.value)
    close(oracle(problem, softcap=3.0), out)
    assert np.abs(oracle(problem) - out).max() > 0.01


def test_scale_defaults_to_the_head_size_of_the_query() -> None:
    """The default is H ** -0.5, not V ** -0.5."""
    problem = make_problem(H=16, V=4)
    assert np.array_equal(oracle(problem), oracle(problem, scale=0.25))
    close(
        oracle(problem, scale=0.0),
        np.broadcast_to(np.repeat(problem.inputs.value.mean(axis=1, keepdims=True), 2, axis=2), (2, 12, 4, 4)),
    )


def test_key_lengths_cut_the_keys_off() -> None:
    """A length hides the keys from it on; a length of 0 leaves nothing, which gives 0 and a log-sum-exp of -inf."""
    problem = make_problem(B=3)
    out = oracle(problem, kv_lengths=np.array([20, 7, 0]))
    lse = log_sum_exp(problem, kv_lengths=np.array([20, 7, 0]))
    assert np.array_equal(out[0], oracle(problem)[0])
    cut = {name: problem.arguments()[name][1:2, :7] for name in ("key", "value")}
    close(out[1:2], oracle(problem, query=problem.inputs.query[1:2], **cut), 1e-14)
    assert (out[2] == 0).all()
    assert (lse[2] == -INF).all()
    assert np.isfinite(lse[:2]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_rows_that_see_no_key_give_zero(dtype: str) -> None:
    """A query whose keys are all hidden gives exactly 0 and -inf; the rows beside it are untouched."""
    problem = make_problem(T=6, S=3, dtype=dtype, causal="bottom_right")
    out, lse = oracle(problem), log_sum_exp(problem)
    assert (out[:, :3] == 0).all()
    assert (lse[:, :3] == -INF).all()
    assert (out[:, 3:] != 0).all()
    assert np.isfinite(lse[:, 3:]).all()


@pytest.mark.parametrize(("N", "K"), [(4, 2), (4, 1), (6, 3), (3, 3)])
def test_grouped_heads_equal_repeated_heads(N: int, K: int) -> None:
    """Query head n reads key/value head n // (N/K): the same as each key/value head repeated N/K times in place."""
    problem = make_problem(N=N, K=K)
    repeated = {name: np.repeat(problem.arguments()[name], N // K, axis=2) for name in ("key", "value")}
    assert np.array_equal(oracle(problem), oracle(problem, **repeated))


SHAPES = [
    (),
    (20,),
    (1,),
    (12, 20),
    (12, 1),
    (1, 20),
    (4, 12, 20),
    (4, 1, 20),
    (1, 12, 1),
    (2, 1, 1, 20),
    (2, 4, 12, 20),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_and_biases_broadcast_like_numpy(shape: tuple[int, ...]) -> None:
    """Every rank and every axis of size 1 means what NumPy's broadcasting to (B,N,T,S) means."""
    problem = make_problem(mask=shape, bias=shape, hidden=0.3)
    i = problem.inputs
    full = {name: np.broadcast_to(array, (2, 4, 12, 20)).copy() for name, array in (("mask", i.mask), ("bias", i.bias))}
    assert np.array_equal(oracle(problem), oracle(problem, **full))
    if full["mask"].any(axis=-1).all():
        close(oracle(problem), by_einsum(problem, full["mask"], full["bias"])[0])


@pytest.mark.parametrize("poison", [NAN, INF, -INF])
@pytest.mark.parametrize("where", ["key", "value"])
def test_what_is_hidden_cannot_leak(where: str, poison: float) -> None:
    """NaN or Inf in keys or values that nobody sees leaves every bit of the output as it was."""
    problem = make_problem(kv_lengths=(13, 13), bias=(12, 20))
    spoilt = problem.arguments()[where].copy()
    spoilt[:, 13:] = poison
    assert np.array_equal(oracle(problem, **{where: spoilt}), oracle(problem))
    assert np.array_equal(log_sum_exp(problem, **{where: spoilt}), log_sum_exp(problem))


def test_what_is_seen_does_reach_those_who_see_it() -> None:
    """A NaN in value 5 spoils, under causal, the queries from 5 on and in its own column only."""
    problem = make_problem(T=9, S=9, N=2, K=2, causal="top_left")
    value = problem.inputs.value.copy()
    value[0, 5, 1, 3] = NAN
    spoilt = np.isnan(oracle(problem, value=value))
    expected = np.zeros_like(spoilt)
    expected[0, 5:, 1, 3] = True
    assert np.array_equal(spoilt, expected)


@pytest.mark.parametrize(("T", "S"), [(0, 5), (5, 0), (0, 0)])
def test_no_queries_or_no_keys(T: int, S: int) -> None:
    """Without queries the output has no rows; without keys it is 0 and the log-sum-exp -inf."""
    problem = make_problem(T=T, S=S, V=3)
    for asked in ({}, {"causal": "bottom_right"}, {"kv_lengths": np.array([S, 0])}, {"mask": np.ones((T, S), bool)}):
        assert np.array_equal(oracle(problem, **asked), np.zeros((2, T, 4, 3)))
        assert np.array_equal(log_sum_exp(problem, **asked), np.full((2, T, 4), -INF))


@pytest.mark.parametrize("at_once", [1, 50, 199])
def test_the_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Computing a few rows at a time gives what computing all at once gives."""
    problem = make_problem(mask=(2, 1, 12, 20), bias=(4, 12, 20), kv_lengths=(20, 4), causal="bottom_right")
    whole, lse = oracle(problem), log_sum_exp(problem)
    monkeypatch.setattr(reference, "_SCORES_AT_ONCE", at_once)
    close(oracle(problem), whole, 1e-15)
    close(log_sum_exp(problem), lse, 1e-15)


def test_large_scores_do_not_overflow() -> None:
    """Scores of many thousands leave a softmax that is finite and picks the largest."""
    problem = make_problem(N=1, K=1, B=1)
    out = oracle(problem, query=problem.inputs.query * 1e5)
    best = np.einsum("bth,bsh->bts", problem.inputs.query[:, :, 0], problem.inputs.key[:, :, 0]).argmax(axis=-1)[0]
    close(out[0, :, 0], problem.inputs.value[0, best, 0])
