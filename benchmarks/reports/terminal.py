"""The table that `run` prints: within 100 columns, the winner of each case marked, one case after the other.

A case's rate is in the unit of what limits it: GFLOP/s, or GB/s where memory does.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from benchmarks.harness.state import State
from benchmarks.insights import winners
from benchmarks.limits import memory_is_the_roof
from benchmarks.records import FIELDS, Status, by_machine
from benchmarks.reports.columns import Column, Columns, Row
from benchmarks.reports.text import harmless, megabytes, seconds, shape_words, share, spread, three_digits

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


def run_table(records: Sequence[Record], state: State | None = None, *, in_order: bool = False) -> RenderableType:
    """One block per case, its cells from the fastest to the slowest, then those without a time and why; the cases of each
    machine under its name, where there are several.

    `state`: knows the limits of the machine, or of each; without it nobody can tell which cases memory limits.
    `in_order`: the cells of a case as they come.
    """
    known = state or State()
    machines = by_machine(records)
    blocks: list[RenderableType] = []
    for name, own in machines.items():
        if len(machines) > 1:
            title = f"machine {harmless(name) or 'not recorded'}"
            blocks += [Text(title, style="bold underline"), Text("")]
        blocks.append(_cases(own, known.machines.get(name, known), in_order=in_order))
    return Group(*blocks)


def _cases(records: Sequence[Record], state: State, *, in_order: bool) -> RenderableType:
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
        by_bytes = memory_is_the_roof(cells[0], state)
        middle = partial(_device_cells if on_devices else _host_cells, by_bytes=by_bytes)
        blocks.append(_case_table(timed, best.get(case), _in_unit(columns, by_bytes=by_bytes), middle))
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
    Column("median", 8, brief="median", brief_width=7),
    Column("95% int.", 8, rank=1, brief="95% ±", brief_width=6),
    Column("x best", 6),
    Column("GFLOP/s", 7, rank=6),
    Column("of limit", 8, rank=4, brief="limit", brief_width=5),
    Column("first call", 10, rank=5, brief="first", brief_width=7),
    Column("err/bound", 9, rank=3),
    Column("memory", 8, rank=2, brief="memory", brief_width=7),
)
_ON_DEVICES = (
    *_COLUMNS[:5],
    Column("device", 8),
    Column("cold L2", 8, rank=2),
    Column("TFLOP/s", 7, rank=4),
    Column("of limit", 8, rank=3, brief="limit", brief_width=5),
    Column("err/bound", 9, rank=6),
    Column("memory", 8, rank=5, brief="memory", brief_width=7),
)
"""Of accelerators: for how long they worked, what rate that is, and what part of the limit. First calls have to be looked up in
summary.csv.
"""
_IN_BYTES = {"GFLOP/s": "GB/s", "TFLOP/s": "TB/s"}


def _in_unit(columns: Sequence[Column], *, by_bytes: bool) -> Sequence[Column]:
    if not by_bytes:
        return columns
    return [dataclasses.replace(column, name=_IN_BYTES.get(column.name, column.name)) for column in columns]


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


def _host_cells(record: Record, *, by_bytes: bool) -> tuple[str, ...]:
    rate = record.gb_per_s if by_bytes else record.gflops
    return "" if rate is None else three_digits(rate), share(record.peak_fraction), seconds(record.first_call_s)


def _device_cells(record: Record, *, by_bytes: bool) -> tuple[str, ...]:
    """Rate and part of the limit while the device works; peak_fraction is that of the whole call."""
    amount, busy = record.moved_bytes if by_bytes else record.flops, record.device_s
    rate = "" if amount is None or not busy else three_digits(amount / busy / 1e12)
    part = None if record.peak_fraction is None or not busy else record.peak_fraction * (record.median_s or 0.0) / busy
    return seconds(busy), seconds(record.device_cold_s), rate, share(part)


def _untimed(cells: Sequence[Record]) -> list[Text]:
    """Cells with one and the same reason share a line."""
    lines = []
    untimed = [r for r in cells if r.status is not Status.OK]
    for (status, reason, failed), group in groupby(untimed, key=lambda r: (r.status, r.reason, r.failed)):
        names = ", ".join(r.implementation for r in group)
        style = "red" if failed else "dim"
        lines.append(Text(f"   {harmless(names)} {status}: {harmless(reason)}", style=style))
    return lines
