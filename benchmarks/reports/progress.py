"""How a run tells that it goes on: a bar with the time left on a terminal, a line per case elsewhere. Always on stderr."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.insights import handicap_line
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.conformance.probing import Answer
    from benchmarks.harness.state import Event
    from benchmarks.plan import Plan


class RunProgress:
    """A context that is told the events of a run."""

    def __init__(self, plan: Plan, *, quiet: bool) -> None:
        self._console = console(stderr=True)
        self._quiet = quiet
        self._plan = plan
        self._steps = plan.blocks + 1
        self._started = time.monotonic()
        self._last = ""
        self._seen: set[str] = set()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        total = plan.processes * len(plan.cases) * len(plan.implementations) * self._steps
        self._task = self._bar.add_task("starting workers", total=total)

    def __enter__(self) -> RunProgress:
        self._bar.start()
        self._say(f"starting {', '.join(self._plan.frameworks)}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Take one event in."""
        kind = event["event"]
        if kind in ("prepared", "block"):
            self._bar.update(self._task, advance=1, description=f"{event['case']} {event['implementation']}")
            self._tell_where(event)
        elif kind == "failed":
            self._bar.update(self._task, advance=self._steps)
            if event["status"] not in ("unsupported", "not_installed"):
                self._tell(f"{event['case']} {event['implementation']} {event['status']}: {event['reason']}")
        elif kind == "greeting":
            self._say(f"{event['framework']}: {event['version'] or event['reason']}")
        elif kind == "handicap":
            self._tell(f"handicap: {handicap_line(event)}; --env neutral does without")
        elif kind == "threads":
            self._tell(f"{event['framework']} runs on {event['found']} threads, {event['asked']} were asked for")
        elif kind in ("trying", "tried"):
            self._trial(event)

    def _trial(self, event: Event) -> None:
        what = f"{event['framework']}'s matmul with and without {', '.join(event['variables'])}"
        if event["event"] == "trying":
            self._bar.update(self._task, description=what)
            self._say(f"trying {what}")
        else:
            self._say(f"tried {what} ({event['seconds']:.0f} s)")

    def _tell_where(self, event: Event) -> None:
        """A line per case that is being prepared, and per quarter of the turns."""
        seconds = f"{time.monotonic() - self._started:.0f} s"
        if event["event"] == "prepared":
            if event["case"] not in self._seen:
                self._say(f"{event['case']}: preparing and checking ({seconds})")
            self._seen.add(event["case"])
            return
        quarter = 4 * event["block"] // self._plan.blocks
        where = f"process {event['process'] + 1} of {self._plan.processes}, {25 * quarter} %"
        if where != self._last:
            self._say(f"timing: {where} ({seconds})")
        self._last = where

    def _say(self, line: str) -> None:
        """A line where there is no bar."""
        if not self._console.is_terminal:
            self._tell(line)

    def _tell(self, line: str) -> None:
        if not self._quiet:
            self._bar.console.print(harmless(line))


@contextlib.contextmanager
def checking(*, quiet: bool) -> Iterator[Callable[[str, Answer | None], None]]:
    """Progress of `check`: the current question on a terminal, a line per implementation elsewhere."""
    err = console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    )
    task = bar.add_task("starting workers", total=None)
    told: set[str] = set()

    def show(text: str, answer: Answer | None) -> None:
        bar.update(task, description=text)
        subject = text.partition(" ")[0] if answer is not None else text
        if not quiet and not err.is_terminal and subject not in told:
            told.add(subject)
            err.print(subject)

    with bar:
        yield show
