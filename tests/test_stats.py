"""Medians and intervals on blocks within processes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.stats import summarise


def blocks(*processes):
    """Blocks of ten calls from seconds per call."""
    return {i: [(10, s) for s in process] for i, process in enumerate(processes)}


def test_the_median_is_per_call_and_within_processes():
    """Calls are counted; each process has a median, and all processes count alike, however many their blocks."""
    found = summarise(blocks([1.0, 2.0, 3.0], [4.0, 5.0]))
    assert found.median_s == pytest.approx((2.0 * 4.5) ** 0.5)
    assert (found.samples, found.blocks, found.processes) == (50, 5, 2)
    assert found.min_s == 1.0


def test_the_interval_holds_the_median_and_the_data_hold_the_interval():
    """However few the blocks, low <= median <= high, within the range of the data."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        found = summarise(blocks(*(rng.lognormal(size=rng.integers(1, 6)) for _ in range(rng.integers(1, 4)))))
        assert found.min_s * (1 - 1e-12) <= found.ci_low_s <= found.median_s <= found.ci_high_s


def test_processes_that_differ_widen_the_interval():
    """A shift between processes is noise that the interval has to show."""
    rng = np.random.default_rng(0)
    base = 1 + 0.001 * rng.standard_normal((4, 8))
    together = summarise(blocks(*base))
    shifted = summarise(blocks(*(base + np.array([[0.0], [0.05], [0.1], [0.15]]))))
    assert shifted.ci_high_s - shifted.ci_low_s > 10 * (together.ci_high_s - together.ci_low_s)


def test_the_interval_covers_the_truth():
    """With noise within and between six processes, the 95 % interval covers the true median in most trials."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        process = 0.02 * rng.standard_normal((6, 1))
        found = summarise(blocks(*(1 + process + 0.01 * rng.standard_normal((6, 6)))))
        covered += found.ci_low_s <= 1 <= found.ci_high_s
    assert covered >= 0.8 * 200


def test_one_block_is_its_own_interval():
    """A single block has no spread to show."""
    found = summarise({0: [(1, 2.0)]})
    assert found.ci_low_s == found.ci_high_s == found.median_s == pytest.approx(2.0)


def test_nothing_measured_is_an_error():
    """Without a block there is no summary."""
    with pytest.raises(ValueError, match="at least one array"):
        summarise({0: []})
