"""What is known of a live comparison so far, folded from its events."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.live.plan import SIDES, Pair
from benchmarks.records import Status

Event = dict[str, Any]


@dataclass(slots=True)
class PairState:
    """One cell on both sides."""

    failures: dict[str, tuple[Status, str]] = field(default_factory=dict)
    """Side -> status and reason."""
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Side -> what its worker said when it prepared the cell."""
    turns: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    """Epoch -> (A, B) seconds per call of each exchange of turns, each the geometric mean of its blocks."""
    measured_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SIDES, 0.0))

    def log_ratios(self) -> list[float]:
        """One per epoch: the median of its exchanges."""
        return [statistics.median(math.log(b / a) for a, b in turns) for _, turns in sorted(self.turns.items())]

    def median_s(self, side: str) -> float:
        """Seconds per call."""
        place = SIDES.index(side)
        return statistics.median(turn[place] for turns in self.turns.values() for turn in turns)


@dataclass(slots=True)
class LiveState:
    """All cells."""

    pairs: dict[Pair, PairState] = field(default_factory=lambda: defaultdict(PairState))
    greetings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Worker ("A-torch") -> what it said last."""
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    wall_s: float = 0.0

    def apply(self, event: Event) -> None:
        """Take one event in. Unknown kinds are ignored."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def _on_greeting(self, event: Event) -> None:
        self.greetings[event["worker"]] = event

    def _on_oracle(self, event: Event) -> None:
        self.cases[event["case"]] = event

    def _on_prepared(self, event: Event) -> None:
        facts, side = self.pairs[key(event)].facts, event["side"]
        # The memory is weighed once, by the first process that prepares the cell.
        first = facts.get(side, {}).get("peak_memory_bytes")
        facts[side] = event["facts"] if first is None else {**event["facts"], "peak_memory_bytes": first}

    def _on_failed(self, event: Event) -> None:
        self.pairs[key(event)].failures.setdefault(event["side"], (Status(event["status"]), event["reason"]))

    def _on_turns(self, event: Event) -> None:
        known = self.pairs[key(event)]
        calls = event["calls"]
        means = []
        for side in SIDES:
            seconds = event[f"{side.lower()}_s"]
            per_call = event.get(f"{side.lower()}_per_call_s") or [s / calls for s in seconds]
            means.append(math.exp(statistics.fmean(map(math.log, per_call))))
            known.measured_s[side] += sum(seconds)
        known.turns[event["epoch"]].append((means[0], means[1]))

    def _on_end(self, event: Event) -> None:
        self.wall_s += event["wall_s"]


def key(event: Event) -> Pair:
    """The cell that an event is about."""
    return Pair(event["case"], event["a"], event["b"], event["device"])
