"""`report --history`: read many runs, find what changed, print it or write its page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison.thresholds import parse_percent
from benchmarks.errors import UsageError
from benchmarks.harness.process import ROOT
from benchmarks.history import words
from benchmarks.history.from_git import in_git, with_commit_times
from benchmarks.history.runs import Collected, in_folder
from benchmarks.history.tracks import Order
from benchmarks.history.trends import history
from benchmarks.reports.history import history_table, plain_lines
from benchmarks.reports.history_formats import HISTORY_FORMATS
from benchmarks.reports.terminal import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.history.trends import History

SUFFIXES = {".html": "html", ".md": "markdown", ".csv": "csv", ".json": "json", ".txt": "table"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """What the user typed."""

    folder: Path
    output: Path | None
    runs: Sequence[Path]
    format: str | None
    git: bool
    order: str
    threshold: str
    alpha: float
    show_all: bool


def write_history(request: HistoryRequest) -> int:
    """Do it; the exit status. UsageError where there is nothing to show."""
    if request.runs:
        raise UsageError(f"--history {request.folder} and {request.runs[0]}: give one folder that holds all runs")
    form = _form(request)
    if request.order not in tuple(Order):
        raise UsageError(f"--order {request.order!r}, expected one of {', '.join(Order)}")
    threshold = parse_percent(request.threshold)
    found = in_git(request.folder) if request.git else in_folder(request.folder)
    found = Collected(tuple(with_commit_times(found.runs, ROOT)), found.left_out)
    made = history(found, str(request.folder), alpha=request.alpha, threshold=threshold, order=Order(request.order))
    if request.output is None and form == "table":
        console().print(history_table(made, everything=request.show_all))
    elif request.output is None and form != "html":
        console().file.write(HISTORY_FORMATS[form](made))
    else:
        file = request.output or Path("history.html")
        _write(file, _text(made, form, request))
        sys.stderr.write(plain_lines([*words.headline(made), f"written to {file}"]))
    return 0


def _form(request: HistoryRequest) -> str:
    if request.format is not None:
        return request.format
    if request.output is None:
        return "table"
    if request.output.suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UsageError(f"--output {request.output}: suffix {request.output.suffix!r}, expected one of {known}")
    return SUFFIXES[request.output.suffix]


def _text(made: History, form: str, request: HistoryRequest) -> str:
    if form == "html":
        from benchmarks.reports.history_page import history_page
        from benchmarks.reports.page.render import render_page

        return render_page(history_page(made))
    if form == "table":
        out = console()
        with out.capture() as captured:
            out.print(history_table(made, everything=request.show_all))
        return captured.get()
    return HISTORY_FORMATS[form](made)


def _write(file: Path, text: str) -> None:
    """UsageError where it cannot be written."""
    part = file.with_name(file.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from None
