"""Run folders of any size, made up: what `compare`, `show`, `report` and `merge` are measured with.

python -m tests.big_run /tmp/a --cells 50000 --blocks 5                      # 50,000 cells, 1,000,000 sample rows
python -m tests.big_run /tmp/b --cells 50000 --blocks 5 --seed 1 --slower 3  # the same cells anew, the first 3 slowed
python -m tests.big_run /tmp/c --cells 10000                                 # 10,000 cells, 280,000 sample rows

From a test: `write_run(folder, cells=200, seed=1)`. The same arguments give the same bytes. `--first` numbers the cells from
there on, so that two runs have none in common (shards). Every eighth cell has no time where `--refused` is given.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import Record, Status, to_csv

IMPLEMENTATIONS = (
    "numpy/naive", "numpy/blocked", "tf_keras/attention", "tf_keras/keras-ops", "jax/naive", "jax/naive-jit", "jax/nn",
    "torch/naive", "torch/sdpa-flash", "torch/sdpa-math",
)  # fmt: skip
SLOWDOWN = 1.25
_CANARY_S = 1e-6
_BLOCK_S = 0.03


def write_run(
    folder: Path,
    *,
    cells: int,
    processes: int = 4,
    blocks: int = 7,
    seed: int = 0,
    slower: int = 0,
    first: int = 0,
    refused: bool = False,
    machine: str = "made up",
) -> Path:
    """Write summary.csv, samples.csv and environment.json; `blocks` are those of each process. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    number = np.arange(first, first + cells)
    timed = np.full(cells, True) if not refused else number % 8 != 7
    rng = np.random.default_rng(seed)
    size = (int(timed.sum()), processes, blocks)
    canary_s = _CANARY_S * np.exp(np.abs(rng.normal(0, 0.02, size)))
    per_call_s = _truth_s(number[timed])[:, None, None] * (canary_s / _CANARY_S)
    per_call_s *= np.exp(rng.normal(0, 0.01, (*size[:2], 1)) + rng.normal(0, 0.02, size))
    per_call_s[:slower] *= SLOWDOWN
    calls = np.maximum(1, (_BLOCK_S / per_call_s.mean(axis=(1, 2))).astype(np.int64))
    rows = iter(zip(per_call_s, calls, strict=True))
    records = [_record(int(n), folder.name, next(rows) if ok else None) for n, ok in zip(number, timed, strict=True)]
    (folder / "summary.csv").write_text(to_csv(records), encoding="utf-8")
    _write_samples(folder / "samples.csv", [r for r in records if r.status is Status.OK], per_call_s, canary_s, calls)
    (folder / "environment.json").write_text(json.dumps(_environment(machine), indent=1), encoding="utf-8")
    return folder


def _truth_s(number: np.ndarray) -> np.ndarray:
    """From 10 us to 100 ms, the same for a cell in every run."""
    return 10 ** (-5 + 4 * ((number * 0.6180339887498949) % 1))


def _record(number: int, run_id: str, measured: tuple[np.ndarray, int] | None) -> Record:
    implementation = IMPLEMENTATIONS[number % len(IMPLEMENTATIONS)]
    known: dict[str, Any] = {"status": Status.UNSUPPORTED, "reason": "no soft cap"}
    if measured is not None:
        per_call_s, calls = measured
        median_s = float(np.exp(np.log(np.median(per_call_s, axis=1)).mean()))
        known = {
            "status": Status.OK,
            "median_s": median_s,
            "ci_low_s": min(median_s, float(np.quantile(per_call_s, 0.25))),
            "ci_high_s": max(median_s, float(np.quantile(per_call_s, 0.75))),
            "min_s": float(per_call_s.min()),
            "q25_s": float(np.quantile(per_call_s, 0.25)),
            "q75_s": float(np.quantile(per_call_s, 0.75)),
            "samples": calls * per_call_s.size,
            "blocks": per_call_s.size,
            "processes": len(per_call_s),
            "first_call_s": 2 * median_s,
            "gflops": 0.1 / median_s / 1e9,
            "peak_memory_bytes": 2**23,
            "max_abs_error": 1e-7,
            "error_over_bound": 0.05,
            "error_over_naive": 1.0,
            "median_raw_s": float(np.median(per_call_s)),
            "flops": 10**8,
            "moved_bytes": 10**6,
        }
    length = 16 * (1 + number // len(IMPLEMENTATIONS))
    return Record(
        run_id=run_id,
        suite="made-up",
        case=f"case-{number // len(IMPLEMENTATIONS):06d}",
        framework=implementation.partition("/")[0],
        implementation=implementation,
        device="cpu",
        dtype="float32",
        B=1,
        T=length,
        S=length,
        N=8,
        K=8,
        H=64,
        V=64,
        threads="1",
        layout="BTNH",
        jit="eager",
        kernel="made up",
        **known,
    )


def _write_samples(
    file: Path, timed: list[Record], per_call_s: np.ndarray, canary_s: np.ndarray, calls: np.ndarray
) -> None:
    """One line for each block, as a run writes them."""
    cells, processes, blocks = per_call_s.shape
    counted = [(p, b, p * blocks + b) for p in range(processes) for b in range(blocks)]
    places = [",".join(map(str, place)) for place in counted]
    seconds = (per_call_s * calls[:, None, None]).reshape(cells, -1)
    with file.open("w", encoding="utf-8") as out:
        out.write("case,implementation,device,pass,process,block,order,calls,seconds,canary_s,per_call_s\n")
        times = (of_cell.reshape(cells, -1).tolist() for of_cell in (seconds, canary_s, per_call_s))
        for record, count, *own_s in zip(timed, calls, *times, strict=True):
            key = ",".join(record.key)
            lines = zip(places, *own_s, strict=True)
            out.writelines(f"{key},{place},{count},{s:.9g},{c:.9g},{p:.9g}\n" for place, s, c, p in lines)


def _environment(machine: str) -> dict[str, Any]:
    frameworks = dict.fromkeys(i.partition("/")[0] for i in IMPLEMENTATIONS)
    known = {"status": "ok", "reason": "", "version": "1.0", "devices": ["cpu"], "settings": {}}
    return {
        "schema_version": 1,
        "time": "2026-01-01T00:00:00+00:00",
        "python": "3.11.7",
        "machine": {"cpu": machine, "architecture": "x86_64", "cores_logical": 2, "memory_bytes": 2**34},
        "variables": {},
        "frameworks": dict.fromkeys(frameworks, known),
        "matmul_gflops": {"float32": dict.fromkeys(frameworks, 100.0)},
        "cpus": [1],
    }


def main() -> None:
    """Write one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--refused", action="store_true")
    parser.add_argument("--machine", default="made up")
    for name, usual in (("processes", 4), ("blocks", 7), ("seed", 0), ("slower", 0), ("first", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    print(write_run(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
