"""A comparison on the terminal: within 100 columns, worse first, uneventful cells summed up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from benchmarks.comparison.verdicts import Exit, Verdict
from benchmarks.reports import verdict_words as w
from benchmarks.reports.columns import Column, Columns, Row
from benchmarks.reports.text import harmless, seconds, short_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from benchmarks.comparison.verdicts import CellComparison, Comparison

_COLUMNS = (
    Column("", 12, names=True),
    Column("case", 16, names=True, most=24),
    Column("implementation", 22, names=True, most=44),
    Column("ratio", 7),
    Column("95% int.", 14, rank=1),
    Column("sees", 6, rank=2),
    Column("A", 7, rank=4),
    Column("B", 7, rank=3),
)
_MACHINE = Column("machine", 7, names=True)
"""After the verdict, where there are several."""
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


def _table(cells: Sequence[CellComparison], *, machines: bool) -> Columns:
    rows = []
    for cell in cells:
        change, verdict = cell.change, cell.verdict
        if change is None or verdict is None:
            continue
        words = (
            str(verdict),
            *([harmless(short_machine(cell.machine))] if machines else []),
            harmless(w.name(cell)),
            harmless(cell.implementation),
            w.ratio(change.ratio),
            w.interval(change),
            w.share(change.smallest_visible),
            seconds(cell.a_s),
            seconds(cell.b_s),
        )
        rows.append(Row(words, _STYLES[verdict]))
    columns = [_COLUMNS[0], _MACHINE, *_COLUMNS[1:]] if machines else _COLUMNS
    return Columns(columns, rows, gap=1)


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
