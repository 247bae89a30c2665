"""JAX: the textbook form eager and compiled, and jax.nn on XLA and on cuDNN."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.accuracy import Roundoffs
from backends.device_clocks import KERNELS, jax_kernels
from backends.interface import FEATURES, Asked, Deviation, KernelMismatch, Prepared, Unsupported, implementation

if TYPE_CHECKING:
    import jax
    import jax.numpy as jnp

Array = Any


_events: Counter[str] = Counter()
"""JAX's own, of this process."""


def load() -> None:
    """Import JAX. Nothing is configured: precision, threads and the compilation cache stay as the user set them."""
    global jax, jnp
    import jax
    import jax.numpy as jnp
    from jax import monitoring

    monitoring.register_event_listener(_count)


def version() -> str:
    """Versions of JAX and of jaxlib, which holds XLA."""
    import jaxlib

    return f"jax {jax.__version__}, jaxlib {jaxlib.__version__}"


def devices() -> tuple[str, ...]:
    """The CPU is always there; "cuda" where the default backend is a GPU."""
    return ("cpu", "cuda") if jax.default_backend() in ("gpu", "cuda") else ("cpu",)


def to_native(array: np.ndarray, dtype: str, device: str) -> Array:
    """An array on the device; `dtype` holds the numbers exactly, bfloat16 too."""
    with _x64(np.dtype(jnp.dtype(dtype))):
        return jax.device_put(np.ascontiguousarray(array).astype(jnp.dtype(dtype)), jax.devices(device)[0])


def to_numpy(array: Array) -> np.ndarray:
    """A copy in NumPy; bfloat16 is widened to float32."""
    return np.asarray(array).astype(np.float32 if array.dtype == jnp.bfloat16 else array.dtype)


def dtype_of(array: Array) -> str:
    """Name of the dtype."""
    return str(array.dtype.name)


def barrier(output: Array) -> None:
    """Wait for the array, or for each of a tuple of them: an array's own method is cheaper by 1 us."""
    output.block_until_ready() if hasattr(output, "block_until_ready") else jax.block_until_ready(output)


def compile(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """jax.jit, the one mode."""
    if mode != "jit":
        raise Unsupported(f"JAX has no compile mode {mode!r}, expected 'jit'")
    return jax.jit(in_own_width(function))


def differentiate(function: Callable[..., Any], mode: str | None, sources: tuple[str, ...]) -> Callable[..., Any]:
    """jax.vjp of the function, compiled whole where it is compiled."""

    def both(query: Array, key: Array, value: Array, upstream: Array, **arrays: Array) -> tuple[Array, ...]:
        own = {"query": query, "key": key, "value": value, **arrays}
        fixed = {name: array for name, array in own.items() if name not in sources}

        def of_sources(*given: Array) -> Array:
            every = {**fixed, **dict(zip(sources, given, strict=True))}
            return function(every.pop("query"), every.pop("key"), every.pop("value"), **every)

        output, pull = jax.vjp(of_sources, *(own[name] for name in sources))
        return (output, *pull(upstream))

    return compile(both, mode) if mode is not None else in_own_width(both)


def pull_back(call: Callable[[], Array], sources: tuple[Array, ...], upstream: Array) -> tuple[Array, ...]:
    """JAX differentiates functions of arrays, not calls that hold them."""
    raise Unsupported("JAX cannot differentiate what was set up beforehand")


def settings() -> dict[str, str]:
    """What steers XLA: its thread pool, flags, precision, x64, compilation cache."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "platform": jax.default_backend(),
        "threads": os.environ.get("PJRT_NPROC") or os.environ.get("NPROC") or str(free),
        # Unset means float32 products in full on the CPU and in TF32 on CUDA: see on_cuda.
        "matmul_precision": str(jax.config.jax_default_matmul_precision or "default"),
        "x64": "everywhere" if jax.config.jax_enable_x64 else "float64 problems only",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "compilation_cache": str(jax.config.jax_compilation_cache_dir or ""),
    }


def keep_compiled(folder: str) -> None:
    """XLA's persistent cache, for what takes no time to compile as well. On the CPU: what CUDA's autotuner chooses is part of
    what differs between processes.
    """
    config = jax.config
    if jax.default_backend() == "cpu" and config.jax_enable_compilation_cache and not config.jax_compilation_cache_dir:
        config.update("jax_compilation_cache_dir", folder)
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def taken_from_disk() -> int:
    """By JAX's own count."""
    return _events["/jax/compilation_cache/cache_hits"]


def _count(event: str, **_: Any) -> None:
    _events[event] += 1


def free_bytes(device: str) -> int | None:
    """What XLA's allocator may still take; on the CPU it is malloc, which has no limit. Others may have taken some of it."""
    stats = jax.devices(device)[0].memory_stats()
    return None if stats is None or "bytes_limit" not in stats else int(stats["bytes_limit"] - stats["bytes_in_use"])


def planned_bytes(prepared: Prepared) -> int | None:
    """XLA takes all temporaries of a call at once, as its plan says; with cuBLAS's and cuDNN's workspaces among them.

    Its allocator would tell less: its peak cannot be reset, and a call that was made before has reached it.
    """
    plan = _executable(prepared).memory_analysis() if hasattr(prepared.function, "lower") else None
    return None if plan is None else int(plan.temp_size_in_bytes)


def device_times(call: Callable[[], Any], calls: int, device: str, *, is_cold: bool) -> tuple[str, list[float]] | None:
    """By CUPTI, which tells of every kernel: JAX has no events."""
    found = jax_kernels(call, calls, is_cold=is_cold) if device == "cuda" else None
    return None if found is None else (KERNELS, found)


def matmul(size: int, dtype: str, device: str) -> Callable[[], Any]:
    """A compiled product of two square matrices."""
    numbers = np.random.default_rng(0).standard_normal((min(size, 1024),) * 2, dtype=np.float32)
    a = to_native(np.tile(numbers, (-(-size // 1024),) * 2)[:size, :size], dtype, device)
    return functools.partial(compile(lambda a: a @ a, "jit"), a)


def stream(rows: int, width: int, device: str) -> Callable[[], Any]:
    """A compiled product of a matrix and a vector."""
    a, b = (jnp.ones(shape, "float32", device=jax.devices(device)[0]) for shape in ((rows, width), (width,)))
    return functools.partial(compile(lambda a, b: a @ b, "jit"), a, b)


def _x64(dtype: np.dtype[Any]) -> AbstractContextManager[Any]:
    return jax.enable_x64(True) if dtype == np.float64 else nullcontext()


def in_own_width(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with x64 on while it runs, or is traced, on float64 arrays; on all others nothing is touched.

    JAX has float64 only where x64 is on. Turned on for the whole process it would make 64 bits the default of every index
    and constant that a float32 problem creates. Inside of a compiled function this is entered while tracing only: a
    compiled call costs nothing more, an eager float64 one 3 us.
    """

    @functools.wraps(function)
    def call(query: Array, *others: Array, **keywords: Any) -> Any:
        with _x64(query.dtype):
            return function(query, *others, **keywords)

    return call


def checked(prepared: Prepared, is_right: Callable[[str], bool], expected: str) -> str:
    """The telling operations of the optimised program, and the kernels it calls by name (oneDNN, cuBLAS, cuDNN)."""
    text = str(_executable(prepared).as_text())
    found = re.findall(r"[\]})] (dot|exponential|while)\(", text) + re.findall(r'custom_call_target="([^"]+)"', text)
    if not is_right(text):
        raise KernelMismatch(f"expected {expected}, got XLA: {_listed(found)}")
    return f"XLA: {_listed(found)}"


def _executable(prepared: Prepared) -> Any:
    """What has been called already is not compiled again: JAX hands out the same."""
    function: Any = prepared.function
    return function.lower(*prepared.arguments, **prepared.keywords).compile()


def _listed(found: list[str]) -> str:
    return ", ".join(name if count == 1 else f"{name} x{count}" for name, count in sorted(Counter(found).items()))


def prove_eager(prepared: Prepared) -> str:
    """The primitives that are dispatched one by one."""
    text = str(jax.make_jaxpr(prepared.function)(*prepared.arguments, **prepared.keywords))
    return "eager: " + _listed(re.findall(r"= (dot_general|exp|reduce_max|reduce_sum|div)\b", text))


def prove_xla(prepared: Prepared) -> str:
    """Two whole products by XLA: no loop, no fused attention."""
    return checked(prepared, lambda text: "__cudnn$fmha" not in text and " while(" not in text, "plain operations")


def _prove_cudnn(prepared: Prepared) -> str:
    """cuDNN's fused attention, by the name of its custom call."""
    return checked(prepared, lambda text: "__cudnn$fmha" in text, "a call of __cudnn$fmha")


def claims(dtype: str) -> Roundoffs:
    """Scores and sums in float32 at least, subnormals flushed; probabilities multiplied in the dtype of the values."""
    wide = "float64" if dtype == "float64" else "float32"
    return Roundoffs.of(dtype, accumulate=wide, score=wide, flushes=True)


def claims_nn(dtype: str) -> Roundoffs:
    """As above, but the softmax runs in float32 whatever the dtype: a float64 problem has float32 accuracy."""
    probability = "float32" if dtype == "float64" else dtype
    return Roundoffs.of(dtype, accumulate="float32", score="float32", probability=probability, flushes=True)


TF32 = 2.0**-11
"""Unit roundoff of what tensor cores make of a float32 number: ten bits behind the point."""
_IN_TF32 = ("None", "default", "fastest", "tensorfloat32", "TF32_TF32_F32")
"""Values of jax_default_matmul_precision, None among them, under which they do."""


def on_cuda(claims: Callable[[str], Roundoffs]) -> Callable[[str], Roundoffs]:
    """The same on CUDA, where XLA multiplies float32 matrices in TF32 unless jax_default_matmul_precision forbids it: a
    product's error is that of its two rounded factors, and probabilities are such a factor.
    """

    def own(dtype: str) -> Roundoffs:
        claimed = claims(dtype)
        if dtype != "float32" or str(jax.config.jax_default_matmul_precision) not in _IN_TF32:
            return claimed
        return dataclasses.replace(claimed, product=TF32, probability=2 * TF32)

    return own


_NN, _CUDNN = "jax/_src/nn/functions.py", "jax/_src/cudnn/fused_attention_stablehlo.py"
_LEAKS = Deviation("hidden_nan_value", "NaN")  # a hidden key's probability is 0, and 0 * NaN is NaN


def scores_of(query: Array, key: Array, asked: Asked, queries: Array, keys: Array, offset: int) -> Array:
    """(B,N,t,s) in float32 at least, of the queries and keys with these indices, `offset` being S - T; -inf where not seen."""
    (B, N, T, H), (K, s) = query.shape, key.shape[1:3]
    wide = jnp.promote_types(query.dtype, jnp.float32)
    # The queries that share a key/value head become rows of one matrix: grouped heads need no copy of key and value.
    rows = query.reshape(B, K, N // K * T, H)
    scores = jnp.einsum("bkrh,bksh->bkrs", rows, key, preferred_element_type=wide).reshape(B, N, T, s)
    scores = scores * (H**-0.5 if asked.scale is None else asked.scale)
    if asked.softcap is not None:
        scores = asked.softcap * jnp.tanh(scores / asked.softcap)
    if asked.bias is not None:
        scores = scores + asked.bias
    return jnp.where(asked.seen(queries[:, None], keys, offset), scores, -jnp.inf) if asked.hides else scores


def finite(highest: Array) -> Array:
    """What to subtract before exp: the row's maximum, or 0 where nothing is seen. A constant to the gradient."""
    return jax.lax.stop_gradient(jnp.where(jnp.isneginf(highest), 0, highest))


def mix(weights: Array, value: Array) -> Array:
    """weights (B,N,T,s) @ value (B,K,s,V), multiplied in the dtype of the values, summed in that of the weights."""
    (B, N, T, s), (_, K, _, V) = weights.shape, value.shape
    rows = weights.astype(value.dtype).reshape(B, K, N // K * T, s)
    return jnp.einsum("bkrs,bksv->bkrv", rows, value, preferred_element_type=weights.dtype).reshape(B, N, T, V)


# BNTH: the products need no transposition, and compiled it took 260 ms where BTNH took 400 (T = S = 2048, N = 8, H = 64).
OURS: dict[str, Any] = {
    "layout": "BNTH",
    "roundoffs": claims,
    "cuda_roundoffs": on_cuda(claims),
    "deviations": (_LEAKS,),
}


@implementation(
    "jax/naive-jit", summary="naive, compiled whole", **OURS, compile="jit", prove=prove_xla, scores_held=(2.2, 8.6)
)
@implementation("jax/naive", **OURS, prove=prove_eager, naive=True, scores_held=(2.1, 4.5))
@in_own_width
def naive(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """matmul, softmax, matmul, operation by operation: the textbook form; holds all (B,N,T,S) scores."""
    T, S = query.shape[2], key.shape[2]
    scores = scores_of(query, key, Asked(**keywords), jnp.arange(T), jnp.arange(S), S - T)
    weights = jnp.exp(scores - finite(scores.max(axis=-1, keepdims=True, initial=-jnp.inf)))
    total = weights.sum(axis=-1, keepdims=True)
    return mix(weights / jnp.where(total == 0, 1, total), value).astype(query.dtype)


def _nn(query: Array, key: Array, value: Array, asked: Asked, implementation: str, window: Any, **more: Any) -> Any:
    given = {"bias": asked.bias, "mask": asked.mask, "scale": asked.scale, "is_causal": asked.causal is not None}
    given |= {"key_value_seq_lengths": asked.kv_lengths, "local_window_size": window}
    return jax.nn.dot_product_attention(query, key, value, **given, implementation=implementation, **more)


_THEIRS: dict[str, Any] = {
    "accepts": FEATURES - {"value_size", "softcap", "causal_bottom_right"},
    "compile": "jit",
    "roundoffs": claims_nn,
    "cuda_roundoffs": on_cuda(claims_nn),
}
_NN_DEVIATES = (Deviation("empty_rows", "mean(V)", _NN), Deviation("hidden_nan_value", "NaN", _NN))


def _nn_log_sum_exp(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """What jax.nn.dot_product_attention returns beside its output: (B,T,N), as (B,N,T)."""
    return _nn_on_xla(query, key, value, Asked(**keywords), return_residual=True)[1].swapaxes(1, 2)


@implementation(
    "jax/nn",
    **_THEIRS,
    deviations=_NN_DEVIATES,
    prove=prove_xla,
    log_sum_exp=_nn_log_sum_exp,
    scores_held=(2.2, 5.1),
)
def nn(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """jax.nn.dot_product_attention, implementation="xla": what users call; holds all scores, softmax in float32."""
    return _nn_on_xla(query, key, value, Asked(**keywords))


def _nn_on_xla(query: Array, key: Array, value: Array, asked: Asked, **more: Any) -> Any:
    if query.dtype == jnp.float16 and jax.default_backend() == "cpu":
        # It asks for F16_F16_F32 products, and its own fallback from them works in eager mode only.
        raise Unsupported("no float16 on the CPU under jit: XLA has no F16_F16_F32 product there")
    # Inclusive and around the top-left diagonal, as ours; an open side becomes one that reaches past every key.
    left, right = (query.shape[1] + key.shape[1] if side is None else side for side in asked.window or (None, None))
    return _nn(query, key, value, asked, "xla", None if asked.window is None else (left, right), **more)


_CUDNN_DTYPES = ("bfloat16", "float16")
_CUDNN_DEVIATES = (
    # A mask is added to the scores as -2**15 (float16) or -2**41 (bfloat16): see combine_bias_and_mask.
    Deviation("empty_rows", "mean(V), or attention without the mask", _CUDNN),
    Deviation("hidden_nan_key", "NaN", _CUDNN),
    Deviation("hidden_nan_value", "NaN", _CUDNN),
)


@implementation(
    "jax/nn-cudnn", **_THEIRS, dtypes=_CUDNN_DTYPES, devices=("cuda",), deviations=_CUDNN_DEVIATES, prove=_prove_cudnn
)
def nn_cudnn(query: Array, key: Array, value: Array, **keywords: Any) -> Array:
    """jax.nn.dot_product_attention, implementation="cudnn": one fused kernel of flash attention."""
    asked = Asked(**keywords)
    added = [array.shape for array in (asked.mask, asked.bias) if array is not None]
    if added and np.broadcast_shapes(*added)[2:] != (query.shape[1], key.shape[1]):
        raise Unsupported("cuDNN's mask and bias must have all T and S (jax-ml/jax#28974)")
    if asked.window is not None and asked.causal is None:
        raise Unsupported("cuDNN's windows need causal (jax-ml/jax#39576)")
    # Under causal the right side says nothing; JAX takes no other than 0 beside key lengths.
    left, _ = asked.window or (None, None)
    try:
        return _nn(query, key, value, asked, "cudnn", None if left is None else (left, 0))
    except NotImplementedError as error:  # JAX's own checks of head size and compute capability
        raise Unsupported(str(error)) from error
