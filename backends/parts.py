"""A part of a problem: one key/value head of one batch element, with the query heads that read it.

Parts have nothing to do with one another, forward or backward (but for the gradient of a bias that several share): each is
a problem of its own. The oracle answers large problems in part; what it answers, it answers exactly.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backends.visibility import as_four

if TYPE_CHECKING:
    from backends.accuracy import Expected
    from backends.problem import Inputs, Shape

_OF_QUERIES = frozenset({"output", "query"})


@dataclass(frozen=True, slots=True)
class Part:
    """Key/value head `k` of batch element `b`."""

    b: int
    k: int

    def of(self, inputs: Inputs) -> Inputs:
        """The problem that this part is: B 1, K 1, N as many query heads as share a key/value head. Views, no copies."""
        shape = inputs.shape
        batch, own = slice(self.b, self.b + 1), slice(self.k, self.k + 1)
        heads = _heads(self.k, shape)

        def addend(array: np.ndarray | None) -> np.ndarray | None:
            if array is None:
                return None
            four = as_four(array)
            return four[batch if four.shape[0] > 1 else slice(None), heads if four.shape[1] > 1 else slice(None)]

        return dataclasses.replace(
            inputs,
            query=inputs.query[batch, :, heads],
            key=inputs.key[batch, :, own],
            value=inputs.value[batch, :, own],
            mask=addend(inputs.mask),
            bias=addend(inputs.bias),
            kv_lengths=None if inputs.kv_lengths is None else inputs.kv_lengths[batch],
            upstream=None if inputs.upstream is None else inputs.upstream[batch, :, heads],
        )

    def named(self, name: str) -> str:
        """What its answer to an array is called among the expected ones; `array_of` is the inverse."""
        return f"{name}@{self.b},{self.k}"

    def place(self, name: str, expected: Expected, shape: Shape) -> Expected:
        """Its answer to the array `name` as one about a part of the whole problem's, of this shape."""
        heads = _heads(self.k, shape) if name in _OF_QUERIES else slice(self.k, self.k + 1)
        at = ((self.b, self.b + 1), (0, expected.out.shape[1]), (heads.start, heads.stop), (0, expected.out.shape[3]))
        every = shape.N if name in _OF_QUERIES else shape.K
        whole = (shape.B, expected.out.shape[1], every, expected.out.shape[3])
        return dataclasses.replace(expected, at=at, whole=whole)


def _heads(k: int, shape: Shape) -> slice:
    group = shape.N // shape.K
    return slice(k * group, (k + 1) * group)


def array_of(name: str) -> str:
    """The array that an expected answer is about: "output", "query", ..."""
    return name.partition("@")[0]


def parts_of(shape: Shape) -> list[Part]:
    """All of them."""
    return [Part(b, k) for b in range(shape.B) for k in range(shape.K)]


def drawn(shape: Shape, count: int, seed: int) -> list[Part]:
    """So many: the first and the last, where wrong offsets and numbers too large for 32 bits show, the others at random."""
    every = parts_of(shape)
    if count >= len(every):
        return every
    inner = np.random.default_rng(seed).permutation(np.arange(1, len(every) - 1))[: max(0, count - 2)]
    return [every[place] for place in sorted({0, len(every) - 1, *map(int, inner)})]
