"""Numbers in a JSON that anyone may have written."""

from __future__ import annotations

import math


def finite(value: object) -> float | None:
    """The number; None for anything else, NaN, Infinity and whole numbers beyond a float's reach among it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
