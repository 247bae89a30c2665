"""`merge`: read the runs, hold them against each other, write one folder, print what it holds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from benchmarks.errors import UsageError
from benchmarks.merging import merge, read_part, write
from benchmarks.records import Status
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.merging import Merged


def merge_runs(runs: Sequence[Path], out: Path) -> int:
    """Do it, print it; the exit status."""
    if len(runs) < 2:
        raise UsageError(f"merge {runs[0]}: expected two runs or more, there is nothing to join it with")
    merged = merge([read_part(run) for run in runs])
    write(merged, out)
    terminal = console()
    terminal.print(_table(merged))
    terminal.print("")
    cells, machines = len(merged.records), len(merged.machines)
    terminal.print(f"{cells} cells of {len(runs)} runs on {machines} machine{'s' if machines > 1 else ''}.")
    terminal.print(Text(harmless(f"Written to {out}")), soft_wrap=True)  # paths are for copying: never broken
    return 0


def _table(merged: Merged) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("machine", width=56, no_wrap=True, overflow="ellipsis")
    for name, width in (("runs", 6), ("cells", 8), ("ok", 8), ("other", 8)):
        table.add_column(name, width=width, justify="right", no_wrap=True)
    for machine, cells in merged.machines.items():
        count = Counter(record.status is Status.OK for record in cells.values())
        runs = sum(machine in part.machines for part in merged.parts)
        table.add_row(
            Text(harmless(machine) or "not recorded"), str(runs), str(len(cells)), str(count[True]), str(count[False])
        )
    return table
