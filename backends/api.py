"""Any implementation in this process, NumPy arrays in, NumPy arrays out: its output, its gradients, its log-sum-exp."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from backends import backward, execution, registry
from backends.framework import Framework
from backends.interface import Implementation, Unsupported
from backends.problem import Inputs, Semantics, Window
from backends.validation import validate


def attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    implementation: str = "numpy/naive",
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    causal: str | None = None,
    window: Window | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    kv_lengths: np.ndarray | None = None,
) -> np.ndarray:
    """softmax(scale * query @ key.T + bias, over the visible keys) @ value, by one implementation, on the CPU.

    The first call for given shapes, dtype and semantics may compile for seconds; later ones find that done, as long as no
    64 others came between.

    Args:
        query: (B,T,N,H). key: (B,S,K,H). value: (B,S,K,V). One dtype: float64, float32, float16 (or ml_dtypes' bfloat16).
        implementation: an id from backends.implementations().
        mask: bool, True = attend, broadcastable to (B,N,T,S).
        bias: additive, the dtype of query, broadcastable to (B,N,T,S).
        causal: None, "top_left" or "bottom_right".
        window: inclusive counts (left, right) around the causal diagonal in force; None = open.
        softcap: scores become softcap * tanh(scores / softcap) before bias and mask.
        scale: default H ** -0.5.
        kv_lengths: integers (B,): keys at or past the length are invisible.

    Returns:
        (B,T,N,V), the dtype of query.

    Raises:
        InvalidProblem: an argument of the wrong rank, shape, dtype or range.
        Unsupported: the implementation cannot do this problem; the message is the reason.
        MissingFramework, BrokenFramework: with cause and remedy.
        KeyError: an unknown implementation.

    """
    semantics = Semantics(causal, window, softcap, scale)
    inputs = validate(query, key, value, mask=mask, bias=bias, kv_lengths=kv_lengths)
    return _run(implementation, inputs, semantics, query.dtype)["output"]


class Gradients(NamedTuple):
    """What `gradients` returns, each in the shape of its array and in the dtype of query."""

    output: np.ndarray
    """(B,T,N,V)."""
    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    bias: np.ndarray | None
    """None where there is no bias."""


def gradients(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    upstream: np.ndarray,
    implementation: str = "numpy/naive",
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    causal: str | None = None,
    window: Window | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    kv_lengths: np.ndarray | None = None,
) -> Gradients:
    """The output, and how a loss changes with query, key, value and bias, by one implementation, on the CPU.

    Args:
        upstream: (B,T,N,V), the dtype of query: how the loss changes with the output.
        query, key, value, implementation, mask, bias, causal, window, softcap, scale, kv_lengths: see attention.

    Raises: as attention; Unsupported also where the implementation has no backward pass.

    """
    semantics = Semantics(causal, window, softcap, scale)
    inputs = validate(query, key, value, mask=mask, bias=bias, kv_lengths=kv_lengths, upstream=upstream)
    found = _run(implementation, inputs, semantics, query.dtype)
    return Gradients(found["output"], *(found.get(name) for name in backward.NAMES))  # type: ignore[arg-type] # query, key and value are there


def log_sum_exp(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    implementation: str = "numpy/naive",
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    causal: str | None = None,
    window: Window | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    kv_lengths: np.ndarray | None = None,
) -> np.ndarray:
    """log(sum(exp(scores))) over the visible keys, as one implementation's kernel has it, (B,T,N); -inf for a blind row.

    Arguments and errors: attention; Unsupported also where the implementation gives none away.
    """
    semantics = Semantics(causal, window, softcap, scale)
    inputs = validate(query, key, value, mask=mask, bias=bias, kv_lengths=kv_lengths)
    chosen, framework = _loaded(implementation)
    if 0 in (inputs.shape.T, inputs.shape.S):
        return np.full(
            (inputs.shape.B, inputs.shape.T, inputs.shape.N), -np.inf, np.result_type(query.dtype, np.float32)
        )
    return execution.log_sum_exp(chosen, framework, inputs, semantics)


def _loaded(implementation: str) -> tuple[Implementation, Framework]:
    framework = implementation.partition("/")[0]
    known = registry.implementations(framework) if framework in registry.FRAMEWORKS else {}
    if implementation not in known:
        choice = ", ".join(known or registry.implementations())
        raise KeyError(f"unknown implementation {implementation!r}, expected one of {choice}")
    return known[implementation], registry.load(framework)


def _run(implementation: str, inputs: Inputs, semantics: Semantics, dtype: np.dtype[Any]) -> dict[str, np.ndarray]:
    chosen, framework = _loaded(implementation)
    shape, names = inputs.shape, backward.wanted(inputs)
    if 0 in (shape.T, shape.S):
        if names and isinstance(chosen.gradient, str):
            raise Unsupported(f"no backward pass: {chosen.gradient}")
        empty = {name: np.zeros(getattr(inputs, name).shape, dtype) for name in names}
        return {"output": np.zeros((shape.B, shape.T, shape.N, shape.V), dtype), **empty}
    prepared = execution.prepare(chosen, framework, inputs, semantics, keep=True)
    found = execution.run(chosen, framework, prepared, inputs)
    return {name: array.astype(dtype) for name, (array, _) in found.items()}
