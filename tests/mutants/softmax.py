"""Faults in the softmax, in the formats that numbers are kept in, and in the walk over blocks of keys."""

from __future__ import annotations

from typing import Any

import numpy as np

from backends.accuracy import round_to
from tests.mutants.attention import Array, Attention
from tests.mutants.blocked import Blocked
from tests.mutants.mutant import (
    LAST_HEAD,
    LAST_ROW,
    family,
    is_bfloat16,
    is_float16,
    is_float64,
    is_long,
    is_odd,
    mutant,
)


def to(array: Array, dtype: str) -> Array:
    """Rounded to a dtype, and back in the dtype it had."""
    return round_to(array, dtype).astype(array.dtype)


def summed_in(dtype: str, terms: Array) -> Array:
    """The sum over the last axis, each partial sum rounded to a dtype."""
    total = np.zeros(terms.shape[:-1], terms.dtype)
    for i in range(terms.shape[-1]):
        total = to(total + to(terms[..., i], dtype), dtype)
    return total


def products_in(dtype: str, a: Attention) -> Array:
    return (
        summed_in(dtype, a.query[:, :, :, None] * a.keys()[:, :, None]) if a.T * a.S < 20000 else Attention.product(a)
    )


def mixed_in(dtype: str, a: Attention) -> Array:
    if a.T * a.S > 20000:
        return Attention.mixed(a)
    return summed_in(dtype, (a.probability[..., None] * a.values()[:, :, None]).swapaxes(-1, -2))


def cut_off(array: Array) -> Array:
    """float32 numbers cut off, not rounded, to float16."""
    near = array.astype(np.float16)
    return np.where(np.abs(near.astype(np.float32)) > np.abs(array), np.nextafter(near, np.float16(0)), near)


def unmoved(a: Attention) -> int:
    return 0


SOFTMAX = family(
    "softmax",
    mutant("no maximum is subtracted", highest=unmoved),
    mutant("no maximum is subtracted, last head", highest=unmoved, where=LAST_HEAD),
    mutant(
        "no maximum is subtracted in float16",
        highest=unmoved,
        when=is_float16,
        exp=lambda a, s: to(np.exp(s), "float16"),
    ),
    mutant("the maximum over hidden keys, too", highest=lambda a: a.finished().max(axis=-1, keepdims=True)),
    mutant("the maximum is never below 0", highest=lambda a: np.maximum(Attention.highest(a), 0)),
    mutant("the maximum of the first 4 keys", highest=lambda a: a.finished()[..., :4].max(axis=-1, keepdims=True)),
    mutant("the maximum of the whole problem", highest=lambda a: Attention.highest(a).max()),
    mutant(
        "the minimum", highest=lambda a: np.where(a.seen, a.scores, np.inf).min(axis=-1, keepdims=True, initial=1e9)
    ),
    mutant("exponents no larger than -8 are 0", exp=lambda a, s: np.where(s > -8, np.exp(s), 0)),
    mutant(
        "an exponential good to four digits", exp=lambda a, s: np.exp(s) * (1 + 1e-4 * np.sin(7 * np.maximum(s, -99)))
    ),
    mutant("in base 2", exp=lambda a, s: np.exp2(s)),
    mutant("over the queries", probability=lambda a: a.divided(a.weights, a.weights.sum(axis=2, keepdims=True))),
    mutant("not normalised", divided=lambda a, weights, total: weights),
    mutant("the sum is 1e-5 too large", summed=lambda a, w: Attention.summed(a, w) + 1e-5),
    mutant(
        "a reciprocal good to three digits",
        divided=lambda a, w, total: w * to(1 / np.where(total == 0, 1, total), "float16"),
    ),
    mutant("the sum lacks the last key", summed=lambda a, w: w[..., :-1].sum(axis=-1, keepdims=True) + (a.S == 1)),
    mutant(
        "the sum has what is hidden", summed=lambda a, w: np.exp(a.finished() - a.highest()).sum(axis=-1, keepdims=True)
    ),
    mutant("one more in the sum", summed=lambda a, w: Attention.summed(a, w) + 1),
    mutant(
        "the largest alone where it is far ahead",
        divided=lambda a, w, total: np.where(
            w == 1, np.where(total < 1.2, 1, w / total), w / np.where(total == 0, 1, total)
        ),
    ),
    mutant(
        "weights below 1 % dropped",
        divided=lambda a, w, total: np.where(w > 0.01 * total, w / np.where(total == 0, 1, total), 0),
    ),
)


def in_half(dtype: str) -> Any:
    """Scores rounded to a dtype."""
    return lambda a: to(Attention.finished(a), dtype)


PRECISION = family(
    "precision",
    mutant("scores in bfloat16", finished=in_half("bfloat16")),
    mutant("scores in float16", finished=in_half("float16")),
    mutant("scores in float16, last head", finished=in_half("float16"), where=LAST_HEAD),
    mutant("probabilities in bfloat16", probability=lambda a: to(Attention.probability.func(a), "bfloat16")),
    mutant("probabilities in float16", probability=lambda a: to(Attention.probability.func(a), "float16")),
    mutant(
        "probabilities in bfloat16 for float16",
        probability=lambda a: to(Attention.probability.func(a), "bfloat16"),
        when=is_float16,
    ),
    mutant("scores in float16 for float16", finished=in_half("float16"), when=is_float16),
    mutant("scores in bfloat16 for bfloat16", finished=in_half("bfloat16"), when=is_bfloat16),
    mutant("products summed in float16 for float16", product=lambda a: products_in("float16", a), when=is_float16),
    mutant("outputs summed in float16 for float16", mixed=lambda a: mixed_in("float16", a), when=is_float16),
    mutant("products summed in bfloat16 for bfloat16", product=lambda a: products_in("bfloat16", a), when=is_bfloat16),
    mutant("outputs summed in bfloat16", mixed=lambda a: mixed_in("bfloat16", a)),
    mutant(
        "queries scaled in float16",
        product=lambda a: to(a.query * a.scale(), "float16") @ a.keys().swapaxes(-1, -2),
        scaled=lambda a, s: s,
    ),
    mutant("values in float16", values=lambda a: to(Attention.values(a), "float16")),
    mutant("keys in bfloat16", keys=lambda a: to(Attention.keys(a), "bfloat16")),
    mutant("float64 in float32", wide=lambda a: "float32"),
    mutant("float64 with scores in float32", finished=in_half("float32"), when=is_float64),
    mutant("outputs cut off", stored=lambda a, x: cut_off(x) if a.dtype == "float16" else Attention.stored(a, x)),
    mutant("outputs through float16", stored=lambda a, x: Attention.stored(a, to(x, "float16"))),
    mutant(
        "outputs through bfloat16 for float16",
        stored=lambda a, x: Attention.stored(a, to(x, "bfloat16")),
        when=is_float16,
    ),
    mutant("the bias in bfloat16", bias=lambda a: 0 if a.asked.bias is None else to(Attention.bias(a), "bfloat16")),
    mutant("four digits in long problems", out=lambda a: Attention.out.func(a) * 1.0001, when=is_long),
)


def blocks(a: Blocked) -> list[Any]:
    return Blocked.blocks(a)


def whole(a: Blocked) -> list[Any]:
    """The blocks without the rest; the rest alone where there is no other."""
    return [block for block in blocks(a) if block.stop - block.start == a.size] or blocks(a)


def apart(a: Blocked) -> list[Any]:
    """Blocks with a key between them."""
    return [slice(block.start + (block.start > 0), block.stop) for block in blocks(a)]


def nothing_kept(a: Blocked, before: Array, after: Array) -> Array:
    """The sums so far stay as they are."""
    return np.ones_like(before)


BLOCKS = family(
    "blocks",
    mutant("the last one dropped", base=Blocked, blocks=lambda a: blocks(a)[: max(1, len(blocks(a)) - 1)]),
    mutant("the rest dropped", base=Blocked, blocks=whole),
    mutant("the rest dropped, last row", base=Blocked, where=LAST_ROW, size=8, blocks=whole),
    mutant("the rest of blocks of 128 dropped", base=Blocked, size=128, blocks=whole),
    mutant("the rest of blocks of 512 dropped", base=Blocked, size=512, blocks=whole),
    mutant("the first one twice", base=Blocked, blocks=lambda a: [blocks(a)[0], *blocks(a)]),
    mutant(
        "one key in two blocks", base=Blocked, blocks=lambda a: [slice(max(0, b.start - 1), b.stop) for b in blocks(a)]
    ),
    mutant("one key between blocks", base=Blocked, blocks=apart),
    mutant("one key between blocks of 64", base=Blocked, size=64, blocks=apart),
    mutant("no more than 16", base=Blocked, size=64, blocks=lambda a: blocks(a)[:16]),
    mutant("nothing is rescaled", base=Blocked, kept=nothing_kept),
    mutant("the sums are not rescaled", base=Blocked, kept_sums=nothing_kept),
    mutant("the total is not rescaled", base=Blocked, kept_total=nothing_kept),
    mutant(
        "rescaled the wrong way",
        base=Blocked,
        kept_sums=lambda a, before, after: np.where(np.isneginf(before), 0, np.exp(after - before)),
    ),
    mutant("nothing is rescaled, blocks of 512", base=Blocked, size=512, kept=nothing_kept),
    mutant("the maximum of each block alone", base=Blocked, raised=lambda a, highest, s: s.max(axis=-1, keepdims=True)),
    mutant(
        "the maximum of the first block",
        base=Blocked,
        raised=lambda a, highest, s: np.where(np.isneginf(highest), Blocked.raised(a, highest, s), highest),
    ),
    mutant(
        "NaN where the first block is hidden",
        base=Blocked,
        size=64,
        kept=lambda a, before, after: np.exp(before - after),
    ),
    mutant(
        "a wrong order of values",
        base=Blocked,
        values=lambda a: Attention.values(a)[:, :, np.argsort(np.arange(a.S) // 7 % 2, kind="stable")],
    ),
    mutant(
        "the last block, where S is odd, is off by one",
        base=Blocked,
        when=is_odd,
        blocks=lambda a: [*blocks(a)[:-1], slice(blocks(a)[-1].start, a.S - 1)],
    ),
)

FAULTS = (*SOFTMAX, *PRECISION, *BLOCKS)
