"""Keras on PyTorch: the textbook form in keras.ops, and what Keras offers ready-made.

Everything around the calls is PyTorch's and stands in its module. There is no float64 here: keras.ops makes float32 of it
on every backend but TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

from backends import keras_calls, torch_backend
from backends.accuracy import UNIT_ROUNDOFF, Roundoffs
from backends.interface import Deviation, KernelMismatch, Prepared, declared_roundoffs, implementation
from backends.torch_backend import (
    KEY_LEAKS,
    VALUE_LEAKS,
    WIDE_SCORES,
    operators_of,
    prove_naive,
)

Tensor = Any

devices = torch_backend.devices
to_native = torch_backend.to_native
to_numpy = torch_backend.to_numpy
dtype_of = torch_backend.dtype_of
barrier = torch_backend.barrier
compile = torch_backend.compile
differentiate = torch_backend.differentiate
pull_back = torch_backend.pull_back
watch = torch_backend.watch
free_bytes = torch_backend.free_bytes
taken_from_disk = torch_backend.taken_from_disk
matmul = torch_backend.matmul
stream = torch_backend.stream


def load() -> None:
    """Import PyTorch, and Keras on it."""
    torch_backend.load()
    os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")  # else Keras moves every tensor to a GPU where there is one
    keras_calls.load("torch")


def version() -> str:
    """Versions of Keras and PyTorch."""
    return f"{keras_calls.version()}, {torch_backend.version()}"


def settings() -> dict[str, str]:
    """Those of PyTorch, and Keras's own."""
    return {**torch_backend.settings(), **keras_calls.settings()}


def _claims_of_layer(dtype: str) -> Roundoffs:
    """Sums and softmax in float32; scores are stored as a product, and times the scale, which is rounded itself."""
    return dataclasses.replace(declared_roundoffs(dtype), score=3 * UNIT_ROUNDOFF[dtype])


def _prove_sdpa(prepared: Prepared) -> str:
    """The kernel that PyTorch chose: flash's, or the plain one for a single key/value head and for V != H."""
    names = operators_of(prepared)
    for kernel in ("_scaled_dot_product_flash_attention", "_scaled_dot_product_attention_math"):
        if found := [name for name in names if name.startswith(f"aten::{kernel}")]:
            return found[0]
    raise KernelMismatch(f"expected a kernel of scaled_dot_product_attention, ran {', '.join(names)}")


_NARROW = ("float32", "bfloat16", "float16")
_OPS = "keras/src/backend/torch/nn.py"
_LAYER = "keras/src/layers/attention/attention.py: _apply_scores; see keras-team/keras#22391"

implementation(
    "keras_torch/naive",
    dtypes=_NARROW,
    devices=("cpu",),
    layout="BNTH",
    deviations=(VALUE_LEAKS,),
    prove=prove_naive,
    naive=True,
    scores_held=(2.5, 4),
)(keras_calls.naive)


@implementation(
    "keras_torch/keras-ops",
    dtypes=_NARROW,
    devices=("cpu",),
    accepts={"grouped", "value_size", "scale", "mask", "bias", "causal_top_left"},
    combines=False,  # bias is passed on in the place of the mask
    roundoffs=WIDE_SCORES,
    deviations=(
        Deviation("empty_rows", "mean(V); in float16 attention without the mask", f"{_OPS}: _get_large_negative"),
        KEY_LEAKS,
        VALUE_LEAKS,
    ),
    prove=_prove_sdpa,
)
def keras_ops(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
    """keras.ops.dot_product_attention, eager: PyTorch's scaled_dot_product_attention, with the kernel that it chooses."""
    return keras_calls.dot_product_attention(query, key, value, **keywords)


@implementation(
    "keras_torch/keras-layer",
    scores_held=(2.1, 3),
    dtypes=_NARROW,
    devices=("cpu",),
    layout="XTH",
    accepts={"value_size", "scale", "causal_top_left", "kv_lengths"},
    setup=True,
    roundoffs=_claims_of_layer,
    deviations=(
        # The layer compares PyTorch's dtype with the string "float16", never finds it, and subtracts 1e9 there, too.
        Deviation("empty_rows", "mean(V); in float16 NaN", _LAYER),
        Deviation("hidden_nan_key", "NaN", _LAYER),
        VALUE_LEAKS,
    ),
    prove=prove_naive,
)
def keras_layer(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Callable[[], Tensor]:
    """keras.layers.Attention, built once and called eagerly; holds all (B*N,T,S) scores."""
    return functools.partial(keras_calls.layer(query, key, value, **keywords), query)
