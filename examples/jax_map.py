"""Attention in JAX, some query rows at a time, by jax.lax.map: one line decides between memory and speed."""

import jax
import jax.numpy as jnp

from backends import Deviation, Roundoffs, implementation

ROWS = 128


def claims(dtype):
    """Sums and scores in float32 at least; XLA makes zero of subnormal numbers on the CPU."""
    wide = "float64" if dtype == "float64" else "float32"
    return Roundoffs.of(dtype, accumulate=wide, score=wide, flushes=True)


@implementation(
    "jax/map",
    compile="jit",  # compiled before the clock starts; what that costs stands in `first call`
    layout="BNTH",
    accepts={"grouped", "value_size", "scale", "softcap", "mask", "bias"},
    broadcasts=False,  # a mask or bias arrives with all its T rows, so that it can be cut
    roundoffs=claims,
    deviations=(Deviation("hidden_nan_value", "NaN"),),
)
def attention(query, key, value, *, mask=None, bias=None, softcap=None, scale=None):
    """One query row after another, 128 of them at once; memory linear in T."""
    (B, N, _, H), K = query.shape, key.shape[1]
    wide = jnp.promote_types(query.dtype, jnp.float32)
    scale = H**-0.5 if scale is None else scale

    def one_row(row):
        rows = row["query"].reshape(B, K, N // K, H)
        scores = jnp.einsum("bkgh,bksh->bkgs", rows, key, preferred_element_type=wide).reshape(B, N, -1) * scale
        if softcap is not None:
            scores = softcap * jnp.tanh(scores / softcap)
        if "bias" in row:
            scores = scores + row["bias"]
        if "mask" in row:
            scores = jnp.where(row["mask"], scores, -jnp.inf)
        highest = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
        weights = jnp.exp(scores - jnp.where(jnp.isneginf(highest), 0, highest))
        total = weights.sum(axis=-1, keepdims=True)
        weights = (weights / jnp.where(total == 0, 1, total)).astype(value.dtype)
        mixed = jnp.einsum("bkgs,bksv->bkgv", weights.reshape(B, K, N // K, -1), value, preferred_element_type=wide)
        return mixed.reshape(B, N, -1).astype(query.dtype)

    given = {"query": query, "mask": mask, "bias": bias}
    by_row = {name: jnp.moveaxis(array, 2, 0) for name, array in given.items() if array is not None}
    return jnp.moveaxis(jax.lax.map(one_row, by_row, batch_size=ROWS), 0, 2)
