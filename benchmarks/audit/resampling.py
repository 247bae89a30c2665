"""More comparisons of identical code than there was time for: whole processes are drawn anew from those that were measured.

A process is never split: its blocks share its memory layout and its seconds. What resampling cannot show is what differs from
one comparison to the next as a whole; that is why some comparisons have to be live.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from typing import TYPE_CHECKING

from benchmarks.audit.trials import AB, COMPARE, CellTrial, Trial, cell_trials
from benchmarks.comparison.stored import compare_sides
from benchmarks.live.sequential import replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.comparison.side import Key, Side
    from benchmarks.comparison.thresholds import Thresholds
    from benchmarks.live.plan import LivePlan


def resampled_live(plan: LivePlan, trials: Sequence[Trial], count: int, seed: int = 0) -> Iterator[Trial]:
    """`ab` on pairs of processes in another order and company, none of them twice in a comparison."""
    chance = random.Random(seed)  # noqa: S311 - a resample, no secret
    epochs = [(t, e) for t, trial in enumerate(trials) for e in range(max(len(c.logs) for c in trial.cells))]
    logs = {(t, cell.key): cell.logs for t, trial in enumerate(trials) for cell in trial.cells}
    for _ in range(count):
        order = chance.sample(epochs, len(epochs))
        drawn = {}
        for pair in plan.pairs:
            key = (pair.case, pair.name)
            own = [logs[t, key][e] for t, e in order if e < len(logs.get((t, key), ()))]
            if own:
                drawn[pair] = own[: plan.epochs]
        verdicts = replay(plan, drawn)
        cells = tuple(
            CellTrial(p.case, p.name, verdict, c.ratio, c.low, c.high, c.smallest_visible)
            for p, (c, verdict) in verdicts.items()
        )
        yield Trial(path=AB, slowdown=0.0, live=False, measured_s=0.0, wall_s=0.0, cells=cells)


def resampled_stored(
    sides: Sequence[Side], thresholds: Thresholds, alpha: float, count: int, seed: int = 0
) -> Iterator[Trial]:
    """`compare` on two runs put together from processes of all runs, none of them twice in a comparison."""
    chance = random.Random(seed)  # noqa: S311 - a resample, no secret
    size = max((len(logs) for side in sides for logs in side.logs.values()), default=0)
    processes = [(side, process) for side in sides for process in range(size)]
    if len(processes) < 2 * size or not size:
        return
    for _ in range(count):
        drawn = chance.sample(processes, 2 * size)
        a, b = _put_together(sides[0], drawn[:size]), _put_together(sides[0], drawn[size:])
        cells = cell_trials(compare_sides(a, b, thresholds, alpha))
        yield Trial(path=COMPARE, slowdown=0.0, live=False, measured_s=0.0, wall_s=0.0, cells=cells)


def _put_together(like: Side, processes: Sequence[tuple[Side, int]]) -> Side:
    logs: dict[Key, list[float]] = defaultdict(list)
    for side, process in processes:
        for key, own in side.logs.items():
            if process < len(own):
                logs[key].append(own[process])
    return dataclasses.replace(like, logs=dict(logs))
