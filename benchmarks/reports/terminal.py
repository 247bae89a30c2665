"""The table that `run` prints: within 100 columns, the winner of each case marked, one case after the other."""

from __future__ import annotations

import dataclasses
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from benchmarks.insights import winners
from benchmarks.records import FIELDS, Status, by_machine
from benchmarks.reports.columns import Column, Columns, Row
from benchmarks.reports.text import harmless, megabytes, seconds, shape_words, spread, three_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from benchmarks.records import Record

WIDTH = 100


def console(*, stderr: bool = False) -> Console:
    """A console of at most 100 columns; plain when piped, and NO_COLOR is respected (by rich)."""
    probe = Console(stderr=stderr)
    width = min(WIDTH, probe.width) if probe.is_terminal else WIDTH
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def run_table(records: Sequence[Record], *, in_order: bool = False) -> RenderableType:
    """One block per case, its cells from the fastest to the slowest, then those without a time and why; the cases of each
    machine under its name, where there are several.

    `in_order`: the cells of a case as they come.
    """
    machines = by_machine(records)
    if len(machines) < 2:
        return _cases(records, in_order=in_order)
    titled = (_of_machine(name, own, in_order=in_order) for name, own in machines.items())
    return Group(*(block for blocks in titled for block in blocks))


def _of_machine(name: str, records: Sequence[Record], *, in_order: bool) -> tuple[RenderableType, ...]:
    title = Text(f"machine {harmless(name) or 'not recorded'}", style="bold underline")
    return title, Text(""), _cases(records, in_order=in_order)


def _cases(records: Sequence[Record], *, in_order: bool) -> RenderableType:
    best = winners(records)
    longest = max((cell_len(record.implementation) for record in records), default=0)
    on_devices = any(record.device_s is not None for record in records)
    known = _ON_DEVICES if on_devices else _COLUMNS
    columns = [dataclasses.replace(c, least=min(c.width, longest)) if c.name == "implementation" else c for c in known]
    blocks: list[RenderableType] = []
    for case, group in groupby(records, key=lambda r: r.case):
        cells = list(group)
        timed = [r for r in cells if r.median_s is not None]
        if not in_order:
            timed.sort(key=lambda r: r.median_s or 0.0)
        blocks.append(_case_title(cells[0]))
        blocks.append(_case_table(timed, best.get(case), columns, _device_cells if on_devices else _host_cells))
        blocks.extend(_untimed(cells))
        blocks.append(Text(""))
    return Group(*blocks)


def _case_title(record: Record) -> Text:
    title = Text(harmless(record.case), style="bold")
    title.append("  " + harmless(shape_words(_row(record))), style="dim")
    if record.checked:
        title.append(f"  (checked: {harmless(record.checked)})", style="dim")
    return title


def _row(record: Record) -> dict[str, object]:
    """Its fields by name; dataclasses.asdict copies each of them."""
    return {name: getattr(record, name) for name in FIELDS}


_COLUMNS = (
    Column("", 1, names=True),
    Column("implementation", 27, names=True),
    Column("median", 8),
    Column("95% int.", 8, rank=1),
    Column("x best", 6),
    Column("GFLOP/s", 7, rank=5),
    Column("first call", 10, rank=4),
    Column("err/bound", 9, rank=3),
    Column("memory", 8, rank=2),
)
_ON_DEVICES = (
    *_COLUMNS[:5],
    Column("device", 8),
    Column("cold L2", 8, rank=2),
    Column("TFLOP/s", 7, rank=3),
    Column("err/bound", 9, rank=5),
    Column("memory", 8, rank=4),
)
"""Of accelerators: for how long they worked, and what rate that is. First calls have to be looked up in summary.csv."""


def _case_table(
    timed: Sequence[Record],
    winner: Record | None,
    columns: Sequence[Column],
    middle: Callable[[Record], tuple[str, ...]],
) -> Columns:
    rows = []
    for record in timed:
        median = record.median_s or 0.0
        fastest = (winner.median_s if winner else None) or median
        cells = (
            "*" if record is winner else "",
            harmless(record.implementation),
            seconds(median),
            spread(median, record.ci_low_s or median, record.ci_high_s or median),
            three_digits(median / fastest),
            *middle(record),
            "" if record.error_over_bound is None else f"{record.error_over_bound:.2g}",
            megabytes(record.peak_memory_bytes),
        )
        rows.append(Row(cells, "bold green" if record is winner else ""))
    return Columns(columns, rows)


def _host_cells(record: Record) -> tuple[str, str]:
    return "" if record.gflops is None else three_digits(record.gflops), seconds(record.first_call_s)


def _device_cells(record: Record) -> tuple[str, str, str]:
    rate = "" if record.flops is None or not record.device_s else three_digits(record.flops / record.device_s / 1e12)
    return seconds(record.device_s), seconds(record.device_cold_s), rate


def _untimed(cells: Sequence[Record]) -> list[Text]:
    """Cells with one and the same reason share a line."""
    lines = []
    untimed = [r for r in cells if r.status is not Status.OK]
    for (status, reason, failed), group in groupby(untimed, key=lambda r: (r.status, r.reason, r.failed)):
        names = ", ".join(r.implementation for r in group)
        style = "red" if failed else "dim"
        lines.append(Text(f"   {harmless(names)} {status}: {harmless(reason)}", style=style))
    return lines
