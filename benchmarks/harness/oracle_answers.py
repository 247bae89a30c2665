"""What the oracle says of the cases of a run: asked once each, kept in files that the workers read, or the cells fail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from backends import registry
from benchmarks.harness import room
from benchmarks.harness.process import WorkerFailed
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.cases import Case
    from benchmarks.harness.session import Session
    from benchmarks.harness.state import Event, State
    from benchmarks.harness.sweep import Sweep
    from benchmarks.plan import CellKey, Plan

_LIMIT_S = 600.0


class OracleAnswers:
    """Of one session."""

    def __init__(
        self,
        plan: Plan,
        session: Session,
        state: State,
        sweep: Sweep,
        failed: Callable[[CellKey, str, str], None],
        emit: Callable[[Event], None],
    ) -> None:
        """`failed`: told of each cell that ends here, with status and reason."""
        self._plan, self._session, self._state, self._sweep = plan, session, state, sweep
        self._failed, self._emit = failed, emit
        self._place = {case.name: place for place, case in enumerate(plan.cases)}
        self._seconds: dict[str, float] = {}
        """What it took for each case, where it was asked in this session."""

    def has_room(self, case: Case) -> bool:
        """Whether any cell of a case may start. Those that cannot fit have failed before anything is allocated for them."""
        known = registry.implementations()
        cells, limit = self._plan.cells(case), self._plan.memory_limit_bytes
        for cell in cells:
            if self._state.cells[cell].status is None and not self._state.cells[cell].facts:
                implementation, workers = known.get(cell.implementation), len(self._plan.frameworks)
                refused = room.refusal(case, implementation, cell.device, workers, limit)
                if refused is not None:
                    self._failed(cell, *refused)
        return any(self._state.cells[cell].status is None for cell in cells)

    def ask(self, case: Case, extra: int) -> bool:
        """The answer for the inputs that are timed (extra 0) or the fresh ones (1), once, whatever the process.

        False where there is none: then the cells of the case have failed.
        """
        file, open_cells = self.file(case, extra), self._open(case)
        if file.exists():
            return True
        if not open_cells:  # its oracle failed, or a shorter case told how it would end
            return case.name in self._state.cases
        too_long = self._sweep.oracle_takes_too_long(case, self._seconds) if extra == 0 else None
        if too_long is not None:
            return self._none(open_cells, Status.TIMEOUT, too_long)
        fields = {
            "case": case.to_dict(),
            "seed": self._plan.seed + extra,
            "file": str(file),
            "only_expected": extra > 0,
        }
        self._emit({"event": "asking", "case": case.name, "extra": extra})
        start = time.monotonic()
        try:
            answer = self._session.oracle(_LIMIT_S, **fields)
        except WorkerFailed as failure:
            answer = {"status": failure.status, "reason": failure.reason}
        if answer["status"] != Status.OK:
            return self._none(open_cells, answer["status"], f"the oracle failed: {answer['reason']}")
        if extra == 0:
            self._seconds[case.name] = time.monotonic() - start
            told = {k: v for k, v in answer.items() if k not in ("status", "reason")}
            self._emit({"event": "oracle", "case": case.name, **told})
        return True

    def file(self, case: Case, extra: int) -> Path:
        """Where the answer is."""
        return self._session.folder / f"{self._place[case.name]}-{extra}.npz"

    def _open(self, case: Case) -> list[CellKey]:
        return [cell for cell in self._plan.cells(case) if self._state.cells[cell].status is None]

    def _none(self, cells: list[CellKey], status: str, reason: str) -> bool:
        for cell in cells:
            self._failed(cell, status, reason)
        return False
