"""What a run was begun with besides the machine and the variables, as hashes: the code that measures, and the plug-ins.

A run that goes on has to have the same, or its rows would not be of one kind.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.plugins import ENTRY_POINTS
from benchmarks.harness.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.plan import Plan

CONDITIONS = ("code", "plugins")
_WORDS = {
    "machine": "another machine",
    "python": "another Python",
    "variables": "other variables",
    "code": "another version of attnbench",
    "plugins": "another plug-in",
}
"""What has to be equal, in the order in which it is told, and what it is called in a sentence."""
_SAME_MEMORY = 50
"""The kernel keeps a little more or less for itself at each start: one part in so many."""
_CODE = {
    "backends": ("backends/**/*.py",),
    "harness": ("benchmarks/harness/**/*.py",),
    "suites": ("benchmarks/suites/**/*.py", "benchmarks/cases.py", "benchmarks/inputs.py", "benchmarks/work.py"),
}
"""Part -> what it is made of. How results are computed and shown from the journal may change between two sessions."""


def conditions(plan: Plan) -> dict[str, dict[str, str]]:
    """CONDITIONS -> part or plug-in -> its hash."""
    code = {
        part: _hash(sorted(file for pattern in patterns for file in ROOT.glob(pattern)))
        for part, patterns in _CODE.items()
    }
    return {"code": code, "plugins": {plugin: _plugin(plugin) for _, plugin in plan.plugins}}


def _plugin(plugin: str) -> str:
    if Path(plugin).is_absolute():
        return _hash([Path(plugin)])
    # An installed one is imported in workers only: its version stands for what is in it.
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if plugin == f"module:{point.module}" and point.dist is not None:
            return f"{point.dist.name} {point.dist.version}"
    return "missing"


def _hash(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        try:
            found.update(hashlib.sha256(file.read_bytes()).digest())
        except OSError:
            return "missing"
    return found.hexdigest()[:16]


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What a run would go on under that it did not begin with, in words; None: nothing. Both as in environment.json."""
    for name, words in _WORDS.items():
        found = _differences(then.get(name), now[name])
        if found:
            return f"{words}: {', '.join(found)}"
    return None


def _differences(then: Any, now: Any) -> list[str]:
    """Name by name where they have names."""
    if not isinstance(then, dict) or not isinstance(now, dict):
        return [] if then == now else [f"{then} then, {now} now"]
    return [
        f"{name} ({then.get(name, 'not set')} then, {now.get(name, 'not set')} now)"
        for name in sorted(then.keys() | now.keys())
        if not _same(name, then.get(name), now.get(name))
    ]


def _same(name: str, then: Any, now: Any) -> bool:
    if name == "memory_bytes" and isinstance(then, int) and isinstance(now, int):
        return abs(then - now) * _SAME_MEMORY <= max(then, now)
    return bool(then == now)
