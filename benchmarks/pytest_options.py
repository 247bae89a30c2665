"""What `pytest benchmarks/bench_attention.py` may be asked for: a plug-in of pytest, so that no conftest.py is needed.

Given with `-p benchmarks.pytest_options`; the words are those of `python -m benchmarks run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """--suite, --case, --implementation and --plugin."""
    group = parser.getgroup("attnbench")
    group.addoption("--suite", default="smoke", help="suite of cases (default: %(default)s)")
    for name, metavar, says in (
        ("case", "GLOB", "only cases that match"),
        ("implementation", "GLOB", "only implementations that match"),
        ("plugin", "FILE", "a Python file with implementations of your own"),
    ):
        group.addoption(f"--{name}", action="append", default=[], metavar=metavar, help=f"{says} (repeatable)")
