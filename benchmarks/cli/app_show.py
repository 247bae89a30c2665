"""`show` and `recommend`: their options and their help; what they do stands in their own modules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options as o
from benchmarks.cli.app import app


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="Run folder or summary.csv.")],
    case: o.CaseGlob = None,
    implementation: o.ImplementationGlob = None,
    framework: Annotated[list[str] | None, typer.Option(help="Only this framework. May be repeated.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="Only this device. May be repeated.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Only this dtype. May be repeated.")] = None,
    pass_: Annotated[list[str] | None, typer.Option("--pass", help="Only this pass. May be repeated.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="Only cells that ended so. May be repeated.")] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="Best first: median, error, memory, first-call, gflops, speedup, interval; or case, implementation. "
            "Cells of a case by it, cases by their first cell. Default: as the run printed them."
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The worst first.")] = False,
    format: o.OutputFormat = o.Format.TABLE,
    parquet: Annotated[Path | None, typer.Option(help="Write the cells shown to this Parquet file, too.")] = None,
) -> None:
    """A stored run again, sorted and filtered; best, ratios and the lines below are of the cells shown."""
    from benchmarks.cli.show_command import ShowRequest, show_run
    from benchmarks.selection import Selection

    selection = Selection(
        cases=case or (), implementations=implementation or (), frameworks=framework or (), devices=device or (),
        dtypes=dtype or (), passes=pass_ or (), statuses=status or (),
    )  # fmt: skip
    show_run(ShowRequest(run=run, selection=selection, sort=sort, reverse=reverse, format=format, parquet=parquet))
