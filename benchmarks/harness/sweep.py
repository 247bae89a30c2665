"""Where a sweep over lengths ends: what a longer case would take, told from the shorter ones before it is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.growth import expected, ladders
from benchmarks.plan import CellKey
from benchmarks.records import NOT_TRIED, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.cases import Case
    from benchmarks.harness.state import State
    from benchmarks.plan import Plan

LONGEST_CALL_S = 2.0
"""A rung on which one call of an implementation would take longer is not tried: a cell is called some fifteen times, and
with twenty implementations the last rung of a ladder takes ten minutes.
"""
_SMALL_FLOPS = 1 << 35
"""Cases of fewer operations are measured together, as those of other suites are; longer ones length by length."""


class Sweep:
    """The ladders of a plan, and what is known of their rungs."""

    def __init__(self, plan: Plan, state: State) -> None:
        self._plan, self._state = plan, state
        self._limit_s = min(LONGEST_CALL_S, plan.time_limit_s)
        self._shorter: dict[str, list[Case]] = {}
        """Case -> the rungs below it, from short to long."""
        self._stage: dict[str, int] = {}
        self._length = {case.name: case.shape.S for case in plan.cases}
        for ladder in ladders(plan.cases):
            small = sum(_flops(case) <= _SMALL_FLOPS for case in ladder)
            for place, case in enumerate(ladder):
                self._shorter[case.name] = ladder[:place]
                self._stage[case.name] = max(0, place - small + 1)

    def stages(self, cases: Iterable[Case]) -> list[list[Case]]:
        """Cases that are measured together, at least one list: first all that is short, then the long rungs one by one."""
        found: dict[int, list[Case]] = {}
        for case in cases:
            found.setdefault(self._stage.get(case.name, 0), []).append(case)
        return [found[stage] for stage in sorted(found)] or [[]]

    def ends_before(self, cases: Iterable[Case]) -> list[tuple[CellKey, tuple[Status, str]]]:
        """The cells of these cases that need not be tried, with status and reason."""
        cells = [cell for case in cases for cell in self._plan.cells(case)]
        return [(cell, ends) for cell in cells if (ends := self._ends_before(cell)) is not None]

    def _ends_before(self, cell: CellKey) -> tuple[Status, str] | None:
        shorter, own = self._shorter.get(cell.case, []), self._state.cells[cell]
        if not shorter or own.facts or own.status is not None:
            return None
        below = self._state.cells[CellKey(shorter[-1].name, cell.implementation, cell.device)]
        if below.status in (Status.TIMEOUT, Status.OUT_OF_MEMORY):
            return below.status, f"{NOT_TRIED}{shorter[-1].name} ended so already"
        # Else the oracle would be asked for each rung, on behalf of a framework that is not installed.
        if below.status in (Status.UNSUPPORTED, Status.NOT_INSTALLED) and all(
            self._state.cells[CellKey(case.name, cell.implementation, cell.device)].status is below.status
            for case in shorter
        ):
            return below.status, f"{NOT_TRIED}every shorter length ended so already"
        known = {
            case.name: self._state.cells[CellKey(case.name, cell.implementation, cell.device)].facts.get("per_call_s")
            for case in shorter
        }
        reason = self._too_long(cell.case, known, self._limit_s, "a call")
        return None if reason is None else (Status.TIMEOUT, reason)

    def oracle_takes_too_long(self, case: Case, seconds: Mapping[str, float]) -> str | None:
        """Why the oracle is not asked; None where it is. `seconds`: what it took for other cases.

        Its limit on a ladder is that of each step of a cell, --time-limit: whoever wants longer rungs gives it more.
        """
        return self._too_long(case.name, seconds, self._plan.time_limit_s, "the oracle")

    def _too_long(self, case: str, seconds: Mapping[str, float | None], limit_s: float, what: str) -> str | None:
        shorter = self._shorter.get(case, [])
        points = [(c.shape.S, s) for c in shorter if (s := seconds.get(c.name)) is not None]
        # Without the rung right below there is nothing to go by: the implementation refused it, or it failed.
        if len(points) < 2 or points[-1][0] != shorter[-1].shape.S:
            return None
        (n1, s1), (n2, s2) = points[-2:]
        takes_s = expected((n1, n2), (s1, s2), self._length[case])
        if takes_s <= limit_s:
            return None
        return (
            f"{NOT_TRIED}{what} would take {takes_s:.2g} s, more than {limit_s:g} s "
            f"(S = {n1}: {s1:.2g} s, S = {n2}: {s2:.2g} s)"
        )


def _flops(case: Case) -> int:
    shape = case.shape
    return (3 if case.backward else 1) * 2 * (shape.H + shape.V) * shape.B * shape.N * shape.T * shape.S
