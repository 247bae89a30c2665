"""`list`: what there is. Each framework is loaded in its own worker, so that a broken one is told, not felt."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from rich.table import Table

from backends import registry
from benchmarks import suites
from benchmarks.cli.options import Format
from benchmarks.errors import UsageError
from benchmarks.harness.session import Session, usual_workers
from benchmarks.records import Status, describe
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless, shape_words

if TYPE_CHECKING:
    from collections.abc import Callable

WHAT = ("frameworks", "implementations", "devices", "suites", "cases")
Rows = list[dict[str, Any]]
_WHOLE = ("framework", "implementation", "suite", "case", "device", "devices", "dtypes", "status")
_SHORT = {"float64": "f64", "float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def list_everything(what: str, suite: str | None, format: Format) -> None:
    """Print one of WHAT, or everything."""
    if what not in (*WHAT, "everything"):
        raise UsageError(f"list {what!r}, expected one of {', '.join(WHAT)}, or nothing for everything")
    if format not in (Format.TABLE, Format.JSON):
        raise UsageError(f"list prints table or json, not {format}")
    if suite is not None and suite not in suites.SUITES:
        raise UsageError(f"unknown suite {suite!r}, expected one of {', '.join(suites.SUITES)}")
    wanted = [what] if what != "everything" else list(WHAT)
    greetings = _greet() if {"frameworks", "devices"} & set(wanted) else {}
    makers: dict[str, Callable[[], Rows]] = {
        "frameworks": lambda: _frameworks(greetings),
        "implementations": _implementations,
        "devices": lambda: _devices(greetings),
        "suites": _suites,
        "cases": lambda: _cases(suite),
    }
    found = {name: makers[name]() for name in wanted}
    out = console()
    if format is Format.JSON:
        out.file.write(json.dumps(found, indent=1) + "\n")
        return
    for name, rows in found.items():
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title=None)
        out.print(name, style="bold")
        briefly = [_brief(row) for row in rows]
        for column in briefly[0] if briefly else ():
            # Prose wraps between words; what is to be copied stays in one piece.
            table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
        for row in briefly:
            table.add_row(*(harmless(str(value)) for value in row.values()))
        out.print(table)
        out.print("")


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the table shows it: dtypes by their short names, deviations behind what it does."""
    if "dtypes" not in row:
        return row
    deviates = f" Deviates in {row['deviates in']}." if row["deviates in"] else ""
    dtypes = " ".join(_SHORT[dtype] for dtype in row["dtypes"].split())
    summary = row["what it does"].rstrip(".") + "."
    return {**{k: row[k] for k in ("implementation", "devices")}, "dtypes": dtypes, "what it does": summary + deviates}


def _greet() -> dict[str, Any]:
    with (
        console(stderr=True).status("starting one worker per framework"),
        Session(usual_workers(registry.names())) as session,
    ):
        session.launch()
        return dict(session.greetings())


def _frameworks(greetings: dict[str, Any]) -> Rows:
    return [
        {"framework": g.framework, "status": str(g.status), "version": g.version if g.status is Status.OK else g.reason}
        for g in greetings.values()
    ]


def _implementations() -> Rows:
    return [
        {
            "implementation": i.id,
            "devices": " ".join(i.devices),
            "dtypes": " ".join(i.dtypes),
            "what it does": i.summary,
            "deviates in": ", ".join(d.topic for d in i.deviations),
        }
        for i in registry.implementations().values()
    ]


def _devices(greetings: dict[str, Any]) -> Rows:
    names = sorted({device for g in greetings.values() for device in g.devices})
    return [
        {"device": device, "found by": ", ".join(g.framework for g in greetings.values() if device in g.devices)}
        for device in names
    ]


def _suites() -> Rows:
    return [
        {"suite": name, "cases": len(suites.load(name)), "what it is for": says} for name, says in suites.SUITES.items()
    ]


def _cases(suite: str | None) -> Rows:
    names = [suite] if suite is not None else [name for name in suites.SUITES if name != "full"]
    rows = []
    for name in names:
        for case in suites.load(name):
            problem = shape_words({**describe(case), **dataclasses.asdict(case.shape)})
            rows.append({"suite": name, "case": case.name, "problem": problem, "source": case.source})
    return rows
