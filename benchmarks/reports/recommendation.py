"""A recommendation in words, as Markdown or as JSON: what to use, what comes close, where that comes from, and the code."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from benchmarks.records import describe
from benchmarks.reports.columns import Column, Columns, Row
from benchmarks.reports.text import harmless, megabytes, prose, seconds, shape_words, spread, three_digits

if TYPE_CHECKING:
    from rich.console import RenderableType

    from backends.interface import Implementation
    from benchmarks.recommendation import Candidate, Recommendation

_COLUMNS = (
    Column("", 1, names=True),
    Column("implementation", 27, names=True),
    Column("median", 8),
    Column("x best", 6),
    Column("95% int.", 14, rank=1),
    Column("first call", 10, rank=3),
    Column("err/bound", 9, rank=4),
    Column("memory", 8, rank=2),
)


def answer(found: Recommendation, winner: Implementation | None) -> RenderableType:
    """All but the code. `winner`: None where a plug-in defines it."""
    title = Text(shape_words({**describe(found.case), "pass_": found.case.pass_}), style="bold")
    lines: list[RenderableType] = [title, Text(headline(found), style="bold green")]
    lines += [Text(line) for line in remarks(found, winner)]
    lines += [Text(""), Columns(_COLUMNS, [_row(c) for c in found.ranked])]
    lines += [Text(f"   {harmless(f'{r.implementation} {r.status}: {r.reason}')}", style="dim") for r in found.others]
    return Group(*lines, Text(""), *(Text(harmless(line)) for line in provenance(found)))


def headline(found: Recommendation) -> str:
    """As in: Use torch/sdpa-flash: 27.3 ms a call (±2.6%)."""
    best = found.ranked[0].record
    median = best.median_s or 0.0
    interval = spread(median, best.ci_low_s or median, best.ci_high_s or median)
    return harmless(f"Use {best.implementation}: {seconds(median)} a call ({interval}).")


def remarks(found: Recommendation, winner: Implementation | None) -> list[str]:
    """What cannot be told from it, or how far the next one is; where it deviates from the standard."""
    others = found.ranked[1:]
    alike = [c for c in others if c.alike]
    lines = []
    if alike:
        lines.append(f"Not distinguishable from it here: {', '.join(map(_named, alike))}.")
    apart = next((c for c in others if not c.alike), None)
    if apart is not None:
        lines.append(f"{'Then' if alike else 'Next'}: {_named(apart)}.")
    deviations = () if winner is None else winner.deviations
    if deviations:
        told = "; ".join(f"{d.topic.replace('_', ' ')}: {d.says}" for d in deviations)
        lines.append(f"Where it deviates from the standard: {told}.")
    return [harmless(line) for line in lines]


def _named(candidate: Candidate) -> str:
    return f"{candidate.record.implementation} (x{three_digits(candidate.ratio)}, {_interval(candidate)})"


def _interval(candidate: Candidate) -> str:
    if candidate.high == candidate.low:
        return ""
    return f"{three_digits(candidate.low)} to {three_digits(candidate.high)}"


def _row(candidate: Candidate) -> Row:
    r = candidate.record
    cells = (
        "*" if candidate.ratio == candidate.low == candidate.high else "=" if candidate.alike else "",
        harmless(r.implementation),
        seconds(r.median_s),
        three_digits(candidate.ratio),
        _interval(candidate),
        seconds(r.first_call_s),
        "" if r.error_over_bound is None else f"{r.error_over_bound:.2g}",
        megabytes(r.peak_memory_bytes),
    )
    return Row(cells, "bold green" if cells[0] == "*" else "")


def provenance(found: Recommendation) -> list[str]:
    """Which run, when, and what is another now."""
    source, best = found.source, found.ranked[0].record
    effort = f"{best.blocks} blocks of each in {best.processes} process{'es' if best.processes != 1 else ''}"
    if source.measured:
        return [f"Measured just now: {effort}, kept in {source.path}"]
    when = f" of {source.time[:10]}" if source.time else ""
    lines = [f"From the stored run {source.run_id}{when}: {effort}, in {source.path}"]
    if not source.notes:
        return [*lines, "The same machine and versions as now."]
    return [*lines, *(f"Note: {note}." for note in source.notes), "Measure it anew: --measure"]


def as_markdown(found: Recommendation, winner: Implementation | None, code: str) -> str:
    """The same for a page or an issue."""
    lines = [f"**{prose(headline(found))}**", "", *(prose(line) for line in remarks(found, winner)), ""]
    lines += ["| implementation | median | x best | 95% interval |", "| --- | ---: | ---: | ---: |"]
    for c in found.ranked:
        name = prose(c.record.implementation)
        lines.append(f"| {name} | {seconds(c.record.median_s)} | {three_digits(c.ratio)} | {_interval(c)} |")
    return "\n".join([*lines, "", *map(prose, provenance(found)), "", "```python", code.rstrip(), "```"]) + "\n"


def as_json(found: Recommendation, code: str) -> str:
    """All of it as data."""
    names = (
        "implementation",
        "median_s",
        "ci_low_s",
        "ci_high_s",
        "first_call_s",
        "error_over_bound",
        "peak_memory_bytes",
    )
    data = {
        "schema_version": 1,
        "problem": {name.rstrip("_"): value for name, value in describe(found.case).items()},
        "recommended": found.ranked[0].record.implementation,
        "candidates": [
            {**{name: getattr(c.record, name) for name in names}, "ratio": c.ratio, "ratio_low": c.low, "ratio_high": c.high,
             "distinguishable": not c.alike}
            for c in found.ranked
        ],
        "others": [{"implementation": r.implementation, "status": r.status, "reason": r.reason} for r in found.others],
        "source": {**dataclasses.asdict(found.source), "path": str(found.source.path)},
        "snippet": code,
    }  # fmt: skip
    return json.dumps(data, indent=1) + "\n"
