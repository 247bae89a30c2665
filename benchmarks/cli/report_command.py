"""`report`: read stored runs, write them as a page or as Markdown."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison.readers import ENVIRONMENT, SAMPLES, SUMMARY
from benchmarks.errors import UsageError
from benchmarks.files import write_atomically
from benchmarks.records import to_csv
from benchmarks.reports.page.answers import answers_file, read_answers
from benchmarks.reports.page.markdown import markdown_page
from benchmarks.reports.page.render import render_page
from benchmarks.reports.page.run_page import MOST_CELLS, run_page
from benchmarks.reports.page.stored_runs import read_runs
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless
from benchmarks.run_folder import REPORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.reports.page.model import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """What the user typed."""

    runs: Sequence[Path]
    output: Path | None
    format: str | None
    conformance: Path | None


def write_report(request: ReportRequest) -> int:
    """Do it; the exit status."""
    if _format(request) == "markdown":
        text = markdown_page(_page(request.runs, request.conformance, ""))
        if request.output is None:
            console().file.write(text)
            return 0
        _check_writes_over_no_input(request.output, request.runs)
        write_file(request.output, text)
        return 0
    file = request.output or Path(REPORT)
    _check_writes_over_no_input(file, request.runs)
    write_file(file, page_of(request.runs, request.conformance, file))
    print(f"Written to {harmless(str(file))}", file=sys.stderr)
    return 0


def page_of(paths: Sequence[Path], conformance: Path | None, file: Path) -> str:
    """The page; where there are too many cells for one, all of them go into a CSV beside `file`."""
    return render_page(_page(paths, conformance, f"{file.stem}.cells.csv", file.parent))


def _page(paths: Sequence[Path], conformance: Path | None, beside: str, folder: Path | None = None) -> Page:
    runs = read_runs(paths)
    found = answers_file(paths, conformance)
    answers = None if found is None else read_answers(found, runs)
    if folder is None or sum(len(run.records) for run in runs) <= MOST_CELLS:
        return run_page(runs, answers)
    if len(runs) == 1:
        return run_page(runs, answers, beside=SUMMARY)  # they are in a file already
    write_file(folder / beside, to_csv(record for run in runs for record in run.records))
    return run_page(runs, answers, beside=beside)


def _format(request: ReportRequest) -> str:
    if request.format is not None:
        return request.format
    return "markdown" if request.output is not None and request.output.suffix == ".md" else "html"


def write_file(file: Path, text: str) -> None:
    """Whole or not at all. UsageError where it cannot be written."""
    try:
        write_atomically(file, text)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from None


def _check_writes_over_no_input(file: Path, runs: Sequence[Path]) -> None:
    for run in runs:
        folder = run if run.is_dir() else run.parent
        inputs = {run.resolve(), *((folder / name).resolve() for name in (SUMMARY, SAMPLES, ENVIRONMENT))}
        if file.resolve() in inputs:
            raise UsageError(f"-o {file} would write over what is reported; choose another file")
