"""The chart of a history: small multiples of trend lines, as a Vega-Lite specification built by Altair."""

from __future__ import annotations

from typing import Any

import altair as alt

from benchmarks.reports.page.charts import TOOLTIP, to_spec

_WIDTH, _HEIGHT, _COLUMNS = 300, 92, 3
_SECONDS = "format(datum.value, '~s') + 's'"


def trend_lines(dataset: str) -> dict[str, Any]:
    """For each `cell` of the dataset its `median_s` over `place`, the `level_s` of each stretch, its changes and its gaps.

    `room_low` and `room_high`, in one row of each cell: what its scale has to span at least.
    """
    x = alt.X("place:Q", axis=None, scale=alt.Scale(nice=False, padding=6))
    scale = alt.Scale(type="log", nice=False, padding=8)
    axis = alt.Axis(title=None, labelExpr=_SECONDS, tickCount=3, labelOverlap="greedy", domain=False, ticks=False)
    base = alt.Chart().encode(x=x)
    timed = base.transform_filter("isValid(datum.median_s)")
    y = alt.Y("median_s:Q", scale=scale, axis=axis)
    level = timed.mark_line(strokeWidth=7, opacity=0.35, color="var(--soft)", strokeCap="butt")
    level = level.transform_filter("isValid(datum.level_s)").encode(
        y=alt.Y("level_s:Q", scale=scale, axis=axis), detail="level:N"
    )
    line = timed.mark_line(strokeWidth=1.4, color="var(--series-0)").encode(y=y, detail="stretch:N")
    points = timed.mark_circle(size=26, opacity=1, color="var(--series-0)", tooltip=TOOLTIP).encode(y=y)
    colours = alt.Scale(domain=["slower", "faster"], range=["var(--series-1)", "var(--series-0)"])
    legend = alt.Legend(title=None, orient="top", symbolType="stroke")
    changes = base.transform_filter("isValid(datum.change) && datum.change != ''")
    changes = changes.mark_rule(strokeWidth=2.5, tooltip=TOOLTIP).encode(
        color=alt.Color("change:N", scale=colours, legend=legend)
    )
    gaps = base.transform_filter("isValid(datum.gap_s)")
    gaps = gaps.mark_point(shape="cross", angle=45, size=70, filled=True, color="var(--bad)", tooltip=TOOLTIP)
    gaps = gaps.encode(y=alt.Y("gap_s:Q", scale=scale, axis=axis))
    room = base.transform_filter("isValid(datum.room_high)").mark_rule(opacity=0)
    room = room.encode(y=alt.Y("room_low:Q", scale=scale, axis=axis), y2="room_high:Q")
    # A rule without y spans the plot; it lies under the points, so that both can be pointed at.
    layers = alt.layer(room, level, changes, line, points, gaps, data=alt.NamedData(dataset))
    header = alt.Header(title=None, labelLimit=_WIDTH + 40, labelAnchor="start", labelFontSize=12, labelPadding=4)
    facet = alt.Facet("cell:N", sort=alt.EncodingSortField("rank", op="min"), header=header)
    many = layers.properties(width=_WIDTH, height=_HEIGHT).facet(facet=facet, columns=_COLUMNS)
    return to_spec(many.resolve_scale(x="independent", y="independent"))
