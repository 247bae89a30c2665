"""Faults on the way back: the output is right, a gradient is not. And faults of the log-sum-exp."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.mutants.attention import Array, Attention
from tests.mutants.blocked import Blocked
from tests.mutants.mutant import (
    FIRST_BATCH,
    LAST_HEAD,
    LAST_ROW,
    crosses,
    family,
    has_lengths,
    is_bfloat16,
    is_biased,
    is_causal,
    is_float16,
    is_grouped,
    is_long,
    is_masked,
    is_windowed,
    mutant,
)
from tests.mutants.scores import without
from tests.mutants.softmax import to


def no_carried(a: Attention) -> int:
    return 0


def unscaled(a: Attention) -> tuple[float, float]:
    return 1.0, 1.0


def no_slope(a: Attention) -> int:
    return 1


def steep(a: Attention) -> Array:
    """The slope of the softcap at the score with bias."""
    c = a.asked.softcap
    return 1 if c is None else 1 - np.tanh(np.where(a.seen, a.scores, 0) / c) ** 2


def asked_otherwise(**keywords: Any) -> Any:
    """P as it would be if it were asked otherwise."""
    return lambda a: a.other(**keywords).probability


def of_bias(change: Any) -> Any:
    """of_bias() with something done to it, where there is a bias."""
    return lambda a: None if a.asked.bias is None else change(a, Attention.of_bias(a))


def of_first_element(a: Attention, gradient: Array) -> Array:
    """Of the bias, as if the first batch element were the only one."""
    axes = tuple(axis for axis, size in enumerate(gradient.shape) if size == 1 and axis > 0)
    return np.broadcast_to(a.of_scores()[:1].sum(axis=axes, keepdims=True), gradient.shape)


def of_last_place(a: Attention, gradient: Array) -> Array:
    """Of the bias, one term of each sum."""
    return a.of_scores()[tuple(slice(-1, None) if size == 1 else slice(None) for size in gradient.shape)]


def to_first(a: Attention, axis: int) -> Array:
    """The upstream gradient of the first along an axis, for all."""
    return np.broadcast_to(a.upstream.take([0], axis), a.upstream.shape)


def lacking(array: Any, place: Any) -> Any:
    return None if array is None else without(array, place)


def group_member(a: Attention, array: Array, member: int) -> Array:
    return array.reshape(a.B, a.K, a.group, *array.shape[2:])[:, :, member]


GRADIENTS = family(
    "gradients",
    mutant("dS without the row sum", carried=no_carried),
    mutant("dS without the row sum, last head", carried=no_carried, where=LAST_HEAD),
    mutant("dS without the row sum in float16", carried=no_carried, when=is_float16),
    mutant("dS without the row sum in bfloat16", carried=no_carried, when=is_bfloat16),
    mutant("the row sum of dP alone", carried=lambda a: a.into().sum(axis=-1, keepdims=True)),
    mutant("the row sum of the output alone", carried=lambda a: a.out.sum(axis=-1, keepdims=True)),
    mutant("the row sum over the batch", carried=lambda a: Attention.carried(a).mean(axis=0, keepdims=True)),
    mutant("no scale", factor=unscaled),
    mutant("no scale for the query", factor=lambda a: (1.0, a.scale())),
    mutant("no scale for the key", factor=lambda a: (a.scale(), 1.0)),
    mutant("the scale twice for the key", factor=lambda a: (a.scale(), a.scale() ** 2)),
    mutant("the default scale though another is given", factor=lambda a: (a.H**-0.5,) * 2),
    mutant("no slope of the softcap", slope=no_slope),
    mutant("the slope of the softcap with the bias", slope=steep),
    mutant(
        "the slope of the softcap as tanh",
        slope=lambda a: 1 if a.asked.softcap is None else np.sqrt(np.maximum(0, 1 - Attention.slope(a))),
    ),
    mutant("the slope of the softcap for the bias, too", of_bias=of_bias(lambda a, g: g * np.mean(a.slope()))),
    mutant(
        "value from weights that are not normalised",
        of_value=lambda a: a.gathered(a.weights.swapaxes(-1, -2) @ a.upstreams()),
    ),
    mutant("value from dS", of_value=lambda a: a.gathered(a.of_scores().swapaxes(-1, -2) @ a.upstreams())),
    mutant("the first query head of a group alone", gathered=lambda a, x: group_member(a, x, 0)),
    mutant("the last query head of a group alone", gathered=lambda a, x: group_member(a, x, -1)),
    mutant("the mean over a group", gathered=lambda a, x: Attention.gathered(a, x) / a.group),
    mutant("groups of n % K", gathered=lambda a, x: x.reshape(a.B, a.group, a.K, *x.shape[2:]).sum(axis=1)),
    mutant(
        "value only for the first query head of a group",
        of_value=lambda a: group_member(a, a.again().swapaxes(-1, -2) @ a.upstreams(), 0),
        when=is_grouped,
    ),
    mutant("none of the bias", of_bias=of_bias(lambda a, g: 0 * g)),
    mutant("none of the bias where there is causal", of_bias=of_bias(lambda a, g: 0 * g), when=is_causal),
    mutant("of the bias for the first batch element alone", of_bias=of_bias(of_first_element)),
    mutant("of the bias from the last place where it was broadcast", of_bias=of_bias(of_last_place)),
    mutant("of the bias as the mean where it was broadcast", of_bias=of_bias(lambda a, g: g * g.size / a.scores.size)),
    mutant("of the bias times the scale", of_bias=of_bias(lambda a, g: g * a.scale())),
    mutant("upstream ignored", upstreams=lambda a: np.ones_like(a.upstream)),
    mutant("upstream of the first batch element", upstreams=lambda a: to_first(a, 0)),
    mutant("upstream of the first head", upstreams=lambda a: to_first(a, 1)),
    mutant(
        "upstream summed over its columns",
        upstreams=lambda a: np.broadcast_to(a.upstream.sum(axis=-1, keepdims=True), a.upstream.shape),
    ),
    mutant(
        "of the query from keys in another order",
        of_query=lambda a: a.of_products() @ Attention.finite_keys(a)[..., ::-1] * a.scale(),
    ),
    mutant("of the key without its last row", of_key=lambda a: lacking(Attention.of_key(a), LAST_ROW)),
    mutant("of the query without its last row", of_query=lambda a: lacking(Attention.of_query(a), LAST_ROW)),
    mutant(
        "of the value without its first batch element", of_value=lambda a: lacking(Attention.of_value(a), FIRST_BATCH)
    ),
    mutant(
        "of the key for no more than 64 queries",
        of_key=lambda a: a.gathered(a.of_products()[:, :, :64].swapaxes(-1, -2) @ a.query[:, :, :64] * a.scale()),
    ),
    mutant(
        "of the value past 1024 keys dropped", of_value=lambda a: lacking(Attention.of_value(a), np.s_[:, :, 1024:])
    ),
    mutant(
        "of the query 1 % too large in long problems", of_query=lambda a: 1.01 * Attention.of_query(a), when=is_long
    ),
    mutant(
        "value columns past H ignored",
        into=lambda a: a.upstreams()[..., : a.H] @ a.values()[..., : a.H].swapaxes(-1, -2),
    ),
    mutant("causal ignored", again=asked_otherwise(causal=None)),
    mutant(
        "top-left for bottom-right",
        again=lambda a: asked_otherwise(causal="top_left" if is_causal(a) else None)(a),
        when=crosses,
    ),
    mutant("the window ignored", again=asked_otherwise(window=None), when=is_windowed),
    mutant("the mask ignored", again=asked_otherwise(mask=None), when=is_masked),
    mutant("the lengths ignored", again=asked_otherwise(kv_lengths=None), when=has_lengths),
    mutant("the bias ignored", again=asked_otherwise(bias=None), when=is_biased),
    mutant("the softcap ignored", again=asked_otherwise(softcap=None)),
    mutant(
        "through hidden keys",
        of_scores=lambda a: Attention.of_scores(a) + np.where(a.seen, 0, 1e-4),
    ),
    mutant("the sign", of_key=lambda a: -Attention.of_key(a)),
    mutant("dS in float16", of_scores=lambda a: to(Attention.of_scores(a), "float16")),
    mutant("dP in bfloat16", into=lambda a: to(Attention.into(a), "bfloat16")),
    mutant("all of it 1e-3 off", of_scores=lambda a: 1.001 * Attention.of_scores(a)),
    mutant(
        "the log-sum-exp without the last block",
        base=Blocked,
        again=lambda a: np.exp(a.scores - np.log(np.exp(a.scores[..., :-1]).sum(axis=-1, keepdims=True))),
    ),
    mutant("the probabilities of another maximum", base=Blocked, again=lambda a: Blocked.again(a) * np.exp(0.01)),
)


def where_seen(otherwise: float) -> Any:
    """log_sum_exp() with something else in a row that sees nothing."""
    return lambda a: np.where(a.seen.any(axis=-1), Attention.log_sum_exp(a), otherwise)


def of_hidden_too(a: Attention) -> Array:
    total = np.exp(a.finished() - a.highest()).sum(axis=-1, keepdims=True)
    return (a.highest() + np.log(total))[..., 0]


def of_largest(a: Attention) -> Array:
    return np.where(a.seen.any(axis=-1), a.highest()[..., 0], -np.inf)


def first_for_last(a: Attention) -> Array:
    found = Attention.log_sum_exp(a)
    return np.concatenate([found[:, :-1], found[:, :1]], axis=1)


LOGS = family(
    "log-sum-exp",
    mutant("in base 2", log_sum_exp=lambda a: Attention.log_sum_exp(a) / np.log(2)),
    mutant("without the maximum", log_sum_exp=lambda a: np.log(a.summed(a.weights))[..., 0]),
    mutant("the maximum alone", log_sum_exp=of_largest),
    mutant("0 in a row that sees nothing", log_sum_exp=where_seen(0)),
    mutant("NaN in a row that sees nothing", log_sum_exp=where_seen(np.nan)),
    mutant("+inf in a row that sees nothing", log_sum_exp=where_seen(np.inf)),
    mutant("of hidden keys, too", log_sum_exp=of_hidden_too),
    mutant("the mean", log_sum_exp=lambda a: Attention.log_sum_exp(a) - np.log(a.S)),
    mutant("the sum", log_sum_exp=lambda a: np.exp(Attention.log_sum_exp(a))),
    mutant(
        "without the scale",
        log_sum_exp=lambda a: a.other(scale=1.0).log_sum_exp() if a.asked.scale is None else Attention.log_sum_exp(a),
    ),
    mutant("without the softcap", log_sum_exp=lambda a: Attention.log_sum_exp(a.other(softcap=None))),
    mutant("without the bias", log_sum_exp=lambda a: Attention.log_sum_exp(a.other(bias=None))),
    mutant("the last head that of the first", log_sum_exp=first_for_last),
    mutant("in float16", log_sum_exp=lambda a: to(Attention.log_sum_exp(a), "float16")),
    mutant("of (B,T,N)", log_sum_exp=lambda a: Attention.log_sum_exp(a).swapaxes(1, 2)),
    mutant("overflows", log_sum_exp=lambda a: np.log(np.exp(a.scores).sum(axis=-1))),
)

FAULTS = (*GRADIENTS, *LOGS)
