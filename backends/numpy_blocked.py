"""NumPy's blocked attention: tiles with a running softmax, memory linear in T; backwards each tile is computed again.

FlashAttention (T. Dao et al., 2022), algorithms 1 and 4, on matrices that fit the cache; the heads are spread over threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from backends.interface import Asked
from backends.visibility import intervals

Array = np.ndarray
QUERY_TILE, KEY_TILE = 512, 1024


@cache
def blas() -> Any:
    """threadpoolctl's controller, or None where it is not installed: backends/ asks for NumPy alone."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return None
    return ThreadpoolController().select(user_api="blas")


@cache
def threads() -> int:
    """Threads that BLAS was told to use (OPENBLAS_NUM_THREADS and the like), else the CPUs this process may run on."""
    controller = blas()
    told = [lib["num_threads"] for lib in controller.info()] if controller is not None else []
    return max(told, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="attention")


def _one_blas_thread() -> AbstractContextManager[Any]:
    """While several of our threads multiply, each BLAS call keeps to its own: nested threads fight for the cores."""
    controller = blas()
    return nullcontext() if controller is None else controller.limit(limits=1)


def _spread(work: Callable[..., None], tasks: list[tuple[Any, ...]]) -> None:
    """Do every task, on several threads where there are some."""
    size = min(threads(), len(tasks))
    if size <= 1:
        for task in tasks:
            work(*task)
        return
    with _one_blas_thread():
        list(_pool(size).map(lambda task: work(*task), tasks))


@dataclass(frozen=True, slots=True)
class Walk:
    """One blocked attention: the arrays (BNTH), the interval of keys that each query row sees, and where the output goes."""

    query: Array
    key: Array
    value: Array
    asked: Asked
    first: Array
    """(B,T): first key that a row may see."""
    last: Array
    """(B,T): one past the last."""
    scale: float
    out: Array
    log_sum_exp: Array
    """(B,N,T), in the width of the sums."""

    @classmethod
    def through(cls, query: Array, key: Array, value: Array, asked: Asked) -> Walk:
        """Forward, done."""
        (B, _, T, H), wide = query.shape, np.result_type(query.dtype, np.float32)
        first, last = intervals(T, key.shape[2], asked.causal, asked.window, asked.kv_lengths)
        walk = cls(
            query,
            key,
            value,
            asked,
            np.broadcast_to(first, (B, T)),
            np.broadcast_to(last, (B, T)),
            H**-0.5 if asked.scale is None else asked.scale,
            np.empty((*query.shape[:3], value.shape[3]), query.dtype),
            np.empty(query.shape[:3], wide),
        )
        walk._forward(careful=False)
        if asked.hides and not np.isfinite(walk.out).all():
            walk._forward(careful=True)
        return walk

    @property
    def wide(self) -> np.dtype[Any]:
        """The dtype of sums: float32 at least."""
        return np.result_type(self.query.dtype, np.float32)

    @property
    def group(self) -> int:
        """Query heads for each key/value head."""
        return self.query.shape[1] // self.key.shape[1]

    def _row_tiles(self) -> list[slice]:
        T = self.query.shape[2]
        step = max(1, QUERY_TILE // self.group)
        return [slice(start, min(start + step, T)) for start in range(0, T, step)]

    def _key_tiles(self, b: int, rows: slice) -> Iterator[slice]:
        """Those that some of the rows see."""
        stop = int(self.last[b, rows].max())
        for start in range(max(0, int(self.first[b, rows].min())), stop, KEY_TILE):
            yield slice(start, min(start + KEY_TILE, stop))

    def _heads(self, k: int) -> slice:
        return slice(k * self.group, (k + 1) * self.group)

    def _flat(self, array: Array, b: int, k: int, rows: slice) -> Array:
        """(G*t, ...) of all query heads that share key/value head k, in the width of the sums."""
        part = array[b, self._heads(k), rows]
        return part.astype(self.wide, copy=False).reshape(-1, part.shape[-1])

    def _forward(self, *, careful: bool) -> None:
        """Every tile of query rows. `careful` keeps NaN of hidden values out, at a cost."""
        B, K = self.query.shape[0], self.key.shape[1]
        tiles = [(b, k, rows, careful) for rows in self._row_tiles() for b in range(B) for k in range(K)]
        _spread(self._rows, tiles)

    @np.errstate(invalid="ignore")  # Inf in a hidden key or value makes NaN on its way to being hidden
    def _rows(self, b: int, k: int, rows: slice, careful: bool) -> None:
        """Some query rows of all the query heads that share key/value head k: FlashAttention's recurrence over its keys."""
        wide, heads, G = self.wide, self._heads(k), self.group
        q = self._flat(self.query, b, k, rows) * wide.type(self.scale)
        highest = np.full((len(q), 1), -np.inf, wide)
        total = np.zeros((len(q), 1), wide)
        sums = np.zeros((len(q), self.value.shape[3]), wide)
        for keys in self._key_tiles(b, rows):
            scores = q @ self.key[b, k, keys].astype(wide, copy=False).T
            seen, _ = self._adjust(scores.reshape(G, len(q) // G, -1), b, heads, rows, keys)
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
                grid = weights.reshape(1, G, len(q) // G, -1)
                sums += without_leaks(grid, v[None, None], np.broadcast_to(seen, grid.shape)).reshape(len(q), -1)
            else:
                sums += weights @ v
            highest = raised
        blind = total == 0
        sums /= np.where(blind, wide.type(1), total)
        self.out[b, heads, rows] = sums.reshape(G, len(q) // G, -1)
        log = np.where(blind, wide.type(-np.inf), highest + np.log(np.where(blind, wide.type(1), total)))
        self.log_sum_exp[b, heads, rows] = log.reshape(G, -1)

    def _adjust(
        self, grid: Array, b: int, heads: slice, rows: slice, keys: slice, *, with_slope: bool = False
    ) -> tuple[Array | None, Array | None]:
        """Softcap, bias and mask on one tile of scores (heads, rows, keys), in place.

        What is seen, None = everything; and with_slope how fast the softcap lets a score grow, None = as without.
        """
        slope = None
        if self.asked.softcap is not None:
            grid /= self.asked.softcap
            np.tanh(grid, out=grid)
            slope = 1 - np.square(grid) if with_slope else None
            grid *= self.asked.softcap
        if self.asked.bias is not None:
            grid += tile_of(self.asked.bias, b, heads, rows, keys)
        low, high = self.first[b, rows], self.last[b, rows]
        seen = None
        if keys.start < low.max() or keys.stop > high.min():
            at = np.arange(keys.start, keys.stop)
            seen = ((at >= low[:, None]) & (at < high[:, None]))[None]
        if self.asked.mask is not None:
            marked = tile_of(self.asked.mask, b, heads, rows, keys)
            seen = marked if seen is None else seen & marked
        if seen is not None:
            np.copyto(grid, -np.inf, where=~seen)
        return seen, slope

    def backward(self, upstream: Array) -> tuple[Array, Array, Array, Array | None]:
        """Gradients of query, key, value, and of bias where there is one; every tile of probabilities is computed again."""
        wide = self.wide
        to = _Gradients(
            np.zeros(self.query.shape, wide),
            np.zeros(self.key.shape, wide),
            np.zeros(self.value.shape, wide),
            None if self.asked.bias is None else np.zeros(self.asked.bias.shape, wide),
            threading.Lock(),
        )
        B, K = self.query.shape[0], self.key.shape[1]
        # A thread has a key/value head to itself: only a bias is shared.
        _spread(self._head_backward, [(b, k, upstream, to) for b in range(B) for k in range(K)])
        found = (to.query, to.key, to.value, to.bias)
        dq, dk, dv, db = (None if a is None else a.astype(self.query.dtype, copy=False) for a in found)
        assert dq is not None and dk is not None and dv is not None  # noqa: PT018 - of the type checker, not of a test
        return dq, dk, dv, db

    def _head_backward(self, b: int, k: int, upstream: Array, to: _Gradients) -> None:
        for rows in self._row_tiles():
            self._rows_backward(b, k, rows, upstream, to)

    @np.errstate(invalid="ignore")
    def _rows_backward(self, b: int, k: int, rows: slice, upstream: Array, to: _Gradients) -> None:
        wide, heads, G = self.wide, self._heads(k), self.group
        q = self._flat(self.query, b, k, rows)
        d = self._flat(upstream, b, k, rows)
        log = self.log_sum_exp[b, heads, rows].reshape(-1, 1)
        log = np.where(np.isneginf(log), wide.type(0), log)
        carried = (d * self._flat(self.out, b, k, rows)).sum(axis=1, keepdims=True)
        of_query = np.zeros_like(q)
        for keys in self._key_tiles(b, rows):
            key, value = (_visible(a[b, k, keys].astype(wide, copy=False)) for a in (self.key, self.value))
            scores = (q * wide.type(self.scale)) @ key.T
            grid = scores.reshape(G, len(q) // G, -1)
            _, slope = self._adjust(grid, b, heads, rows, keys, with_slope=True)
            scores -= log
            weights = np.exp(scores, out=scores)
            to.value[b, k, keys] += weights.T @ d
            # dS = P o (dP - rowsum(D o O)), in the memory of dP
            into = d @ value.T
            into -= carried
            into *= weights
            if to.bias is not None:
                with to.lock:
                    _add(tile_of(to.bias, b, heads, rows, keys), into.reshape(grid.shape))
            if slope is not None:
                into *= slope.reshape(into.shape)
            of_query += into @ key
            to.key[b, k, keys] += (into.T @ q) * wide.type(self.scale)
        to.query[b, heads, rows] = (of_query * wide.type(self.scale)).reshape(G, len(q) // G, -1)


@dataclass(frozen=True, slots=True)
class _Gradients:
    """Where the gradients are summed, in the width of the sums."""

    query: Array
    key: Array
    value: Array
    bias: Array | None
    lock: threading.Lock


def _visible(array: Array) -> Array:
    """NaN and Inf as 0: of a key or value that is seen they are in the output already, a hidden one has no part in it."""
    return array if np.isfinite(array).all() else np.where(np.isfinite(array), array, 0)


def _add(to: Array, tile: Array) -> None:
    """Add (heads, rows, keys) to a view of a bias, summed over the axes that are broadcast."""
    axes = tuple(axis for axis, (own, full) in enumerate(zip(to.shape, tile.shape, strict=True)) if own == 1 < full)
    to += tile.sum(axis=axes, keepdims=True) if axes else tile


def without_leaks(probability: Array, value: Array, seen: Array) -> Array:
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


def tile_of(array: Array, b: int, heads: slice, rows: slice, keys: slice) -> Array:
    """The part of a mask or bias (b|1, n|1, t|1, s|1) that belongs to one tile, broadcastable to (heads, rows, keys)."""
    whole = slice(None)
    return array[
        b if array.shape[0] > 1 else 0,
        heads if array.shape[1] > 1 else whole,
        rows if array.shape[2] > 1 else whole,
        keys if array.shape[3] > 1 else whole,
    ]
