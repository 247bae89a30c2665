"""The statistics of a comparison: held to SciPy where it has the same test, and to simulations with a known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.comparison import inference
from benchmarks.comparison.inference import Estimate
from benchmarks.comparison.prior import Prior
from benchmarks.comparison.stored import compare_sides
from benchmarks.comparison.thresholds import Threshold
from benchmarks.comparison.verdicts import Change, Verdict
from tests.planted import noisy, usual

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def estimate(log_ratio=0.0, variance=1e-4, freedom=4.0, weight=2 / 3, units=6):
    """Of one cell."""
    return Estimate(log_ratio, variance, freedom, weight, units)


def test_holm_is_the_published_procedure():
    """An example by hand: 4 x 0.01, 3 x 0.02, 2 x 0.04 raised to what came before, 1 x 0.5."""
    assert inference.holm([0.02, 0.5, 0.01, 0.04]) == pytest.approx([0.06, 0.5, 0.04, 0.08])


@given(P_VALUES)
def test_holm_lies_between_none_and_bonferroni(p):
    """Corrected p-values are at least the raw ones, at most Bonferroni's, and keep their order."""
    corrected = inference.holm(p)
    for raw, adjusted in zip(p, corrected, strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(p)) + 1e-12
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)


@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_does_not_look_at_the_order(p, random):
    """The cells may come in any order."""
    places = list(range(len(p)))
    random.shuffle(places)
    shuffled = inference.holm([p[place] for place in places])
    corrected = inference.holm(p)
    assert shuffled == pytest.approx([corrected[place] for place in places])


def test_holm_counts_cells_that_are_not_among_these():
    """A family that is larger than the list makes each test harder."""
    assert inference.holm([0.01, 0.02], family=10) == pytest.approx([0.1, 0.18])


def test_one_cell_unpaired_is_students_t_test():
    """With one cell and no prior, p is that of the two-sample t test on the processes."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 0.01, 4), rng.normal(0.02, 0.01, 3)
    (change,) = inference.changes([inference.unpaired(a, b)], alpha=0.01)
    assert change.p == pytest.approx(stats.ttest_ind(a, b).pvalue)
    assert change.ratio == pytest.approx(math.exp(b.mean() - a.mean()))
    assert change.units == 7


def test_one_cell_paired_is_students_t_test():
    """And that of the one-sample t test on the pairs, with its interval."""
    x = np.random.default_rng(2).normal(0.02, 0.01, 6)
    (change,) = inference.changes([inference.paired(x)], alpha=0.01)
    reference = stats.ttest_1samp(x, 0)
    assert change.p == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval(0.95)
    assert (math.log(change.low), math.log(change.high)) == pytest.approx((interval.low, interval.high))


def test_one_unit_knows_nothing_of_its_error():
    """One process on each side and no prior: an endless interval, no significance, nothing that could have been seen."""
    (change,) = inference.changes([inference.unpaired([0.0], [3.0])], alpha=0.5)
    assert change.p == 1.0
    assert change.high == math.inf
    assert change.low == 0.0
    assert change.smallest_visible == math.inf


def test_the_prior_of_nothing_is_none():
    """Where no cell knows its variance there is none to share."""
    assert inference.fit_prior([]) is None
    assert inference.fit_prior([estimate(freedom=0)]) is None


def simulated(rng, cells, freedom, prior_freedom, scale):
    """Estimates whose true variances come from a scaled inverse chi-square, as Smyth's model has it."""
    true = scale * prior_freedom / rng.chisquare(prior_freedom, cells) if math.isfinite(prior_freedom) else scale
    seen = true * rng.chisquare(freedom, cells) / freedom
    return [estimate(variance=float(v), freedom=freedom) for v in np.broadcast_to(seen, cells)]


@pytest.mark.parametrize(("prior_freedom", "low", "high"), [(4, 3, 5.5), (20, 12, 40)])
def test_the_prior_is_found_again(prior_freedom, low, high):
    """From 4000 cells with 4 degrees of freedom each, what their variances were drawn from."""
    prior = inference.fit_prior(simulated(np.random.default_rng(3), 4000, 4, prior_freedom, 1e-4))
    assert prior.variance == pytest.approx(1e-4, rel=0.1)
    assert low < prior.freedom < high


def test_cells_that_are_alike_pool_their_squares():
    """Where the scatter of many variances is clearly less than chance, the prior is their mean."""
    cells = [estimate(variance=1e-4), estimate(variance=1.2e-4), estimate(variance=0.8e-4)] * 30
    prior = inference.fit_prior(cells)
    assert prior.variance == pytest.approx(1e-4)
    assert prior.freedom == 4 * 90


def test_a_few_cells_that_look_alike_are_not_taken_at_their_word():
    """Three such cells tell little about how much variances differ: less freedom than they have, and more with more cells."""
    cells = [estimate(variance=1e-4), estimate(variance=1.2e-4), estimate(variance=0.8e-4)]
    few, more = inference.fit_prior(cells), inference.fit_prior(cells * 4)
    assert 1 < few.freedom < 12
    assert few.freedom < more.freedom < 48


@given(own=st.floats(1e-8, 1), of_all=st.floats(1e-8, 1), freedom=st.integers(0, 20), prior_freedom=st.floats(0.1, 100))
def test_a_moderated_variance_lies_between(own, of_all, freedom, prior_freedom):
    """Between the cell's own and that of all, with the freedom of both."""
    (found,) = inference.moderate([estimate(variance=own, freedom=freedom)], Prior(of_all, prior_freedom))
    assert min(own, of_all) * (1 - 1e-9) <= found.variance <= max(own, of_all) * (1 + 1e-9)
    assert found.freedom == pytest.approx(freedom + prior_freedom)


def test_without_a_prior_nothing_is_moderated():
    """Estimates stay as they are."""
    assert inference.moderate([estimate()], None) == [estimate()]


@pytest.mark.parametrize(
    "noise",
    [
        0.01,
        np.array([0.003, 0.01, 0.03, 0.01, 0.005] * 4),
        0.01 * np.sqrt(4 / np.random.default_rng(5).chisquare(4, 20)),
    ],
    ids=["alike", "three-kinds", "heavy-tailed"],
)
def test_false_alarms_on_identical_code(noise):
    """Two runs of the same thing, process noise and nothing else: any false alarm in at most alpha of 300 comparisons.

    The binomial limit is crossed by chance once in a thousand; the seed is fixed. Threshold 0: significance stands alone.
    """
    rng = np.random.default_rng(4)
    alpha, trials = 0.05, 300
    alarms = 0
    for _ in range(trials):
        found = compare_sides(noisy(rng, noise=noise), noisy(rng, noise=noise), usual(0.0), alpha)
        alarms += any(cell.verdict in (Verdict.SLOWER, Verdict.FASTER) for cell in found.cells)
    assert alarms <= stats.binom.ppf(0.999, trials, alpha)


def test_intervals_cover():
    """95 % intervals hold the true ratio in 95 % of 2000 cells, with binomial slack."""
    rng = np.random.default_rng(6)
    true = math.log(1.02)
    held = 0
    for _ in range(100):
        a, b = noisy(rng, noise=0.01), noisy(rng, noise=0.01, slower=dict.fromkeys(range(20), 1.02))
        cells = compare_sides(a, b, usual(), 0.01).cells
        held += sum(math.log(cell.change.low) <= true <= math.log(cell.change.high) for cell in cells)
    # Cells of one comparison share their prior; their hits depend on each other a little.
    # Nor does chance make intervals narrower where the cells happen to scatter less than their errors say.
    assert 0.93 * 2000 <= held <= 0.98 * 2000


def test_a_slowdown_of_a_tenth_is_found():
    """+10 % in one of 20 cells, 1 % noise, 3 processes: found in at least 95 of 100 comparisons, and nothing beside it."""
    rng = np.random.default_rng(7)
    found = beside = 0
    for _ in range(100):
        comparison = compare_sides(noisy(rng), noisy(rng, slower={7: 1.1}), usual(0.02), 0.01)
        slower = [cell.case for cell in comparison.cells if cell.verdict is Verdict.SLOWER]
        found += "case-7" in slower
        beside += any(case != "case-7" for case in slower)
    assert found >= 95
    assert beside <= stats.binom.ppf(0.999, 100, 0.01)


def test_the_smallest_visible_change_is_seen_nine_times_in_ten():
    """Changes of that size, with the error that the estimate tells: significant in 90 %, with binomial slack."""
    rng = np.random.default_rng(8)
    base = estimate(freedom=200.0)
    (told,) = inference.changes([base], alpha=0.01)
    true = math.log1p(told.smallest_visible)
    drawn = rng.normal(true, base.error, 2000) / np.sqrt(rng.chisquare(200, 2000) / 200)
    p = 2 * stats.t.sf(np.abs(drawn) / base.error, 200)
    assert 0.87 <= float((p <= 0.01).mean()) <= 0.93


def change(ratio, *, p=0.001, width=0.01):
    """A change with an interval around it."""
    return Change(ratio=ratio, low=ratio - width, high=ratio + width, p=p, smallest_visible=0.01, units=6)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (change(1.06), Verdict.SLOWER),
        (change(1.06, p=0.02), Verdict.INCONCLUSIVE),
        (change(1.03), Verdict.SAME),
        (change(1.03, p=0.9, width=0.1), Verdict.INCONCLUSIVE),
        (change(0.94), Verdict.FASTER),
        (change(0.94, p=0.02), Verdict.INCONCLUSIVE),
        (change(0.97), Verdict.SAME),
        (change(1.045), Verdict.INCONCLUSIVE),
    ],
)
def test_a_verdict_needs_significance_and_effect(found, verdict):
    """SLOWER and FASTER need both, SAME an interval within the threshold, all else is INCONCLUSIVE."""
    assert inference.judge(found, 1e-3, Threshold(0.05), alpha=0.01) is verdict


def test_a_floor_is_a_time():
    """A slowdown of 100 us on 1 ms does not count under a floor of 200 us; on 10 ms the relative threshold is the larger."""
    assert inference.judge(change(1.1), 1e-3, Threshold(0.05, 2e-4), alpha=0.01) is not Verdict.SLOWER
    assert inference.judge(change(1.1), 1e-2, Threshold(0.05, 2e-4), alpha=0.01) is Verdict.SLOWER


def test_a_floor_is_mirrored():
    """Half a floor faster is not faster, and what is slower one way is faster the other."""
    floor = Threshold(0.05, 5.0)
    assert inference.judge(change(1.6), 10.0, floor, alpha=0.01) is Verdict.SLOWER
    assert inference.judge(change(10 / 16), 16.0, floor, alpha=0.01) is Verdict.FASTER
    assert inference.judge(change(10 / 14.9), 14.9, floor, alpha=0.01) is not Verdict.FASTER


def test_a_slowdown_below_the_threshold_is_not_visible():
    """However small the error: what is not beyond the threshold is never called slower."""
    (told,) = inference.changes([estimate(variance=1e-10)], alpha=0.01, thresholds=[0.05])
    assert told.smallest_visible == pytest.approx(0.05, rel=0.01)
