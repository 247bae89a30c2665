"""A comparison on the terminal: within 100 columns, worse first, uneventful cells summed up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.comparison.verdicts import Exit, Verdict
from benchmarks.reports import verdict_words as w
from benchmarks.reports.text import harmless, seconds, short_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from benchmarks.comparison.verdicts import CellComparison, Comparison

_COLUMNS = (("ratio", 7), ("95% int.", 14), ("sees", 6), ("A", 7), ("B", 7))
_STYLES = {Verdict.SLOWER: "bold red", Verdict.FASTER: "green", Verdict.SAME: "", Verdict.INCONCLUSIVE: "dim"}


def verdict_table(comparison: Comparison, *, everything: bool = False) -> RenderableType:
    """All of it. `everything`: each cell, however many."""
    shown, quiet = w.split(comparison, everything=everything)
    blocks: list[RenderableType] = [
        _line(f"A  {comparison.a}"),
        _line(f"B  {comparison.b}"),
        _line(f"{w.counts(comparison)}; {w.conditions(comparison)}"),
        Text(""),
    ]
    machines = w.machines(comparison)
    if machines:
        blocks += [*(_line(f"machine {short_machine(name)}  {name}") for name in machines), Text("")]
    if shown:
        blocks += [_table(shown, machines=bool(machines)), Text("")]
    complaints = _complaints(comparison)
    if complaints:
        blocks += [*complaints, Text("")]
    blocks += [_line(line) for line in w.summed_up(quiet)]
    blocks += _without_verdict(comparison, everything=everything)
    blocks += [_line(f"note: {note}") for note in comparison.notes]
    red = comparison.exit is not Exit.GREEN
    blocks.append(_line(w.headline(comparison), style="bold red" if red else "bold green"))
    return Group(*blocks)


def _line(text: str, style: str = "") -> Text:
    return Text(harmless(text), style=style)


def _table(cells: Sequence[CellComparison], *, machines: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", width=12, no_wrap=True)
    if machines:
        table.add_column("machine", width=7, no_wrap=True)
    table.add_column("case", width=12 if machines else 16, no_wrap=True, overflow="ellipsis")
    table.add_column("implementation", width=18 if machines else 22, no_wrap=True, overflow="ellipsis")
    for column, width in _COLUMNS:
        table.add_column(column, width=width, justify="right", no_wrap=True)
    for cell in cells:
        change, verdict = cell.change, cell.verdict
        if change is None or verdict is None:
            continue
        table.add_row(
            str(verdict),
            *([harmless(short_machine(cell.machine))] if machines else []),
            Text(harmless(w.name(cell))),
            Text(harmless(cell.implementation)),
            w.ratio(change.ratio),
            w.interval(change),
            w.share(change.smallest_visible),
            seconds(cell.a_s),
            seconds(cell.b_s),
            style=_STYLES[verdict],
        )
    return table


def _complaints(comparison: Comparison) -> list[Text]:
    return [
        _line(f"{complaint.gate}: {w.place(cell)} {cell.implementation}: {complaint.text}", style="red")
        for cell in w.in_order(comparison.cells)
        for complaint in cell.complaints
    ]


def _without_verdict(comparison: Comparison, *, everything: bool) -> list[Text]:
    cells = w.without_verdict(comparison)
    if everything:
        return [_line(f"{w.place(cell)} {cell.implementation}: {cell.note}", style="dim") for cell in cells]
    return [_line(f"{len(cells)} without a time on both sides (--all names them)", style="dim")] if cells else []
