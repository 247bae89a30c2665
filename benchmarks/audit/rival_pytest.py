"""What pytest-benchmark is given to time: `benchmarks.audit.rivals` runs it, with a pytest.ini that is not this project's."""

from __future__ import annotations

from typing import Any

from benchmarks.audit.rival_work import timed_call


def test_cell(benchmark: Any) -> None:
    """The cell."""
    with timed_call() as call:
        benchmark(call)
