"""What `forward_backward` is held to: the gradients of query, key, value and bias in float64, and the bounds of their errors.

With P the probabilities, D the gradient that arrives at the output ("upstream"), O the output (FlashAttention, algorithm 4):

    dV = P'D      dP = DV'      dS = P o (dP - rowsum(D o O))      dQ = scale dS K      dK = scale dS'Q      dbias = dS

with dS times 1 - tanh**2 before dQ and dK where there is a softcap. The bounds are of first order, as those of the output
in backends.accuracy, and linear in the same roundoffs: what P is off by goes through all of it, and dP and dS are stored in
the format of P. Invisible keys and values, whatever they hold, have no part in any of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from backends import reference
from backends.accuracy import Expected, Roundoffs, expect, score_errors, through_softmax
from backends.visibility import as_four

if TYPE_CHECKING:
    from backends.problem import Inputs, Semantics

NAMES = ("query", "key", "value", "bias")
"""What there are gradients of, in the order in which an implementation returns them after the output."""
_AXES = {"query": "b,t,n,h", "key": "b,s,k,h", "value": "b,s,k,v", "bias": "b,n,t,s"}
_ROUNDOFFS = tuple(field.name for field in fields(Roundoffs))
_UNITS = {unit: Roundoffs(**{name: float(name == unit) for name in _ROUNDOFFS}) for unit in _ROUNDOFFS}
"""A bound is linear in the roundoffs: its coefficients are what it is where one of them is 1 and the others are 0."""


def wanted(inputs: Inputs) -> tuple[str, ...]:
    """The gradients that belong to a problem: of bias only where there is one; none without an upstream gradient."""
    if inputs.upstream is None:
        return ()
    return NAMES if inputs.bias is not None else NAMES[:3]


@dataclass(slots=True)
class _Backward:
    """Some query rows of one head on their way back (t rows)."""

    block: reference.Rows
    key: np.ndarray
    """(S,H), finite."""
    value: np.ndarray
    """(S,V), finite."""
    upstream: np.ndarray
    """(t,V)."""
    into: np.ndarray
    """(t,S) dP: the gradient of the probabilities."""
    carried: np.ndarray
    """(t,1) rowsum(D o O)."""
    scores: np.ndarray
    """(t,S) dS: the gradient of the scores with bias."""
    slope: np.ndarray | float
    """1 - tanh**2, where there is a softcap."""

    @property
    def products(self) -> np.ndarray:
        """(t,S) gradient of the scores before softcap, as they come out of the first product."""
        product: np.ndarray = self.scores * self.slope
        return product


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
    return _Backward(block, key, value, upstream, into, carried, scores, slope)


def compute(inputs: Inputs, semantics: Semantics) -> dict[str, np.ndarray]:
    """The gradients by name, float64, each of its array's shape. Needs inputs.upstream."""
    found = {name: np.zeros(_array(inputs, name).shape) for name in wanted(inputs)}
    group = inputs.shape.N // inputs.shape.K
    for block in reference.rows(inputs, semantics):
        b, rows, n = block.at
        back = _backward(block, inputs, semantics)
        found["query"][b, rows, n] = back.products @ back.key * block.scale
        found["key"][b, :, n // group] += back.products.T @ block.query * block.scale
        found["value"][b, :, n // group] += block.probability.T @ back.upstream
        if "bias" in found:
            _add(found["bias"], block.at, back.scores)
    return found


def _array(inputs: Inputs, name: str) -> np.ndarray:
    array: np.ndarray = getattr(inputs, name)
    return array


def _add(to: np.ndarray, at: tuple[int, slice, int], rows: np.ndarray) -> None:
    """Add (t,S) to the part of a bias-shaped array that these rows read, summed over the axes that are broadcast."""
    four = as_four(to)  # a view: writing into it writes into `to`
    b, block, n = at
    own = four[b % four.shape[0], n % four.shape[1]]
    if own.shape[1] == 1:
        rows = rows.sum(axis=1, keepdims=True)
    if own.shape[0] == 1:
        own += rows.sum(axis=0, keepdims=True)
    else:
        own[block] += rows


def expect_all(inputs: Inputs, semantics: Semantics) -> dict[str, Expected]:
    """Everything that a problem is held to: the output, and where an upstream gradient is given, the gradients."""
    output = expect(inputs, semantics)
    names = wanted(inputs)
    if not names:
        return {"output": output}
    exact = compute(inputs, semantics)
    sums = {(name, unit): np.zeros(exact[name].shape) for name in names for unit in _UNITS}
    for block in reference.rows(inputs, semantics):
        back = _backward(block, inputs, semantics)
        from_product, from_score = score_errors(block, semantics, inputs.shape.H)
        for unit, u in _UNITS.items():
            scores = from_product * u.product + from_score * u.score
            _collect({name: sums[name, unit] for name in names}, back, scores, u, inputs, semantics)
    gradients = {
        name: Expected(
            exact[name],
            {unit: sums[name, unit].astype(np.float32) for unit in _UNITS},
            output.score_product,
            output.score_score,
            what=f"gradients of {name}",
            axes=_AXES[name],
        )
        for name in names
    }
    return {"output": output, **gradients}


def _collect(
    to: dict[str, np.ndarray],
    back: _Backward,
    score_error: np.ndarray,
    u: Roundoffs,
    inputs: Inputs,
    semantics: Semantics,
) -> None:
    """Add what these rows are off by, to first order, where the scores are off by score_error and roundoffs are `u`."""
    shape, block = inputs.shape, back.block
    b, rows, n = block.at
    head, group = n // (shape.N // shape.K), shape.N // shape.K
    query, seen = np.abs(np.where(np.isfinite(block.query), block.query, 0.0)), block.seen
    key, value, upstream, scale = np.abs(back.key), np.abs(back.value), np.abs(back.upstream), abs(block.scale)
    p = through_softmax(block.probability, score_error) + u.probability * block.probability + u.smallest * seen
    into = np.sqrt(shape.V) * u.product * (upstream @ value.T) + u.probability * np.abs(back.into)
    out = p @ value + np.sqrt(shape.S) * u.product * (block.probability @ value)
    out += u.output * np.abs(block.probability @ back.value)
    carried = (upstream * out).sum(axis=-1, keepdims=True) + (block.probability * into).sum(axis=-1, keepdims=True)
    carried += np.sqrt(shape.V) * u.product * (upstream * (block.probability @ value)).sum(axis=-1, keepdims=True)
    scores = p * np.abs(back.into - back.carried) + block.probability * (into + carried)
    size = np.abs(back.scores)
    scores += (u.product + u.probability) * size + u.smallest * seen
    products = scores * back.slope + u.score * np.abs(back.products)
    if semantics.softcap is not None:
        tanh = np.abs(np.where(seen, block.capped, 0.0)) / semantics.softcap
        products += size * (2 * tanh / semantics.softcap * score_error + 2 * (u.product + u.score))
    long = np.abs(back.products)
    exact = np.abs(back.products @ back.key) * scale
    to["query"][b, rows, n] += (
        scale * (products @ key + np.sqrt(shape.S) * u.product * (long @ key)) + u.output * exact + u.smallest
    )
    many = np.sqrt(shape.T * group) * u.product
    of_key = scale * (products.T @ query + many * (long.T @ query))
    to["key"][b, :, head] += of_key + u.output * scale * np.abs(back.products.T @ block.query) + u.smallest
    of_value = p.T @ upstream + many * (block.probability.T @ upstream)
    to["value"][b, :, head] += of_value + u.output * np.abs(block.probability.T @ back.upstream) + u.smallest
    if "bias" in to:
        broadcast = np.sqrt(max(1, shape.B * shape.N * shape.T * shape.S / max(1, to["bias"].size)))
        _add(to["bias"], block.at, scores + (broadcast * u.product + u.output) * size)
