"""Gradients of NumPy's blocked attention: FlashAttention's algorithm 4. Each tile of probabilities is computed again."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np

from backends import numpy_blocked
from backends.numpy_blocked import Array, Walk, power
from backends.numpy_hiding import hide, tile_of
from backends.numpy_threads import spread


@dataclass(frozen=True, slots=True)
class _Gradients:
    """Where the gradients are summed, in the width of the sums."""

    query: Array
    key: Array
    value: Array
    bias: Array | None
    lock: threading.Lock


def backward(walk: Walk, upstream: Array) -> tuple[Array, Array, Array, Array | None]:
    """Gradients of query, key, value, and of bias where there is one, in the dtype of the query."""
    bias = walk.asked.bias
    arrays = (walk.query, walk.key, walk.value, bias)
    dq, dk, dv, db = (None if a is None else np.zeros(a.shape, walk.wide) for a in arrays)
    assert dq is not None and dk is not None and dv is not None  # noqa: PT018 - of the type checker, not of a test
    to = _Gradients(dq, dk, dv, db, threading.Lock())
    B, K = walk.key.shape[:2]
    # A thread has a key/value head to itself: only a bias is shared.
    spread(_head, [(walk, b, k, upstream, to) for b in range(B) for k in range(K)], walk.threads)
    own = walk.out.dtype
    return (
        dq.astype(own, copy=False),
        dk.astype(own, copy=False),
        dv.astype(own, copy=False),
        None if db is None else db.astype(own, copy=False),
    )


def _head(walk: Walk, b: int, k: int, upstream: Array, to: _Gradients) -> None:
    for rows in walk.row_tiles(in_pieces=False):
        _rows(walk, b, k, rows, upstream, to)


@np.errstate(invalid="ignore")  # Inf in a hidden key or value makes NaN on its way to being hidden
def _rows(walk: Walk, b: int, k: int, rows: slice, upstream: Array, to: _Gradients) -> None:
    """What some query rows of one key/value head add to every gradient."""
    wide, ks = walk.wide, slice(k, k + 1)
    heads, base, calm = walk.heads(ks), walk.base(b, ks), bool(walk.calm[b, k])
    log_base = math.log(base)
    q = walk.flat(walk.query, b, ks, rows)[0]
    d = walk.flat(upstream, b, ks, rows)[0]
    log = walk.log_sum_exp[b, heads, rows].reshape(-1, 1)
    log = np.where(np.isneginf(log), wide.type(0), log / wide.type(log_base))
    carried = (d * walk.flat(walk.out, b, ks, rows)[0]).sum(axis=1, keepdims=True)
    scaled = q * wide.type(walk.scale / log_base)
    of_query = np.zeros_like(q)
    for keys in walk.key_tiles(b, rows, numpy_blocked.KEYS):
        key, value = (_visible(a[b, k, keys]) for a in (walk.key, walk.value))
        scores = scaled @ key.T
        grid = scores.reshape(walk.group, -1, scores.shape[1])
        slope = walk.adjust(grid, b, heads, rows, keys, with_slope=True)
        limits = walk.limits(b, heads, rows, keys, weights=calm)
        scores -= log
        if not calm:
            hide(grid, limits)
        weights = power(base, scores)
        if calm:
            hide(grid, limits)
        to.value[b, k, keys] += weights.T @ d
        # dS = P o (dP - rowsum(D o O)), in the memory of dP
        into = d @ value.T
        into -= carried
        into *= weights
        if to.bias is not None:
            with to.lock:
                _add(tile_of(to.bias, b, heads, rows, keys), into.reshape(grid.shape))
        if slope is not None:
            into *= slope.reshape(into.shape)
        of_query += into @ key
        to.key[b, k, keys] += (into.T @ q) * wide.type(walk.scale)
    to.query[b, heads, rows] = (of_query * wide.type(walk.scale)).reshape(walk.group, -1, q.shape[1])


def _visible(array: Array) -> Array:
    """NaN and Inf as 0: of a key or value that is seen they are in the output already, a hidden one has no part in it."""
    return array if np.isfinite(array).all() else np.where(np.isfinite(array), array, 0)


def _add(to: Array, tile: Array) -> None:
    """Add (heads, rows, keys) to a view of a bias, summed over the axes that are broadcast."""
    axes = tuple(axis for axis, (own, full) in enumerate(zip(to.shape, tile.shape, strict=True)) if own == 1 < full)
    to += tile.sum(axis=axes, keepdims=True) if axes else tile
