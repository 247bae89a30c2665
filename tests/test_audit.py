"""The audit's arithmetic: what trials of known truth say, with trials that are made up."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.audit import trials as t
from benchmarks.audit.machine_noise import learn, write
from benchmarks.audit.resampling import resampled_live, resampled_stored
from benchmarks.audit.truth import detections, identical, share_interval, smallest_seen
from benchmarks.cases import case
from benchmarks.cli import run_command
from benchmarks.comparison.noise import noise_beside, noise_of_machine, read_noise
from benchmarks.comparison.thresholds import Threshold, Thresholds
from benchmarks.comparison.verdicts import Verdict
from benchmarks.errors import UnreadableResults
from benchmarks.live.plan import LivePlan, Pair, Side
from benchmarks.plan import Plan
from benchmarks.reports.truth import audit_json, audit_markdown
from benchmarks.run_folder import RunFolder
from tests.planted import noisy

CASES = tuple(case(f"case-{n}", "made up", T=8) for n in range(6))
PAIRS = tuple(Pair(c.name, "numpy/naive", "numpy/naive") for c in CASES)
USUAL = Thresholds(Threshold(0.02))
LIVE = LivePlan(suite="x", cases=CASES, pairs=PAIRS, a=Side(name="A", label="a"), b=Side(name="B", label="b"), epochs=6)
STORED = Plan(suite="x", cases=CASES, implementations=("numpy/naive",), processes=3, cpus=(1,))


def cell(number=0, verdict=Verdict.SAME, ratio=1.0, logs=(), width=0.01):
    """What was said of a cell."""
    return t.CellTrial(f"case-{number}", "numpy/naive", verdict, ratio, ratio - width, ratio + width, 0.03, tuple(logs))


def trial(*cells, path=t.AB, slowdown=0.0, live=True):
    """A comparison."""
    return t.Trial(path=path, slowdown=slowdown, live=live, measured_s=2.0, wall_s=10.0, cells=cells)


def test_an_alarm_is_one_of_the_whole_comparison():
    """Two cells called different in one comparison are one alarm; faster is as false as slower; live and resampled apart."""
    found = [
        trial(cell(0), cell(1)),
        trial(cell(0, Verdict.SLOWER, 1.1), cell(1, Verdict.FASTER, 0.9)),
        trial(cell(0, Verdict.FASTER, 0.9), live=False),
        trial(cell(0, Verdict.INCONCLUSIVE, 1.03)),
    ]
    (row,) = identical(found)
    assert (row.live, row.resampled, row.alarms_live, row.alarms_resampled, row.cells) == (3, 1, 1, 1, 5)
    assert row.coverage == pytest.approx(2 / 5)
    assert row.inconclusive == pytest.approx(3 / 5)
    assert row.alarm_rate_high == pytest.approx(stats.binomtest(1, 3).proportion_ci(0.95).high)


def test_detections_by_path_and_slowdown():
    """Single cells are counted; a path's rates do not mix with the other's."""
    found = [
        trial(cell(0, Verdict.SLOWER), cell(1), slowdown=0.05),
        trial(cell(0, Verdict.SLOWER), cell(1, Verdict.FASTER), slowdown=0.05),
        trial(cell(0, Verdict.SLOWER), slowdown=0.05, path=t.COMPARE),
        trial(cell(0), slowdown=0.02),
    ]
    rows = {(d.path, d.slowdown): d for d in detections(found)}
    assert (rows[t.AB, 0.05].cells, rows[t.AB, 0.05].found, rows[t.AB, 0.05].wrong) == (4, 2, 1)
    assert rows[t.COMPARE, 0.05].rate == 1
    assert rows[t.AB, 0.02].found == 0


@pytest.mark.parametrize(
    ("rates", "seen"),
    [
        ({0.02: 0.5, 0.05: 0.9, 0.1: 1.0}, 0.05),
        ({0.02: 1.0, 0.05: 0.5, 0.1: 1.0}, 0.1),
        ({0.05: 0.1}, None),
        ({}, None),
    ],
)
def test_the_smallest_slowdown_that_is_seen(rates, seen):
    """Nine times in ten, and every larger one too: luck at 2 % does not count where 5 % was missed."""
    found = [
        trial(*(cell(0, Verdict.SLOWER if n < 10 * rate else Verdict.SAME) for n in range(10)), slowdown=slowdown)
        for slowdown, rate in rates.items()
    ]
    assert smallest_seen(detections(found), t.AB) == seen


def test_share_intervals():
    """Clopper and Pearson: none in a hundred is not never."""
    assert share_interval(0, 100) == pytest.approx((0, 0.0362), abs=1e-4)
    assert share_interval(0, 0) == (0, 1)


def simulated(rng, count, *, noise=0.01, off=0.0):
    """Live comparisons of identical code, six epochs a cell."""
    return [trial(*(cell(n, logs=rng.normal(off, noise, 6)) for n in range(6))) for _ in range(count)]


def test_resampled_comparisons_keep_whole_processes():
    """Of honest noise nearly none alarms; of a bias in every process nearly all do: resampling does not wash it out."""
    rng = np.random.default_rng(0)
    honest = list(resampled_live(LIVE, simulated(rng, 5), 40))
    assert len(honest) == 40
    assert not any(found.live for found in honest)
    assert sum(c.verdict in (Verdict.SLOWER, Verdict.FASTER) for found in honest for c in found.cells) <= 2
    biased = resampled_live(LIVE, simulated(rng, 5, off=0.1), 10)
    assert all(c.verdict is Verdict.SLOWER for found in biased for c in found.cells)


def test_resampled_runs_never_share_a_process():
    """Two sides of three processes each need six, and where there are fewer there is no comparison."""
    rng = np.random.default_rng(1)
    sides = [noisy(rng, cells=10) for _ in range(4)]
    found = list(resampled_stored(sides, Thresholds(Threshold(0.05)), 0.01, 20))
    assert len(found) == 20
    assert sum(c.verdict in (Verdict.SLOWER, Verdict.FASTER) for f in found for c in f.cells) <= 1
    assert list(resampled_stored(sides[:1], USUAL, 0.01, 20)) == []


def test_trials_survive_a_torn_last_line(tmp_path):
    """What was appended is read back; the line that a crash cut is passed over; damage elsewhere is told."""
    kept = [trial(cell(0, logs=(0.1, 0.2))), trial(cell(1), path=t.COMPARE, slowdown=0.05)]
    for one in kept:
        t.append(tmp_path, one)
    assert t.read_trials(tmp_path) == kept
    file = tmp_path / t.TRIALS
    whole = file.read_text()
    file.write_text(whole[:-20])
    assert t.read_trials(tmp_path) == kept[:1]
    file.write_text("x" + whole)
    with pytest.raises(UnreadableResults, match="line 1"):
        t.read_trials(tmp_path)


def test_noise_is_what_compare_reads(tmp_path):
    """The floor is the smallest slowdown that was seen; the variances are those of the runs."""
    rng = np.random.default_rng(2)
    sides = [noisy(rng, cells=20) for _ in range(4)]
    slowed = [trial(*[cell(0, Verdict.SLOWER, 1.1)] * 10, path=t.COMPARE, slowdown=0.1)]
    noise = learn([trial(cell(0), path=t.COMPARE), *slowed], sides, STORED, "here")
    assert noise is not None
    write(tmp_path / "noise.json", noise)
    read = read_noise(tmp_path / "noise.json")
    assert read.floor == 0.1
    assert read.prior is not None
    assert 0 < read.prior.variance < 0.01
    assert read.common is not None
    assert 1 <= read.between_runs < 1.5
    assert learn([], [], STORED, "here") is None


def test_noise_tells_how_runs_differ_beyond_their_processes():
    """Four pairs of runs of one cell, each moved by 5 % against the other while processes scatter by 1 %."""
    rng = np.random.default_rng(4)
    sides = [noisy(rng, cells=1, processes=4, slower={0: np.exp(rng.normal(0, 0.05))}) for _ in range(40)]
    noise = learn([trial(cell(0), path=t.COMPARE)], sides, STORED, "here")
    assert noise is not None
    assert 4 < noise["between_runs"] < 20


def test_reports_hold_the_numbers():
    """Markdown tables have as many cells in each row as in the header; JSON holds no number that JSON lacks."""
    found = [*simulated(np.random.default_rng(3), 2), trial(cell(0, Verdict.SLOWER, 1.05), slowdown=0.05)]
    tables = [line for line in audit_markdown(found, {}).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {12, 9}
    data = json.loads(audit_json([*found, trial(path=t.COMPARE)], {}))
    assert data["identical"][0]["live"] == 2
    assert data["identical"][1]["coverage"] is None
    assert data["detections"][0]["rate"] == 1
    assert not any(isinstance(v, float) and math.isnan(v) for v in data["identical"][0].values())


def test_a_run_knows_what_an_audit_of_its_machine_kept(tmp_path, monkeypatch):
    """The floor goes into the rows, and the file beside the run, where `compare` finds it; on other CPUs it is not known."""
    kept = tmp_path / "kept.json"
    monkeypatch.setattr(run_command, "noise_of_machine", lambda cpus: kept if len(cpus) == 1 else tmp_path / "none")
    write(kept, {"floor": 0.04, "prior": {"variance": 1e-4, "freedom": 9.0}, "common": None})
    folder = RunFolder.create(tmp_path / "run", STORED)
    assert run_command._noise_floor(STORED, folder) == 0.04
    assert noise_beside(folder.path) == folder.path / "noise.json"
    everywhere = dataclasses.replace(STORED, cpus=())
    assert run_command._noise_floor(everywhere, folder) is None
    assert noise_of_machine((1,)) != noise_of_machine(())
    folder.close()
