"""backends.attention: any implementation, NumPy arrays in, NumPy array out, in this process."""

from __future__ import annotations

import numpy as np

from backends import execution, registry
from backends.problem import Semantics, Window
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
    framework = implementation.partition("/")[0]
    known = registry.implementations(framework) if framework in registry.FRAMEWORKS else {}
    if implementation not in known:
        choice = ", ".join(known or registry.implementations())
        raise KeyError(f"unknown implementation {implementation!r}, expected one of {choice}")
    loaded = registry.load(framework)
    chosen = known[implementation]
    if 0 in (inputs.shape.T, inputs.shape.S):
        return np.zeros((inputs.shape.B, inputs.shape.T, inputs.shape.N, inputs.shape.V), query.dtype)
    prepared = execution.prepare(chosen, loaded, inputs, semantics, keep=True)
    out, _ = execution.run(chosen, loaded, prepared, inputs.shape.N)
    return out.astype(query.dtype)
