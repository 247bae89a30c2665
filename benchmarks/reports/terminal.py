"""The table that `run` prints: within 100 columns, the winner of each case marked, one case after the other."""

from __future__ import annotations

import dataclasses
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from benchmarks.insights import winners
from benchmarks.records import Status, by_machine
from benchmarks.reports.text import harmless, megabytes, seconds, shape_words, spread, three_digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from benchmarks.records import Record

WIDTH = 100


def console(*, stderr: bool = False) -> Console:
    """A console of at most 100 columns; plain when piped, and NO_COLOR is respected (by rich)."""
    probe = Console(stderr=stderr)
    width = min(WIDTH, probe.width) if probe.is_terminal else WIDTH
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def run_table(records: Sequence[Record]) -> RenderableType:
    """One block per case, its cells from the fastest to the slowest, then those without a time and why; the cases of each
    machine under its name, where there are several.
    """
    machines = by_machine(records)
    if len(machines) < 2:
        return _cases(records)
    titled = (_of_machine(name, own) for name, own in machines.items())
    return Group(*(block for blocks in titled for block in blocks))


def _of_machine(name: str, records: Sequence[Record]) -> tuple[RenderableType, ...]:
    return Text(f"machine {harmless(name) or 'not recorded'}", style="bold underline"), Text(""), _cases(records)


def _cases(records: Sequence[Record]) -> RenderableType:
    best = winners(records)
    blocks: list[RenderableType] = []
    for case, group in groupby(records, key=lambda r: r.case):
        cells = list(group)
        blocks.append(_case_title(cells[0]))
        blocks.append(_case_table(cells, best.get(case)))
        blocks.extend(_untimed(cells))
        blocks.append(Text(""))
    return Group(*blocks)


def _case_title(record: Record) -> Text:
    title = Text(record.case, style="bold")
    title.append("  " + shape_words(dataclasses.asdict(record)), style="dim")
    return title


def _case_table(cells: Sequence[Record], winner: Record | None) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", width=1)
    table.add_column("implementation", width=27, no_wrap=True, overflow="ellipsis")
    for name, width in (
        ("median", 8),
        ("95% int.", 8),
        ("x best", 6),
        ("GFLOP/s", 7),
        ("first call", 10),
        ("err/bound", 9),
        ("memory", 8),
    ):
        table.add_column(name, width=width, justify="right", no_wrap=True)
    timed = sorted((r for r in cells if r.median_s is not None), key=lambda r: r.median_s or 0.0)
    for record in timed:
        median = record.median_s or 0.0
        fastest = (winner.median_s if winner else None) or median
        table.add_row(
            "*" if record is winner else "",
            record.implementation,
            seconds(median),
            spread(median, record.ci_low_s or median, record.ci_high_s or median),
            three_digits(median / fastest),
            "" if record.gflops is None else three_digits(record.gflops),
            seconds(record.first_call_s),
            "" if record.error_over_bound is None else f"{record.error_over_bound:.2g}",
            megabytes(record.peak_memory_bytes),
            style="bold green" if record is winner else "",
        )
    return table


def _untimed(cells: Sequence[Record]) -> list[Text]:
    """Cells with one and the same reason share a line."""
    lines = []
    untimed = [r for r in cells if r.status is not Status.OK]
    for (status, reason, failed), group in groupby(untimed, key=lambda r: (r.status, r.reason, r.failed)):
        names = ", ".join(r.implementation for r in group)
        style = "red" if failed else "dim"
        lines.append(Text(f"   {names} {status}: {harmless(reason)}", style=style))
    return lines
