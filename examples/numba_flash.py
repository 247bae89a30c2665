"""Flash attention in plain loops, compiled by Numba: tiles of keys, a running softmax, and no score outside of its tile.

Each thread takes one block of queries of one head, after FlashAttention-2 (Dao, 2023), algorithm 1:
when a tile raises a row's maximum, what the row has gathered so far is scaled down. Tiles that no query of the block sees
are never read. Needs Numba: pip install -e ".[numba]" -c constraints.txt
"""

import math

import numba
import numpy as np

from backends import implementation
from backends.numpy_threads import threads

ROWS, KEYS = 32, 64
# Sums may be reordered, so that they use vector units; NaN and inf keep their meaning.
FAST = {"reassoc", "contract", "arcp", "nsz"}


@implementation(
    "numpy/numba-flash", dtypes=("float64", "float32"), devices=("cpu",), layout="BNTH", gradient="forward only"
)
def attention(
    query, key, value, *, mask=None, bias=None, causal=None, window=None, softcap=None, scale=None, kv_lengths=None
):
    """Loops compiled by Numba: tiles of keys with a running softmax, query blocks spread over threads."""
    (B, N, T, H), S = query.shape, key.shape[2]
    real, diagonal = query.dtype.type, S - T if causal == "bottom_right" else 0
    left, right = (T + S if side is None else side for side in window or (None, None))
    band = diagonal - left, diagonal + (right if causal is None else 0)
    numba.set_num_threads(min(threads(), numba.config.NUMBA_NUM_THREADS))
    out = np.empty((B, N, T, value.shape[3]), query.dtype)
    flash(
        out,
        real(H**-0.5 if scale is None else scale),
        real(softcap or 0),
        *(query, key, value),
        np.empty((0, 0, 0, 0), np.bool_) if mask is None else mask,
        np.empty((0, 0, 0, 0), query.dtype) if bias is None else bias,
        np.full(B, S) if kv_lengths is None else np.minimum(kv_lengths, S).astype(np.int64),
        band,
    )
    return out


@numba.njit(parallel=True, cache=True)
def flash(out, scale, softcap, query, key, value, mask, bias, lengths, band):
    """Fill `out`, blocks of queries spread over threads; the last come first, for under a causal mask they see most."""
    B, N, T, _ = query.shape
    blocks = (T + ROWS - 1) // ROWS
    for task in numba.prange(B * N * blocks):
        b, n, block = task % (B * N) // N, task % N, blocks - 1 - task // (B * N)
        one_block(out, scale, softcap, query, key, value, mask, bias, lengths, band, b, n, block * ROWS)


@numba.njit(fastmath=FAST, cache=True)
def one_block(out, scale, softcap, query, key, value, mask, bias, lengths, band, b, n, first):
    """A query at t sees the keys s < lengths[b] with left <= s - t <= right that the mask lets it see."""
    (_, N, T, H), (_, K, _, V) = query.shape, value.shape
    (left, right), length, rows = band, lengths[b], min(ROWS, T - first)
    padded = (H + 3) // 4 * 4
    q = np.zeros((ROWS, padded), query.dtype)
    for r in range(rows):
        for h in range(H):
            q[r, h] = query[b, n, first + r, h] * scale
    keys, values = np.zeros((padded, KEYS), key.dtype), np.zeros((KEYS, V), value.dtype)
    gathered, row = np.zeros((ROWS, V), query.dtype), np.empty(KEYS, query.dtype)
    total, highest = np.zeros(ROWS, query.dtype), np.full(ROWS, -np.inf, query.dtype)
    start = max(first + left, 0) // KEYS * KEYS
    for at in range(start, min(length, first + rows + right), KEYS):
        wild = take(key[b, n // (N // K)], value[b, n // (N // K)], at, min(at + KEYS, length), keys, values)
        for r in range(rows):
            score(row, q[r], keys, softcap)
            hide_and_add(row, mask, bias, length, left, right, b, n, first + r, at)
            highest[r], total[r] = fold(row, values, wild, highest[r], total[r], gathered[r])
    for r in range(rows):
        for v in range(V):
            out[b, n, first + r, v] = gathered[r, v] / (total[r] if total[r] > 0 else 1)


@numba.njit(fastmath=FAST, cache=True)
def score(row, query, keys, softcap):
    """The scores of a row of queries against a tile."""
    for j in range(KEYS):
        row[j] = 0
    add_products(row, query, keys)
    if softcap > 0:
        for j in range(KEYS):
            row[j] = softcap * math.tanh(row[j] / softcap)


@numba.njit(fastmath=FAST, cache=True)
def fold(row, values, wild, highest, total, gathered):
    """Add a tile's weights and values to what a row of queries has gathered; its new maximum and total."""
    top = max(highest, row.max())
    if top == -np.inf:
        return highest, total  # it sees no key of this tile, nor of those before
    shrink = math.exp(highest - top)
    for v in range(gathered.size):
        gathered[v] *= shrink
    for j in range(KEYS):
        row[j] = math.exp(row[j] - top)
    if not wild:
        add_products(gathered, row, values)
        return top, total * shrink + row.sum()
    for j in range(KEYS):
        if row[j] > 0:  # 0 * NaN is NaN: what is hidden is passed over
            for v in range(gathered.size):
                gathered[v] += row[j] * values[j, v]
    return top, total * shrink + row.sum()


@numba.njit(cache=True)
def take(key, value, start, stop, keys, values):
    """Copy a tile, keys transposed, zeros past the end; tell whether a value is NaN or infinite."""
    keys[:], values[:], wild = 0, 0, False
    for j in range(stop - start):
        for h in range(key.shape[1]):
            keys[h, j] = key[start + j, h]
        for v in range(value.shape[1]):
            values[j, v] = value[start + j, v]
            wild |= not math.isfinite(values[j, v])
    return wild


@numba.njit(fastmath=FAST, cache=True)
def add_products(row, weights, matrix):
    """row += weights @ matrix, four rows of the matrix at a time: `row` is read and written once for four."""
    for i in range(0, weights.size, 4):
        a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for j in range(row.size):
            row[j] += a * matrix[i, j] + b * matrix[i + 1, j] + c * matrix[i + 2, j] + d * matrix[i + 3, j]


@numba.njit(cache=True)
def hide_and_add(row, mask, bias, length, left, right, b, n, t, at):
    """-inf where a score is hidden, its bias added where not. A mask or bias of size 0 is none."""
    inside = at >= t + left and at + KEYS <= min(length, t + right + 1)
    if inside and mask.size == 0 and bias.size == 0:
        return
    for j in range(KEYS):
        s = at + j
        if s >= length or not left <= s - t <= right or (mask.size > 0 and not of(mask, b, n, t, s)):
            row[j] = -np.inf
        elif bias.size > 0:
            row[j] += of(bias, b, n, t, s)


@numba.njit(cache=True)
def of(array, b, n, t, s):
    B, N, T, S = array.shape
    return array[b if B > 1 else 0, n if N > 1 else 0, t if T > 1 else 0, s if S > 1 else 0]
