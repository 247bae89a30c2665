"""Exponents: planted power laws are found, with noise and with a floor; where a call's own cost hides them, none is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import suites
from benchmarks.cases import case
from benchmarks.growth import FEWEST_RUNGS, Growth, expected, fit, growth, ladders
from benchmarks.records import Status
from tests.test_records import record

LENGTHS = [128 << place for place in range(10)]


@given(
    exponent=st.floats(0.9, 2.6),
    noise=st.floats(0.0, 0.03),
    floor=st.floats(0.0, 1000.0),
    count=st.integers(FEWEST_RUNGS, len(LENGTHS)),
    seed=st.integers(0, 2**16),
)
def test_a_planted_exponent_is_found(exponent, noise, floor, count, seed):
    """Within 0.1, with noise of up to 3 % and a floor of up to a thousand times what the shortest length takes; or none."""
    lengths = LENGTHS[:count]
    law = np.array([floor + (n / 128) ** exponent for n in lengths]) * 1e-5
    spread = np.clip(np.random.default_rng(seed).standard_normal(count), -2, 2)
    found = fit(lengths, list(law * np.exp(noise * spread)))
    assert found is None or found.exponent == pytest.approx(exponent, abs=0.1)
    # It is told where the longest three are far beyond what the shortest takes, and not where nothing is.
    if law[-3] > 12 * law[0]:
        assert found is not None
    if law[-3] < 8 * law[0]:
        assert found is None


def test_the_last_four_count():
    """Caches bend the curve; an exponent is about the longest, and says from where to where it holds."""
    bent = [n if n <= 4096 else n**3 / 4096**2 for n in LENGTHS]
    found = fit(LENGTHS, bent)
    assert found is not None
    assert found.exponent == pytest.approx(3)
    assert (found.first, found.last) == (8192, 65536)


@pytest.mark.parametrize(("lengths", "values"), [([], []), ([1, 2, 4], [1.0, 1.0, 1.0]), ([1, 100], [1.0, 100.0])])
def test_too_little_gives_no_exponent(lengths, values):
    """No points, flat ones, or two."""
    assert fit(lengths, values) is None


@pytest.mark.parametrize(
    ("values", "takes"),
    [
        ((1.0, 4.0), 16.0),
        ((1.0, 1.1), 2.2),  # a floor: every key is read all the same
        ((2.0, 1.0), 2.0),  # noise
        ((1.0, 100.0), 800.0),  # noise: no steeper than the cube
    ],
)
def test_the_next_rung_follows_from_two(values, takes):
    """As between the last two lengths, from linear to cubic."""
    assert expected((512, 1024), values, 2048) == pytest.approx(takes)


def test_the_ladders_of_the_suites():
    """scaling is one, decode has one over the cache, flash one for each head size, mask and dtype; default has none."""

    def lengths(suite):
        return [[c.shape.S for c in ladder] for ladder in ladders(suites.load(suite))]

    assert lengths("scaling") == [[128 << place for place in range(14)]]
    assert lengths("decode") == [[1024 << place for place in range(7)]]
    assert lengths("flash") == [[512 << place for place in range(6)]] * 8
    assert lengths("default") == lengths("smoke") == lengths("masks") == []
    assert len(lengths("full")) == 10


def test_rungs_differ_in_nothing_but_length():
    """Another head size, dtype or mask is no rung; nor are three lengths a ladder."""
    plain = [case(f"a{S}", "here", T=S) for S in (8, 16, 32, 64)]
    others = [case("h", "here", T=128, H=32), case("d", "here", T=128, dtype="float16"), case("t", "here", T=8, S=128)]
    assert ladders([*others, *reversed(plain)]) == [plain]
    assert ladders(plain[:3]) == []


def test_growth_of_records():
    """Time of each implementation; memory where it was measured; rows that failed, or do not tell, are left out."""
    cases = [case(f"a{n}", "here", T=n) for n in LENGTHS]
    rows = [
        record(case=c.name, implementation="numpy/naive", median_s=1e-9 * n**2, peak_memory_bytes=n)
        for c, n in zip(cases, LENGTHS, strict=True)
    ]
    rows[-1] = record(case=cases[-1].name, status=Status.TIMEOUT, median_s=None, reason="slow")
    rows += [record(case=c.name, implementation="numpy/flat", median_s=1.0) for c in cases]
    (found,) = growth(cases, rows)
    assert isinstance(found, Growth)
    assert (found.ladder, found.implementation) == ("a128 to a65536", "numpy/naive")
    assert found.time is not None
    assert found.memory is not None
    assert found.time.exponent == pytest.approx(2)
    assert found.memory.exponent == pytest.approx(1)
    assert found.time.last == 32768
