"""The other forms of a history: Markdown, CSV (one row per cell and run) and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

from benchmarks.history import words as w
from benchmarks.records import safe_text
from benchmarks.reports.text import harmless, prose, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.history.trends import Finding, History, TrackTrends, Trend

SCHEMA_VERSION = 1
_MOST_ROWS = 100
_COLUMNS = (
    "schema_version", "machine", "suite", "case", "framework", "implementation", "device", "dtype", "pass", "conditions",
    "place", "run", "commit", "date", "measured", "status", "reason", "median_s", "ci_low_s", "ci_high_s", "level",
    "change", "change_low", "change_high", "since",
)  # fmt: skip


def markdown(history: History) -> str:
    """The sentences, then a table of findings per track."""
    lines = ["### attnbench: history", "", *(f"{prose_whole(line)}  " for line in w.headline(history)), ""]
    for found in history.tracks:
        lines += [f"#### {prose_whole(w.title(found.track))}", ""]
        lines += _table(found) if found.findings else ["no change found", ""]
    lines += [f"- {prose_whole(note)}" for note in w.notes(history)]
    return "\n".join(lines).rstrip() + "\n"


def prose_whole(text: str) -> str:
    """A sentence of ours with foreign words in it, however long: escaped piece by piece."""
    return "".join(prose(text[start : start + 300]) for start in range(0, len(text), 300))


def _table(found: TrackTrends) -> list[str]:
    rows = [
        f"| {prose(w.cell(f.trend.series))} | {_medians(f)} | {prose_whole(w.since(f))} |"
        for f in found.findings[:_MOST_ROWS]
    ]
    more = len(found.findings) - _MOST_ROWS
    last = ["", f"... and {more} more"] if more > 0 else []
    return ["| cell | before, after | since when, and by how much |", "| --- | --- | --- |", *rows, *last, ""]


def _medians(finding: Finding) -> str:
    return "" if finding.step is None else f"{seconds(finding.step.before_s)}, {seconds(finding.step.after_s)}"


def as_csv(history: History) -> str:
    """One row per cell and run, gaps among them; `level` counts the changes so far."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows(history):
        writer.writerow([_plain(row[name]) for name in _COLUMNS])
    return out.getvalue()


def rows(history: History) -> Iterator[dict[str, Any]]:
    """Of all cells and runs, as plain values; texts are foreign."""
    for found in history.tracks:
        for trend in found.trends:
            yield from _rows(found, trend)


def _rows(found: TrackTrends, trend: Trend) -> Iterator[dict[str, Any]]:
    track, series, latest = found.track, trend.series, trend.series.latest
    told = {f.place: w.since(f) for f in found.findings if f.trend is trend}
    steps = {step.place: step for step in trend.found.steps}
    conditions = " ".join(f"{name}={value}" for name, value in (*track.conditions, *series.conditions))
    for place, point in enumerate(series.points):
        run, record, step = track.runs[place], point.record, steps.get(place)
        yield {
            "schema_version": SCHEMA_VERSION,
            "machine": track.machine,
            "suite": track.suite,
            "case": latest.case,
            "framework": latest.framework,
            "implementation": latest.implementation,
            "device": latest.device,
            "dtype": latest.dtype,
            "pass": latest.pass_,
            "conditions": conditions,
            "place": place,
            "run": run.source,
            "commit": run.short_commit,
            "date": w.date(track, place),
            "measured": None if run.measured is None else run.measured.isoformat(timespec="seconds"),
            "status": point.status,
            "reason": "" if record is None else record.reason,
            "median_s": None if record is None else record.median_s,
            "ci_low_s": None if record is None else record.ci_low_s,
            "ci_high_s": None if record is None else record.ci_high_s,
            "level": trend.level(place),
            "change": None if step is None else step.ratio,
            "change_low": None if step is None else step.low,
            "change_high": None if step is None else step.high,
            "since": told.get(place, ""),
        }


def _plain(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else safe_text(harmless(str(value)))


def as_json(history: History) -> str:
    """The sentences, the findings with all that changed beside them, and the noise of each cell."""
    tracks = [
        {
            "machine": found.track.machine,
            "suite": found.track.suite,
            "conditions": dict(found.track.conditions),
            "by_commit": found.track.by_commit,
            "runs": [
                {"run": run.source, "commit": run.commit, "modified": run.modified, "date": w.date(found.track, place)}
                for place, run in enumerate(found.track.runs)
            ],
            "cells": [_cell(trend) for trend in found.trends],
            "findings": [_finding(finding) for finding in found.findings],
        }
        for found in history.tracks
    ]
    whole = {
        "schema_version": SCHEMA_VERSION,
        "source": history.source,
        "alpha": history.alpha,
        "threshold": history.threshold,
        "headline": w.headline(history),
        "notes": w.notes(history),
        "tracks": tracks,
    }
    return json.dumps(whole, indent=1, allow_nan=False) + "\n"


def _cell(trend: Trend) -> dict[str, Any]:
    case, implementation, device, pass_ = trend.series.key
    return {
        "case": case,
        "implementation": implementation,
        "device": device,
        "pass": pass_,
        "conditions": dict(trend.series.conditions),
        "median_s": [None if p.record is None else p.record.median_s for p in trend.series.points],
        "status": [p.status for p in trend.series.points],
        "scatter": trend.found.scatter,
        "visible": trend.found.visible,
        "changes": [dataclasses.asdict(step) for step in trend.found.steps],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    case, implementation, device, pass_ = finding.trend.series.key
    return {
        "kind": finding.kind.name.lower(),
        "case": case,
        "implementation": implementation,
        "device": device,
        "pass": pass_,
        "place": finding.place,
        "date": w.date(finding.track, finding.place),
        "commit": finding.track.runs[finding.place].commit,
        "commit_before": finding.track.runs[finding.before].commit,
        "ratio": finding.ratio,
        "changed": list(finding.changed),
        "words": w.since(finding),
    }


HISTORY_FORMATS: dict[str, Callable[[History], str]] = {"markdown": markdown, "csv": as_csv, "json": as_json}
"""All but "table", which is benchmarks.reports.history's, and "html", which is benchmarks.reports.history_page's."""
