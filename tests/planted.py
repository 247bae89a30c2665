"""Runs with known truths: sides in memory and run folders on disk, with planted slowdowns, noise and faults."""

from __future__ import annotations

import csv
import io
import json

import numpy as np

from benchmarks.cases import case
from benchmarks.comparison.side import Side
from benchmarks.comparison.thresholds import Threshold, Thresholds
from benchmarks.records import Record, Status, describe, to_csv
from benchmarks.run_folder import SAMPLE_COLUMNS

ENVIRONMENT = {
    "schema_version": 1,
    "python": "3.11.7",
    "machine": {
        "cpu": "AMD EPYC",
        "cpu_kind": "family 25 model 1 avx2",
        "architecture": "x86_64",
        "cores_physical": 2,
        "cores_logical": 2,
        "cores_allowed": 2,
        "cpu_quota": None,
        "memory_bytes": 25276514304,
        "system": "Linux",
        "kernel": "6.18.44",
    },
    "variables": {},
    "revision": {"commit": "abc", "modified": False},
    "frameworks": {
        "numpy": {
            "status": "ok",
            "version": "numpy 2.4.6",
            "devices": ["cpu"],
            "settings": {"threads": "2", "blas": "openblas 0.3.31 SkylakeX"},
            "variables": {},
            "own_variables": {},
        }
    },
    "matmul_gflops": {"float32": {"numpy": 200.0}},
}


def usual(relative=0.05, floor_s=0.0, overrides=()):
    """Thresholds."""
    return Thresholds(Threshold(relative, floor_s), tuple(overrides))


def record(name="case-0", implementation="numpy/naive", **changes):
    """A row that is ok and took a millisecond unless told otherwise."""
    row = {
        "run_id": "r",
        "suite": "planted",
        "framework": "numpy",
        "implementation": implementation,
        "device": "cpu",
        "status": Status.OK,
        "median_s": 1e-3,
        "threads": "2",
        "layout": "BTNH",
        "matmul_precision": "as the dtype",
        "jit": "eager",
        "error_over_bound": 0.1,
        **describe(case(name, "here", T=4, N=2, H=8)),
    }
    row |= changes
    if row["status"] is not Status.OK:
        row |= {"median_s": None, "reason": row.get("reason") or "because"}
    return Record(**row)


def side(*records, logs=None, label="run", environment=None):
    """A side in memory; `logs`: case name -> log seconds of its processes."""
    found = {r.key: r for r in records}
    times = {key: tuple(logs[key[0]]) for key in found if logs and key[0] in logs}
    return Side(label=label, records=found, logs=times, environment=environment or {})


def noisy(rng, *, cells=20, processes=3, noise=0.01, slower=None, label="run"):
    """A side whose processes scatter by `noise` (one number, or one per cell); `slower`: cell number -> ratio."""
    scales = np.broadcast_to(noise, cells)
    logs, records = {}, []
    for number in range(cells):
        middle = np.log(1e-3 * (number + 1) * (slower or {}).get(number, 1.0))
        logs[f"case-{number}"] = tuple(rng.normal(middle, scales[number], processes))
        median = float(np.exp(np.median(logs[f"case-{number}"])))
        records.append(record(f"case-{number}", median_s=median, processes=processes))
    return side(*records, logs=logs, label=label)


def write_run(
    folder,
    *,
    seed=0,
    cells=4,
    processes=3,
    blocks=4,
    noise=0.002,
    slower=None,
    environment=None,
    change=None,
    laps=True,
):
    """A run folder. `change`: called with each Record, gives the one that is written. `laps`: whether blocks tell their
    middle lap, and a block's seconds are then twice as many. Returns the folder.
    """
    rng = np.random.default_rng(seed)
    records, lines = [], []
    for number in range(cells):
        middle = 1e-3 * (number + 1) * (slower or {}).get(number, 1.0)
        per_process = middle * np.exp(rng.normal(0, noise, processes))
        per_call = per_process[:, None] * np.exp(rng.normal(0, noise, (processes, blocks)))
        seconds = np.array([[float(f"{x:.9g}") for x in row] for row in per_call * 10])
        median = float(np.median(seconds / 10))
        made = record(
            f"case-{number}", median_s=median, ci_low_s=median * 0.99, ci_high_s=median * 1.01, min_s=median * 0.9,
            samples=seconds.size * 10, blocks=seconds.size, processes=processes,
        )  # fmt: skip
        made = change(made) if change else made
        records.append(made)
        place = (made.case, made.implementation, made.device, made.pass_)
        lines += [
            (*place, p, b, b, 10, f"{seconds[p, b] * (1 + laps):.9g}", "1e-06", f"{seconds[p, b] / 10:.9g}")[
                : 10 + laps
            ]
            for p in range(processes)
            for b in range(blocks)
        ]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([SAMPLE_COLUMNS[: 10 + laps], *lines])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.csv").write_text(to_csv(records), encoding="utf-8")
    (folder / "samples.csv").write_text(out.getvalue(), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(environment or ENVIRONMENT), encoding="utf-8")
    return folder


def pytest_benchmark(times, **extra):
    """What --benchmark-json writes, for cells named as in `times`: name -> seconds per call of each round."""
    return {
        "machine_info": {
            "machine": "x86_64", "system": "Linux", "release": "6.18.44", "python_version": "3.11.7",
            "cpu": {"brand_raw": "AMD EPYC", "count": 2},
        },
        "commit_info": {"id": "abc"},
        "benchmarks": [
            {
                "name": name,
                "extra_info": {
                    "case": name, "implementation": "numpy/naive", "device": "cpu", "pass": "forward", "status": "ok", **extra,
                },
                "stats": {"median": float(np.median(rounds)), "data": list(rounds)},
            }
            for name, rounds in times.items()
        ],
        "version": "5.3.1",
    }  # fmt: skip


def edited(environment, **changes):
    """A copy of an environment; `machine__cpu="X"` sets environment["machine"]["cpu"]."""
    copy = json.loads(json.dumps(environment))
    for path, value in changes.items():
        *tables, last = path.split("__")
        place = copy
        for table in tables:
            place = place[table]
        place[last] = value
    return copy
