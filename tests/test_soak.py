"""The soak sees what grows, and nothing else. The soak itself: `python -m tests.soak`, an hour."""

from __future__ import annotations

import numpy as np
import pytest

from tests.soak import WATCHED, judge

ROUNDS = 200


@pytest.mark.parametrize("seed", range(5))
def test_what_is_flat_is_called_flat(seed):
    """Noise, a neighbour's moment and a start that settles are no growth."""
    rng = np.random.default_rng(seed)
    values = 100 + rng.normal(0, 2, ROUNDS)
    values[60:70] += 40
    values[:10] -= np.linspace(50, 0, 10)
    assert not judge(values, WATCHED["parent memory"]).grows
    assert not judge([7] * ROUNDS, WATCHED["open files"]).grows
    assert not judge(20 + rng.normal(0, 1, ROUNDS), WATCHED["empty call"]).grows


@pytest.mark.parametrize(
    ("name", "start", "per_round", "noise"),
    [
        ("parent memory", 100, 0.05, 2),
        ("open files", 10, 1, 0),
        ("temporary files", 0, 1, 0),
        ("empty call", 20, 0.02, 1),
    ],
)
def test_what_grows_is_found(name, start, per_round, noise):
    """50 kB a round, a file a round, a nanosecond in 50 rounds."""
    values = start + per_round * np.arange(ROUNDS) + np.random.default_rng(0).normal(0, noise, ROUNDS)
    assert judge(values, WATCHED[name]).grows


def test_a_file_now_and_then_is_found():
    """One in forty rounds: the median of all slopes is 0, the thirds are not alike."""
    assert judge([10 + n // 40 for n in range(ROUNDS)], WATCHED["open files"]).grows
