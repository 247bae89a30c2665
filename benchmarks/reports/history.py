"""A history on the terminal: within 100 columns, what became incorrect first, then what changed, largest first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmarks.history import words as w
from benchmarks.history.trends import Kind
from benchmarks.reports.text import harmless, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from benchmarks.history.trends import Finding, History, TrackTrends, Trend

FEW = 20
"""Findings of a track that are shown where not all are asked for."""
_BARS = "▁▂▃▄▅▆▇█"
_LINE = 24
"""Characters of a trend in one line."""


def history_table(history: History, *, everything: bool = False) -> RenderableType:
    """All of it. `everything`: each finding and each cell, however many."""
    blocks: list[RenderableType] = [_line(line, style="bold") for line in w.headline(history)]
    for found in history.tracks:
        blocks += [Text(""), _line(w.title(found.track), style="bold"), *_findings(found, everything=everything)]
        if everything:
            blocks += [Text(""), _cells(found)]
    notes = w.notes(history)
    blocks += [Text(""), *(_line(f"note: {note}", style="dim") for note in notes)] if notes else []
    return Group(*blocks)


def _line(text: str, style: str = "") -> Text:
    return Text(harmless(text), style=style)


def _indented(text: Text, by: int = 3) -> Padding:
    return Padding(text, (0, 0, 0, by), expand=False)


def _findings(found: TrackTrends, *, everything: bool) -> list[RenderableType]:
    shown = found.findings if everything else found.findings[:FEW]
    blocks: list[RenderableType] = []
    for finding in shown:
        what, style = _what(finding)
        head = Text(f"{what:<10} ", style=style)
        head.append(harmless(w.cell(finding.trend.series)))
        if finding.step is not None:
            head.append(f"  {seconds(finding.step.before_s)} -> {seconds(finding.step.after_s)}")
        blocks += [_indented(head), _indented(_line(w.since(finding), style="dim"), 14)]
    more = len(found.findings) - len(shown)
    if more:
        blocks.append(_indented(_line(f"and {more} more (--all shows them)", style="dim")))
    if not found.findings:
        blocks.append(_indented(_line("no change found", style="dim")))
    return blocks


def _what(finding: Finding) -> tuple[str, str]:
    match finding.kind:
        case Kind.INCORRECT:
            return "incorrect", "bold red"
        case Kind.LOST:
            return "lost", "red"
        case Kind.ODD:
            return "odd", "yellow"
    return ("faster", "green") if (finding.ratio or 1.0) < 1 else ("slower", "red")


def _cells(found: TrackTrends) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for name, width in (("case", 19), ("implementation", 20), ("trend", _LINE)):
        table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
    for name, width in (("first", 7), ("last", 7), ("scatter", 7), ("sees", 5)):
        table.add_column(name, width=width, justify="right", no_wrap=True)
    for trend in found.trends:
        case, implementation, _, _ = trend.series.key
        timed = [p.record.median_s for p in trend.series.points if p.record is not None and p.is_timed]
        first, last = (seconds(timed[0]), seconds(timed[-1])) if timed else ("", "")
        scatter, sees = trend.found.scatter, trend.found.visible
        words = (first, last, "" if scatter is None else w.percent(scatter), "" if sees is None else w.percent(sees))
        table.add_row(Text(harmless(case)), Text(harmless(implementation)), sparkline(trend), *words)
    return table


def sparkline(trend: Trend, width: int = _LINE) -> str:
    """The newest `width` times as bars, on a log scale from the shortest to the longest; a dot is a gap, ! is incorrect."""
    points = trend.series.points[-width:]
    logs = [math.log(p.record.median_s or 1.0) if p.record is not None and p.is_timed else None for p in points]
    known = [value for value in logs if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    return "".join(
        ("!" if point.status == "incorrect" else "·") if value is None else _bar(value, low, high)
        for point, value in zip(points, logs, strict=True)
    )


def _bar(value: float, low: float, high: float) -> str:
    return _BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] if high > low else _BARS[0]


def plain_lines(lines: Sequence[str]) -> str:
    """Sentences for stderr or a log."""
    return "".join(harmless(line) + "\n" for line in lines)
