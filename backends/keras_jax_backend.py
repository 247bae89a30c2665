"""Keras on JAX: the textbook form in keras.ops, and what Keras offers ready-made.

Everything around the calls is JAX's and stands in its module. There is no float64 here: keras.ops makes float32 of it on
every backend but TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from backends import jax_backend, keras_calls
from backends.accuracy import UNIT_ROUNDOFF, Roundoffs
from backends.interface import Deviation, implementation
from backends.jax_backend import (
    claims_nn,
    prove_eager,
    prove_xla,
)

Array = Any

devices = jax_backend.devices
to_native = jax_backend.to_native
to_numpy = jax_backend.to_numpy
dtype_of = jax_backend.dtype_of
barrier = jax_backend.barrier
compile = jax_backend.compile
differentiate = jax_backend.differentiate
pull_back = jax_backend.pull_back
free_bytes = jax_backend.free_bytes
planned_bytes = jax_backend.planned_bytes
keep_compiled = jax_backend.keep_compiled
taken_from_disk = jax_backend.taken_from_disk
matmul = jax_backend.matmul
stream = jax_backend.stream


def load() -> None:
    """Import JAX, and Keras on it."""
    jax_backend.load()
    keras_calls.load("jax")


def version() -> str:
    """Versions of Keras, JAX and jaxlib."""
    return f"{keras_calls.version()}, {jax_backend.version()}"


def settings() -> dict[str, str]:
    """Those of JAX, and Keras's own."""
    return {**jax_backend.settings(), **keras_calls.settings()}


def _claims(dtype: str) -> Roundoffs:
    """Sums, scores and softmax in float32, subnormals flushed; the first product is stored in the dtype."""
    return Roundoffs.of(dtype, accumulate="float32", flushes=True)


def _claims_of_layer(dtype: str) -> Roundoffs:
    """Sums in float32, subnormals flushed; everything between the products is stored in the dtype, step by step.

    Scores: as a product, times the scale, which is rounded itself, minus the row's maximum. Probabilities: the
    exponential, the sum, the quotient (XLA keeps to the dtype there, for jax.nn.softmax asks it to).
    """
    u = UNIT_ROUNDOFF[dtype]
    smallest = Roundoffs.of(dtype, accumulate="float32", flushes=True).smallest
    return Roundoffs(UNIT_ROUNDOFF["float32"], 4 * u, 4 * u, u, smallest)


_NARROW = ("float32", "bfloat16", "float16")
_OPS = "keras/src/backend/jax/nn.py"
_LAYER = "keras/src/layers/attention/attention.py: _apply_scores; see keras-team/keras#22391"
_LEAKS = Deviation("hidden_nan_value", "NaN", "keras-team/keras#16108: 0 * NaN")
_THEIRS: dict[str, Any] = {
    "devices": ("cpu",),
    "accepts": {"grouped", "scale", "mask", "bias", "causal_top_left"},
    "roundoffs": claims_nn,
    "scores_held": (2.2, 5.2),
    "deviations": (Deviation("empty_rows", "mean(V)", f"{_OPS} calls jax.nn"), _LEAKS),
}

implementation(
    "keras_jax/naive",
    dtypes=_NARROW,
    devices=("cpu",),
    layout="BNTH",
    roundoffs=_claims,
    deviations=(_LEAKS,),
    prove=prove_eager,
    naive=True,
    scores_held=(2.1, 4.8),
)(keras_calls.naive)


@implementation(
    "keras_jax/keras-ops-eager",
    summary="keras.ops.dot_product_attention, eager: it is traced anew in every call.",
    dtypes=_NARROW,
    prove=prove_eager,
    **_THEIRS,
)
# Compiled, XLA has no float16 product of the kind that JAX asks for on the CPU: see jax/nn.
@implementation("keras_jax/keras-ops", dtypes=_NARROW[:2], compile="jit", prove=prove_xla, **_THEIRS)
def keras_ops(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """keras.ops.dot_product_attention under jax.jit, as in Keras's fit and predict: jax.nn's, implementation="xla"."""
    return keras_calls.dot_product_attention(query, key, value, **keywords)


@implementation(
    "keras_jax/keras-layer",
    scores_held=(2.1, 0),
    dtypes=_NARROW,
    devices=("cpu",),
    layout="XTH",
    accepts={"value_size", "scale", "causal_top_left", "kv_lengths"},
    setup=True,
    roundoffs=_claims_of_layer,
    deviations=(Deviation("empty_rows", "mean(V)", _LAYER), Deviation("hidden_nan_key", "NaN", _LAYER), _LEAKS),
    prove=prove_eager,
    gradient="JAX cannot differentiate what was set up beforehand",
)
def keras_layer(query: Array, key: Array, value: Array, **keywords: Any) -> Callable[[], Array]:
    """keras.layers.Attention, built once and called eagerly; holds all (B*N,T,S) scores."""
    return functools.partial(keras_calls.layer(query, key, value, **keywords), query)
