"""The oracle's answer to a case, computed once by a worker of its own and shared with the others as a file.

A large problem is answered in part: whole key/value heads, each exactly, the first, the last, and others drawn from the seed.
The fresh inputs that a cell is held to after the clock have another seed, and so other heads.
"""

from __future__ import annotations

import ctypes
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from backends.accuracy import Expected, naive_error
from backends.backward import expect_all, wanted
from backends.parts import drawn, parts_of
from backends.visibility import intervals
from benchmarks import inputs as seeded
from benchmarks import work

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from backends.parts import Part
    from backends.problem import Inputs, Semantics, Shape
    from benchmarks.cases import Case
    from benchmarks.harness.protocol import Message

_OUT, _SCALARS, _WORDS, _PLACE = "out", "scalars", "words", "place"
ANSWERED_SCORES, ANSWERED_BACKWARD = 1 << 28, 1 << 26
"""Pairs of query and key, as causal and windows leave them, up to which all heads are answered, forward, and forward and
backward: some ten seconds of one core, and what a gradient takes longer.
"""
_FEWEST_PARTS = 3
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Ask glibc not to give freed arrays back to the kernel: the oracle takes and frees megabytes for each block of rows, and
    fresh pages cost it half of its time. For its own worker; elsewhere nothing of the kind is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_trim_threshold, _KEPT_BYTES)
        mallopt(m_mmap_threshold, _KEPT_BYTES)


def compute(case: Case, seed: int, file: Path, *, only_expected: bool) -> Message:
    """Run the oracle, write its arrays to `file`, return what the parent needs: the work, the textbook's error, and how
    many heads were answered.
    """
    inputs = seeded.make(case, seed)
    parts = answered(inputs, case.semantics, seed)
    shape = inputs.shape
    # FlashAttention's rule is about outputs; and against float64 there is no textbook form to be better than.
    is_ruled = not only_expected and case.dtype != "float64" and inputs.upstream is None
    if len(parts) == shape.B * shape.K:
        expected = expect_all(inputs, case.semantics)
        naive = naive_error(inputs, case.semantics, expected["output"]) if is_ruled else 0.0
    else:
        expected, naive = _in_part(case, inputs, parts, is_ruled=is_ruled)
    save(expected, file)
    if only_expected:
        return {}
    told = {"heads": len(parts), "of_heads": shape.B * shape.K}
    return {"naive_error": naive, **told, **dataclasses.asdict(work.count(case, inputs))}


def answered(inputs: Inputs, semantics: Semantics, seed: int) -> list[Part]:
    """The parts of a problem that are answered. All, where the gradient of a bias is wanted that several heads share."""
    shape = inputs.shape
    if "bias" in wanted(inputs):
        return parts_of(shape)
    return drawn(shape, heads_answered(shape, semantics, backward=inputs.upstream is not None), seed)


def heads_answered(shape: Shape, semantics: Semantics, *, backward: bool) -> int:
    """How many key/value heads of all batch elements, at most."""
    first, last = intervals(shape.T, shape.S, semantics.causal, semantics.window)
    pairs = int(np.maximum(last - first, 0).sum())
    every, most = shape.B * shape.K, ANSWERED_BACKWARD if backward else ANSWERED_SCORES
    of_one = max(1, pairs * shape.N // shape.K)
    return every if every * of_one <= most else min(every, max(_FEWEST_PARTS, most // of_one))


def _in_part(case: Case, inputs: Inputs, parts: list[Part], *, is_ruled: bool) -> tuple[dict[str, Expected], float]:
    every: dict[str, Expected] = {}
    worst = 0.0
    for part in parts:
        own = part.of(inputs)
        expected = expect_all(own, case.semantics)
        if is_ruled:
            worst = max(worst, naive_error(own, case.semantics, expected["output"]))
        every |= {part.named(name): part.place(name, told, inputs.shape) for name, told in expected.items()}
    return every, worst


def save(expected: Mapping[str, Expected], file: Path) -> None:
    """Write atomically. Coefficients of the bound need no more than float32."""
    arrays: dict[str, np.ndarray] = {}
    for name, known in expected.items():
        arrays[f"{name}/{_OUT}"] = known.out
        arrays[f"{name}/{_SCALARS}"] = np.array([known.score_product, known.score_score])
        arrays[f"{name}/{_WORDS}"] = np.array([known.what, known.axes])
        place = [(*bounds, size) for bounds, size in zip(known.at, known.whole, strict=True)]
        arrays[f"{name}/{_PLACE}"] = np.array(place)
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
    place = [tuple(map(int, row)) for row in fields.pop(_PLACE)]
    at, whole = tuple((first, last) for first, last, _ in place), tuple(size for *_, size in place)
    return Expected(out, fields, float(product), float(score), str(what), str(axes), at, whole)
