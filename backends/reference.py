"""The oracle: attention in float64 NumPy, written to be read.

Every implementation is held to this one. It runs on the already rounded inputs, so that what is judged is the arithmetic
and not the rounding of the inputs. No framework can be the oracle: JAX and Keras run the softmax in float32 even when the
inputs are float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from backends.numpy_threads import spread, threads
from backends.problem import Inputs, Semantics, Shape, Window
from backends.validation import validate
from backends.visibility import as_four, in_sight, intervals, visible

Place = tuple[int, slice, int]
"""Index into (B,T,N): batch, rows, query head."""
_SCORES_AT_ONCE = 1 << 19
"""Scores that a thread holds at a time (4 MiB as float64), whatever the length: the oracle's memory stays flat."""
_SPREAD_FROM = 1 << 22
"""Scores of a problem from which on threads share the work."""


@dataclass(slots=True)
class Head:
    """Keys and values that a query head of a batch element reads, as each block of its rows needs them."""

    key: np.ndarray
    """float64 (S,H)."""
    value: np.ndarray
    """float64 (S,V)."""
    key_sizes: np.ndarray
    """float32 (S,H), without their signs."""
    value_sizes: np.ndarray
    """float32 (S,V), without their signs; 0 where not finite."""
    is_finite: bool
    """Whether all values are."""

    def part(self, keys: slice) -> Head:
        """What some of the keys hold. Views, no copies."""
        return Head(
            self.key[keys], self.value[keys], self.key_sizes[keys], self.value_sizes[keys], is_finite=self.is_finite
        )


@dataclass(slots=True)
class Rows:
    """Some query rows of one head of one batch element, with everything the oracle knows about them (t rows, s keys)."""

    at: Place
    keys: slice
    """Those from the first to the last that any of the rows may see: causal and windows leave out the others."""
    query: np.ndarray
    """(t,H)."""
    head: Head
    """Of these keys."""
    scale: float
    capped: np.ndarray
    """(t,s) scores after scale and softcap, before bias and mask."""
    bias: np.ndarray | None
    """(t,s) or broadcastable to it."""
    seen: np.ndarray
    """bool (t,s)."""
    scores: np.ndarray
    """(t,s) with bias; -inf where not seen."""
    probability: np.ndarray
    """(t,s) softmax over the seen keys; 0 in a row that sees none."""
    log_sum_exp: np.ndarray
    """(t,); -inf in a row that sees no key."""

    @property
    def key(self) -> np.ndarray:
        """(s,H) of the key/value head that this query head reads."""
        return self.head.key

    @property
    def value(self) -> np.ndarray:
        """(s,V)."""
        return self.head.value


def rows(inputs: Inputs, semantics: Semantics, at: Iterable[Place] | None = None) -> Iterator[Rows]:
    """Walk the problem, or these blocks of it, in blocks of query rows, in float64, one head after the other."""
    head = lru_cache(maxsize=1)(lambda b, n: _head(inputs, b, n))
    for b, block, n in places(inputs.shape, semantics) if at is None else at:
        yield _rows(inputs, semantics, (b, block, n), head(b, n))


def each_rows(work: Callable[[Rows], None], inputs: Inputs, semantics: Semantics) -> None:
    """The same walk for work that writes to its own rows alone: large problems are shared by threads."""
    head = lru_cache(maxsize=threads() + 1)(lambda b, n: _head(inputs, b, n))

    def one(b: int, block: slice, n: int) -> None:
        work(_rows(inputs, semantics, (b, block, n), head(b, n)))

    spread(one, list(places(inputs.shape, semantics)), threads_for(inputs.shape))


def threads_for(shape: Shape) -> int:
    """How many share the work on such a problem."""
    return threads() if shape.B * shape.N * shape.T * shape.S >= _SPREAD_FROM else 1


def places(shape: Shape, semantics: Semantics) -> Iterator[Place]:
    """Where the blocks of rows are: batch, rows, query head. As many rows as their scores leave room for, of keys in sight."""
    step = max(1, _SCORES_AT_ONCE // max(1, shape.S))
    first, last = intervals(shape.T, shape.S, semantics.causal, semantics.window)
    sight = int((last - first).max(initial=1))
    if 0 < sight <= shape.S // 2:  # so many rows of a window have twice as many keys in sight
        step = max(step, min(sight, _SCORES_AT_ONCE // (2 * sight)))
    for b in range(shape.B):
        for n in range(shape.N):
            for start in range(0, shape.T, step):
                yield b, slice(start, min(start + step, shape.T)), n


def _head(inputs: Inputs, b: int, n: int) -> Head:
    shape = inputs.shape
    k = n // (shape.N // shape.K)
    key, value = inputs.key[b, :, k].astype(np.float64), inputs.value[b, :, k].astype(np.float64)
    finite = np.isfinite(value)
    sizes = np.abs(np.where(finite, value, 0.0)).astype(np.float32)
    with np.errstate(over="ignore"):
        return Head(key, value, np.abs(key.astype(np.float32)), sizes, bool(finite.all()))


def _rows(inputs: Inputs, semantics: Semantics, at: Place, head: Head) -> Rows:
    b, block, n = at
    scale = inputs.shape.H**-0.5 if semantics.scale is None else float(semantics.scale)
    query = inputs.query[b, block, n].astype(np.float64)
    keys = in_sight(inputs, semantics, block, slice(b, b + 1))
    head = head.part(keys)
    seen = visible(inputs, semantics, block, slice(b, b + 1), slice(n, n + 1), keys)[0, 0]
    with np.errstate(invalid="ignore", over="ignore"):
        capped = query @ head.key.T
        capped *= scale
        if semantics.softcap is not None:
            capped = semantics.softcap * np.tanh(capped / semantics.softcap)
    bias = _bias_rows(inputs, b, n, block, keys)
    scores = capped if bias is None else capped + bias
    scores = np.where(seen, scores, -np.inf)
    probability, log_sum_exp = _softmax(scores)
    return Rows(at, keys, query, head, scale, capped, bias, seen, scores, probability, log_sum_exp)


def _bias_rows(inputs: Inputs, b: int, n: int, block: slice, keys: slice) -> np.ndarray | None:
    if inputs.bias is None:
        return None
    bias = as_four(inputs.bias)
    of_head = bias[b % bias.shape[0], n % bias.shape[1]]
    t, s = (slice(None) if size == 1 else part for size, part in zip(of_head.shape, (block, keys), strict=True))
    return of_head[t, s].astype(np.float64)


def _softmax(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Softmax and log-sum-exp over the last axis; a row of -inf gives zeros and -inf."""
    if scores.shape[-1] == 0:
        return scores, np.full(scores.shape[:-1], -np.inf)
    highest = scores.max(axis=-1, keepdims=True)
    highest = np.where(highest == -np.inf, 0.0, highest)
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - highest)
    total = weights.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_sum_exp = (highest + np.log(total))[..., 0]
        probability = np.where(total == 0, 0.0, weights / np.where(total == 0, 1.0, total))
    return probability, log_sum_exp


def weighted_sum(block: Rows) -> np.ndarray:
    """probability @ value, (t,V), in which a NaN or Inf in a value reaches only the queries that see it."""
    if block.head.is_finite:
        return block.probability @ block.value
    finite = np.isfinite(block.value)
    out = block.probability @ np.where(finite, block.value, 0.0)
    for s in np.flatnonzero(~finite.all(axis=-1)):
        wild = np.where(finite[s], 0.0, block.value[s])
        with np.errstate(invalid="ignore"):
            out += np.where(block.seen[:, s, None], block.probability[:, s, None] * wild, 0.0)
    return out


def compute(inputs: Inputs, semantics: Semantics) -> tuple[np.ndarray, np.ndarray]:
    """Output (B,T,N,V) and log-sum-exp (B,T,N), float64."""
    shape = inputs.shape
    out = np.zeros((shape.B, shape.T, shape.N, shape.V))
    log_sum_exp = np.full((shape.B, shape.T, shape.N), -np.inf)

    def work(block: Rows) -> None:
        out[block.at] = weighted_sum(block)
        log_sum_exp[block.at] = block.log_sum_exp

    each_rows(work, inputs, semantics)
    return out, log_sum_exp


def attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    causal: str | None = None,
    window: Window | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    kv_lengths: np.ndarray | None = None,
) -> np.ndarray:
    """softmax(scale * query @ key.T + bias, over the visible keys) @ value, in float64.

    Args:
        query: (B,T,N,H). key: (B,S,K,H). value: (B,S,K,V). One dtype: float64, float32, float16 (or ml_dtypes' bfloat16).
        mask: bool, True = attend, broadcastable to (B,N,T,S).
        bias: additive, the dtype of query, broadcastable to (B,N,T,S).
        causal, window, softcap, scale: see backends.Semantics.
        kv_lengths: integers (B,): keys at or past the length are invisible.

    Returns:
        float64 (B,T,N,V). A query row that sees no key gives 0.

    Raises:
        InvalidProblem: an argument of the wrong rank, shape, dtype or range.

    """
    semantics = Semantics(causal, window, softcap, scale)
    inputs = validate(query, key, value, mask=mask, bias=bias, kv_lengths=kv_lengths)
    return compute(inputs, semantics)[0]


def log_sum_exp(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    causal: str | None = None,
    window: Window | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    kv_lengths: np.ndarray | None = None,
) -> np.ndarray:
    """log(sum(exp(scores))) over the visible keys, float64 (B,T,N); -inf where a query row sees none. Arguments: attention."""
    semantics = Semantics(causal, window, softcap, scale)
    inputs = validate(query, key, value, mask=mask, bias=bias, kv_lengths=kv_lengths)
    return compute(inputs, semantics)[1]
