"""`merge`: the command and its options. Its work stands in benchmarks.cli.merge_command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.app import app


@app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or summary.csv files, two or more.")],
    out: Annotated[Path, typer.Option(help="Folder for the joined run.")],
) -> None:
    """Join runs of several machines or shards into one folder. Exit 2 where they do not belong together."""
    from benchmarks.cli.merge_command import merge_runs

    raise typer.Exit(merge_runs(runs, out))
