"""Looking repeatedly at a live comparison: when, and what a look may say, on simulated epochs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.comparison.prior import Prior
from benchmarks.comparison.thresholds import Override, Threshold, Thresholds
from benchmarks.comparison.verdicts import Verdict
from benchmarks.live import sequential
from benchmarks.live.sequential import FEWEST_EPOCHS, look, looks, replay
from tests.live_plans import planned, simulated

CHANGED = (Verdict.SLOWER, Verdict.FASTER)
TRIALS = 200


@pytest.mark.parametrize("epochs", range(1, 51))
def test_looks_grow_and_end_with_the_last_epoch(epochs):
    """Increasing, none before there are enough pairs of processes, the last at the budget, and few."""
    found = looks(epochs)
    assert list(found) == sorted(set(found))
    assert found[-1] == epochs
    assert found[0] >= min(FEWEST_EPOCHS, epochs)
    assert len(found) <= 3 + 2 * math.log2(epochs)


def verdicts(found):
    """Without the changes."""
    return {pair: verdict for pair, (_, verdict) in found.items()}


def alarms(rng, plan, trials, noise, draw=None):
    """In how many comparisons of identical code any cell is called slower or faster."""
    found = 0
    for _ in range(trials):
        found += any(v in CHANGED for v in verdicts(replay(plan, simulated(rng, plan, noise, draw=draw))).values())
    return found


def student(rng, shape):
    """Tails so heavy that a variance hardly exists."""
    return rng.standard_t(2.5, shape)


def outliers(rng, shape):
    """One pair of processes in ten is ten times as far off."""
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.1, 10, 1)


@pytest.mark.parametrize(
    ("noise", "draw"),
    [
        (0.01, None),
        (np.array([0.003, 0.01, 0.03, 0.01, 0.005, 0.1] * 5), None),
        (0.01 * np.sqrt(4 / np.random.default_rng(5).chisquare(4, 30)), None),
        (np.array([0.1] + [0.01] * 29), None),
        (0.01, student),
        (0.01, outliers),
    ],
    ids=["alike", "five-kinds", "inverse-chi-square", "one-noisy-cell", "heavy-tails", "outliers"],
)
def test_looking_often_raises_no_more_false_alarms(noise, draw):
    """30 cells of identical code, looked at 4 times: any false alarm in at most alpha of 200 comparisons.

    The binomial limit is crossed by chance once in a thousand; the seed is fixed. Threshold 0: significance stands alone.
    """
    plan = planned(threshold=0.0, alpha=0.05)
    assert len(looks(plan.epochs)) == 4
    assert alarms(np.random.default_rng(11), plan, TRIALS, noise, draw) <= stats.binom.ppf(0.999, TRIALS, plan.alpha)


def test_the_simulation_would_find_a_rule_that_trusts_too_much(monkeypatch):
    """Where every cell is taken to be as noisy as most, the one that is noisier raises alarms beyond the limit."""
    monkeypatch.setattr(sequential, "fit_prior", lambda raw: Prior(1e-4, sum(e.freedom for e in raw)))
    noise = np.array([0.1] + [0.01] * 29)
    found = alarms(np.random.default_rng(11), planned(threshold=0.0, alpha=0.05), TRIALS, noise)
    assert found > 2 * stats.binom.ppf(0.999, TRIALS, 0.05)


def test_a_slowdown_is_found_before_the_budget_is_spent():
    """+5 % in one of 30 cells with 1 % noise: found in at least 97 of 100 comparisons, before the last epoch."""
    rng = np.random.default_rng(12)
    plan = planned()
    found = early = 0
    for _ in range(100):
        change, verdict = replay(plan, simulated(rng, plan, 0.01, {7: 1.05}))[plan.pairs[7]]
        found += verdict is Verdict.SLOWER
        early += verdict is Verdict.SLOWER and change.units < plan.epochs
    assert found >= 97
    assert early >= 97


def test_one_cell_alone_is_judged_too():
    """Without other cells to lean on, +5 % with 1 % noise takes longer, and is found in at least 95 of 100 comparisons."""
    rng = np.random.default_rng(13)
    plan = planned(1, epochs=12)
    found = [replay(plan, simulated(rng, plan, 0.01, {0: 1.05}))[plan.pairs[0]][1] for _ in range(100)]
    assert found.count(Verdict.SLOWER) >= 95
    assert Verdict.FASTER not in found


@pytest.mark.parametrize(("true", "share"), [(1.04, 0.01), (1 / 1.04, 0.01), (1.021, 0.05)])
@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_same_is_not_said_of_what_differs(true, share, noise):
    """Cells beyond the threshold of 2 %: SAME at most where their interval may miss, and hardly at twice the threshold."""
    rng = np.random.default_rng(14)
    plan = planned(20)
    said = []
    for _ in range(50):
        said += verdicts(replay(plan, simulated(rng, plan, noise, dict.fromkeys(range(20), true)))).values()
    assert said.count(Verdict.SAME) <= stats.binom.ppf(0.999, len(said), share)


def test_what_is_the_same_is_called_so_and_left_alone():
    """Identical code with 0.5 % noise under a threshold of 2 %: SAME at nearly every cell, most before the last epoch."""
    rng = np.random.default_rng(15)
    plan = planned()
    found = [v for _ in range(30) for v in replay(plan, simulated(rng, plan, 0.005)).values()]
    assert sum(verdict is Verdict.SAME for _, verdict in found) >= 0.97 * len(found)
    assert sum(change.units < plan.epochs for change, _ in found) >= 0.9 * len(found)


def test_noise_is_inconclusive_at_the_budget():
    """Where noise drowns the threshold, nothing is claimed in either direction."""
    rng = np.random.default_rng(16)
    plan = planned(epochs=5)
    found = list(verdicts(replay(plan, simulated(rng, plan, 0.3))).values())
    assert found.count(Verdict.INCONCLUSIVE) == len(found)


def test_a_cell_has_its_own_threshold():
    """An override is found by the case and the name of the pair."""
    plan = planned(2, epochs=3, thresholds=Thresholds(Threshold(0.02), (Override("case-1", "numpy/*", 0.5, None),)))
    logs = {pair: [0.2, 0.2001, 0.1999] for pair in plan.pairs}
    assert [v for _, v in look(plan, logs, dict.fromkeys(plan.pairs, 1.0)).values()] == [Verdict.SLOWER, Verdict.SAME]


def test_nothing_measured_says_nothing():
    """No epochs, no verdicts."""
    plan = planned(2)
    assert look(plan, {}, {}) == {}
    assert look(plan, {plan.pairs[0]: []}, {}) == {}
