"""How much slower is too slow: a relative threshold, an absolute floor, and cells that have their own, from a TOML file.

[[override]]
case = "self-128"              # globs; both default to "*"
implementation = "torch/*"
threshold = "10%"
floor = "20us"
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.foreign import read_text

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES = 2**18
_LONGEST_LINE = 300
"""Tomllib takes the square of the length for a name of many parts."""
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_FIELDS = frozenset({"case", "implementation", "threshold", "floor"})


@dataclass(frozen=True, slots=True)
class Threshold:
    """A change counts where it is beyond both."""

    relative: float
    floor_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Override:
    """The threshold of the cells that match."""

    case: str
    implementation: str
    relative: float | None
    floor_s: float | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The usual one, and those of certain cells; the last that matches counts."""

    usual: Threshold
    overrides: tuple[Override, ...] = ()

    def of(self, case: str, implementation: str) -> Threshold:
        """The threshold of one cell."""
        relative, floor_s = self.usual.relative, self.usual.floor_s
        for override in self.overrides:
            if fnmatchcase(case, override.case) and fnmatchcase(implementation, override.implementation):
                relative = relative if override.relative is None else override.relative
                floor_s = floor_s if override.floor_s is None else override.floor_s
        return Threshold(relative, floor_s)


def parse_percent(text: str) -> float:
    """The share that "5%", "2.5 %" or "0.05" stands for. UsageError where it is none of them, negative or not finite."""
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(%?)\s*", text)
    try:
        value = float(match[1]) if match else math.nan
    except ValueError:
        value = math.nan
    # A bare 5 means 5 % to whoever types it, and 500 % to a computer.
    percent = bool(match and match[2])
    value = value / 100 if percent else value
    if not (math.isfinite(value) and 0 <= value < (100 if percent else 1)):
        raise UsageError(f"threshold {text!r}, expected a share such as 5% or 0.05")
    return value


def parse_seconds(text: str) -> float:
    """The seconds that a text such as "20us" or "1.5 ms" stands for. UsageError without a unit, or where it is negative."""
    match = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*(ns|us|ms|s)\s*", text)
    try:
        value = float(match[1]) * _UNITS_S[match[2]] if match else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(f"time {text!r}, expected a number with its unit: ns, us, ms or s")
    return value


def asked_thresholds(relative: str, floor: str | None, overrides: Path | None) -> Thresholds:
    """What --threshold, --floor and --thresholds ask for. UsageError and UnreadableResults as they come."""
    usual = Threshold(parse_percent(relative), 0.0 if floor is None else parse_seconds(floor))
    return Thresholds(usual, () if overrides is None else read_overrides(overrides))


def read_overrides(path: Path) -> tuple[Override, ...]:
    """The [[override]] tables of a TOML file. UnreadableResults names what is wrong with it."""
    text = read_text(path, _MOST_BYTES)
    if max(map(len, text.splitlines()), default=0) > _LONGEST_LINE:
        raise UnreadableResults(f"{path} has a line of more than {_LONGEST_LINE} characters")
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableResults(f"{path} cannot be read: {error}") from None
    tables = data.pop("override", [])
    if data or not isinstance(tables, list):
        raise UnreadableResults(f"{path}: {', '.join(data) or 'override'}, expected tables named [[override]]")
    return tuple(_override(path, number, table) for number, table in enumerate(tables, start=1))


def _override(path: Path, number: int, table: Any) -> Override:
    where = f"{path}, override {number}"
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise UnreadableResults(f"{where}: expected texts, such as threshold = '5%'")
    if unknown := sorted(set(table) - _FIELDS):
        raise UnreadableResults(f"{where}: unknown {unknown[0]!r}, expected {', '.join(sorted(_FIELDS))}")
    if "threshold" not in table and "floor" not in table:
        raise UnreadableResults(f"{where}: expected a threshold or a floor")
    try:
        relative = parse_percent(table["threshold"]) if "threshold" in table else None
        floor_s = parse_seconds(table["floor"]) if "floor" in table else None
    except UsageError as error:
        raise UnreadableResults(f"{where}: {error}") from None
    return Override(table.get("case", "*"), table.get("implementation", "*"), relative, floor_s)
