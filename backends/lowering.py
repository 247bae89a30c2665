"""Express semantics that an implementation does not take natively through the mask or bias that it does take.

This is what its users do: torch's SDPA has no key lengths, so one builds a mask, once per model. It happens before the
clock starts and it is never silent: each step is a word in the result's `lowered` column. What cannot be expressed is
refused with the reason. Property: the oracle gives the same answer before and after lowering.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from backends.interface import Implementation, Unsupported
from backends.problem import Inputs, Semantics, features
from backends.visibility import as_four, visible

_NOT_EXPRESSIBLE = {
    "grouped": "no grouped key/value heads (K < N)",
    "value_size": "no value size different from the head size (V != H)",
    "scale": "no scale other than H**-0.5",
    "softcap": "no softcap",
    "bias": "no additive bias",
}

_HIDING = frozenset({"mask", "causal_top_left", "causal_bottom_right", "window", "kv_lengths"})
"""What makes keys invisible: all of it can be said by one boolean mask."""


def lower(
    inputs: Inputs, semantics: Semantics, implementation: Implementation
) -> tuple[Inputs, Semantics, tuple[str, ...]]:
    """The problem in words that the implementation accepts, and what was rewritten. Raises Unsupported with the reason."""
    inputs, semantics, notes = _express(inputs, semantics, implementation)
    if not implementation.broadcasts:
        inputs, more = _write_out(inputs)
        notes += more
    return inputs, semantics, notes


def _write_out(inputs: Inputs) -> tuple[Inputs, tuple[str, ...]]:
    """Masks and biases over all of T and S, where an axis of size 1 stood for all."""
    full = (inputs.shape.T, inputs.shape.S)
    whole = {name: as_four(array) for name in ("mask", "bias") if (array := getattr(inputs, name)) is not None}
    short = {name: array for name, array in whole.items() if array.shape[2:] != full}
    written: dict[str, Any] = {name: np.broadcast_to(a, (*a.shape[:2], *full)) for name, a in short.items()}
    return dataclasses.replace(inputs, **written), tuple(f"{name} written out over T and S" for name in short)


def merged_into(inputs: Inputs, semantics: Semantics, implementation: Implementation) -> str:
    """What everything that hides keys is merged into over all of T and S: "mask", "bias", or "" where nothing has to be.

    Looks at shapes alone, never at numbers. Raises Unsupported as `lower` does.
    """
    accepts = implementation.accepts
    semantics, _ = simplify(inputs, semantics, accepts)
    asked = set(features(inputs, semantics))
    for feature, reason in _NOT_EXPRESSIBLE.items():
        if feature in asked - accepts:
            raise Unsupported(reason)
    hiding = asked & _HIDING
    together = hiding | (asked & {"bias"})
    if not hiding - accepts and (implementation.combines or len(together) <= 1):
        return ""
    return _target(implementation, inputs, sorted(hiding - accepts) or [f"{' and '.join(sorted(together))} together"])


def _express(
    inputs: Inputs, semantics: Semantics, implementation: Implementation
) -> tuple[Inputs, Semantics, tuple[str, ...]]:
    target = merged_into(inputs, semantics, implementation)
    semantics, notes = simplify(inputs, semantics, implementation.accepts)
    if not target:
        return inputs, semantics, notes
    hiding = set(features(inputs, semantics)) & _HIDING
    seen = visible(inputs, semantics) if inputs.shape.S else np.ones((1, 1, inputs.shape.T, 0), bool)
    kept = Semantics(scale=semantics.scale, softcap=semantics.softcap)
    notes += tuple(f"{feature} as {target}" for feature in sorted(hiding) if feature != target)
    if target == "mask":
        return dataclasses.replace(inputs, mask=seen, kv_lengths=None), kept, notes
    bias = np.zeros((), inputs.query.dtype) if inputs.bias is None else as_four(inputs.bias)
    merged = np.where(seen, bias, -np.inf).astype(inputs.query.dtype)
    return dataclasses.replace(inputs, mask=None, bias=merged, kv_lengths=None), kept, notes


def simplify(inputs: Inputs, semantics: Semantics, accepts: frozenset[str]) -> tuple[Semantics, tuple[str, ...]]:
    """Replace bottom-right by what it means where it means something simpler: no mask needs to be built for it."""
    shape = inputs.shape
    if semantics.causal != "bottom_right" or "causal_bottom_right" in accepts:
        return semantics, ()
    if shape.T == shape.S:
        return dataclasses.replace(semantics, causal="top_left"), ("causal bottom_right as top_left (T = S)",)
    if shape.T == 1 and semantics.window is None:
        return dataclasses.replace(semantics, causal=None), ("causal bottom_right dropped (one query sees every key)",)
    return semantics, ()


def _target(implementation: Implementation, inputs: Inputs, hidden: list[str]) -> str:
    accepts = implementation.accepts
    if inputs.bias is not None and not implementation.combines:
        return "bias"
    if "mask" in accepts:
        return "mask"
    if "bias" in accepts:
        return "bias"
    raise Unsupported(f"no {', '.join(hidden)}, and no mask to express it with")
