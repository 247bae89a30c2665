"""Median and interval of one cell, on blocks within processes: part of the noise belongs to the process, not to the call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Summary:
    """Seconds per call of one cell."""

    median_s: float
    ci_low_s: float
    ci_high_s: float
    min_s: float
    q25_s: float
    q75_s: float
    samples: int
    blocks: int
    processes: int


def summarise(blocks: Mapping[int, Sequence[tuple[int, float]]]) -> Summary:
    """Summarise blocks (calls, seconds) by process.

    The interval is a hierarchical percentile bootstrap of the median: processes are drawn, then blocks within each. With
    the two or three processes of a run it is a lower bound on the uncertainty between processes; `ab` restarts more often.
    """
    per_call = [
        np.array([seconds / calls for calls, seconds in of_process]) for of_process in blocks.values() if of_process
    ]
    pooled = np.concatenate(per_call)
    low, high = _interval(per_call)
    return Summary(
        median_s=float(np.median(pooled)),
        ci_low_s=low,
        ci_high_s=high,
        min_s=float(pooled.min()),
        q25_s=float(np.quantile(pooled, 0.25)),
        q75_s=float(np.quantile(pooled, 0.75)),
        samples=sum(calls for of_process in blocks.values() for calls, _ in of_process),
        blocks=len(pooled),
        processes=len(per_call),
    )


def _interval(per_call: list[np.ndarray]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    size = min(len(p) for p in per_call)
    drawn = rng.integers(len(per_call), size=(_RESAMPLES, len(per_call)))
    columns = []
    for place in range(len(per_call)):
        resampled = np.empty((_RESAMPLES, size))
        for process, values in enumerate(per_call):
            chosen = drawn[:, place] == process
            resampled[chosen] = values[rng.integers(len(values), size=(int(chosen.sum()), size))]
        columns.append(resampled)
    medians = np.median(np.concatenate(columns, axis=1), axis=1)
    # The median over all blocks belongs into its own interval, however few the resamples.
    middle = float(np.median(np.concatenate(per_call)))
    return min(middle, float(np.quantile(medians, 0.025))), max(middle, float(np.quantile(medians, 0.975)))
