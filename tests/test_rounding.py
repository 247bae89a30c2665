"""round_to, on whose exactness every bfloat16 result stands, against ml_dtypes and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from backends.accuracy import SMALLEST, UNIT_ROUNDOFF, round_to


def same(got: np.ndarray, wanted: np.ndarray) -> None:
    """The same bits, any NaN being as good as another."""
    nan = np.isnan(wanted)
    assert np.array_equal(np.isnan(got), nan)
    assert np.array_equal(got[~nan].view(np.uint32), wanted[~nan].view(np.uint32))


def patterns(kind: str) -> np.ndarray:
    """float32 numbers, by the bits that matter for rounding to their upper half."""
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    if kind == "random":
        bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, np.uint32)
    else:
        lower = {"exact": [0], "ties": [0x8000], "beside ties": [0x7FFF, 0x8001, 0xFFFF, 1]}[kind]
        bits = np.concatenate([upper + np.uint32(low) for low in lower])
    return bits.view(np.float32)


@pytest.mark.parametrize("kind", ["exact", "ties", "beside ties", "random"])
def test_bfloat16_rounds_as_ml_dtypes_does(kind: str) -> None:
    """Every bfloat16 number, every tie between two, their neighbours, subnormals, infinities and NaN."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes comes with jax and tensorflow")
    numbers = patterns(kind)
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = numbers.astype(ml_dtypes.bfloat16).astype(np.float32)
    same(round_to(numbers, "bfloat16"), wanted)


def test_bfloat16_numbers_stay_as_they_are() -> None:
    """Rounding twice changes nothing, and what the constants say about the format is so."""
    numbers = patterns("exact")
    same(round_to(numbers, "bfloat16"), numbers)
    one, unit = np.float32(1), np.float32(UNIT_ROUNDOFF["bfloat16"])
    assert round_to(np.array([one + unit]), "bfloat16")[0] == 1
    assert round_to(np.array([one + 2 * unit]), "bfloat16")[0] == one + 2 * unit
    smallest = np.float32(SMALLEST["bfloat16"])
    assert round_to(np.array([smallest, smallest / 4]), "bfloat16").tolist() == [smallest, 0]


def test_bfloat16_of_float64_is_rounded_once() -> None:
    """A float64 number a hair above a tie goes up: the way through float32 would make it the tie first, and then even."""
    assert round_to(np.array([1 + 2.0**-8 + 2.0**-40]), "bfloat16")[0] == 1 + 2.0**-7
    assert round_to(np.array([1 + 3 * 2.0**-8 - 2.0**-40]), "bfloat16")[0] == 1 + 2.0**-7


@pytest.mark.parametrize("dtype", UNIT_ROUNDOFF)
@pytest.mark.parametrize("shape", [(), (1,), (3, 0), (2, 3), (1, 2, 1, 3)])
def test_the_shape_is_kept(dtype: str, shape: tuple[int, ...]) -> None:
    """Rounding changes numbers and never the shape, not even of a single number; a bias may be one."""
    array = np.full(shape, 1.5, np.float32)
    rounded = round_to(array, dtype)
    assert rounded.shape == shape
    assert (rounded == 1.5).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_numpys_own_formats_round_as_numpy_does(dtype: str) -> None:
    """The other formats come back in their own dtype; too large a number becomes infinite without a warning."""
    numbers = np.array([1e30, 1 / 3, 2.0**-30, np.nan])
    with np.errstate(over="ignore"):
        wanted = numbers.astype(dtype)
    assert round_to(numbers, dtype).dtype == dtype
    np.testing.assert_array_equal(round_to(numbers, dtype), wanted)
