"""Every implementation on the CPU against the oracle, on problems that hypothesis chooses: right or refused."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings

import backends
from backends import registry
from backends.interface import DEVIATION_TOPICS, Unsupported
from backends.problem import features
from tests.helpers import Problem, hold, implementation, make_problem, prepare, problems, run

EXAMPLES = {"": 40, "jit": 12, "function": 8, "xla": 8}
"""Problems for each implementation by how it is compiled: each problem has a shape of its own, and is compiled anew."""

SLOW = ("torch/naive-compile", "torch/flex")
SLOW_PROBLEMS = (
    make_problem(1, dtype="float32", V=24, mask=(2, 1, 12, 20), hidden=0.3, bias=(4, 12, 20), kv_lengths=(20, 7)),
    make_problem(2, dtype="bfloat16", T=9, S=9, N=2, K=2, H=8, causal="bottom_right", window=(4, 1), softcap=20.0),
    make_problem(
        3, dtype="float16", T=6, S=3, N=3, K=3, causal="bottom_right", scale=0.2
    ),  # with rows that see nothing
)
"""For those whose every problem takes a C++ compiler ten seconds."""

ONLY_ELSEWHERE = {("jax/nn", "float16"): "XLA has no F16_F16_F32 product there"}
"""Dtypes that are declared for another device and refused on the CPU, with the reason that is given."""


def test_any_problem_is_right_within_the_bound_or_refused(cpu_id: str) -> None:
    """Whatever the semantics: right shape, dtype and numbers, or Unsupported with a reason; arguments stay as they were."""
    chosen, outcomes = implementation(cpu_id), Counter[str]()
    if cpu_id in SLOW:
        assert [hold(cpu_id, problem) for problem in SLOW_PROBLEMS] == ["accepted"] * len(SLOW_PROBLEMS)
        return
    # JAX compiles each operation of each new shape, whether it is asked to or not.
    examples = EXAMPLES["jit" if "jax" in chosen.framework else chosen.compile or ""]

    @settings(max_examples=examples)
    @given(problems(dtypes=chosen.dtypes))
    def holds(problem: Problem) -> None:
        outcome = hold(cpu_id, problem)
        event(outcome)
        outcomes[outcome] += 1

    holds()
    assert "refused without a reason" not in outcomes
    assert outcomes["accepted"], f"nothing but refusals: {outcomes}"


PLAIN = {"T": 9, "S": 9, "N": 2, "K": 2, "H": 8}
COMMON: dict[str, Any] = {"dtype": "float32", "causal": "top_left", **PLAIN}
"""What several tests ask, so that it is compiled once: inductor keeps what it made of a graph, on the disk."""


def test_each_declared_dtype_is_taken(cpu_id: str) -> None:
    """Plain attention is accepted in every dtype that is declared: refusing everything cannot pass for being right."""
    for dtype in implementation(cpu_id).dtypes:
        problem, elsewhere = make_problem(dtype=dtype, **PLAIN), ONLY_ELSEWHERE.get((cpu_id, dtype))
        if cpu_id in SLOW and dtype in {slow.inputs.dtype for slow in SLOW_PROBLEMS}:
            continue  # held to the oracle above
        if elsewhere is None:
            assert hold(cpu_id, problem) == "accepted"
        else:
            with pytest.raises(Unsupported, match=elsewhere):
                run(cpu_id, problem)


FEATURE_PROBLEMS: dict[str, dict[str, Any]] = {
    "grouped": {"N": 4},
    "value_size": {"V": 5},
    "scale": {"scale": 0.2},
    "mask": {"mask": (9, 9), "hidden": 0.0},
    "bias": {"bias": (2, 9, 9)},
    "causal_top_left": {"causal": "top_left"},
    "causal_bottom_right": {"causal": "bottom_right", "T": 5},
    "window": {"window": (2, 3)},
    "softcap": {"softcap": 20.0},
    "kv_lengths": {"kv_lengths": (9, 4)},
}


def test_each_accepted_feature_is_taken(cpu_id: str) -> None:
    """What an implementation declares to accept, it does not refuse on the simplest problem that asks for it."""
    accepts = implementation(cpu_id).accepts
    if cpu_id in SLOW:
        asked = {
            feature for p in (*SLOW_PROBLEMS, make_problem(**COMMON)) for feature in features(p.inputs, p.semantics)
        }
        assert accepts <= asked, "no fixed problem asks for it"
        return
    for feature in accepts:
        problem = make_problem(dtype="float32", **{**PLAIN, **FEATURE_PROBLEMS[feature]})
        assert hold(cpu_id, problem) == "accepted", feature


@pytest.mark.parametrize("H", [1, 256])
def test_the_smallest_and_the_largest_heads(cpu_id: str, H: int) -> None:
    """Head sizes from 1 to 256; those between are hypothesis's to choose."""
    assert hold(cpu_id, make_problem(dtype="float32", **{**PLAIN, "H": H})) == "accepted"


def test_attention_gives_what_the_harness_times(cpu_id: str) -> None:
    """backends.attention and the prepared call are one computation, in the dtype of the query."""
    problem = make_problem(**COMMON)
    out = backends.attention(**problem.arguments(), implementation=cpu_id)
    assert out.dtype == np.float32
    assert np.array_equal(out, run(cpu_id, problem)[0])


def test_attention_takes_bfloat16_of_ml_dtypes(framework_name: str) -> None:
    """Arrays of ml_dtypes' bfloat16 give an output of that dtype, where the framework has it, and the same numbers."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes comes with jax and tensorflow")
    problem = make_problem(dtype="bfloat16", **PLAIN)
    arrays = [a.astype(ml_dtypes.bfloat16) for a in (problem.inputs.query, problem.inputs.key, problem.inputs.value)]
    id = next(i.id for i in backends.implementations(framework_name).values() if i.naive)
    if "bfloat16" not in implementation(id).dtypes:
        with pytest.raises(Unsupported, match="bfloat16"):
            backends.attention(*arrays, implementation=id)
        return
    out = backends.attention(*arrays, implementation=id)
    assert out.dtype == ml_dtypes.bfloat16
    assert np.array_equal(out.astype(np.float32), run(id, problem)[0])


@pytest.mark.parametrize(("T", "S"), [(0, 4), (4, 0), (0, 0)])
def test_no_queries_or_no_keys_give_zeros(cpu_id: str, T: int, S: int) -> None:
    """Every implementation gives 0 where there is no key, and nothing where there is no query."""
    out = backends.attention(**make_problem(T=T, S=S, dtype="float32").arguments(), implementation=cpu_id)
    assert np.array_equal(out, np.zeros((2, T, 4, 16), np.float32))


def test_a_bias_of_minus_infinity_hides_like_a_mask(cpu_id: str) -> None:
    """Float masks of 0 and -inf, which many users have, do what the boolean mask does."""
    if "bias" not in implementation(cpu_id).accepts:
        pytest.skip("no bias")
    problem = make_problem(dtype="float32", bias=(2, 1, 9, 9), **PLAIN)
    assert problem.inputs.bias is not None
    problem.inputs.bias[..., 1::3] = -np.inf
    assert hold(cpu_id, problem) == "accepted"


def test_a_row_that_biases_alone_hide_gives_zero_or_is_refused(cpu_id: str) -> None:
    """A row of -inf biases sees no key: it gives 0 like any such row, or is refused where those deviate; never NaN."""
    if "bias" not in implementation(cpu_id).accepts:
        pytest.skip("no bias")
    problem = make_problem(dtype="float32", bias=(2, 1, 9, 9), **PLAIN)
    assert problem.inputs.bias is not None
    problem.inputs.bias[:, :, 3] = -np.inf
    assert hold(cpu_id, problem) in ("accepted", "refused")


def test_neither_order_nor_byte_order_of_the_memory_matters(cpu_id: str) -> None:
    """Transposed and big-endian arrays, as files have them, hold the same numbers and give the same output."""
    arguments = make_problem(**COMMON).arguments()
    arrays = {name: argument for name, argument in arguments.items() if isinstance(argument, np.ndarray)}
    out = backends.attention(**arguments, implementation=cpu_id)
    for change in (np.asfortranarray, lambda array: array.astype(">f4"), lambda array: array[:, ::-1].copy()[:, ::-1]):
        changed = arguments | {name: change(array) for name, array in arrays.items()}
        assert np.array_equal(backends.attention(**changed, implementation=cpu_id), out)


def test_one_implementation_runs_many_problems(cpu_id: str) -> None:
    """A call on new numbers of the same shape gives the new answer: nothing of the first is baked in."""
    first, second = (make_problem(seed, **COMMON) for seed in (1, 2))
    assert hold(cpu_id, first) == hold(cpu_id, second) == "accepted"
    assert not np.array_equal(run(cpu_id, first)[0], run(cpu_id, second)[0])


def test_the_kernel_that_ran_has_a_name(cpu_id: str) -> None:
    """`prove` returns the name of what computed, not nothing."""
    small = SLOW_PROBLEMS[0] if cpu_id in SLOW else make_problem(dtype="float32", **PLAIN)
    chosen, framework, prepared = prepare(cpu_id, small)
    assert chosen.prove is not None
    with chosen.context():
        framework.barrier(prepared.call())
        name = chosen.prove(prepared)
    assert isinstance(name, str)
    assert name.strip()


def test_what_is_declared_is_well_formed(cpu_id: str) -> None:
    """Ids are framework/name, summaries one line, deviations on known topics and said in words."""
    chosen = implementation(cpu_id)
    assert chosen.id == cpu_id
    assert re.fullmatch(r"[a-z_]+/[a-z0-9]+(-[a-z0-9]+)*", cpu_id)
    assert chosen.framework in registry.names()
    assert chosen.summary
    assert "\n" not in chosen.summary
    topics = [deviation.topic for deviation in chosen.deviations]
    assert set(topics) <= set(DEVIATION_TOPICS)
    assert len(topics) == len(set(topics))
    assert all(deviation.says for deviation in chosen.deviations)
    for dtype in chosen.dtypes:
        claims = chosen.roundoffs(dtype)
        assert all(0 <= getattr(claims, name) < 0.1 for name in claims.__slots__)


def test_each_framework_has_one_textbook_form(framework_name: str) -> None:
    """Speedup is counted against exactly one implementation of each framework."""
    assert sum(i.naive for i in backends.implementations(framework_name).values()) == 1
