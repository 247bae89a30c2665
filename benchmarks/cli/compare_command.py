"""`compare`: read two stored runs, hold one against the other, print."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.cli.verdict_output import check_suffixes, print_comparison, save_comparison
from benchmarks.comparison.comparability import NotComparable
from benchmarks.comparison.noise import NOISE, Noise, noise_beside, read_noise
from benchmarks.comparison.pairs import check_pairs, pair_up
from benchmarks.comparison.readers import ENVIRONMENT, SAMPLES, SUMMARY, read_machines
from benchmarks.comparison.stored import compare_machines
from benchmarks.comparison.thresholds import asked_thresholds
from benchmarks.comparison.verdicts import Exit
from benchmarks.errors import UsageError
from benchmarks.reports.progress import working
from benchmarks.reports.text import harmless
from benchmarks.reports.verdict_words import headline

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.cli.options import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """What the user typed."""

    baseline: Path
    candidate: Path
    threshold: str
    floor: str | None
    thresholds: Path | None
    alpha: float
    noise: Path | None
    force: bool
    allow_missing: bool
    format: Format
    save_as: list[Path]
    show_all: bool
    quiet: bool


def compare_runs(request: CompareRequest) -> int:
    """Do it, print it; the exit status."""
    check_suffixes(request.save_as)
    _check_saves_over_no_input(request)
    thresholds = asked_thresholds(request.threshold, request.floor, request.thresholds)
    noise = _noise(request)
    refused = ""
    with working(f"reading {request.baseline}", quiet=request.quiet) as tell:
        a = read_machines(request.baseline)
        tell(f"reading {request.candidate}")
        b = read_machines(request.candidate)
        tell(f"comparing {sum(len(side.records) for side in a.values())} cells")
        try:
            pairs = pair_up(a, b)
            notes = check_pairs(pairs, force=request.force)
            comparison = compare_machines(pairs, thresholds, request.alpha, noise, request.allow_missing)
        except NotComparable as error:
            refused = harmless(f"{request.baseline} and {request.candidate} are {error}")
    if refused:
        print(f"attnbench: {refused}", file=sys.stderr)
        return int(Exit.NOT_COMPARABLE)
    notes = (*comparison.notes, *notes, *_floor_notes(noise))
    comparison = dataclasses.replace(comparison, notes=notes)
    save_comparison(comparison, request.save_as)
    print_comparison(comparison, request.format, show_all=request.show_all)
    if comparison.exit is Exit.NOT_COMPARABLE:
        # Where no format hides it: a run that measured nothing is never green.
        print(f"attnbench: {headline(comparison)}", file=sys.stderr)
    return int(comparison.exit)


def _check_saves_over_no_input(request: CompareRequest) -> None:
    for side in (request.baseline, request.candidate):
        folder = side if side.is_dir() else side.parent
        files = {side.resolve(), *((folder / name).resolve() for name in (SUMMARY, SAMPLES, ENVIRONMENT, NOISE))}
        for file in request.save_as:
            if file.resolve() in files:
                raise UsageError(f"--save-as {file} would write over what is compared; choose another file")


def _noise(request: CompareRequest) -> Noise:
    """What was given, or what an audit left beside the baseline."""
    file = request.noise or noise_beside(request.baseline)
    return Noise(None, None, None) if file is None else read_noise(file)


def _floor_notes(noise: Noise) -> tuple[str, ...]:
    return () if noise.floor is None else (f"the noise floor of this machine, by its audit: {noise.floor:.1%}",)
