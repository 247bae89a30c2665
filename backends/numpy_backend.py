"""NumPy: the textbook form, and a blocked form whose memory does not grow with the square of the length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from backends.accuracy import Roundoffs
from backends.interface import Asked, Prepared, Unsupported, implementation
from backends.numpy_blocked import Walk, as_one, goes_whole
from backends.numpy_blocked_backward import backward
from backends.numpy_hiding import hide_unseen, without_leaks
from backends.numpy_threads import blas, threads

DTYPES = ("float64", "float32", "float16")
Array = np.ndarray


def load() -> None:
    """NumPy is always there: this project stands on it."""


def version() -> str:
    """Version of NumPy and of its BLAS."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"numpy {np.__version__}, {blas['name']} {blas['version']}"


def devices() -> tuple[str, ...]:
    """NumPy computes on the CPU."""
    return ("cpu",)


def to_native(array: Array, dtype: str, device: str) -> Array:
    """A contiguous array; Unsupported for bfloat16, which NumPy does not have."""
    if dtype == "bfloat16":
        raise Unsupported("NumPy has no bfloat16")
    return np.ascontiguousarray(array, dtype=dtype)


def to_numpy(array: Array) -> Array:
    """The array itself."""
    return array


def dtype_of(array: Array) -> str:
    """Name of the dtype."""
    return array.dtype.name


def barrier(output: Array) -> None:
    """NumPy has computed when it returns."""


def compile(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """NumPy compiles nothing."""
    raise Unsupported(f"NumPy has no compile mode {mode!r}")


def differentiate(function: Callable[..., Any], mode: str | None, sources: tuple[str, ...]) -> Callable[..., Any]:
    """NumPy differentiates nothing: an implementation brings its own gradient."""
    raise Unsupported("NumPy has no automatic differentiation, and this implementation brings no gradient")


def pull_back(call: Callable[[], Any], sources: tuple[Any, ...], upstream: Any) -> tuple[Any, ...]:
    """As differentiate."""
    raise Unsupported("NumPy has no automatic differentiation")


def settings() -> dict[str, str]:
    """Threads and kernel set of each BLAS that is loaded, as threadpoolctl sees them."""
    controller = blas()
    found = [] if controller is None else [lib for lib in controller.info() if lib["user_api"] == "blas"]
    return {
        "threads": str(threads()),
        "blas": "; ".join(f"{b['internal_api']} {b['version']} {b.get('architecture', '')}".strip() for b in found),
        "matmul_precision": "as the dtype (float16 in float32)",
    }


def matmul(size: int, dtype: str, device: str) -> Callable[[], Any]:
    """np.matmul of two square matrices; float16 and bfloat16 have no BLAS."""
    if dtype not in ("float32", "float64"):
        raise Unsupported(f"NumPy has no BLAS matmul for {dtype}")
    a = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    out = np.empty_like(a)
    return lambda: np.matmul(a, a, out=out)


def stream(rows: int, width: int, device: str) -> Callable[[], Any]:
    """np.matmul of a matrix and a vector, by BLAS."""
    # Ones, not zeros: the kernel would give all pages of zeros one and the same memory.
    a, b = np.ones((rows, width), np.float32), np.ones(width, np.float32)
    out = np.empty(rows, np.float32)
    return lambda: np.matmul(a, b, out=out)


def _claims(dtype: str) -> Roundoffs:
    """float16 is widened to float32, computed there and rounded once."""
    wide = "float32" if dtype == "float16" else dtype
    return Roundoffs.of(dtype, accumulate=wide, score=wide, probability=wide)


def _prove(prepared: Prepared) -> str:
    """The BLAS behind np.matmul. There is no other kernel that NumPy could silently choose."""
    blas = settings()["blas"] or version().partition(", ")[2]
    return f"numpy.matmul on {blas}"


# Inf in a hidden key or value makes NaN on its way to being hidden, and NumPy would warn of that.
_quietly = np.errstate(invalid="ignore")


class _Scores(NamedTuple):
    """What the textbook form has computed before it multiplies by the values; all (B,N,T,S), in the width of the sums."""

    probability: Array
    log_sum_exp: Array
    """(B,N,T,1)."""
    seen: Array | None
    slope: Array | None
    """How fast the softcap lets each score grow."""


def _softmax(query: Array, key: Array, asked: Asked, *, with_slope: bool = False) -> _Scores:
    """Scores and their softmax over what is seen."""
    (B, N, T, H), (K, S) = query.shape, key.shape[1:3]
    wide = np.result_type(query.dtype, np.float32)
    # The queries that share a key/value head become rows of one matrix: grouped heads need no copy of key and value.
    rows = query.astype(wide, copy=False).reshape(B, K, N // K * T, H)
    scores = (rows * wide.type(_scale(query, asked))) @ key.astype(wide, copy=False).swapaxes(-1, -2)
    scores = scores.reshape(B, N, T, S)
    slope = None
    if asked.softcap is not None:
        tanh = np.tanh(scores / wide.type(asked.softcap))
        slope = 1 - np.square(tanh) if with_slope else None
        scores = tanh * wide.type(asked.softcap)
    if asked.bias is not None:
        scores += asked.bias.astype(wide, copy=False)
    seen = asked.seen(np.arange(T)[:, None], np.arange(S), S - T) if asked.hides else None
    if seen is not None:
        hide_unseen(scores, seen)
    highest = scores.max(axis=-1, keepdims=True)
    scores -= np.where(np.isneginf(highest), 0, highest)
    probability = np.exp(scores, out=scores)
    total = probability.sum(axis=-1, keepdims=True)
    blind = total == 0
    probability /= np.where(blind, 1, total)
    with_log = np.where(blind, -np.inf, highest + np.log(np.where(blind, 1, total)))
    return _Scores(probability, with_log, seen, slope)


def _scale(query: Array, asked: Asked) -> float:
    return float(query.shape[3] ** -0.5 if asked.scale is None else asked.scale)


def _mix(found: _Scores, value: Array, dtype: np.dtype[Any]) -> Array:
    """The output, (B,N,T,V)."""
    (B, N, T, S), K, V = found.probability.shape, value.shape[1], value.shape[3]
    value = value.astype(found.probability.dtype, copy=False)
    out = (found.probability.reshape(B, K, N // K * T, S) @ value).reshape(B, N, T, V)
    if found.seen is not None and not np.isfinite(out).all():
        out = without_leaks(found.probability, value, found.seen)
    return out.astype(dtype, copy=False)


@_quietly
def _naive_backward(query: Array, key: Array, value: Array, upstream: Array, **keywords: Any) -> tuple[Any, ...]:
    """Output and gradients by the chain rule, operation by operation; holds several arrays of (B,N,T,S)."""
    asked = Asked(**keywords)
    found = _softmax(query, key, asked, with_slope=True)
    out = _mix(found, value, query.dtype)
    (B, N, T, H), (K, S) = query.shape, key.shape[1:3]
    wide, rows = found.probability.dtype, N // K * T
    q, k, v, d = (np.where(np.isfinite(a), a, 0).astype(wide, copy=False) for a in (query, key, value, upstream))
    q, d = q.reshape(B, K, rows, H), d.reshape(B, K, rows, -1)
    probability = found.probability.reshape(B, K, rows, S)
    of_value = probability.swapaxes(-1, -2) @ d
    scores = d @ v.swapaxes(-1, -2)
    scores -= (scores * probability).sum(axis=-1, keepdims=True)
    scores *= probability
    of_bias = None
    if asked.bias is not None:
        axes = tuple(axis for axis, size in enumerate(asked.bias.shape) if size == 1)
        of_bias = scores.reshape(B, N, T, S).sum(axis=axes, keepdims=True)
    if found.slope is not None:
        scores *= found.slope.reshape(scores.shape)
    scores *= wide.type(_scale(query, asked))
    gradients = ((scores @ k).reshape(query.shape), scores.swapaxes(-1, -2) @ q, of_value, of_bias)
    return (out, *(None if a is None else a.astype(query.dtype, copy=False) for a in gradients))


@_quietly
def _naive_log_sum_exp(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """(B,N,T), in the width of the sums."""
    return _softmax(query, key, Asked(**keywords)).log_sum_exp[..., 0]


_OURS: dict[str, Any] = {
    "dtypes": DTYPES, "devices": ("cpu",), "layout": "BNTH", "roundoffs": _claims, "prove": _prove,
}  # fmt: skip


@implementation(
    "numpy/naive",
    gradient=_naive_backward,
    log_sum_exp=_naive_log_sum_exp,
    naive=True,
    scores_held=(1.2, 3.3),
    **_OURS,
)
@_quietly
def naive(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """matmul, softmax, matmul: the textbook form; holds all (B,N,T,S) scores."""
    return _mix(_softmax(query, key, Asked(**keywords)), value, query.dtype)


def _blocked_backward(query: Array, key: Array, value: Array, upstream: Array, **keywords: Any) -> tuple[Any, ...]:
    """Output and gradients; each tile of probabilities is computed a second time instead of being kept."""
    walk = Walk.through(query, key, value, Asked(**keywords))
    return (walk.out, *backward(walk, upstream))


def _blocked_log_sum_exp(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """(B,N,T), in the width of the sums."""
    return Walk.through(query, key, value, Asked(**keywords)).log_sum_exp


@implementation("numpy/blocked", gradient=_blocked_backward, log_sum_exp=_blocked_log_sum_exp, **_OURS)
def blocked(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """Tiles with a running softmax, heads spread over threads; memory linear in T, hidden tiles skipped."""
    asked = Asked(**keywords)
    if goes_whole(query, key, asked):
        return naive(query, key, value, **keywords)
    return Walk.through(*as_one(query, key, value, asked), asked).out.reshape(*query.shape[:3], value.shape[3])
