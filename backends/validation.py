"""Checks of the arrays that a user passes: the same error text for every framework, before any framework is touched."""

from __future__ import annotations

from typing import Any

import numpy as np

from backends.problem import DTYPES, Inputs, InvalidProblem, Shape


def validate(
    query: Any,
    key: Any,
    value: Any,
    *,
    mask: Any = None,
    bias: Any = None,
    kv_lengths: Any = None,
    upstream: Any = None,
    dtype: str | None = None,
) -> Inputs:
    """The checked arrays as Inputs. Nothing is copied unless bfloat16 has to be held in float32.

    `dtype` names the dtype of the numbers where the arrays hold bfloat16 in float32; by default it is the arrays' own.
    """
    arrays = {"query": _array("query", query), "key": _array("key", key), "value": _array("value", value)}
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES:
            raise InvalidProblem(f"{name} has dtype {array.dtype.name}, expected one of {', '.join(DTYPES)}")
        if array.dtype != arrays["query"].dtype:
            raise InvalidProblem(
                f"{name} has dtype {array.dtype.name}, expected {arrays['query'].dtype.name} as query has"
            )
        if array.ndim != 4:
            letters = {"query": "(B,T,N,H)", "key": "(B,S,K,H)", "value": "(B,S,K,V)"}[name]
            raise InvalidProblem(f"{name} has shape {array.shape}, expected 4 axes {letters}")
    name = arrays["query"].dtype.name
    if dtype is not None and dtype != name and (dtype, name) != ("bfloat16", "float32"):
        raise InvalidProblem(f"dtype={dtype!r} for arrays of {name}, expected {name!r} or, for float32, 'bfloat16'")
    shape = _shape(arrays["query"].shape, arrays["key"].shape, arrays["value"].shape)
    held = {n: a.astype(np.float32) if a.dtype.name == "bfloat16" else a for n, a in arrays.items()}
    return Inputs(
        held["query"],
        held["key"],
        held["value"],
        dtype or name,
        mask=_mask(mask, shape),
        bias=_bias(bias, shape, arrays["query"].dtype),
        kv_lengths=_kv_lengths(kv_lengths, shape),
        upstream=_upstream(upstream, shape, arrays["query"].dtype),
    )


def _array(name: str, given: Any) -> np.ndarray:
    if not isinstance(given, np.ndarray):
        raise InvalidProblem(f"{name} is {type(given).__name__}, expected a NumPy array")
    return given


def _shape(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...]) -> Shape:
    B, T, N, H = query
    if key[0] != B or key[3] != H:
        raise InvalidProblem(f"key has shape {key}, expected (B={B}, S, K, H={H}) to go with query {query}")
    if value[:3] != key[:3]:
        raise InvalidProblem(
            f"value has shape {value}, expected ({key[0]}, {key[1]}, {key[2]}, V) to go with key {key}"
        )
    return Shape(B=B, T=T, S=key[1], N=N, K=key[2], H=H, V=value[3])


def _broadcastable(name: str, array: np.ndarray, shape: Shape) -> None:
    full = (shape.B, shape.N, shape.T, shape.S)
    fits = array.ndim <= 4 and all(a in (1, f) for a, f in zip(array.shape[::-1], full[::-1], strict=False))
    if not fits:
        raise InvalidProblem(f"{name} has shape {array.shape}, expected one that broadcasts to (B,N,T,S) = {full}")


def _mask(given: Any, shape: Shape) -> np.ndarray | None:
    if given is None:
        return None
    mask = _array("mask", given)
    if mask.dtype != np.bool_:
        raise InvalidProblem(f"mask has dtype {mask.dtype.name}, expected bool (True = attend)")
    _broadcastable("mask", mask, shape)
    return mask


def _bias(given: Any, shape: Shape, dtype: np.dtype[Any]) -> np.ndarray | None:
    if given is None:
        return None
    bias = _array("bias", given)
    if bias.dtype != dtype:
        raise InvalidProblem(f"bias has dtype {bias.dtype.name}, expected {dtype.name} as query has")
    _broadcastable("bias", bias, shape)
    return bias.astype(np.float32) if dtype.name == "bfloat16" else bias


def _upstream(given: Any, shape: Shape, dtype: np.dtype[Any]) -> np.ndarray | None:
    if given is None:
        return None
    upstream = _array("upstream", given)
    if upstream.dtype != dtype:
        raise InvalidProblem(f"upstream has dtype {upstream.dtype.name}, expected {dtype.name} as query has")
    full = (shape.B, shape.T, shape.N, shape.V)
    if upstream.shape != full:
        raise InvalidProblem(f"upstream has shape {upstream.shape}, expected that of the output, (B,T,N,V) = {full}")
    return upstream.astype(np.float32) if dtype.name == "bfloat16" else upstream


def _kv_lengths(given: Any, shape: Shape) -> np.ndarray | None:
    if given is None:
        return None
    try:
        lengths = np.asarray(given)
    except ValueError:
        raise InvalidProblem(f"kv_lengths={given!r}, expected integers of shape (B,) = ({shape.B},)") from None
    if lengths.dtype.kind not in "iu":
        raise InvalidProblem(f"kv_lengths has dtype {lengths.dtype.name}, expected integers")
    if lengths.shape != (shape.B,):
        raise InvalidProblem(f"kv_lengths has shape {lengths.shape}, expected (B,) = ({shape.B},)")
    if lengths.size and (lengths.min() < 0 or lengths.max() > shape.S):
        raise InvalidProblem(f"kv_lengths reaches from {lengths.min()} to {lengths.max()}, expected 0 to S = {shape.S}")
    return lengths.astype(np.int32)
