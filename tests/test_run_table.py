"""The table that `run` prints: within its width, with the memory of each cell in words."""

from __future__ import annotations

import pytest

from benchmarks.harness.state import State
from benchmarks.reports.terminal import WIDTH, console, run_table
from benchmarks.reports.text import megabytes, share
from tests.planted import record


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "< 4 MB"),
        (3_999_999, "< 4 MB"),
        (4_000_000, "4.00 MB"),
        (33_554_432, "33.6 MB"),
        (999_400_000, "999 MB"),
        (999_600_000, "1.00 GB"),
        (123_400_000_000, "123 GB"),
    ],
)
def test_memory_in_words(value, text):
    """Three digits and a unit; nothing where nothing was measured, and no false precision below the resolution."""
    assert megabytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.0, "0%"), (0.004, "<1%"), (0.424, "42%"), (1.04, "104%"), (9.99, "999%"), (12.0, ">999%")],
)
def test_shares_in_words(value, text):
    """Whole per cent, five characters at most; nothing where nothing is known."""
    assert share(value) == text


def printed(*args):
    """The lines of a table."""
    screen = console()
    with screen.capture() as captured:
        screen.print(run_table(*args))
    return captured.get().splitlines()


ROOFS = State(matmul_gflops={"float32": {"numpy": 100.0, "jax": 80.0}}, gb_per_s={"numpy": 8.0, "jax": 10.0})
"""Memory limits what has fewer than ten operations for each byte."""


def test_a_rate_is_in_the_unit_of_what_limits_the_case():
    """Bytes where memory is the roof, operations where arithmetic is; and what part of the limit it is."""
    many = record("many", gflops=50.0, gb_per_s=4.94, peak_fraction=0.5, flops=10_001, moved_bytes=1000)
    few = record("few", gflops=77.7, gb_per_s=9.25, peak_fraction=0.925, flops=9999, moved_bytes=1000)
    old = record("old", gflops=33.3, gb_per_s=1.5)
    lines = [" ".join(line.split()) for line in printed([many, few, old], ROOFS)]
    heads = [line for line in lines if line.startswith("implementation")]
    start, end = "implementation median 95% int. x best", "of limit first call err/bound memory"
    assert heads == [f"{start} {unit} {end}" for unit in ("GFLOP/s", "GB/s", "GFLOP/s")]
    told = [line.rpartition(" 1.00 ")[2] for line in lines if line.startswith("*")]
    assert told == ["50.0 50% 0.1", "9.25 92% 0.1", "33.3 0.1"]


def test_each_machine_has_its_own_roofs():
    """What memory limits on one, arithmetic may limit on the other."""
    state = State(
        machines={"a-1": ROOFS, "b-2": State(matmul_gflops={"float32": {"numpy": 1.0}}, gb_per_s={"numpy": 9.0})}
    )
    work = {"gflops": 7.0, "gb_per_s": 3.0, "flops": 5000, "moved_bytes": 1000}
    lines = printed([record(machine=name, **work) for name in ("a-1", "b-2")], state)
    units = [line.split()[6] for line in lines if "implementation" in line]
    assert units == ["GB/s", "GFLOP/s"]


def test_the_widest_row_fits():
    """The longest id, and in each column the longest that it can hold: nothing is cut off."""
    row = record(
        implementation="tf_keras/attention-function",
        median_s=0.1234,
        ci_low_s=0.05,
        ci_high_s=0.9,
        gflops=1234.5,
        peak_fraction=12.0,
        first_call_s=123.4,
        error_over_bound=0.00012345,
        peak_memory_bytes=123_456_789,
    )
    slow = record(median_s=123.4, peak_memory_bytes=None)
    screen = console()
    with screen.capture() as captured:
        screen.print(run_table([row, slow]))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= WIDTH
    for words in (
        "tf_keras/attention-function",
        " memory",
        " 123 MB",
        " >999%",
        " 1234 ",
        " 0.00012",
        " 123 s",
        " 1000 ",
    ):
        assert any(words in line for line in lines), words


def test_accelerators_have_columns_of_their_own():
    """What the device took, warm and cold, and its rate; those of a machine without one stay as they are."""
    row = record(
        median_s=2.5e-5, flops=10**9, device_s=7e-6, device_cold_s=7.9e-6, device_clock="events", peak_fraction=0.196
    )
    bare = record(implementation="torch/naive", case="case-0", median_s=1e-4)
    screen = console()
    with screen.capture() as captured:
        screen.print(run_table([row, bare, record(case="case-1")]))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= WIDTH
    told = next(line.split() for line in lines if "numpy/naive" in line)
    assert "1.00 7.00 us 7.90 us 143 70%" in " ".join(told)  # of a limit that the whole call reaches a fifth of
    assert " device   cold L2  TFLOP/s  limit" in captured.get()
    with screen.capture() as captured:
        screen.print(run_table([record()]))
    assert "cold" not in captured.get()


def test_of_what_memory_limits_an_accelerator_shows_bytes():
    """While the device works."""
    row = record(median_s=2.5e-5, flops=10**6, moved_bytes=7_000_000, device_s=7e-6, device_cold_s=7.9e-6)
    lines = printed([row], ROOFS)
    assert " TB/s " in lines[1]
    assert " 7.90 us     1.00 " in lines[2]
