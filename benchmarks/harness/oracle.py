"""The oracle's answer to a case, computed once by a worker of its own and shared with the others as a file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from backends.accuracy import Expected, naive_error
from backends.backward import expect_all
from benchmarks import inputs as seeded
from benchmarks import work

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.cases import Case
    from benchmarks.harness.protocol import Message

_OUT, _SCALARS, _WORDS = "out", "scalars", "words"


def compute(case: Case, seed: int, file: Path, *, only_expected: bool) -> Message:
    """Run the oracle, write its arrays to `file`, return what the parent needs: the work and the textbook's error."""
    inputs = seeded.make(case, seed)
    expected = expect_all(inputs, case.semantics)
    save(expected, file)
    if only_expected:
        return {}
    # FlashAttention's rule is about outputs; and against float64 there is no textbook form to be better than.
    is_ruled = case.dtype != "float64" and inputs.upstream is None
    naive = naive_error(inputs, case.semantics, expected["output"]) if is_ruled else 0.0
    return {"naive_error": naive, **dataclasses.asdict(work.count(case, inputs))}


def save(expected: Mapping[str, Expected], file: Path) -> None:
    """Write atomically. Coefficients of the bound need no more than float32."""
    arrays: dict[str, np.ndarray] = {}
    for name, known in expected.items():
        arrays[f"{name}/{_OUT}"] = known.out
        arrays[f"{name}/{_SCALARS}"] = np.array([known.score_product, known.score_score])
        arrays[f"{name}/{_WORDS}"] = np.array([known.what, known.axes])
        arrays |= {f"{name}/{unit}": array.astype(np.float32) for unit, array in known.coefficients.items()}
    part = file.with_suffix(".part")
    try:
        with part.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        part.rename(file)
    except OSError:
        part.unlink(missing_ok=True)  # half an answer on a full disk leaves no room for a smaller one
        raise


def read(file: Path) -> dict[str, Expected]:
    """The inverse of save."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(file, allow_pickle=False) as data:
        for place in data.files:
            name, _, field = place.partition("/")
            found.setdefault(name, {})[field] = data[place]
    return {name: _expected(fields) for name, fields in found.items()}


def _expected(fields: dict[str, np.ndarray]) -> Expected:
    product, score = fields.pop(_SCALARS)
    what, axes = fields.pop(_WORDS)
    out = fields.pop(_OUT)
    return Expected(out, fields, float(product), float(score), str(what), str(axes))
