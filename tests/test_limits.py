"""The roofline: the lower of two measured roofs; and the frameworks that stay far below them."""

from __future__ import annotations

import numpy as np
import pytest

from backends import registry
from benchmarks.harness.state import State
from benchmarks.limits import attainable_gflops, far_behind, matmul_limit, memory_is_the_roof
from benchmarks.records import Record, from_csv, to_csv
from benchmarks.results import to_records
from tests.test_records import record
from tests.test_run_folder import EVENTS, PLAN, folded

RATES = {"float32": {"numpy": 100.0, "torch": 80.0}, "float16": {"torch": 5.0}, "bfloat16": {"torch": 300.0}}
MEMORY = {"numpy": 8.0, "torch": 10.0}


@pytest.mark.parametrize(
    ("flops", "moved_bytes", "limit"),
    [
        (2000, 1000, 20.0),  # 2 operations per byte at 10 GB/s
        (10_000, 1000, 100.0),  # the ridge
        (10**9, 1000, 100.0),
        (0, 1000, 100.0),  # a case without a visible pair is bound by nothing that is counted
        (2000, 0, 100.0),
    ],
)
def test_the_lower_roof_holds(flops, moved_bytes, limit):
    """Memory below the ridge, arithmetic above; each the best of the frameworks."""
    assert attainable_gflops(flops, moved_bytes, "float32", RATES, MEMORY) == limit


def test_half_precision_may_be_widened():
    """Where the processor has no arithmetic for it, float32's product is the limit; where it has, its own."""
    assert matmul_limit("float16", RATES) == 100.0
    assert matmul_limit("bfloat16", RATES) == 300.0
    assert matmul_limit("float64", RATES) is None
    assert matmul_limit("float32", {"float16": {"torch": 5.0}}) is None


def test_without_rates_the_limit_is_less_or_unknown():
    """A run that measured no memory has the product alone; one that measured no product has none."""
    assert attainable_gflops(2000, 1000, "float32", RATES, {}) == 100.0
    assert attainable_gflops(2000, 1000, "float32", {}, MEMORY) is None


def test_which_roof_it_is():
    """Memory below ten operations a byte; arithmetic above, and where anything is not known."""
    state = State(matmul_gflops=RATES, gb_per_s=MEMORY)
    told = {
        flops: memory_is_the_roof(record(flops=flops, moved_bytes=1000), state) for flops in (1, 9999, 10_000, 10**6)
    }
    assert told == {1: True, 9999: True, 10_000: False, 10**6: False}
    assert not memory_is_the_roof(record(), state)
    assert not memory_is_the_roof(record(flops=1, moved_bytes=1000), State(matmul_gflops=RATES))
    assert not memory_is_the_roof(record(flops=1, moved_bytes=1000), State(gb_per_s=MEMORY))


def test_rows_are_held_to_the_roofline():
    """The planted case does 1000 operations on 500 bytes: memory at 4 GB/s allows 8 GFLOP/s, not 100."""
    stream = {"event": "stream", "framework": "numpy", "gb_per_s": 4.0}
    row = to_records(PLAN, folded([stream, *EVENTS[:8]]), "r")[0]
    assert row.peak_fraction == pytest.approx(1000 / 0.11 / 1e9 / 8)


def test_every_row_carries_its_work():
    """Operations and bytes of the case, in failed rows too; a file from before reads as none."""
    rows = to_records(PLAN, folded(EVENTS[:8]), "r")
    assert {(r.flops, r.moved_bytes) for r in rows} == {(1000, 500)}
    assert [(r.flops, r.moved_bytes) for r in from_csv(to_csv(rows), "here")] == [(1000, 500)] * 2
    text = to_csv([record()]).replace(",flops,moved_bytes", "")
    old: Record = from_csv("\n".join(line.removesuffix(",,") for line in text.splitlines()), "here")[0]
    assert (old.flops, old.moved_bytes) == (None, None)


def test_half_of_anothers_rate_is_told():
    """From half downwards, by dtype and for memory; nothing where all are near, or alone."""
    state = State(matmul_gflops={"float32": {"jax": 40.0, "torch": 51.0, "numpy": 100.0}, "float16": {"torch": 5.0}})
    state.gb_per_s = {"jax": 10.0, "onnxruntime": 2.0}
    assert far_behind(state) == [
        "Much is left on the table: float32 matmul: jax at 0.40 of numpy's rate.",
        "Much is left on the table: reading memory: onnxruntime at 0.20 of jax's rate.",
    ]
    assert far_behind(State()) == []
    assert far_behind(State(matmul_gflops={"float32": {"jax": 51.0, "numpy": 100.0}})) == []


def test_a_stream_reads_what_it_says(framework_name):
    """The product of ones and ones is the width, in float32, for each row."""
    module = registry.load(framework_name)
    out = module.stream(48, 32, "cpu")()
    module.barrier(out)
    assert module.dtype_of(out) == "float32"
    assert np.array_equal(module.to_numpy(out).reshape(-1), np.full(48, 32, np.float32))
