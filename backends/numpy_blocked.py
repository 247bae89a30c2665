"""NumPy's blocked attention: tiles of scores that stay in the cache, a running softmax, memory linear in T.

FlashAttention (T. Dao et al., 2022), algorithm 1. What a score costs on one core with AVX-512, in tiles of 512 x 512 with
H = V = 64: 0.75 ns in each of the two products, 0.37 in exp, 0.19 in exp2, 0.17 to find the maxima, 0.07 to subtract them,
0.17 to sum (0.05 as a product with ones). So where it can be shown that no exponential overflows the maxima are not looked
for at all, and where NumPy has a fast exp2 the scale carries the logarithm.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from backends.interface import Asked
from backends.numpy_calm import are_calm
from backends.numpy_half import widened
from backends.numpy_hiding import edges, hide, limit_of, tile_of, without_leaks
from backends.numpy_products import FEW_ROWS, copies_pieces, mix, product
from backends.numpy_threads import scratch, spread, threads
from backends.visibility import intervals

Array = np.ndarray
ROWS, KEYS = 512, 512
"""Of a tile of scores: 1 MiB in float32, half of the second-level cache of a current core."""
_FEW = 128
"""Rows up to which a tile takes more keys instead."""
_STEP = 256
"""Rows of a piece where a tile meets the edge of what is seen: a piece takes no keys that only later rows see. Of 4096 keys
under causal 6 % are computed in vain then, not 12, and the rest keeps the pace of 512 rows, which is 5 % faster."""
_WORTH_THREADS = 1 << 28
"""Operations, or 16 times the numbers read, below which a second thread costs more than it brings."""
_WHOLE, _WHOLE_WITH_EXP2 = 2 * ROWS * KEYS, 1 << 16
"""Scores up to which a problem goes the textbook way. Without AVX-512 tiles took 1.07 of its time for self-128 on one thread,
and 1.14 on two; with it 1.07 to 1.49 for 2^14 and 2^15 scores, 0.9 to 1.3 for 2^16 and 0.55 to 0.87 for 2^17."""
_HEADS, _ALL_TILES = 4, 32
"""How many times larger tiles are on several threads (they take more heads), while all of them are no more than so many. On a
virtual machine each operation ends with 40 us of waiting for the interpreter's lock: bert-384 on two threads took 1.11 of
numpy/naive's time in tiles of one head, 0.55 in tiles of four."""


@cache
def _has_fast_exp2() -> bool:
    """NumPy computes exp2 in vectors where the processor has AVX-512; elsewhere its exp is the faster one."""
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    return not {"X86_V4", "AVX512_SKX"}.isdisjoint([*found.get("baseline", ()), *found.get("found", ())])


def goes_whole(query: Array, key: Array, asked: Asked) -> bool:
    """Whether a plain problem is so small that the textbook form is faster: a fast exp2 soon makes up for what tiles cost."""
    (B, N, T, _), S = query.shape, key.shape[2]
    plain = not asked.hides and asked.bias is None and asked.softcap is None
    scores, most = B * N * T * S, _WHOLE_WITH_EXP2 if _has_fast_exp2() else _WHOLE
    return plain and T > 1 and scores <= most


def as_one(query: Array, key: Array, value: Array, asked: Asked) -> tuple[Array, Array, Array]:
    """The three as one batch element of many heads where a few rows see all of their keys: nothing tells elements apart.

    Decoding for eight users took 1.5 of numpy/naive's time one by one, and 1.1 so.
    """
    (B, N, T, _), K = query.shape, key.shape[1]
    alike = asked.mask is None and asked.bias is None and _sees_everything(asked, T)
    if B == 1 or not alike or T * N // K > FEW_ROWS:
        return query, key, value
    query, key, value = (array.reshape(1, -1, *array.shape[2:]) for array in (query, key, value))
    return query, key, value


@dataclass(frozen=True, slots=True)
class Walk:
    """One blocked attention: the arrays (BNTH), the interval of keys that each query row sees, and where the output goes."""

    query: Array
    """In the width of the sums, as are key and value: float32 at least."""
    key: Array
    value: Array
    asked: Asked
    first: Array
    """(B,T): first key that a row may see."""
    last: Array
    """(B,T): one past the last."""
    everything: bool
    """All rows see all keys, as far as no mask hides them: nothing has to be looked up, which takes small problems longest."""
    scale: float
    calm: Array
    """(B,K), bool: no score of this key/value head is large, so that no maximum has to be subtracted."""
    out: Array
    log_sum_exp: Array
    """(B,N,T), in the width of the sums."""

    @classmethod
    def through(cls, query: Array, key: Array, value: Array, asked: Asked) -> Walk:
        """Forward, done."""
        (B, _, T, H), wide = query.shape, np.result_type(query.dtype, np.float32)
        everything = _sees_everything(asked, T)
        S = key.shape[2]
        ends = (0, S) if everything else intervals(T, S, asked.causal, asked.window, asked.kv_lengths)
        first, last = (np.asarray(end, np.int32) for end in ends)  # twice as fast to compare as int64
        walk = cls(
            widened(query, wide),
            widened(key, wide),
            widened(value, wide),
            asked,
            np.broadcast_to(first, (B, T)),
            np.broadcast_to(last, (B, T)),
            everything,
            H**-0.5 if asked.scale is None else asked.scale,
            np.zeros(key.shape[:2], bool),
            np.empty((*query.shape[:3], value.shape[3]), query.dtype),
            np.empty(query.shape[:3], wide),
        )
        walk._forward()
        return walk

    @property
    def wide(self) -> np.dtype[Any]:
        """The dtype of sums: float32 at least."""
        return self.key.dtype

    @property
    def group(self) -> int:
        """Query heads for each key/value head."""
        return self.query.shape[1] // self.key.shape[1]

    @property
    def threads(self) -> int:
        """As many as there are, or one where the work is too little for more, or where BLAS spreads it as well."""
        (B, N, T, H), (K, S, V) = self.query.shape, self.value.shape[1:]
        if T * self.group <= FEW_ROWS and copies_pieces():
            return 1
        work = max(2 * (H + V) * B * N * T * S, 16 * B * K * S * (H + V))
        return threads() if work > _WORTH_THREADS else 1

    def base(self, b: int, ks: slice) -> float:
        """Of the exponentials: 2 where the scale can carry log2(e) and no result is subnormal, which costs exp2 50 ns."""
        plain = self.asked.softcap is None and self.asked.bias is None
        return 2.0 if plain and _has_fast_exp2() and self.calm[b, ks].all() else math.e

    def row_tiles(self, *, in_pieces: bool) -> list[slice]:
        """Query rows that share a tile of scores: few where few keys are seen, for a tile takes all that any of them sees.

        Under causal half as many, where the diagonal is not done in pieces.
        """
        T = self.query.shape[2]
        step = ROWS if in_pieces or self.asked.causal is None else ROWS // 2
        if not self.everything:
            step = min(step, max(_FEW, int((self.last - self.first).max(initial=1))))
        step = max(1, step // self.group)
        return [slice(start, min(start + step, T)) for start in range(0, T, step)]

    def key_tiles(self, b: int, rows: slice, span: int) -> Iterator[slice]:
        """Those that some of the rows see."""
        outside = self.outside(b, rows)
        return _tiles(outside.start, outside.stop, span)

    def tiles(self, b: int, rows: slice, span: int) -> Iterator[tuple[slice, slice]]:
        """(rows, keys) of one row tile: all of its rows where all see the keys, pieces of them at the edges."""
        inside = self.inside(b, rows)
        if inside == self.outside(b, rows) or rows.stop - rows.start <= _STEP:
            yield from ((rows, keys) for keys in self.key_tiles(b, rows, span))
            return
        start, stop = inside.start, inside.start + max(0, inside.stop - inside.start) // span * span
        yield from ((rows, keys) for keys in _tiles(start, stop, span))
        for row in range(rows.start, rows.stop, _STEP):
            piece = slice(row, min(row + _STEP, rows.stop))
            outside = self.outside(b, piece)
            yield from ((piece, keys) for keys in _tiles(outside.start, min(start, outside.stop), span))
            yield from ((piece, keys) for keys in _tiles(max(outside.start, stop), outside.stop, span))

    def heads(self, ks: slice) -> slice:
        """The query heads that read these key/value heads."""
        return slice(ks.start * self.group, ks.stop * self.group)

    def flat(self, array: Array, b: int, ks: slice, rows: slice) -> Array:
        """(k, G*t, ...): the rows of all query heads that share a key/value head, in the width of the sums."""
        part = array[b, self.heads(ks), rows]
        return part.astype(self.wide, copy=False).reshape(ks.stop - ks.start, -1, part.shape[-1])

    def _forward(self) -> None:
        """Every tile of query rows; once more, at a cost, where NaN or Inf of a hidden value got through."""
        (B, K, S), over, tiles = self.key.shape[:3], self.threads, self.row_tiles(in_pieces=self.group == 1)
        longest = max((rows.stop - rows.start for rows in tiles), default=1) * self.group
        room = ROWS * KEYS * (1 if over == 1 else max(1, min(_HEADS, _ALL_TILES // over)))
        own = max(1, min(room // max(1, longest * min(S, KEYS)), -(-B * K * len(tiles) // over)))
        groups = [slice(k, min(k + own, K)) for k in range(0, K, own)]
        if longest > FEW_ROWS and self.asked.bias is None:  # else it costs more than it saves
            spread(self._look, [(b, ks) for b in range(B) for ks in groups], over)
        # Those that see most come first: whoever is done early finds a short one left.
        if not self.everything:
            tiles.sort(key=lambda rows: -int(self.last[:, rows].max() - self.first[:, rows].min()))
        tasks = [(b, ks, rows) for rows in tiles for b in range(B) for ks in groups]
        spread(self._rows, [(*task, False) for task in tasks], over)
        if self.asked.hides and not np.isfinite(self.out).all():
            spread(self._rows, [(*task, True) for task in tasks], over)

    def _look(self, b: int, ks: slice) -> None:
        query = self.flat(self.query, b, ks, slice(None))
        self.calm[b, ks] = are_calm(query, self.key[b, ks], self.value[b, ks], self.scale, self.asked.softcap)

    @np.errstate(invalid="ignore")  # Inf in a hidden key or value makes NaN on its way to being hidden
    def _rows(self, b: int, ks: slice, rows: slice, careful: bool) -> None:
        """Some query rows of all the query heads that share some key/value heads: FlashAttention's recurrence over the keys.

        `careful` keeps NaN and Inf of hidden values out.
        """
        wide, heads, calm, base = self.wide, self.heads(ks), bool(self.calm[b, ks].all()), self.base(b, ks)
        q = self.flat(self.query, b, ks, rows)
        q = np.multiply(q, wide.type(self.scale / math.log(base)), out=scratch("query", q.shape, wide))
        (k, r), V, G, t = q.shape[:2], self.out.shape[3], self.group, rows.stop - rows.start
        span = KEYS if r > _FEW else max(KEYS, ROWS * KEYS // max(1, k * r))
        highest: Array = np.zeros((k, r, 1), wide) if calm else np.full((k, r, 1), -np.inf, wide)
        total: Array = np.zeros((k, r, 1), wide)
        sums, is_empty = scratch("sums", (k, r, V), wide), True
        for piece, keys in self.tiles(b, rows, span):
            if is_empty and (careful or piece != rows):
                sums.fill(0)
                is_empty = False
            value, key = self.value[b, ks, keys], self.key[b, ks, keys]
            own_q, own_highest, own_total, own_sums = q, highest, total, sums
            if piece != rows:  # views of some rows of each head
                at = slice(piece.start - rows.start, piece.stop - rows.start)
                own_q, own_highest, own_total, own_sums = (
                    a.reshape(k, G, t, -1)[:, :, at] for a in (q, highest, total, sums)
                )
                value, key = value[:, None], key[:, None]
            scores = product(own_q, key, scratch("scores", (*own_q.shape[:-1], keys.stop - keys.start), wide))
            grid = scores.reshape(k * G, -1, scores.shape[-1])
            self.adjust(grid, b, heads, piece, keys)
            limits = self.limits(b, heads, piece, keys, weights=calm)
            if not calm:
                hide(grid, limits)
                correction = _shift(scores, own_highest)
                if not is_empty:
                    own_total *= correction
                    own_sums *= correction
            weights = power(base, scores)
            if calm:
                hide(grid, limits)
            own_total += self._row_sums(weights)
            if is_empty:
                mix(weights, value, sums)
                is_empty = False
            elif careful and limits:
                seen = functools.reduce(np.logical_and, (limit > 0 for limit in limits))
                seen = np.broadcast_to(seen, grid.shape)[None]
                own_sums += without_leaks(grid[None], self.value[b, ks, keys][None], seen).reshape(own_sums.shape)
            else:
                own_sums += mix(weights, value, scratch("mixed", own_sums.shape, wide))
        if is_empty:
            sums.fill(0)
        self._store(b, heads, rows, sums, total, highest)

    def _row_sums(self, weights: Array) -> Array:
        """(...,r,1): as a product with ones it takes a third of the time, but not where BLAS wakes its threads for it."""
        if self.threads == 1 and threads() > 1:
            sums: Array = weights.sum(axis=-1, keepdims=True)
        else:
            sums = weights @ _ones(weights.shape[-1], self.wide)
        return sums

    def _store(self, b: int, heads: slice, rows: slice, sums: Array, total: Array, highest: Array) -> None:
        """Output and log-sum-exp of some rows, from the sums of their exponentials."""
        blind = total == 0
        total[blind] = 1
        log = highest + np.log(total)
        log[blind] = -np.inf
        each = (heads.stop - heads.start, rows.stop - rows.start, -1)
        np.divide(sums.reshape(each), total.reshape(each), out=self.out[b, heads, rows], casting="same_kind")
        self.log_sum_exp[b, heads, rows] = log.reshape(each[:2])

    def adjust(
        self, grid: Array, b: int, heads: slice, rows: slice, keys: slice, *, with_slope: bool = False
    ) -> Array | None:
        """Softcap and bias on one tile of scores (heads, rows, keys), in place.

        With_slope: how fast the softcap lets a score grow; None = as without.
        """
        slope = None
        if self.asked.softcap is not None:
            grid /= self.asked.softcap
            np.tanh(grid, out=grid)
            slope = 1 - np.square(grid) if with_slope else None
            grid *= self.asked.softcap
        if self.asked.bias is not None:
            grid += tile_of(self.asked.bias, b, heads, rows, keys)
        return slope

    def inside(self, b: int, rows: slice) -> slice:
        """The keys that all of the rows see, as far as no mask hides them."""
        if self.everything:
            return slice(0, self.key.shape[2])
        return slice(int(self.first[b, rows].max()), int(self.last[b, rows].min()))

    def outside(self, b: int, rows: slice) -> slice:
        """The keys from the first that any of the rows sees to the last."""
        if self.everything:
            return slice(0, self.key.shape[2])
        return slice(int(self.first[b, rows].min()), int(self.last[b, rows].max()))

    def limits(self, b: int, heads: slice, rows: slice, keys: slice, *, weights: bool) -> list[Array]:
        """What hides the scores, or the weights, of one tile, each broadcastable to (heads, rows, keys); see numpy_hiding."""
        found, inside = [], self.inside(b, rows)
        if keys.start < inside.start or keys.stop > inside.stop:
            s = keys.stop - keys.start
            low = np.maximum(self.first[b, rows] - keys.start, 0)
            high = np.minimum(self.last[b, rows] - keys.start, s)
            found.append(edges(low.tobytes(), high.tobytes(), s, self.wide, weights=weights))
        if self.asked.mask is not None:
            found.append(limit_of(tile_of(self.asked.mask, b, heads, rows, keys), self.wide, weights=weights))
        return found


def _sees_everything(asked: Asked, T: int) -> bool:
    """Whether all rows see all keys, as far as no mask hides them: when decoding under causal, too."""
    if asked.causal == "bottom_right" and T == 1:
        asked = dataclasses.replace(asked, causal=None)
    return not asked.has_edges


def _tiles(start: int, stop: int, span: int) -> Iterator[slice]:
    """The keys from start to stop, in tiles."""
    for first in range(max(0, start), stop, span):
        yield slice(first, min(first + span, stop))


@lru_cache(maxsize=8)
def _ones(s: int, dtype: np.dtype[Any]) -> Array:
    return np.ones((s, 1), dtype)


def _shift(scores: Array, highest: Array) -> Array:
    """Take from the scores (...,r,s) the largest that their row has had so far, in place, and raise `highest` (...,r,1) to it.

    What earlier sums of the rows have to be multiplied by.
    """
    raised = np.maximum(highest, scores.max(axis=-1, keepdims=True))
    # A row that has seen no key yet is shifted by 0: exp(-inf - 0) is 0, where exp(-inf + inf) would be NaN.
    shift = np.where(np.isneginf(raised), scores.dtype.type(0), raised)
    scores -= shift
    correction: Array = np.exp(highest - shift)
    highest[...] = raised
    return correction


def power(base: float, exponent: Array) -> Array:
    """2 or e to this power, in place."""
    found: Array = np.exp2(exponent, out=exponent) if base == 2.0 else np.exp(exponent, out=exponent)
    return found
