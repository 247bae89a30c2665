"""Faults in who sees whom: causal, window, lengths, mask, rows that see nothing, and heads that read the wrong head."""

from __future__ import annotations

import numpy as np

from backends.interface import Deviation
from tests.mutants.attention import Array, Attention
from tests.mutants.mutant import (
    FIRST_BATCH,
    LAST_HEAD,
    LAST_ROW,
    LATER_BATCHES,
    crosses,
    family,
    has_lengths,
    has_more_queries,
    is_biased,
    is_causal,
    is_decoding,
    is_float16,
    is_grouped,
    is_long,
    is_masked,
    is_square,
    is_windowed,
    mutant,
)


def too_many(a: Attention) -> Array:
    return a.at()[1] <= a.at()[0] + 1 if is_causal(a) else np.True_


def too_few(a: Attention) -> Array:
    return a.at()[1] < a.at()[0] if is_causal(a) else np.True_


def no_causal(a: Attention) -> np.bool:
    return np.True_


CAUSAL = family(
    "causal",
    mutant("one key too many", in_causal=too_many),
    mutant("one key too few", in_causal=too_few),
    mutant("one key too many, last head", in_causal=too_many, where=LAST_HEAD),
    mutant("one key too few, last row", in_causal=too_few, where=LAST_ROW),
    mutant("one key too many, first batch element", in_causal=too_many, where=FIRST_BATCH),
    mutant("one key too few where S != T", in_causal=too_few, when=crosses),
    mutant("one key too many where T > S", in_causal=too_many, when=has_more_queries),
    mutant("one key too many in float16", in_causal=too_many, when=is_float16),
    mutant("one key too many in long problems", in_causal=too_many, when=is_long),
    mutant("ignored", in_causal=no_causal),
    mutant("ignored where there is a mask", in_causal=no_causal, when=is_masked),
    mutant("ignored where there is a bias", in_causal=no_causal, when=is_biased),
    mutant("ignored where there is a window", in_causal=no_causal, when=is_windowed),
    mutant("ignored where there are lengths", in_causal=no_causal, when=has_lengths),
    mutant("ignored for a single query", in_causal=no_causal, when=is_decoding),
    mutant("the other way round", in_causal=lambda a: a.at()[1] >= a.at()[0] if is_causal(a) else np.True_),
)

ALIGNMENT = family(
    "alignment",
    mutant("top-left for bottom-right", offset=lambda a: 0),
    mutant("bottom-right for top-left", offset=lambda a: a.S - a.T if is_causal(a) else 0),
    mutant("bottom-right one too far", offset=lambda a: Attention.offset(a) + (a.asked.causal == "bottom_right")),
    mutant("bottom-right one too near", offset=lambda a: Attention.offset(a) - (a.asked.causal == "bottom_right")),
    mutant("bottom-right never before the first key", offset=lambda a: max(0, Attention.offset(a))),
    mutant("bottom-right backwards", offset=lambda a: -Attention.offset(a)),
    mutant(
        "bottom-right from the lengths",
        at=lambda a: (
            Attention.at(a)[0] + (a.lengths() - a.S if a.asked.causal == "bottom_right" else 0),
            np.arange(a.S),
        ),
    ),
)


def exclusive(a: Attention, left: int, right: int) -> Array:
    (t, s), (least, most) = a.at(), a.window()
    inside = s >= t - least + left if least is not None else np.True_
    return inside & (s <= t + most - right if most is not None else np.True_)


def around(a: Attention, offset: int) -> Array:
    """The window around a diagonal of its own."""
    t, s = np.arange(a.T)[:, None] + offset, np.arange(a.S)
    left, right = a.window()
    return (np.True_ if left is None else s >= t - left) & (np.True_ if right is None else s <= t + right)


WINDOW = family(
    "window",
    mutant("ignored", in_window=lambda a: np.True_),
    mutant("ignored where there is causal", in_window=lambda a: np.True_, when=is_causal),
    mutant("ignored, last head", in_window=lambda a: np.True_, where=LAST_HEAD),
    mutant("ignored where there are lengths", in_window=lambda a: np.True_, when=has_lengths),
    mutant("left exclusive", in_window=lambda a: exclusive(a, 1, 0)),
    mutant("right exclusive", in_window=lambda a: exclusive(a, 0, 1)),
    mutant("one more to the left", in_window=lambda a: exclusive(a, -1, 0)),
    mutant("one more to the right", in_window=lambda a: exclusive(a, 0, -1)),
    mutant("one more to the left, last row", in_window=lambda a: exclusive(a, -1, 0), where=LAST_ROW),
    mutant("left and right swapped", window=lambda a: Attention.window(a)[::-1]),
    mutant("left ignored", window=lambda a: (None, Attention.window(a)[1])),
    mutant("right ignored", window=lambda a: (Attention.window(a)[0], None)),
    mutant("0 taken for open", window=lambda a: tuple(side or None for side in Attention.window(a))),
    mutant("open taken for 0", window=lambda a: tuple(side or 0 for side in a.asked.window or (a.T + a.S,) * 2)),
    mutant("around the top-left diagonal", in_window=lambda a: around(a, 0)),
    mutant("around the bottom-right diagonal", in_window=lambda a: around(a, a.S - a.T)),
)

LENGTHS = family(
    "lengths",
    mutant("one key too many", lengths=lambda a: Attention.lengths(a) + 1),
    mutant("one key too few", lengths=lambda a: Attention.lengths(a) - (has_lengths(a))),
    mutant("one key too many, last head", lengths=lambda a: Attention.lengths(a) + 1, where=LAST_HEAD),
    mutant("one key too many, later batch elements", lengths=lambda a: Attention.lengths(a) + 1, where=LATER_BATCHES),
    mutant("ignored", lengths=lambda a: a.S),
    mutant("ignored where there is causal", lengths=lambda a: a.S, when=is_causal),
    mutant("ignored where there is a mask", lengths=lambda a: a.S, when=is_masked),
    mutant("those of the first batch element", lengths=lambda a: Attention.lengths(a)[:1] if has_lengths(a) else a.S),
    mutant("in reverse order", lengths=lambda a: Attention.lengths(a)[::-1] if has_lengths(a) else a.S),
    mutant("the longest of all", lengths=lambda a: Attention.lengths(a).max() if has_lengths(a) else a.S),
    mutant("rounded up to blocks of 8", lengths=lambda a: -(-Attention.lengths(a) // 8) * 8 if has_lengths(a) else a.S),
    mutant("at least one key", lengths=lambda a: np.maximum(Attention.lengths(a), 1)),
    mutant("counted from the end", in_length=lambda a: np.arange(a.S) >= a.S - a.lengths()),
    mutant(
        "of queries, too",
        out=lambda a: (
            np.where(np.arange(a.T)[:, None] < a.lengths(), Attention.out.func(a), 0)
            if has_lengths(a)
            else Attention.out.func(a)
        ),
    ),
)


def mask_of(a: Attention, place: tuple[slice, ...]) -> Array:
    return np.True_ if a.asked.mask is None else a.asked.mask[place]


def no_mask(a: Attention) -> np.bool:
    return np.True_


MASK = family(
    "mask",
    mutant("inverted", in_mask=lambda a: ~Attention.in_mask(a) if is_masked(a) else np.True_),
    mutant("ignored", in_mask=no_mask),
    mutant("ignored, last row", in_mask=no_mask, where=LAST_ROW),
    mutant("ignored, last head", in_mask=no_mask, where=LAST_HEAD),
    mutant("ignored, first batch element", in_mask=no_mask, where=FIRST_BATCH),
    mutant("ignored where there is causal", in_mask=no_mask, when=is_causal),
    mutant("ignored where there is a bias", in_mask=no_mask, when=is_biased),
    mutant("ignored where there are lengths", in_mask=no_mask, when=has_lengths),
    mutant("ignored in float16", in_mask=no_mask, when=is_float16),
    mutant("ignored for the last key", in_mask=lambda a: Attention.in_mask(a) | (np.arange(a.S) == a.S - 1)),
    mutant("ignored past 16 keys", in_mask=lambda a: Attention.in_mask(a) | (np.arange(a.S) >= 16)),
    mutant("that of the first batch element", in_mask=lambda a: mask_of(a, np.s_[:1])),
    mutant("that of the first head", in_mask=lambda a: mask_of(a, np.s_[:, :1])),
    mutant("that of the first query", in_mask=lambda a: mask_of(a, np.s_[:, :, :1])),
    mutant(
        "transposed",
        in_mask=lambda a: Attention.in_mask(a).swapaxes(2, 3) if is_masked(a) else np.True_,
        when=is_square,
    ),
    mutant(
        "or causal, not and",
        everybody=lambda a: (
            a.in_window()
            & a.in_length()
            & ((a.in_causal() | a.in_mask()) if is_causal(a) and is_masked(a) else a.in_causal() & a.in_mask())
        ),
    ),
    mutant("weakens by 10 instead of hiding", hidden=lambda a, scores: np.where(a.seen, scores, scores - 10)),
    mutant("added as 0 and 1", hidden=lambda a, scores: scores + a.seen),
)


def of_blind(a: Attention, instead: Array) -> Array:
    """The output, with something else in the rows that see no key."""
    return np.where(a.seen.any(axis=-1, keepdims=True), Attention.out.func(a), instead)


def raw_values(a: Attention) -> Array:
    return a.value[:, a.reads()]


def flat(a: Attention, scores: Array) -> Array:
    """Hides by a number: a row of nothing else is as if it saw everything."""
    return np.where(a.seen, scores, -30000.0)


EMPTY = family(
    "empty rows",
    mutant("mean(V)", out=lambda a: of_blind(a, raw_values(a).mean(axis=2, keepdims=True))),
    mutant("hidden by -30000", hidden=flat),
    mutant("NaN", out=lambda a: of_blind(a, np.nan)),
    mutant("NaN, last head", out=lambda a: of_blind(a, np.nan), where=LAST_HEAD),
    mutant("the first value", out=lambda a: of_blind(a, raw_values(a)[:, :, :1])),
    mutant("1e-30", out=lambda a: of_blind(a, 1e-30)),
    mutant("NaN where lengths hide it", out=lambda a: of_blind(a, np.nan), when=has_lengths),
    mutant("NaN where causal hides it", out=lambda a: of_blind(a, np.nan), when=is_causal),
    mutant("NaN where mask and causal hide it", out=lambda a: of_blind(a, np.nan), when=is_masked),
    mutant("declared, but gone", deviations=(Deviation("empty_rows", "mean(V)"),)),
    mutant(
        "NaN in the gradient",
        of_scores=lambda a: np.where(a.seen.any(axis=-1, keepdims=True), Attention.of_scores(a), np.nan),
    ),
)

LEAKS = family(
    "leaks",
    mutant("NaN of a hidden value", of_hidden=lambda a: a.value[:, a.reads()]),
    mutant("NaN of a hidden value, last head", of_hidden=lambda a: a.value[:, a.reads()], where=LAST_HEAD),
    mutant("NaN of a value that a mask hides", of_hidden=lambda a: a.value[:, a.reads()], when=is_masked),
    mutant("NaN of a value past its length", of_hidden=lambda a: a.value[:, a.reads()], when=has_lengths),
    mutant("NaN of a value that causal hides", of_hidden=lambda a: a.value[:, a.reads()], when=is_causal),
    mutant("NaN of a hidden key", hidden=lambda a, scores: scores + np.where(a.seen, 0, -np.inf)),
    mutant(
        "NaN of a hidden key, later batch elements",
        hidden=lambda a, scores: scores + np.where(a.seen, 0, -np.inf),
        where=LATER_BATCHES,
    ),
    mutant("declared, but gone", deviations=(Deviation("hidden_nan_value", "NaN"),)),
)

GROUPS = family(
    "groups",
    mutant("n % K", reads=lambda a: np.arange(a.N) % a.K),
    mutant("n % K where T = 1", reads=lambda a: np.arange(a.N) % a.K, when=is_decoding),
    mutant("in reverse", reads=lambda a: Attention.reads(a)[::-1]),
    mutant("all read the first", reads=lambda a: np.zeros(a.N, int), when=is_grouped),
    mutant("the last reads the first", reads=lambda a: np.where(np.arange(a.N) == a.N - 1, 0, Attention.reads(a))),
    mutant("keys right, values n % K", values=lambda a: a.value[:, np.arange(a.N) % a.K]),
    mutant("n % K, later batch elements", reads=lambda a: np.arange(a.N) % a.K, where=LATER_BATCHES),
)

FAULTS = (*CAUSAL, *ALIGNMENT, *WINDOW, *LENGTHS, *MASK, *EMPTY, *LEAKS, *GROUPS)
