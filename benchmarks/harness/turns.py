"""How often a cell's turn comes, and how many calls it times then."""

from __future__ import annotations

_FEWEST_TURNS = 3
_LONGEST, _LONGEST_S = 1.5, 0.6
"""Turns of a cell, in one process, take up to so much of the time that was asked for, or so many seconds if that is more; there
are fewer of them where calls are too long for it."""
_FEWEST_CALLS, _CALL_S = 3, 0.01
"""So that a block has a middle lap, and the call that goes before it untimed is a quarter of the turn and not half; and as many
as of calls of this length there are in a block, so that it is a smaller part where longer blocks were asked for."""
_LONGEST_BLOCK, _LONGEST_BLOCK_S = 20, 1.0
"""Times what was asked for, or seconds if that is more: longer than this no block gets for the sake of those calls."""


def calls_and_turns(per_call_s: float, block_s: float, rounds: int) -> tuple[int, int]:
    """Calls of each block, and blocks in one process: `rounds` of them, of some `block_s`, and fewer where calls are long.

    Before each block goes one more call, which is not timed. Of the time that turns take, over the cells of `default`, this
    leaves 72 % for timed blocks of 28 ms, and 88 % for those of 100 ms (docs/architecture.md).
    """
    fewest = max(_FEWEST_CALLS, round(block_s / _CALL_S))
    longest_block_s = max(_LONGEST_BLOCK_S, _LONGEST_BLOCK * block_s)
    calls = max(1, round(block_s / per_call_s), min(fewest, int(longest_block_s / per_call_s)))
    turns = round(max(_LONGEST_S, _LONGEST * rounds * block_s) / (per_call_s * (calls + 1)))
    return calls, min(rounds, max(_FEWEST_TURNS, turns))


def has_turn(block: int, turns: int, rounds: int) -> bool:
    """Whether a cell that has so many turns has one in this round: they are spread evenly."""
    return (block + 1) * turns // rounds != block * turns // rounds
