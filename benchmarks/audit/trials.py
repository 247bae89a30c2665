"""Trials whose truth is known: identical code, or a slowdown that was put in; through the code of `ab` and of `compare`.

A trial is kept as one line of trials.jsonl, as soon as it ends. All that is said about the machine is computed from the lines.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import measure as run
from benchmarks.comparison.plain_json import finite
from benchmarks.comparison.readers import read_side
from benchmarks.comparison.stored import compare_sides
from benchmarks.comparison.verdicts import Verdict
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import check_kinds, parse_json, read_text
from benchmarks.harness.state import State
from benchmarks.live import measure as live
from benchmarks.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.comparison.side import Side
    from benchmarks.comparison.thresholds import Thresholds
    from benchmarks.comparison.verdicts import Comparison
    from benchmarks.live.plan import LivePlan
    from benchmarks.plan import Plan

TRIALS = "trials.jsonl"
AB, COMPARE = "ab", "compare"


@dataclass(frozen=True, slots=True)
class CellTrial:
    """What was said of one cell."""

    case: str
    implementation: str
    verdict: Verdict
    ratio: float
    low: float
    high: float
    visible: float
    logs: tuple[float, ...] = ()
    """Live: the log ratio of each pair of processes."""

    @property
    def key(self) -> tuple[str, str]:
        """The cell."""
        return (self.case, self.implementation)


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison of a whole suite."""

    path: str
    """AB or COMPARE."""
    slowdown: float
    live: bool
    """False: resampled from the processes of live trials."""
    measured_s: float
    """Per cell and side, on average."""
    wall_s: float
    folder: str = ""
    """Where it was measured, in the audit's folder."""
    cells: tuple[CellTrial, ...] = field(default=())

    def to_line(self) -> str:
        """One line of trials.jsonl."""
        return json.dumps(dataclasses.asdict(self)) + "\n"


def read_trials(folder: Path) -> list[Trial]:
    """The trials of an audit's folder. A torn last line is passed over; UnreadableResults for any other."""
    file = folder / TRIALS
    if not file.exists():
        return []
    lines = read_text(file).splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_trial(parse_json(line, "it")))
        except (ValueError, TypeError) as error:
            if number == len(lines):
                break
            raise UnreadableResults(f"{file}, line {number} is damaged: {error}") from None
    return found


_NUMBER = (int, float)
_TRIAL_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "path": str, "slowdown": _NUMBER, "live": bool, "measured_s": _NUMBER, "wall_s": _NUMBER, "folder": str, "cells": list,
}  # fmt: skip
_CELL_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "case": str, "implementation": str, "verdict": str, "logs": list,
    **dict.fromkeys(("ratio", "low", "high", "visible"), _NUMBER),
}  # fmt: skip


def _trial(data: dict[str, Any]) -> Trial:
    """ValueError or TypeError where the line is none of ours."""
    check_kinds(data, _TRIAL_KINDS)
    if Path(data["folder"]).name != data["folder"]:
        raise ValueError(f"folder={data['folder'][:40]!r}, expected a name in the audit's folder")
    for cell in data["cells"]:
        check_kinds(cell, _CELL_KINDS)
        if any(finite(log) is None for log in cell["logs"]):
            raise ValueError("logs that are no finite numbers")
        if not cell["ratio"] > 0:
            raise ValueError(f"ratio={cell['ratio']}, expected a number above 0")
    cells = tuple(
        CellTrial(**{**cell, "verdict": Verdict(cell["verdict"]), "logs": tuple(cell["logs"])})
        for cell in data["cells"]
    )
    return Trial(**{**data, "cells": cells})


def append(folder: Path, trial: Trial) -> None:
    """Keep a trial."""
    with (folder / TRIALS).open("a", encoding="utf-8") as file:
        file.write(trial.to_line())


def live_trial(plan: LivePlan, slowdown: float, seed: int, folder: Path, show: Callable[[Any], None]) -> Trial:
    """One `ab` of the plan's side A with itself, B slowed down by a share."""
    wanted = dataclasses.replace(plan, b=dataclasses.replace(plan.b, slowdown=slowdown), seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    outcome = live.measure(wanted, folder, show)
    if outcome.interrupted:
        raise KeyboardInterrupt
    logs = {(pair.case, pair.name): tuple(known.log_ratios()) for pair, known in outcome.state.pairs.items()}
    spent = [known.measured_s["A"] for known in outcome.state.pairs.values() if known.turns]
    return Trial(
        path=AB,
        slowdown=slowdown,
        live=True,
        measured_s=sum(spent) / max(1, len(spent)),
        wall_s=outcome.state.wall_s,
        folder=folder.name,
        cells=cell_trials(outcome.comparison, logs),
    )


def cell_trials(
    comparison: Comparison, logs: dict[tuple[str, str], tuple[float, ...]] | None = None
) -> tuple[CellTrial, ...]:
    """The cells that have a verdict."""
    return tuple(
        CellTrial(
            case=cell.case,
            implementation=cell.implementation,
            verdict=cell.verdict,
            ratio=cell.change.ratio,
            low=cell.change.low,
            high=cell.change.high,
            visible=cell.change.smallest_visible,
            logs=(logs or {}).get((cell.case, cell.implementation), ()),
        )
        for cell in comparison.cells
        if cell.verdict is not None and cell.change is not None
    )


def stored_run(plan: Plan, slowdown: float, seed: int, path: Path, show: Callable[[Any], None]) -> tuple[Side, State]:
    """One `run`, as it is read back by `compare`."""
    wanted = dataclasses.replace(plan, slowdown=slowdown, seed=seed)
    state = State()
    outcome = run.measure(wanted, RunFolder.create(path, wanted), state, show)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return read_side(path), state


def stored_trial(
    plan: Plan,
    thresholds: Thresholds,
    alpha: float,
    slowdown: float,
    seed: int,
    folder: Path,
    show: Callable[[Any], None],
) -> Trial:
    """Two runs, one after the other, the second slowed down; then `compare`."""
    a, first = stored_run(plan, 0.0, seed, folder / "A", show)
    b, second = stored_run(plan, slowdown, seed, folder / "B", show)
    cells = cell_trials(compare_sides(a, b, thresholds, alpha))
    return Trial(
        path=COMPARE,
        slowdown=slowdown,
        live=True,
        measured_s=(first.timed_s + second.timed_s) / 2 / max(1, len(cells)),
        wall_s=first.wall_s + second.wall_s,
        folder=folder.name,
        cells=cells,
    )


def judged_anew(folder: Path, trial: Trial, thresholds: Thresholds, alpha: float) -> Trial:
    """The trial as today's `compare` judges its runs: they are kept, and an audit is about the code that reads it."""
    place = folder / trial.folder
    if trial.path != COMPARE or not trial.folder or not (place / "B" / "summary.csv").exists():
        return trial
    judged = compare_sides(read_side(place / "A"), read_side(place / "B"), thresholds, alpha)
    return dataclasses.replace(trial, cells=cell_trials(judged))


def stored_sides(folder: Path) -> Sequence[Side]:
    """All runs of identical code that an audit's folder holds."""
    return [read_side(path) for path in sorted(folder.glob("compare-0-*/[AB]")) if (path / "summary.csv").exists()]
