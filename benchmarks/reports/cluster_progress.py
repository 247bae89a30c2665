"""How a run on a cluster tells that it goes on: a line for each machine and each part of the run. Always on stderr."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.state import Event
    from benchmarks.plan import Plan


def cluster_progress(plan: Plan, *, quiet: bool) -> Callable[[Event], None]:
    """What is told the events of a run."""
    err, started = console(stderr=True), time.monotonic()
    left = {case.name for case in plan.cases}

    def show(event: Event) -> None:
        if not quiet:
            for line in _lines(event, left):
                err.print(harmless(f"{line} ({time.monotonic() - started:.0f} s)"), soft_wrap=True)

    return show


def _lines(event: Event, left: set[str]) -> list[str]:
    match event["event"]:
        case "machine":
            versions = ", ".join(f"{name} {version}" for name, version in event["conditions"]["frameworks"].items())
            return [f"machine {event['machine']} at {event['worker']}: {versions or 'no framework'}"]
        case "left_out":
            return [f"left out: {event['worker']}: {event['reason']}"]
        case "lost":
            return [f"lost: {event['worker']} with {', '.join(event['cases'])}; they are tried again"]
        case "part":
            left.difference_update(event["cases"])
            failed = [e for e in event["events"] if e["event"] == "failed"]
            told = [e for e in failed if e["status"] not in ("unsupported", "not_installed")]
            lines = [f"{e['case']} {e['implementation']} {e['status']}: {e['reason']}" for e in told]
            return [*lines, f"{', '.join(event['cases'])}: measured on {event['machine']}, {len(left)} cases left"]
        case "gone":
            return [f"{event['reason']}; what was measured is written"]
    return []
