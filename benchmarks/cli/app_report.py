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
    TABLE = "table"
    """Of a history, like the next two."""
    CSV = "csv"
    JSON = "json"


@app.command()
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders or summary.csv files, side by side.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File; default report.html, Markdown on stdout.")
    ] = None,
    format: Annotated[
        PageFormat | None,
        typer.Option(
            "--format",
            help="html or markdown; of a history also table, csv or json. Default what the file's suffix says; of a history "
            "without a file, table.",
        ),
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="Instead: trends over all runs in this folder, with change points.")
    ] = None,
    git: Annotated[
        bool,
        typer.Option("--git", help="With --history: the folder's past, a run for each commit that changed one in it."),
    ] = False,
    order: Annotated[
        str,
        typer.Option(
            help="With --history: runs as measured, or committed (where their commits stand); auto: the second where the "
            "measuring went another way than the commits."
        ),
    ] = "auto",
    threshold: Annotated[str, typer.Option(help="With --history: a change counts beyond this share.")] = "3%",
    alpha: Annotated[
        float,
        typer.Option(min=1e-9, max=0.5, help="With --history: chance of one false change among all cells, at most."),
    ] = 0.01,
    all_: Annotated[bool, typer.Option("--all", help="With --history: print every cell, uneventful ones too.")] = False,
    conformance: Annotated[
        Path | None,
        typer.Option(help="Answers of `check --csv`; default those beside the run, then results/conformance.csv."),
    ] = None,
) -> None:
    """One or more runs as one self-contained HTML page, or as Markdown."""
    if history is not None:
        from benchmarks.cli.history_command import HistoryRequest, write_history

        asked = HistoryRequest(
            folder=history, output=output, runs=runs or [], format=None if format is None else str(format), git=git,
            order=order, threshold=threshold, alpha=alpha, show_all=all_,
        )  # fmt: skip
        raise typer.Exit(write_history(asked))
    if git or format in (PageFormat.TABLE, PageFormat.CSV, PageFormat.JSON):
        from benchmarks.errors import UsageError

        raise UsageError(f"{'--git' if git else f'--format {format}'} is for a history: give its folder with --history")
    from benchmarks.cli.report_command import ReportRequest, write_report

    request = ReportRequest(
        runs=runs or [], output=output, format=None if format is None else str(format), conformance=conformance
    )
    raise typer.Exit(write_report(request))
