"""From BTNH to an implementation's native layout and back. All of it happens before the clock starts or after it stops.

Always a copy: an implementation that writes into its inputs must not reach its neighbours' or the user's.
"""

from __future__ import annotations

import numpy as np

from backends.interface import Unsupported
from backends.problem import Inputs
from backends.visibility import as_four


def to_layout(inputs: Inputs, layout: str) -> Inputs:
    """A copy with query, key, value contiguous in `layout`; mask and bias get their four axes (three in XTH).

    Raises Unsupported where the layout cannot express the problem: XTH has one key/value head for each query head.
    """
    if layout == "XTH" and inputs.shape.K != inputs.shape.N:
        raise Unsupported("heads are folded into the batch: each query head needs its own key/value head")
    arrays = [_convert(a, layout) for a in (inputs.query, inputs.key, inputs.value)]
    upstream = None if inputs.upstream is None else _convert(inputs.upstream, layout)
    mask, bias = (None if a is None else _four(a, layout, inputs) for a in (inputs.mask, inputs.bias))
    lengths = inputs.kv_lengths
    if lengths is not None:
        lengths = np.repeat(lengths, inputs.shape.N if layout == "XTH" else 1)
    given = {"mask": mask, "bias": bias, "kv_lengths": lengths, "upstream": upstream}
    return Inputs(arrays[0], arrays[1], arrays[2], inputs.dtype, **given)


def _convert(array: np.ndarray, layout: str) -> np.ndarray:
    if layout == "BTNH":
        return _copy(array)
    heads_first = _copy(array.transpose(0, 2, 1, 3))
    return heads_first if layout == "BNTH" else heads_first.reshape(-1, *heads_first.shape[2:])


def _copy(array: np.ndarray) -> np.ndarray:
    """Contiguous, in the byte order of this machine: not every framework takes another."""
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def _four(array: np.ndarray, layout: str, inputs: Inputs) -> np.ndarray:
    four = as_four(array)
    if layout != "XTH":
        return _copy(four)
    shape = inputs.shape
    full = np.broadcast_to(four, (shape.B, shape.N, *four.shape[2:]))
    return _copy(full).reshape(-1, *four.shape[2:])


def from_layout(out: np.ndarray, layout: str, heads: int) -> np.ndarray:
    """An output in `layout` as (B,T,N,V). An array of another rank is returned as it is, for the judge to see."""
    if layout == "XTH" and out.ndim == 3:
        out = out.reshape(-1, heads, *out.shape[1:])
    return out.transpose(0, 2, 1, 3) if layout != "BTNH" and out.ndim == 4 else out


def bias_from_layout(gradient: np.ndarray, layout: str, inputs: Inputs) -> np.ndarray:
    """The gradient of a bias as its implementation had it, summed over what the bias of `inputs` broadcasts."""
    assert inputs.bias is not None
    if layout == "XTH" and gradient.ndim == 3:
        gradient = gradient.reshape(-1, inputs.shape.N, *gradient.shape[1:])
    own = as_four(inputs.bias)
    axes = tuple(axis for axis, (has, full) in enumerate(zip(own.shape, gradient.shape, strict=False)) if has < full)
    summed = gradient.astype(np.float64).sum(axis=axes, keepdims=True) if axes else gradient
    return summed.reshape(inputs.bias.shape) if summed.size == inputs.bias.size else summed
