"""Whether scores are so small that no exponential overflows: then a softmax needs no maxima, which are a sixth of its time."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
_CALM = 30.0
"""Scores no larger than this, in nats, need no maximum subtracted: exp(30) is 1e13, and S of them are far from overflow."""
_ORDINARY = (1e-20, 1e20)
"""Sizes of values whose products with such exponentials neither overflow nor lose bits to subnormal numbers."""


@np.errstate(invalid="ignore", over="ignore")
def are_calm(query: Array, key: Array, value: Array, scale: float, softcap: float | None) -> Array:
    """(k,), bool: whether all scores of query (k,r,H) and key (k,s,H) are small (Cauchy-Schwarz) and the values ordinary.

    NaN and Inf are left out of it: hidden, they are not to change a bit of the output, and seen, they make NaN anyway.
    """
    reach = abs(scale) * _longest(query) * _longest(key)
    if softcap is not None:
        reach = np.minimum(reach, softcap)
    largest = np.maximum(value.max(axis=(1, 2), initial=0), -value.min(axis=(1, 2), initial=0))
    if not np.isfinite(largest).all():
        largest = np.abs(value).max(axis=(1, 2), where=np.isfinite(value), initial=0)
    ordinary = (largest == 0) | ((largest >= _ORDINARY[0]) & (largest <= _ORDINARY[1]))
    found: Array = (reach <= _CALM) & ordinary
    return found


def _longest(rows: Array) -> Array:
    """(k,): the largest norm of a row of (k,r,H), among the rows that are finite."""
    squares = np.einsum("krh,krh->kr", rows, rows)
    largest = squares.max(axis=1, initial=0)
    if not np.isfinite(largest).all():
        largest = squares.max(axis=1, where=np.isfinite(rows).all(axis=2), initial=0)
    found: Array = np.sqrt(largest)
    return found
