"""How much the runs of a track scatter where nothing changes: per cell, robust against what did change.

The scale comes from differences of successive runs (their median, so that a few steps and outliers do not count); few runs
make a poor estimate, so each cell's leans on that of all cells (inference.moderate). What a run did to all cells alike is
taken out first, and where runs resemble their neighbours (a machine that drifts), the scale is widened.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.comparison.inference import FEWEST_CELLS, Estimate, fit_prior, moderate

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST_RUNS = 4
"""Two before and two after: fewer show no change that could be told from one odd run."""
_NORMAL_MAD = 1.482602
"""Standard deviation of a normal distribution over its median absolute deviation."""
_SMALLEST_VARIANCE = 1e-8
"""A scatter of 0.01 %: nothing repeats better from run to run."""
_TAMED_TO = 2.5
"""Standard deviations from the running median, beyond which a single run does not count for more."""
_REACH = 2
"""Runs on either side that the running median looks at: what lasts for three runs, or for the last two, is left alone."""
_MOSTLY_THERE = 0.8
"""Share of the runs that a cell has to be in to speak for what happened to all."""
_MOST_RESEMBLANCE = 0.8
_FEWEST_FOR_RESEMBLANCE = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """Of one cell's log times from run to run."""

    variance: float
    freedom: float
    """What the variance stands on, in degrees of freedom."""


def scales(logs: Sequence[np.ndarray]) -> list[Scale | None]:
    """Of each cell: log times (R,) in the order of runs, NaN where there is none. None: too few runs to say."""
    present = [values[np.isfinite(values)] for values in logs]
    known = [place for place, values in enumerate(present) if len(values) >= FEWEST_RUNS]
    raw = [_raw(present[place]) for place in known]
    estimates = [Estimate(0.0, s.variance, s.freedom, 1.0, len(present[place])) for s, place in
                 zip(raw, known, strict=True)]  # fmt: skip
    wider = widening(resemblance([present[place] for place in known]))
    found: list[Scale | None] = [None] * len(logs)
    for place, e in zip(known, moderate(estimates, fit_prior(estimates)), strict=True):
        found[place] = Scale(e.variance * wider, e.freedom)
    return found


def _raw(values: np.ndarray) -> Scale:
    """From differences of neighbours. The two corrections for few runs were measured on normal noise: the mean of the
    squared scale is 1 + 2.6/n too large, and its scatter is that of 0.3 n + 0.65 degrees of freedom (n = 4 to 100).
    """
    n = len(values)
    deviation = _NORMAL_MAD * float(np.median(np.abs(np.diff(values)))) / math.sqrt(2)
    return Scale(max(deviation**2 / (1 + 2.6 / n), _SMALLEST_VARIANCE), 0.3 * n + 0.65)


def resemblance(logs: Sequence[np.ndarray]) -> float:
    """Correlation of neighbouring runs, as far as it is sure: from how much more runs differ at a distance of two."""
    long = [values for values in logs if len(values) >= _FEWEST_FOR_RESEMBLANCE]
    if not long:
        return 0.0
    ratios = []
    for values in long:
        one, two = np.median(np.abs(np.diff(values))), np.median(np.abs(values[2:] - values[:-2]))
        ratios.append(float(two / max(one, math.sqrt(_SMALLEST_VARIANCE))) ** 2)
    error = 2 / math.sqrt(sum(map(len, long)))
    return min(max(float(np.median(ratios)) - 1 - error, 0.0), _MOST_RESEMBLANCE)


def widening(correlation: float) -> float:
    """Factor on the variance of neighbours' differences: what the mean of a stretch scatters by, for first-order memory."""
    return (1 + correlation) / (1 - correlation) ** 2


def tamed(values: np.ndarray, variance: float) -> np.ndarray:
    """The same, of four runs or more, with single odd runs drawn to within 2.5 standard deviations of the running median."""
    ends = [np.median(values[: place + _REACH + 1]) for place in range(_REACH)]
    other_ends = [np.median(values[place - _REACH :]) for place in range(len(values) - _REACH, len(values))]
    inner = np.lib.stride_tricks.sliding_window_view(values, 2 * _REACH + 1) if len(values) > 2 * _REACH else ()
    middle = np.concatenate([ends, np.median(inner, axis=1) if len(inner) else (), other_ends])
    reach = _TAMED_TO * math.sqrt(variance)
    return np.clip(values, middle - reach, middle + reach)


def shared(logs: Sequence[np.ndarray]) -> np.ndarray | None:
    """What each run did to all cells alike: the median of their deviations from their own middles; shape (R,).

    None where fewer than eight cells are in most runs: they cannot tell it from their own noise.
    """
    if not logs:
        return None
    matrix = np.array([v for v in logs if np.isfinite(v).mean() >= _MOSTLY_THERE])
    if len(matrix) < FEWEST_CELLS or (np.isfinite(matrix).sum(axis=0) < FEWEST_CELLS).any():
        return None
    return np.nanmedian(matrix - np.nanmedian(matrix, axis=1, keepdims=True), axis=0)
