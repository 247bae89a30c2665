"""What an audit prints: false alarms, detections, and how true the intervals are; as a table, Markdown or JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from benchmarks.audit.trials import AB, COMPARE
from benchmarks.audit.truth import detections, identical, share_interval, smallest_seen
from benchmarks.reports.columns import Column, Columns, Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from benchmarks.audit.rivals import Alarms
    from benchmarks.audit.trials import Trial
    from benchmarks.audit.truth import Detection, Identical
    from benchmarks.live.plan import LivePlan
    from benchmarks.plan import Plan

    Rivals = Mapping[str, Mapping[float, Alarms]]

_SAME = (
    "path",
    "live",
    "alarms",
    "95% below",
    "resampled",
    "alarms",
    "covers",
    "off 50%",
    "off 90%",
    "not same",
    "s/side",
)
_SLOWED = ("path", "slowdown", "cells", "found", "rate", "95% int.", "called faster", "s/side")
_RIVALS = ("tool", "slowdown", "trials", "called slower", "rate", "95% int.", "s/side")


def audit_table(trials: Sequence[Trial], rivals: Rivals, live_plan: LivePlan, plan: Plan) -> RenderableType:
    """All of it, within 100 columns."""
    cpus = f"CPU {', '.join(map(str, live_plan.cpus))}" if live_plan.cpus else "all CPUs"
    blocks: list[RenderableType] = [
        Text(f"{live_plan.suite}: {len(live_plan.pairs)} cells on {cpus}; ab: threshold ", end="")
        + Text(
            f"{live_plan.thresholds.usual.relative:.1%}, alpha {live_plan.alpha:g}, at most {live_plan.budget_s:g} s "
        )
        + Text(f"in {live_plan.epochs} epochs; compare: threshold 5%, {plan.processes} processes a run"),
        Text(""),
    ]
    for title, columns, rows in _tables(trials, rivals):
        blocks += [Text(title, style="bold"), _fitted(columns, rows), Text("")]
    blocks += [Text(line) for line in _conclusions(trials)]
    return Group(*blocks)


def audit_markdown(trials: Sequence[Trial], rivals: Rivals) -> str:
    """The same as Markdown, for docs/trust.md."""
    lines = []
    for title, columns, rows in _tables(trials, rivals):
        lines += [f"**{title}**", "", f"| {' | '.join(columns)} |", "| --- " + "| ---: " * (len(columns) - 1) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows] + [""]
    return "\n".join([*lines, *(f"- {line}" for line in _conclusions(trials))]) + "\n"


def audit_json(trials: Sequence[Trial], rivals: Rivals) -> str:
    """The numbers."""
    found = {
        "schema_version": 1,
        "identical": [_finite(dataclasses.asdict(i)) for i in identical(trials)],
        "detections": [{**_finite(dataclasses.asdict(d)), "rate": d.rate} for d in detections(trials)],
        "rivals": {
            name: {f"{slowdown:g}": dataclasses.asdict(alarms) for slowdown, alarms in own.items()}
            for name, own in rivals.items()
        },
    }
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in data.items()}


def _tables(trials: Sequence[Trial], rivals: Rivals) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    same, slowed = identical(trials), detections(trials)
    tables: list[tuple[str, Sequence[str], list[list[str]]]] = []
    if same:
        tables.append(("Identical code (whole suites)", _SAME, [_same_row(i) for i in same]))
    if slowed:
        tables.append(("Known slowdowns (single cells)", _SLOWED, [_slowed_row(d) for d in slowed]))
    if rivals:
        rows = [_rival_row(name, slowdown, a) for name, own in rivals.items() for slowdown, a in own.items()]
        tables.append(("Other tools, by their own decision (one cell)", _RIVALS, rows))
    return tables


def _same_row(i: Identical) -> list[str]:
    return [
        i.path, str(i.live), str(i.alarms_live), _percent(i.alarm_rate_high, 1), str(i.resampled), str(i.alarms_resampled),
        _percent(i.coverage, 1), _percent(i.bias_median, 2), _percent(i.bias_p90, 2), _percent(i.inconclusive, 0),
        _number(i.measured_s),
    ]  # fmt: skip


def _slowed_row(d: Detection) -> list[str]:
    interval = f"{d.rate_low:.0%}-{d.rate_high:.0%}"
    return [
        d.path, f"{d.slowdown:.0%}", str(d.cells), str(d.found), _percent(d.rate, 0), interval, str(d.wrong),
        _number(d.measured_s),
    ]  # fmt: skip


def _rival_row(name: str, slowdown: float, alarms: Alarms) -> list[str]:
    low, high = share_interval(alarms.called_slower, alarms.trials)
    rate = alarms.called_slower / max(1, alarms.trials)
    words = [name, f"{slowdown:.0%}", str(alarms.trials), str(alarms.called_slower), _percent(rate, 0)]
    return [*words, f"{low:.0%}-{high:.0%}", _number(alarms.measured_s / 2 / max(1, alarms.trials))]


def _conclusions(trials: Sequence[Trial]) -> list[str]:
    slowed = detections(trials)
    lines = []
    for path in (AB, COMPARE):
        own = [d for d in slowed if d.path == path]
        if own:
            seen = smallest_seen(slowed, path)
            tried = ", ".join(f"{d.slowdown:.0%}" for d in own)
            said = f"{seen:.0%}" if seen is not None else "none of those"
            lines.append(f"{path}: smallest slowdown seen 9 times in 10, of {tried}: {said}")
    return lines


def _percent(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}%}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


_RANKS = {
    "s/side": 8, "off 50%": 7, "off 90%": 6, "not same": 5, "called faster": 4, "cells": 3, "95% int.": 2, "covers": 1,
}  # fmt: skip
"""Which columns go first on a narrow terminal."""


def _fitted(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Columns:
    """As wide as what stands in it."""
    widths = [max(len(text) for text in column) for column in zip(names, *rows, strict=True)]
    columns = [
        Column(name, width, rank=_RANKS.get(name, 0), names=place == 0)
        for place, (name, width) in enumerate(zip(names, widths, strict=True))
    ]
    return Columns(columns, [Row(row) for row in rows])
