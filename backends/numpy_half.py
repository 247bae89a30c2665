"""float16 as float32 by integer operations: NumPy converts number by number, in 2.8 ns each on one core; so it takes 0.5.

A float16 is a sign, 5 bits of exponent and 10 of fraction. Moved up by 13 bits it is the float32 of 2^-112 times the number,
for the exponents are biased by 127 and 15; one product, which is exact, gives the number, subnormal ones too. Only Inf and
NaN come out wrong that way, and are converted once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray
_FEWEST = 1 << 15
"""Numbers from which on it pays."""
_AT_ONCE = 1 << 16
"""Numbers whose float32 stay in the second-level cache from one operation to the next."""
_SIGN_AND_REST = np.int32(-0x70002000)
"""As uint32 0x8fffe000: moving a number up has copied its sign into the three bits below."""
_EXPONENT = np.int16(0x7C00)
_UNBIASED = np.float32(2.0**112)


def widened(array: Array, wide: np.dtype[Any]) -> Array:
    """The same numbers in the dtype `wide`; the array itself, where they are."""
    pays = array.dtype == np.float16 and wide == np.float32 and array.size >= _FEWEST and array.flags.c_contiguous
    if not pays or not _subnormals_count():
        return array.astype(wide, copy=False)
    out = np.empty(array.shape, np.float32)
    halves, words, numbers = array.reshape(-1), out.reshape(-1).view(np.int32), out.reshape(-1)
    for first in range(0, halves.size, _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        bits = halves[some].view(np.int16)
        np.left_shift(bits, 13, out=words[some], dtype=np.int32)
        words[some] &= _SIGN_AND_REST
        numbers[some] *= _UNBIASED
        beyond = (bits & _EXPONENT) == _EXPONENT
        if beyond.any():
            numbers[some][beyond] = halves[some][beyond]
    return out


def _subnormals_count() -> bool:
    """Not where a library has told this thread's processor to take them for 0."""
    smallest = np.array([1], np.int32).view(np.float32)
    return bool((smallest * _UNBIASED)[0] > 0)
