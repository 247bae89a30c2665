"""Charts of rows x implementations, a colour and a word in each cell."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from benchmarks.reports.page.charts import AXES, IS_ROUND, TOOLTIP, to_spec

_LOOK: Any = {"cornerRadius": 3, "tooltip": TOOLTIP, "stroke": "var(--page)", "strokeWidth": 2}
_BRIGHT, _DARK = "#ffffff", "#10161d"
"""Words on colours that are the same in both themes."""


def _base(dataset: str, rows: str, row_order: str, column_order: str | None) -> alt.Chart:
    """Rows down, implementations across, their names above."""
    plain: Any = {"title": None, "domain": False, "ticks": False, "labelFontSize": 12}
    sort = None if column_order is None else alt.EncodingSortField(column_order, op="min")
    return alt.Chart(alt.NamedData(dataset)).encode(
        x=alt.X("implementation:N", sort=sort, axis=alt.Axis(orient="top", labelAngle=-50, **plain)),
        y=alt.Y(f"{rows}:N", sort=alt.EncodingSortField(row_order, op="min"), axis=alt.Axis(labelLimit=260, **plain)),
    )


def _instead(*conditions: tuple[str, str]) -> Any:
    """(test, colour), of which the first that holds counts, before the scale."""
    return [{"test": test, "value": colour} for test, colour in conditions]


def _legend(label: str, values: list[float] | None = None) -> alt.Legend:
    shown: Any = {} if values is None else {"values": values}
    return alt.Legend(
        title=None,
        orient="bottom",
        direction="horizontal",
        gradientLength=260,
        gradientThickness=12,
        labelExpr=label,
        **shown,
    )


def ratios(dataset: str, top: float) -> dict[str, Any]:
    """The ratio to the winner on a logarithmic scale that ends at `top`; what has none by its kind."""
    scale = alt.Scale(type="log", scheme="viridis", reverse=True, clamp=True, domain=[1, top])
    dark = f"log(datum.ratio) > {0.45 * math.log(top):.4g}"
    return _heat_map(dataset, "ratio", "sign", scale, "ratio", dark)


def sizes(dataset: str, lowest: float, top: float) -> dict[str, Any]:
    """Bytes on a logarithmic scale."""
    scale = alt.Scale(type="log", scheme="cividis", reverse=True, clamp=True, domain=[lowest, max(top, 2 * lowest)])
    middle = math.sqrt(lowest * max(top, 2 * lowest))
    return _heat_map(
        dataset, "peak_memory_bytes", "memory_sign", scale, "bytes", f"datum.peak_memory_bytes > {middle:.4g}"
    )


def _heat_map(dataset: str, field: str, text: str, scale: alt.Scale, axis: str, dark: str) -> dict[str, Any]:
    """Two layers and no transforms: what is drawn anew with every filter stays small."""
    base = _base(dataset, "row", "row_rank", "rank")
    wrong, failed, known = "datum.kind == 'wrong'", "datum.kind == 'failed'", f"isValid(datum.{field})"
    unlike = _instead((wrong, "var(--wrong)"), (failed, "var(--failed)"), (f"!{known}", "var(--panel)"))
    legend = _legend(f"{IS_ROUND} ? {AXES[axis]} : ''")
    written = _instead((f"{wrong} || {failed} || {known} && {dark}", _BRIGHT), (known, _DARK))
    cells = base.mark_rect(**_LOOK).encode(color=alt.Color(f"{field}:Q", scale=scale, legend=legend, condition=unlike))
    words = base.mark_text(fontSize=11.5).encode(text=f"{text}:N", color=alt.value("var(--soft)", condition=written))
    return to_spec(alt.layer(cells, words).properties(width=alt.Step(50), height=alt.Step(28)))


def verdicts(dataset: str) -> dict[str, Any]:
    """Questions x implementations: the colour and the sign of each answer."""
    base = _base(dataset, "probe", "probe_rank", None)
    scale = alt.Scale(
        domain=["pass", "refused", "deviates", "fail", "error"],
        range=["var(--right)", "var(--panel)", "var(--differs)", "var(--wrong)", "var(--wrong)"],
    )
    cells = base.mark_rect(**_LOOK).encode(color=alt.Color("verdict:N", scale=scale, legend=None))
    colour = alt.condition("datum.verdict == 'refused'", alt.value("var(--soft)"), alt.value("var(--text)"))
    signs = base.mark_text(fontSize=12).encode(text="sign:N", color=colour)
    return to_spec(alt.layer(cells, signs).properties(width=alt.Step(32), height=alt.Step(22)))


def changes(dataset: str) -> dict[str, Any]:
    """The ratio of two times on a diverging logarithmic scale around 1."""
    base = _base(dataset, "row", "row_rank", None)
    marks = [math.log2(ratio) for ratio in (0.8, 0.9, 1.0, 1.1, 1.25)]
    legend = _legend("format(pow(2, datum.value), '.2f') + '\u00d7'", marks)
    scale = alt.Scale(scheme="blueorange", domain=[marks[0], marks[-1]], domainMid=0, clamp=True)
    unlike = _instead(("!isValid(datum.change)", "var(--panel)"))
    written = _instead(("!isValid(datum.change)", "var(--soft)"), ("abs(datum.change) > 0.24", _BRIGHT))
    cells = base.mark_rect(**_LOOK).encode(color=alt.Color("change:Q", scale=scale, legend=legend, condition=unlike))
    words = base.mark_text(fontSize=11.5).encode(text="sign:N", color=alt.value(_DARK, condition=written))
    return to_spec(alt.layer(cells, words).properties(width=alt.Step(64), height=alt.Step(28)))
