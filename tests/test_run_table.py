"""The table that `run` prints: within its width, with the memory of each cell in words."""

from __future__ import annotations

import pytest

from benchmarks.reports.terminal import WIDTH, console, run_table
from benchmarks.reports.text import megabytes
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


def test_the_widest_row_fits():
    """The longest id, and in each column the longest that it can hold: nothing is cut off."""
    row = record(
        implementation="tf_keras/attention-function",
        median_s=0.1234,
        ci_low_s=0.05,
        ci_high_s=0.9,
        gflops=1234.5,
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
    for words in ("tf_keras/attention-function", " memory", " 123 MB", " 0.00012", " 123 s", " 1000 "):
        assert any(words in line for line in lines), words


def test_accelerators_have_columns_of_their_own():
    """What the device took, warm and cold, and its rate; those of a machine without one stay as they are."""
    row = record(median_s=2.5e-5, flops=10**9, device_s=7e-6, device_cold_s=7.9e-6, device_clock="events")
    bare = record(implementation="torch/naive", case="case-0", median_s=1e-4)
    screen = console()
    with screen.capture() as captured:
        screen.print(run_table([row, bare, record(case="case-1")]))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= WIDTH
    told = next(line.split() for line in lines if "numpy/naive" in line)
    assert "1.00 7.00 us 7.90 us 143" in " ".join(told)
    assert " device   cold L2  TFLOP/s" in captured.get()
    with screen.capture() as captured:
        screen.print(run_table([record()]))
    assert "cold" not in captured.get()
