"""The whole history as data: its tracks, what was found of each cell, and what is to be told first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.history.change_points import Found, Step, find
from benchmarks.history.environments import borders, changed
from benchmarks.history.tracks import Order, tracks
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.history.runs import Collected
    from benchmarks.history.tracks import Series, Track

ALPHA = 0.01
"""Chance of one false change in a track, at most."""
THRESHOLD = 0.03
"""Smaller changes are none."""


class Kind(IntEnum):
    """Of what there is to tell, the gravest first."""

    INCORRECT = 0
    LOST = 1
    """Ok before, and now without a time for another reason."""
    CHANGED = 2
    ODD = 3
    """The last run alone stands apart."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A cell's series and what was found in it."""

    series: Series
    found: Found

    def level(self, place: int) -> int:
        """How many changes lie at or before a run."""
        return sum(step.place <= place for step in self.found.steps)

    @property
    def level_s(self) -> float | None:
        """Geometric mean of all times, seconds; None where there is none."""
        logs = [math.log(p.record.median_s or math.nan) for p in self.series.points if p.record and p.is_timed]
        return math.exp(sum(logs) / len(logs)) if logs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to tell."""

    kind: Kind
    track: Track
    trend: Trend
    place: int
    """The first run that shows it."""
    before: int
    """The last run with a time that does not."""
    ratio: float | None = None
    """Time now over time before, where there is one."""
    step: Step | None = None
    changed: tuple[str, ...] = ()
    """What else was recorded to have changed at this place, the commit apart."""

    @property
    def commit(self) -> str:
        """The commit of the first run that shows it, where it is another than before; empty otherwise."""
        now, then = self.track.runs[self.place], self.track.runs[self.before]
        return now.short_commit if now.commit != then.commit or now.modified != then.modified else ""


@dataclass(frozen=True, slots=True)
class TrackTrends:
    """A track with its cells."""

    track: Track
    trends: tuple[Trend, ...]
    findings: tuple[Finding, ...]
    """The gravest first, the largest change first among these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All of it."""

    source: str
    tracks: tuple[TrackTrends, ...]
    left_out: tuple[str, ...]
    alpha: float
    threshold: float

    @property
    def findings(self) -> list[Finding]:
        """Of all tracks, in the order in which they are told."""
        return sorted((f for track in self.tracks for f in track.findings), key=_gravity)


def history(
    collected: Collected,
    source: str,
    *,
    alpha: float = ALPHA,
    threshold: float = THRESHOLD,
    order: Order = Order.AUTO,
) -> History:
    """Everything that the runs say."""
    found = tuple(_trends(track, alpha, threshold) for track in tracks(collected.runs, order))
    return History(source=source, tracks=found, left_out=collected.left_out, alpha=alpha, threshold=threshold)


def _trends(track: Track, alpha: float, threshold: float) -> TrackTrends:
    logs = [
        np.array([math.log(p.record.median_s or math.nan) if p.record and p.is_timed else math.nan for p in s.points])
        for s in track.series
    ]
    found = find(logs, alpha, threshold, [borders(track, series) for series in track.series])
    trends = tuple(Trend(series, of_cell) for series, of_cell in zip(track.series, found, strict=True))
    findings = sorted((f for trend in trends for f in _findings(track, trend)), key=_gravity)
    return TrackTrends(track, trends, tuple(findings))


def _gravity(finding: Finding) -> tuple[int, float]:
    return (finding.kind, -abs(math.log(finding.ratio)) if finding.ratio else 0.0)


def _findings(track: Track, trend: Trend) -> Iterator[Finding]:
    points = trend.series.points

    def finding(kind: Kind, before: int, place: int, ratio: float | None = None, step: Step | None = None) -> Finding:
        what = changed(track, trend.series, before, place)
        return Finding(
            kind=kind, track=track, trend=trend, place=place, before=before, ratio=ratio, step=step, changed=what
        )

    if (lost := _end_of_times(trend.series)) is not None:
        record = points[lost[1]].record
        incorrect = record is not None and record.status is Status.INCORRECT
        yield finding(Kind.INCORRECT if incorrect else Kind.LOST, *lost)
    for step in trend.found.steps:
        yield finding(Kind.CHANGED, step.before, step.place, step.ratio, step)
    if trend.found.odd_latest is not None:
        before, place = [place for place, point in enumerate(points) if point.is_timed][-2:]
        yield finding(Kind.ODD, before, place, trend.found.odd_latest)


def _end_of_times(series: Series) -> tuple[int, int] | None:
    """The last run with a time, and the first after it whose row has none; None where the latest row has a time, or none had.

    Where a cell failed in several ways since, an incorrect answer is the one that counts.
    """
    timed = [place for place, point in enumerate(series.points) if point.is_timed]
    rows = [place for place, point in enumerate(series.points) if point.record is not None]
    if not timed or rows[-1] == timed[-1]:
        return None
    after = [place for place in rows if place > timed[-1]]
    wrong = [place for place in after if series.points[place].status == Status.INCORRECT]
    return timed[-1], (wrong or after)[0]
