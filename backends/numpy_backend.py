"""NumPy: the textbook form, and a blocked form whose memory does not grow with the square of the length."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from backends.accuracy import Roundoffs
from backends.interface import Asked, Prepared, Unsupported, implementation
from backends.visibility import intervals

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


def settings() -> dict[str, str]:
    """Threads and kernel set of each BLAS that is loaded, as threadpoolctl sees them."""
    controller = _blas()
    found = [] if controller is None else [lib for lib in controller.info() if lib["user_api"] == "blas"]
    return {
        "threads": str(_threads()),
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


@cache
def _blas() -> Any:
    """threadpoolctl's controller, or None where it is not installed: backends/ asks for NumPy alone."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return None
    return ThreadpoolController().select(user_api="blas")


@cache
def _threads() -> int:
    """Threads that BLAS was told to use (OPENBLAS_NUM_THREADS and the like), else the CPUs this process may run on."""
    controller = _blas()
    told = [lib["num_threads"] for lib in controller.info()] if controller is not None else []
    return max(told, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="attention")


def _one_blas_thread() -> AbstractContextManager[Any]:
    """While several of our threads multiply, each BLAS call keeps to its own: nested threads fight for the cores."""
    controller = _blas()
    return nullcontext() if controller is None else controller.limit(limits=1)


def _claims(dtype: str) -> Roundoffs:
    """float16 is widened to float32, computed there and rounded once."""
    wide = "float32" if dtype == "float16" else dtype
    return Roundoffs.of(dtype, accumulate=wide, score=wide, probability=wide)


def _prove(prepared: Prepared) -> str:
    """The BLAS behind np.matmul. There is no other kernel that NumPy could silently choose."""
    blas = settings()["blas"] or version().partition(", ")[2]
    return f"numpy.matmul on {blas}"


@implementation(
    "numpy/naive", dtypes=DTYPES, devices=("cpu",), layout="BNTH", roundoffs=_claims, prove=_prove, naive=True
)
def naive(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """matmul, softmax, matmul: the textbook form; holds all (B,N,T,S) scores."""
    asked = Asked(**keywords)
    B, N, T, H = query.shape
    K, S, V = key.shape[1], key.shape[2], value.shape[3]
    wide = np.result_type(query.dtype, np.float32)
    # The queries that share a key/value head become rows of one matrix: grouped heads need no copy of key and value.
    rows = query.astype(wide, copy=False).reshape(B, K, N // K * T, H)
    key, value = key.astype(wide, copy=False), value.astype(wide, copy=False)
    scores = (rows * wide.type(H**-0.5 if asked.scale is None else asked.scale)) @ key.swapaxes(-1, -2)
    scores = scores.reshape(B, N, T, S)
    if asked.softcap is not None:
        scores = np.tanh(scores / wide.type(asked.softcap)) * wide.type(asked.softcap)
    if asked.bias is not None:
        scores += asked.bias.astype(wide, copy=False)
    seen = asked.seen(np.arange(T)[:, None], np.arange(S), S - T) if asked.hides else None
    if seen is not None:
        np.copyto(scores, -np.inf, where=~seen)
    highest = scores.max(axis=-1, keepdims=True)
    scores -= np.where(np.isneginf(highest), 0, highest)
    probability = np.exp(scores, out=scores)
    total = probability.sum(axis=-1, keepdims=True)
    probability /= np.where(total == 0, 1, total)
    out = (probability.reshape(B, K, N // K * T, S) @ value).reshape(B, N, T, V)
    if seen is not None and not np.isfinite(out).all():
        out = _without_leaks(probability, value, seen)
    return out.astype(query.dtype, copy=False)


def _without_leaks(probability: Array, value: Array, seen: Array) -> Array:
    """probability @ value where 0 * NaN of a hidden key is 0, not NaN. The slow path, taken when the fast one overflowed."""
    groups = probability.shape[1] // value.shape[1]
    value = np.repeat(value, groups, axis=1)
    finite = np.isfinite(value)
    out: Array = probability @ np.where(finite, value, 0)
    seen = np.broadcast_to(seen, probability.shape)
    for s in np.flatnonzero(~finite.all(axis=(0, 1, 3))):
        wild = np.where(finite[:, :, s], 0, value[:, :, s])[:, :, None, :]
        out += np.where(seen[:, :, :, s, None], probability[:, :, :, s, None] * wild, 0)
    return out


QUERY_TILE, KEY_TILE = 512, 1024


@implementation("numpy/blocked", dtypes=DTYPES, devices=("cpu",), layout="BNTH", roundoffs=_claims, prove=_prove)
def blocked(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """Tiles with a running softmax, heads spread over threads; memory linear in T, hidden tiles skipped."""
    asked = Asked(**keywords)
    B, T = query.shape[0], query.shape[2]
    first, last = intervals(T, key.shape[2], asked.causal, asked.window, asked.kv_lengths)
    walk = _Walk(
        query,
        key,
        value,
        asked,
        np.broadcast_to(first, (B, T)),
        np.broadcast_to(last, (B, T)),
        query.shape[3] ** -0.5 if asked.scale is None else asked.scale,
        np.empty((*query.shape[:3], value.shape[3]), query.dtype),
    )
    walk.everywhere(careful=False)
    if asked.hides and not np.isfinite(walk.out).all():
        walk.everywhere(careful=True)
    return walk.out


@dataclass(frozen=True, slots=True)
class _Walk:
    """One blocked attention: the arrays (BNTH), the interval of keys that each query row sees, and where the output goes."""

    query: Array
    key: Array
    value: Array
    asked: Asked
    first: Array
    last: Array
    scale: float
    out: Array

    def everywhere(self, *, careful: bool) -> None:
        """Compute every tile of query rows. `careful` keeps NaN of hidden values out, at a cost."""
        B, N, T, _ = self.query.shape
        K = self.key.shape[1]
        step = max(1, QUERY_TILE // (N // K))
        tiles = [(b, k, start) for start in range(0, T, step) for b in range(B) for k in range(K)]
        threads = min(_threads(), len(tiles))
        if threads == 1:
            for b, k, start in tiles:
                self._rows(b, k, slice(start, min(start + step, T)), careful=careful)
            return
        with _one_blas_thread():
            done = _pool(threads).map(
                lambda tile: self._rows(tile[0], tile[1], slice(tile[2], min(tile[2] + step, T)), careful=careful),
                tiles,
            )
            list(done)

    def _rows(self, b: int, k: int, rows: slice, *, careful: bool) -> None:
        """Some query rows of all the query heads that share key/value head k: FlashAttention's recurrence over its keys."""
        G = self.query.shape[1] // self.key.shape[1]
        heads = slice(k * G, (k + 1) * G)
        wide = np.result_type(self.query.dtype, np.float32)
        q = self.query[b, heads, rows].astype(wide, copy=False) * wide.type(self.scale)
        t = q.shape[1]
        q = q.reshape(G * t, -1)
        highest = np.full((G * t, 1), -np.inf, wide)
        total = np.zeros((G * t, 1), wide)
        sums = np.zeros((G * t, self.value.shape[3]), wide)
        stop = int(self.last[b, rows].max())
        for start in range(max(0, int(self.first[b, rows].min())), stop, KEY_TILE):
            keys = slice(start, min(start + KEY_TILE, stop))
            scores = q @ self.key[b, k, keys].astype(wide, copy=False).T
            seen = self._adjust(scores.reshape(G, t, -1), b, heads, rows, keys)
            raised = np.maximum(highest, scores.max(axis=1, keepdims=True))
            # A row that has seen no key yet is shifted by 0: exp(-inf - 0) is 0, where exp(-inf + inf) would be NaN.
            shift = np.where(np.isneginf(raised), wide.type(0), raised)
            scores -= shift
            weights = np.exp(scores, out=scores)
            correction = np.exp(highest - shift)
            total = total * correction + weights.sum(axis=1, keepdims=True)
            sums *= correction
            v = self.value[b, k, keys].astype(wide, copy=False)
            if careful and seen is not None:
                grid = weights.reshape(1, G, t, -1)
                sums += _without_leaks(grid, v[None, None], np.broadcast_to(seen, grid.shape)).reshape(G * t, -1)
            else:
                sums += weights @ v
            highest = raised
        sums /= np.where(total == 0, wide.type(1), total)
        self.out[b, heads, rows] = sums.reshape(G, t, -1)

    def _adjust(self, grid: Array, b: int, heads: slice, rows: slice, keys: slice) -> Array | None:
        """Softcap, bias and mask on one tile of scores (heads, rows, keys), in place; what is seen, None = everything."""
        if self.asked.softcap is not None:
            grid /= self.asked.softcap
            np.tanh(grid, out=grid)
            grid *= self.asked.softcap
        if self.asked.bias is not None:
            grid += _tile_of(self.asked.bias, b, heads, rows, keys)
        low, high = self.first[b, rows], self.last[b, rows]
        seen = None
        if keys.start < low.max() or keys.stop > high.min():
            at = np.arange(keys.start, keys.stop)
            seen = ((at >= low[:, None]) & (at < high[:, None]))[None]
        if self.asked.mask is not None:
            marked = _tile_of(self.asked.mask, b, heads, rows, keys)
            seen = marked if seen is None else seen & marked
        if seen is not None:
            np.copyto(grid, -np.inf, where=~seen)
        return seen


def _tile_of(array: Array, b: int, heads: slice, rows: slice, keys: slice) -> Array:
    """The part of a mask or bias (b|1, n|1, t|1, s|1) that belongs to one tile, broadcastable to (heads, rows, keys)."""
    whole = slice(None)
    return array[
        b if array.shape[0] > 1 else 0,
        heads if array.shape[1] > 1 else whole,
        rows if array.shape[2] > 1 else whole,
        keys if array.shape[3] > 1 else whole,
    ]
