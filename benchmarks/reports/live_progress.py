"""How a live comparison tells that it goes on: a bar on a terminal, a line per epoch and verdict elsewhere. On stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from benchmarks.reports.progress import bar_of, usual_columns
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless

if TYPE_CHECKING:
    from benchmarks.live.plan import LivePlan
    from benchmarks.live.state import Event

_EXPECTED = ("unsupported", "not_installed")


class LiveProgress:
    """A context that is told the events of a live comparison."""

    def __init__(self, plan: LivePlan, *, quiet: bool) -> None:
        self._console = console(stderr=True)
        self._quiet = quiet
        self._plan = plan
        self._started = time.monotonic()
        columns = usual_columns(self._console.width, left="left at most")
        self._bar = bar_of(self._console, *columns, quiet=quiet)
        self._task = self._bar.add_task("starting workers", total=plan.epochs * len(plan.pairs) * plan.budget_s)

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        self._tell(f"A: {self._plan.a.label}; B: {self._plan.b.label}; at most {self._plan.epochs} epochs")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Take one event in."""
        kind = event["event"]
        if kind == "turns":
            spent = (sum(event["a_s"]) + sum(event["b_s"])) / 2
            ratio = sum(event["b_s"]) / max(sum(event["a_s"]), 1e-12)
            words = f"{event['epoch'] + 1}: {event['b']} B/A {ratio:.2f} {event['case']}"
            self._bar.update(self._task, advance=spent * self._plan.epochs, description=harmless(words))
        elif kind == "epoch":
            self._say(f"epoch {event['epoch'] + 1} of at most {self._plan.epochs}, {event['open']} cells open")
        elif kind == "verdict":
            self._tell(f"{event['pair']}: {event['verdict']}")
        elif kind == "failed" and event["status"] not in _EXPECTED:
            ran = event["a"] if event["side"] == "A" else event["b"]
            self._tell(f"{event['side']} {event['case']} {ran} {event['status']}: {event['reason']}")

    def _say(self, line: str) -> None:
        """A line where there is no bar."""
        if not self._console.is_terminal:
            self._tell(f"{line} ({time.monotonic() - self._started:.0f} s)")

    def _tell(self, line: str) -> None:
        if not self._quiet:
            self._bar.console.print(harmless(line))
