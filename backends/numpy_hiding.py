"""How NumPy hides scores and weights, fast and without a leak.

What hides is a limit, inf where a score is seen and what it becomes where it is not, for np.fmin: that passes over NaN and
does not branch. A hidden score becomes -inf; a hidden weight 0, for of -inf exp2 takes 5 ns to make one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray


@lru_cache(maxsize=8)
def edges(low: bytes, high: bytes, s: int, dtype: np.dtype[Any], *, weights: bool) -> Array:
    """The limit of rows that see the keys from low to high, int32, of s. Kept: all tiles on a diagonal have the same."""
    first, last = (np.frombuffer(edge, np.int32)[:, None] for edge in (low, high))
    at = np.arange(s, dtype=np.int32)
    return limit_of((at >= first) & (at < last), dtype, weights=weights)


def limit_of(seen: Array, dtype: np.dtype[Any], *, weights: bool) -> Array:
    """inf where seen; where not, 0 for weights and -inf for scores."""
    limit: Array = seen.astype(dtype)
    limit -= dtype.type(0.5)
    limit *= np.inf
    return np.maximum(limit, 0, out=limit) if weights else limit


def hide(array: Array, limits: Sequence[Array]) -> None:
    """Hide scores, or weights, NaN too. See Walk.limits.

    np.copyto and np.where branch: they take 0.3 to 0.5 ns for a score, and 4 where the mask is random. This takes 0.07.
    """
    for limit in limits:
        np.fmin(array, limit, out=array)


def hide_unseen(scores: Array, seen: Array) -> None:
    """-inf in place of the scores that are not seen: bool, broadcast."""
    hide(scores, [limit_of(seen, scores.dtype, weights=False)])


def without_leaks(probability: Array, value: Array, seen: Array) -> Array:
    """probability @ value where 0 * NaN of a hidden key is 0, not NaN. The slow path, taken when the fast one overflowed."""
    groups = probability.shape[1] // value.shape[1]
    value = np.repeat(value, groups, axis=1)
    finite = np.isfinite(value)
    out: Array = probability @ np.where(finite, value, 0)
    seen = np.broadcast_to(seen, probability.shape)
    for s in np.flatnonzero(~finite.all(axis=(0, 1, 3))):
        wild = np.where(finite[:, :, s], 0, value[:, :, s])[:, :, None, :]
        out += np.where(seen[:, :, :, s, None], probability[:, :, :, s, None] * wild, 0)
    return out


def tile_of(array: Array, b: int, heads: slice, rows: slice, keys: slice) -> Array:
    """The part of a mask or bias (b|1, n|1, t|1, s|1) that belongs to one tile, broadcastable to (heads, rows, keys)."""
    whole = slice(None)
    return array[
        b if array.shape[0] > 1 else 0,
        heads if array.shape[1] > 1 else whole,
        rows if array.shape[2] > 1 else whole,
        keys if array.shape[3] > 1 else whole,
    ]
