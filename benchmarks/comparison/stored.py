"""From two stored runs to a Comparison, cell by cell. A pure function: `audit` calls it over and over with resampled runs."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.gates import complaints
from benchmarks.comparison.inference import (
    FEWEST_CELLS,
    Estimate,
    changes,
    fit_prior,
    inflated,
    judge,
    moderate,
    overdispersion,
    unpaired,
    with_common,
)
from benchmarks.comparison.pairs import Pair
from benchmarks.comparison.prior import Prior
from benchmarks.comparison.verdicts import CellComparison, Comparison
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.comparison.noise import Noise
    from benchmarks.comparison.side import Key, Side
    from benchmarks.comparison.thresholds import Thresholds
    from benchmarks.comparison.verdicts import Change
    from benchmarks.records import Record

NO_VARIANCE = (
    "how much processes differ is not known, so no time can be judged: measure again with --processes 2 or more, "
    "or learn this machine's noise with `audit` and give it with --noise"
)
_TOLD_FROM = 1.2
_NORMAL_95 = 1.959964
"""Half the width of a 95 % interval, in standard errors."""


def compare_sides(
    a: Side,
    b: Side,
    thresholds: Thresholds,
    alpha: float,
    noise: Noise | None = None,
    allow_missing: bool = False,
) -> Comparison:
    """Every cell of A, then those that only B has. `noise`: what an earlier audit knows about this machine's processes."""
    return compare_machines([Pair("", a, b)], thresholds, alpha, noise, allow_missing)


def compare_machines(
    pairs: Sequence[Pair],
    thresholds: Thresholds,
    alpha: float,
    noise: Noise | None = None,
    allow_missing: bool = False,
) -> Comparison:
    """The same of several machines: what processes and runs have in common is each machine's own, and p is corrected over
    the cells of all.
    """
    timed, wider = zip(*(_estimated(pair.a, pair.b, noise) for pair in pairs), strict=True)
    limits = [thresholds.of(key[0], key[1]).relative for of_machine in timed for key in of_machine]
    found = iter(changes([e for own in timed for e in own.values()], alpha, thresholds=limits))
    cells, notes = [], []
    for pair, estimates, factor in zip(pairs, timed, wider, strict=True):
        change = {key: next(found) for key in estimates}
        own = [_cell(key, pair.a, pair.b, change.get(key), thresholds, alpha, allow_missing) for key in pair.a.records]
        own += [_new(record) for key, record in pair.b.records.items() if key not in pair.a.records]
        cells += [dataclasses.replace(cell, machine=pair.machine) for cell in own] if pair.machine else own
        notes += pair.named(_notes(pair.a, pair.b, list(estimates.values()), factor))
    return Comparison(
        a=pairs[0].a.label,
        b=pairs[0].b.label,
        threshold=thresholds.usual.relative,
        alpha=alpha,
        cells=tuple(cells),
        notes=tuple(notes),
    )


def _estimated(a: Side, b: Side, noise: Noise | None) -> tuple[dict[Key, Estimate], float]:
    """The cells that both sides timed, and by how much their errors were widened."""
    timed = [key for key in a.records if a.is_timed(key) and b.is_timed(key)]
    a_own, a_common = apart(a.logs)
    b_own, b_common = apart(at_speed_of(a, b))
    own = (dataclasses.replace(a, logs=a_own), dataclasses.replace(b, logs=b_own))
    estimates = [_estimate(*own, key) for key in timed]
    moderated = moderate(estimates, _surer(fit_prior(estimates), noise.prior if noise else None))
    wider = max(overdispersion(moderated), noise.between_runs if noise else 1.0)
    moderated = inflated(moderated, wider)
    common = _surer(common_variance(a_common, b_common), noise.common if noise else None)
    moderated = with_common(moderated, common)
    return {key: _at_least_the_intervals(e, a, b, key) for e, key in zip(moderated, timed, strict=True)}, wider


def at_speed_of(a: Side, b: Side) -> Mapping[Key, Sequence[float]]:
    """B's log times at the core speed that A's are told for, where both have taken the core's speed out."""
    if not a.speed.slopes or not b.speed.slopes:
        return b.logs
    moved = a.speed.log_quiet - b.speed.log_quiet
    slope = {key: (a.speed.slopes.get(key, own) + own) / 2 for key, own in b.speed.slopes.items()}
    return {key: [x + slope.get(key, 0.0) * moved for x in logs] for key, logs in b.logs.items()}


def apart(logs: Mapping[Key, Sequence[float]]) -> tuple[dict[Key, Sequence[float]], list[float]]:
    """What each process of a cell has of its own, and what every process did to all cells alike.

    The second is the median over the cells of their deviations from their means: the machine was faster or slower then.
    Few cells cannot tell it from their own noise, and keep all of it.
    """
    size = max(map(len, logs.values()), default=0)
    means = {key: statistics.fmean(values) for key, values in logs.items()}
    deviations = [[v[p] - means[key] for key, v in logs.items() if len(v) == size] for p in range(size)]
    if size < 2 or len(deviations[0]) < FEWEST_CELLS:
        return dict(logs), []
    common = [statistics.median(of_process) for of_process in deviations]
    middle = statistics.fmean(common)
    common = [value - middle for value in common]
    own = {k: [x - c for x, c in zip(v, common, strict=True)] if len(v) == size else v for k, v in logs.items()}
    return own, common


def common_variance(a: Sequence[float], b: Sequence[float]) -> Prior | None:
    """Of what processes do to all cells alike, from both sides; None where neither knows."""
    freedom = max(0, len(a) - 1) + max(0, len(b) - 1)
    return Prior(sum(x * x for x in (*a, *b)) / freedom, freedom) if freedom else None


def _estimate(a: Side, b: Side, key: Key) -> Estimate:
    """From the processes; where a side has none, its median stands for as many as it says it was taken over."""
    x, y = a.logs.get(key), b.logs.get(key)
    if x is not None and y is not None:
        return unpaired(x, y)
    a_units = _processes(a.records[key]) if x is None else len(x)
    b_units = _processes(b.records[key]) if y is None else len(y)
    estimate = unpaired(
        _log_median(a.records[key]) if x is None else x, _log_median(b.records[key]) if y is None else y
    )
    return dataclasses.replace(estimate, weight=1 / a_units + 1 / b_units, units=a_units + b_units)


def _log_median(record: Record) -> Sequence[float]:
    return (math.log(record.median_s or math.nan),)


def _processes(record: Record) -> int:
    return record.processes or 1


def _surer(fitted: Prior | None, given: Prior | None) -> Prior | None:
    """The one that stands on more."""
    if fitted is None or (given is not None and given.freedom > fitted.freedom):
        return given
    return fitted


def _at_least_the_intervals(estimate: Estimate, a: Side, b: Side, key: Key) -> Estimate:
    """Without samples, an interval says how the blocks scattered: no variance between processes, but a floor under it."""
    squares = sum(_interval_error(side.records[key]) ** 2 for side in (a, b) if key not in side.logs)
    if squares <= estimate.weight * estimate.variance:
        return estimate
    return dataclasses.replace(estimate, variance=squares / estimate.weight)


def _interval_error(record: Record) -> float:
    """Standard error of the log median, as far as the interval tells."""
    if not record.ci_low_s or not record.ci_high_s:
        return 0.0
    return math.log(record.ci_high_s / record.ci_low_s) / (2 * _NORMAL_95)


def _cell(
    key: Key,
    a: Side,
    b: Side,
    change: Change | None,
    thresholds: Thresholds,
    alpha: float,
    allow_missing: bool,
) -> CellComparison:
    before, after = a.records[key], b.records.get(key)
    case, implementation, device, pass_ = key
    verdict = None
    if change is not None and before.median_s is not None:
        verdict = judge(change, before.median_s, thresholds.of(case, implementation), alpha)
    return CellComparison(
        case=case,
        implementation=implementation,
        device=device,
        pass_=pass_,
        a_s=before.median_s,
        b_s=None if after is None else after.median_s,
        change=change,
        verdict=verdict,
        note=_why_no_verdict(before, after),
        complaints=complaints(before, after, allow_missing=allow_missing),
    )


def _why_no_verdict(a: Record, b: Record | None) -> str:
    if b is None:
        return f"not in the candidate; {_state(a)} in the baseline"
    if a.status is Status.OK:
        return "" if b.status is Status.OK else f"now {_state(b)}"
    if b.status is Status.OK:
        return f"now ok; {_state(a)} in the baseline"
    if a.status is b.status:
        return f"{a.status} on both sides: {b.reason}"
    return f"{_state(a)} in the baseline, now {_state(b)}"


def _state(record: Record) -> str:
    return f"{record.status} ({record.reason})" if record.reason else str(record.status)


def _new(record: Record) -> CellComparison:
    case, implementation, device, pass_ = record.key
    return CellComparison(
        case=case,
        implementation=implementation,
        device=device,
        pass_=pass_,
        b_s=record.median_s,
        note=f"new in the candidate: {_state(record)}",
    )


def _notes(a: Side, b: Side, estimates: Sequence[Estimate], wider: float) -> list[str]:
    notes = [
        f"{side.label}: no samples of its processes; its medians can only be judged by what is known from elsewhere"
        for side in (a, b)
        if side.records and not side.logs
    ]
    if estimates and not any(e.freedom > 0 for e in estimates):
        notes.append(NO_VARIANCE)
    if wider > _TOLD_FROM:
        notes.append(
            f"the two runs differ by {wider:.1f} times what their processes tell: all intervals are as much wider"
        )
    shift = machine_shift(a, b)
    if shift is not None:
        notes.append(f"the machine itself: matmul x{math.exp(shift):.2f} of the baseline's time")
    return notes


# --- The machine's own shift. It is told, and enters no statistics: whether it should is decided here, and nowhere else. ---


def machine_shift(a: Side, b: Side) -> float | None:
    """Log of B's matmul time over A's, the median over what both measured; None where they share no measurement."""
    before, after = _rates(a.environment), _rates(b.environment)
    logs = [math.log(before[place]) - math.log(after[place]) for place in before.keys() & after.keys()]
    return statistics.median(logs) if logs else None


def _rates(environment: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """(dtype, framework) -> matmul rate; what is no rate is passed over."""
    return {
        (dtype, framework): rate
        for dtype, of_dtype in environment.get("matmul_gflops", {}).items()
        for framework, rate in of_dtype.items()
        if isinstance(rate, float) and 1e-9 < rate < 1e12
    }
