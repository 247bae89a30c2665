"""One of the two things that are compared: its cells, the times of its processes, and where they were measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.records import Record

Key = tuple[str, str, str, str]
"""Case, implementation, device, pass: Record.key."""


@dataclass(frozen=True, slots=True)
class CoreSpeed:
    """At which core speed the times of a side are told, and how far each cell follows it: see benchmarks.core_speed."""

    slopes: Mapping[Key, float] = field(default_factory=dict)
    """Empty where core speed was not taken out."""
    log_quiet: float = 0.0
    """Log of the canary's seconds at that speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A stored run."""

    label: str
    """In words: a path."""
    records: Mapping[Key, Record]
    logs: Mapping[Key, Sequence[float]]
    """Log seconds per call, one number for each process; a cell that is not here is known by its median alone."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """As in environment.json; empty where nothing is known."""
    speed: CoreSpeed = field(default_factory=CoreSpeed)
    laps: bool = True
    """Whether its blocks are told by their middle lap; runs from before there were laps, by the mean of their calls."""

    def is_timed(self, key: Key) -> bool:
        """Whether the cell is here and has a time."""
        record = self.records.get(key)
        return record is not None and record.status is Status.OK
