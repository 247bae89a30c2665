"""From the times of processes to changes: an estimate per cell, variances that lean on each other, Holm over the cells.

The unit is the process (stored runs) or the pair of processes that lived at the same time (live), never the call: blocks of
one process share its memory layout and its seconds. Few processes make a poor estimate of the variance between them, so each
cell's leans on that of all cells, by the empirical Bayes of G. K. Smyth, "Linear models and empirical Bayes methods"
(Stat. Appl. Genet. Mol. Biol. 3, 2004), section 6: the moderated t statistic of limma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

from benchmarks.comparison.prior import Prior
from benchmarks.comparison.verdicts import Change, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.comparison.thresholds import Threshold

INTERVAL = 0.95
POWER = 0.9
_CAUTION = 2.0
"""Standard errors of how much variances differ."""
FEWEST_CELLS = 8
"""That can tell what they share from their own noise."""
_SMALLEST_VARIANCE = 1e-12
"""Of a log ratio: a millionth. Clocks do not resolve less, and a variance of 0 has no logarithm."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one cell."""

    log_ratio: float
    """Log of B's time over A's."""
    variance: float
    """Between units."""
    freedom: float
    """Degrees of freedom of the variance; 0 where one unit tells nothing about it."""
    weight: float
    """The variance of log_ratio is weight * variance."""
    units: int

    @property
    def error(self) -> float:
        """Standard error of log_ratio."""
        return math.sqrt(self.weight * self.variance)


def paired(log_ratios: Sequence[float]) -> Estimate:
    """From one log ratio per pair of processes."""
    x = np.asarray(log_ratios, float)
    variance = float(x.var(ddof=1)) if len(x) > 1 else 0.0
    return Estimate(float(x.mean()), max(variance, _SMALLEST_VARIANCE), len(x) - 1, 1 / len(x), len(x))


def unpaired(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """From one log time per process of either side."""
    x, y = np.asarray(a, float), np.asarray(b, float)
    freedom = len(x) + len(y) - 2
    squares = float(((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum())
    variance = squares / freedom if freedom else 0.0
    weight = 1 / len(x) + 1 / len(y)
    return Estimate(float(y.mean() - x.mean()), max(variance, _SMALLEST_VARIANCE), freedom, weight, len(x) + len(y))


def fit_prior(estimates: Sequence[Estimate]) -> Prior | None:
    """Smyth's estimate, with less freedom where the variances may differ by more; None where no cell knows its variance.

    A few variances of few degrees of freedom often look alike when they are not. Taken at their word, one cell that was ten
    times as noisy as 29 others raised false alarms in 23 % of comparisons instead of 5 %; with two standard errors added
    to how much they differ, in 5 %.
    """
    known = [e for e in estimates if e.freedom > 0]
    if not known:
        return None
    freedom = np.array([e.freedom for e in known])
    logs = np.log([e.variance for e in known]) - special.digamma(freedom / 2) + np.log(freedom / 2)
    mean = float(logs.mean())
    spread = 0.0
    if len(known) > 1:
        by_chance = special.polygamma(1, freedom / 2).mean()
        kurtosis = special.polygamma(3, freedom / 2).mean()
        error = math.sqrt(2 * by_chance**2 / (len(known) - 1) + kurtosis / len(known))
        spread = float(logs.var(ddof=1) - by_chance) + _CAUTION * error
    if len(known) == 1 or spread <= 0:
        # All alike, as far as can be seen: then together they know what the sum of their squares knows.
        pooled = sum(e.variance * e.freedom for e in known) / freedom.sum()
        return Prior(float(pooled), float(freedom.sum()) if len(known) > 1 else 0.0)
    prior_freedom = 2 * _inverse_trigamma(spread)
    variance = math.exp(mean + float(special.digamma(prior_freedom / 2)) - math.log(prior_freedom / 2))
    return Prior(variance, min(prior_freedom, float(freedom.sum())))


def _inverse_trigamma(y: float) -> float:
    low, high = 1e-3, 1e7  # trigamma falls from 1e6 to 1e-7 here
    if y >= special.polygamma(1, low):
        return low
    if y <= special.polygamma(1, high):
        return high
    return float(optimize.brentq(lambda x: float(special.polygamma(1, x)) - y, low, high))


def moderate(estimates: Sequence[Estimate], prior: Prior | None) -> list[Estimate]:
    """The same with variances that lean on the prior. Without one, as they are."""
    if prior is None:
        return list(estimates)
    moderated = []
    for e in estimates:
        freedom = prior.freedom + e.freedom
        pooled = (prior.freedom * prior.variance + e.freedom * e.variance) / freedom if freedom else e.variance
        moderated.append(Estimate(e.log_ratio, pooled, freedom, e.weight, e.units))
    return moderated


def with_common(estimates: Sequence[Estimate], common: Prior | None) -> list[Estimate]:
    """The same with the variance that all cells of a process share: many cells know it no better than its processes do.

    The freedom of the sum is Satterthwaite's.
    """
    if common is None or common.freedom <= 0:
        return list(estimates)
    widened = []
    for e in estimates:
        total = e.variance + common.variance
        freedom = 0.0
        if e.freedom > 0:
            freedom = total**2 / (e.variance**2 / e.freedom + common.variance**2 / common.freedom)
        widened.append(Estimate(e.log_ratio, total, freedom, e.weight, e.units))
    return widened


def overdispersion(estimates: Sequence[Estimate]) -> float:
    """How many times wider than their errors the log ratios scatter around their middle; 1 where they do not.

    Two runs differ by more than the processes of either tell: another hour, other neighbours, another page placement. Most
    cells of a comparison have not changed, so their scatter shows by how much (the genomic control of B. Devlin and
    K. Roeder, 1999; B. Efron's empirical null, 2004). The middle is that of all cells, and half of them may have changed.
    """
    known = [e for e in estimates if e.freedom > 0 and e.error > 0]
    if len(known) < FEWEST_CELLS:
        return 1.0
    middle = float(np.median([e.log_ratio for e in known]))
    away = np.array([abs(e.log_ratio - middle) / e.error for e in known])
    # What the median of |t| is at these degrees of freedom, where nothing differs but by chance.
    by_chance = float(np.median(special.stdtrit(np.array([e.freedom for e in known]), 0.75)))
    return max(1.0, float(np.median(away)) / by_chance)


def inflated(estimates: Sequence[Estimate], factor: float) -> list[Estimate]:
    """The same with errors `factor` times as large."""
    return [Estimate(e.log_ratio, e.variance * factor**2, e.freedom, e.weight, e.units) for e in estimates]


def holm(p: Sequence[float], family: int | None = None) -> list[float]:
    """Adjusted p-values (S. Holm, 1979). `family`: how many tests there are, where more than these."""
    size = max(len(p), family or 0)
    adjusted = [1.0] * len(p)
    running = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        running = max(running, min(1.0, (size - rank) * p[place]))
        adjusted[place] = running
    return adjusted


def changes(
    estimates: Sequence[Estimate],
    alpha: float,
    *,
    thresholds: Sequence[float] | None = None,
    family: int | None = None,
    looks: int = 1,
    interval: float = INTERVAL,
) -> list[Change]:
    """Ratio, interval and corrected p of each cell. An estimate that does not know its error has an endless interval.

    `thresholds`: the share that each cell has to be beyond; a smaller slowdown is not called one. `family`: cells that
    belong to the comparison, where more than these. `looks`: how often the data is looked at; p is corrected for that too
    (Bonferroni, for looks depend on each other in ways that nobody wants to model).
    """
    if not estimates:
        return []
    size = looks * max(len(estimates), family or 0)
    logs, error = np.array([e.log_ratio for e in estimates]), np.array([e.error for e in estimates])
    freedom = np.array([e.freedom for e in estimates])
    known = freedom > 0
    # Student's t of all cells at once, without the frame of scipy.stats: an audit judges a hundred thousand cells.
    freedom = np.where(known, freedom, 1.0)
    raw = np.where(known, 2 * special.stdtr(freedom, -np.abs(logs) / error), 1.0)
    half = np.where(known, -special.stdtrit(freedom, (1 - interval) / 2) * error, math.inf)
    visible = special.stdtrit(freedom, POWER) - special.stdtrit(freedom, alpha / 2 / size)
    beyond = np.log1p(np.zeros(len(logs)) if thresholds is None else np.asarray(thresholds, float))
    significant, effect = visible * error, beyond + special.stdtrit(freedom, POWER) * error
    seen = np.where(known, np.maximum(significant, effect), math.inf)
    corrected = [min(1.0, looks * p) for p in holm(raw.tolist(), family)]
    return [
        Change(
            ratio=_exp(e.log_ratio),
            low=_exp(e.log_ratio - half[place]),
            high=_exp(e.log_ratio + half[place]),
            p=corrected[place],
            smallest_visible=_exp(seen[place]) - 1,
            units=e.units,
        )
        for place, e in enumerate(estimates)
    ]


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def judge(change: Change, a_s: float, threshold: Threshold, alpha: float) -> Verdict:
    """SLOWER and FASTER need significance and an effect beyond the threshold; SAME needs an interval within it."""
    # An absolute floor is a relative threshold at this cell's time.
    slower = 1 + max(threshold.relative, threshold.floor_s / a_s)
    faster = min(1 / (1 + threshold.relative), 1 - threshold.floor_s / a_s)
    if change.p <= alpha and change.ratio > slower:
        return Verdict.SLOWER
    if change.p <= alpha and change.ratio < faster:
        return Verdict.FASTER
    return Verdict.SAME if faster < change.low and change.high < slower else Verdict.INCONCLUSIVE
