"""What "correct" means: a bound on the error of each output element, built from the roundoffs an implementation declares.

A first-order analysis of softmax(scale*QK' + bias) V. With scores S, probabilities P and unit roundoffs u, each element of
the output may be off by

    (P o (E + rowsum(P o E))) |V|  +  (u_probability + sqrt(S) u_product) P|V|  +  u_output |O|  +  underflow
    E = sqrt(H) u_product |scale| |Q||K|'  +  u_score |S|  +  u_score |bias|  +  u_product |S - m|

(`o` elementwise, m the row's maximum; sqrt instead of n for the roundoff of a sum of n terms: the probabilistic bound of
Higham and Mary, 2019). E is linear in the roundoffs, so the oracle computes the coefficient of each once per case and
every implementation's bound is a weighted sum of the same arrays. A failure then means "not the arithmetic you claim",
while growth of the error with large scores is allowed for. The oracle's own roundoff in float64 is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends import reference
from backends.parts import array_of
from backends.problem import Inputs, Semantics

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
SMALLEST = {"float64": 2.0**-1074, "float32": 2.0**-149, "bfloat16": 2.0**-133, "float16": 2.0**-24}
SMALLEST_NORMAL = {"float64": 2.0**-1022, "float32": 2.0**-126, "bfloat16": 2.0**-126, "float16": 2.0**-14}
_ROUNDED_AT_ONCE = 1 << 15
"""Numbers, and half a dozen arrays of as many in between: all in the second-level cache."""
ILL_CONDITIONED = 0.1
"""Largest error of a score (in nats) up to which the first-order analysis holds."""


@dataclass(frozen=True, slots=True)
class Roundoffs:
    """The arithmetic that an implementation claims, as unit roundoffs (2**-24 for float32, 2**-8 for bfloat16, ...)."""

    product: float
    """Of the sums inside both matrix products and of the exponential, which is the accumulator's."""
    score: float
    """Of the scores as stored before the softmax, times the number of times they are rounded."""
    probability: float
    """Of the probabilities as they enter the second product, times the number of times they are rounded."""
    output: float
    """Of the output."""
    smallest: float = 0.0
    """Smallest positive number of the probabilities' format; what underflows is lost."""

    @classmethod
    def of(
        cls,
        dtype: str,
        *,
        accumulate: str | None = None,
        score: str | None = None,
        probability: str | None = None,
        roundings: int = 2,
        flushes: bool = False,
    ) -> Roundoffs:
        """Roundoffs of formats named by stage; `roundings` per stored score and probability; defaults: all in `dtype`.

        accumulate: the format of sums (float32 is usual for bfloat16 and float16); score: in which scores are stored;
        probability: in which probabilities enter the second product; flushes: subnormal numbers become zero.
        """
        u = UNIT_ROUNDOFF
        stored = probability or dtype
        return cls(
            product=u[accumulate or dtype],
            score=roundings * u[score or dtype],
            probability=roundings * u[stored],
            output=u[dtype],
            smallest=max(SMALLEST[stored], SMALLEST[dtype], SMALLEST_NORMAL[accumulate or dtype] if flushes else 0.0),
        )


@dataclass(slots=True)
class Expected:
    """What the oracle says about one array (the output, or a gradient) and the coefficients of its error bound."""

    out: np.ndarray
    """float64; the output is (B,T,N,V)."""
    coefficients: Mapping[str, np.ndarray]
    """Name of a roundoff -> what the bound grows by for each unit of it, per element. Of `output` it is |out| where absent."""
    score_product: float
    """Largest coefficient of u_product in E, anywhere."""
    score_score: float
    """Largest coefficient of u_score in E, anywhere."""
    what: str = "outputs"
    axes: str = "b,t,n,v"
    at: tuple[tuple[int, int], ...] = ()
    """Which part of the array it is about, first and one past the last of each axis; empty: all of it. See backends.parts."""
    whole: tuple[int, ...] = ()
    """Shape of the array that it is a part of."""
    _bounds: dict[Roundoffs, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def bound(self, roundoffs: Roundoffs) -> np.ndarray:
        """Largest allowed |array - oracle|, per element."""
        if roundoffs not in self._bounds:  # implementations with the same claim share it
            self._bounds[roundoffs] = self._bound(roundoffs) + self._bound(Roundoffs.of("float64"))
        return self._bounds[roundoffs]

    def _bound(self, u: Roundoffs) -> np.ndarray:
        # float64 factors: products with a bound of subnormal size do not vanish in the coefficients' float32.
        total: np.ndarray = (
            u.output * np.abs(self.out) if "output" not in self.coefficients else np.zeros(self.out.shape)
        )
        for name, coefficient in self.coefficients.items():
            total += np.float64(getattr(u, name)) * coefficient
        return total

    def score_error(self, u: Roundoffs) -> float:
        """Largest error of a score, in nats: the bound is meaningful up to ILL_CONDITIONED."""
        return u.product * self.score_product + u.score * self.score_score


def expect(inputs: Inputs, semantics: Semantics) -> Expected:
    """The output, by the oracle in float64, and the coefficients of its bound, for which float32 is plenty."""
    shape = inputs.shape
    size = (shape.B, shape.T, shape.N, shape.V)
    out = np.zeros(size)
    per_product, per_score, mass, total = (np.zeros(size, np.float32) for _ in range(4))
    worst: list[tuple[float, float]] = []

    def work(block: reference.Rows) -> None:
        from_product, from_score = score_errors(block, semantics, shape.H)
        probability, value = block.probability.astype(np.float32), block.head.value_sizes
        out[block.at] = reference.weighted_sum(block)
        per_product[block.at] = through_softmax(probability, from_product) @ value
        per_score[block.at] = through_softmax(probability, from_score) @ value
        mass[block.at] = probability @ value
        total[block.at] = block.seen.astype(np.float32) @ value
        # Only scores that carry weight can spoil the first-order analysis.
        heavy = probability > 0
        worst.append(
            (float(from_product.max(where=heavy, initial=0.0)), float(from_score.max(where=heavy, initial=0.0)))
        )

    reference.each_rows(work, inputs, semantics)
    per_product += np.float32(np.sqrt(shape.S)) * mass
    coefficients = {"product": per_product, "score": per_score, "probability": mass, "smallest": total + np.float32(1)}
    worst_product, worst_score = (max(column) for column in zip((0.0, 0.0), *worst, strict=True))
    return Expected(out, coefficients, worst_product, worst_score)


def score_errors(block: reference.Rows, semantics: Semantics, H: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of u_product and u_score in the error E of each score; 0 where not seen."""
    with np.errstate(invalid="ignore", over="ignore"):
        query, capped, scores = (a.astype(np.float32) for a in (block.query, block.capped, block.scores))
        size = np.abs(query) @ block.head.key_sizes.T
        size *= np.float32(abs(block.scale) * np.sqrt(H))
        if semantics.softcap is not None:
            size *= 1 - np.square(capped / np.float32(semantics.softcap))
        below = scores.max(axis=-1, keepdims=True, initial=-np.inf) - scores
        below[~np.isfinite(below)] = 0.0
        stored = np.abs(capped)
        if block.bias is not None:
            stored += np.where(np.isfinite(block.bias), np.abs(block.bias), 0.0)
        hidden = ~block.seen
        size += below
        size[hidden] = 0.0
        stored[hidden] = 0.0
        return size, stored


def through_softmax(probability: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Error of each probability from the errors of the scores: P o (E + rowsum(P o E))."""
    weighted = probability * error
    carried: np.ndarray = weighted + probability * weighted.sum(axis=-1, keepdims=True)
    return carried


@dataclass(frozen=True, slots=True)
class Judgement:
    """How one output stands against the oracle."""

    correct: bool
    reason: str
    """Empty when correct; else what was got, what was expected and where."""
    max_abs_error: float
    error_over_bound: float
    rmse_over_rms: float


def judge(out: np.ndarray, dtype: str, expected: Expected, roundoffs: Roundoffs) -> Judgement:
    """Hold an array, in any float format that contains its numbers, to the oracle.

    `dtype` is the output's own; `roundoffs` are the implementation's. Never raises: a wrong shape is a judgement too.
    """
    shape = expected.whole or expected.out.shape
    if out.shape != shape:
        return _wrong(f"{expected.what} have shape {out.shape}, expected {shape}")
    out = out[tuple(slice(first, last) for first, last in expected.at)]
    if out.size == 0:
        return Judgement(True, "", 0.0, 0.0, 0.0)
    score_error = expected.score_error(roundoffs)
    if score_error > ILL_CONDITIONED:
        return _wrong(
            f"ill-conditioned in {dtype}: scores may be off by {score_error:.2g} nats (analysis holds to {ILL_CONDITIONED})"
        )
    bound = expected.bound(roundoffs)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        error = np.asarray(np.abs(out.astype(np.float64) - expected.out))  # of a scalar bias it is a number
        error[(out == expected.out)] = 0.0  # equal infinities
        over = np.asarray(error / bound)
    if not (np.isfinite(over.max()) and np.isfinite(bound.max())):  # rare, and half of the time of judging
        # A bound of 0 is met by what is exact; NaN is far off; a bound that overflowed excuses nothing.
        over = np.where(error == 0, 0.0, np.nan_to_num(over, nan=np.inf, posinf=np.inf))
        over[~np.isfinite(bound) & (error != 0)] = np.inf
    at = tuple(int(i) for i in np.unravel_index(int(over.argmax()), over.shape))
    worst = float(over[at])
    rms = float(np.sqrt(np.mean(np.square(expected.out))))
    rmse = float(np.sqrt(np.mean(np.square(error))))
    relative = rmse / rms if rms > 0 else rmse
    biggest = float(error.max())
    if worst <= 1:
        return Judgement(True, "", biggest, worst, relative)
    first = tuple(int(i) for i in np.unravel_index(int((over > 1).argmax()), over.shape))
    place = tuple(i + start for i, (start, _) in zip(first, expected.at, strict=True)) if expected.at else first
    wrong = int(np.count_nonzero(over > 1))
    reason = (
        f"{wrong} of {over.size} {expected.what} out of bound; first at ({expected.axes})={place}: got {out[first]:.6g}, "
        f"expected {expected.out[first]:.6g} +- {float(bound[first]):.2g}"
    )
    return Judgement(False, reason, biggest, worst, relative)


def judge_all(
    found: Mapping[str, tuple[np.ndarray, str]], dtype: str, expected: Mapping[str, Expected], roundoffs: Roundoffs
) -> Judgement:
    """Everything that a call returned (name -> array, its dtype) against everything expected: the worst of them decides."""
    judgements = []
    for answer, oracle_says in expected.items():
        name = array_of(answer)
        array, own = found.get(name, (None, ""))
        if array is None:
            return _wrong(f"{oracle_says.what}: none returned")
        if own != dtype:
            return _wrong(f"{name if name == 'output' else oracle_says.what} is {own}, expected {dtype}")
        judgements.append(judge(array, dtype, oracle_says, roundoffs))
    wrong = next((j for j in judgements if not j.correct), None)
    if wrong is not None:
        return wrong
    return Judgement(
        True,
        "",
        max(j.max_abs_error for j in judgements),
        max(j.error_over_bound for j in judgements),
        max(j.rmse_over_rms for j in judgements),
    )


def _wrong(reason: str) -> Judgement:
    return Judgement(False, reason, float("nan"), float("nan"), float("nan"))


def round_to(array: np.ndarray, dtype: str) -> np.ndarray:
    """The nearest numbers of `dtype` (ties to even); bfloat16 is held in float32."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    # Some numbers at a time: what is in between stays in the cache, and needs no fresh memory.
    numbers = array.reshape(-1)
    out = np.empty(numbers.size, np.float32)
    for first in range(0, numbers.size, _ROUNDED_AT_ONCE):
        some = slice(first, first + _ROUNDED_AT_ONCE)
        out[some] = _to_bfloat16(numbers[some])
    return out.reshape(array.shape)


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.float64:
        array = _round_to_odd(array)
    bits = np.array(array, np.float32, order="C").view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return np.where(np.isnan(array), np.float32(np.nan), rounded.astype(np.uint32).view(np.float32))


def _round_to_odd(array: np.ndarray) -> np.ndarray:
    """float64 as float32 whose last bit tells that something was cut off: rounding once more is then as rounding once."""
    with np.errstate(over="ignore", invalid="ignore"):
        near = array.astype(np.float32)
        below = np.where(np.abs(near) > np.abs(array), np.nextafter(near, np.float32(0)), near).astype(np.float32)
    inexact = (below.astype(np.float64) != array) & np.isfinite(array)
    bits = np.array(below, order="C").view(np.uint32)
    odd: np.ndarray = np.where(inexact, bits | 1, bits).astype(np.uint32).view(np.float32)
    return odd


def naive_error(inputs: Inputs, semantics: Semantics, expected: Expected) -> float:
    """Largest error of the textbook computation in the problem's own dtype: the yardstick of FlashAttention's tests.

    Scores, probabilities and output are each rounded to the dtype; sums are kept in float32 (float64 for float64 inputs),
    as hardware does. The rule (flash-attention, tests/test_flash_attn.py): a good kernel is off by at most twice this.
    """
    wide: Any = np.float64 if inputs.dtype == "float64" else np.float32

    def rounded(array: np.ndarray) -> np.ndarray:
        return round_to(array.astype(wide), inputs.dtype).astype(wide)

    worst = [0.0]

    def work(block: reference.Rows) -> None:
        scores = rounded(block.query.astype(wide) @ block.key.astype(wide).T)
        scores = rounded(scores * wide(block.scale))
        if semantics.softcap is not None:
            scores = rounded(wide(semantics.softcap) * np.tanh(scores / wide(semantics.softcap)))
        if block.bias is not None:
            scores = rounded(scores + block.bias.astype(wide))
        scores = np.where(block.seen, scores, -np.inf)
        highest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(highest == -np.inf, 0, highest))
        total = weights.sum(axis=-1, keepdims=True)
        probability = rounded(weights / np.where(total == 0, 1, total))
        out = rounded(probability @ np.nan_to_num(block.value.astype(wide)))
        with np.errstate(invalid="ignore"):
            worst.append(float(np.abs(out - expected.out[block.at]).max(initial=0.0)))

    reference.each_rows(work, inputs, semantics)
    return max(worst)
