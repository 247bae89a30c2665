"""JAX in chunks: some rows of queries at a time, and for these blocks of keys with a running softmax; memory linear in T and S.

The recurrence is FlashAttention's. The gradient is JAX's own: under jax.checkpoint the way back computes each block again
instead of keeping it (M. Rabe and C. Staats, 2021, "Self-attention Does Not Need O(n^2) Memory").
"""

from __future__ import annotations

import functools
import operator
from typing import Any

from backends.interface import Asked, Prepared, implementation
from backends.jax_backend import OURS, Array, checked, finite, mix, scores_of

ROWS, TILE = 2048, 1 << 20
"""Rows of queries, and scores per head, held at a time. At T = S = 2048 blocks of 128, 256, 512 and 1024 keys took 115 to
170 ms on two cores (naive: 260 ms), 512 most steadily. A single query wants all keys in one block."""
EDGE = 512
"""Rows, and keys, of a block where causal or a window hides whole blocks: the smaller, the more of them."""


def sizes(T: int, S: int, asked: Asked) -> tuple[int, int]:
    """Rows and keys of a block."""
    skips = asked.causal is not None or asked.window is not None
    rows = max(1, min(T, EDGE if skips else ROWS))
    keys = TILE // rows if not skips or T == 1 else EDGE
    return rows, max(1, min(S, keys))


def _prove(prepared: Prepared) -> str:
    """A loop, wherever there is more than one whole block even if nothing is hidden."""
    T, S = (array.shape[2] for array in prepared.arguments[:2])
    rows, keys = sizes(T, S, Asked())
    return checked(prepared, lambda text: (T // rows < 2 and S // keys < 2) or " while(" in text, "a loop over blocks")


@implementation("jax/chunked", **OURS, compile="jit", prove=_prove)
def chunked(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """Loops over blocks of queries and keys with a running softmax; memory linear in T, forward and backward."""
    import jax
    import jax.numpy as jnp

    asked, T = Asked(**keywords), query.shape[2]
    rows, _ = sizes(T, key.shape[2], asked)

    def attend(start: Any, size: int) -> Array:
        """Some rows of queries."""
        here = asked.cut(lambda array: _cut(array, start, size, 2))
        return _rows(_cut(query, start, size, 2), key, value, here, start, T)

    if rows == T:
        return attend(0, T)
    attend_again = jax.checkpoint(attend, static_argnums=1, prevent_cse=False)
    blocks = jax.lax.map(lambda start: attend_again(start, rows), jnp.arange(0, T - T % rows, rows))
    out = jnp.moveaxis(blocks, 0, 2).reshape(*query.shape[:2], T - T % rows, value.shape[3])
    if T % rows:  # the rest is a block of its own size: nothing is padded
        out = jnp.concatenate([out, attend_again(T - T % rows, T % rows)], axis=2)
    return out


def _rows(query: Array, key: Array, value: Array, asked: Asked, start: Any, T: int) -> Array:
    """Attention of the queries from `start` on, among all T, to all keys, block by block."""
    import jax
    import jax.numpy as jnp

    (B, N, t, _), (S, V) = query.shape, value.shape[2:]
    (_, block), wide = sizes(T, S, asked), jnp.promote_types(query.dtype, jnp.float32)
    Carry = tuple[Array, Array, Array]

    def step(first: Any, size: int, carry: Carry) -> Carry:
        """One block of keys: what was summed so far is rescaled to the new maximum."""
        highest, total, sums = carry
        here = asked.cut(lambda array: _cut(array, first, size, 3))
        own = start + jnp.arange(t), first + jnp.arange(size)
        scores = scores_of(query, _cut(key, first, size, 2), here, *own, S - T)
        raised = jnp.maximum(highest, scores.max(axis=-1, keepdims=True))
        weights, keep = jnp.exp(scores - finite(raised)), jnp.exp(highest - finite(raised))
        total = total * keep + weights.sum(axis=-1, keepdims=True)
        return jax.lax.stop_gradient(raised), total, sums * keep + mix(weights, _cut(value, first, size, 2))

    def step_if_seen(first: Any, size: int, carry: Carry) -> Carry:
        """Nothing to do where causal or the window hides the whole block: its two corners say so."""
        corners = ((start + t - 1, first), (start, first + size - 1))
        rules = [
            one | other for one, other in zip(*(asked.in_sight(*corner, S - T) for corner in corners), strict=True)
        ]
        if not rules:
            return step(first, size, carry)
        seen = functools.reduce(operator.and_, rules)
        return jax.lax.cond(seen, lambda carry: step(first, size, carry), lambda carry: carry, carry)

    again = jax.checkpoint(step_if_seen, static_argnums=1, prevent_cse=False)
    carry = (jnp.full((B, N, t, 1), -jnp.inf, wide), jnp.zeros((B, N, t, 1), wide), jnp.zeros((B, N, t, V), wide))
    if block <= S:
        carry = jax.lax.fori_loop(0, S // block, lambda i, carry: again(i * block, block, carry), carry)
    if S % block:
        carry = again(S - S % block, S % block, carry)
    _, total, sums = carry
    return (sums / jnp.where(total == 0, 1, total)).astype(query.dtype)


def _cut(array: Array, start: Any, size: int, axis: int) -> Array:
    from jax import lax

    return array if array.shape[axis] == 1 else lax.dynamic_slice_in_dim(array, start, size, axis)
