"""Suites, harness, records, statistics, reports and the command line. Importing this imports no framework and no pandas.

benchmarks.load(RUN)          the cells of a run as a pandas DataFrame
benchmarks.load_samples(RUN)  its timed blocks
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.frames import load, load_samples

__all__ = ["load", "load_samples"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'benchmarks' has no attribute {name!r}")
    return getattr(importlib.import_module("benchmarks.frames"), name)
