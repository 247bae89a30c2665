"""Medians while a run goes on: what is known of each cell so far, before the statistics that need all of it."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.harness.state import Event


class Provisional:
    """Folds the events of a run into medians per call, as the clock gave them."""

    def __init__(self) -> None:
        self._seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._failed: dict[str, dict[str, str]] = defaultdict(dict)

    def apply(self, event: Event) -> None:
        """Take one event in."""
        if event["event"] == "block":
            self._seconds[event["case"]][event["implementation"]].append(event["seconds"] / event["calls"])
        elif event["event"] == "failed":
            self._failed[event["case"]][event["implementation"]] = event["status"]

    def median(self, case: str, implementation: str) -> float | None:
        """Seconds per call so far."""
        found = self._seconds[case].get(implementation)
        return None if not found else statistics.median(found)

    def ranking(self, case: str) -> list[tuple[str, float]]:
        """Implementations that have not failed, with their medians, from the fastest on."""
        failed = self._failed[case]
        found = {i: statistics.median(s) for i, s in self._seconds[case].items() if i not in failed}
        return sorted(found.items(), key=lambda pair: pair[1])
