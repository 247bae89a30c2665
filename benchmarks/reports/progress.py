"""How a run tells that it goes on: a bar with the time left on a terminal, a line per case elsewhere. Always on stderr."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from benchmarks.conformance.probes import BY_NAME
from benchmarks.conformance.probing import Verdict
from benchmarks.harness.provisional import Provisional
from benchmarks.harness.threads import threads_line
from benchmarks.insights import handicap_warning
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless, seconds, three_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console
    from rich.progress import ProgressColumn

    from benchmarks.conformance.probing import Answer
    from benchmarks.harness.state import Event
    from benchmarks.plan import Plan


def bar_of(screen: Console, *columns: ProgressColumn, quiet: bool) -> Progress:
    """A bar that goes away when it is done; on a terminal alone. It is drawn between blocks, and once a second besides:
    drawing takes a millisecond of a core, and what is timed meanwhile would feel more.
    """
    return Progress(
        *columns, console=screen, transient=True, refresh_per_second=1, disable=quiet or not screen.is_terminal
    )


def usual_columns(width: int, *, left: str = "left") -> list[ProgressColumn]:
    """What is being done, a bar, how much, since when and for how long, as far as the width allows."""
    bar = 0 if width < _NARROW else 8 if width < _ROOMY else 20
    room = max(10, width - bar - len(left) - _NUMBERS)
    words = Column(width=room, no_wrap=True, overflow="ellipsis")
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False, table_column=words)]
    columns += [BarColumn(bar_width=bar)] if bar else []
    return [*columns, TaskProgressColumn(), TimeElapsedColumn(), TextColumn(left), TimeRemainingColumn()]


_NUMBERS = 24
"""Columns of the share that is done, of two times, and the gaps between all of it."""
_ROOMY, _NARROW = 90, 60
_DRAWN_EVERY_S = 0.25
_WARNINGS: Mapping[str, Callable[[Event], str]] = {
    "handicap": handicap_warning,
    "threads": threads_line,
    "note": lambda event: str(event["text"]),
}
"""Kind of event -> its sentence, which stands under the table too."""
_TOLD = 2
"""Implementations besides the fastest, in the line of a case."""


class RunProgress:
    """A context that is told the events of a run."""

    def __init__(self, plan: Plan, *, quiet: bool) -> None:
        self._console = console(stderr=True)
        self._quiet = quiet
        self._plan = plan
        self._steps = plan.blocks + 1
        self._started = time.monotonic()
        self._drawn = 0.0
        self._last = ""
        self._seen: set[str] = set()
        self._known = Provisional()
        self._bar = bar_of(self._console, *usual_columns(self._console.width), quiet=quiet)
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
        self._known.apply(event)
        if kind in ("prepared", "block"):
            self._step(event)
            self._tell_where(event)
        elif kind == "failed":
            self._bar.update(self._task, advance=self._steps)
            if event["status"] not in ("unsupported", "not_installed"):
                self._tell(f"{event['case']} {event['implementation']} {event['status']}: {event['reason']}")
        elif kind == "greeting":
            self._say(f"{event['framework']}: {event['version'] or event['reason']}")
        elif kind in _WARNINGS:
            self._tell(_WARNINGS[kind](event))
        elif kind in ("trying", "tried"):
            self._trial(event)
        elif kind == "asking":
            self._asking(event)
        elif kind == "case":
            self._tell_case(event)

    def _step(self, event: Event) -> None:
        """One step further; the current cell, with its median so far."""
        median = self._known.median(event["case"], event["implementation"])
        so_far = seconds(median) if median else "preparing"
        words = f"{event['implementation']} {so_far} {event['case']}"
        self._bar.update(self._task, advance=1, description=harmless(words))
        now = time.monotonic()
        if now - self._drawn > _DRAWN_EVERY_S:
            self._drawn = now
            self._bar.refresh()

    def _tell_case(self, event: Event) -> None:
        """A case whose turns in one process are over: the first tells what is to be expected, the last what has come out."""
        ranking, process = self._known.ranking(event["case"]), event["process"] + 1
        if not ranking or process not in (1, self._plan.processes):
            return
        (best, fastest), *others = ranking
        so_far = "" if process == self._plan.processes else f"; so far, process {process} of {self._plan.processes}"
        head = f"{event['case']}: {best} {seconds(fastest)}"
        told = [f"{name} x{three_digits(median / fastest)}" for name, median in others[:_TOLD]]
        more = len(others) - len(told)
        told += [f"{more} more"] if more > 0 else []
        self._tell(", ".join((head, *told)) + so_far)

    def _asking(self, event: Event) -> None:
        """The oracle of a large case takes minutes, while the frameworks import and after."""
        what = f"{event['case']}: the oracle computes"
        self._bar.update(self._task, description=harmless(what))
        if event["extra"] == 0:
            self._say(f"{what} ({time.monotonic() - self._started:.0f} s)")

    def _trial(self, event: Event) -> None:
        what = f"{event['framework']}'s matmul with and without {', '.join(event['variables'])}"
        if event["event"] == "trying":
            self._bar.update(self._task, description=what)
            self._say(f"trying {what}")
        else:
            self._say(f"tried {what} ({event['seconds']:.0f} s)")

    def _tell_where(self, event: Event) -> None:
        """A line per case that is being prepared, and per quarter of the turns."""
        since = f"{time.monotonic() - self._started:.0f} s"
        if event["event"] == "prepared":
            if event["case"] not in self._seen:
                self._say(f"{event['case']}: preparing and checking ({since})")
            self._seen.add(event["case"])
            return
        quarter = 4 * event["block"] // self._plan.blocks
        where = f"process {event['process'] + 1} of {self._plan.processes}, {25 * quarter} %"
        if where != self._last:
            self._say(f"timing: {where} ({since})")
        self._last = where

    def _say(self, line: str) -> None:
        """A line where there is no bar."""
        if not self._console.is_terminal:
            self._tell(line)

    def _tell(self, line: str) -> None:
        if not self._quiet:
            self._bar.console.print(harmless(line), soft_wrap=True)


@contextlib.contextmanager
def checking(*, quiet: bool, asked: int) -> Iterator[Callable[[str, Answer | None], None]]:
    """Progress of `check`, which asks so many questions: the current one on a terminal, and a line for each implementation
    that has answered all of its own.
    """
    err = console(stderr=True)
    bar = bar_of(err, *usual_columns(err.width), quiet=quiet)
    task = bar.add_task("starting workers", total=asked)
    answers: dict[str, list[Answer]] = {}

    def show(text: str, answer: Answer | None) -> None:
        if answer is None:
            bar.update(task, description=harmless(text))
            if not quiet and not err.is_terminal:
                err.print(harmless(text))
            return
        bar.update(task, advance=1, description=harmless(text))
        own = answers.setdefault(answer.implementation, [])
        own.append(answer)
        if not quiet and len(own) == len(BY_NAME):
            counts = Counter(str(one.verdict) for one in own)
            told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in map(str, Verdict) if counts[verdict])
            bar.console.print(harmless(f"{answer.implementation}: {told}"))

    with bar:
        yield show


@contextlib.contextmanager
def working(text: str, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """What is being done, and for how long, while something else than measuring takes its time; on a terminal alone."""
    err = console(stderr=True)
    bar = bar_of(err, SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), quiet=quiet)
    task = bar.add_task(harmless(text), total=None)
    with bar:
        yield lambda told: bar.update(task, description=harmless(told), refresh=True)
