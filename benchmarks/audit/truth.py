"""What trials say about this machine: how often identical code is called different, and which slowdowns are found."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy import stats

from benchmarks.comparison.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.audit.trials import Trial

CONFIDENCE = 0.95
SEEN = 0.9
"""A slowdown that is found this often counts as one that this machine can see."""
CHANGED = (Verdict.SLOWER, Verdict.FASTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identical:
    """Comparisons of identical code, through one path."""

    path: str
    live: int
    resampled: int
    cells: int
    alarms_live: int
    """Comparisons in which any cell was called slower or faster."""
    alarms_resampled: int
    alarm_rate_high: float
    """Upper end of the 95 % interval of the live rate (Clopper and Pearson)."""
    coverage: float
    """Share of the live 95 % intervals that hold 1."""
    bias_median: float
    """Of |ratio - 1| over live cells."""
    bias_p90: float
    inconclusive: float
    """Share of live cells that were not called the same."""
    measured_s: float
    """Per cell and side."""
    visible: float
    """Median over live cells of the smallest slowdown that its comparison could have seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Slowdowns that were put in, through one path."""

    path: str
    slowdown: float
    cells: int
    found: int
    rate_low: float
    rate_high: float
    wrong: int
    """Cells called faster."""
    measured_s: float

    @property
    def rate(self) -> float:
        """Share of the cells that were called slower."""
        return self.found / self.cells


def identical(trials: Sequence[Trial]) -> list[Identical]:
    """One per path that has live comparisons of identical code."""
    return [_identical(path, own) for path, own in _by_path(t for t in trials if t.slowdown == 0).items()]


def _by_path(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        found[trial.path].append(trial)
    return found


def _identical(path: str, trials: Sequence[Trial]) -> Identical:
    live = [trial for trial in trials if trial.live]
    cells = [cell for trial in live for cell in trial.cells]
    off = sorted(abs(cell.ratio - 1) for cell in cells)
    alarms = sum(_alarmed(trial) for trial in live)
    return Identical(
        path=path,
        live=len(live),
        resampled=len(trials) - len(live),
        cells=len(cells),
        alarms_live=alarms,
        alarms_resampled=sum(_alarmed(trial) for trial in trials if not trial.live),
        alarm_rate_high=share_interval(alarms, len(live))[1],
        coverage=_share(cell.low <= 1 <= cell.high for cell in cells),
        bias_median=_quantile(off, 0.5),
        bias_p90=_quantile(off, 0.9),
        inconclusive=_share(cell.verdict is not Verdict.SAME for cell in cells),
        measured_s=_mean(trial.measured_s for trial in live),
        visible=_quantile(sorted(cell.visible for cell in cells), 0.5),
    )


def _alarmed(trial: Trial) -> bool:
    return any(cell.verdict in CHANGED for cell in trial.cells)


def detections(trials: Sequence[Trial]) -> list[Detection]:
    """One per path and slowdown."""
    slowed = sorted((t for t in trials if t.slowdown > 0 and t.live), key=lambda t: (t.path, t.slowdown))
    return [
        _detection(path, slowdown, list(own))
        for (path, slowdown), own in itertools.groupby(slowed, key=lambda t: (t.path, t.slowdown))
    ]


def _detection(path: str, slowdown: float, trials: Sequence[Trial]) -> Detection:
    cells = [cell for trial in trials for cell in trial.cells]
    found = sum(cell.verdict is Verdict.SLOWER for cell in cells)
    low, high = share_interval(found, len(cells))
    return Detection(
        path=path,
        slowdown=slowdown,
        cells=len(cells),
        found=found,
        rate_low=low,
        rate_high=high,
        wrong=sum(cell.verdict is Verdict.FASTER for cell in cells),
        measured_s=_mean(trial.measured_s for trial in trials),
    )


def share_interval(hits: int, tries: int) -> tuple[float, float]:
    """Clopper and Pearson's exact 95 % interval of a share."""
    if tries == 0:
        return 0.0, 1.0
    interval = stats.binomtest(hits, tries).proportion_ci(CONFIDENCE)
    return float(interval.low), float(interval.high)


def smallest_seen(found: Sequence[Detection], path: str) -> float | None:
    """The smallest slowdown tried that was found nine times in ten, and with it every larger one; None where there is none."""
    smallest = None
    for detection in sorted((d for d in found if d.path == path), key=lambda d: -d.slowdown):
        if detection.rate < SEEN:
            break
        smallest = detection.slowdown
    return smallest


def _share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return sum(found) / len(found) if found else math.nan


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.fmean(found) if found else math.nan


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan
