"""The oracle's answer to a case, computed once by a worker of its own and shared with the others as a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from backends.accuracy import Expected, expect, naive_error
from benchmarks import inputs as seeded
from benchmarks import work
from benchmarks.cases import Case
from benchmarks.harness.protocol import Message

_ARRAYS = ("out", "per_product", "per_score", "value_mass", "value_sum")


def compute(case: Case, seed: int, file: Path, *, only_expected: bool) -> Message:
    """Run the oracle, write its arrays to `file`, return what the parent needs: the work and the textbook's error."""
    inputs = seeded.make(case, seed)
    expected = expect(inputs, case.semantics)
    save(expected, file)
    if only_expected:
        return {}
    naive = 0.0 if case.dtype == "float64" else naive_error(inputs, case.semantics, expected)
    return {"naive_error": naive, **dataclasses.asdict(work.count(case, inputs))}


def save(expected: Expected, file: Path) -> None:
    """Write atomically. Coefficients of the bound need no more than float32."""
    arrays = {name: getattr(expected, name) for name in _ARRAYS}
    small = {name: array if name == "out" else array.astype(np.float32) for name, array in arrays.items()}
    scalars = np.array([expected.score_product, expected.score_score, expected.keys])
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, scalars=scalars, **small)
    part.rename(file)


def read(file: Path) -> Expected:
    """The inverse of save."""
    with np.load(file, allow_pickle=False) as data:
        product, score, keys = data["scalars"]
        return Expected(
            **{name: data[name] for name in _ARRAYS},
            score_product=float(product),
            score_score=float(score),
            keys=int(keys),
        )
