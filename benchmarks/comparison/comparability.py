"""Whether two runs may be compared at all: the fields in which they differ, and which of those forbid it.

What is being compared may differ and is told: versions, the git revision, the kernel that ran. What it ran on and how it was
set may not: processor, cores, memory, Python, variables that steer speed, threads, precision, layout, the problem itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.plain_json import finite
from benchmarks.harness.environment import IDENTITY
from benchmarks.harness.steering import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.comparison.side import Key, Side

MACHINE = (*IDENTITY, "cpu_kind")
"""Fields of environment.json's machine that have to be equal, where both runs know them."""
MEMORY_TOLERANCE = 0.02
"""The kernel keeps a little more or less for itself after every update."""
_TOLD_SETTINGS = frozenset({"compilation_cache"})
"""Settings that touch no timed call."""
PROBLEM = ("dtype", *"BTSNKHV", "causal", "window", "softcap", "scale", "mask", "bias", "kv_lengths")
"""Columns of summary.csv that say which problem it is."""
_CONDITIONS = ("schema_version", "threads", "matmul_precision", "layout", "jit")
_TOLD_COLUMNS = ("lowered", "kernel")
_VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+-]*")
_NOT_SET = "not set"
_TOLD_AT_MOST = 12


class NotComparable(ValueError):
    """Two runs that differ where they may not; the message names the fields."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field."""

    field: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.field} ({_short(self.a)} / {_short(self.b)})"


@dataclass(frozen=True, slots=True)
class Differences:
    """All of them."""

    refused: tuple[Difference, ...]
    told: tuple[Difference, ...]

    def check(self, *, force: bool) -> tuple[str, ...]:
        """Notes for the reader of the comparison. NotComparable where there is what only --force passes over."""
        if self.refused and not force:
            fields = ", ".join(map(str, self.refused))
            raise NotComparable(f"not comparable, they differ in {fields}; --force compares them all the same")
        notes = [f"forced although they differ in {difference}" for difference in self.refused]
        if self.told:
            more = len(self.told) - _TOLD_AT_MOST
            fields = ", ".join(map(str, self.told[:_TOLD_AT_MOST]))
            notes.append(f"they also differ in {fields}" + (f", and {more} more" if more > 0 else ""))
        return tuple(notes)


def differences(a: Side, b: Side) -> Differences:
    """Between two sides: first where they ran, then how, then what each cell says of itself."""
    refused: list[Difference] = []
    told: list[Difference] = []
    if a.logs and b.logs and a.laps != b.laps:
        words = ["middle lap" if side.laps else "mean of its calls" for side in (a, b)]
        refused.append(Difference("what a block's time is", *words))
    for forbids, difference in (*_environments(a, b), *_cells(a, b)):
        (refused if forbids else told).append(difference)
    return Differences(tuple(refused), tuple(told))


def elsewhere(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What forbids to take what was measured `then` for what would be measured now: machine, Python, variables, CPUs.

    Both as in environment.json.
    """
    found = [
        *_machines(then, now),
        *_pythons(str(then.get("python", "")), str(now.get("python", ""))),
        *_cpus(then.get("cpus") or [], now.get("cpus") or []),
    ]
    found += _variables(then.get("variables", {}), now.get("variables", {}))
    return [str(difference) for forbids, difference in found if forbids]


def _environments(a: Side, b: Side) -> Iterator[tuple[bool, Difference]]:
    if not a.environment or not b.environment:
        known = ["recorded" if side.environment else "not recorded" for side in (a, b)]
        yield False, Difference("environment", known[0], known[1])
        return
    shared = [a.records[key] for key in a.records if key in b.records]
    used = {record.framework: False for record in shared}
    used |= {record.framework: True for record in shared if record.device != "cpu"}
    yield from environment_differences(a.environment, b.environment, used)


def environment_differences(
    a: Mapping[str, Any], b: Mapping[str, Any], used: Mapping[str, bool]
) -> Iterator[tuple[bool, Difference]]:
    """(whether it forbids, the difference) between two environments. `used`: the frameworks that count, and whether on
    another device than the CPU.
    """
    yield from _machines(a, b)
    yield from _pythons(str(a.get("python", "")), str(b.get("python", "")))
    if "variables" in a and "variables" in b:
        yield from _variables(a["variables"], b["variables"])
    yield from _worker_variables(a, b, used)
    yield from _cpus(a.get("cpus") or [], b.get("cpus") or [])
    x, y = a.get("revision", {}), b.get("revision", {})
    for name in ("commit", "modified"):
        yield from _unequal(f"revision.{name}", x.get(name), y.get(name), forbids=False)
    yield from _frameworks(a.get("frameworks", {}), b.get("frameworks", {}), used)


def _variables(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[bool, Difference]]:
    """Other folders are told, anything else is another machine."""
    for name in sorted(a.keys() | b.keys()):
        values = [known.get(name, _NOT_SET) for known in (a, b)]
        yield from _unequal(f"variables.{name}", *values, forbids=name not in PLACES)


def _machines(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[bool, Difference]]:
    x, y = a.get("machine", {}), b.get("machine", {})
    for name in MACHINE:
        if name in x and name in y:
            yield from _unequal(f"machine.{name}", x[name], y[name])
    before, after = (finite(m.get("memory_bytes")) for m in (x, y))
    if before is not None and after is not None and abs(before - after) > MEMORY_TOLERANCE * max(before, after):
        yield True, Difference("machine.memory_bytes", f"{before:.0f}", f"{after:.0f}")
    if "kernel" in x and "kernel" in y:
        yield from _unequal("machine.kernel", x["kernel"], y["kernel"], forbids=False)


def _cpus(a: Sequence[int], b: Sequence[int]) -> Iterator[tuple[bool, Difference]]:
    """As many, but others, are a little different; more or fewer are another machine."""
    x, y = (" ".join(map(str, cpus)) or "all" for cpus in (a, b))
    yield from _unequal("cpus", x, y, forbids=len(a) != len(b))


def _pythons(a: str, b: str) -> Iterator[tuple[bool, Difference]]:
    if a and b:
        yield from _unequal("python", a, b, forbids=a.split(".")[:2] != b.split(".")[:2])


def _worker_variables(
    a: Mapping[str, Any], b: Mapping[str, Any], used: Mapping[str, bool]
) -> Iterator[tuple[bool, Difference]]:
    """What single workers had or were given otherwise than all: told where all differ, they are not told again. What a
    framework sets by itself belongs to its version, and may differ.
    """
    x, y = a.get("frameworks", {}), b.get("frameworks", {})
    common = [environment.get("variables", {}) for environment in (a, b)]
    for framework in sorted(x.keys() & y.keys() & used.keys()):
        if not x[framework].get("status") == y[framework].get("status") == "ok":
            continue  # it started on one side only, and told nothing
        for kind, forbids in (("variables", True), ("own_variables", False)):
            if kind not in x[framework] or kind not in y[framework]:
                continue  # written before it was recorded
            before, after = x[framework][kind], y[framework][kind]
            for name in sorted(before.keys() | after.keys()):
                values = [known.get(name, _NOT_SET) for known in (before, after)]
                if not forbids or values != [known.get(name, _NOT_SET) for known in common]:
                    field = f"frameworks.{framework}.{kind}.{name}"
                    yield from _unequal(field, *values, forbids=forbids and name not in PLACES)


def _frameworks(
    x: Mapping[str, Any], y: Mapping[str, Any], used: Mapping[str, bool]
) -> Iterator[tuple[bool, Difference]]:
    for name in sorted(x.keys() & y.keys() & used.keys()):
        if not x[name].get("status") == y[name].get("status") == "ok":
            continue  # its cells say so
        yield from _unequal(f"frameworks.{name}.version", x[name].get("version"), y[name].get("version"), forbids=False)
        if used[name]:
            yield from _unequal(f"frameworks.{name}.devices", x[name].get("devices"), y[name].get("devices"))
        yield from _settings(f"frameworks.{name}", x[name].get("settings", {}), y[name].get("settings", {}))


def _settings(where: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[bool, Difference]]:
    """A setting that only one side knows is told: the other was written before it was recorded, or failed to start."""
    for name in sorted(a.keys() | b.keys()):
        x, y = str(a.get(name, _NOT_SET)), str(b.get(name, _NOT_SET))
        alike = _VERSION.sub("", x) == _VERSION.sub("", y)
        forbids = name in a and name in b and name not in _TOLD_SETTINGS and not alike
        yield from _unequal(f"{where}.{name}", x, y, forbids=forbids)


def _cells(a: Side, b: Side) -> Iterator[tuple[bool, Difference]]:
    """Equal differences of many cells are one line."""
    found: dict[tuple[bool, str, str, str], list[Key]] = defaultdict(list)
    for key, x in a.records.items():
        y = b.records.get(key)
        if y is None:
            continue
        for name in _CONDITIONS + _TOLD_COLUMNS:
            before, after = getattr(x, name), getattr(y, name)
            if before != after and before not in (None, "") and after not in (None, ""):
                before, after = str(before), str(after)
                forbids = name in _CONDITIONS
                if forbids or _VERSION.sub("", before) != _VERSION.sub("", after):
                    found[forbids, name, before, after].append(key)
        if x.T and y.T:  # sizes are 0 where a file of another program does not say
            for name in PROBLEM:
                before, after = getattr(x, name), getattr(y, name)
                if before != after:
                    found[True, name, str(before or "none"), str(after or "none")].append(key)
    for (forbids, name, before, after), keys in found.items():
        case, implementation, _, _ = keys[0]
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        yield forbids, Difference(f"{name} of {case} {implementation}{more}", before, after)


def _unequal(field: str, a: object, b: object, *, forbids: bool = True) -> Iterator[tuple[bool, Difference]]:
    if a != b:
        yield forbids, Difference(field, str(a), str(b))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
