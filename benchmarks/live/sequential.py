"""When to look, and what a look may conclude: stopping early is honest only if every look pays for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.comparison.inference import INTERVAL, changes, fit_prior, judge, moderate, paired
from benchmarks.comparison.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.comparison.prior import Prior
    from benchmarks.comparison.verdicts import Change
    from benchmarks.live.plan import LivePlan, Pair

_GROWTH = 1.4
FEWEST_EPOCHS = 3
"""Two pairs of processes say next to nothing about their spread."""


def looks(epochs: int) -> tuple[int, ...]:
    """After which epochs to look: 3, 4, 6, 8, 12, ... and the last. Few looks, for each costs significance."""
    found = []
    place = float(FEWEST_EPOCHS)
    while place < epochs:
        found.append(round(place))
        place = max(place + 1, place * _GROWTH)
    return tuple(dict.fromkeys([*found, epochs]))


def look(
    plan: LivePlan,
    log_ratios: Mapping[Pair, Sequence[float]],
    a_s: Mapping[Pair, float],
    prior: Prior | None = None,
) -> dict[Pair, tuple[Change, Verdict]]:
    """What the epochs so far say of each cell: what is shown, and what it may be called.

    The family is all cells of the plan and all looks. SLOWER and FASTER spend alpha / looks each time. SAME needs the
    interval at 1 - 5 % / looks within the threshold; what is shown is the plain 95 % interval.
    """
    pairs = [pair for pair in log_ratios if log_ratios[pair]]
    if not pairs:
        return {}
    raw = [paired(log_ratios[pair]) for pair in pairs]
    estimates = moderate(raw, fit_prior(raw) or prior)
    count = len(looks(plan.epochs)) if plan.stops_early else 1
    limits = [plan.thresholds.of(pair.case, pair.name).relative for pair in pairs]
    words: dict[str, Any] = {"family": len(plan.pairs), "looks": count, "thresholds": limits}
    shown = changes(estimates, plan.alpha, **words)
    strict = changes(estimates, plan.alpha, **words, interval=1 - (1 - INTERVAL) / count)
    verdicts = {}
    for pair, seen, deciding in zip(pairs, shown, strict, strict=True):
        threshold = plan.thresholds.of(pair.case, pair.name)
        verdicts[pair] = (seen, judge(deciding, a_s[pair], threshold, plan.alpha))
    return verdicts


def replay(plan: LivePlan, log_ratios: Mapping[Pair, Sequence[float]]) -> dict[Pair, tuple[Change, Verdict]]:
    """The verdicts of a comparison that would have seen these epochs one after the other."""
    decided: dict[Pair, tuple[Change, Verdict]] = {}
    seen = {pair: list(logs) for pair, logs in log_ratios.items()}
    for count in looks(plan.epochs) if plan.stops_early else (plan.epochs,):
        # What is clear is not measured any more: its epochs stay as they were when it became clear.
        so_far = {p: logs[: decided[p][0].units if p in decided else count] for p, logs in seen.items()}
        found = look(plan, so_far, dict.fromkeys(so_far, 1.0))
        last = count == plan.epochs
        decided |= {p: v for p, v in found.items() if p not in decided and (last or v[1] is not Verdict.INCONCLUSIVE)}
    return decided
