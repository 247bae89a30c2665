"""TensorFlow and Keras: the attention function, eager, as a graph and compiled by XLA, and what Keras offers ready-made.

Keras runs on TensorFlow here, whatever KERAS_BACKEND says. In bfloat16 on a CPU, TensorFlow's matrix products differ more
than their speed: tf.matmul sums in float32 and cuts its result off instead of rounding it; tf.einsum, which Keras uses,
sums in bfloat16 (on processors with AVX2).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from backends import keras_calls
from backends.accuracy import UNIT_ROUNDOFF, Roundoffs
from backends.interface import Asked, Deviation, KernelMismatch, Prepared, Unsupported, implementation

if TYPE_CHECKING:
    import tensorflow as tf

Tensor = Any
"""tf.Tensor: TensorFlow is not imported where types are checked."""


@functools.cache
def load() -> None:
    """Import TensorFlow and Keras, which `import tensorflow` brings along: Keras's backend must be named before."""
    global tf
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # start-up chatter about CPU features and absent GPUs
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # else it takes all the memory that others need, too
    keras_calls.load("tensorflow")
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 means float32 here


def version() -> str:
    """Versions of Keras and TensorFlow."""
    return f"{keras_calls.version()}, tensorflow {tf.__version__}"


@functools.cache
def devices() -> tuple[str, ...]:
    """The CPU, and the first GPU where there is one."""
    return ("cpu", "cuda") if tf.config.list_physical_devices("GPU") else ("cpu",)


def to_native(array: np.ndarray, dtype: str, device: str) -> Tensor:
    """A tensor on the device; bfloat16 from float32 by tf.cast, exact for the numbers that such arrays hold."""
    with tf.device({"cpu": "/CPU:0", "cuda": "/GPU:0"}[device]):
        return tf.cast(tf.constant(array), dtype)


def to_numpy(array: Tensor) -> np.ndarray:
    """A NumPy array; bfloat16 as float32."""
    return (tf.cast(array, tf.float32) if array.dtype == tf.bfloat16 else array).numpy()


def dtype_of(array: Tensor) -> str:
    """Name of the dtype."""
    return array.dtype.name


def barrier(output: Tensor | tuple[Tensor, ...]) -> None:
    """Wait for the GPU. On the CPU an op has computed when it returns (measured: eager, tf.function and XLA alike)."""
    if "GPU" in (output[0] if isinstance(output, tuple) else output).device:
        tf.test.experimental.sync_devices()


def compile(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """tf.function: "function" as a graph, "xla" compiled. One per problem: it is traced once, for these shapes."""
    if mode not in ("function", "xla"):
        raise Unsupported(f"TensorFlow has no compile mode {mode!r}, expected 'function' or 'xla'")
    compiled = tf.function(function, autograph=False, jit_compile=True if mode == "xla" else None)
    return where_the_query_is(compiled) if "cuda" in devices() else compiled


def differentiate(function: Callable[..., Any], mode: str | None, sources: tuple[str, ...]) -> Callable[..., Any]:
    """Forward on a tape, then backward: one graph of both where it is compiled."""

    def both(query: Tensor, key: Tensor, value: Tensor, upstream: Tensor, **arrays: Tensor) -> tuple[Tensor, ...]:
        own = {"query": query, "key": key, "value": value, **arrays}
        call = functools.partial(function, query, key, value, **arrays)
        return pull_back(call, tuple(own[name] for name in sources), upstream)

    return where_the_query_is(both) if mode is None else compile(both, mode)


def pull_back(call: Callable[[], Tensor], sources: tuple[Tensor, ...], upstream: Tensor) -> tuple[Tensor, ...]:
    """The gradient of what `call` returns, from a tape that watches the sources."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        output = call()
    return (output, *tape.gradient(output, sources, output_gradients=upstream))


def where_the_query_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run on the device of its first argument: else TensorFlow takes a GPU, wherever the arguments are."""

    @functools.wraps(function)
    def placed(query: Tensor, *others: Any, **keywords: Any) -> Any:
        with tf.device(query.device) if "cuda" in devices() else nullcontext():
            return function(query, *others, **keywords)

    return placed


def settings() -> dict[str, str]:
    """Threads, precision and flags; threads told as 0 are TensorFlow's to choose: one per CPU it may run on."""
    told = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    intra = tf.config.threading.get_intra_op_parallelism_threads() or (int(told) if told.isdecimal() else 0)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    flags = ("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS")
    return {
        "threads": str(intra or cpus),
        "intra_op_threads": str(intra),
        "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
        "matmul_precision": "tf32" if tf32 else "as the dtype",
        **keras_calls.settings(),
        **{flag: os.environ.get(flag, "unset") for flag in flags},
    }


def watch(device: str) -> Callable[[], int | None] | None:
    """What TensorFlow's allocator has handed out: on the CPU, too, it keeps what was freed. None from a build without one."""
    name, told = {"cpu": "CPU:0", "cuda": "GPU:0"}[device], tf.config.experimental
    try:
        told.reset_memory_stats(name)
        before = told.get_memory_info(name)["current"]
    except ValueError:
        return None
    return lambda: int(told.get_memory_info(name)["peak"]) - before


def matmul(size: int, dtype: str, device: str) -> Callable[[], Any]:
    """tf.matmul of two square matrices, eager."""
    a = to_native(np.random.default_rng(0).standard_normal((size, size)), dtype, device)
    return functools.partial(where_the_query_is(tf.matmul), a, a)


def stream(rows: int, width: int, device: str) -> Callable[[], Any]:
    """tf.matmul of a matrix and a column, eager."""
    with tf.device("GPU:0" if device == "cuda" else "CPU:0"):
        a, b = tf.ones((rows, width)), tf.ones((width, 1))
    return functools.partial(where_the_query_is(tf.matmul), a, b)


def own_function(function: Callable[..., Any]) -> Any:
    """The function behind where_the_query_is: of a compiled one, the tf.function."""
    return function if hasattr(function, "get_concrete_function") else getattr(function, "__wrapped__", function)


def products(prepared: Prepared) -> int:
    """Matrix products of the textbook form: two forward, and two more for each of them backward."""
    return 6 if prepared.sources else 2


def _prove_ops(prepared: Prepared) -> str:
    """The types of the ops that a call consists of, from a trace of the same function: two products and a softmax."""
    function = own_function(prepared.function)
    mode = "tf.function" if hasattr(function, "get_concrete_function") else "eager"
    traced = tf.function(function, autograph=False) if mode == "eager" else function
    graph = traced.get_concrete_function(*prepared.arguments, **prepared.keywords).graph
    counts = Counter(op.type for op in graph.get_operations())
    found = {name: counts[name] for name in ("BatchMatMulV2", "Einsum", "Softmax") if counts[name]}
    told = ", ".join(f"{name} x{count}" for name, count in found.items())
    wanted = products(prepared)
    if found.pop("Softmax", 0) != 1 or sum(found.values()) != wanted:
        raise KernelMismatch(f"expected {wanted} matrix products and one Softmax, got {told or 'none of them'}")
    return f"{mode}: {told}"


def _prove_xla(prepared: Prepared) -> str:
    """The HLO that XLA was given, and the mark that leaves TensorFlow no choice but to compile it."""
    function = own_function(prepared.function)
    bound = inspect.signature(function.python_function).bind(*prepared.arguments, **prepared.keywords)
    bound.apply_defaults()  # which the next function does not do
    hlo = function.experimental_get_compiler_ir(*bound.args, **bound.kwargs)(stage="hlo")
    marked = function.get_concrete_function(*prepared.arguments, **prepared.keywords).function_def
    dots, exponentials = hlo.count(" dot("), hlo.count(" exponential(")
    told = f"dot x{dots}, exponential x{exponentials}"
    wanted = products(prepared)
    if not marked.attr["_XlaMustCompile"].b or (dots, exponentials) != (wanted, 1):
        raise KernelMismatch(f"expected HLO with {wanted} dots and one exponential, compiled by XLA, got {told}")
    return f"XLA: {told}"


def claims(dtype: str) -> Roundoffs:
    """Sums and softmax in float32 or wider, subnormals flushed; tf.matmul cuts bfloat16 off: twice the error of rounding."""
    claim = Roundoffs.of(dtype, accumulate="float64" if dtype == "float64" else "float32", flushes=True)
    return dataclasses.replace(claim, output=2 * claim.output) if dtype == "bfloat16" else claim


def _claims_of_xla(dtype: str) -> Roundoffs:
    """Sums in float32 or wider, subnormals flushed, forward and backward."""
    return Roundoffs.of(dtype, accumulate="float64" if dtype == "float64" else "float32", flushes=True)


def _claims_of_einsum(dtype: str) -> Roundoffs:
    """Softmax in float32 or wider; float16 is summed in float16 (bfloat16 is refused where it is summed in bfloat16)."""
    return Roundoffs.of(dtype, accumulate="float32" if dtype == "bfloat16" else dtype, flushes=True)


def _claims_of_layer(dtype: str) -> Roundoffs:
    """Sums in float32 or wider; scores are rounded to the dtype, or cut off, and once more when they are scaled."""
    return dataclasses.replace(claims(dtype), score=3 * UNIT_ROUNDOFF[dtype])


LEAKS = (Deviation("hidden_nan_value", "NaN", "keras-team/keras#16108: 0 * NaN"),)


@implementation(
    "tf_keras/attention-xla",
    summary="the same under tf.function(jit_compile=True): compiled and fused by XLA",
    layout="BNTH",
    compile="xla",
    roundoffs=_claims_of_xla,
    deviations=LEAKS,
    prove=_prove_xla,
    scores_held=(4, 8),
)
@implementation(
    "tf_keras/attention-function",
    summary="the same under tf.function: a graph instead of one op after the other",
    scores_held=(2, 3),
    layout="BNTH",
    compile="function",
    roundoffs=claims,
    deviations=LEAKS,
    prove=_prove_ops,
)
@implementation(
    "tf_keras/attention",
    layout="BNTH",
    roundoffs=claims,
    deviations=LEAKS,
    prove=_prove_ops,
    naive=True,
    scores_held=(2.5, 7),
)
@where_the_query_is
def attention(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
    """matmul, softmax, matmul: the textbook form; holds all (B,N,T,S) scores."""
    T, S = query.shape[2], key.shape[2]
    return attend(query, key, value, Asked(**keywords), lambda: (tf.range(T), tf.range(S)), S - T)


def attend(
    query: Tensor, key: Tensor, value: Tensor, asked: Asked, places: Callable[[], tuple[Tensor, Tensor]], offset: int
) -> Tensor:
    """(B,N,t,V): the textbook form, for queries and keys at these places; `offset` is S - T of the whole problem."""
    (B, N, _, H), (K, V) = query.shape, (value.shape[1], value.shape[3])
    t, s = tf.shape(query)[2] if query.shape[2] is None else query.shape[2], key.shape[2]
    s = tf.shape(key)[2] if s is None else s
    wide = tf.float64 if query.dtype == tf.float64 else tf.float32
    # The queries that share a key/value head become rows of one matrix: grouped heads need no copy of key and value.
    rows = tf.reshape(query, (B, K, N // K * t, H))
    score = tf.cast(tf.matmul(rows, key, transpose_b=True), wide)
    score *= H**-0.5 if asked.scale is None else asked.scale
    score = tf.reshape(score, (B, N, t, s))
    if asked.softcap is not None:
        score = asked.softcap * tf.tanh(score / asked.softcap)
    if asked.bias is not None:
        score += tf.cast(asked.bias, wide)
    if asked.hides:
        score = tf.where(_seen(asked, places, offset), score, -np.inf)
    weights = tf.nn.softmax(score)
    if asked.hides or asked.bias is not None:
        weights = tf.where(score != -np.inf, weights, 0.0)  # a row that sees no key: 0/0 so far
    weights = tf.reshape(tf.cast(weights, value.dtype), (B, K, N // K * t, s))
    return tf.reshape(tf.matmul(weights, value), (B, N, t, V))


def _seen(asked: Asked, places: Callable[[], tuple[Tensor, Tensor]], offset: int) -> Tensor:
    """As Asked.seen, but the places are made only where they are asked for: an eager range costs 50 us."""
    rules = [] if asked.mask is None else [asked.mask]
    if asked.kv_lengths is not None or asked.causal is not None or asked.window is not None:
        t, s = places()
        rules += [] if asked.kv_lengths is None else [s < asked.kv_lengths[:, None, None, None]]
        rules += asked.in_sight(t[:, None], s, offset)
    return functools.reduce(tf.logical_and, rules)


@implementation(
    "tf_keras/keras-ops",
    scores_held=(3, 6.3),
    accepts={"grouped", "value_size", "scale", "mask", "bias", "causal_top_left"},
    roundoffs=_claims_of_einsum,
    deviations=(Deviation("empty_rows", "mean(V)", "keras/src/backend/tensorflow/nn.py: _apply_masks"), *LEAKS),
    prove=_prove_ops,
)
@where_the_query_is
def keras_ops(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
    """keras.ops.dot_product_attention, eager: two einsums around a softmax; holds all (B,N,T,S) scores."""
    if key.shape[2] == 1 and query.shape[2] > 1:
        raise Unsupported("no single key/value head for several query heads: Keras repeats only K > 1 on TensorFlow")
    dtype, H = query.dtype.name, query.shape[3]
    if _LONGEST_NARROW_SUM.get(dtype, H) < H and _einsum_sums_in(dtype, query.device) == dtype:
        raise Unsupported(f"tf.einsum sums {dtype} in {dtype} here: with H={H}, no useful bound holds for the scores")
    return keras_calls.dot_product_attention(query, key, value, **keywords)


_LONGEST_NARROW_SUM = {"bfloat16": 8, "float16": 128}
"""Head size up to which scores that were summed in the dtype itself are good to a tenth of a nat."""


@functools.cache
def _einsum_sums_in(dtype: str, device: str) -> str:
    """float32 or the dtype itself: that may depend on the processor and on oneDNN, so it is measured, once."""
    with tf.init_scope(), tf.device(device):
        a = tf.cast(tf.random.stateless_normal((1, 64, 1, 512), (0, 0)), dtype)
        wide = tf.cast(a, tf.float32)
        exact = tf.einsum("BTNH,BSNH->BNTS", wide, wide)
        error = tf.abs(tf.cast(tf.einsum("BTNH,BSNH->BNTS", a, a), tf.float32) - exact)
        allowed = 4 * UNIT_ROUNDOFF[dtype] * tf.abs(exact) + 0.001
        return dtype if bool(tf.reduce_any(error > allowed)) else "float32"


_LAYER = "keras/src/layers/attention/attention.py: _apply_scores; see keras-team/keras#22391"


@implementation(
    "tf_keras/keras-layer",
    scores_held=(2, 6),
    layout="XTH",
    accepts={"value_size", "scale", "causal_top_left", "kv_lengths"},
    setup=True,
    roundoffs=_claims_of_layer,
    deviations=(
        Deviation("empty_rows", "mean(V); in float64 as if it saw all", _LAYER),
        Deviation("hidden_nan_key", "NaN", _LAYER),
        *LEAKS,
    ),
    prove=_prove_ops,
)
def keras_layer(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Callable[[], Tensor]:
    """keras.layers.Attention, built once and called eagerly; holds all (B*N,T,S) scores."""
    return functools.partial(where_the_query_is(keras_calls.layer(query, key, value, **keywords)), query)
