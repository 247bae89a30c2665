"""`report`: the command and its options. Its work stands in benchmarks.cli.report_command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.app import app


class PageFormat(StrEnum):
    """How a report is written."""

    HTML = "html"
    MARKDOWN = "markdown"


@app.command()
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders or summary.csv files, side by side.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File; default report.html, Markdown on stdout.")
    ] = None,
    format: Annotated[
        PageFormat | None, typer.Option("--format", help="html or markdown; default what the file's suffix says.")
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="Instead: trends over all runs in this folder, with change points.")
    ] = None,
    conformance: Annotated[
        Path | None,
        typer.Option(help="Answers of `check --csv`; default those beside the run, then results/conformance.csv."),
    ] = None,
) -> None:
    """One or more runs as one self-contained HTML page, or as Markdown."""
    if history is not None:
        from benchmarks.cli.history_command import write_history

        raise typer.Exit(write_history(history, output, runs=runs or [], format=None if format is None else str(format)))
    from benchmarks.cli.report_command import ReportRequest, write_report

    request = ReportRequest(
        runs=runs or [], output=output, format=None if format is None else str(format), conformance=conformance
    )
    raise typer.Exit(write_report(request))
