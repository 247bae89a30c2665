"""What the shell offers where a name is to be typed. No framework is imported, and nothing before a name is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

Offers = list[tuple[str, str]]
"""What may be typed, with what it is."""


def _starting(offers: Iterable[tuple[str, str]], incomplete: str) -> Offers:
    return [(word, says) for word, says in offers if word.startswith(incomplete)]


def suites(incomplete: str) -> Offers:
    """Names of suites."""
    from benchmarks.suites import SUITES

    return _starting(SUITES.items(), incomplete)


def cases(ctx: typer.Context, incomplete: str) -> Offers:
    """Cases of the run that was named, else of the suite, else of all."""
    from benchmarks.suites import SUITES, load

    if "run" in ctx.params:  # of a line that is not finished, arguments may still be unread
        run = ctx.params["run"] or next(iter(ctx.args), "")
        return _starting(_cases_of_run(str(run)), incomplete)
    suite = ctx.params.get("suite")
    return _starting(((c.name, c.source) for c in load(suite if suite in SUITES else "full")), incomplete)


def _cases_of_run(run: str) -> Offers:
    """Of a stored run; none where it cannot be read: whoever presses the key is told nothing."""
    from pathlib import Path

    from benchmarks.errors import UnreadableResults
    from benchmarks.foreign import csv_rows, opened

    file = Path(run) / "summary.csv" if Path(run).is_dir() else Path(run)
    try:
        with opened(file) as (stream, _):
            rows = csv_rows(stream, str(file))
            place = next(rows, (0, []))[1].index("case")
            return [(case, "") for case in dict.fromkeys(row[place] for _, row in rows)]
    except (UnreadableResults, ValueError):
        return []


def implementations(ctx: typer.Context, incomplete: str) -> Offers:
    """Ids of implementations, of the frameworks that were named or of all."""
    from backends import registry

    wanted = ctx.params.get("framework") or registry.names()
    found = registry.implementations().values()
    return _starting(((i.id, i.summary) for i in found if i.framework in wanted), incomplete)


def frameworks(incomplete: str) -> Offers:
    """Names of frameworks, with the version that is installed."""
    from backends import registry

    told = {name: registry.installed_version(name) for name in registry.names()}
    return _starting(((name, version or "not installed") for name, version in told.items()), incomplete)


def devices(incomplete: str) -> Offers:
    """What a cell can run on."""
    from benchmarks.plan import DEVICES

    return _starting(((name, "") for name in DEVICES), incomplete)


def dtypes(incomplete: str) -> Offers:
    """Types of numbers."""
    from backends.problem import DTYPES

    return _starting(((name, "") for name in DTYPES), incomplete)


def passes(incomplete: str) -> Offers:
    """The passes of a problem."""
    from backends.problem import PASSES

    return _starting(((name, "") for name in PASSES), incomplete)


def statuses(incomplete: str) -> Offers:
    """How a cell may have ended."""
    from benchmarks.records import Status

    return _starting(((str(status), "") for status in Status), incomplete)


def sorts(incomplete: str) -> Offers:
    """What the cells of a run can be sorted by."""
    from benchmarks.selection import BY_NAME, SORTS

    return _starting(((name, "") for name in (*SORTS, *BY_NAME)), incomplete)
