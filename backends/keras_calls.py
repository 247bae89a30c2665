"""What is the same in Keras on each of its backends: loading it there, and the ways in which its users compute attention.

Keras has one backend for as long as a process lives, named before it is imported: tf_keras, keras_jax and keras_torch
exclude one another in a process. The harness starts one for each framework, whichever it is.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.interface import Asked

if TYPE_CHECKING:
    import keras

Tensor = Any


def load(backend: str) -> None:
    """Import Keras on this backend, or find it there. RuntimeError where it runs on another one in this process."""
    global keras
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
    elif (other := sys.modules["keras"].config.backend()) != backend:
        raise RuntimeError(
            f"Keras runs on {other} in this process and stays there, expected {backend}: "
            f"start another process, with KERAS_BACKEND={backend} if keras is imported before"
        )
    import keras


def version() -> str:
    """Version of Keras."""
    return f"keras {keras.__version__}"


def settings() -> dict[str, str]:
    """What steers Keras."""
    return {"keras": f"{keras.__version__} on {keras.config.backend()}, floatx {keras.config.floatx()}"}


def naive(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
    """matmul, softmax, matmul in keras.ops: the textbook form; holds all (B,N,T,S) scores, in float32."""
    ops, asked = keras.ops, Asked(**keywords)
    (B, N, T, H), (K, S), V = query.shape, key.shape[1:3], value.shape[3]
    _expect_one_key(S)
    # The queries that share a key/value head become rows of one matrix: grouped heads need no copy of key and value.
    rows = ops.reshape(query, (B, K, N // K * T, H))
    scores = ops.cast(ops.matmul(rows, ops.swapaxes(key, -1, -2)), "float32")
    scores = ops.reshape(scores * (H**-0.5 if asked.scale is None else asked.scale), (B, N, T, S))
    if asked.softcap is not None:
        scores = ops.tanh(scores / asked.softcap) * asked.softcap
    if asked.bias is not None:
        scores = scores + ops.cast(asked.bias, "float32")
    if asked.hides:
        seen = asked.seen(ops.arange(T)[:, None], ops.arange(S), S - T)
        scores = ops.where(seen, scores, -np.inf)
    sees = None
    if asked.hides or asked.bias is not None:  # a bias of -inf hides, too
        sees = ops.max(scores, axis=-1, keepdims=True) != -np.inf
        # The softmax of nothing is NaN, and so is its gradient: a row that sees no key becomes 0 afterwards.
        scores = ops.where(sees, scores, 0.0)
    weights = ops.reshape(ops.cast(ops.softmax(scores), value.dtype), (B, K, N // K * T, S))
    out = ops.reshape(ops.matmul(weights, value), (B, N, T, V))
    return out if sees is None else ops.where(sees, out, 0.0)


def dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    causal: str | None = None,
    scale: float | None = None,
) -> Tensor:
    """keras.ops.dot_product_attention."""
    # Of a Python float, and of its own default, Keras on TensorFlow makes a float32, even where the rest is float64; not
    # of a NumPy one.
    scale = np.float64(query.shape[3] ** -0.5 if scale is None else scale)
    return keras.ops.dot_product_attention(
        query, key, value, bias=bias, mask=mask, scale=scale, is_causal=causal is not None
    )


def layer(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    causal: str | None = None,
    scale: float | None = None,
    kv_lengths: Tensor | None = None,
) -> Callable[[Tensor], Tensor]:
    """keras.layers.Attention, built once: what calls it on this query, or on another of its shape."""
    S = key.shape[1]
    _expect_one_key(S)
    # The layer's dtype policy casts its inputs, and its only way to a scale is a weight, which no gradient is asked of.
    dtype = keras.backend.standardize_dtype(query.dtype)
    attention = keras.layers.Attention(use_scale=True, dtype=dtype, trainable=False)
    # Its order is query, value, key.
    attention.build([query.shape, value.shape, key.shape])
    attention.scale.assign(query.shape[-1] ** -0.5 if scale is None else scale)
    masks = None if kv_lengths is None else [None, keras.ops.arange(S) < kv_lengths[:, None]]

    def call(query: Tensor) -> Tensor:
        return attention([query, value, key], mask=masks, use_causal_mask=causal is not None)

    return call


def _expect_one_key(S: int) -> None:
    """Keras warns that a softmax over one key is always 1; that is what attention over one key is."""
    if S == 1:
        warnings.filterwarnings("ignore", message="You are using a softmax over axis")
