"""A history as a page: a small trend line for each cell, what changed marked in it, all numbers in tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.history import words as w
from benchmarks.history.trends import Kind as Told
from benchmarks.reports.history_charts import trend_lines
from benchmarks.reports.page.model import Chart, Column, Filter, Kind, Page, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.history.trends import Finding, History, TrackTrends, Trend
    from benchmarks.reports.page.model import Dataset

MOST_TOLD = 60
"""Cells with a trend line in the section of what changed; the section of all cells has them all."""
MOST_POINTS = 40_000
"""Runs times cells that are drawn: a page of some four megabytes."""
_ROOM = 1.08
"""A scale spans 8 % on either side of the first level at least: noise is to look like noise."""
_WHAT = {Told.INCORRECT: "incorrect", Told.LOST: "lost", Told.ODD: "odd"}
_CELL = (Column("case", "case"), Column("implementation", "implementation"))
_FINDINGS = (
    Column("what", "what"), *_CELL, Column("ratio", "after / before", Kind.RATIO),
    Column("low", "at least", Kind.RATIO, "95 % interval"), Column("high", "at most", Kind.RATIO, "95 % interval"),
    Column("before_s", "before", Kind.SECONDS), Column("after_s", "after", Kind.SECONDS), Column("since", "since"),
    Column("commit", "commit"), Column("changed", "what else changed"), Column("reason", "reason"),
    Column("pass", "pass"), Column("device", "device"), Column("track", "trend"),
)  # fmt: skip
_POINTS = (
    *_CELL, Column("run", "run"), Column("date", "date"), Column("median_s", "time", Kind.SECONDS),
    Column("level_s", "level", Kind.SECONDS, "Of the stretch of runs between two changes"), Column("status", "status"),
    Column("told", "here"),
)  # fmt: skip
_CELLS = (
    *_CELL, Column("changes", "changes", Kind.COUNT), Column("first_s", "first", Kind.SECONDS),
    Column("last_s", "last", Kind.SECONDS), Column("ratio", "last / first", Kind.RATIO),
    Column("scatter", "scatter", Kind.SHARE, "Of runs between which nothing changes"),
    Column("sees", "sees", Kind.SHARE, "The change in the middle of this history that would be found nine times in ten"),
    Column("runs", "timed runs", Kind.COUNT), Column("gaps", "gaps"), Column("pass", "pass"), Column("device", "device"),
    Column("conditions", "apart by"), Column("track", "trend"),
)  # fmt: skip
_CAPTION = (
    "Time of a call, the oldest run on the left; each cell has a scale of its own. The grey bar is the level of a stretch of "
    "runs; an upright line is a change: orange slower, blue faster. A cross is a run without a time."
)
_DESCRIBED = "Small multiples: for each cell a line of its times over the runs, with the changes as upright lines."


def history_page(history: History) -> Page:
    """All of it; what became incorrect first, then what changed most."""
    order = _ranks(history)
    apart = {id(found.trends[n]): text for found in history.tracks for n, text in w.apart(found.track).items()}
    findings = [_finding(f, len(history.tracks) > 1) for f in history.findings]
    points: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    drawn = 0
    for found, trend, number in sorted(order, key=lambda placed: placed[2]):
        place = w.title(found.track) if len(history.tracks) > 1 else ""
        names = _names(found, trend, number, apart.get(id(trend), ""), place.partition(":")[0])
        told = bool(number < MOST_TOLD and any(f.trend is trend for f in found.findings))
        if len(points) + len(found.track.runs) <= MOST_POINTS:
            points += _points(found, trend, names, told=told)
            drawn += 1
        cells.append(_cell(found, trend, names))
    changed = (Table("changes", "findings", _FINDINGS, "What changed; a click on a header sorts by it"),)
    lines = _chart("changed-trends", "Cells that changed", {"told_here": "yes"})
    several = {track.track.machine for track in history.tracks}, {track.track.suite for track in history.tracks}
    some = (f"{drawn} of {len(cells)} cells have a line here; the table below has all.",) if drawn < len(cells) else ()
    sections = [
        Section("changed", "What changed", () if findings else ("No change was found.",),
                (lines, *changed) if findings else ()),
        Section("trends", "All cells", some, (_chart("all-trends", "All cells, those that changed first", {}),)),
        Section("cells", "All numbers", (), (Table("all", "cells", _CELLS, "All cells"),)),
    ]  # fmt: skip
    filters = [Filter("framework", "framework"), Filter("pass", "pass"), Filter("case", "case")]
    filters += [Filter("implementation", "implementation")]
    places = [Filter("machine", "machine")] if len(several[0]) > 1 else []
    places += [Filter("suite", "suite")] if len(several[1]) > 1 else []
    filters += places
    head, *rest = w.headline(history)
    return Page(
        title="attnbench: history",
        intro=(head, *rest, *w.notes(history)),
        facts=tuple((f"trend {n}", w.title(found.track)) for n, found in enumerate(history.tracks, start=1)),
        sections=tuple(sections),
        datasets={
            "findings": _columns(findings, _FINDINGS, ("framework", "machine", "suite")),
            "points": _columns(points, _POINTS, (*_MORE_OF_POINTS, *(f.field for f in places))),
            "cells": _columns(cells, _CELLS, ("framework", "machine", "suite")),
        },
        filters=tuple(filters),
    )


_MORE_OF_POINTS = (
    "cell", "rank", "place", "stretch", "level", "change", "gap_s", "room_low", "room_high", "told_here", "framework", "pass",
)  # fmt: skip


def _chart(id: str, caption: str, only: Mapping[str, str]) -> Chart:
    return Chart(id, trend_lines("points"), "points", _POINTS, f"{caption}. {_CAPTION}", _DESCRIBED, only, tall="cell")


def _columns(rows: Iterable[Mapping[str, Any]], columns: Iterable[Column], more: Iterable[str]) -> Dataset:
    found = list(rows)
    return {name: [row.get(name) for row in found] for name in (*(column.field for column in columns), *more)}


def _ranks(history: History) -> list[tuple[TrackTrends, Trend, int]]:
    """Every cell with its place in the order of telling."""
    told = dict.fromkeys(id(finding.trend) for finding in history.findings)
    cells = [(found, trend) for found in history.tracks for trend in found.trends]
    first = {key: number for number, key in enumerate(told)}
    cells.sort(key=lambda cell: first.get(id(cell[1]), len(first)))
    return [(found, trend, number) for number, (found, trend) in enumerate(cells)]


def _names(found: TrackTrends, trend: Trend, number: int, apart: str, where: str) -> dict[str, Any]:
    latest = trend.series.latest
    return {
        "case": latest.case,
        "implementation": latest.implementation,
        "framework": latest.framework,
        "device": latest.device,
        "pass": latest.pass_,
        "machine": found.track.machine,
        "suite": found.track.suite,
        "conditions": apart,
        "rank": number,
        "track": where,
        "cell": ", ".join(filter(None, (w.cell(trend.series), apart, where))),
    }


def _points(found: TrackTrends, trend: Trend, names: Mapping[str, Any], *, told: bool) -> Iterable[dict[str, Any]]:
    track = found.track
    sentences = {f.place: w.since(f) for f in found.findings if f.trend is trend}
    steps = {step.place: step for step in trend.found.steps}
    level = _first_level(trend)
    stretch, last = 0, None
    room: dict[str, Any] = {"room_low": level / _ROOM, "room_high": level * _ROOM} if level else {}
    for place, point in enumerate(trend.series.points):
        step = steps.get(place)
        level = step.after_s if step is not None else level
        record = point.record
        timed = record.median_s if record is not None else None
        if timed is None and record is None:
            stretch += 1
            continue  # nothing to draw, and nothing to tell
        last = timed or last
        stretch += timed is None
        yield {
            **names,
            **room,
            "run": track.runs[place].label,
            "date": w.date(track, place),
            "place": place,
            "median_s": timed,
            "level_s": level,
            "level": trend.level(place),
            "stretch": stretch,
            "status": point.status,
            "gap_s": (last or _first_time(trend)) if timed is None else None,
            "change": None if step is None else ("slower" if step.ratio > 1 else "faster"),
            "told": sentences.get(place, "" if record is None else record.reason),
            "told_here": "yes" if told else "no",
        }
        room = {}


def _first_level(trend: Trend) -> float | None:
    return trend.found.steps[0].before_s if trend.found.steps else trend.level_s


def _first_time(trend: Trend) -> float | None:
    return next((p.record.median_s for p in trend.series.points if p.record is not None and p.is_timed), None)


def _finding(f: Finding, several: bool) -> dict[str, Any]:
    series, step = f.trend.series, f.step
    record = series.points[f.place].record
    slower = "slower" if (f.ratio or 1.0) > 1 else "faster"
    return {
        "what": _WHAT.get(f.kind, slower),
        "case": series.key[0],
        "implementation": series.key[1],
        "framework": series.latest.framework,
        "device": series.key[2],
        "pass": series.key[3],
        "machine": f.track.machine,
        "suite": f.track.suite,
        "track": w.title(f.track).partition(":")[0] if several else "",
        "ratio": f.ratio,
        "low": None if step is None else step.low,
        "high": None if step is None else step.high,
        "before_s": None if step is None else step.before_s,
        "after_s": None if step is None else step.after_s,
        "since": w.date(f.track, f.place),
        "commit": f.commit or f"{f.track.runs[f.place].short_commit} (the same)".strip(),
        "changed": "; ".join(f.changed),
        "reason": "" if record is None else record.reason,
    }


def _cell(found: TrackTrends, trend: Trend, names: Mapping[str, Any]) -> dict[str, Any]:
    timed = [p.record.median_s or 0.0 for p in trend.series.points if p.record is not None and p.is_timed]
    gaps: dict[str, int] = {}
    for point in trend.series.points:
        if not point.is_timed:
            gaps[point.status] = gaps.get(point.status, 0) + 1
    return {
        **names,
        "changes": len(trend.found.steps),
        "first_s": timed[0] if timed else None,
        "last_s": timed[-1] if timed else None,
        "ratio": timed[-1] / timed[0] if timed else None,
        "scatter": trend.found.scatter,
        "sees": trend.found.visible,
        "runs": len(timed),
        "gaps": ", ".join(f"{count} {status}" for status, count in gaps.items()),
    }
