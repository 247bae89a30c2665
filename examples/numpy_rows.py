"""Attention in NumPy, some query rows at a time: it holds (B,N,ROWS,S) scores where the textbook form holds (B,N,T,S)."""

import numpy as np

from backends import Deviation, implementation

ROWS = 64


@implementation(
    "numpy/rows",
    dtypes=("float64", "float32"),
    devices=("cpu",),
    layout="BNTH",  # heads before rows: each head is one matrix, and BLAS takes it as it lies
    accepts={"grouped", "value_size", "scale", "softcap", "mask", "bias"},
    deviations=(Deviation("hidden_nan_value", "NaN"),),  # a hidden key weighs 0, and 0 * NaN is NaN
    gradient="forward only",
)
def attention(query, key, value, *, mask=None, bias=None, softcap=None, scale=None):
    """The textbook form, 64 query rows at a time."""
    B, N, T, H = query.shape
    K, S, V = value.shape[1:]
    scale = query.dtype.type(H**-0.5 if scale is None else scale)
    out = np.empty((B, N, T, V), query.dtype)
    for start in range(0, T, ROWS):
        rows = slice(start, start + ROWS)
        # Query heads that share a key/value head become rows of one matrix: nothing is repeated.
        scores = (query[:, :, rows] * scale).reshape(B, K, -1, H) @ key.swapaxes(2, 3)
        scores = scores.reshape(B, N, -1, S)
        if softcap is not None:
            scores = softcap * np.tanh(scores / softcap)
        if bias is not None:
            scores += of_rows(bias, rows)
        if mask is not None:
            scores = np.where(of_rows(mask, rows), scores, -np.inf)
        highest = scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores - np.where(np.isneginf(highest), 0, highest))
        total = weights.sum(axis=-1, keepdims=True)
        mixed = (weights.reshape(B, K, -1, S) @ value).reshape(B, N, -1, V)
        out[:, :, rows] = mixed / np.where(total == 0, 1, total)  # a row that sees no key gives 0
    return out


def of_rows(array, rows):
    """The part of a mask or bias, (B|1, N|1, T|1, S|1), that belongs to these query rows."""
    return array if array.shape[2] == 1 else array[:, :, rows]
