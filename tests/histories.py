"""Histories with known truths: folders of many runs with planted changes, and series of noise alone."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.records import to_csv
from tests.planted import ENVIRONMENT, edited, record

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


def commit(number):
    """A made-up commit, 40 digits."""
    return f"{number:07x}" + "0" * 33


def when(day):
    """The time of a run, as environment.json has it."""
    return (START + timedelta(days=day)).isoformat()


def environment(day, **changes):
    """Of the run of a day: a commit a day, made and measured then."""
    made = edited(ENVIRONMENT, time=when(day), revision={"commit": commit(day), "modified": False, "time": when(day)})
    return edited(made, **changes)


def plant_run(folder, rows, told=None):
    """A run folder without samples, as results/history has them. Returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.csv").write_text(to_csv(rows), encoding="utf-8")
    if told is not None:
        (folder / "environment.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def plant(folder, *, runs=16, cells=10, noise=0.01, steps=None, told=None, change=None, seed=0):
    """A folder of runs, one a day. Returns it.

    `steps`: cell -> {run: ratio}, from that run on. `told(run)`: its environment. `change(run, cell, record)`: the row that
    is written, or None for none.
    """
    rng = np.random.default_rng(seed)
    level = np.zeros(cells)
    for run in range(runs):
        for cell, at in (steps or {}).items():
            level[cell] += math.log(at.get(run, 1.0))
        rows = []
        for cell in range(cells):
            median = 1e-3 * (cell + 1) * math.exp(level[cell] + rng.normal(0, noise))
            row = record(
                f"case-{cell}", run_id=f"run-{run}", median_s=float(f"{median:.9g}"), ci_low_s=median * 0.99,
                ci_high_s=median * 1.01,
            )  # fmt: skip
            rows.append(row if change is None else change(run, cell, row))
        plant_run(folder / f"{run:03d}", [row for row in rows if row is not None], (told or environment)(run))
    return folder


def noise(rng, cells, runs, kind, scatter=0.03):
    """Log times (cells, runs) where nothing changes.

    "normal": alike and independent; "uneven": cells that differ in how they scatter, and runs that are slow or fast as a
    whole; "heavy": the same with the tails of Student's t with 3 degrees of freedom; "drifting": the same with neighbours that
    correlate by 0.4.
    """
    draws = (
        rng.standard_t(3, size=(cells, runs)) / math.sqrt(3) if kind == "heavy" else rng.standard_normal((cells, runs))
    )
    if kind == "normal":
        return scatter * draws
    if kind == "drifting":
        for run in range(1, runs):
            draws[:, run] = 0.4 * draws[:, run - 1] + math.sqrt(1 - 0.4**2) * draws[:, run]
    own = scatter * np.exp(rng.normal(0, 0.5, size=(cells, 1)))
    return own * draws + scatter * rng.standard_t(4, size=runs) / math.sqrt(2)
