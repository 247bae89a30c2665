"""The conformance matrix of a page: stored answers of `check --csv`, as far as they are of the versions that the run had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.conformance.probes import BY_NAME
from benchmarks.harness.process import ROOT
from benchmarks.reports.conformance import read_conformance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.reports.page.model import Dataset
    from benchmarks.reports.page.stored_runs import StoredRun

NAME = "conformance.csv"
_SIGNS = {"pass": "✓", "refused": "·", "deviates": "≠", "fail": "✗", "error": "✗"}


@dataclass(frozen=True, slots=True)
class Answers:
    """What is shown, and what had to be left out."""

    dataset: Dataset
    versions: tuple[tuple[str, str], ...]
    """(framework, version) of the answers that are shown."""
    left_out: tuple[str, ...]
    """A sentence for each framework whose answers are of another version than the run's."""
    source: str
    """The file's name and folder."""


def answers_file(runs: Sequence[Path], asked: Path | None) -> Path | None:
    """Where the answers are: what was asked for, or what lies beside the first run, or the answers that this checkout keeps."""
    if asked is not None:
        return asked
    first = runs[0] if runs[0].is_dir() else runs[0].parent
    return next((file for file in (first / NAME, ROOT / "results" / NAME) if file.is_file()), None)


def read_answers(file: Path, runs: Sequence[StoredRun]) -> Answers:
    """The answers of the frameworks that the runs timed. UnreadableResults where it is no table of answers."""
    rows = read_conformance(file)
    wanted: dict[str, set[str]] = {}
    for run in runs:
        for framework in {record.framework for record in run.records}:
            wanted.setdefault(framework, set()).update(v for f, v in run.versions.items() if f == framework)
    return _answers(rows, wanted, f"{file.parent.name}/{file.name}")


def _answers(rows: Sequence[dict[str, str]], wanted: dict[str, set[str]], source: str) -> Answers:
    told = {row["framework"]: row["version"] for row in rows}
    shown = {f: v for f, v in told.items() if f in wanted and (not wanted[f] or v in wanted[f])}
    others = tuple(
        f"{f}: the answers are of {told[f]}, the run had {', '.join(sorted(wanted[f]))}."
        for f in told
        if f in wanted and f not in shown
    )
    probes = {name: place for place, name in enumerate(BY_NAME)}
    kept = [row for row in rows if row["framework"] in shown]
    columns: dict[str, list[object]] = {
        name: [row[name] for row in kept]
        for name in ("framework", "version", "implementation", "probe", "verdict", "reason")
    }
    columns["asks"] = [BY_NAME[p].says if (p := row["probe"]) in BY_NAME else "" for row in kept]
    columns["probe_rank"] = [probes.get(row["probe"], len(probes)) for row in kept]
    columns["sign"] = [_SIGNS.get(row["verdict"], "?") for row in kept]
    return Answers(columns, tuple(shown.items()), others, source)
