"""Runs to make pages of: a ladder of lengths in both passes, foreign names, many cells."""

from __future__ import annotations

import copy
import json

from benchmarks.records import Status, to_csv
from tests.planted import ENVIRONMENT, record

HOSTILE = (
    "<script>document.title='taken'</script>",
    "</script><script>document.title='taken'</script>",
    "{{7*7}}",
    "\"double\" 'single' & amp",
    "\u202eturned round\u202c",
    "x" * 10_000,
    "<img src=x onerror=alert(1)>",
    "<!-- `comment`",
    "line\u2028separator\u2029",
    "__proto__",
)
FRAMEWORKS = ("numpy", "torch", "jax", "tf_keras", "onnxruntime")


def environment(**changes):
    """environment.json as a run writes it, with limits of two frameworks."""
    found = copy.deepcopy(ENVIRONMENT) | {
        "cpus": [1],
        "wall_s": 60.0,
        "timed_s": 30.0,
        "time": "2026-01-01T00:00:00+00:00",
    }
    found["matmul_gflops"] = {"float32": {"numpy": 200.0, "torch": 80.0}}
    found["stream_gb_per_s"] = {"numpy": 30.0}
    found["call_overhead_s"] = {"numpy": 3.7e-8}
    return found | changes


def write_run(folder, records, told=None):
    """A run folder with these cells; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.csv").write_text(to_csv(records), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(environment() if told is None else told), encoding="utf-8")
    return folder


def timed(name, implementation, seconds, **changes):
    """A cell that took so long, with all that a page draws."""
    row = {
        "framework": implementation.partition("/")[0],
        "median_s": seconds,
        "ci_low_s": 0.98 * seconds,
        "ci_high_s": 1.03 * seconds,
        "first_call_s": 3 * seconds,
        "gflops": 50.0,
        "gb_per_s": 12.5,
        "peak_fraction": 0.25,
        "peak_memory_bytes": 20_000_000,
        "error_over_naive": 1.1,
        "flops": 10**9,
        "moved_bytes": 10**6,
        "blocks": 24,
        "processes": 2,
    }
    return record(name, implementation, **(row | changes))


def ladder():
    """Eight lengths in both passes, time ~ S^2; of the cells one is wrong, one refused, one failed, one not tried."""
    records = []
    for pass_, factor in (("forward", 1), ("forward_backward", 3)):
        for S in (128, 256, 512, 1024, 2048, 4096, 8192, 16384):
            name = f"self-{S}" if factor == 1 else f"train-{S}"
            for implementation, scale in (("numpy/blocked", 1.0), ("torch/sdpa-flash", 0.5), ("jax/nn", 2.0)):
                changes = {"T": S, "S": S, "pass_": pass_}
                seconds = scale * factor * 1e-9 * S**2
                changes |= {"peak_memory_bytes": 8 * S**2, "flops": 256 * S**2 * factor, "moved_bytes": 4096 * S}
                records.append(timed(name, implementation, seconds, **changes))
    faults = {
        7: {"status": Status.INCORRECT, "reason": "error 3.2 times its bound"},
        10: {"status": Status.UNSUPPORTED, "reason": "no such thing"},
        13: {"status": Status.CRASHED, "reason": "killed by signal 9"},
        21: {"status": Status.TIMEOUT, "reason": "not tried: a call would take 4 s"},
    }
    for place, changes in faults.items():
        old = records[place]
        shape = {"T": old.T, "S": old.S, "pass_": old.pass_, "framework": old.framework}
        records[place] = record(old.case, old.implementation, **shape, **changes)
    return records


def hostile():
    """Every foreign name as a case, an implementation, a framework, a reason and a kernel."""
    records = []
    for i, case in enumerate(HOSTILE):
        for j, name in enumerate(HOSTILE):
            if (i + j) % 5 == 4:
                changes = {"status": Status.INCORRECT, "reason": HOSTILE[i * j % len(HOSTILE)]}
                records.append(record(case, f"torch/{name}", framework="torch", **changes))
            else:
                framework = name if j % 3 == 0 else "numpy"
                records.append(timed(case, f"numpy/{name}", 1e-3 * (1 + i + j), framework=framework, kernel=case))
    return records


def hostile_environment():
    """Foreign words wherever words may stand, and other things where numbers should."""
    return environment(
        machine={"cpu": HOSTILE[1], "cores_allowed": "many"},
        variables={HOSTILE[0]: HOSTILE[2]},
        frameworks={"numpy": {"status": "ok", "version": f"{HOSTILE[6]}\ud800"}},
        matmul_gflops={"float32": {"numpy": "fast", "<b>": 3}},
        stream_gb_per_s=[1],
        call_overhead_s={"numpy": "short", "<b>": 1e-7},
        handicaps=[{"variable": HOSTILE[0], "gflops": 1, "gflops_without": 2, "framework": HOSTILE[1]}, 7],
        load_average="abc",
        time=[1],
        revision={"commit": {"a": 1}},
        wall_s="long",
    )


def many(cells):
    """So many cells, twenty implementations of each case."""
    return [
        timed(
            f"case-{i // 20:04d}",
            f"{FRAMEWORKS[i % 5]}/form-{i % 20:02d}",
            1e-4 * (1 + i * 7919 % 1000),
            T=64 + i // 20,
            S=64 + i // 20,
            dtype=("float32", "bfloat16")[i // 20 % 2],
            peak_memory_bytes=1_000_000 + i * 104_729 % 10**9,
            peak_fraction=(1 + i * 31 % 97) / 100,
            error_over_bound=(1 + i * 17 % 89) / 100,
        )
        for i in range(cells)
    ]
