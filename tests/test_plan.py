"""Cases, shapes and filters: what a user types is understood or refused in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from backends import registry
from backends.problem import InvalidProblem
from backends.visibility import count_pairs
from benchmarks import inputs, suites
from benchmarks.cases import Case, case, parse_shape
from benchmarks.errors import UsageError
from benchmarks.plan import Plan, asked_frameworks, select_cases, select_implementations
from benchmarks.work import count


@pytest.mark.parametrize("name", suites.SUITES)
def test_every_suite_is_valid_data(name):
    """Names are unique, every case says where it comes from, and survives a trip through JSON."""
    cases = suites.load(name)
    assert cases
    assert len({c.name for c in cases}) == len(cases)
    for c in cases:
        assert c.source
        assert Case.from_dict(json.loads(json.dumps(c.to_dict()))) == c


def test_the_default_suite_has_what_the_main_job_promises():
    """Short and long, BERT at 384 and 512, ViT at 197, a grouped prefill, decode over 4096, cross 256 x 77, two halves."""
    shapes = {c.name: c for c in suites.load("default")}
    assert {c.shape.S for c in shapes.values()} >= {128, 384, 512, 197, 2048, 4096, 77}
    prefill, decode = shapes["llama-prefill-512"], shapes["llama-decode-4096"]
    assert (prefill.shape.N, prefill.shape.K, prefill.shape.H, prefill.semantics.causal) == (32, 8, 128, "top_left")
    assert (decode.shape.T, decode.shape.S) == (1, 4096)
    assert {c.dtype for c in shapes.values()} == {"float32", "bfloat16", "float16"}


def test_inputs_follow_from_name_and_seed():
    """The same bytes every time; other bytes for another seed or another case."""
    one = case("one", "here", T=5, N=2, H=4, mask="random", bias="random")
    first, again = inputs.make(one, 0), inputs.make(one, 0)
    for name in ("query", "key", "value", "mask", "bias"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.query.tobytes() != inputs.make(one, 1).query.tobytes()
    assert first.query.tobytes() != inputs.make(case("two", "here", T=5, N=2, H=4), 0).query.tobytes()


@pytest.mark.parametrize("mask", ["random", "documents", "prefix"])
@pytest.mark.parametrize(("T", "S"), [(8, 8), (5, 16), (16, 5), (1, 9)])
def test_masks_leave_no_row_empty(mask, T, S):
    """Every query of a generated mask sees at least one key."""
    problem = case("m", "here", T=T, S=S, N=2, H=4, mask=mask)
    assert not count_pairs(inputs.make(problem, 0), problem.semantics)[1]


def test_work_counts_visible_pairs():
    """Exact operations count the triangle, the conventional figure half of the square."""
    problem = case("w", "here", T=4, N=2, H=8, V=4, causal="top_left")
    work = count(problem, inputs.make(problem, 0))
    assert work.flops == 2 * (8 + 4) * 2 * (4 * 5 // 2)
    assert work.flops_conventional == 2 * (8 + 4) * 2 * 16 // 2
    assert work.bytes == 4 * (4 * 2 * 8 * 2 + 4 * 2 * 4 * 2)


def test_a_shape_has_defaults():
    """S defaults to T, K to N, V to H, B to 1."""
    shape = parse_shape("t=16 n=4 h=8")
    assert (shape.B, shape.S, shape.K, shape.V) == (1, 16, 4, 8)
    assert parse_shape("B=2,T=1,S=3,N=4,K=2,H=8,V=5").V == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("t=16 n=4", "lacks h="),
        ("t=16 n=4 h=0", "h=0 in the shape .*expected 1 or more"),
        ("t=-1 n=4 h=8", "t=-1"),
        ("t=16 n=6 k=4 h=8", "N=6 query heads, K=4 key/value heads: expected N to be a multiple of K"),
        ("t=16 n=4 h=8 x=3", "'x=3'"),
        ("t=16 t=17 n=4 h=8", "stands twice"),
        ("t=a n=4 h=8", "'t=a'"),
        ("", "lacks t="),
    ],
)
def test_a_bad_shape_is_named(text, says):
    """The message names the letter and what was expected."""
    with pytest.raises(InvalidProblem, match=says):
        parse_shape(text)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"mask": "half"}, "mask='half'"),
        ({"bias": "half"}, "bias='half'"),
        ({"kv_lengths": (1, 2)}, "2 kv_lengths"),
        ({"kv_lengths": (9,)}, "0 to S = 4"),
        ({"causal": "yes"}, "causal='yes'"),
    ],
)
def test_a_bad_case_is_named(fields, says):
    """A case that makes no sense cannot be made."""
    with pytest.raises(InvalidProblem, match=says):
        case("c", "here", T=4, N=2, H=8, **fields)


def test_globs_select_and_a_glob_that_matches_nothing_is_an_error():
    """Several globs add up; each has to match."""
    assert [c.name for c in select_cases("default", ["bert-*", "vit-*"])] == ["bert-384", "bert-512", "vit-197"]
    with pytest.raises(UsageError, match="no case of suite 'default' matches 'nope'; there are: self-128"):
        select_cases("default", ["bert-*", "nope"])
    with pytest.raises(UsageError, match="unknown suite 'nope', expected one of smoke, default"):
        select_cases("nope", [])


def test_implementations_are_filtered_by_framework_glob_and_device():
    """What the device rules out is left out unless it was named exactly."""
    assert select_implementations(["numpy"], [], "cpu") == ("numpy/naive", "numpy/blocked")
    assert select_implementations([], ["*/naive"], "cpu")[0] == "numpy/naive"
    assert "torch/sdpa-cudnn" not in select_implementations(["torch"], [], "cpu")
    assert select_implementations([], ["torch/sdpa-cudnn"], "cpu") == ("torch/sdpa-cudnn",)
    for arguments, says in (
        ((["nope"], [], "cpu"), "unknown framework 'nope'"),
        (([], ["nope/*"], "cpu"), "no implementation matches 'nope/\\*'"),
        ((["numpy"], [], "cuda"), "none of the chosen implementations runs on cuda"),
    ):
        with pytest.raises(UsageError, match=says):
            select_implementations(*arguments)


def test_what_is_never_timed_is_only_checked():
    """Left out of what is to be timed, or refused with its reason where nothing else was asked for."""
    assert "jax/pallas" in select_implementations([], [], "cpu", suite=None)
    for asked in ([], ["jax/*"], ["*"]):
        assert "jax/pallas" not in select_implementations([], asked, "cpu")
    for asked in (["jax/pallas"], ["jax/pal*"], ["jax/pallas", "numpy/*"]):
        assert "jax/pallas" in select_implementations([], asked, "cpu", suite=None)
        with pytest.raises(UsageError, match="jax/pallas is never timed, only checked: it is interpreted"):
            select_implementations([], asked, "cpu")


def test_a_suite_leaves_some_frameworks_to_those_who_ask():
    """Unasked, Keras's other backends are in the full suite alone; asked for, by name or by a glob, they are in any."""

    def frameworks(*arguments, **keywords):
        return {id.partition("/")[0] for id in select_implementations(*arguments, "cpu", **keywords)}

    some = set(suites.LEFT_TO_ASK)
    assert some <= set(registry.names())
    assert frameworks([], []) == frameworks([], [], suite="smoke") == set(registry.names()) - some
    assert frameworks([], [], suite="full") == frameworks([], [], suite=None) == set(registry.names())
    assert frameworks(["keras_torch"], []) == {"keras_torch"}
    assert frameworks([], ["*/keras-ops"]) == {"tf_keras", "keras_jax", "keras_torch"}
    assert "keras_jax/mine" in select_implementations([], [], "cpu", ["keras_jax/mine"])


def test_a_framework_is_asked_for_by_option_or_by_id():
    """--implementation torch/* asks for torch; a bare * asks for nobody."""
    assert asked_frameworks(["jax"], ["torch/*", "*"]) == ("jax", "torch")


def test_a_plan_survives_json():
    """--resume reads back what the run was asked to do."""
    plan = Plan(
        suite="masks",
        cases=suites.load("masks"),
        implementations=("numpy/naive",),
        plugins=(("numpy", "mine.py"),),
        asked=("numpy",),
    )
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_the_seed_changes_no_dtype():
    """Inputs hold numbers of the case's dtype, bfloat16 in float32 with a cleared lower half."""
    for dtype in ("float64", "float32", "float16"):
        assert inputs.make(case("d", "here", T=3, N=1, H=4, dtype=dtype), 0).query.dtype.name == dtype
    held = inputs.make(case("d", "here", T=3, N=1, H=4, dtype="bfloat16"), 0).query
    assert held.dtype == np.float32
    assert not (held.view(np.uint32) & 0xFFFF).any()
