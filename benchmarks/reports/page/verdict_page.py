"""The page of a comparison, from `compare` or `ab`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.verdicts import Exit, Verdict
from benchmarks.reports import verdict_words as w
from benchmarks.reports.page import charts, heat_maps
from benchmarks.reports.page.model import Chart, Column, Filter, Kind, Page, Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.comparison.verdicts import CellComparison, Comparison
    from benchmarks.reports.page.model import Dataset

_SIGNS = {Verdict.SLOWER: "▲ ", Verdict.FASTER: "▼ ", Verdict.INCONCLUSIVE: "? ", Verdict.SAME: ""}
_COLUMNS = (
    Column("case", "case"), Column("implementation", "implementation"), Column("verdict", "verdict"),
    Column("ratio", "B / A", Kind.RATIO), Column("low", "at least", Kind.RATIO, "95 % interval"),
    Column("high", "at most", Kind.RATIO, "95 % interval"),
    Column("sees", "sees", Kind.SHARE, "The slowdown that this comparison would have shown nine times in ten"),
    Column("a_s", "A", Kind.SECONDS), Column("b_s", "B", Kind.SECONDS), Column("p", "p, corrected", Kind.NUMBER),
    Column("device", "device"), Column("pass", "pass"), Column("complaint", "besides time"), Column("note", "note"),
)  # fmt: skip


def verdict_page(comparison: Comparison) -> Page:
    """All of it; worse first."""
    cells = w.in_order(comparison.cells)
    judged = [cell for cell in cells if cell.change is not None]
    sections = [_verdicts(comparison, bool(judged))]
    complaints = [cell for cell in cells if cell.complaints]
    if complaints:
        table = Table("complaints", "complaints", _COMPLAINT, "What got worse besides time")
        sections.append(Section("besides", "Besides time", blocks=(table,)))
    if judged:
        sections.append(_intervals(comparison))
    note = (
        f"{len(cells) - len(judged)} of {len(cells)} cells have no time on both sides."
        if len(judged) < len(cells)
        else ""
    )
    table = Table("all", "cells", _COLUMNS, "All cells; a click on a header sorts by it")
    sections.append(Section("cells", "All cells", (note,) if note else (), (table,)))
    return Page(
        title=f"attnbench: {w.headline(comparison)}",
        intro=(f"{w.counts(comparison)}; {w.conditions(comparison)}.", *w.summed_up(judged), *comparison.notes),
        facts=(("A", comparison.a), ("B", comparison.b)),
        sections=tuple(sections),
        datasets={"cells": _cells(cells), "complaints": _complaints(complaints)},
        filters=(
            Filter("verdict", "verdict"), Filter("framework", "framework"), Filter("pass", "pass"), Filter("case", "case"),
            Filter("implementation", "implementation"),
        ),
    )  # fmt: skip


_COMPLAINT = (
    Column("case", "case"), Column("implementation", "implementation"), Column("gate", "what"), Column("text", "how"),
)  # fmt: skip


def _verdicts(comparison: Comparison, judged: bool) -> Section:
    if not judged:
        return Section("verdicts", "Verdicts", (f"{w.headline(comparison)}.",))
    chart = Chart(
        "verdict-map",
        heat_maps.changes("cells"),
        "cells",
        _COLUMNS,
        "B's time over A's: blue is faster, orange slower. ▲ and ▼ mark what is slower or faster beyond "
        "the threshold and beyond chance; ? is inconclusive: more measuring would tell; what has no mark is the same.",
        "Heat map: a row for each case, a column for each implementation, the ratio of B's time to A's in each cell.",
        matrix=("row", "implementation", "sign"),
        legend=(("", "▲ slower"), ("", "▼ faster"), ("", "? inconclusive")),
    )
    red = comparison.exit is Exit.REGRESSION
    lead = "Red: something got worse." if red else "Green: nothing was found worse."
    return Section("verdicts", "Verdicts", (lead,) if comparison.exit is not Exit.NOT_COMPARABLE else (), (chart,))


def _intervals(comparison: Comparison) -> Section:
    chart = Chart(
        "change-intervals",
        charts.intervals("cells", comparison.threshold),
        "cells",
        _COLUMNS,
        "The 95 % interval of each ratio, worst verdicts first; in the grey band, within the threshold, a change counts as "
        "none.",
        "Interval chart: a row for each cell, a point at the ratio and a line over its interval.",
        tall="cell",
    )
    return Section("intervals", "How sure", blocks=(chart,))


def _cells(cells: Sequence[CellComparison]) -> Dataset:
    rows = [_row(cell, place) for place, cell in enumerate(cells)]
    names = tuple(_row(cells[0], 0)) if cells else ()
    return {name: [row[name] for row in rows] for name in names}


def _row(cell: CellComparison, place: int) -> dict[str, Any]:
    change = cell.change
    ratio = change.ratio if change and math.isfinite(change.ratio) and change.ratio > 0 else None
    known = change is not None and math.isfinite(change.high) and change.low > 0
    return {
        "case": cell.case,
        "row": w.name(cell),
        "implementation": cell.implementation,
        "framework": cell.implementation.partition("/")[0],
        "device": cell.device,
        "pass": cell.pass_,
        "verdict": str(cell.verdict) if cell.verdict else "none",
        "mark": "bad" if cell.is_worse else "",
        "cell": f"{w.name(cell)}  {cell.implementation}",
        "rank": place,
        "row_rank": place,
        "ratio": ratio,
        "change": math.log2(ratio) if ratio else None,
        "low": change.low if change and known else None,
        "high": change.high if change and known else None,
        "sees": change.smallest_visible if change else None,
        "p": change.p if change else None,
        "a_s": cell.a_s,
        "b_s": cell.b_s,
        "sign": "✗" if ratio is None and cell.is_worse else "·" if ratio is None or cell.verdict is None
        else f"{_SIGNS[cell.verdict]}{w.ratio(ratio)}",
        "complaint": "; ".join(f"{complaint.gate}: {complaint.text}" for complaint in cell.complaints),
        "note": cell.note,
    }  # fmt: skip


def _complaints(cells: Sequence[CellComparison]) -> Dataset:
    rows = [(cell, complaint) for cell in cells for complaint in cell.complaints]
    return {
        "case": [w.name(cell) for cell, _ in rows],
        "implementation": [cell.implementation for cell, _ in rows],
        "framework": [cell.implementation.partition("/")[0] for cell, _ in rows],
        "gate": [str(complaint.gate) for _, complaint in rows],
        "text": [complaint.text for _, complaint in rows],
    }
