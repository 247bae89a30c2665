"""Two sides held against each other: verdicts, the gates besides time, what stands in for processes, and symmetry."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.comparison.noise import Noise
from benchmarks.comparison.prior import Prior
from benchmarks.comparison.side import CoreSpeed
from benchmarks.comparison.stored import NO_VARIANCE, apart, compare_sides, machine_shift
from benchmarks.comparison.thresholds import Override
from benchmarks.comparison.verdicts import Exit, Gate, Verdict
from benchmarks.records import Status
from tests.planted import ENVIRONMENT, edited, noisy, record, side, usual

ALPHA = 0.01
TIMES = {"case-0": np.log([1e-3, 1.001e-3, 0.999e-3])}


def compare(a, b, *, thresholds=None, **options):
    """With the usual thresholds."""
    return compare_sides(a, b, thresholds or usual(), ALPHA, **options)


def one(before, after, **options):
    """Two sides of one cell with the same times."""
    sides = [side(*([r] if r else []), logs=TIMES, label=name) for r, name in ((before, "a"), (after, "b"))]
    return compare(*sides, **options)


def test_a_planted_slowdown_is_the_only_one():
    """+10 % in one cell, -10 % in another: found as such, with ratio, interval, medians and the exit of a regression."""
    rng = np.random.default_rng(0)
    found = compare(noisy(rng, noise=0.003), noisy(rng, noise=0.003, slower={3: 1.1, 5: 0.9}))
    verdicts = {cell.case: cell.verdict for cell in found.cells}
    assert verdicts.pop("case-3") is Verdict.SLOWER
    assert verdicts.pop("case-5") is Verdict.FASTER
    assert set(verdicts.values()) == {Verdict.SAME}
    assert found.exit is Exit.REGRESSION
    (worse,) = found.worse
    assert worse.change.low < 1.1 < worse.change.high
    assert worse.b_s / worse.a_s == pytest.approx(1.1, rel=0.02)
    assert worse.change.smallest_visible < 0.06


def test_the_same_is_green():
    """A side against itself: same everywhere."""
    a = noisy(np.random.default_rng(0), noise=0.003)
    found = compare(a, a)
    assert found.count(Verdict.SAME) == len(found.cells)
    assert found.exit is Exit.GREEN


def test_cells_have_their_own_thresholds():
    """An override lets the slow cell pass, and no other."""
    rng = np.random.default_rng(0)
    a, b = noisy(rng, noise=0.003), noisy(rng, noise=0.003, slower={3: 1.1, 4: 1.1})
    found = compare(a, b, thresholds=usual(overrides=[Override("case-3", "*", 0.2, None)]))
    assert [cell.case for cell in found.worse] == ["case-4"]


def test_a_floor_lets_short_cells_pass():
    """+10 % of 1 ms is under a floor of 200 us, +10 % of 20 ms is not."""
    rng = np.random.default_rng(0)
    a, b = noisy(rng, noise=0.003), noisy(rng, noise=0.003, slower={0: 1.1, 19: 1.1})
    found = compare(a, b, thresholds=usual(floor_s=2e-4))
    assert [cell.case for cell in found.worse] == ["case-19"]


@given(seed=st.integers(0, 2**32 - 1), slower=st.dictionaries(st.integers(0, 4), st.floats(0.5, 2.0), max_size=5))
def test_swapping_the_sides_mirrors_the_times(seed, slower):
    """Slower becomes faster, ratios and intervals turn over, p and what could have been seen stay."""
    rng = np.random.default_rng(seed)
    a, b = noisy(rng, cells=5), noisy(rng, cells=5, slower=slower)
    mirror = {Verdict.SLOWER: Verdict.FASTER, Verdict.FASTER: Verdict.SLOWER}
    for there, back in zip(compare(a, b).cells, compare(b, a).cells, strict=True):
        assert back.verdict is mirror.get(there.verdict, there.verdict)
        assert back.change.ratio == pytest.approx(1 / there.change.ratio)
        assert (back.change.low, back.change.high) == pytest.approx((1 / there.change.high, 1 / there.change.low))
        assert back.change.p == pytest.approx(there.change.p)
        assert back.change.smallest_visible == pytest.approx(there.change.smallest_visible)


def runs_apart(rng, *, between, slower=None, cells=31):
    """Two runs whose cells each moved by `between` from one run to the next, more than their processes tell."""
    moved = {number: math.exp(rng.normal(0, between)) for number in range(cells)}
    moved |= {number: moved[number] * ratio for number, ratio in (slower or {}).items()}
    return noisy(rng, cells=cells, noise=0.005), noisy(rng, cells=cells, noise=0.005, slower=moved)


def test_what_differs_from_run_to_run_widens_the_intervals():
    """Intervals hold 1 nearly as often as they say although the processes of a run agree four times better than two runs."""
    rng, held, alarms = np.random.default_rng(0), [], 0
    for _ in range(60):
        found = compare(*runs_apart(rng, between=0.02))
        held += [cell.change.low <= 1 <= cell.change.high for cell in found.cells]
        alarms += any(cell.verdict in (Verdict.SLOWER, Verdict.FASTER) for cell in found.cells)
    assert 0.92 <= np.mean(held) <= 0.99
    assert alarms <= 2
    assert any("differ by" in note for note in found.notes)


def test_a_large_slowdown_shows_among_runs_that_differ():
    """The scatter of the other cells is no excuse for one that is far beyond it."""
    found = compare(*runs_apart(np.random.default_rng(1), between=0.01, slower={4: 1.3}))
    assert [cell.case for cell in found.worse] == ["case-4"]


def test_a_slowdown_of_every_cell_is_no_scatter():
    """Code that became slower everywhere did not become noisier: the middle of all cells is where the scatter is taken."""
    rng = np.random.default_rng(2)
    found = compare(*runs_apart(rng, between=0.0, slower=dict.fromkeys(range(31), 1.2)))
    assert found.count(Verdict.SLOWER) == 31


def test_an_audit_knows_how_runs_differ_where_one_cell_cannot():
    """With noise.json the interval of a single cell is as much wider as runs differ here."""
    rng = np.random.default_rng(3)
    a, b = noisy(rng, cells=1, processes=4), noisy(rng, cells=1, processes=4)
    (plain,), (wide,) = compare(a, b).cells, compare(a, b, noise=Noise(None, None, None, between_runs=3.0)).cells
    width = math.log(plain.change.high / plain.change.low)
    assert math.log(wide.change.high / wide.change.low) == pytest.approx(3 * width)


# Gates besides time.


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_ok_before_and_not_ok_now(status):
    """A status that was lost is a regression, whatever it is now, and says why."""
    found = one(record(), record(status=status, reason="it broke"))
    (complaint,) = found.cells[0].complaints
    assert complaint.gate is Gate.STATUS
    assert str(status) in complaint.text
    assert "it broke" in complaint.text
    assert found.exit is Exit.REGRESSION


def test_not_ok_before_is_no_loss():
    """What failed before may fail now, and may work now."""
    failed = record(status=Status.ERROR)
    for found in (one(failed, failed), one(failed, record()), one(failed, None)):
        assert found.cells[0].complaints == ()
        assert found.cells[0].verdict is None
        assert found.cells[0].note


def test_a_missing_cell_fails_closed():
    """A cell that only the baseline has is a regression, unless that is allowed."""
    a, b = side(record("case-0"), record("case-1"), logs=TIMES), side(record("case-0"), logs=TIMES)
    found = compare(a, b)
    assert [cell.complaints[0].gate for cell in found.worse] == [Gate.MISSING]
    assert found.exit is Exit.REGRESSION
    allowed = compare(a, b, allow_missing=True)
    assert allowed.exit is Exit.GREEN
    assert "not in the candidate" in allowed.cells[1].note


def test_a_new_cell_is_no_regression():
    """What only the candidate has is told."""
    found = compare(side(record("case-0"), logs=TIMES), side(record("case-0"), record("new"), logs=TIMES))
    assert found.exit is Exit.GREEN
    assert found.cells[1].case == "new"
    assert "new in the candidate" in found.cells[1].note


@pytest.mark.parametrize(
    ("before", "after", "grew"),
    [(0.1, 0.2, True), (0.1, 0.1, False), (0.1, 0.11, False), (0.2, 0.1, False), (1e-5, 1e-4, False), (0.0, 0.9, True)],
)
def test_accuracy_is_held(before, after, grew):
    """An error that grew by more than another order of summation explains is a regression; a speed-up is no excuse."""
    found = one(record(error_over_bound=before), record(error_over_bound=after))
    assert [c.gate for c in found.cells[0].complaints] == ([Gate.ACCURACY] if grew else [])
    assert found.exit is (Exit.REGRESSION if grew else Exit.GREEN)


@pytest.mark.parametrize(
    ("before", "after", "grew"),
    [
        (100, 120, True),
        (100, 103, False),
        (100, 50, False),
        (0, 3, False),
        (0, 5, True),
        (10, 13.9, False),
        (None, 9, False),
        (9, None, False),
    ],
)
def test_memory_is_held_where_it_is_recorded(before, after, grew):
    """Peaks in MiB: 5 % and 4 MiB more are a regression; what was not recorded is not held."""
    rows = [record(peak_memory_bytes=None if mib is None else int(mib * 2**20)) for mib in (before, after)]
    found = one(*rows)
    assert [c.gate for c in found.cells[0].complaints] == ([Gate.MEMORY] if grew else [])


def test_a_cell_may_have_a_verdict_and_complaints():
    """Faster and less accurate: both are told, and it is a regression."""
    a = side(record(), logs=TIMES)
    b = side(record(error_over_bound=0.9), logs={"case-0": TIMES["case-0"] - 0.5})
    (cell,) = compare(a, b).cells
    assert cell.verdict is Verdict.FASTER
    assert cell.is_worse


def test_nothing_measured_is_never_green():
    """No cell with a time on both sides: not comparable; and a comparison of nothing at all, too."""
    failed = record(status=Status.UNSUPPORTED)
    assert one(failed, failed).exit is Exit.NOT_COMPARABLE
    assert compare(side(), side()).exit is Exit.NOT_COMPARABLE
    assert compare(side(), side(record())).exit is Exit.NOT_COMPARABLE


# What stands in for processes.


def test_one_process_each_can_judge_nothing():
    """Without a prior every time is inconclusive, however large the change, and a note says what to do."""
    a = noisy(np.random.default_rng(0), processes=1)
    b = noisy(np.random.default_rng(1), processes=1, slower={0: 3.0})
    found = compare(a, b)
    assert found.count(Verdict.INCONCLUSIVE) == len(found.cells)
    assert NO_VARIANCE in found.notes
    assert "--processes 2" in NO_VARIANCE
    assert "audit" in NO_VARIANCE


def test_an_audits_noise_judges_single_processes():
    """With the variance that an audit found, one process a side is enough for a change far beyond it."""
    a = noisy(np.random.default_rng(0), processes=1)
    b = noisy(np.random.default_rng(1), processes=1, slower={0: 1.5})
    found = compare(a, b, noise=Noise(Prior(1e-4, 100), None, None))
    assert [cell.case for cell in found.worse] == ["case-0"]
    assert NO_VARIANCE not in found.notes


def test_the_surer_prior_counts():
    """An audit that stands on less than these runs changes nothing; one that stands on more does."""
    rng = np.random.default_rng(0)
    a, b = noisy(rng, cells=5), noisy(rng, cells=5)
    assert compare(a, b, noise=Noise(Prior(1.0, 0.5), None, None)) == compare(a, b)
    wide = compare(a, b, noise=Noise(Prior(1.0, 1e6), None, None))
    assert all(cell.change.high > 2 for cell in wide.cells)


def test_summaries_alone():
    """Medians without samples: not judged without a prior, and the reader is told why; with one, as many processes count
    as each median was taken over."""
    rng = np.random.default_rng(0)
    a, b = (dataclasses.replace(noisy(rng, slower=s), logs={}) for s in ({}, {2: 1.3}))
    alone = compare(a, b)
    assert alone.count(Verdict.INCONCLUSIVE) == 20
    assert any("no samples" in note for note in alone.notes)
    judged = compare(a, b, noise=Noise(Prior(1e-4, 100), None, None))
    assert [cell.case for cell in judged.worse] == ["case-2"]
    assert judged.cells[0].change.units == 6


def test_a_wide_interval_is_believed():
    """A prior of a quiet day does not make a summary sure whose own interval spans a factor of two."""
    a = side(record(processes=2))
    for spread, verdict in ((1.001, Verdict.SLOWER), (1.5, Verdict.INCONCLUSIVE)):
        b = side(record(processes=2, median_s=1.2e-3, ci_low_s=1.2e-3 / spread, ci_high_s=1.2e-3 * spread))
        assert compare(a, b, noise=Noise(Prior(1e-5, 100), None, None)).cells[0].verdict is verdict


def test_one_side_with_samples_lends_its_variance():
    """A folder against a summary: the folder's processes say how much processes differ."""
    rng = np.random.default_rng(0)
    a, b = noisy(rng), dataclasses.replace(noisy(rng, slower={2: 1.3}), logs={})
    assert [cell.case for cell in compare(a, b).worse] == ["case-2"]
    assert [cell.case for cell in compare(b, a).cells if cell.verdict is Verdict.FASTER] == ["case-2"]


# The machine's own shift.


def test_the_machines_shift_is_the_median_over_what_both_have():
    """Matmul rates, dtype by framework: half the rate is twice the time; what only one side has is left out."""
    rates = [
        {"float32": {"numpy": 200.0, "jax": 100.0, "torch": 80.0}, "bfloat16": {"torch": 1.0}},
        {"float32": {"numpy": 100.0, "jax": 50.0, "torch": 80.0}, "float16": {"torch": 1.0}},
    ]
    a, b = (side(record(), logs=TIMES, environment=edited(ENVIRONMENT, matmul_gflops=r)) for r in rates)
    assert math.exp(machine_shift(a, b)) == pytest.approx(2.0)
    assert machine_shift(b, a) == pytest.approx(-machine_shift(a, b))
    assert "the machine itself: matmul x2.00 of the baseline's time" in compare(a, b).notes
    assert compare(a, b).cells[0].verdict is Verdict.SAME


@pytest.mark.parametrize("rates", [{}, {"float32": {}}, {"float32": {"numpy": 0.0}}, {"float32": {"numpy": "fast"}}])
def test_no_shift_without_rates(rates):
    """Nothing measured, or nothing that is a rate: nothing told."""
    a = side(record(), logs=TIMES, environment=ENVIRONMENT)
    b = side(record(), logs=TIMES, environment=edited(ENVIRONMENT, matmul_gflops=rates))
    assert machine_shift(a, b) is None
    assert compare(a, b).notes == ()


def shifted(rng, shifts, *, cells=30, own=0.003):
    """A run whose processes were faster or slower as a whole, by these log shifts."""
    logs = {f"case-{n}": tuple(rng.normal(0, own) + shift for shift in shifts) for n in range(cells)}
    return side(*(record(name, processes=len(shifts)) for name in logs), logs=logs)


def test_what_all_cells_share_is_known_no_better_than_its_processes():
    """Thirty cells of three processes that each shift as a whole are three processes, not ninety: false alarms stay rare."""
    rng = np.random.default_rng(4)
    tries = 300
    alarms = 0
    for _ in range(tries):
        a, b = (shifted(rng, rng.normal(0, 0.03, 3)) for _ in range(2))
        alarms += any(cell.verdict in (Verdict.SLOWER, Verdict.FASTER) for cell in compare(a, b).cells)
    assert alarms <= stats.binom.ppf(0.999, tries, ALPHA)


def test_a_common_shift_is_taken_apart():
    """What every process did to all cells comes out; what a cell has of its own stays; together they are the data."""
    rng = np.random.default_rng(5)
    run = shifted(rng, (0.05, -0.02, -0.03))
    own, common = apart(run.logs)
    assert common == pytest.approx([0.05, -0.02, -0.03], abs=0.003)
    for key, values in run.logs.items():
        assert [o + c for o, c in zip(own[key], common, strict=True)] == pytest.approx(list(values))
    few, none = apart(dict(list(run.logs.items())[:3]))
    assert none == []
    assert few == dict(list(run.logs.items())[:3])


def test_runs_in_which_nothing_could_be_seen_are_not_green():
    """One process a side and no audit: exit 3, not 0."""
    rng = np.random.default_rng(0)
    assert compare(noisy(rng, processes=1), noisy(rng, processes=1)).exit is Exit.NOT_COMPARABLE


def test_runs_at_two_core_speeds_meet_at_one():
    """B ran on a core whose canary took 10 % longer; half of that is in the cell's times, and none of it is a slowdown."""
    rng = np.random.default_rng(6)
    a, b = noisy(rng), noisy(rng)
    moved = {key: [x + 0.05 for x in logs] for key, logs in b.logs.items()}
    slopes = dict.fromkeys(a.logs, 0.5)
    a = dataclasses.replace(a, speed=CoreSpeed(slopes, -14.0))
    b = dataclasses.replace(b, logs=moved, speed=CoreSpeed(slopes, -13.9))
    assert compare(a, b).count(Verdict.SAME) == len(a.records)
    unknown = dataclasses.replace(b, speed=CoreSpeed())
    assert compare(a, unknown).cells[0].change.ratio > 1.03
