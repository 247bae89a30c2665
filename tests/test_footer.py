"""What stands under the table: within 100 columns, and nothing where there is nothing to tell."""

from __future__ import annotations

import io

from rich.console import Console

from benchmarks.cases import case
from benchmarks.harness.state import State
from benchmarks.reports.footer import footer
from benchmarks.reports.terminal import WIDTH
from tests.test_records import record

CASES = [case(f"length-{n}", "here", T=n) for n in (128, 1024, 2048, 4096, 8192)]


def printed(cases, records, state):
    """The lines, as they are printed."""
    out = Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False, emoji=False)
    out.print(footer(cases, records, state))
    lines = out.file.getvalue().splitlines()
    assert max(map(len, lines), default=0) <= WIDTH
    return [" ".join(line.split()) for line in lines if line.strip()]


def test_limits_with_all_dtypes_fit():
    """Four dtypes, memory and the empty call, one row a framework; what a framework does not have is a dash."""
    rates = {d: {"numpy": 100.0, "keras_torch": 40.0} for d in ("float32", "float64", "bfloat16")}
    state = State(matmul_gflops={**rates, "float16": {"keras_torch": 1234.5}}, gb_per_s={"numpy": 9.87})
    state.call_overhead_s = {"keras_torch": 1.234e-6, "torch": 5.5e-8}
    lines = printed(CASES, [], state)
    assert lines[0].endswith("memory GB/s empty call")
    assert lines[1:3] == ["numpy 100 100 100 - 9.87 -", "keras_torch 40.0 40.0 40.0 1234 - 1.23 us"]
    assert lines[3] == "torch - - - - - 55.0 ns"
    assert "Much is left on the table: float32 matmul: keras_torch at 0.40 of numpy's rate." in lines


def test_growth_and_compiling():
    """Exponents by ladder, of time and, where it is known, of memory; and a line for each compiled implementation."""
    rows = []
    for c in CASES:
        square = c.shape.S**2
        cell = {"case": c.name, "framework": "torch"}
        compiled = {"median_s": 1e-9 * square, "first_call_s": 3.0, "peak_memory_bytes": 64 * c.shape.S}
        rows.append(record(**cell, implementation="torch/naive", median_s=3e-9 * square, first_call_s=1.0))
        rows.append(record(**cell, implementation="torch/naive-compile", **compiled))
    lines = printed(CASES, rows, State())
    assert lines[0] == "length-128 to length-8192"
    assert lines[2] == "torch/naive 2.00 1024-8192 -"
    assert lines[3] == "torch/naive-compile 2.00 1024-8192 1.00 2048-8192"
    assert lines[-1] == ("torch/naive-compile beside naive: worth compiling after 15 to 61036 calls (5 cases)")


def test_compiling_that_never_pays():
    """Said so, with how often; in some cases only, too."""
    slow = {"framework": "jax", "median_s": 2.0, "first_call_s": 2.0}
    fast = {"framework": "jax", "median_s": 1.0, "first_call_s": 1.0}
    rows = [
        record(case="a", implementation="jax/naive-jit", **slow),
        record(case="a", implementation="jax/naive", **fast),
    ]
    assert printed([], rows, State()) == ["jax/naive-jit beside naive: never worth compiling here (1 case)"]
    rows += [
        record(case="b", implementation="jax/naive-jit", **fast),
        record(case="b", implementation="jax/naive", **slow),
    ]
    assert printed([], rows, State()) == [
        "jax/naive-jit beside naive: worth compiling from the first call on (1 case, never in 1)"
    ]


def test_nothing_to_tell():
    """No limits, no ladder, no twins: no line."""
    assert printed([], [record()], State()) == []
