"""The textbook form, matmul, softmax, matmul, as plain code of NumPy, TensorFlow, JAX, PyTorch or Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.snippet_words import Words, function, gradients_jax, gradients_tf, gradients_torch

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a framework says it."""

    imports: tuple[str, ...]
    heads: str
    """Swap the axes of time and heads."""
    reshape: str
    transposed: str
    """a times b transposed."""
    product: str
    wide: str
    """In float32."""
    narrow: str
    """In the dtype of the values."""
    arange: str
    tanh: str
    where: str
    inf: str
    some: str
    """Whether any along the last axis."""
    softmax: tuple[str, ...]
    widens: bool = True
    """Whether scores of 16 bits are computed in float32."""
    early: bool = False
    """... from the beginning, or when they have been multiplied."""
    gradients: Callable[[Words, str], list[str]] | None = None


_NUMPY = Dialect(
    ("import numpy as np",),
    heads="{}.swapaxes(1, 2)",
    reshape="({}).reshape({})",
    transposed="{} @ {}.swapaxes(-1, -2)",
    product="{} @ {}",
    some="{}.any(-1, keepdims=True)",
    wide="{}.astype(np.float32)",
    narrow="{}.astype(dtype)",
    arange="np.arange({})",
    tanh="np.tanh",
    where="np.where",
    inf="np.inf",
    softmax=("weights = np.exp(scores - scores.max(-1, keepdims=True))", "weights /= weights.sum(-1, keepdims=True)"),
    early=True,
)
_JAX = Dialect(
    ("import jax", "import jax.numpy as jnp"),
    heads="{}.swapaxes(1, 2)",
    reshape="({}).reshape({})",
    transposed="{} @ {}.swapaxes(-1, -2)",
    product="{} @ {}",
    some="{}.any(-1, keepdims=True)",
    wide="{}.astype(jnp.float32)",
    narrow="{}.astype(dtype)",
    arange="jnp.arange({})",
    tanh="jnp.tanh",
    where="jnp.where",
    inf="jnp.inf",
    softmax=("weights = jax.nn.softmax(scores, axis=-1)",),
    gradients=gradients_jax,
)
_TORCH = Dialect(
    ("import torch",),
    heads="{}.transpose(1, 2)",
    reshape="({}).reshape({})",
    transposed="{} @ {}.mT",
    product="{} @ {}",
    wide="{}",
    narrow="{}",
    arange="torch.arange({}, device=query.device)",
    tanh="torch.tanh",
    where="torch.where",
    inf="torch.inf",
    some="{}.any(-1, keepdim=True)",
    softmax=("weights = torch.softmax(scores, dim=-1)",),
    widens=False,
    gradients=lambda words, _: gradients_torch(words),
)
_TF = Dialect(
    ("import tensorflow as tf",),
    heads="tf.transpose({}, (0, 2, 1, 3))",
    reshape="tf.reshape({}, ({}))",
    transposed="tf.matmul({}, {}, transpose_b=True)",
    product="tf.matmul({}, {})",
    wide="tf.cast({}, tf.float32)",
    narrow="tf.cast({}, dtype)",
    arange="tf.range({})",
    tanh="tf.tanh",
    where="tf.where",
    inf='float("inf")',
    some="tf.reduce_any({}, axis=-1, keepdims=True)",
    softmax=("weights = tf.nn.softmax(scores)",),
    gradients=gradients_tf,
)
_KERAS = Dialect(
    ("import keras", "from keras import ops"),
    heads="ops.transpose({}, (0, 2, 1, 3))",
    reshape="ops.reshape({}, ({}))",
    transposed="ops.matmul({}, ops.swapaxes({}, -1, -2))",
    product="ops.matmul({}, {})",
    wide='ops.cast({}, "float32")',
    narrow="ops.cast({}, dtype)",
    arange="ops.arange({})",
    tanh="ops.tanh",
    where="ops.where",
    inf='float("inf")',
    some="ops.any({}, axis=-1, keepdims=True)",
    softmax=("weights = ops.softmax(scores)",),
)


def textbook(words: Words, dialect: Dialect, decorator: str = "") -> list[str]:
    """All of it, with what is asked for and nothing else."""
    d, widen = dialect, words.half and dialect.widens
    lines = [f"query, key, value = ({d.heads.format('array')} for array in (query, key, value))  # (B,N,T,H)"]
    lines += ["dtype = query.dtype"] if widen else []
    lines += (
        [f"query, key, value = ({d.wide.format('array')} for array in (query, key, value))"]
        if widen and d.early
        else []
    )
    lines += ["(B, N, T, H), (K, S), V = query.shape, key.shape[1:3], value.shape[3]"]
    lines += [*_scores(words, d, widen=widen), *_hidden(words, d), *d.softmax, *_mixed(words, d, widen=widen)]
    if words.may_be_blind:
        lines.append(f"out = {d.where}(sees, out, 0.0)")
    back = d.heads.format("out")
    lines.append(f"return {d.narrow.format(back) if widen and d.early else back}")
    return function(words, lines, decorator=decorator)


_ROWS = "B, K, N // K * T"
"""The queries that share a key/value head, as rows of one matrix."""


def _scores(words: Words, d: Dialect, *, widen: bool) -> list[str]:
    """Scaled, capped and biased."""
    product = d.transposed.format(_reshaped(d, "query", f"{_ROWS}, H") if words.grouped else "query", "key")
    if widen and not d.early:
        product = d.wide.format(f"({product})" if " @ " in product else product)
    lines = [f"scores = {product} * {words.scale}"]
    lines += [f"scores = {_reshaped(d, 'scores', 'B, N, T, S')}"] if words.grouped else []
    cap = words.semantics.softcap
    lines += [] if cap is None else [f"scores = {cap!r} * {d.tanh}(scores / {cap!r})"]
    bias = d.wide.format("bias") if widen else "bias"
    return lines + ([f"scores = scores + {bias}"] if "bias" in words.arrays else [])


def _hidden(words: Words, d: Dialect) -> list[str]:
    """-inf where a query does not see a key."""
    if not words.rules:
        return []
    lines, shown = words.seen(d.arange, four=False), "seen"
    if words.may_be_blind:
        lines.append(f"sees = {d.some.format('seen')}  # a row that sees no key becomes 0 below")
        shown = "seen | ~sees"
    return [*lines, f"scores = {d.where}({shown}, scores, -{d.inf})"]


def _mixed(words: Words, d: Dialect, *, widen: bool) -> list[str]:
    """The product with the values."""
    weights = d.narrow.format("weights") if widen and not d.early else "weights"
    out = d.product.format(_reshaped(d, weights, f"{_ROWS}, S") if words.grouped else weights, "value")
    return [f"out = {d.reshape.format(out, 'B, N, T, V') if words.grouped else out}"]


def _reshaped(dialect: Dialect, name: str, shape: str) -> str:
    return dialect.reshape.format(name, shape).replace(f"({name}).", f"{name}.")


def plain(words: Words, dialect: Dialect, decorator: str = "") -> list[str]:
    """Imports, function, and its gradients where they are asked for."""
    lines = [*dialect.imports, "", "", *textbook(words, dialect, decorator)]
    if words.backward and dialect.gradients is not None:
        lines += ["", "", *dialect.gradients(words, decorator)]
    return lines


def numpy(words: Words) -> list[str]:
    """NumPy has no gradients of its own."""
    return plain(words, _NUMPY)


def jax(words: Words) -> list[str]:
    """Operation by operation."""
    return _with_float64(words, plain(words, _JAX))


def jax_jit(words: Words) -> list[str]:
    """Compiled whole."""
    return _with_float64(words, plain(words, _JAX, "@jax.jit"))


def _with_float64(words: Words, lines: list[str]) -> list[str]:
    """JAX has float64 only where it is switched on."""
    if words.dtype != "float64":
        return lines
    place = max(number for number, line in enumerate(lines) if line.startswith("import jax")) + 1
    return [*lines[:place], "", 'jax.config.update("jax_enable_x64", True)', *lines[place:]]


def torch(words: Words) -> list[str]:
    """Operation by operation."""
    return plain(words, _TORCH)


def torch_compile(words: Words) -> list[str]:
    """Under torch.compile."""
    return plain(words, _TORCH, "@torch.compile(fullgraph=True, dynamic=False)")


def tensorflow(words: Words) -> list[str]:
    """Operation by operation."""
    return plain(words, _TF)


def tensorflow_function(words: Words) -> list[str]:
    """As a graph."""
    return plain(words, _TF, "@tf.function(autograph=False)")


def tensorflow_xla(words: Words) -> list[str]:
    """Compiled by XLA."""
    return plain(words, _TF, "@tf.function(autograph=False, jit_compile=True)")


def keras(words: Words) -> list[str]:
    """In keras.ops: the words alone; which backend, and its gradients, belong to who calls this."""
    return plain(words, _KERAS)
