"""Which keys a query may see: causal diagonals, windows and lengths as intervals, and the boolean mask on top of them.

Without a mask, what query t sees is always one interval of keys [first, last): counting the visible pairs, finding rows
that see nothing and skipping blocks then cost O(B*T), not O(B*T*S).
"""

from __future__ import annotations

import numpy as np

from backends.problem import Inputs, Semantics

_ROWS = 256


def intervals(
    T: int,
    S: int,
    causal: str | None = None,
    window: tuple[int | None, int | None] | None = None,
    kv_lengths: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """First visible key and one past the last, int64 of shape (B,T); B is 1 without kv_lengths. Empty where first >= last."""
    diagonal = np.arange(T, dtype=np.int64) + (S - T if causal == "bottom_right" else 0)
    first = np.zeros(T, np.int64)
    last = np.full(T, S, np.int64)
    if causal is not None:
        last = np.minimum(last, diagonal + 1)
    if window is not None:
        left, right = window
        if left is not None:
            first = np.maximum(first, diagonal - left)
        if right is not None:
            last = np.minimum(last, diagonal + right + 1)
    lengths = np.array([S]) if kv_lengths is None else kv_lengths
    last = np.minimum(last[None, :], lengths.astype(np.int64)[:, None])
    return np.broadcast_to(first, last.shape), np.maximum(last, 0)


def ends(inputs: Inputs, semantics: Semantics, batch: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """The intervals of some batch elements of a problem, as far as no mask hides keys."""
    lengths = None if inputs.kv_lengths is None else inputs.kv_lengths[batch]
    return intervals(inputs.shape.T, inputs.shape.S, semantics.causal, semantics.window, lengths)


def as_four(array: np.ndarray) -> np.ndarray:
    """A mask or bias with the missing leading axes prepended: (b,n,t,s), each 1 or full."""
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def visible(
    inputs: Inputs,
    semantics: Semantics,
    rows: slice = slice(None),
    batch: slice = slice(None),
    heads: slice = slice(None),
    keys: slice = slice(None),
) -> np.ndarray:
    """Boolean (b,n,t,s), b and n being 1 or full: which of the keys each of the query rows sees, everything combined."""
    shape = inputs.shape
    first, last = ends(inputs, semantics, batch)
    own = np.arange(shape.S)[keys]
    seen: np.ndarray = (own >= first[:, rows, None]) & (own < last[:, rows, None])
    seen = seen[:, None]
    if inputs.mask is not None:
        mask = as_four(inputs.mask)
        wanted = zip(mask.shape, (batch, heads, rows, keys), strict=True)
        seen = seen & mask[tuple(slice(None) if size == 1 else part for size, part in wanted)]
    return seen


def in_sight(inputs: Inputs, semantics: Semantics, rows: slice, batch: slice) -> slice:
    """The keys from the first to the last that any of the query rows may see, as far as no mask hides them."""
    first, last = (end[:, rows] for end in ends(inputs, semantics, batch))
    sees = first < last
    if not sees.any():
        return slice(0, 0)
    return slice(int(first[sees].min()), int(last[sees].max()))


def any_row_is_blind(inputs: Inputs, semantics: Semantics) -> bool:
    """Whether some query row sees no key: nothing is visible to it, or its bias is -inf wherever it could look."""
    if inputs.bias is None or not np.isneginf(inputs.bias).any():
        return count_pairs(inputs, semantics)[1]
    bias = as_four(inputs.bias)
    for start in range(0, inputs.shape.T, _ROWS):
        rows = slice(start, start + _ROWS)
        block = bias if bias.shape[2] == 1 else bias[:, :, rows]
        if not (visible(inputs, semantics, rows) & ~np.isneginf(block)).any(axis=-1).all():
            return True
    return False


def count_pairs(inputs: Inputs, semantics: Semantics) -> tuple[int, bool]:
    """The exact number of visible (query, key) pairs over B and N, and whether some query row sees no key at all."""
    shape = inputs.shape
    if inputs.mask is None:
        first, last = ends(inputs, semantics)
        keys = np.maximum(last - first, 0)
        return int(keys.sum()) * (shape.B // keys.shape[0]) * shape.N, bool((keys == 0).any())
    pairs, empty = 0, False
    for start in range(0, shape.T, _ROWS):
        seen = visible(inputs, semantics, slice(start, start + _ROWS))
        keys = np.count_nonzero(seen, axis=-1)
        pairs += int(keys.sum()) * (shape.B // seen.shape[0]) * (shape.N // seen.shape[1])
        empty |= bool((keys == 0).any())
    return pairs, empty
