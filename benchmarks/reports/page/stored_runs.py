"""Stored runs as a page needs them: their cells, where they were measured, and a short name for each."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.plain_json import finite
from benchmarks.comparison.readers import read_side
from benchmarks.errors import UsageError
from benchmarks.reports.text import three_digits
from benchmarks.stored_run import state_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from benchmarks.comparison.side import Side
    from benchmarks.harness.state import State
    from benchmarks.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One run that is shown."""

    label: str
    """Its name on the page, no other run's."""
    side: Side
    state: State
    """The limits and handicaps that the run measured, as the terminal's lines want them."""
    machine: str
    """In words; empty where the run did not record it."""
    records: tuple[Record, ...] = field(default=())

    @property
    def environment(self) -> Mapping[str, Any]:
        """As in environment.json; empty where nothing is known."""
        return self.side.environment

    @property
    def versions(self) -> dict[str, str]:
        """Framework -> its version, of those that loaded."""
        told = self.environment.get("frameworks", {})
        return {name: str(of["version"]) for name, of in told.items() if of.get("version")}


def read_runs(paths: Sequence[Path]) -> tuple[StoredRun, ...]:
    """In their order. UsageError where there are none, UnreadableResults where one is no run."""
    if not paths:
        raise UsageError("report needs at least one run folder or summary.csv")
    sides = [read_side(path) for path in paths]
    return tuple(stored_run(side, label) for side, label in zip(sides, _labels(paths), strict=True))


def stored_run(side: Side, label: str) -> StoredRun:
    """A run from what was read of it."""
    return StoredRun(
        label=label,
        side=side,
        state=state_of(side.environment),
        machine=machine_words(side.environment, {record.device for record in side.records.values()}),
        records=tuple(side.records.values()),
    )


def _labels(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart; a run given twice is numbered."""
    parts = [(path.parent if path.name == "summary.csv" else path).resolve().parts for path in paths]
    labels = [_end(own, [other for other in parts if other != own]) for own in parts]
    seen: dict[str, int] = defaultdict(int)
    told = []
    for label in labels:
        seen[label] += 1
        told.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return told


def _end(own: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> str:
    count = 1
    while count < len(own) and any(other[-count:] == own[-count:] for other in others):
        count += 1
    return "/".join(own[-count:])


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def machine_words(environment: Mapping[str, Any], devices: Collection[str] = ()) -> str:
    """As in: AMD EPYC, 2 cores, 25.3 GB, Linux; accelerators first, where cells ran on them. Empty where nothing is known."""
    machine = environment.get("machine", {})
    words = list(map(str, _list(machine.get("accelerators")))) if set(devices) - {"cpu"} else []
    words += [str(machine["cpu"])] if machine.get("cpu") else []
    cores = finite(machine.get("cores_allowed"))
    if cores:
        words.append(f"{cores:.0f} core{'' if cores == 1 else 's'}")
    memory = finite(machine.get("memory_bytes"))
    if memory:
        words.append(f"{three_digits(memory / 1e9)} GB")
    words += [str(machine["system"])] if machine.get("system") else []
    return ", ".join(words)


def cpus_words(environment: Mapping[str, Any]) -> str:
    """Which CPUs the workers were bound to."""
    cpus = _list(environment.get("cpus"))
    if not environment:
        return ""
    return f"workers on CPU {', '.join(map(str, cpus))}" if cpus else "workers on all CPUs"


def geometric_mean(values: Sequence[float]) -> float:
    """Of numbers above 0, at least one."""
    return math.exp(sum(map(math.log, values)) / len(values))
