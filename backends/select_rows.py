"""The database select that attention softens, as the blog post has it: a one-hot query against keys, then the row of values."""

from __future__ import annotations

import numpy as np


def select(query: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return, for each query, the row of values whose key it matches.

    score = query @ keys.T is 1 where a one-hot query equals a one-hot key and 0 elsewhere; score @ values then picks the
    row. A query that matches no key gives zeros, one that matches several gives the sum of their rows.

    Args:
        query: (T,H) or (H,), one-hot rows.
        keys: (S,H), one-hot rows.
        values: (S,V).

    Returns:
        (T,V), or (V,) for a single query.

    Raises:
        ValueError: shapes that do not go together.

    """
    query, keys, values = np.asarray(query), np.asarray(keys), np.asarray(values)
    if keys.ndim != 2 or values.ndim != 2 or keys.shape[0] != values.shape[0]:
        raise ValueError(f"keys {keys.shape} and values {values.shape}, expected (S,H) and (S,V)")
    if query.ndim not in (1, 2) or query.shape[-1] != keys.shape[1]:
        raise ValueError(
            f"query {query.shape}, expected (T,H) or (H,) with H = {keys.shape[1]} as keys {keys.shape} have"
        )
    score = query @ keys.T
    out: np.ndarray = score @ values
    return out
