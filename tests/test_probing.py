"""Asking a probe: what is answered, what is measured, what is refused, and what nobody may do to what was given."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, cast

import numpy as np
import pytest

from backends import reference
from backends.accuracy import Roundoffs, judge
from backends.framework import Framework
from backends.interface import Unsupported
from backends.problem import DTYPES
from backends.visibility import any_row_is_blind
from benchmarks import inputs as seeded
from benchmarks.cases import MASKS, VALUES, Case, case
from benchmarks.conformance import probing
from benchmarks.conformance.probes import BY_NAME, KINDS, PROBES
from benchmarks.conformance.probing import Verdict, ask
from benchmarks.conformance.questions import expect_log_sum_exp, poisoned, question
from tests.helpers import make_problem
from tests.mutants.mutant import Mutant, mutant
from tests.mutants.trial import FRAME

RIGHT = mutant("right")


def answer_of(chosen: Mutant, probe: str, **replaced: Any) -> probing.Answer:
    return ask(dataclasses.replace(chosen.implementation(), **replaced), FRAME, "cpu", BY_NAME[probe])


def test_the_probes_are_well_formed() -> None:
    """Names are columns: unique; cases are data, survive JSON, and only those about empty rows have any."""
    assert len(BY_NAME) == len(PROBES)
    for probe in PROBES:
        assert probe.says
        assert probe.kind in KINDS
        for one in probe.cases:
            assert Case.from_dict(json.loads(json.dumps(one.to_dict()))) == one
            is_about_it = probe.topic == "empty_rows" or probe.kind == "log-sum-exp"
            assert is_about_it or not any_row_is_blind(question(one, 0).inputs, one.semantics), one.name
    assert {one.dtype for probe in PROBES for one in probe.cases} == set(DTYPES)
    assert {one.values for probe in PROBES for one in probe.cases} == set(VALUES)


def test_what_is_not_about_bounds_has_them() -> None:
    """Where the values are normal, scores are known well enough even for those who store them in 16 bits three times."""
    for one in (one for probe in PROBES for one in probe.cases if one.values == "normal"):
        claims = Roundoffs.of(one.dtype, accumulate=None if one.dtype == "float16" else "float32", roundings=3)
        expected = question(one, 0).expected["output"]
        assert judge(expected.out, one.dtype, expected, claims).correct, one.name


def test_an_answer_has_the_largest_errors() -> None:
    """Over the bound, over the size of the output, and for 16 bits over the error of the textbook form."""
    wide, narrow, back = (answer_of(RIGHT, name) for name in ("plain", "bfloat16", "grad-bfloat16"))
    for found in (wide, narrow, back):
        assert found.verdict is Verdict.PASS
        assert found.error_over_bound is not None
        assert 0 < found.error_over_bound < 1
        assert found.rmse_over_rms is not None
        assert 0 < found.rmse_over_rms < 0.01
    assert wide.error_over_naive is back.error_over_naive is None
    assert narrow.error_over_naive is not None
    assert 0 < narrow.error_over_naive <= 1


def test_numbers_that_are_not_finite_are_none() -> None:
    """An output of NaN has no largest error; JSON has no word for it either."""
    found = answer_of(mutant("nan", out=lambda a: np.full((a.B, a.N, a.T, a.V), np.nan)), "plain")
    assert found.verdict is Verdict.FAIL
    assert found.error_over_bound is found.rmse_over_rms is None
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_outliers_make_the_textbook_form_worse_than_what_sums_in_float32() -> None:
    """Where one number in a thousand is large, storing scores in 16 bits costs accuracy: the ratio falls."""
    ordinary, outliers = answer_of(RIGHT, "bfloat16"), answer_of(RIGHT, "outliers")
    assert ordinary.error_over_naive is not None
    assert outliers.error_over_naive is not None
    assert outliers.error_over_naive < ordinary.error_over_naive


def test_what_no_bound_can_judge_is_refused_where_the_values_are_to_blame() -> None:
    """Claims too wide for large scores are no failure of the arithmetic claimed; for normal values they are."""

    def wide(dtype: str) -> Roundoffs:
        return Roundoffs.of(dtype, accumulate="bfloat16")

    assert answer_of(RIGHT, "outliers", roundoffs=wide).verdict is Verdict.REFUSED
    assert "no useful bound" in answer_of(RIGHT, "outliers", roundoffs=wide).reason
    assert answer_of(RIGHT, "plain", roundoffs=lambda dtype: Roundoffs.of("bfloat16")).verdict is Verdict.FAIL


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_who_takes_16_bits_alone_is_asked_everything_in_them(dtype: str) -> None:
    """As the fused kernels of accelerators: right is right there, and what is wrong shows."""
    for probe in PROBES:
        is_in_float32 = [one.dtype == "float32" for one in probe.cases]
        found = answer_of(RIGHT, probe.name, dtypes=(dtype,))
        if any(is_in_float32):
            assert (found.verdict, found.reason) == (Verdict.PASS, f"in {dtype}, for float32 is refused"), probe.name
    shifted = mutant("shifted", out=lambda a: np.roll(a.probability, 1, axis=-1) @ a.values())
    found = answer_of(shifted, "plain", dtypes=(dtype,))
    assert found.verdict is Verdict.FAIL
    assert found.reason.startswith(f"plain-0-{dtype}: ")


def test_every_case_has_a_bound_in_16_bits() -> None:
    """Whatever is asked in them, scores of ordinary values are known well enough."""
    for one in (one for probe in PROBES for one in probe.cases if one.dtype == "float32"):
        for dtype in ("bfloat16", "float16"):
            claims = Roundoffs.of(dtype, accumulate="float32", roundings=3)
            narrow = dataclasses.replace(one, dtype=dtype)
            for expected in question(narrow, 0).expected.values():
                assert one.values != "normal" or judge(expected.out, dtype, expected, claims).correct, one.name


def test_scores_too_large_for_tf32_are_left_out_of_the_log_sum_exp() -> None:
    """What JAX claims on an accelerator: the other cases are answered, as those of the output are."""
    tf32 = dataclasses.replace(Roundoffs.of("float32"), product=2.0**-11, probability=2.0**-10)
    assert answer_of(RIGHT, "log-sum-exp", roundoffs=lambda dtype: tf32).verdict is Verdict.PASS
    large = [one for one in BY_NAME["log-sum-exp"].cases if one.values != "normal"]
    expected = [expect_log_sum_exp(question(one, 0).inputs, one.semantics) for one in large]
    assert not any(judge(told.out, "float32", told, tf32).correct for told in expected)


@pytest.mark.parametrize(
    ("probe", "replaced", "says"),
    [
        ("grad-plain", {"gradient": "because"}, "no backward pass: because"),
        ("log-sum-exp", {"log_sum_exp": None}, "gives no log-sum-exp away"),
        ("bfloat16", {"dtypes": ("float32",)}, "no bfloat16"),
    ],
)
def test_what_is_not_offered_is_refused(probe: str, replaced: dict[str, Any], says: str) -> None:
    found = answer_of(RIGHT, probe, **replaced)
    assert found.verdict is Verdict.REFUSED
    assert says in found.reason


def test_a_refused_case_does_not_count_beside_an_answered_one() -> None:
    """No backward pass: the rows that see nothing are still asked about their output."""
    assert answer_of(RIGHT, "empty-rows", gradient="because").verdict is Verdict.PASS
    nan = mutant("nan", out=lambda a: np.where(a.seen.any(axis=-1, keepdims=True), a.probability @ a.values(), np.nan))
    assert answer_of(nan, "empty-rows", gradient="because").verdict is Verdict.FAIL


@pytest.mark.parametrize("name", ["query", "value", "mask", "bias", "kv_lengths", "upstream"])
def test_nobody_may_write_into_what_was_given(name: str) -> None:
    """Told with the shape, whichever array it is."""

    def around(function: Any) -> Any:
        def call(*arrays: np.ndarray, **keywords: Any) -> Any:
            found = function(*arrays, **keywords)
            for own, array in {
                **dict(zip(("query", "key", "value", "upstream"), arrays, strict=False)),
                **keywords,
            }.items():
                if own == name:
                    array[...] = array[::-1].copy()
            return found

        return call

    probe = {
        "kv_lengths": "lengths",
        "upstream": "grad-plain",
        "query": "plain",
        "value": "plain",
        "mask": "mask",
        "bias": "bias",
    }
    found = answer_of(mutant("writes", around=around), probe[name])
    assert found.verdict is Verdict.FAIL
    assert "the call modified its input of shape (" in found.reason


def test_another_seed_is_another_problem_of_the_same_shape() -> None:
    """Whatever is kept from call to call shows: arrays, mask, bias and lengths all differ."""
    one = next(c for c in BY_NAME["lengths"].cases)
    first, second = question(one, 0).inputs, question(one, 1).inputs
    assert first.shape == second.shape
    assert first.kv_lengths is not None
    assert second.kv_lengths is not None
    assert sorted(first.kv_lengths) == sorted(second.kv_lengths)
    assert not np.array_equal(first.kv_lengths, second.kv_lengths)
    assert not np.array_equal(first.key, second.key)
    assert question(one, 0) is question(one, 0)


def test_poison_is_in_what_is_hidden_alone() -> None:
    """NaN and Inf, and the oracle says that the output is what it was."""
    for one in BY_NAME["nan-in-value"].cases:
        inputs = question(one, 0).inputs
        wild = poisoned(inputs, one, "value")
        assert np.isnan(wild.value).any()
        assert np.isinf(wild.value).any()
        out, _ = reference.compute(wild, one.semantics)
        assert np.array_equal(out, question(one, 0).expected["output"].out)


def test_the_bound_of_the_log_sum_exp_holds_in_float32_and_not_in_float16() -> None:
    problem = make_problem(dtype="float32", mask=(2, 4, 12, 20), bias=(4, 12, 20), softcap=3.0)
    expected = expect_log_sum_exp(problem.inputs, problem.semantics)
    claims = Roundoffs.of("float32")
    exact = reference.compute(problem.inputs, problem.semantics)[1]
    assert judge(exact.astype(np.float32), "float32", expected, claims).correct
    assert not judge(exact.astype(np.float16), "float32", expected, claims).correct
    assert not judge(exact + 1e-5, "float32", expected, claims).correct


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_drawn_in_the_dtype_of_the_case(values: str, dtype: str) -> None:
    """Finite, in the dtype that holds them, and other than normal ones where another word is given."""
    made, normal = (
        seeded.make(case("x", "", T=40, S=50, H=64, dtype=dtype, values=word), 0) for word in (values, "normal")
    )
    held = "float32" if dtype == "bfloat16" else dtype
    for name in ("query", "key", "value"):
        array = getattr(made, name)
        assert array.dtype == held
        assert np.isfinite(array).all()
    same = [np.array_equal(getattr(made, name), getattr(normal, name)) for name in ("query", "key", "value")]
    expected = {"normal": [True] * 3, "outliers": [False] * 3, "large-queries": [False, True, True]}
    assert same == expected.get(values, [True, False, True])
    if values == "outliers":
        assert 3 < np.abs(made.key - normal.key).max() < 60
        assert 0 < np.count_nonzero(made.key != normal.key) < made.key.size / 200
    if values == "constant-keys":
        assert (made.key == made.key[:, :1]).all()


@pytest.mark.parametrize("mask", MASKS)
def test_every_mask_lets_every_query_see_something_and_hides_something(mask: str) -> None:
    """Else a row would be empty, which is a question of its own."""
    for T, S in ((13, 21), (13, 13), (21, 13)):
        made = seeded.make(case("x", "", B=2, T=T, S=S, N=3, mask=mask), 0).mask
        assert made is not None
        assert made.any(axis=-1).all()
        assert not made.all()


@pytest.mark.parametrize(("bias", "shape"), [("random", (1, 3, 5, 7)), ("full", (2, 3, 5, 7)), ("keys", (2, 1, 1, 7))])
def test_biases_have_the_axes_that_they_name(bias: str, shape: tuple[int, ...]) -> None:
    made = seeded.make(case("x", "", B=2, T=5, S=7, N=3, bias=bias), 0).bias
    assert made is not None
    assert made.shape == shape


def test_unknown_values_are_refused() -> None:
    with pytest.raises(ValueError, match="values='odd', expected one of normal, outliers"):
        case("x", "", T=4, values="odd")


def test_foreign_exceptions_are_answers() -> None:
    """An implementation that raises is ERROR with its words; Unsupported is a refusal."""

    def raising(error: Exception) -> Any:
        def call(*arrays: Any, **keywords: Any) -> Any:
            raise error

        return call

    found = answer_of(RIGHT, "plain", function=raising(RuntimeError("not today")))
    assert (found.verdict, found.reason) == (Verdict.ERROR, "plain-0: RuntimeError: not today")
    found = answer_of(RIGHT, "plain", dtypes=("float16",), function=raising(RuntimeError("not today")))
    assert (found.verdict, found.reason) == (Verdict.ERROR, "plain-0-float16: RuntimeError: not today")
    assert answer_of(RIGHT, "plain", function=raising(Unsupported("no"))).verdict is Verdict.REFUSED


def test_time_that_is_over_is_told() -> None:
    """Probes that were not asked are errors, not passes."""
    answers = probing.run(RIGHT.implementation(), cast("Framework", FRAME), "cpu", ["plain", "mask"], -math.inf)
    assert {answer["verdict"] for answer in answers} == {Verdict.ERROR}
