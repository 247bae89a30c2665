"""The questions of `check`, as data: one semantic each, on problems small enough to ask every implementation.

The shapes are few, for each one costs a compiler seconds; within them every size is another number, hardly any is a multiple of
a block, and every batch element, head, query and key has numbers of its own: what is mixed up shows. That each probe finds
something, and that what is known to go wrong is found, is tested with planted faults: see tests/mutants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.cases import Case, case

_WHY = "conformance probe"
KINDS = ("output", "repeats", "log-sum-exp")


@dataclass(frozen=True, slots=True)
class Probe:
    """One column of the matrix."""

    name: str
    says: str
    """What conforming means, in a few words."""
    cases: tuple[Case, ...]
    """All have to come out right; those that an implementation refuses do not count unless all are refused."""
    topic: str = ""
    """The deviation topic (see backends.interface.DEVIATION_TOPICS) that this probe is about."""
    poison: str = ""
    """"key" or "value": the hidden ones are set to NaN, and the output has to be what it was."""
    kind: str = KINDS[0]
    """What is held to the oracle: the output (and gradients) of a call; those of many calls; the log-sum-exp of the scores."""


def _probe(name: str, says: str, *cases: dict[str, Any], **rest: str) -> Probe:
    made = tuple(case(f"{name}-{i}", _WHY, **{**_CROSS, **fields}) for i, fields in enumerate(cases))
    return Probe(name, says, made, **rest)


_CROSS: dict[str, Any] = {"B": 2, "T": 13, "S": 21, "N": 3, "H": 16}
_SELF: dict[str, Any] = {"S": 13}
_MORE_QUERIES: dict[str, Any] = {"T": 21, "S": 13}
_LENGTHS: dict[str, Any] = {"B": 3, "kv_lengths": (21, 9, 1)}
_TOP_LEFT: dict[str, Any] = {"causal": "top_left"}
_BOTTOM_RIGHT: dict[str, Any] = {"causal": "bottom_right"}
_COMBINED: dict[str, Any] = {"mask": "random", "bias": "random", **_TOP_LEFT, **_SELF}
"""As many queries as keys: a mask or bias that is transposed has the right shape."""
_GROUPED: dict[str, Any] = {"N": 6, "K": 2}
_MEDIUM: dict[str, Any] = {"B": 1, "T": 77, "S": 197, "N": 2, "H": 160}
"""Several blocks of the sizes that small kernels have, and a rest; of features, too."""
_LONG: dict[str, Any] = {"B": 1, "T": 1030, "S": 1100, "N": 2}
"""Several blocks of any size that is usual."""
_WHOLE: dict[str, Any] = {"T": 32, "S": 64}
"""Whole blocks, no rest."""
_NARROW: dict[str, Any] = {**_WHOLE, "B": 1, "N": 2, "H": 128}
"""For 16 bits: outliers make the scores hardly larger than those bits can tell apart; see accuracy.ILL_CONDITIONED."""
_DECODING: dict[str, Any] = {
    "B": 3,
    "T": 1,
    "S": 1100,
    "N": 4,
    "K": 2,
    "H": 128,
    "kv_lengths": (1100, 515, 1),
    **_BOTTOM_RIGHT,
}
_BACK: dict[str, Any] = {"pass_": "forward_backward"}
_HIDDEN = (_LENGTHS, {"mask": "padding"}, _TOP_LEFT)
"""Problems with keys that no query sees."""

PROBES = (
    _probe("plain", "softmax(QK') V", {}, {"T": 1, "H": 33}),
    _probe(
        "long",
        "several blocks and a rest, backward too",
        {**_LONG, "N": 1, "H": 160},
        {**_LONG, "K": 1, "H": 16, "kv_lengths": (1090,), "window": (300, None), **_BOTTOM_RIGHT},
        {**_LONG, "H": 16, "mask": "heads", "bias": "random", "window": (700, None), **_TOP_LEFT},
        {**_LONG, "N": 1, "H": 16, **_TOP_LEFT, **_BACK},
    ),
    _probe("grouped", "query head n reads key/value head n // (N/K)", _GROUPED, _DECODING),
    _probe("value-size", "value heads of another size", {"V": 24}),
    _probe("scale", "a scale other than H**-0.5", {"scale": -0.3, **_MORE_QUERIES}, {"scale": 0.0, **_WHOLE}),
    _probe("top-left", "key s visible iff s <= t", *({**_TOP_LEFT, **s} for s in ({}, _MORE_QUERIES, {"T": 1}))),
    _probe("bottom-right", "key s visible iff s <= t + S - T", *({**_BOTTOM_RIGHT, **s} for s in ({}, {"T": 1}))),
    _probe("mask", "boolean, True = attend", {"mask": "heads"}, {"mask": "padding"}),
    _probe("bias", "added to the scores", {"bias": "full"}, {"bias": "keys", **_WHOLE}),
    _probe(
        "combined",
        "mask, bias, causal and lengths together",
        _COMBINED,
        {"mask": "prefix", "bias": "full", "kv_lengths": (21, 9), **_BOTTOM_RIGHT},
    ),
    _probe("lengths", "keys at or past the length are invisible", _LENGTHS),
    _probe(
        "window",
        "inclusive, around the diagonal",
        {"window": (0, 2)},
        {"window": (None, 2)},
        {"window": (3, 1), **_BOTTOM_RIGHT},
    ),
    _probe(
        "softcap",
        "c tanh(s/c) before bias and mask",
        {"softcap": 2.0},
        {"softcap": 2.0, "bias": "full", "mask": "padding"},
    ),
    _probe(
        "empty-rows",
        "a row that sees no key gives 0, and has gradients of 0",
        {"kv_lengths": (7, 0)},
        {"T": 13, "S": 5, **_BOTTOM_RIGHT},
        {"mask": "padding", **_TOP_LEFT},
        {"kv_lengths": (7, 0), **_BACK},
        topic="empty_rows",
    ),
    _probe("nan-in-key", "NaN in a hidden key does not leak", *_HIDDEN, topic="hidden_nan_key", poison="key"),
    _probe("nan-in-value", "NaN in a hidden value does not leak", *_HIDDEN, topic="hidden_nan_value", poison="value"),
    _probe("float64", "within its bound", *({"dtype": "float64", **what} for what in ({}, _COMBINED))),
    _probe("bfloat16", "within its bound", *({"dtype": "bfloat16", **what} for what in (_NARROW, _COMBINED))),
    _probe("float16", "within its bound", *({"dtype": "float16", **what} for what in (_NARROW, _COMBINED))),
    _probe(
        "outliers",
        "one number in a thousand is large",
        *({"values": "outliers", "dtype": dtype, **_NARROW} for dtype in ("bfloat16", "float16")),
    ),
    _probe(
        "extremes",
        "scores so large that their exponentials overflow",
        {"values": "large-queries"},
        {"values": "large-queries", **_TOP_LEFT},
        {"values": "constant-keys"},
        {"values": "large-queries", "dtype": "float16", **_NARROW},
        {"values": "large-queries", **_BACK},
    ),
    _probe(
        "repeats",
        "each call gives its own answer, and leaves what was given as it was",
        {},
        _COMBINED,
        _LENGTHS,
        _BACK,
        kind="repeats",
    ),
    _probe(
        "log-sum-exp",
        "log(sum(exp(scores))), -inf where no key is seen",
        {},
        _COMBINED,
        {"softcap": 2.0, "scale": -0.3, **_GROUPED},
        {"kv_lengths": (7, 0)},
        {"values": "large-queries", **_TOP_LEFT},
        kind="log-sum-exp",
    ),
    _probe("grad-plain", "gradients of query, key and value", _BACK, {**_MEDIUM, "scale": 0.1, **_BACK}),
    _probe("grad-grouped", "each key/value head gathers those of its query heads", {**_GROUPED, **_BACK}),
    _probe("grad-value-size", "value heads of another size", {"V": 8, **_BACK}, {"V": 24, **_BACK}),
    _probe(
        "grad-causal",
        "nothing flows through what is not seen",
        {"window": (4, None), **_TOP_LEFT, **_BACK},
        {"window": (5, 0), **_BOTTOM_RIGHT, **_BACK},
    ),
    _probe("grad-mask", "nothing flows through the mask", {"mask": "heads", **_BACK}),
    _probe("grad-lengths", "nothing flows past the lengths", {**_LENGTHS, **_BACK}),
    _probe(
        "grad-bias",
        "that of bias, summed where it was broadcast",
        *({**what, **_BACK} for what in (_COMBINED, {"bias": "keys"})),
    ),
    _probe("grad-softcap", "times 1 - tanh**2", {"softcap": 2.0, "bias": "full", **_BACK}),
    _probe(
        "grad-bfloat16",
        "within their bounds",
        *({"dtype": "bfloat16", **w, **_BACK} for w in (_TOP_LEFT, {"bias": "keys"})),
    ),
    _probe(
        "grad-float16",
        "within their bounds",
        *({"dtype": "float16", **w, **_BACK} for w in (_TOP_LEFT, {"bias": "keys"})),
    ),
)

BY_NAME = {probe.name: probe for probe in PROBES}
