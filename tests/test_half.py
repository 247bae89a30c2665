"""float16 as float32 by integer operations, against NumPy's own conversion."""

import numpy as np
import pytest

from backends import numpy_half
from backends.numpy_half import widened

WIDE = np.dtype(np.float32)
EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
"""Every float16 there is: signed zeros, subnormal numbers, infinities and all NaN."""


@pytest.mark.parametrize("at_once", [1 << 16, 1000])
def test_every_float16_becomes_the_float32_that_numpy_makes_of_it(monkeypatch, at_once):
    """Bit for bit, in blocks with a rest, too."""
    monkeypatch.setattr(numpy_half, "_AT_ONCE", at_once)
    np.testing.assert_array_equal(widened(EVERY, WIDE).view(np.int32), EVERY.astype(WIDE).view(np.int32))


def test_any_order_in_memory_keeps_its_places():
    """A view with its axes swapped, and one of every second number."""
    for view in (EVERY.reshape(2, -1, 64).swapaxes(0, 1), EVERY.reshape(-1, 2)[:, 0], EVERY.reshape(1, 1, -1, 64)):
        np.testing.assert_array_equal(widened(view, WIDE).view(np.int32), view.astype(WIDE).view(np.int32))


def test_what_is_wide_already_is_not_copied():
    """float32 and float64 are returned as they are."""
    for dtype in (np.float32, np.float64):
        array = np.ones(1 << 16, dtype)
        assert widened(array, np.dtype(dtype)) is array


def test_where_subnormal_numbers_are_taken_for_zero_numpy_converts(monkeypatch):
    """As after a library has set its processor's flags: multiplied by anything, they would be 0."""
    assert numpy_half._subnormals_count()
    monkeypatch.setattr(numpy_half, "_UNBIASED", np.float32(0))
    assert not numpy_half._subnormals_count()
    np.testing.assert_array_equal(widened(EVERY, WIDE), EVERY.astype(WIDE))
