"""How much of its inputs a problem needs: a number that is part of no visible pair of query and key need not be read.

Without a mask what a query sees is an interval of keys, and the cost is O(B*(T+S)); a mask is taken in blocks of rows.
"""

from __future__ import annotations

import numpy as np

from backends.problem import Inputs, Semantics
from backends.visibility import ends, visible

_ROWS = 256


def needed(inputs: Inputs, semantics: Semantics, sizes: tuple[int, ...], *, masked: bool = True) -> int:
    """How many elements of an array are part of a visible pair. A bias hides nothing: -inf has to be read to be known.

    Args:
        inputs: the problem.
        semantics: what else hides keys.
        sizes: of the array, as it lies over (B,N,T,S): (B,N,T,1) are the query rows, (B,K,1,S) the key rows, each with the
            heads of its group, a bias what it is with the missing leading axes prepended.
        masked: whether the mask hides pairs, too. What of the mask itself is needed, only the rest decides.

    """
    if masked and inputs.mask is not None:
        return _under_mask(inputs, semantics, sizes)
    first, last = ends(inputs, semantics)
    b, n, t, s = sizes
    if b == 1:  # first is the same in all batch elements, and so the longest of the intervals holds the others
        first, last = first[:1], last.max(axis=0, keepdims=True)
    if t == 1:
        seen = _covered(first, last, inputs.shape.S)
        count = np.count_nonzero(seen.any(axis=1) if s == 1 else seen)
    else:
        keys = np.maximum(last - first, 0)
        count = np.count_nonzero(keys) if s == 1 else keys.sum()
    return int(count) * (b // len(first)) * n


def _covered(first: np.ndarray, last: np.ndarray, S: int) -> np.ndarray:
    """Boolean (b,S): the keys in some row's interval; from (b,T)."""
    steps = np.zeros((len(first), S + 1), np.int64)
    place, sees = np.arange(len(first))[:, None], first < last
    for border, step in ((first, 1), (last, -1)):
        np.add.at(steps, (np.broadcast_to(place, border.shape)[sees], border[sees]), step)
    covered: np.ndarray = np.cumsum(steps, axis=1)[:, :S] > 0
    return covered


def _under_mask(inputs: Inputs, semantics: Semantics, sizes: tuple[int, ...]) -> int:
    b, n, t, s = sizes
    count, over_rows = 0, np.zeros((), bool)
    for start in range(0, inputs.shape.T, _ROWS):
        seen = visible(inputs, semantics, slice(start, start + _ROWS))
        if s == 1:
            seen = _over(3, seen)
        if t == 1:
            seen = _over(2, seen)
        if seen.shape[1] > n:
            own, heads, *rest = seen.shape
            seen = _over(2, seen.reshape(own, n, heads // n, *rest))[:, :, 0]
        if seen.shape[0] > b:
            seen = _over(0, seen)
        copies = (b // seen.shape[0]) * (n // seen.shape[1])
        if t == 1:
            over_rows = over_rows | seen
            count = copies * int(np.count_nonzero(over_rows))
        else:
            count += copies * int(np.count_nonzero(seen))
    return count


def _over(axis: int, seen: np.ndarray) -> np.ndarray:
    """Whether any along the axis is seen; the axis stays."""
    out: np.ndarray = np.logical_or.reduce(seen, axis=axis, keepdims=True)
    return out
