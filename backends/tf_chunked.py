"""TensorFlow in chunks: some rows of queries at a time, against the keys that they may see; memory linear in T and S.

A row's softmax needs that row alone: there is nothing to carry from chunk to chunk, forward. On the way back each chunk is
computed again under a tape of its own, and what it adds to the gradients of key and value is summed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backends.interface import Asked, KernelMismatch, Prepared, implementation
from backends.tf_keras_backend import LEAKS, Tensor, attend, claims, own_function

TILE = 1 << 22
"""Scores held at a time, over all batch elements and heads: 16 MiB in float32. Of the time that 2^20 took, 2^21 took 0.73 and
2^22 0.62 (N8 T=S=2048, two cores with AVX2; with a causal diagonal at 4096 0.62, a window of 256 0.52, both passes 0.83): the
more rows a product has, the less the copying of the keys counts. 2^23 was no better."""
FEWEST = 16
"""Rows of a chunk, at least: products of fewer are slow."""
Parts = tuple[list[Tensor], list[Tensor]]
"""What a chunk gives: arrays that belong to its rows, and arrays that are to be summed over the chunks."""


def rows_of(B: int, N: int, T: int, S: int) -> int:
    """Rows of queries in a chunk."""
    return max(1, min(T, max(FEWEST, TILE // max(1, B * N * S))))


def _prove(prepared: Prepared) -> str:
    """A loop over chunks, wherever there is more than one whole chunk."""
    graph = own_function(prepared.function).get_concrete_function(*prepared.arguments, **prepared.keywords).graph
    (B, N, T, _), S = prepared.arguments[0].shape, prepared.arguments[1].shape[2]
    rows = rows_of(B, N, T, S)
    loops = sum(op.type in ("While", "StatelessWhile") for op in graph.get_operations())
    if (loops > 0) != (T // rows > 1):
        raise KernelMismatch(f"expected {'a' if T // rows > 1 else 'no'} loop over chunks, got {loops}")
    return f"tf.function: {'a loop over ' if loops else ''}chunks of {rows} queries"


def _chunked_backward(
    query: Tensor, key: Tensor, value: Tensor, upstream: Tensor, **keywords: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Output and gradients of query, key, value and bias."""
    import tensorflow as tf

    asked, T = Asked(**keywords), query.shape[2]
    wide = tf.float64 if query.dtype == tf.float64 else tf.float32
    bias_has_rows = asked.bias is not None and asked.bias.shape[2] > 1

    def one(start: Any, size: int) -> Parts:
        here = asked.cut(lambda array: _cut(array, start, size))
        sources = [_cut(query, start, size), key, value] + ([] if here.bias is None else [here.bias])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            out = _attend(sources[0], key, value, here, start, T)
        of_query, *others = tape.gradient(out, sources, output_gradients=_cut(upstream, start, size))
        own = [others.pop()] if bias_has_rows else []
        return [out, of_query, *own], [tf.cast(part, wide) for part in others]

    (out, of_query, *own), (of_key, of_value, *of_bias) = _in_chunks(one, query, key.shape[2])
    of_bias = own or [tf.cast(part, query.dtype) for part in of_bias]
    return out, of_query, tf.cast(of_key, key.dtype), tf.cast(of_value, value.dtype), (of_bias or [None])[0]


@implementation(
    "tf_keras/chunked",
    layout="BNTH",
    compile="function",
    roundoffs=claims,
    deviations=LEAKS,
    prove=_prove,
    gradient=_chunked_backward,
)
def chunked(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
    """A loop over rows of queries, each against the keys it may see, under tf.function; memory linear in T, there and back."""
    asked, T = Asked(**keywords), query.shape[2]

    def one(start: Any, size: int) -> Parts:
        here = asked.cut(lambda array: _cut(array, start, size))
        return [_attend(_cut(query, start, size), key, value, here, start, T)], []

    return _in_chunks(one, query, key.shape[2])[0][0]


def _in_chunks(one: Callable[[Any, int], Parts], query: Tensor, S: int) -> Parts:
    """All chunks one after the other, in a loop of the graph where there are several whole ones; the rest by itself."""
    import tensorflow as tf

    B, N, T, _ = query.shape
    rows = rows_of(B, N, T, S)
    whole = T // rows
    found = [one(0, rows)]
    if whole > 1:
        own, sums = found.pop()
        arrays = [tf.TensorArray(part.dtype, whole, element_shape=part.shape).write(0, part) for part in own]

        def body(i: Tensor, arrays: list[Any], sums: list[Tensor]) -> tuple[Tensor, list[Any], list[Tensor]]:
            own, added = one(i * rows, rows)
            arrays = [array.write(i, part) for array, part in zip(arrays, own, strict=True)]
            return i + 1, arrays, [total + part for total, part in zip(sums, added, strict=True)]

        _, arrays, sums = tf.while_loop(lambda i, *_: i < whole, body, (1, arrays, sums), parallel_iterations=1)
        found = [([_joined(array.stack()) for array in arrays], sums)]
    if T % rows:
        found.append(one(T - T % rows, T % rows))
    own = [
        tf.concat(parts, axis=2) if len(parts) > 1 else parts[0] for parts in zip(*(f[0] for f in found), strict=True)
    ]
    return own, [tf.add_n(parts) for parts in zip(*(f[1] for f in found), strict=True)]


def _joined(stacked: Tensor) -> Tensor:
    """(chunks,B,N,t,...) as (B,N,T,...)."""
    import tensorflow as tf

    chunks, B, N, t, last = stacked.shape
    return tf.reshape(tf.transpose(stacked, (1, 2, 0, 3, 4)), (B, N, chunks * t, last))


def _cut(array: Tensor, start: Any, size: int) -> Tensor:
    """Some rows; all where one stands for all."""
    import tensorflow as tf

    if array.shape[2] == 1:
        return array
    first, second, _, last = array.shape
    return tf.slice(array, (0, 0, start, 0), (first, second, size, last))


def _attend(query: Tensor, key: Tensor, value: Tensor, asked: Asked, start: Any, T: int) -> Tensor:
    """The rows from `start` on, among T, against those keys that causal and the window let some of them see."""
    import tensorflow as tf

    size, S = query.shape[2], key.shape[2]
    first, last = _in_sight(asked, start, start + size - 1, T, S)
    if last is not None:
        key, value = key[:, :, first:last], value[:, :, first:last]
        asked = asked.cut(lambda array: array if array.shape[3] == 1 else array[:, :, :, first:last])
    places = lambda: (tf.range(start, start + size), tf.range(first, S if last is None else last))  # noqa: E731
    return attend(query, key, value, asked, places, S - T)


def _in_sight(asked: Asked, low: Any, high: Any, T: int, S: int) -> tuple[Any, Any]:
    """First key, and one past the last, that some row from low to high may see; (0, None) where neither rule is asked."""
    import tensorflow as tf

    left, right = asked.window or (None, None)
    if asked.causal is None and left is None and right is None:
        return 0, None
    offset = S - T if asked.causal == "bottom_right" else 0
    ends = [S] + ([] if asked.causal is None else [high + offset + 1])
    ends += [] if right is None else [high + offset + right + 1]
    first = 0 if left is None else tf.clip_by_value(low + offset - left, 0, S)
    last = tf.reduce_min(tf.stack(ends))
    return first, tf.maximum(last, first)
