"""Attention in NumPy, forward and backward, every decision a method of its own: right, and made to be broken.

All arrays are (B,N,T,...) or (B,K,S,...), in the width of the sums. An instance is one call.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from backends.accuracy import round_to
from backends.interface import Asked
from tests.mutants.frame import name_of, of_name

Array = np.ndarray


class Attention:
    """One problem, right in every respect. Faults replace methods; `a` is what they call the instance."""

    def __init__(self, query: Array, key: Array, value: Array, upstream: Array | None = None, **keywords: Any) -> None:
        self.dtype = name_of(query)
        self.asked = Asked(**keywords)
        self.given = query, key, value, upstream
        self.query, self.key, self.value = (self.widened(a) for a in (query, key, value))
        self.upstream = None if upstream is None else self.widened(upstream)
        (self.B, self.N, self.T, self.H), (self.K, self.S), self.V = query.shape, key.shape[1:3], value.shape[3]
        self.group = self.N // self.K

    def other(self, **keywords: Any) -> Attention:
        """The same arrays, asked otherwise."""
        own = {name: getattr(self.asked, name) for name in self.asked.__slots__}
        return type(self)(*self.given, **{**own, **keywords})

    # Numbers

    @property
    def wide(self) -> str:
        """The dtype of sums and of all that is not stored."""
        return "float64" if self.dtype == "float64" else "float32"

    def widened(self, array: Array) -> Array:
        """An array of the problem in the width of the sums."""
        return np.asarray(array).astype(self.wide)

    def stored(self, array: Array) -> Array:
        """An array as the problem's dtype holds it."""
        return of_name(round_to(array, self.dtype), self.dtype)

    # Who reads whom

    def reads(self) -> Array:
        """(N,): the key/value head that each query head reads."""
        return np.arange(self.N) // self.group

    def keys(self) -> Array:
        """(B,N,S,H): the keys of each query head."""
        return self.key[:, self.reads()]

    def values(self) -> Array:
        """(B,N,S,V): the values of each query head; those that none of its queries sees are 0, whatever they hold."""
        return np.where(self.seen.any(axis=2)[..., None], self.value[:, self.reads()], self.of_hidden())

    def of_hidden(self) -> Any:
        """What stands for a key or value that nobody sees."""
        return np.zeros((), self.wide)

    # Who sees whom: each rule is bool and broadcasts to (B,N,T,S)

    def offset(self) -> int:
        """Where the diagonal begins: the key of the first query."""
        return self.S - self.T if self.asked.causal == "bottom_right" else 0

    def at(self) -> tuple[Array, Array]:
        """(T,1): the key on each query's diagonal, and (S,): the keys."""
        return np.arange(self.T)[:, None] + self.offset(), np.arange(self.S)

    def in_causal(self) -> Any:
        t, s = self.at()
        return s <= t if self.asked.causal is not None else True

    def window(self) -> tuple[int | None, int | None]:
        return self.asked.window or (None, None)

    def in_window(self) -> Any:
        (t, s), (left, right) = self.at(), self.window()
        return (True if left is None else s >= t - left) & (True if right is None else s <= t + right)

    def lengths(self) -> Any:
        """(B,), or S where all keys are there."""
        return self.S if self.asked.kv_lengths is None else self.asked.kv_lengths[:, None, None, None]

    def in_length(self) -> Any:
        return np.arange(self.S) < self.lengths()

    def in_mask(self) -> Any:
        return True if self.asked.mask is None else self.asked.mask

    def everybody(self) -> Any:
        """All rules together."""
        return self.in_causal() & self.in_window() & self.in_length() & self.in_mask()

    @cached_property
    def seen(self) -> Array:
        """bool (B,N,T,S)."""
        return np.broadcast_to(self.everybody(), (self.B, self.N, self.T, self.S))

    # Scores

    def scale(self) -> float:
        return self.H**-0.5 if self.asked.scale is None else self.asked.scale

    def product(self) -> Array:
        """(B,N,T,S): query times key."""
        return self.query @ self.keys().swapaxes(-1, -2)

    def scaled(self, scores: Array) -> Array:
        return scores * np.dtype(self.wide).type(self.scale())

    def capped(self, scores: Array) -> Array:
        c = self.asked.softcap
        return scores if c is None else np.tanh(scores / c) * c

    def bias(self) -> Any:
        return 0 if self.asked.bias is None else self.widened(self.asked.bias)

    def biased(self, scores: Array) -> Array:
        return scores + self.bias()

    def finished(self) -> Array:
        """What the softmax is taken of, before anything is hidden."""
        return self.biased(self.capped(self.scaled(self.product())))

    def hidden(self, scores: Array) -> Array:
        return np.where(self.seen, scores, -np.inf)

    @cached_property
    def scores(self) -> Array:
        """(B,N,T,S): -inf where not seen."""
        return self.hidden(self.finished())

    # Softmax and the second product

    def highest(self) -> Array:
        """(B,N,T,1): what is subtracted before exp; 0 in a row that sees no key."""
        highest = self.scores.max(axis=-1, keepdims=True)
        return np.where(np.isneginf(highest), 0, highest)

    def exp(self, scores: Array) -> Array:
        return np.exp(scores)

    def summed(self, weights: Array) -> Array:
        return weights.sum(axis=-1, keepdims=True)

    def divided(self, weights: Array, total: Array) -> Array:
        return weights / np.where(total == 0, 1, total)

    @cached_property
    def weights(self) -> Array:
        """(B,N,T,S): not yet normalised."""
        return self.exp(self.scores - self.highest())

    @cached_property
    def probability(self) -> Array:
        """(B,N,T,S): 0 in a row that sees no key."""
        return self.divided(self.weights, self.summed(self.weights))

    def mixed(self) -> Array:
        """(B,N,T,V): probabilities times values."""
        return self.probability @ self.values()

    @cached_property
    def out(self) -> Array:
        return self.mixed()

    def result(self) -> Array:
        """The output as it is returned."""
        return self.stored(self.out)

    def log_sum_exp(self) -> Array:
        """(B,N,T), in the width of the sums."""
        with np.errstate(divide="ignore"):
            return (self.highest() + np.log(self.summed(self.weights)))[..., 0]

    # Backward, with P the probabilities, D the gradient of the output: see backends.backward

    def upstreams(self) -> Array:
        """D: (B,N,T,V)."""
        return self.upstream

    def again(self) -> Array:
        """P as the way back has it."""
        return self.probability

    def into(self) -> Array:
        """dP = D V': (B,N,T,S)."""
        return self.upstreams() @ self.values().swapaxes(-1, -2)

    def carried(self) -> Array:
        """rowsum(D o O): (B,N,T,1)."""
        return (self.upstreams() * self.out).sum(axis=-1, keepdims=True)

    def of_scores(self) -> Array:
        """dS: (B,N,T,S)."""
        return self.again() * (self.into() - self.carried())

    def slope(self) -> Any:
        """How fast the softcap lets a score grow."""
        c = self.asked.softcap
        return 1 if c is None else 1 - np.tanh(self.scaled(self.product()) / c) ** 2

    def of_products(self) -> Array:
        """dS before softcap and scale."""
        return self.of_scores() * self.slope()

    def factor(self) -> tuple[float, float]:
        """What the gradients of query and key are multiplied by."""
        return self.scale(), self.scale()

    def gathered(self, array: Array) -> Array:
        """(B,N,S,...) of query heads as (B,K,S,...): the sum over those that read the same head."""
        return array.reshape(self.B, self.K, self.group, *array.shape[2:]).sum(axis=2)

    def of_query(self) -> Array:
        return self.of_products() @ self.finite_keys() * self.factor()[0]

    def finite_keys(self) -> Array:
        return np.where(self.seen.any(axis=2)[..., None], self.keys(), 0)

    def of_key(self) -> Array:
        return self.gathered(self.of_products().swapaxes(-1, -2) @ self.query * self.factor()[1])

    def of_value(self) -> Array:
        return self.gathered(self.again().swapaxes(-1, -2) @ self.upstreams())

    def of_bias(self) -> Array | None:
        """Of the shape of the bias: summed where it was broadcast."""
        if self.asked.bias is None:
            return None
        axes = tuple(axis for axis, size in enumerate(self.asked.bias.shape) if size == 1)
        return self.of_scores().sum(axis=axes, keepdims=True)

    def gradients(self) -> tuple[Array | None, ...]:
        """Of query, key, value and bias, as they are returned."""
        found = (self.of_query(), self.of_key(), self.of_value(), self.of_bias())
        return tuple(None if array is None else self.stored(array.astype(self.wide)) for array in found)
