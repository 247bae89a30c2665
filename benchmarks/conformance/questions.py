"""A probe's cases with their inputs and what the oracle says: made once, and asked of every implementation of a framework."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from backends import reference
from backends.accuracy import Expected, naive_error, score_errors
from backends.backward import expect_all
from backends.visibility import visible
from benchmarks import inputs as seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.problem import Inputs, Semantics
    from benchmarks.cases import Case


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """A case with its oracle."""

    inputs: Inputs
    expected: Mapping[str, Expected]
    naive: float | None
    """Largest error of the textbook form (see accuracy.naive_error); of 16-bit outputs."""


@functools.lru_cache(maxsize=256)
def question(case: Case, seed: int) -> Question:
    """The question that a case and a seed make."""
    inputs = seeded.make(case, seed)
    if seed and inputs.kv_lengths is not None:  # lengths are the case's: of another problem they are in another order
        inputs.kv_lengths = inputs.kv_lengths[::-1].copy()
    expected = expect_all(inputs, case.semantics)
    is_narrow = case.dtype in ("bfloat16", "float16") and not case.backward
    return Question(inputs, expected, naive_error(inputs, case.semantics, expected["output"]) if is_narrow else None)


def poisoned(inputs: Inputs, case: Case, which: str) -> Inputs:
    """The same inputs with NaN and Inf, in turn, in every key or value that no query of its batch element sees."""
    seen = visible(inputs, case.semantics).any(axis=(1, 2))
    hidden = ~np.broadcast_to(seen, (inputs.shape.B, inputs.shape.S))
    array = getattr(inputs, which).copy()
    array[hidden] = np.resize([np.nan, np.inf], array.shape[-1])
    return dataclasses.replace(inputs, **{which: array})


def expect_log_sum_exp(inputs: Inputs, semantics: Semantics) -> Expected:
    """The log-sum-exp of the scores, (B,T,N), and its bound: it is off by what the scores are, weighted by their softmax.

    It is to be kept in the width of the sums: its own roundoff is that of a product.
    """
    shape = inputs.shape
    size = (shape.B, shape.T, shape.N)
    exact, per_product, per_score = np.zeros(size), np.zeros(size), np.zeros(size)
    worst_product = worst_score = 0.0
    for block in reference.rows(inputs, semantics):
        from_product, from_score = score_errors(block, semantics, shape.H)
        own = np.where(np.isfinite(block.log_sum_exp), np.abs(block.log_sum_exp), 0.0)
        highest = np.abs(block.scores.max(axis=-1, initial=0.0, where=block.seen))
        exact[block.at] = block.log_sum_exp
        per_product[block.at] = (block.probability * from_product).sum(axis=-1) + np.sqrt(shape.S) + own + highest
        per_score[block.at] = (block.probability * from_score).sum(axis=-1)
        worst_product = max(worst_product, float(from_product.max(where=block.probability > 0, initial=0.0)))
        worst_score = max(worst_score, float(from_score.max(where=block.probability > 0, initial=0.0)))
    coefficients = {"product": per_product, "score": per_score, "output": np.zeros(size)}
    return Expected(exact, coefficients, worst_product, worst_score, "log-sum-exps", "b,t,n")
