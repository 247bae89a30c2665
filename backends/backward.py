"""What `forward_backward` is held to: the gradients of query, key, value and bias in float64, and the bounds of their errors.

With P the probabilities, D the gradient that arrives at the output ("upstream"), O the output (FlashAttention, algorithm 4):

    dV = P'D      dP = DV'      dS = P o (dP - rowsum(D o O))      dQ = scale dS K      dK = scale dS'Q      dbias = dS

with dS times 1 - tanh**2 before dQ and dK where there is a softcap. The bounds are of first order, as those of the output
in backends.accuracy, and linear in the same roundoffs: what P is off by goes through all of it, and dP and dS are stored in
the format of P. Invisible keys and values, whatever they hold, have no part in any of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from backends import reference
from backends.accuracy import Expected, Roundoffs, expect, score_errors, through_softmax
from backends.numpy_threads import mapped
from backends.visibility import as_four

if TYPE_CHECKING:
    from backends.problem import Inputs, Semantics, Shape

NAMES = ("query", "key", "value", "bias")
"""What there are gradients of, in the order in which an implementation returns them after the output."""
_AXES = {"query": "b,t,n,h", "key": "b,s,k,h", "value": "b,s,k,v", "bias": "b,n,t,s"}
_UNITS = tuple(field.name for field in fields(Roundoffs))
_EXACT = "exact"
_Terms = dict[tuple[str, str], np.ndarray]
"""By the name of an array and what of its gradient: _EXACT, or the coefficient of a roundoff in its bound."""


def wanted(inputs: Inputs) -> tuple[str, ...]:
    """The gradients that belong to a problem: of bias only where there is one; none without an upstream gradient."""
    if inputs.upstream is None:
        return ()
    return NAMES if inputs.bias is not None else NAMES[:3]


@dataclass(slots=True)
class _Backward:
    """Some query rows of one head on their way back (t rows, and s keys in sight)."""

    block: reference.Rows
    key: np.ndarray
    """(s,H), finite."""
    value: np.ndarray
    """(s,V), finite."""
    upstream: np.ndarray
    """(t,V)."""
    into: np.ndarray
    """(t,s) dP: the gradient of the probabilities."""
    carried: np.ndarray
    """(t,1) rowsum(D o O)."""
    scores: np.ndarray
    """(t,s) dS: the gradient of the scores with bias."""
    slope: np.ndarray | float
    """1 - tanh**2, where there is a softcap."""
    products: np.ndarray
    """(t,s) gradient of the scores before softcap, as they come out of the first product."""


def _backward(block: reference.Rows, inputs: Inputs, semantics: Semantics) -> _Backward:
    b, rows, n = block.at
    assert inputs.upstream is not None
    upstream = inputs.upstream[b, rows, n].astype(np.float64)
    key, value = (np.where(np.isfinite(a), a, 0.0) for a in (block.key, block.value))
    into = upstream @ value.T
    carried = (block.probability * into).sum(axis=-1, keepdims=True)
    slope: np.ndarray | float = 1.0
    if semantics.softcap is not None:
        slope = np.where(block.seen, 1 - np.square(block.capped / semantics.softcap), 0.0)
    scores = block.probability * (into - carried)
    return _Backward(block, key, value, upstream, into, carried, scores, slope, scores * slope)


def compute(inputs: Inputs, semantics: Semantics) -> dict[str, np.ndarray]:
    """The gradients by name, float64, each of its array's shape. Needs inputs.upstream."""
    found = _sums(inputs, (_EXACT,), semantics, lambda block: _exact(_backward(block, inputs, semantics), inputs))
    return {name: found[name, _EXACT] for name in wanted(inputs)}


def _sums(
    inputs: Inputs, kinds: Sequence[str], semantics: Semantics, terms: Callable[[reference.Rows], _Terms]
) -> _Terms:
    """Add up what each block of rows contributes. Threads share large problems: each sums a run of blocks of one key/value
    head, and the runs are added in their order.
    """
    shape = inputs.shape
    names, group = wanted(inputs), shape.N // shape.K
    found = {(name, kind): np.zeros(_array(inputs, name).shape) for name in names for kind in kinds}

    def one(run: list[reference.Place]) -> _Terms:
        own: _Terms = {}
        for block in reference.rows(inputs, semantics, run):
            b, rows, n = block.at
            for to, term in terms(block).items():
                if to[0] == "query":
                    found[to][b, rows, n] = term
                elif to[0] == "bias":
                    _add(found[to], block, term)
                else:
                    if to not in own:
                        own[to] = np.zeros((shape.S, term.shape[1]))
                    own[to][block.keys] += term
        return own

    # What a bias is added to belongs to several heads, or all: one thread does it.
    over = 1 if "bias" in names else reference.threads_for(shape)
    runs = _runs(shape, semantics, over)
    for run, own in zip(runs, mapped(one, [(run,) for run in runs], over), strict=True):
        b, _, n = run[0]
        for to, term in own.items():
            found[to][b, :, n // group] += term
    return found


def _runs(shape: Shape, semantics: Semantics, of_head: int) -> list[list[reference.Place]]:
    """The blocks of rows of each key/value head of each batch element, in so many runs or fewer."""
    heads: dict[tuple[int, int], list[reference.Place]] = {}
    for b, rows, n in reference.places(shape, semantics):
        heads.setdefault((b, n // (shape.N // shape.K)), []).append((b, rows, n))
    found = []
    for own in heads.values():
        step = math.ceil(len(own) / of_head)
        found += [own[first : first + step] for first in range(0, len(own), step)]
    return found


def _exact(back: _Backward, inputs: Inputs) -> _Terms:
    """What these rows add to the gradients."""
    block, products = back.block, back.products
    found = {
        ("query", _EXACT): products @ back.key * block.scale,
        ("key", _EXACT): products.T @ block.query * block.scale,
        ("value", _EXACT): block.probability.T @ back.upstream,
    }
    return found if inputs.bias is None else {**found, ("bias", _EXACT): back.scores}


def _array(inputs: Inputs, name: str) -> np.ndarray:
    array: np.ndarray = getattr(inputs, name)
    return array


def _add(to: np.ndarray, of: reference.Rows, terms: np.ndarray) -> None:
    """Add (t,s) to the part of a bias-shaped array that these rows read, summed over the axes that are broadcast."""
    four = as_four(to)  # a view: writing into it writes into `to`
    b, block, n = of.at
    own = four[b % four.shape[0], n % four.shape[1]]
    t, s = slice(None), slice(None)
    if own.shape[0] == 1:
        terms = terms.sum(axis=0, keepdims=True)
    else:
        t = block
    if own.shape[1] == 1:
        terms = terms.sum(axis=1, keepdims=True)
    else:
        s = of.keys
    own[t, s] += terms


def expect_all(inputs: Inputs, semantics: Semantics) -> dict[str, Expected]:
    """Everything that a problem is held to: the output, and where an upstream gradient is given, the gradients."""
    output = expect(inputs, semantics)
    names = wanted(inputs)
    if not names:
        return {"output": output}

    def terms(block: reference.Rows) -> _Terms:
        back = _backward(block, inputs, semantics)
        exact = _exact(back, inputs)
        return exact | _bounds(back, exact, inputs, semantics)

    sums = _sums(inputs, (_EXACT, *_UNITS), semantics, terms)
    gradients = {
        name: Expected(
            sums[name, _EXACT],
            {unit: sums[name, unit].astype(np.float32) for unit in _UNITS},
            output.score_product,
            output.score_score,
            what=f"gradients of {name}",
            axes=_AXES[name],
        )
        for name in names
    }
    return {"output": output, **gradients}


def _bounds(back: _Backward, exact: _Terms, inputs: Inputs, semantics: Semantics) -> _Terms:
    """What these rows are off by, to first order, for each roundoff: a bound is linear in them, so its coefficients are what
    it is where one of them is 1 and the others are 0. What several have in common is computed once.
    """
    shape, block = inputs.shape, back.block
    group, probability, seen = shape.N // shape.K, block.probability, block.seen
    query = np.abs(np.where(np.isfinite(block.query), block.query, 0.0))
    key, value, upstream, scale = np.abs(back.key), np.abs(back.value), np.abs(back.upstream), abs(block.scale)
    from_product, from_score = score_errors(block, semantics, shape.H)
    size, long, gap = np.abs(back.scores), np.abs(back.products), np.abs(back.into - back.carried)
    mass, weight = probability @ value, probability.T @ upstream
    many = np.sqrt(shape.T * group)
    # The error of P, of PV beyond what comes from P, of dP, of dS, and of its product with the slope of a softcap.
    p = {
        "product": through_softmax(probability, from_product),
        "score": through_softmax(probability, from_score),
        "probability": probability,
        "smallest": seen.astype(float),
    }
    out = {"product": (np.sqrt(shape.S) + np.sqrt(shape.V)) * mass, "output": np.abs(probability @ back.value)}
    into = {"product": np.sqrt(shape.V) * (upstream @ value.T), "probability": np.abs(back.into)}
    scores = {"product": size, "probability": size, "smallest": seen}
    products = {"score": long}
    if semantics.softcap is not None:
        slope = 2 * np.abs(np.where(seen, block.capped, 0.0)) / semantics.softcap**2
        products = {
            "product": size * (slope * from_product + 2),
            "score": long + size * (slope * from_score + 2),
        }
    # The errors of the last sums themselves, and of what they are rounded to.
    last = {
        ("query", "product"): scale * np.sqrt(shape.S) * (long @ key),
        ("key", "product"): scale * many * (long.T @ query),
        ("value", "product"): many * weight,
        **{(name, "output"): np.abs(exact[name, _EXACT]) for name in ("query", "key", "value")},
        **{(name, "smallest"): 1.0 for name in ("query", "key", "value")},
    }
    found: _Terms = {}
    for unit in _UNITS:
        all_out = out.get(unit, 0.0)
        if unit in p:
            all_out = all_out + (mass if unit == "probability" else p[unit] @ value)
        carried = (upstream * all_out).sum(axis=-1, keepdims=True)
        if unit in into:
            carried = carried + (probability * into[unit]).sum(axis=-1, keepdims=True)
        all_scores = probability * (into.get(unit, 0.0) + carried) + scores.get(unit, 0.0)
        if unit in p:
            all_scores += p[unit] * gap
        all_products = all_scores * back.slope + products.get(unit, 0.0)
        found["query", unit] = scale * (all_products @ key) + last.get(("query", unit), 0.0)
        found["key", unit] = scale * (all_products.T @ query) + last.get(("key", unit), 0.0)
        of_p = 0.0 if unit not in p else weight if unit == "probability" else p[unit].T @ upstream
        found["value", unit] = of_p + last.get(("value", unit), np.zeros_like(weight))
        if inputs.bias is not None:
            found["bias", unit] = all_scores + _of_bias(unit, shape, inputs.bias.size) * size
    return found


def _of_bias(unit: str, shape: Shape, of: int) -> float:
    """What the gradient of a bias of so many numbers, summed where it is broadcast, is off by for each of its terms."""
    if unit == "product":
        return math.sqrt(max(1, shape.B * shape.N * shape.T * shape.S / max(1, of)))
    return float(unit == "output")
