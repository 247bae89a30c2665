"""The questions of `check`, as data: one semantic each, on problems small enough to ask every implementation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.cases import Case, case

_WHY = "conformance probe"


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


def _probe(name: str, says: str, *cases: dict[str, Any], topic: str = "", poison: str = "") -> Probe:
    defaults: dict[str, Any] = {"T": 12, "S": 12, "N": 2, "H": 16}
    made = tuple(case(f"{name}-{i}", _WHY, **{**defaults, **fields}) for i, fields in enumerate(cases))
    return Probe(name, says, made, topic, poison)


_CAUSAL_SHAPES: tuple[dict[str, Any], ...] = ({}, {"T": 5, "S": 12})

PROBES = (
    _probe("plain", "softmax(QK') V", {}, {"T": 77, "S": 197}, {"T": 1}, {"B": 3, "T": 5}),
    _probe("grouped", "query head n reads key/value head n // (N/K)", {"N": 6, "K": 2}, {"N": 4, "K": 1}),
    _probe("value-size", "value heads of another size", {"V": 8}, {"V": 24}),
    _probe("scale", "a scale other than H**-0.5", {"scale": 0.5}),
    _probe(
        "top-left",
        "key s visible iff s <= t",
        *({"causal": "top_left", **s} for s in (*_CAUSAL_SHAPES, {"T": 12, "S": 5})),
    ),
    _probe(
        "bottom-right",
        "key s visible iff s <= t + S - T",
        *({"causal": "bottom_right", **s} for s in (*_CAUSAL_SHAPES, {"T": 1})),
    ),
    _probe("mask", "boolean, True = attend", {"mask": "random"}, {"mask": "documents"}),
    _probe("bias", "added to the scores", {"bias": "random"}, {"bias": "alibi"}),
    _probe("combined", "mask, bias and causal together", {"mask": "prefix", "bias": "random", "causal": "top_left"}),
    _probe("lengths", "keys at or past the length are invisible", {"B": 3, "kv_lengths": (12, 7, 1)}),
    _probe("window", "inclusive, around the diagonal", {"window": (3, 2)}, {"window": (4, 0), "causal": "top_left"}),
    _probe("softcap", "c tanh(s/c) before bias and mask", {"softcap": 2.0}),
    _probe(
        "empty-rows",
        "a row that sees no key gives 0",
        {"B": 2, "kv_lengths": (7, 0)},
        {"T": 12, "S": 5, "causal": "bottom_right"},
        topic="empty_rows",
    ),
    _probe(
        "nan-in-key",
        "NaN in a hidden key does not leak",
        {"kv_lengths": (7,)},
        {"mask": "prefix"},
        {"T": 5, "S": 12, "causal": "top_left"},
        topic="hidden_nan_key",
        poison="key",
    ),
    _probe(
        "nan-in-value",
        "NaN in a hidden value does not leak",
        {"kv_lengths": (7,)},
        {"mask": "prefix"},
        {"T": 5, "S": 12, "causal": "top_left"},
        topic="hidden_nan_value",
        poison="value",
    ),
    _probe("float64", "within its bound", {"dtype": "float64"}),
    _probe("bfloat16", "within its bound", {"dtype": "bfloat16"}),
    _probe("float16", "within its bound", {"dtype": "float16"}),
)

BY_NAME = {probe.name: probe for probe in PROBES}
