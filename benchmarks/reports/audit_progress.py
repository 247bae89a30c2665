"""How an audit tells that it goes on: a line per trial, and a bar on a terminal. Always on stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from benchmarks.audit.truth import CHANGED
from benchmarks.reports.progress import bar_of, usual_columns
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless

if TYPE_CHECKING:
    from benchmarks.audit.rivals import RivalTrial
    from benchmarks.audit.trials import Trial


class AuditProgress:
    """A context that is told of the trials."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = console(stderr=True)
        self._quiet = quiet
        self._total = 0
        self._trial = ""
        self._started = time.monotonic()
        self._bar = bar_of(self._console, *usual_columns(self._console.width), quiet=quiet)
        self._task = self._bar.add_task("starting", total=0)

    def __enter__(self) -> AuditProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def expect(self, trials: int) -> None:
        """So many trials more are to come."""
        self._total += trials
        self._bar.update(self._task, total=self._total)

    def begin(self, path: str, slowdown: float) -> None:
        """A trial starts."""
        self._trial = _words(path, slowdown)
        self._bar.update(self._task, description=self._trial)

    def show(self, event: Any) -> None:
        """An event of a trial's comparison: the cell that is measured; each trial is told when it ends."""
        if "case" in event:
            cell = f"{event.get('implementation') or event.get('b', '')} {event['case']}"
            self._bar.update(self._task, description=harmless(f"{self._trial}: {cell}"))

    def end(self, trial: Trial) -> None:
        """A trial has ended."""
        called = sum(cell.verdict in CHANGED for cell in trial.cells)
        self._bar.advance(self._task)
        self.tell(f"{_words(trial.path, trial.slowdown)}: {called} of {len(trial.cells)} cells called different")

    def rival(self, name: str, slowdown: float, trial: RivalTrial) -> None:
        """A trial of another tool has ended."""
        self._bar.advance(self._task)
        self.tell(f"{_words(name, slowdown)}: {'slower' if trial.called_slower else 'not slower'}")

    def tell(self, line: str) -> None:
        """A line, with the time."""
        if not self._quiet:
            self._bar.console.print(f"{line} ({time.monotonic() - self._started:.0f} s)")


def _words(path: str, slowdown: float) -> str:
    return f"{path}, identical code" if slowdown == 0 else f"{path}, slowed down by {slowdown:.0%}"
