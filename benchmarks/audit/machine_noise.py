"""The noise of a machine, as later runs refer to it: noise.json."""

from __future__ import annotations

import dataclasses
import json
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.audit.trials import AB, COMPARE
from benchmarks.audit.truth import detections, identical, smallest_seen
from benchmarks.comparison.inference import (
    FEWEST_CELLS,
    Estimate,
    fit_prior,
    moderate,
    overdispersion,
    unpaired,
)
from benchmarks.comparison.prior import Prior
from benchmarks.comparison.stored import apart, common_variance
from benchmarks.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.audit.trials import Trial
    from benchmarks.comparison.side import Key, Side
    from benchmarks.plan import Plan


def learn(trials: Sequence[Trial], sides: Sequence[Side], plan: Plan, source: str) -> dict[str, Any] | None:
    """The floor, and where runs were stored, the variance between processes. None where nothing was measured.

    The floor is the smallest slowdown that was found nine times in ten by `compare` (by `ab` where no runs were stored); where
    none was put in or none was found, what the comparisons of identical code say that they could have seen.
    """
    same, slowed = {i.path: i for i in identical(trials)}, detections(trials)
    path = COMPARE if COMPARE in same else AB
    if path not in same:
        return None
    seen = smallest_seen(slowed, path)
    parts = [apart(side.logs) for side in sides]
    estimates = [
        unpaired(a[key], b[key])
        for (a, _), (b, _) in zip(parts[::2], parts[1::2], strict=False)
        for key in a.keys() & b.keys()
    ]
    prior = fit_prior(estimates)
    between = overdispersion(_around_their_middle(parts, prior))
    shared = [common_variance(a, b) for (_, a), (_, b) in zip(parts[::2], parts[1::2], strict=False)]
    known = [c for c in shared if c is not None]
    freedom = sum(c.freedom for c in known)
    common = Prior(sum(c.variance * c.freedom for c in known) / freedom, freedom) if freedom else None
    return {
        "schema_version": 1,
        "source": source,
        "path": path,
        "cpus": list(plan.cpus),
        "floor": same[path].visible if seen is None else seen,
        "prior": _plain(prior),
        "common": _plain(common),
        "between_runs": between,
    }


def _around_their_middle(
    parts: Sequence[tuple[Mapping[Key, Sequence[float]], Sequence[float]]], prior: Prior | None
) -> list[Estimate]:
    """The estimates of all pairs of runs; what all cells of a pair share is taken off, where they are enough to tell."""
    found: list[Estimate] = []
    for (a, _), (b, _) in zip(parts[::2], parts[1::2], strict=False):
        own = moderate([unpaired(a[key], b[key]) for key in a.keys() & b.keys()], prior)
        enough = len(own) >= FEWEST_CELLS
        shared = statistics.median(e.log_ratio for e in own) if enough else 0.0
        found += [dataclasses.replace(e, log_ratio=e.log_ratio - shared) for e in own]
    return found


def _plain(prior: Prior | None) -> dict[str, float] | None:
    return None if prior is None else {"variance": prior.variance, "freedom": prior.freedom}


def write(file: Path, noise: dict[str, Any]) -> None:
    """Atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(noise, indent=1) + "\n")
