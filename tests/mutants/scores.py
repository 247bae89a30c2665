"""Faults in the scores: scale, softcap, bias, and the products with keys and values."""

from __future__ import annotations

import numpy as np

from backends.accuracy import round_to
from tests.mutants.attention import Array, Attention
from tests.mutants.mutant import (
    FIRST_BATCH,
    LAST_COLUMN,
    LAST_HEAD,
    LAST_ROW,
    family,
    has_large_heads,
    has_lengths,
    is_biased,
    is_causal,
    is_decoding,
    is_float16,
    is_masked,
    is_odd,
    is_square,
    mutant,
)


def one(a: Attention) -> float:
    return 1.0


SCALE = family(
    "scale",
    mutant("1", scale=one),
    mutant("1/H", scale=lambda a: 1 / a.H if a.asked.scale is None else a.asked.scale),
    mutant("V**-0.5", scale=lambda a: a.V**-0.5 if a.asked.scale is None else a.asked.scale),
    mutant("S**-0.5", scale=lambda a: a.S**-0.5 if a.asked.scale is None else a.asked.scale),
    mutant("the default though another is given", scale=lambda a: a.H**-0.5),
    mutant("the default where 0 is given", scale=lambda a: a.asked.scale or a.H**-0.5),
    mutant("its size without its sign", scale=lambda a: abs(Attention.scale(a))),
    mutant("its square root for each of query and key", scale=lambda a: np.sqrt(Attention.scale(a)) ** 2),
    mutant("1, last head", scale=one, where=LAST_HEAD),
    mutant("1 where H is large", scale=one, when=has_large_heads),
    mutant("1 where S is odd", scale=one, when=is_odd),
    mutant("1 in float16", scale=one, when=is_float16),
    mutant(
        "of the next power of two",
        scale=lambda a: 2.0 ** -np.ceil(np.log2(a.H) / 2) if a.asked.scale is None else a.asked.scale,
    ),
    mutant("a thousandth too large", scale=lambda a: 1.001 * Attention.scale(a)),
    mutant("rounded to bfloat16", scale=lambda a: float(round_to(np.array([Attention.scale(a)]), "bfloat16")[0])),
    mutant("twice", scale=lambda a: Attention.scale(a) ** 2),
    mutant("of the bias, too", finished=lambda a: a.scaled(a.biased(a.product()))),
    mutant("after the softcap", finished=lambda a: a.biased(a.scaled(a.capped(a.product())))),
)


def plain(a: Attention, scores: Array) -> Array:
    return scores


SOFTCAP = family(
    "softcap",
    mutant("ignored", capped=plain),
    mutant("ignored, last head", capped=plain, where=LAST_HEAD),
    mutant("ignored where there is a bias", capped=plain, when=is_biased),
    mutant("after the bias", finished=lambda a: a.capped(a.biased(a.scaled(a.product())))),
    mutant("after what is hidden", scores=lambda a: a.capped(a.hidden(a.biased(a.scaled(a.product()))))),
    mutant("without the outer factor", capped=lambda a, s: Attention.capped(a, s) / (a.asked.softcap or 1)),
    mutant(
        "without the inner factor", capped=lambda a, s: s if a.asked.softcap is None else np.tanh(s) * a.asked.softcap
    ),
    mutant(
        "cut off instead of bent",
        capped=lambda a, s: s if a.asked.softcap is None else np.clip(s, -a.asked.softcap, a.asked.softcap),
    ),
    mutant("twice", capped=lambda a, s: Attention.capped(a, Attention.capped(a, s))),
    mutant(
        "by a tanh good to four digits",
        capped=lambda a, s: s if a.asked.softcap is None else 1.0001 * Attention.capped(a, s),
    ),
)


def no_bias(a: Attention) -> int:
    return 0


def bias_of(a: Attention, place: tuple[slice, ...]) -> Array:
    return np.float32(0) if a.asked.bias is None else a.widened(a.asked.bias)[place]


BIAS = family(
    "bias",
    mutant("dropped", bias=no_bias),
    mutant("dropped, last head", bias=no_bias, where=LAST_HEAD),
    mutant("dropped, last row", bias=no_bias, where=LAST_ROW),
    mutant("dropped where there is a mask", bias=no_bias, when=is_masked),
    mutant("dropped where there is causal", bias=no_bias, when=is_causal),
    mutant("dropped where there are lengths", bias=no_bias, when=has_lengths),
    mutant("dropped in float16", bias=no_bias, when=is_float16),
    mutant("subtracted", biased=lambda a, scores: scores - a.bias()),
    mutant("added twice", biased=lambda a, scores: scores + 2 * a.bias()),
    mutant("1 % too large", biased=lambda a, scores: scores + 1.01 * a.bias()),
    mutant("in the wrong base", biased=lambda a, scores: scores + a.bias() * np.log2(np.e)),
    mutant(
        "added after the softmax",
        biased=plain,
        probability=lambda a: Attention.probability.func(a) + np.where(a.seen, a.bias(), 0),
    ),
    mutant("multiplied", biased=lambda a, scores: scores * a.bias() if is_biased(a) else scores),
    mutant("transposed", bias=lambda a: bias_of(a, np.s_[:]).swapaxes(2, 3) if is_biased(a) else 0, when=is_square),
    mutant("that of the first batch element", bias=lambda a: bias_of(a, np.s_[:1])),
    mutant("that of the first head", bias=lambda a: bias_of(a, np.s_[:, :1])),
    mutant("that of the first query", bias=lambda a: bias_of(a, np.s_[:, :, :1])),
    mutant("heads in reverse", bias=lambda a: bias_of(a, np.s_[:, ::-1])),
    mutant("only where it is negative", bias=lambda a: np.minimum(Attention.bias(a), 0)),
)


def fewer_features(a: Attention, H: int) -> Array:
    return a.query[..., :H] @ a.keys()[..., :H].swapaxes(-1, -2)


def without(array: Array, place: tuple[slice, ...]) -> Array:
    """Zeros in some place."""
    out = array.copy()
    out[place] = 0
    return out


def right(a: Attention) -> Array:
    """The output as it should be."""
    return Attention.out.func(a)


def first_keys(a: Attention, scores: Array, S: int) -> Array:
    """The scores of no more than the first keys."""
    return np.where(np.arange(a.S) < S, Attention.hidden(a, scores), -np.inf)


PRODUCTS = family(
    "products",
    mutant("the last feature dropped", product=lambda a: fewer_features(a, a.H - 1)),
    mutant("features past 64 dropped", product=lambda a: fewer_features(a, 64)),
    mutant("features past 128 dropped", product=lambda a: fewer_features(a, 128)),
    mutant("features past a multiple of 8 dropped", product=lambda a: fewer_features(a, a.H // 8 * 8)),
    mutant(
        "features past a multiple of 32 dropped where H is larger",
        product=lambda a: fewer_features(a, a.H // 32 * 32 or a.H),
    ),
    mutant(
        "keys of the first batch element",
        keys=lambda a: np.broadcast_to(Attention.keys(a)[:1], Attention.keys(a).shape),
    ),
    mutant(
        "values of the first batch element",
        values=lambda a: np.broadcast_to(Attention.values(a)[:1], Attention.values(a).shape),
    ),
    mutant("queries of the first batch element", product=lambda a: a.query[:1] @ a.keys().swapaxes(-1, -2)),
    mutant("values one key late", values=lambda a: np.roll(Attention.values(a), 1, axis=2)),
    mutant("keys for values", values=lambda a: a.keys()[..., : a.V], when=lambda a: a.V <= a.H),
    mutant("the last value column dropped", out=lambda a: without(right(a), LAST_COLUMN)),
    mutant("value columns past H dropped", out=lambda a: without(right(a), np.s_[..., a.H :])),
    mutant(
        "value columns past 16 dropped where V differs",
        out=lambda a: without(right(a), np.s_[..., 16 if a.V != a.H else a.V :]),
    ),
    mutant("the last row dropped", out=lambda a: without(right(a), LAST_ROW)),
    mutant("rows past a multiple of 4 dropped", out=lambda a: without(right(a), np.s_[:, :, a.T // 4 * 4 or a.T :])),
    mutant("rows past 1024 dropped", out=lambda a: without(right(a), np.s_[:, :, 1024:])),
    mutant("rows past 64 dropped", out=lambda a: without(right(a), np.s_[:, :, 64:])),
    mutant("rows past the number of keys dropped", out=lambda a: without(right(a), np.s_[:, :, a.S :])),
    mutant("heads past the second dropped", out=lambda a: without(right(a), np.s_[:, 2:])),
    mutant("heads past the fourth dropped", out=lambda a: without(right(a), np.s_[:, 4:])),
    mutant("batch elements past the second dropped", out=lambda a: without(right(a), np.s_[2:])),
    mutant("the first batch element dropped", out=lambda a: without(right(a), FIRST_BATCH)),
    mutant("the only row dropped", out=lambda a: without(right(a), LAST_ROW), when=is_decoding),
    mutant("the last key dropped where S is odd", hidden=lambda a, s: first_keys(a, s, a.S - 1), when=is_odd),
    mutant("keys past 1024 dropped", hidden=lambda a, s: first_keys(a, s, 1024)),
    mutant("keys past 512 dropped for a single query", hidden=lambda a, s: first_keys(a, s, 512), when=is_decoding),
)


FAULTS = (*SCALE, *SOFTCAP, *BIAS, *PRODUCTS)
