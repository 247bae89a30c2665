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
    """Summarise blocks (calls, seconds per call) by process.

    The median is taken over the blocks of each process, then the geometric mean over the processes: where processes differ,
    as they do by memory layout, the median of all blocks jumps from one to the other. The interval is a hierarchical
    percentile bootstrap of it: processes are drawn, then blocks within each. With the two or three processes of a run it is
    a lower bound on the uncertainty between processes; `ab` restarts more often.
    """
    per_call = [np.array([per_call_s for _, per_call_s in of_process]) for of_process in blocks.values() if of_process]
    pooled = np.concatenate(per_call)
    low, high = _interval(per_call)
    return Summary(
        median_s=middle(per_call),
        ci_low_s=low,
        ci_high_s=high,
        min_s=float(pooled.min()),
        q25_s=float(np.quantile(pooled, 0.25)),
        q75_s=float(np.quantile(pooled, 0.75)),
        samples=sum(calls for of_process in blocks.values() for calls, _ in of_process),
        blocks=len(pooled),
        processes=len(per_call),
    )


def middle(per_call: Sequence[np.ndarray]) -> float:
    """Geometric mean of the medians of the processes."""
    return float(np.exp(np.mean([np.log(np.median(values)) for values in per_call])))


def _interval(per_call: list[np.ndarray]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(per_call), size=(_RESAMPLES, len(per_call)))
    logs = np.empty(drawn.shape)
    for process, values in enumerate(per_call):
        chosen = drawn == process
        places = rng.integers(len(values), size=(int(chosen.sum()), len(values)))
        logs[chosen] = np.log(np.median(values[places], axis=1))
    found = np.exp(logs.mean(axis=1))
    # The median itself belongs into its own interval, however few the resamples.
    own = middle(per_call)
    return min(own, float(np.quantile(found, 0.025))), max(own, float(np.quantile(found, 0.975)))
