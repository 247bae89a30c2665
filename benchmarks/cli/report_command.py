"""`report`: read stored runs, write them as a page or as Markdown."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison.readers import ENVIRONMENT, SAMPLES, SUMMARY
from benchmarks.errors import UsageError
from benchmarks.records import to_csv
from benchmarks.reports.page.answers import answers_file, read_answers
from benchmarks.reports.page.render import render_page
from benchmarks.reports.page.run_page import MOST_CELLS, run_page
from benchmarks.reports.page.stored_runs import read_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORT = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """What the user typed."""

    runs: Sequence[Path]
    output: Path | None
    format: str | None
    conformance: Path | None


def write_report(request: ReportRequest) -> int:
    """Do it; the exit status."""
    format = _format(request)
    if format == "markdown":
        raise UsageError("not built yet")
    file = request.output or Path(REPORT)
    _check_writes_over_no_input(file, request.runs)
    write_file(file, page_of(request.runs, request.conformance, file))
    print(f"Written to {file}", file=sys.stderr)
    return 0


def page_of(paths: Sequence[Path], conformance: Path | None, file: Path) -> str:
    """The page; where there are too many cells for one, all of them go into a CSV beside `file`."""
    runs = read_runs(paths)
    found = answers_file(paths, conformance)
    answers = None if found is None else read_answers(found, runs)
    count = sum(len(run.records) for run in runs)
    beside = ""
    if count > MOST_CELLS:
        table = file.with_suffix(".cells.csv")
        write_file(table, to_csv(record for run in runs for record in run.records))
        beside = table.name
    return render_page(run_page(runs, answers, beside=beside))


def _format(request: ReportRequest) -> str:
    if request.format is not None:
        return request.format
    return "markdown" if request.output is not None and request.output.suffix == ".md" else "html"


def write_file(file: Path, text: str) -> None:
    """Whole or not at all. UsageError where it cannot be written."""
    part = file.with_name(file.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from None


def _check_writes_over_no_input(file: Path, runs: Sequence[Path]) -> None:
    for run in runs:
        folder = run if run.is_dir() else run.parent
        inputs = {run.resolve(), *((folder / name).resolve() for name in (SUMMARY, SAMPLES, ENVIRONMENT))}
        if file.resolve() in inputs:
            raise UsageError(f"-o {file} would write over what is reported; choose another file")
