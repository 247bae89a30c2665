"""Suites: named lists of cases, data and no code. One module each, with CASES and a line that says what it is for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.cases import Case

PROCESSES = {"smoke": 1}
"""Fresh processes of each framework, where it is not the usual number."""
USUAL_PROCESSES = 2
BLOCK_S = {"smoke": 0.028}
"""Seconds of a timed block, where it is not the usual length."""
USUAL_BLOCK_S = 0.1
"""Long enough that a run of `default` is in timed blocks for seven tenths of its time: starting, first calls and checking take
what they take. With blocks of 28 ms it took half as long and timed a third as much.
"""
LEFT_TO_ASK = ("keras_jax", "keras_torch")
"""Frameworks that a suite takes only where they are asked for, and `full` always. What Keras calls there is timed as jax's
and torch's own already; the two would make smoke half as long again, and add several minutes to default.
"""

SUITES = {
    "smoke": "every framework that need not be asked for, in less than a minute",
    "default": "the main job: the shapes that models use, ten to twenty minutes on two cores",
    "decode": "one new token over a growing cache",
    "masks": "what masks, biases, windows and lengths cost",
    "scaling": "self-attention from 128 keys upwards, doubling",
    "llm": "prefill shapes of named models",
    "flash": "the grid of the FlashAttention papers",
    "full": "all of the above",
}


def leaves_out(name: str) -> tuple[str, ...]:
    """The frameworks that a suite takes only where they are asked for."""
    return () if name == "full" else LEFT_TO_ASK


def load(name: str) -> tuple[Case, ...]:
    """The cases of a suite. KeyError for an unknown one."""
    if name not in SUITES:
        raise KeyError(f"unknown suite {name!r}, expected one of {', '.join(SUITES)}")
    if name == "full":
        return tuple({c.name: c for suite in SUITES if suite != "full" for c in load(suite)}.values())
    cases: tuple[Case, ...] = importlib.import_module(f"benchmarks.suites.{name}").CASES
    return cases
