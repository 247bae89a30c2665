"""Plans of live comparisons of cases that are nowhere else, and simulated log ratios of their pairs of processes."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.cases import case
from benchmarks.comparison.thresholds import Threshold, Thresholds
from benchmarks.live.plan import LivePlan, Pair, Side


def planned(cells=30, *, implementations=("numpy/naive",), threshold=0.02, **changes):
    """A plan of so many cases, both sides alike."""
    cases = tuple(case(f"case-{number}", "planted", T=4, N=1, H=4) for number in range(cells))
    pairs = tuple(Pair(c.name, id, id) for c in cases for id in implementations)
    sides = {"a": Side(name="A", label="before"), "b": Side(name="B", label="after")}
    thresholds = Thresholds(Threshold(threshold))
    return LivePlan(suite="planted", cases=cases, pairs=pairs, **{**sides, "thresholds": thresholds, **changes})


def simulated(rng, plan, noise, ratios=None, draw=None):
    """A log ratio per epoch and pair: the true one, and noise that belongs to the pair of processes."""
    shape = (len(plan.pairs), plan.epochs)
    drawn = rng.standard_normal(shape) if draw is None else draw(rng, shape)
    logs = drawn * np.broadcast_to(noise, len(plan.pairs))[:, None]
    for place, ratio in (ratios or {}).items():
        logs[place] += math.log(ratio)
    return {pair: list(map(float, row)) for pair, row in zip(plan.pairs, logs, strict=True)}
