"""Where the times of a cell changed for good, and by how much: ruptures finds the places, here stands what they must gain.

PELT (R. Killick, P. Fearnhead, I. A. Eckley, JASA 107, 2012) finds the stretches of equal level that fit the log times best,
where each further change has to pay a penalty. In units of the noise's variance a change gains the square of its t
statistic. So the penalty is the square of the t that noise exceeds with probability alpha at any place of any cell
(Bonferroni over both): alpha is the chance of one false change in the whole track.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import ruptures
from scipy import special

from benchmarks.comparison.inference import POWER
from benchmarks.history.noise import FEWEST_RUNS, Scale, scales, shared, tamed

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORTEST = 2
"""Runs in a stretch: one odd run is no change."""
_NO_WORSE = 4.0
"""Places whose fit is worse by less than this, in variances, are as likely as the best (95 % of a chi-square)."""

_MORE_TO_BE_SURE = 1.2
"""A change widens the scatter that it has to stand out from: measured, with 10 to 50 runs, so much is found in 86 to 100 %."""


@dataclass(frozen=True, slots=True)
class Step:
    """A change of one cell's level."""

    place: int
    """The first run after it."""
    before: int
    """The last timed run before it."""
    ratio: float
    """Time after over time before."""
    low: float
    high: float
    """95 % interval of the ratio."""
    before_s: float
    after_s: float
    """Geometric means of the stretches around it."""
    runs_before: int
    runs_after: int


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be said of one cell."""

    steps: tuple[Step, ...] = ()
    scatter: float | None = None
    """Of runs where nothing changes, relative: 0.02 is 2 %. None: too few runs."""
    visible: float | None = None
    """The smallest change, in the middle of the history, that would have been found nine times in ten: 0.05 is 5 %."""
    odd_latest: float | None = None
    """The last run over the stretch before it, where it stands apart; one run is no change yet."""


def find(
    logs: Sequence[np.ndarray], alpha: float, threshold: float, borders: Sequence[Sequence[int]] | None = None
) -> list[Found]:
    """Of each cell of a track: log times (R,) in the order of runs, NaN in gaps.

    `threshold`: the share that a change has to be beyond. `borders`: for each cell the runs at which something that was
    recorded changed: of places that fit as well, one of these is named.
    """
    quiet = _without_shared_noise(logs, logs, alpha)
    if quiet is not None:
        # Cells that changed have moved the middle of all; without their changes it is the middle of the noise.
        levels = [_levels(values, found) for values, found in zip(quiet, _find(quiet, alpha, 0.0, None), strict=True)]
        quiet = _without_shared_noise(logs, [v - level for v, level in zip(logs, levels, strict=True)], alpha)
    return _find(logs if quiet is None else quiet, alpha, threshold, borders)


def _find(
    logs: Sequence[np.ndarray], alpha: float, threshold: float, borders: Sequence[Sequence[int]] | None
) -> list[Found]:
    known = scales(logs)
    tests = sum(map(_places, logs))
    found = []
    for place, (values, scale) in enumerate(zip(logs, known, strict=True)):
        named = frozenset(borders[place]) if borders is not None else frozenset()
        found.append(Found() if scale is None else _of_cell(values, scale, alpha / tests, threshold, named))
    return found


def _levels(values: np.ndarray, found: Found) -> np.ndarray:
    """What the changes of a cell add to its log times, run by run."""
    levels = np.zeros(len(values))
    for step in found.steps:
        levels[step.place :] += math.log(step.ratio)
    return levels


def _places(values: np.ndarray) -> int:
    return max(0, int(np.isfinite(values).sum()) - 2 * SHORTEST + 1)


def _without_shared_noise(
    logs: Sequence[np.ndarray], unchanged: Sequence[np.ndarray], alpha: float
) -> list[np.ndarray] | None:
    """The same without what single runs did to all cells, which `unchanged` tell; what happened to all of them for good stays
    in. None where it cannot be told.
    """
    common = shared(unchanged)
    scale = None if common is None else scales([common])[0]
    if common is None or scale is None:
        return None
    borders = [0, *_split(tamed(common, scale.variance), scale, alpha / _places(common)), len(common)]
    noise = np.concatenate([common[a:b] - np.median(common[a:b]) for a, b in pairwise(borders)])
    return [values - noise for values in logs]


def _split(calm: np.ndarray, scale: Scale, alpha: float) -> list[int]:
    """The first indices of all stretches but the first, of tamed times."""
    penalty = _threshold_t(scale, alpha) ** 2
    signal = (calm / math.sqrt(scale.variance)).reshape(-1, 1)
    # The linear kernel's cost is the sum of squares around the mean; this is PELT, compiled.
    found = ruptures.KernelCPD(kernel="linear", min_size=SHORTEST).fit(signal).predict(pen=penalty)
    return [int(place) for place in found[:-1]]


def _threshold_t(scale: Scale, alpha: float) -> float:
    return -float(special.stdtrit(scale.freedom, alpha / 2))


def _of_cell(values: np.ndarray, scale: Scale, alpha: float, threshold: float, named: frozenset[int]) -> Found:
    runs = np.flatnonzero(np.isfinite(values))
    present = values[runs]
    calm = tamed(present, scale.variance)
    borders = [0, *_split(calm, scale, alpha), len(present)]
    for at in range(1, len(borders) - 1):
        borders[at] = _named_place(calm, borders[at - 1 : at + 2], scale, runs, named)
    steps = [
        step
        for a, b, c in zip(borders, borders[1:], borders[2:], strict=False)
        if abs(math.log((step := _step(present, calm, runs, (a, b, c), scale)).ratio)) > math.log1p(threshold)
    ]
    deviation = math.sqrt(scale.variance)
    return Found(tuple(steps), math.expm1(deviation), _visible(len(present), scale, alpha, threshold),
                 _odd_latest(present, borders[-2], scale, alpha, threshold))  # fmt: skip


def _named_place(calm: np.ndarray, around: Sequence[int], scale: Scale, runs: np.ndarray, named: frozenset[int]) -> int:
    """The best place for a change between two others, one at which something was recorded where that fits as well."""
    start, found, end = around
    costs = {
        place: float(calm[start:place].var() * (place - start) + calm[place:end].var() * (end - place)) / scale.variance
        for place in range(start + SHORTEST, end - SHORTEST + 1)
    }
    # A gap may hide where it happened: whatever changed since the last run that has a time belongs to it.
    recorded = [p for p in costs if any(run in named for run in range(int(runs[p - 1]) + 1, int(runs[p]) + 1))]
    as_good = [place for place in recorded if costs[place] <= costs[found] + _NO_WORSE]
    return min(as_good, key=lambda place: costs[place], default=found)


def _step(present: np.ndarray, calm: np.ndarray, runs: np.ndarray, span: tuple[int, int, int], scale: Scale) -> Step:
    """From the tamed times: one odd run does not make the size of a change."""
    start, place, end = span
    before, after = float(calm[start:place].mean()), float(calm[place:end].mean())
    error = math.sqrt(scale.variance * (1 / (place - start) + 1 / (end - place)))
    half = _threshold_t(scale, 0.05) * error
    return Step(
        place=int(runs[place]),
        before=int(runs[place - 1]),
        ratio=math.exp(after - before),
        low=math.exp(after - before - half),
        high=math.exp(after - before + half),
        before_s=math.exp(float(present[start:place].mean())),
        after_s=math.exp(float(present[place:end].mean())),
        runs_before=place - start,
        runs_after=end - place,
    )


def _visible(runs: int, scale: Scale, alpha: float, threshold: float) -> float | None:
    if runs < FEWEST_RUNS:
        return None
    error = math.sqrt(scale.variance * (1 / (runs // 2) + 1 / (runs - runs // 2)))
    power = float(special.stdtrit(scale.freedom, POWER))
    needed = _MORE_TO_BE_SURE * (max(_threshold_t(scale, alpha) * error, math.log1p(threshold)) + power * error)
    return math.expm1(needed)


def _odd_latest(present: np.ndarray, start: int, scale: Scale, alpha: float, threshold: float) -> float | None:
    """The last run against the others of its stretch."""
    before = present[start:-1]
    if len(before) < SHORTEST:
        return None
    away = float(present[-1] - np.median(before))
    far = _threshold_t(scale, alpha) * math.sqrt(scale.variance * (1 + 1 / len(before)))
    return math.exp(away) if abs(away) > max(far, math.log1p(threshold)) else None
