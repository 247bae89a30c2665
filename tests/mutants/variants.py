"""Other ways to be right: other orders, blocks, formats and layouts. None of them may be accused."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.mutants.attention import Array, Attention
from tests.mutants.blocked import Blocked
from tests.mutants.mutant import family, is_long, mutant

_RNG = np.random.default_rng(0)


def shuffled(a: Blocked) -> list[Any]:
    """The blocks in an order that is another in each call: the last bits differ from call to call."""
    found = Blocked.blocks(a)
    return [found[i] for i in _RNG.permutation(len(found))]


def key_by_key(a: Attention) -> Array:
    """Output, summed one key after the other."""
    if is_long(a):
        return Attention.mixed(a)
    values, out = a.values(), np.zeros((a.B, a.N, a.T, a.V), a.wide)
    for s in range(a.S):
        out = out + a.probability[..., s, None] * values[:, :, None, s]
    return out


def head_by_head(a: Attention) -> Array:
    """Scores, one batch element and head after the other."""
    keys = a.keys()
    each = [[a.query[b, n] @ keys[b, n].T for n in range(a.N)] for b in range(a.B)]
    return np.array(each)


def lazily_raised(a: Blocked, highest: Array, scores: Array) -> Array:
    """A higher score counts once it is far higher: sums are rescaled seldom (FlashAttention-4)."""
    raised = Blocked.raised(a, highest, scores)
    return np.where(np.isneginf(highest) | (raised > highest + 8), raised, highest)


def folded(a: Attention) -> Array:
    """Scores with the bias as one more feature of query and key."""
    if a.asked.bias is None or a.asked.bias.shape[2] > 1 or a.asked.softcap is not None:
        return Attention.finished(a)
    bias = np.broadcast_to(a.bias(), (a.B, a.N, 1, a.S)).swapaxes(-1, -2)
    query = np.concatenate([a.query * np.dtype(a.wide).type(a.scale()), np.ones((a.B, a.N, a.T, 1), a.wide)], axis=-1)
    return query @ np.concatenate([a.keys(), bias], axis=-1).swapaxes(-1, -2)


def in_float64(method: Any) -> Any:
    """A method whose arrays are float64 throughout."""
    return lambda a, *arrays: method(a, *(np.asarray(array, np.float64) for array in arrays))


VARIANTS = family(
    "right",
    mutant("as it stands"),
    mutant("blocks of 1", base=Blocked, size=1),
    mutant("blocks of 3", base=Blocked, size=3),
    mutant("blocks of 7", base=Blocked, size=7),
    mutant("blocks of 64", base=Blocked, size=64),
    mutant("blocks of 512", base=Blocked, size=512),
    mutant("blocks from the last to the first", base=Blocked, blocks=lambda a: Blocked.blocks(a)[::-1]),
    mutant("blocks in random order", base=Blocked, blocks=shuffled),
    mutant("blocks rescaled seldom", base=Blocked, raised=lazily_raised),
    mutant("float64 inside", wide=lambda a: "float64"),
    mutant("float64 inside, in blocks", base=Blocked, wide=lambda a: "float64"),
    mutant(
        "normalised after the second product", mixed=lambda a: a.divided(a.weights @ a.values(), a.summed(a.weights))
    ),
    mutant("times the reciprocal of the sum", divided=lambda a, w, total: w * (1 / np.where(total == 0, 1, total))),
    mutant("exp2, its factor in the scores", exp=lambda a, s: np.exp2(s * np.dtype(a.wide).type(np.log2(np.e)))),
    mutant("a bound of the maximum", highest=lambda a: np.ceil(Attention.highest(a))),
    mutant("a maximum that is 3 too large", highest=lambda a: Attention.highest(a) + 3),
    mutant(
        "queries scaled before the product",
        product=lambda a: Attention.scaled(a, a.query) @ a.keys().swapaxes(-1, -2),
        scaled=lambda a, s: s,
        slope=lambda a: 1 if a.asked.softcap is None else 1 - np.tanh(a.product() / a.asked.softcap) ** 2,
    ),
    mutant(
        "keys scaled before the product",
        product=lambda a: a.query @ Attention.scaled(a, a.keys()).swapaxes(-1, -2),
        scaled=lambda a, s: s,
    ),
    mutant(
        "einsum",
        product=lambda a: np.einsum("bnth,bnsh->bnts", a.query, a.keys()),
        mixed=lambda a: np.einsum("bnts,bnsv->bntv", a.probability, a.values()),
    ),
    mutant("heads in a loop", product=head_by_head),
    mutant("key after key", mixed=key_by_key),
    mutant(
        "features from the last to the first",
        product=lambda a: a.query[..., ::-1] @ a.keys()[..., ::-1].swapaxes(-1, -2),
    ),
    mutant(
        "the product in two halves",
        product=lambda a: (
            a.query[..., ::2] @ a.keys()[..., ::2].swapaxes(-1, -2)
            + a.query[..., 1::2] @ a.keys()[..., 1::2].swapaxes(-1, -2)
        ),
    ),
    mutant(
        "the sum of weights in float64",
        summed=lambda a, w: w.sum(axis=-1, keepdims=True, dtype=np.float64).astype(w.dtype),
    ),
    mutant("the other layout", layout="BTNH"),
    mutant("the bias as a feature", finished=folded),
    mutant(
        "the softmax through the log-sum-exp",
        probability=lambda a: np.exp(a.scores - np.where(a.seen.any(axis=-1), a.log_sum_exp(), 0)[..., None]),
    ),
    mutant(
        "the gradient of the bias before it is summed",
        of_bias=lambda a: a.of_scores() if a.asked.bias is not None else None,
    ),
    mutant("the row sum from P and dP", carried=lambda a: (a.again() * a.into()).sum(axis=-1, keepdims=True)),
    mutant(
        "one thread of keys each way",
        base=Blocked,
        size=64,
        summed=lambda a, w: w[..., ::2].sum(axis=-1, keepdims=True) + w[..., 1::2].sum(axis=-1, keepdims=True),
    ),
    mutant(
        "the mask as a bias of -inf",
        hidden=lambda a, s: np.where(
            np.isnan(s) & ~a.seen, -np.inf, s + np.where(a.seen, np.float32(0), -np.float32(np.inf))
        ),
    ),
)
