"""What no implementation could accept is refused alike for all: the argument, what was got and what was expected."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import backends
from backends import InvalidProblem
from backends.problem import Shape
from backends.validation import validate
from tests.helpers import fresh

QUERY, KEY, VALUE = (np.zeros(shape, np.float32) for shape in ((2, 5, 4, 8), (2, 7, 2, 8), (2, 7, 2, 6)))
FULL = "(B,N,T,S) = (2, 4, 5, 7)"


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


# What is given instead of a good argument, and what the message has to hold: argument, got, expected.
WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "query of rank 3": ({"query": zeros(5, 4, 8)}, ("query", "(5, 4, 8)", "4 axes (B,T,N,H)")),
    "key of rank 5": ({"key": zeros(1, 2, 7, 2, 8)}, ("key", "(1, 2, 7, 2, 8)", "4 axes (B,S,K,H)")),
    "value of rank 2": ({"value": zeros(7, 6)}, ("value", "(7, 6)", "4 axes (B,S,K,V)")),
    "query a list": ({"query": [[1.0]]}, ("query", "list", "NumPy array")),
    "value missing": ({"value": None}, ("value", "NoneType", "NumPy array")),
    "integer query": ({"query": QUERY.astype(np.int64)}, ("query", "int64", "float32")),
    "complex key": ({"key": KEY.astype(np.complex64)}, ("key", "complex64", "float32")),
    "boolean value": ({"value": VALUE.astype(bool)}, ("value", "bool", "float32")),
    "long double value": ({"value": VALUE.astype(np.longdouble)}, ("value", np.dtype(np.longdouble).name, "float32")),
    "key of another dtype": ({"key": KEY.astype(np.float64)}, ("key", "float64", "float32 as query has")),
    "value of another dtype": ({"value": VALUE.astype(np.float16)}, ("value", "float16", "float32 as query has")),
    "key of another batch": ({"key": zeros(3, 7, 2, 8)}, ("key", "(3, 7, 2, 8)", "B=2")),
    "key of another head size": ({"key": zeros(2, 7, 2, 9)}, ("key", "(2, 7, 2, 9)", "H=8")),
    "value of another length": ({"value": zeros(2, 6, 2, 6)}, ("value", "(2, 6, 2, 6)", "(2, 7, 2, V)")),
    "value of other heads": ({"value": zeros(2, 7, 1, 6)}, ("value", "(2, 7, 1, 6)", "(2, 7, 2, V)")),
    "heads that do not divide": (
        {"key": zeros(2, 7, 3, 8), "value": zeros(2, 7, 3, 6)},
        ("N=4", "K=3", "multiple of K"),
    ),
    "more key/value heads": ({"key": zeros(2, 7, 8, 8), "value": zeros(2, 7, 8, 6)}, ("N=4", "K=8", "multiple of K")),
    "no batch": ({"query": QUERY[:0], "key": KEY[:0], "value": VALUE[:0]}, ("B=0", "1 or more")),
    "no heads": ({"query": QUERY[:, :, :0]}, ("N=0", "1 or more")),
    "no head size": ({"query": QUERY[..., :0], "key": KEY[..., :0]}, ("H=0", "1 or more")),
    "float mask": ({"mask": zeros(5, 7)}, ("mask", "float32", "bool")),
    "integer mask": ({"mask": zeros(5, 7, dtype=np.int8)}, ("mask", "int8", "bool")),
    "mask a list": ({"mask": [True]}, ("mask", "list", "NumPy array")),
    "mask too short": ({"mask": zeros(5, 6, dtype=bool)}, ("mask", "(5, 6)", FULL)),
    "mask for the key/value heads": ({"mask": zeros(2, 2, 5, 7, dtype=bool)}, ("mask", "(2, 2, 5, 7)", FULL)),
    "mask of rank 5": ({"mask": zeros(1, 1, 1, 5, 7, dtype=bool)}, ("mask", "(1, 1, 1, 5, 7)", FULL)),
    "bias of another dtype": ({"bias": zeros(5, 7, dtype=np.float64)}, ("bias", "float64", "float32 as query has")),
    "boolean bias": ({"bias": zeros(5, 7, dtype=bool)}, ("bias", "bool", "float32 as query has")),
    "bias turned round": ({"bias": zeros(7, 5)}, ("bias", "(7, 5)", FULL)),
    "bias a number": ({"bias": 1.0}, ("bias", "float", "NumPy array")),
    "float lengths": ({"kv_lengths": zeros(2)}, ("kv_lengths", "float32", "integers")),
    "boolean lengths": ({"kv_lengths": zeros(2, dtype=bool)}, ("kv_lengths", "bool", "integers")),
    "one length": ({"kv_lengths": np.array([3])}, ("kv_lengths", "(1,)", "(B,) = (2,)")),
    "a length for all": ({"kv_lengths": np.array(3)}, ("kv_lengths", "()", "(B,) = (2,)")),
    "lengths of rank 2": ({"kv_lengths": np.array([[3, 3]])}, ("kv_lengths", "(1, 2)", "(B,) = (2,)")),
    "ragged lengths": ({"kv_lengths": [[3], [1, 2]]}, ("kv_lengths", "expected")),
    "a length beyond S": ({"kv_lengths": np.array([3, 8])}, ("kv_lengths", "8", "0 to S = 7")),
    "a negative length": ({"kv_lengths": np.array([-1, 3])}, ("kv_lengths", "-1", "0 to S = 7")),
    "causal a bool": ({"causal": True}, ("causal", "True", "'top_left' or 'bottom_right'")),
    "causal False": ({"causal": False}, ("causal", "False", "'top_left' or 'bottom_right'")),
    "causal misspelt": ({"causal": "topleft"}, ("causal", "'topleft'", "'top_left' or 'bottom_right'")),
    "window a number": ({"window": 3}, ("window", "3", "(left, right)")),
    "window a list": ({"window": [1, 2]}, ("window", "[1, 2]", "(left, right)")),
    "window of three": ({"window": (1, 2, 3)}, ("window", "(1, 2, 3)", "(left, right)")),
    "window negative": ({"window": (-1, 0)}, ("window", "(-1, 0)", "0 or more")),
    "window of floats": ({"window": (1.0, 0)}, ("window", "(1.0, 0)", "counts")),
    "window of bools": ({"window": (True, None)}, ("window", "(True, None)", "counts")),
    "scale NaN": ({"scale": math.nan}, ("scale", "nan", "finite number")),
    "scale infinite": ({"scale": math.inf}, ("scale", "inf", "finite number")),
    "scale text": ({"scale": "0.5"}, ("scale", "'0.5'", "finite number")),
    "scale a bool": ({"scale": True}, ("scale", "True", "finite number")),
    "scale complex": ({"scale": 1j}, ("scale", "1j", "finite number")),
    "softcap NaN": ({"softcap": math.nan}, ("softcap", "nan", "finite number")),
    "softcap infinite": ({"softcap": -math.inf}, ("softcap", "-inf", "finite number")),
    "softcap zero": ({"softcap": 0.0}, ("softcap", "0.0", "above 0")),
    "softcap negative": ({"softcap": -5}, ("softcap", "-5", "above 0")),
}


def refusal(given: dict[str, Any], **implementation: str) -> str:
    """The message of backends.attention, without an implementation that of the oracle."""
    arguments = {"query": QUERY, "key": KEY, "value": VALUE, **given}
    attend = backends.attention if implementation else backends.reference.attention
    with pytest.raises(InvalidProblem) as refused:
        attend(**arguments, **implementation)
    return str(refused.value)


@pytest.mark.parametrize("mistake", WRONG)
def test_the_message_names_argument_got_and_expected(mistake: str) -> None:
    """One line that says which argument is wrong, what it is and what it should be."""
    given, words = WRONG[mistake]
    message = refusal(given)
    for word in (*words, "expected"):
        assert word in message
    assert "\n" not in message


@pytest.mark.parametrize("mistake", WRONG)
def test_the_message_is_the_same_for_every_implementation(mistake: str) -> None:
    """The text does not depend on the implementation asked for, not even on whether there is one of that name."""
    given, _ = WRONG[mistake]
    ids = [*backends.implementations(), "jax/no-such", "no-such/naive", ""]
    assert {refusal(given, implementation=id) for id in ids} == {refusal(given)}


@pytest.mark.parametrize("framework", ["tf_keras", "jax", "torch"])
def test_it_is_said_before_any_framework_is_imported(framework: str) -> None:
    """A wrong argument costs no import of seconds, and is told where the framework is missing, too."""
    code = f"""
import sys, numpy as np, backends
id = next(iter(backends.implementations({framework!r})))
a = np.zeros((1, 3, 1, 4), np.float32)
try:
    backends.attention(a, a, a.astype(np.float64), implementation=id)
except backends.InvalidProblem as error:
    print(error)
assert not {{"tensorflow", "keras", "jax", "torch"}} & set(sys.modules)
"""
    assert fresh(code) == "value has dtype float64, expected float32 as query has"


def test_a_dtype_that_the_arrays_do_not_hold_is_refused() -> None:
    """Numbers of bfloat16 may be held in float32, and that is the only difference allowed."""
    assert validate(QUERY, KEY, VALUE, dtype="bfloat16").dtype == "bfloat16"
    assert validate(QUERY, KEY, VALUE).dtype == "float32"
    with pytest.raises(InvalidProblem, match=r"dtype='float16'.*float32.*expected") as refused:
        validate(QUERY, KEY, VALUE, dtype="float16")
    assert "float32" in str(refused.value)


@pytest.mark.parametrize("kv_lengths", [np.array([0, 7]), [0, 7], (0, 7), np.array([0, 7], np.uint8)])
def test_lengths_may_be_any_integers(kv_lengths: Any) -> None:
    """0 and S are lengths, and any sequence of integers will do."""
    lengths = validate(QUERY, KEY, VALUE, kv_lengths=kv_lengths).kv_lengths
    assert lengths is not None
    assert lengths.dtype == np.int32
    assert lengths.tolist() == [0, 7]


def test_nothing_is_copied() -> None:
    """Valid arrays go through as they are."""
    mask, bias = zeros(5, 7, dtype=bool), zeros(1, 5, 7)
    inputs = validate(QUERY, KEY, VALUE, mask=mask, bias=bias)
    assert inputs.query is QUERY
    assert inputs.key is KEY
    assert inputs.value is VALUE
    assert inputs.mask is mask
    assert inputs.bias is bias
    assert inputs.shape == Shape(B=2, T=5, S=7, N=4, K=2, H=8, V=6)


@pytest.mark.parametrize("number", [0.5, 1, np.float64(0.5), np.float32(0.5), np.int64(2)])
def test_scale_and_softcap_may_be_any_real_number(number: Any) -> None:
    """Python's and NumPy's numbers are numbers alike."""
    out = backends.reference.attention(QUERY, KEY, VALUE, scale=number, softcap=number)
    assert out.shape == (2, 5, 4, 6)


def test_bfloat16_of_ml_dtypes_is_held_in_float32() -> None:
    """Arrays of ml_dtypes' bfloat16 are taken and keep their numbers."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes comes with jax and tensorflow")
    query, key, value = (array.astype(ml_dtypes.bfloat16) + 1 for array in (QUERY, KEY, VALUE))
    inputs = validate(query, key, value, bias=zeros(5, 7).astype(ml_dtypes.bfloat16))
    assert inputs.dtype == "bfloat16"
    assert inputs.bias is not None
    assert {a.dtype for a in (inputs.query, inputs.key, inputs.value, inputs.bias)} == {np.dtype(np.float32)}
    assert (inputs.query == 1).all()
