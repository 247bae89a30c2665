"""ONNX's own tests of its operator Attention, said in our words and held against the oracle and every implementation.

They come with the package onnx (onnx/backend/test/case/node/attention.py), with the outputs that its NumPy reference gives:
93 problems, each with a twin whose model is the operator's definition, on the same arrays. None of it was written by us.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from backends import reference
from backends.accuracy import UNIT_ROUNDOFF, Expected, Roundoffs, expect, judge
from backends.interface import Unsupported
from backends.problem import Semantics, features
from backends.validation import validate
from backends.visibility import any_row_is_blind
from tests.helpers import Problem, implementation, run

PREFIX = "test_attention_"
COUNT = 93
"""In onnx 1.23. More is fine once looked at: a new feature may need a word in `said`."""


@dataclass(frozen=True)
class Vector:
    """One of ONNX's cases."""

    name: str
    attributes: dict[str, Any]
    arrays: dict[str, np.ndarray]
    """Inputs by the names of the operator: Q, K, V, attn_mask, past_key, past_value, nonpad_kv_seqlen."""
    outputs: dict[str, np.ndarray]

    @functools.cached_property
    def problem(self) -> Problem:
        return said(self)

    @functools.cached_property
    def expected(self) -> Expected:
        return expect(self.problem.inputs, self.problem.semantics)

    @functools.cached_property
    def wanted(self) -> np.ndarray:
        """(B,T,N,V)."""
        return heads_third(self.outputs["Y"], self.attributes.get("q_num_heads", 0))


@functools.cache
def vectors() -> dict[str, Vector]:
    """By their names, without the prefix that all have."""
    pytest.importorskip("onnx", reason="the cases come with onnx")
    import onnx
    from onnx.backend.test.case import node as cases

    # Not collect_testcases(): that builds the tests of every operator, which takes seconds and warns.
    importlib.import_module("onnx.backend.test.case.node.attention")
    found = {}
    for case in cases._NodeTestCases:
        (made, *others) = case.model.graph.node
        if others or made.op_type != "Attention":
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in made.attribute}
        ((inputs, outputs),) = case.data_sets
        arrays = dict(zip([name for name in made.input if name], inputs, strict=True))
        given = dict(zip([name for name in made.output if name], outputs, strict=True))
        name = case.name.removeprefix(PREFIX)
        found[name] = Vector(name, attributes, arrays, given)
    return found


def heads_third(array: np.ndarray, heads: int) -> np.ndarray:
    """(B,T,N,H) of ONNX's (B,N,T,H), or of its (B,T,N*H) where the number of heads is told."""
    if array.ndim == 4:
        return array.transpose(0, 2, 1, 3)
    return array.reshape(*array.shape[:2], heads, -1)


def said(vector: Vector) -> Problem:
    """The case in the words of our interface."""
    a, given = vector.attributes, vector.arrays
    query = heads_third(given["Q"], a.get("q_num_heads", 0))
    key, value = (heads_third(given[name], a.get("kv_num_heads", 0)) for name in "KV")
    past = 0
    if "past_key" in given:
        past = given["past_key"].shape[2]
        key = np.concatenate([heads_third(given["past_key"], 0), key], axis=1)
        value = np.concatenate([heads_third(given["past_value"], 0), value], axis=1)
    (B, T), S, lengths = query.shape[:2], key.shape[1], given.get("nonpad_kv_seqlen")
    mask = given.get("attn_mask")
    if mask is not None and mask.shape[-1] < S:  # what a mask does not reach is hidden
        rest = [(0, 0)] * (mask.ndim - 1) + [(0, S - mask.shape[-1])]
        mask = np.pad(mask, rest, constant_values=False if mask.dtype == bool else -np.inf)
    bias = None
    if mask is not None and mask.dtype != bool:
        mask, bias = None, mask
    # Causal and windows are counted around the diagonal that starts at the first query's own key.
    offsets = np.full(B, past) if lengths is None else lengths - T
    semantics, shown = diagonal(a, offsets, T, S)
    if shown is not None and lengths is not None and (shown == (np.arange(S) < lengths[:, None, None, None])).all():
        shown = None  # a single query sees all that the lengths leave
    if shown is not None:
        mask = shown if mask is None else shown & mask
    softcap, scale = a.get("softcap", 0.0), a.get("scale")
    inputs = validate(query, key, value, mask=mask, bias=bias, kv_lengths=lengths)
    return Problem(inputs, Semantics(**semantics, softcap=softcap or None, scale=scale), vector.name)


def diagonal(
    attributes: dict[str, Any], offsets: np.ndarray, T: int, S: int
) -> tuple[dict[str, Any], np.ndarray | None]:
    """What causal and windows come to: words where we have them for a diagonal that starts here, else a mask (B,1,T,S)."""
    causal = bool(attributes.get("is_causal", 0))
    left, right = (attributes.get(f"{side}_window_size", -1) for side in ("left", "right"))
    if not causal and left < 0 and right < 0:
        return {}, None
    window = None if left < 0 and right < 0 else tuple(None if side < 0 else side for side in (left, right))
    if (offsets == 0).all():
        return {"causal": "top_left" if causal else None, "window": window}, None
    if (offsets == S - T).all() and causal:
        return {"causal": "bottom_right", "window": window}, None
    if (offsets == offsets[0]).all() and offsets[0] > 0 and causal and window is None:
        return {"window": (None, int(offsets[0]))}, None
    away = np.arange(S) - np.arange(T)[:, None] - offsets[:, None, None, None]
    shown = np.ones(away.shape, bool)
    for limit, distance in ((0 if causal else -1, away), (left, -away), (right, away)):
        shown &= (distance <= limit) if limit >= 0 else True
    return {}, shown


FEW = {
    "4d_gqa_softcap": "query heads in groups, capped",
    "4d_diff_heads_sizes_attn_mask": "V != H, biases",
    "4d_attn_mask_bool_4d": "a mask of all four axes",
    "4d_attn_mask_4d_causal": "biases beside causal",
    "3d_gqa_scaled": "heads told apart by numbers alone, a scale",
    "4d_causal_fp16": "float16",
    "4d_attn_mask_causal_bf16": "bfloat16",
    "4d_gqa_causal_nonpad_decode": "one query on a cache, of another length for each batch element",
    "4d_causal_with_past_and_present": "causal behind a past: bottom-right",
    "bidirectional_window": "a window open to both sides",
    "local_window_ext_cache_rank4_batch_mask": "a window around the end of a cache, beside biases",
    "causal_boolmask_nan_robustness": "a query that sees no key",
}
"""For those to whom each new shape is a new program: at least one case for each feature and dtype that there is."""

FEWER = ("4d_diff_heads_sizes_attn_mask", "local_window_gqa_rank4_mask")
"""For those whose every problem takes a C++ compiler ten seconds: most features in two."""

EXCLUDED: dict[tuple[str, str], str] = {
    ("jax/nn", "4d_causal_fp16"): "refused: XLA has no F16_F16_F32 product on the CPU",
}
"""(implementation, or "oracle", and case) -> why it does not come out as ONNX expects. In onnx 1.23 none is a difference
between ONNX's standard and ours: since its errata the cap comes before the mask, and a query that sees no key gives 0."""


def cases_for(id: str) -> tuple[str, ...]:
    chosen = implementation(id)
    if chosen.compile == "compile" or id == "torch/flex":
        return FEWER
    return tuple(FEW if chosen.compile or "jax" in chosen.framework else vectors())


def fault(id: str, vector: Vector) -> str:
    """What is wrong with an implementation on a case; empty where it is right, or refuses what it declares not to take."""
    problem, chosen = vector.problem, implementation(id)
    try:
        out, dtype = run(id, problem)
    except Unsupported as refusal:
        takes = problem.inputs.dtype in chosen.dtypes
        takes &= chosen.accepts.issuperset(features(problem.inputs, problem.semantics))
        blind = chosen.deviation("empty_rows") and any_row_is_blind(problem.inputs, problem.semantics)
        return f"refused: {refusal}" if takes and not blind else ""
    if dtype != problem.inputs.dtype:
        return f"got {dtype}"
    return judge(out, dtype, vector.expected, chosen.roundoffs(dtype)).reason


def fault_of_oracle(vector: Vector) -> str:
    """What ONNX expects held to the oracle: its reference rounds whatever it computes to the dtype of the inputs."""
    dtype = vector.problem.inputs.dtype
    return judge(vector.wanted.astype(np.float64), dtype, vector.expected, Roundoffs.of(dtype)).reason


def mistakes(who: str, faults: dict[str, str]) -> list[str]:
    """Faults that stand in no table, and exclusions that are none."""
    wrong = [f"{name}: {fault}" for name, fault in faults.items() if fault and (who, name) not in EXCLUDED]
    return wrong + [f"{name} is excluded" for name, fault in faults.items() if not fault and (who, name) in EXCLUDED]


def test_every_case_is_there() -> None:
    """None is lost on the way from the package, and what the tables name exists."""
    names = set(vectors())
    assert len(names) >= COUNT
    assert {name for _, name in EXCLUDED} | set(FEW) | set(FEWER) <= names


def test_the_few_cases_ask_for_everything_that_all_ask_for() -> None:
    """No feature and no dtype is left to the implementations that get all cases."""

    def asked(names: Iterable[str]) -> set[str]:
        chosen = [vectors()[name].problem for name in names]
        return {word for p in chosen for word in (p.inputs.dtype, *features(p.inputs, p.semantics))}

    assert asked(FEW) == asked(vectors())


def test_the_oracle_gives_what_onnx_expects() -> None:
    """Each output, within the bound of arithmetic in the dtype of ONNX's reference."""
    assert mistakes("oracle", {name: fault_of_oracle(vector) for name, vector in vectors().items()}) == []


def test_the_oracle_has_the_scores_that_onnx_expects() -> None:
    """qk_matmul_output: the scores as they are multiplied (0), capped (1), biased (2), and their softmax (3)."""
    held = 0
    for vector in vectors().values():
        if "qk_matmul_output" not in vector.outputs:
            continue
        problem, mode = vector.problem, vector.attributes.get("qk_matmul_output_mode", 0)
        assert mode != 0 or problem.semantics.softcap is None, "the oracle keeps no scores from before the cap"
        of_mode = {0: "capped", 1: "capped", 2: "scores", 3: "probability"}[mode]
        u = UNIT_ROUNDOFF[problem.inputs.dtype]
        for block in reference.rows(problem.inputs, problem.semantics):
            b, rows, n = block.at
            scores = vector.outputs["qk_matmul_output"][b, n, rows]
            # Each score is a product of H numbers and up to four roundings more; none of them is larger than 8.
            np.testing.assert_allclose(scores[:, block.keys], getattr(block, of_mode), rtol=16 * u, atol=16 * u)
            out_of_sight = np.delete(scores, block.keys, axis=1)
            assert mode < 2 or (out_of_sight == (-np.inf if mode == 2 else 0)).all()
        held += 1
    assert held == 18


def test_an_implementation_gives_what_onnx_expects(cpu_id: str) -> None:
    """Every case that it declares to take, within the bound of the arithmetic that it claims."""
    assert mistakes(cpu_id, {name: fault(cpu_id, vectors()[name]) for name in cases_for(cpu_id)}) == []


def test_the_table_of_exclusions_holds_no_more_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong and not excluded is a mistake, and so is what is excluded and right."""
    monkeypatch.setattr(__name__ + ".EXCLUDED", {("x/y", "b"): "why", ("x/y", "c"): "why"})
    assert mistakes("x/y", {"a": "out of bound", "b": "", "c": "out of bound", "d": ""}) == [
        "a: out of bound",
        "b is excluded",
    ]


WORDS = ("mask", "bias", "kv_lengths", "causal", "window", "softcap", "scale")


@pytest.mark.parametrize("word", WORDS)
def test_a_word_left_out_would_be_noticed(word: str) -> None:
    """The cases tell right from wrong: without any one of the words of a problem, what ONNX expects is out of bound."""
    unnoticed, noticed = [], 0
    for vector in vectors().values():
        inputs, semantics = vector.problem.inputs, vector.problem.semantics
        part = inputs if hasattr(inputs, word) else semantics
        if getattr(part, word) is None:
            continue
        less = dataclasses.replace(part, **{word: None})
        without = expect(*((less, semantics) if part is inputs else (inputs, less)))
        judgement = judge(vector.wanted.astype(np.float64), inputs.dtype, without, Roundoffs.of(inputs.dtype))
        noticed += not judgement.correct
        # What another word says as well, or what a case of equal values cannot show, changes nothing.
        changes = float(np.abs(without.out - vector.expected.out).max()) > 1e-12
        unnoticed += [vector.name] if judgement.correct and changes else []
    assert noticed
    assert unnoticed == []
