"""JSON from a file that anyone may have written: values and numbers, or one line that says what is wrong."""

from __future__ import annotations

import json
import math
from typing import Any

from benchmarks.errors import UnreadableResults


def parse_json(text: str, where: str) -> Any:
    """The value. UnreadableResults where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableResults(f"{where} is no JSON: {error}") from None


def finite(value: object) -> float | None:
    """The number; None for anything else, NaN, Infinity and whole numbers beyond a float's reach among it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
