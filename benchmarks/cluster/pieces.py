"""What is handed to a machine: whole cases, never parts of one.

Implementations of a case take turns on one machine, for only so are their times held side by side. A ladder of lengths stays
together too: where a sweep ends is told from its shorter rungs, and its exponents are of one machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.growth import ladders
from benchmarks.harness.sweep import Sweep

if TYPE_CHECKING:
    from benchmarks.cases import Case
    from benchmarks.harness.state import State
    from benchmarks.plan import Plan

Piece = tuple["Case", ...]
MOST_CASES = 8
"""At once to one machine: frameworks are imported once for all of them, and their turns are spread over as long."""
_SHARES = 2
"""A machine takes its share of what is left, halved: the last ones are small, and all machines end at about one time."""


def pieces(plan: Plan, state: State) -> list[Piece]:
    """What is still to be measured, in the order of the plan: ladders with a stage of their own, and single cases."""
    done = {case for own in (state, *state.machines.values()) for case, _ in own.done}
    long = [ladder for ladder in ladders(plan.cases) if len(Sweep(plan, state).stages(ladder)) > 1]
    of_ladder = {case.name: tuple(ladder) for ladder in long for case in ladder}
    found = dict.fromkeys(of_ladder.get(case.name, (case,)) for case in plan.cases)
    return [piece for piece in found if not all(case.name in done for case in piece)]


def share(left: int, machines: int) -> int:
    """How many pieces the next machine takes."""
    return max(1, min(MOST_CASES, left // (_SHARES * max(1, machines))))
