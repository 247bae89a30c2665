"""From a Page to HTML: jinja2 with autoescape, the data embedded once as JSON, and a policy that lets nothing else run."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.reports.page.bundle import vega_script
from benchmarks.reports.page.model import Chart, Table
from benchmarks.reports.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.reports.page.model import Column, Dataset, Page

ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("format.js", "data.js", "view.js", "tables.js", "charts.js", "filters.js", "main.js")
"""In this order, one after the other, inside one function."""
_ID = re.compile(r"[a-z][a-z0-9-]*")
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""What could end a script element, or a line of a script, is written as JSON's escapes."""


def render_page(page: Page) -> str:
    """The page as one file, which asks for nothing from anywhere. ValueError for an id that is none, or twice there."""
    clean = _harmless(page)
    _check_ids(clean)
    charts = any(isinstance(block, Chart) for section in clean.sections for block in section.blocks)
    style = _asset("page.css")
    scripts = [vega_script()] if charts else []
    scripts.append("(() => {\n'use strict';\n" + "\n".join(map(_asset, _SCRIPTS)) + "\n})();")
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        page=clean,
        policy=_policy(style, scripts),
        style=Markup(style),  # noqa: S704 - our own file, and not the reader's
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - ours and Vega's
        data=Markup(embedded(_payload(clean))),  # noqa: S704 - escaped by `embedded`
        kind=lambda block: type(block).__name__,
    )


def embedded(data: object) -> str:
    """JSON that can stand inside a script element, whatever its strings say."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Content-Security-Policy: these scripts and this style, by their hashes; no request, no eval, no frame, no form."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _check_ids(page: Page) -> None:
    ids = [section.id for section in page.sections]
    ids += [block.id for section in page.sections for block in section.blocks if isinstance(block, (Chart, Table))]
    for place, id in enumerate(ids):
        if not _ID.fullmatch(id):
            raise ValueError(f"id {id!r}, expected lower-case letters, digits and hyphens")
        if id in ids[:place]:
            raise ValueError(f"id {id!r} is there twice")


def _harmless(value: Any) -> Any:
    """The same with every string made harmless: one place, so that no section can forget it."""
    if isinstance(value, str):
        return harmless(value) if type(value) is str else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name != "datasets"}
        return dataclasses.replace(value, **{name: _harmless(inner) for name, inner in fields.items()})
    if isinstance(value, dict):
        return {_harmless(key): _harmless(inner) for key, inner in value.items()}
    return type(value)(map(_harmless, value)) if isinstance(value, (tuple, list)) else value


def _payload(page: Page) -> dict[str, Any]:
    blocks: dict[str, Any] = {}
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, (Chart, Table)):
                blocks[block.id] = {
                    "dataset": block.dataset,
                    "columns": [
                        dataclasses.asdict(column)
                        for column in told_columns(block.columns, page.datasets[block.dataset])
                    ],
                    "only": block.only,
                    "caption": block.caption,
                    **({"spec": block.spec, "tall": block.tall} if isinstance(block, Chart) else {"sort": block.sort}),
                }
    return {
        "datasets": {name: _encoded(dataset) for name, dataset in page.datasets.items()},
        "filters": [dataclasses.asdict(filter) for filter in page.filters],
        "blocks": blocks,
    }


def told_columns(columns: Sequence[Column], dataset: Dataset) -> list[Column]:
    """The columns without those that have nothing in any row."""
    return [column for column in columns if any(value not in (None, "") for value in dataset.get(column.field, ()))]


def _encoded(dataset: Dataset) -> dict[str, Any]:
    """Columns: numbers as they are, with six digits; texts as the words that occur and each row's number among them."""
    lengths = {len(values) for values in dataset.values()}
    if len(lengths) > 1:
        raise ValueError(f"columns of {sorted(lengths)} rows, expected one length")
    return {"rows": max(lengths, default=0), "columns": {name: _column(values) for name, values in dataset.items()}}


def _column(values: Sequence[object]) -> Mapping[str, Any]:
    if any(isinstance(value, str) for value in values):
        words: dict[str, int] = {}
        codes = [words.setdefault("" if value is None else str(value), len(words)) for value in values]
        return {"words": [harmless(word) for word in words], "codes": codes}
    return {"values": [_number(value) for value in values]}


def _number(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
