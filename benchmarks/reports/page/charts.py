"""The kinds of charts that pages are made of, as Vega-Lite specifications built by Altair. Colours are the style sheet's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERIES = 8
TOOLTIP = alt.TooltipContent("data")
"""The page writes the tooltip, from the columns of the chart; this only says that there is one."""
_SECONDS = "format(datum.value, '~s') + 's'"
_BYTES = "format(datum.value, '~s') + 'B'"
_TIMES = "datum.value + '\u00d7'"
AXES = {
    "seconds": _SECONDS,
    "bytes": _BYTES,
    "ratio": _TIMES,
    "share": "format(datum.value, '~%')",
    "number": "datum.value",
}
"""How the labels of an axis are written."""
IS_ROUND = "indexof([1, 2, 5], round(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-6)))) >= 0"
"""1, 2, 5, 10, ...: the lines and labels of a logarithmic axis that are not too many."""


def _log_axis(title: str, kind: str, **more: Any) -> alt.Axis:
    shown = {"condition": {"test": IS_ROUND, "value": 1}, "value": 0}
    label = f"{IS_ROUND} ? {AXES[kind]} : ''"
    return alt.Axis(title=title, labelExpr=label, gridOpacity=shown, tickOpacity=shown, labelOverlap="greedy", **more)


def to_spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """A chart over named data as a plain specification. Data must be named: `alt.Chart(alt.NamedData("cells"))`."""
    spec = chart.to_dict(validate=False)
    for name in ("config", "$schema", "datasets"):
        spec.pop(name, None)
    return {"$schema": alt.SCHEMA_URL, **spec}


def _once(dataset: str) -> alt.Chart:
    """For what is drawn once, however many rows there are."""
    return alt.Chart(alt.NamedData(dataset)).transform_aggregate(rows="count()")


def colour(field: str, names: Sequence[str], title: str | None = None) -> alt.Color:
    """One colour of the style sheet for each name, the same in all charts of a page."""
    scale = alt.Scale(domain=list(names), range=[f"var(--series-{place % _SERIES})" for place in range(len(names))])
    legend = alt.Legend(title=title, orient="top", symbolType="circle")
    return alt.Color(field, type="nominal", scale=scale, legend=legend)


def strip(
    dataset: str, field: str, title: str, frameworks: Sequence[str], *, axis: str, rule: float | None = None,
    colours: str = "framework", log: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """One point per cell, a row per implementation: where its cells lie, and a bar at their median."""
    scale = alt.Scale(type="log", nice=False, padding=12) if log else alt.Scale(zero=True)
    drawn = _log_axis(title, axis, orient="top") if log else alt.Axis(title=title, labelExpr=AXES[axis], orient="top")
    x = alt.X(f"{field}:Q", scale=scale, axis=drawn)
    y = alt.Y(
        "implementation:N",
        sort=alt.EncodingSortField("rank", op="min"),
        axis=alt.Axis(title=None, grid=True, ticks=False, domain=False, labelFontSize=12),
    )
    above = f"isValid(datum.{field}) && datum.{field} > 0" if log else f"isValid(datum.{field})"
    base = alt.Chart(alt.NamedData(dataset)).transform_filter(above)
    points = base.mark_circle(size=64, opacity=0.7, tooltip=TOOLTIP).encode(
        x=x, y=y, color=colour(colours, frameworks), detail="row:N"
    )
    middle = base.mark_tick(thickness=2, size=15, color="var(--text)").encode(x=alt.X(f"median({field}):Q"), y=y)
    layers = [points, middle]
    if rule is not None:
        line = _once(dataset).mark_rule(strokeDash=[5, 4], color="var(--bad)", size=1.5)
        layers.insert(0, line.encode(x=alt.datum(rule)))
    return to_spec(alt.layer(*layers).properties(width=760, height=alt.Step(22)))


def against_length(
    dataset: str, frameworks: Sequence[str], title: str, field: str = "seconds", what: str = "time of a call"
) -> dict[str, Any]:
    """Time or memory over length on logarithmic axes: what was measured, the fitted power laws, and the machine's limit.

    `field`: "seconds" or "bytes"; memory has no limit.
    """
    x = alt.X(
        "S:Q",
        scale=alt.Scale(type="log", base=2, nice=False, padding=16),
        axis=alt.Axis(title=title, labelExpr="format(datum.value, ',')", grid=True),
    )
    y = alt.Y(f"{field}:Q", scale=alt.Scale(type="log", nice=False, padding=10), axis=_log_axis(what, field))
    base = alt.Chart(alt.NamedData(dataset)).encode(x=x, y=y)
    of = colour("framework", frameworks)
    measured = base.transform_filter("datum.line == 'measured'").encode(color=of, detail="implementation:N")
    lines = measured.mark_line(strokeWidth=1.3, opacity=0.55)
    points = measured.mark_circle(size=56, tooltip=TOOLTIP)
    fits = base.transform_filter("datum.line == 'fitted'").encode(color=of, detail="implementation:N")
    fitted = fits.mark_line(strokeDash=[2, 3], strokeWidth=2)
    if field != "seconds":
        return to_spec(alt.layer(lines, fitted, points).properties(width=820, height=400))
    limits = base.transform_filter("datum.line == 'limit'").encode(detail="run:N")
    roof = limits.mark_line(color="var(--bad)", strokeDash=[6, 4], strokeWidth=2, tooltip=TOOLTIP)
    roof_points = limits.mark_point(color="var(--bad)", shape="diamond", size=44, filled=True, tooltip=TOOLTIP)
    layers = alt.layer(roof, roof_points, lines, fitted, points)
    return to_spec(layers.properties(width=820, height=400))


def first_against_warm(dataset: str, frameworks: Sequence[str]) -> dict[str, Any]:
    """First call over warm call, logarithmic both: what lies on the diagonal costs nothing to start."""
    scale = alt.Scale(type="log", nice=False, padding=12)
    base = alt.Chart(alt.NamedData(dataset)).transform_filter("isValid(datum.first_call_s) && isValid(datum.median_s)")
    y = alt.Y("first_call_s:Q", scale=scale, axis=_log_axis("first call, compiling included", "seconds"))
    x = alt.X("median_s:Q", scale=scale, axis=_log_axis("warm call", "seconds"))
    points = base.mark_point(size=70, filled=True, opacity=0.75, tooltip=TOOLTIP)
    points = points.encode(
        x=x,
        y=y,
        color=colour("framework", frameworks),
        shape=alt.Shape(
            "start:N",
            scale=alt.Scale(domain=["as it stands", "compiled"], range=["circle", "triangle-up"]),
            legend=alt.Legend(title=None, orient="top"),
        ),
    )
    diagonal = base.mark_line(color="var(--soft)", strokeDash=[5, 4], strokeWidth=1).encode(
        x=x, y=alt.Y("median_s:Q", scale=scale)
    )
    return to_spec(alt.layer(diagonal, points).properties(width=760, height=420))


def intervals(dataset: str, threshold: float) -> dict[str, Any]:
    """One row per cell: the ratio, its interval, and the band within which a change counts as none."""
    base = alt.Chart(alt.NamedData(dataset)).transform_filter("isValid(datum.ratio)")
    y = alt.Y(
        "cell:N",
        sort=alt.EncodingSortField("row_rank", op="min"),
        axis=alt.Axis(title=None, grid=True, ticks=False, domain=False, labelLimit=360),
    )
    x = alt.X(
        "ratio:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(
            title="B / A", orient="top", labelExpr="format(datum.value, '.2~f') + '\u00d7'", labelOverlap="greedy"
        ),
    )
    band = _once(dataset).mark_rect(color="var(--line)", opacity=0.35)
    band = band.encode(x=alt.datum(1 / (1 + threshold)), x2=alt.datum(1 + threshold))
    verdicts = ["slower", "faster", "same", "inconclusive"]
    series = alt.Scale(
        domain=verdicts, range=["var(--series-1)", "var(--series-0)", "var(--series-7)", "var(--series-4)"]
    )
    colour_ = alt.Color("verdict:N", scale=series, legend=alt.Legend(title=None, orient="top"))
    line = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2, tooltip=TOOLTIP)
    line = line.encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=colour_)
    point = base.mark_circle(size=60, opacity=1, tooltip=TOOLTIP).encode(x=x, y=y, color=colour_)
    return to_spec(alt.layer(band, line, point).properties(width=720, height=alt.Step(20)))
