"""NumPy's two products of attention, tile by tile; of a few rows with many keys, as when decoding, in the way that BLAS reads.

BLAS copies a matrix before it multiplies it by a few rows, and then decoding reads its keys twice. OpenBLAS for AVX-512 has
kernels that read small matrices as they lie: 4 rows, 4096 keys, 8 heads of H = 128 take 0.59 ms in pieces, which is that core's
memory bandwidth, and 2.0 whole. For AVX2 it has none, but a matrix times a vector is always read as it lies. On a slower core
with AVX2, where it takes 1.3 ms to read the keys, the same product takes 2.9 ms row by row, 3.6 whole and 3.7 in pieces; the
product with the values 3.3, 2.4 and 2.9. On two threads BLAS shares the whole product better than pieces are shared by us.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from backends.numpy_threads import blas, threads

Array = np.ndarray
FEW_ROWS = 16
"""Up to which a product goes piece by piece."""
_PIECE = 128
"""Keys of a piece."""
_APART = 4
"""Rows up to which scores go row by row where BLAS copies pieces, too: each reads the keys again, then from the cache."""


def product(q: Array, key: Array, out: Array) -> Array:
    """q (k,r,H) @ key (k,s,H) transposed, into `out` (k,r,s); or with one more axis, of a group's heads, after k."""
    in_pieces = 1 < q.shape[1] <= _APART and threads() == 1 if copies_pieces() else q.shape[1] <= FEW_ROWS
    if q.ndim > 3 or not in_pieces:
        np.matmul(q, key.swapaxes(-2, -1), out=out)
        return out
    (k, r, H), s = q.shape, key.shape[1]
    turned, whole = q.swapaxes(1, 2), s - s % _PIECE
    pieces = key[:, :whole].reshape(k, -1, _PIECE, H)
    if copies_pieces():
        scores = (pieces[:, :, None] @ q[:, None, :, :, None])[..., 0].swapaxes(1, 2).reshape(k, r, whole)
    else:
        scores = (pieces @ turned[:, None]).reshape(k, whole, r).swapaxes(1, 2)
    np.copyto(out[:, :, :whole], scores)
    np.copyto(out[:, :, whole:], (key[:, whole:] @ turned).swapaxes(1, 2))
    return out


def mix(weights: Array, value: Array, out: Array) -> Array:
    """weights (k,r,s) @ value (k,s,V), into `out` (k,r,V); or with one more axis, as in product."""
    if weights.ndim > 3 or weights.shape[1] > FEW_ROWS or copies_pieces():
        np.matmul(weights, value, out=out)
        return out
    (k, r, s), V = weights.shape, value.shape[2]
    whole = s - s % _PIECE
    pieces = weights[:, :, :whole].reshape(k, r, -1, _PIECE).swapaxes(1, 2)
    np.sum(pieces @ value[:, :whole].reshape(k, -1, _PIECE, V), axis=1, out=out)
    out += weights[:, :, whole:] @ value[:, whole:]
    return out


@cache
def copies_pieces() -> bool:
    """Whether BLAS is an OpenBLAS without kernels for small matrices. What is not known is taken to have some."""
    known = [] if (controller := blas()) is None else controller.info()
    cores = {library["architecture"] for library in known if library["internal_api"] == "openblas"}
    return bool(cores) and cores.isdisjoint({"SkylakeX", "Cooperlake", "SapphireRapids"})
