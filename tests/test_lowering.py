"""Lowering says the same problem in other words: the oracle cannot tell them apart, and the notes name each rewriting."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from backends import reference
from backends.interface import FEATURES, Implementation, Unsupported, declared_roundoffs
from backends.lowering import lower
from backends.problem import DTYPES, Inputs, Semantics, features
from tests.helpers import Problem, make_problem, problems

HIDING = {"mask", "causal_top_left", "causal_bottom_right", "window", "kv_lengths"}
PLAIN = FEATURES - HIDING - {"bias"}


def accepting(*accepts: str, combines: bool = True) -> Implementation:
    """An implementation that accepts so much and is never called."""
    chosen = (frozenset(accepts), combines, None, False, declared_roundoffs, (), None, None, False)
    return Implementation("numpy/none", lambda: None, "", DTYPES, ("cpu",), "BTNH", *chosen)  # type: ignore[arg-type]


implementations = st.builds(
    lambda hides, rest, combines: accepting(*hides, *rest, combines=combines),
    st.sets(st.sampled_from(sorted(HIDING | {"bias"}))),
    st.just(PLAIN) | st.sets(st.sampled_from(sorted(PLAIN))),
    st.booleans(),
)


def same(before: tuple[Inputs, Semantics], after: tuple[Inputs, Semantics]) -> None:
    """The oracle gives the same output and the same log-sum-exp."""
    for one, other in zip(reference.compute(*before), reference.compute(*after), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)


def lowered_or_reason(
    problem: Problem, implementation: Implementation
) -> tuple[Inputs, Semantics, tuple[str, ...]] | str:
    """What lower returns, or the reason of its refusal."""
    try:
        return lower(problem.inputs, problem.semantics, implementation)
    except Unsupported as refusal:
        return str(refusal)


def without_underscores(notes: tuple[str, ...]) -> str:
    return "; ".join(notes).replace("_", " ")


@settings(max_examples=250)
@given(problems(dtypes=("float64", "float32", "float16"), longest=6), implementations)
def test_lowering_keeps_the_problem_or_refuses(problem: Problem, implementation: Implementation) -> None:
    """Whatever is accepted natively: same answer in accepted words only, rewritings named, or a reason."""
    inputs, semantics = problem.inputs, problem.semantics
    asked = set(features(inputs, semantics))
    done = lowered_or_reason(problem, implementation)
    if isinstance(done, str):
        event("refused")
        inexpressible = asked - implementation.accepts - HIDING
        takes_a_mask = {"mask", "bias"} & implementation.accepts
        assert inexpressible or not takes_a_mask, f"refused without need: {done}"
        assert done.startswith("no ")
        assert not done.startswith("no ,"), "the reason names nothing"
        return
    lowered, static, notes = done
    same((inputs, semantics), (lowered, static))
    left = set(features(lowered, static))
    assert left <= implementation.accepts
    if not implementation.combines:
        assert len(left & (HIDING | {"bias"})) <= 1
    for feature in asked - left:
        assert feature.replace("_", " ") in without_underscores(notes)
    assert (notes == ()) == (lowered is inputs and static == semantics)
    event("rewritten" if notes else "as it was")


@settings(max_examples=30)
@given(problems(longest=6))
def test_who_accepts_all_gets_the_problem_itself(problem: Problem) -> None:
    """An implementation that takes everything gets the very arrays, and no notes."""
    lowered, static, notes = lower(problem.inputs, problem.semantics, accepting(*FEATURES))
    assert lowered is problem.inputs
    assert static is problem.semantics
    assert notes == ()


@settings(max_examples=30)
@given(problems(longest=6), implementations)
def test_lowering_leaves_the_arrays_of_the_caller_alone(problem: Problem, implementation: Implementation) -> None:
    """What is rewritten is a new array."""
    given_arrays = (problem.inputs.query, problem.inputs.mask, problem.inputs.bias, problem.inputs.kv_lengths)
    copies = [None if array is None else array.copy() for array in given_arrays]
    lowered_or_reason(problem, implementation)
    for array, copy in zip(given_arrays, copies, strict=True):
        assert array is copy is None or np.array_equal(array, copy)


@pytest.mark.parametrize(
    ("asked", "lacks", "says"),
    [
        ({}, "grouped", "no grouped key/value heads (K < N)"),
        ({"V": 5}, "value_size", "no value size different from the head size (V != H)"),
        ({"scale": 0.5}, "scale", "no scale other than H**-0.5"),
        ({"softcap": 5.0}, "softcap", "no softcap"),
        ({"bias": (12, 20)}, "bias", "no additive bias"),
    ],
)
def test_what_no_mask_can_say_is_refused(asked: dict[str, Any], lacks: str, says: str) -> None:
    """What lies outside of masks has no other words: it is refused, and only where it is not accepted."""
    problem = make_problem(**asked)
    lower(problem.inputs, problem.semantics, accepting(*FEATURES))
    with pytest.raises(Unsupported) as refusal:
        lower(problem.inputs, problem.semantics, accepting(*FEATURES - {lacks}))
    assert str(refusal.value) == says


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"causal": "top_left"}, ["causal_top_left"]),
        ({"causal": "bottom_right"}, ["causal_bottom_right"]),
        ({"window": (2, 2)}, ["window"]),
        ({"kv_lengths": (3, 20)}, ["kv_lengths"]),
        ({"mask": (12, 20)}, ["mask"]),
        ({"mask": (12, 20), "kv_lengths": (3, 20)}, ["kv_lengths", "mask"]),
    ],
)
def test_without_mask_or_bias_hiding_is_refused_by_name(asked: dict[str, Any], names: list[str]) -> None:
    """Where nothing could carry the mask, the reason names what was asked for."""
    problem = make_problem(N=2, K=2, **asked)
    with pytest.raises(Unsupported) as refusal:
        lower(problem.inputs, problem.semantics, accepting())
    for name in names:
        assert name in str(refusal.value)


def test_hiding_that_cannot_be_combined_nor_merged_is_refused_by_name() -> None:
    """Accepted one by one, but not together, and no mask to merge them into: the reason names both."""
    problem = make_problem(N=2, K=2, causal="top_left", kv_lengths=(3, 20))
    with pytest.raises(Unsupported) as refusal:
        lower(problem.inputs, problem.semantics, accepting("causal_top_left", "kv_lengths", combines=False))
    assert "causal_top_left" in str(refusal.value)
    assert "kv_lengths" in str(refusal.value)


@pytest.mark.parametrize(
    ("asked", "implementation", "notes"),
    [
        ({"causal": "top_left"}, accepting("mask"), ("causal_top_left as mask",)),
        ({"causal": "top_left"}, accepting("bias"), ("causal_top_left as bias",)),
        ({"kv_lengths": (3, 12), "window": (1, 1)}, accepting("mask"), ("kv_lengths as mask", "window as mask")),
        ({"mask": (12, 12), "bias": (12, 12)}, accepting("mask", "bias", combines=False), ("mask as bias",)),
        ({"mask": (12, 12), "causal": "top_left"}, accepting("mask"), ("causal_top_left as mask",)),
        ({"causal": "bottom_right"}, accepting("causal_top_left"), ("causal bottom_right as top_left (T = S)",)),
        (
            {"causal": "bottom_right", "T": 1},
            accepting(),
            ("causal bottom_right dropped (one query sees every key)",),
        ),
        ({"bias": (12, 12)}, accepting("bias", combines=False), ()),
        ({"mask": (12, 12), "bias": (12, 12)}, accepting("mask", "bias"), ()),
    ],
)
def test_the_notes_of_known_rewritings(
    asked: dict[str, Any], implementation: Implementation, notes: tuple[str, ...]
) -> None:
    """The words that land in the `lowered` column."""
    problem = make_problem(**{"N": 2, "K": 2, "S": 12, **asked})
    lowered, static, told = lower(problem.inputs, problem.semantics, implementation)
    assert told == notes
    same((problem.inputs, problem.semantics), (lowered, static))


@pytest.mark.parametrize(
    ("asked", "notes"),
    [
        ({"mask": (20,)}, ("mask written out over T and S",)),
        ({"bias": (2, 1, 1, 20)}, ("bias written out over T and S",)),
        ({"bias": (12, 1)}, ("bias written out over T and S",)),
        ({"bias": (4, 12, 20)}, ()),
        ({"kv_lengths": (3, 12)}, ("kv_lengths as mask",)),  # in full already
        ({}, ()),
    ],
)
def test_what_may_not_be_broadcast_is_written_out_and_told(asked: dict[str, Any], notes: tuple[str, ...]) -> None:
    """Over queries and keys; over batch and heads it stays as it came."""
    problem = make_problem(**asked)
    chosen = dataclasses.replace(accepting(*FEATURES - {"kv_lengths"}), broadcasts=False)
    lowered, static, told = lower(problem.inputs, problem.semantics, chosen)
    assert told == notes
    for array in (lowered.mask, lowered.bias):
        assert array is None or array.shape[2:] == (12, 20) or array.shape == (4, 12, 20)
    same((problem.inputs, problem.semantics), (lowered, static))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("window", [None, (3, 1)])
def test_a_merged_bias_keeps_its_dtype(dtype: str, window: tuple[int, int] | None) -> None:
    """A mask that becomes a bias is written in the problem's own dtype, also where there was no bias."""
    problem = make_problem(N=2, K=2, dtype=dtype, causal="bottom_right", window=window)
    lowered, _, _ = lower(problem.inputs, problem.semantics, accepting("bias"))
    assert lowered.bias is not None
    assert lowered.bias.dtype == dtype
    assert set(np.unique(lowered.bias)) == {0, -np.inf}


@pytest.mark.parametrize("implementation", [accepting("mask"), accepting("bias"), accepting(*FEATURES)])
def test_no_keys_at_all_can_be_lowered(implementation: Implementation) -> None:
    """S = 0 is a problem like others."""
    problem = make_problem(S=0, N=2, K=2, causal="bottom_right", kv_lengths=(0, 0))
    lowered, static, _ = lower(problem.inputs, problem.semantics, implementation)
    same((problem.inputs, problem.semantics), (lowered, static))
