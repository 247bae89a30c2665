"""The other forms of a comparison: Markdown for a pull request, CSV, JSON, GitHub annotations and JUnit XML."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET  # only writes here; nothing is parsed

from benchmarks.comparison.verdicts import Exit, Verdict
from benchmarks.records import safe_text
from benchmarks.reports import verdict_words as w
from benchmarks.reports.text import harmless, prose, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.comparison.verdicts import CellComparison, Comparison

SCHEMA_VERSION = 1
_MOST_ROWS = 100
"""A comment on GitHub may have 65,536 characters."""
_COLUMNS = (
    "schema_version", "case", "implementation", "device", "pass", "verdict", "ratio", "ratio_low", "ratio_high", "p",
    "smallest_visible", "units", "a_s", "b_s", "complaints", "note", "machine",
)  # fmt: skip


def markdown(comparison: Comparison, *, everything: bool = False) -> str:
    """A comment for a pull request: headline, counts, what changed; the rest folded away."""
    shown, quiet = w.split(comparison, everything=everything)
    lines = [f"### attnbench: {w.headline(comparison)}", ""]
    lines += [f"A: {_code(comparison.a)}", f"B: {_code(comparison.b)}", ""]
    lines += [f"{w.counts(comparison)}; {w.conditions(comparison)}", ""]
    most = len(comparison.cells) * 4 if everything else _MOST_ROWS
    lines += _table(shown, most, machines=bool(w.machines(comparison)))
    complaints = [
        f"- **{complaint.gate}** {_code(w.place(cell))} {_code(cell.implementation)}: {prose(complaint.text)}"
        for cell in w.in_order(comparison.cells)
        for complaint in cell.complaints
    ]
    lines += [*_at_most(complaints, most, "complaints"), ""] if complaints else []
    lines += [f"- {line}" for line in w.summed_up(quiet)]
    unjudged = w.without_verdict(comparison)
    lines += [f"- {len(unjudged)} without a time on both sides"] if unjudged else []
    lines += [f"- note: {prose(note)}" for note in comparison.notes]
    return "\n".join(lines).rstrip() + "\n"


def _table(cells: list[CellComparison], most: int, *, machines: bool) -> list[str]:
    if not cells:
        return []
    rows = []
    for cell in cells:
        change, verdict = cell.change, cell.verdict
        if change is None or verdict is None:
            continue
        word = f"**{verdict}**" if verdict is Verdict.SLOWER else str(verdict)
        words = [
            word,
            *([_code(cell.machine)] if machines else []),
            _code(w.name(cell)),
            _code(cell.implementation),
            w.ratio(change.ratio),
            w.interval(change),
            w.share(change.smallest_visible),
            seconds(cell.a_s),
            seconds(cell.b_s),
        ]
        rows.append(f"| {' | '.join(words)} |")
    head, rule = "| verdict | case |", "| --- | --- |"
    if machines:
        head, rule = "| verdict | machine | case |", "| --- | --- | --- |"
    head += " implementation | B/A | 95% interval | sees | A | B |"
    return [head, f"{rule} --- | ---: | ---: | ---: | ---: | ---: |", *_at_most(rows, most, "cells"), ""]


def _at_most(lines: list[str], most: int, what: str) -> list[str]:
    more = len(lines) - most
    return lines if more <= 0 else [*lines[:most], "", f"... and {more} more {what}"]


def _code(text: str) -> str:
    """Foreign text as a code span: there no markup, mention or link works; only a backtick or a pipe could end it."""
    inner = harmless(text)[:200].replace("`", "'").replace("|", "\u2502")
    return f"`{inner}`" if inner.strip() else ""


def as_csv(comparison: Comparison, *, everything: bool = False) -> str:
    """One row per cell, in the order of the runs, all of them always."""
    del everything
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for cell in comparison.cells:
        writer.writerow([_plain(value) for value in _row(cell).values()])
    return out.getvalue()


def _row(cell: CellComparison) -> dict[str, Any]:
    change = cell.change
    measured: tuple[float | None, ...] = (None,) * 6
    if change is not None:
        measured = (change.ratio, change.low, change.high, change.p, change.smallest_visible, change.units)
    complaints = "; ".join(f"{complaint.gate}: {complaint.text}" for complaint in cell.complaints)
    texts = (SCHEMA_VERSION, cell.case, cell.implementation, cell.device, cell.pass_, cell.verdict)
    return dict(
        zip(_COLUMNS, (*texts, *measured, cell.a_s, cell.b_s, complaints, cell.note, cell.machine), strict=True)
    )


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.9g}"
    return safe_text(harmless(str(value)))


def as_json(comparison: Comparison, *, everything: bool = False) -> str:
    """All of it as one object; an endless interval is null, as JSON has no infinity."""
    del everything
    cells = []
    for cell in comparison.cells:
        row = {key: value for key, value in _row(cell).items() if key != "schema_version"}
        row["complaints"] = [dataclasses.asdict(complaint) for complaint in cell.complaints]
        cells.append({key: None if _is_endless(value) else value for key, value in row.items()})
    found = {
        "schema_version": SCHEMA_VERSION,
        "a": comparison.a,
        "b": comparison.b,
        "threshold": comparison.threshold,
        "alpha": comparison.alpha,
        "exit": int(comparison.exit),
        "counts": {str(verdict): comparison.count(verdict) for verdict in Verdict},
        "worse": len(comparison.worse),
        "notes": comparison.notes,
        "cells": cells,
    }
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def _is_endless(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def github(comparison: Comparison, *, everything: bool = False) -> str:
    """An error annotation for each cell that got worse, and the counts as a notice."""
    del everything
    lines = []
    for cell in w.in_order(comparison.worse):
        title = f"{w.place(cell)} {cell.implementation}"
        lines.append(f"::error title={_property(title)}::{_data(what_is_worse(cell))}")
    kind = "error" if comparison.exit is Exit.NOT_COMPARABLE else "notice"
    summary = f"{w.headline(comparison)}; {w.counts(comparison)}; {w.conditions(comparison)}"
    lines.append(f"::{kind} title=attnbench::{_data(summary)}")
    return "".join(line + "\n" for line in lines)


def what_is_worse(cell: CellComparison) -> str:
    """In one line: the change of time, then the complaints."""
    words = []
    if cell.verdict is Verdict.SLOWER and cell.change is not None:
        words.append(f"slower: x{w.ratio(cell.change.ratio)} {w.interval(cell.change)}, {_medians(cell)}")
    words += [f"{complaint.gate}: {complaint.text}" for complaint in cell.complaints]
    return "; ".join(words)


def _medians(cell: CellComparison) -> str:
    return f"{seconds(cell.a_s)} before, {seconds(cell.b_s)} now"


def _data(text: str) -> str:
    return harmless(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def junit(comparison: Comparison, *, everything: bool = False) -> str:
    """One test case per cell: worse fails, inconclusive and unjudged are skipped, so that neither passes for the same."""
    del everything
    suite = ET.Element("testsuite", name="attnbench compare")
    failures = skipped = 0
    for cell in comparison.cells:
        found = ET.SubElement(suite, "testcase", classname=harmless(cell.implementation), name=harmless(w.place(cell)))
        if cell.b_s is not None:
            found.set("time", f"{cell.b_s:.9f}")
        if cell.is_worse:
            failures += 1
            kinds = [str(cell.verdict)] if cell.verdict is Verdict.SLOWER else []
            kinds += [str(complaint.gate) for complaint in cell.complaints]
            ET.SubElement(found, "failure", message=harmless(what_is_worse(cell)), type=" ".join(kinds))
        elif cell.verdict in (None, Verdict.INCONCLUSIVE):
            skipped += 1
            ET.SubElement(found, "skipped", message=harmless(_why_skipped(cell)))
    suite.set("tests", str(len(comparison.cells)))
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _why_skipped(cell: CellComparison) -> str:
    if cell.change is None:
        return cell.note
    change = cell.change
    return f"inconclusive: x{w.ratio(change.ratio)} {w.interval(change)}, sees {w.share(change.smallest_visible)}"


VERDICT_FORMATS: dict[str, Callable[..., str]] = {
    "markdown": markdown,
    "csv": as_csv,
    "json": as_json,
    "github": github,
    "junit": junit,
}
"""format -> (comparison, everything=) -> text. All but "table", which is benchmarks.reports.verdicts'."""
