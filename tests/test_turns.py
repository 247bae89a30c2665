"""How many calls a block times, and how many blocks a cell gets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.turns import calls_and_turns, has_turn

BLOCK_S, ROUNDS = 0.028, 12
LONG_BLOCK_S = 0.1


@pytest.mark.parametrize(
    ("block_s", "per_call_s", "calls", "turns"),
    [
        (BLOCK_S, 20e-6, 1400, 12),
        (BLOCK_S, 0.007, 4, 12),
        (BLOCK_S, 0.0279, 3, 5),
        (BLOCK_S, 0.4, 2, 3),
        (BLOCK_S, 0.9, 1, 3),
        (BLOCK_S, 60.0, 1, 3),
        # In longer blocks the untimed call is a smaller part: of ten calls, where they take two seconds at most.
        (LONG_BLOCK_S, 20e-6, 5000, 12),
        (LONG_BLOCK_S, 0.007, 14, 12),
        (LONG_BLOCK_S, 0.03, 10, 5),
        (LONG_BLOCK_S, 0.19, 10, 3),
        (LONG_BLOCK_S, 0.4, 5, 3),
        (LONG_BLOCK_S, 1.9, 1, 3),
        (LONG_BLOCK_S, 60.0, 1, 3),
    ],
)
def test_short_calls_fill_a_block_and_long_ones_have_a_middle_lap(
    block_s: float, per_call_s: float, calls: int, turns: int
) -> None:
    """Up to a second a block holds three calls at least; what takes longer is not made longer still."""
    assert calls_and_turns(per_call_s, block_s, ROUNDS) == (calls, turns)


@given(st.floats(1e-7, 1e3), st.floats(1e-3, 1.0), st.integers(1, 100))
def test_blocks_stay_within_their_limits(per_call_s: float, block_s: float, rounds: int) -> None:
    """At any length of call, of block, and number of rounds."""
    calls, turns = calls_and_turns(per_call_s, block_s, rounds)
    assert calls >= 1
    assert 1 <= turns <= rounds
    assert turns >= min(rounds, 3)
    assert calls * per_call_s <= max(1.0, per_call_s, 20 * block_s)


@given(st.floats(1e-7, 0.0105), st.integers(1, 5000))
def test_as_many_blocks_as_asked(per_call_s: float, rounds: int) -> None:
    """`--blocks 4000` gave eighteen once: a limit in seconds did not grow with what was asked for."""
    assert calls_and_turns(per_call_s, BLOCK_S, rounds)[1] == rounds


@given(st.integers(1, 100), st.data())
def test_turns_are_as_many_as_asked_and_spread(rounds: int, data: st.DataObject) -> None:
    """Between two turns lie as many rounds everywhere, to one."""
    turns = data.draw(st.integers(1, rounds))
    has = [block for block in range(rounds) if has_turn(block, turns, rounds)]
    assert len(has) == turns
    gaps = {later - earlier for earlier, later in itertools.pairwise(has)}
    assert not gaps or max(gaps) - min(gaps) <= 1
