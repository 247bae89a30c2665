"""Core speed: a machine that slows down for seconds is taken out of the times, and code that slows down is not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.core_speed import at_speed, slopes


def blocks(rng, *, cells=6, processes=2, count=40, slope=0.5, noise=0.01, machine=0.25):
    """Blocks of cells on a machine whose speed moves: cell, process, log time, log canary, and the true log times."""
    cell = np.repeat(np.arange(cells), processes * count)
    process = np.repeat(np.arange(cells * processes), count)
    canary = np.where(rng.random(len(cell)) < 0.4, machine, 0.0) + rng.normal(0, 0.01, len(cell))
    true = np.log(1e-3) + 0.1 * cell
    return cell, process, true + slope * canary + rng.normal(0, noise, len(cell)), canary, true


def test_the_machines_part_is_taken_out():
    """At the quiet speed every cell takes its true time, though four blocks in ten were slowed down by a tenth."""
    cell, process, time, canary, true = blocks(np.random.default_rng(0))
    adjusted = at_speed(cell, process, time, canary, 0.0)
    for number in range(6):
        own = cell == number
        assert np.median(adjusted[own]) == pytest.approx(true[own][0], abs=0.01)
        assert adjusted[own].std() < 0.25 * time[own].std()


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_a_slope_is_found(slope):
    """Kernels that do not follow the canary, that follow it a little, and that follow it like a clock."""
    cell, process, time, canary, _ = blocks(np.random.default_rng(1), slope=slope)
    assert slopes(cell, process, time, canary) == pytest.approx(np.full(6, slope), abs=0.05)


def test_each_cell_has_its_own():
    """One cell follows the canary, the others do not."""
    cell, process, time, canary, _ = blocks(np.random.default_rng(2), slope=0.0)
    time = time + np.where(cell == 3, 0.8 * canary, 0.0)
    found = slopes(cell, process, time, canary)
    assert found[3] > 0.2
    assert np.all(np.delete(found, 3) < 0.1)


def test_slower_code_stays_slower():
    """A change of the code between two runs is no business of the canary's, whatever the machine did meanwhile."""
    rng = np.random.default_rng(3)
    medians = []
    for extra, machine in ((0.0, 0.3), (0.1, 0.05)):
        cell, process, time, canary, _ = blocks(rng, machine=machine)
        medians.append(np.median(at_speed(cell, process, time + extra, canary, 0.0)[cell == 0]))
    assert medians[1] - medians[0] == pytest.approx(0.1, abs=0.015)


def test_a_steady_canary_changes_nothing():
    """Where the canary says nothing, times stay as they are; differences between processes are not the slope's to explain."""
    cell, process, time, canary, _ = blocks(np.random.default_rng(4), machine=0.0)
    steady = np.full(len(canary), -13.8)
    assert np.array_equal(at_speed(cell, process, time, steady, -13.8), time)
    between = np.where(process % 2 == 0, 0.0, 0.3)  # one process saw a slow machine, and its cells were as fast as ever
    assert slopes(cell, process, time, between) == pytest.approx(np.zeros(6))


def test_no_blocks():
    """Nothing in, nothing out."""
    none = np.array([], int)
    assert len(at_speed(none, none, none.astype(float), none.astype(float), 0.0)) == 0


def test_an_outlier_does_not_make_the_slope():
    """One block that was slow for another reason, while the canary happened to be a little slow too."""
    cell, process, time, canary, _ = blocks(np.random.default_rng(5), slope=0.0)
    time[0] += 3.0
    canary[0] += 0.3
    assert slopes(cell, process, time, canary)[0] < 0.15
