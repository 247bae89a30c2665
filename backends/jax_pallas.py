"""FlashAttention as a small Pallas kernel of ours, interpreted: to read, and to be held to the oracle; never to be timed.

One program of the grid owns a block of queries of one head. It walks over that head's keys, block by block, and keeps per
query the highest score so far, the sum of the weights and the weighted sum of the values; a higher score rescales both.
The padding that fills the last blocks is hidden as everything else is: its weights are 0.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

from backends.interface import Asked, Deviation, KernelMismatch, Prepared, implementation
from backends.jax_backend import claims, in_own_width

Array = Any
Ref = Any
"""What Pallas hands to a kernel: a block of an array, read with [...]."""

BLOCK = 32
"""Queries, and keys, of a block: so few that the problems of the tests have several."""


def _padded(array: Array, *axes: int) -> Array:
    """The array, filled up to whole blocks with zeros in these axes."""
    import jax.numpy as jnp

    return jnp.pad(array, [(0, -size % BLOCK if axis in axes else 0) for axis, size in enumerate(array.shape)])


def _extra(array: Array) -> tuple[Array, Any]:
    """A mask or bias and its part for a program: its queries, all keys. Of each axis there is all, or 1, as it came."""
    from jax.experimental import pallas as pl

    b, n, t, s = (size > 1 for size in array.shape)
    array = _padded(array, *([2] if t else []), *([3] if s else []))
    part = (None, None, BLOCK if t else 1, array.shape[3])
    return array, pl.BlockSpec(part, lambda i, j, k: (i * b, j * n, k * t, 0))


def _attention(query: Array, key: Array, value: Array, **keywords: Any) -> tuple[Array, Array]:
    """Output (B,N,T,V) and log-sum-exp (B,N,T)."""
    import jax
    import jax.numpy as jnp
    from jax.experimental import pallas as pl

    (B, N, T, H), (K, S), V, asked = query.shape, key.shape[1:3], value.shape[3], Asked(**keywords)
    group, wide = N // K, jnp.promote_types(query.dtype, jnp.float32)
    scale = H**-0.5 if asked.scale is None else asked.scale

    def kernel(names: tuple[str, ...], query_ref: Ref, key_ref: Ref, value_ref: Ref, *refs: Ref) -> None:
        *given_refs, out_ref, total_ref = refs
        given = dict(zip(names, given_refs, strict=True))
        t = pl.program_id(2) * BLOCK + jnp.arange(BLOCK)[:, None]
        end = given["kv_lengths"][0] if "kv_lengths" in given else S

        def cut(name: str, keys: Any) -> Array | None:
            ref = given.get(name)
            return None if ref is None else ref[...] if ref.shape[1] == 1 else ref[:, keys]

        def step(j: Any, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            highest, total, sums = carry
            s, keys = j * BLOCK + jnp.arange(BLOCK), pl.ds(j * BLOCK, BLOCK)
            scores = jnp.dot(query_ref[...], key_ref[keys, :].T, preferred_element_type=wide) * scale
            if asked.softcap is not None:
                scores = asked.softcap * jnp.tanh(scores / asked.softcap)
            if (bias := cut("bias", keys)) is not None:
                scores = scores + bias
            rules = [s < end, *asked.in_sight(t, s, S - T)]
            rules += [] if (mask := cut("mask", keys)) is None else [mask]
            scores = jnp.where(functools.reduce(operator.and_, rules), scores, -jnp.inf)
            raised = jnp.maximum(highest, scores.max(axis=1, keepdims=True))
            base = jnp.where(raised == -jnp.inf, 0, raised)  # nothing seen so far: any finite number will do
            weights, keep = jnp.exp(scores - base), jnp.exp(highest - base)
            found = jnp.dot(weights.astype(value_ref.dtype), value_ref[keys, :], preferred_element_type=wide)
            return raised, total * keep + weights.sum(axis=1, keepdims=True), sums * keep + found

        none = jnp.full((BLOCK, 1), -jnp.inf, wide), jnp.zeros((BLOCK, 1), wide), jnp.zeros((BLOCK, V), wide)
        highest, total, sums = jax.lax.fori_loop(0, key_ref.shape[0] // BLOCK, step, none)
        out_ref[...] = (sums / jnp.where(total == 0, 1, total)).astype(out_ref.dtype)
        total_ref[...] = highest + jnp.log(total)

    def own(size: int) -> Any:
        """Of an array of queries, the program's own."""
        return pl.BlockSpec((None, None, BLOCK, size), lambda b, n, t: (b, n, t, 0))

    def whole(array: Array) -> Any:
        """Of an array of keys or values, all those of the head."""
        return pl.BlockSpec((None, None, *array.shape[2:]), lambda b, n, t: (b, n // group, 0, 0))

    query, key, value = (_padded(array, 2) for array in (query, key, value))
    extras = {name: _extra(array) for name in ("mask", "bias") if (array := getattr(asked, name)) is not None}
    if asked.kv_lengths is not None:
        extras["kv_lengths"] = asked.kv_lengths, pl.BlockSpec((1,), lambda b, n, t: (b,))
    rows = query.shape[2]
    out, total = pl.pallas_call(
        functools.partial(kernel, tuple(extras)),
        grid=(B, N, rows // BLOCK),
        in_specs=[own(H), whole(key), whole(value), *(spec for _, spec in extras.values())],
        out_specs=[own(V), own(1)],
        out_shape=[jax.ShapeDtypeStruct((B, N, rows, V), query.dtype), jax.ShapeDtypeStruct((B, N, rows, 1), wide)],
        interpret=True,
    )(query, key, value, *(array for array, _ in extras.values()))
    return out[:, :, :T], total[:, :, :T, 0]


def _prove(prepared: Prepared) -> str:
    """That there is one pallas_call, and that it is interpreted."""
    import jax

    text = str(jax.make_jaxpr(prepared.function)(*prepared.arguments, **prepared.keywords))
    calls = text.count("pallas_call[")
    if calls != 1 or "interpret=True" not in text:
        raise KernelMismatch(f"expected one interpreted pallas_call, got {calls} calls")
    return f"pallas_call, interpreted: blocks of {BLOCK} queries and {BLOCK} keys"


@functools.cache
def _compiled() -> Callable[..., tuple[Array, Array]]:
    """It is compiled here and not by Framework.compile, which turns x64 on while tracing only.

    Pallas lowers an interpreted kernel afterwards, by tracing once more: float64 needs x64 then, too.
    """
    import jax

    return jax.jit(_attention, static_argnames=("causal", "window", "softcap", "scale"))


@in_own_width
def _log_sum_exp(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    return _compiled()(query, key, value, **keywords)[1]


@implementation(
    "jax/pallas",
    layout="BNTH",
    devices=("cpu",),
    roundoffs=claims,
    deviations=(Deviation("hidden_nan_value", "NaN"),),
    prove=_prove,
    gradient="a pallas_call has no transpose (jax-ml/jax#22197), and this kernel brings no backward pass of its own",
    log_sum_exp=_log_sum_exp,
    untimed="it is interpreted here, operation by operation: its time says nothing about the kernel",
)
@in_own_width
def pallas(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """FlashAttention as a Pallas kernel of ours, interpreted: for conformance, never timed."""
    return _compiled()(query, key, value, **keywords)[0]
