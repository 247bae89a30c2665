"""Flash attention in loops compiled by Numba: tiles of keys, a running softmax, and no score outside of its tile.

Each thread takes blocks of queries of one head, after FlashAttention-2 (Dao, 2023), algorithm 1: when a tile raises a row's
maximum, what the row has gathered so far is scaled down. Tiles that no query of a block sees are never read.
Needs Numba: pip install -e ".[numba]" -c constraints.txt
"""

import math

import numba
import numpy as np

from backends import implementation
from backends.numpy_threads import threads

ROWS = 64
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
    numba.set_num_threads(min(threads(), numba.config.NUMBA_NUM_THREADS))
    out = np.zeros((B, N, T, value.shape[3]), query.dtype)
    flash(
        out,
        query * real(H**-0.5 if scale is None else scale),
        *(key, value),
        np.empty((0, 0, 0, 0), np.bool_) if mask is None else mask,
        np.empty((0, 0, 0, 0), query.dtype) if bias is None else bias,
        np.full(B, S) if kv_lengths is None else np.minimum(kv_lengths, S).astype(np.int64),
        diagonal - left,
        diagonal + (right if causal is None else 0),
        real(softcap or 0),
    )
    return out


@numba.njit(parallel=True)
def flash(out, query, key, value, mask, bias, lengths, left, right, softcap):
    """Fill `out`, blocks of queries spread over threads; the last come first, for under a causal mask they see most."""
    B, N, T, _ = query.shape
    blocks = (T + ROWS - 1) // ROWS
    for task in numba.prange(B * N * blocks):
        b, n, block = task % (B * N) // N, task % N, blocks - 1 - task // (B * N)
        one_block(out, query, key, value, mask, bias, lengths[b], left, right, softcap, b, n, block * ROWS)


@numba.njit(fastmath=FAST)
def one_block(out, query, key, value, mask, bias, length, left, right, softcap, b, n, first):
    """A query at t sees the keys s < length with left <= s - t <= right that the mask lets it see."""
    head = n // (query.shape[1] // key.shape[1])
    last = min(first + ROWS, query.shape[2])
    gathered, total = out[b, n, first:last], np.zeros(last - first, query.dtype)
    highest = np.full(last - first, -np.inf, query.dtype)
    # So small that BLAS keeps a product to the thread that asked for it: all threads are at work already.
    tile = max(8, min(128, 2**18 // (ROWS * max(key.shape[3], value.shape[3]))))
    for start in range(max(first + left, 0), min(length, last + right), tile):
        stop = min(start + tile, length)
        scores = np.dot(query[b, n, first:last], key[b, head, start:stop].T)
        for r in range(last - first):
            hide_and_add(scores[r], mask, bias, left, right, softcap, b, n, first + r, start)
            highest[r], total[r] = exponentials(scores[r], highest[r], total[r], gathered[r])
        add_values(gathered, scores, value[b, head, start:stop])
    for r in range(last - first):
        for v in range(gathered.shape[1]):
            gathered[r, v] /= total[r] if total[r] > 0 else 1


@numba.njit(fastmath=FAST)
def hide_and_add(row, mask, bias, left, right, softcap, b, n, t, start):
    """The softcap, the bias, and -inf for what is hidden. A mask or bias of size 0 is none."""
    if softcap > 0:
        for j in range(row.size):
            row[j] = softcap * math.tanh(row[j] / softcap)
    if start >= t + left and start + row.size <= t + right + 1 and mask.size == 0 and bias.size == 0:
        return
    for j in range(row.size):
        s = start + j
        if not left <= s - t <= right or (mask.size > 0 and not of(mask, b, n, t, s)):
            row[j] = -np.inf
        elif bias.size > 0:
            row[j] += of(bias, b, n, t, s)


@numba.njit
def of(array, b, n, t, s):
    B, N, T, S = array.shape
    return array[b if B > 1 else 0, n if N > 1 else 0, t if T > 1 else 0, s if S > 1 else 0]


@numba.njit(fastmath=FAST)
def exponentials(row, highest, total, gathered):
    """Scores become weights, and what was gathered is scaled down to the new maximum; returns that and the new total."""
    top = max(highest, row.max())
    if top == -np.inf:  # no key seen in this tile, nor in those before
        row[:] = 0
        return top, total
    shrink = math.exp(highest - top)
    for v in range(gathered.size):
        gathered[v] *= shrink
    for j in range(row.size):
        row[j] = math.exp(row[j] - top)
    return top, total * shrink + row.sum()


@numba.njit
def add_values(gathered, weights, value):
    """gathered += weights @ value. 0 * NaN is NaN: where a value is not finite, what is hidden is passed over."""
    if np.isfinite(value.sum()):
        gathered += np.dot(weights, value)
        return
    for r in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            for v in range(value.shape[1] if weights[r, j] > 0 else 0):
                gathered[r, v] += weights[r, j] * value[j, v]
