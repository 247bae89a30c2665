"""Faults of those who compute tile by tile: what is skipped, read at the wrong place, or overwritten instead of added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.mutants.attention import Array, Attention
from tests.mutants.mutant import Mutant, family, has_lengths, is_biased, is_causal, is_masked, is_windowed, mutant


def start(at: Array, size: int) -> Array:
    """Where the tile begins that an index is in."""
    return at // size * size


def whole_tiles(size: int) -> Callable[[Attention], Any]:
    """A tile of keys is seen as a whole where its first key is."""
    return lambda a: start(np.arange(a.S), size) <= a.at()[0] if is_causal(a) else np.True_


def tiles_of_first_row(size: int) -> Callable[[Attention], Any]:
    """A tile of keys is skipped where the first query of a tile sees none of it."""

    def in_causal(a: Attention) -> Any:
        first = start(np.arange(a.T), size)[:, None] + a.offset()
        return Attention.in_causal(a) & (start(np.arange(a.S), size) <= first) if is_causal(a) else np.True_

    return in_causal


def tiles_of_last_row(size: int) -> Callable[[Attention], Any]:
    """Keys that the last query of a tile no longer sees in its window are skipped for all of the tile."""

    def in_window(a: Attention) -> Any:
        left, _ = a.window()
        last = np.minimum(start(np.arange(a.T), size) + size - 1, a.T - 1)[:, None] + a.offset()
        return Attention.in_window(a) & (True if left is None else np.arange(a.S) >= start(last - left, size))

    return in_window


def rounded_lengths(size: int, up: int) -> Callable[[Attention], Any]:
    """Lengths in whole tiles; a length of less than one stays."""

    def lengths(a: Attention) -> Any:
        exact = Attention.lengths(a)
        return np.where(exact < size, exact, (exact + up * (size - 1)) // size * size) if has_lengths(a) else exact

    return lengths


def wrapped(array: Array, axis: int, size: int) -> Array:
    """The first tile, over and over."""
    return array.take(np.arange(array.shape[axis]) % size, axis)


def misread(array: Array) -> Array:
    """Rows as if they were padded to a multiple of 8."""
    *outer, T, S = array.shape
    padded = np.arange(T)[:, None] * -(-S // 8) * 8 + np.arange(S)
    return array.reshape(*outer, T * S)[..., padded % (T * S)]


def last_rows(a: Attention, array: Array, size: int) -> Array:
    """(B,N,T,S) with zeros before the last tile of queries."""
    return np.where(np.arange(a.T)[:, None] >= start(np.array(a.T - 1), size), array, 0)


def last_keys(a: Attention, array: Array, size: int) -> Array:
    """(B,N,T,S) with zeros before the last tile of keys."""
    return np.where(np.arange(a.S) >= start(np.array(a.S - 1), size), array, 0)


def of_size(size: int) -> tuple[Mutant, ...]:
    """The faults of tiles of one size."""
    return family(
        f"tiles of {size}",
        mutant("causal for tiles as a whole", in_causal=whole_tiles(size)),
        mutant("causal as the first query has it", in_causal=tiles_of_first_row(size)),
        mutant("the window as the last query has it", in_window=tiles_of_last_row(size), when=is_windowed),
        mutant("lengths rounded up", lengths=rounded_lengths(size, 1)),
        mutant("lengths rounded down", lengths=rounded_lengths(size, 0)),
        mutant(
            "the mask of the first keys",
            in_mask=lambda a: wrapped(a.asked.mask, 3, size),
            when=is_masked,
        ),
        mutant(
            "the bias of the first keys",
            bias=lambda a: wrapped(Attention.bias(a), 3, size),
            when=is_biased,
        ),
        mutant(
            "the bias of the first queries",
            bias=lambda a: wrapped(Attention.bias(a), 2, size),
            when=is_biased,
        ),
        mutant(
            "keys of the last queries alone",
            of_key=lambda a: a.gathered(last_rows(a, a.of_products(), size).swapaxes(-1, -2) @ a.query * a.scale()),
        ),
        mutant(
            "values of the last queries alone",
            of_value=lambda a: a.gathered(last_rows(a, a.again(), size).swapaxes(-1, -2) @ a.upstreams()),
        ),
        mutant(
            "queries of the last keys alone",
            of_query=lambda a: last_keys(a, a.of_products(), size) @ a.finite_keys() * a.scale(),
        ),
    )


def stretched(a: Attention) -> Any:
    """The window around the key that lies where the query does, of all keys."""
    (left, right), t, s = a.window(), (np.arange(a.T) * a.S // a.T)[:, None], np.arange(a.S)
    return (True if left is None else s >= t - left) & (True if right is None else s <= t + right)


TILES = family(
    "tiles",
    mutant("the bias in rows of a multiple of 8", bias=lambda a: misread(Attention.bias(a)), when=is_biased),
    mutant("the mask in rows of a multiple of 8", in_mask=lambda a: misread(Attention.in_mask(a)), when=is_masked),
    mutant(
        "the mask after the softmax",
        hidden=lambda a, s: s,
        probability=lambda a: np.where(a.seen, Attention.probability.func(a), 0),
    ),
    mutant(
        "one weight in ten thousand dropped",
        probability=lambda a: (
            Attention.probability.func(a) * (np.random.default_rng(a.T).random((a.B, a.N, a.T, a.S)) > 1e-4)
        ),
    ),
    mutant("the window along a stretched diagonal", in_window=stretched),
    mutant("S - T the other way round", offset=lambda a: min(0, -Attention.offset(a))),
    mutant(
        "the log-sum-exp of the last tile",
        log_sum_exp=lambda a: a.highest()[..., 0] + np.log(a.weights[..., a.S // 8 * 8 - 8 :].sum(axis=-1)),
    ),
    mutant(
        "the last batch element that of the first",
        result=lambda a: np.concatenate([Attention.result(a)[:-1], Attention.result(a)[:1]]).view(
            type(Attention.result(a))
        ),
    ),
    mutant("exponents never below -10", exp=lambda a, s: np.where(np.isneginf(s), 0, np.exp(np.maximum(s, -10)))),
    mutant(
        "the second product of float64 in float32",
        mixed=lambda a: (a.probability.astype("float32") @ a.values().astype("float32")).astype(a.wide),
    ),
)

FAULTS = (*of_size(8), *of_size(64), *of_size(512), *TILES)
