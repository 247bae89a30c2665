"""ONNX Runtime on the CPU: its own kernel of the operator Attention, and the textbook form as a graph of MatMul and Softmax.

A session is built for each problem and its arrays are bound to it beforehand: what is timed is one run of it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from backends import onnx_graphs
from backends.accuracy import Roundoffs
from backends.interface import FEATURES, Asked, Deviation, KernelMismatch, Prepared, Unsupported, implementation
from backends.onnx_graphs import Graph, OrtValue, dtype_of, tensor

if TYPE_CHECKING:
    import onnx
    import onnxruntime


def load() -> None:
    """Import ONNX Runtime, and onnx, which writes the graphs that it runs."""
    global onnx, onnxruntime
    import onnx
    import onnxruntime

    onnx_graphs.share_memory()


def version() -> str:
    """Versions of ONNX Runtime and of onnx."""
    return f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}"


def devices() -> tuple[str, ...]:
    """The CPU: nothing here is made for another execution provider."""
    return ("cpu",)


def to_native(array: np.ndarray, dtype: str, device: str) -> OrtValue:
    """A tensor in memory of ONNX Runtime's own. Unsupported for bfloat16."""
    if dtype == "bfloat16":
        raise Unsupported("no bfloat16: ONNX Runtime has no kernels for it on the CPU")
    return tensor(array, dtype)


def to_numpy(array: OrtValue) -> np.ndarray:
    """A copy: ONNX Runtime hands out its own memory, into which the next run writes."""
    return np.array(array.numpy())


def barrier(output: OrtValue) -> None:
    """A run has computed when it returns."""


def compile(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """ONNX Runtime runs graphs, and compiles no functions."""
    raise Unsupported(f"ONNX Runtime has no compile mode {mode!r}")


_NO_GRADIENT = "ONNX Runtime's sessions have no backward pass"


def differentiate(function: Callable[..., Any], mode: str | None, sources: tuple[str, ...]) -> Callable[..., Any]:
    """ONNX Runtime differentiates nothing."""
    raise Unsupported(_NO_GRADIENT)


def pull_back(call: Callable[[], Any], sources: tuple[Any, ...], upstream: Any) -> tuple[Any, ...]:
    """As differentiate."""
    raise Unsupported(_NO_GRADIENT)


def settings() -> dict[str, str]:
    """Threads, and what else sessions are made with."""
    options = onnx_graphs.options()
    return {
        "threads": str(options.intra_op_num_threads),
        "providers": ", ".join(onnx_graphs.PROVIDERS),
        "graph_optimization": options.graph_optimization_level.name,
        "execution_mode": options.execution_mode.name,
        "opset": str(onnx_graphs.OPSET),
        "matmul_precision": "as the dtype (float16 in float32)",
    }


def matmul(size: int, dtype: str, device: str) -> Callable[[], Any]:
    """A session of one MatMul of two square matrices."""
    if dtype not in ("float32", "float64"):
        raise Unsupported(f"ONNX Runtime has no MatMul for {dtype} on the CPU")
    a = tensor(np.random.default_rng(0).standard_normal((size, size)), dtype)
    graph = Graph({"a": a})
    graph.node("MatMul", "a", "a")
    return graph.session((size, size), dtype)


def stream(rows: int, width: int, device: str) -> Callable[[], Any]:
    """A session of one MatMul of a matrix and a column."""
    graph = Graph(
        {"a": tensor(np.ones((rows, width), np.float32), "float32"), "b": tensor(np.ones((width, 1)), "float32")}
    )
    graph.node("MatMul", "a", "b")
    return graph.session((rows, 1), "float32")


def _ran(prepared: Prepared) -> Counter[str]:
    session: Any = prepared.call
    return session.ran()


def _listed(found: Counter[str]) -> str:
    return ", ".join(name if count == 1 else f"{name} x{count}" for name, count in sorted(found.items()))


def _prove_attention(prepared: Prepared) -> str:
    """One kernel, the operator's own."""
    found = _ran(prepared)
    if found != Counter(["Attention"]):
        raise KernelMismatch(f"expected one node Attention and no other, ran {_listed(found)}")
    return f"Attention-{onnx_graphs.OPSET}, {onnx_graphs.PROVIDERS[0]}"


def _prove_naive(prepared: Prepared) -> str:
    """Two products, which may have taken in the scale and the transposition, and a softmax between them."""
    found = _ran(prepared)
    if found["MatMul"] + found["FusedMatMul"] != 2 or found["Softmax"] != 1 or any("Attention" in n for n in found):
        raise KernelMismatch(f"expected two products and a Softmax, ran {_listed(found)}")
    return _listed(found)


def _claims(dtype: str) -> Roundoffs:
    """Sums and softmax in float32; scores are stored when they are multiplied, capped and biased."""
    return Roundoffs.of(dtype, accumulate="float32", roundings=3)


_MASKS = (
    "onnxruntime/core/providers/cpu/llm/attention.cc: a mask is added to the scores; see microsoft/onnxruntime#28904"
)
_KEY_LEAKS = Deviation("hidden_nan_key", "NaN", _MASKS)
_VALUE_LEAKS = Deviation("hidden_nan_value", "NaN")  # 0 * NaN
_OURS: dict[str, Any] = {"devices": ("cpu",), "layout": "BNTH", "setup": True, "gradient": _NO_GRADIENT}


@implementation(
    "onnxruntime/attention",
    dtypes=("float32", "float16"),
    accepts=FEATURES - {"window"},
    combines=False,  # mask and bias are one input, and causal beside lengths is aligned to these
    broadcasts=False,  # over batch and heads only
    roundoffs=_claims,
    deviations=(_KEY_LEAKS, _VALUE_LEAKS),
    prove=_prove_attention,
    scores_held=(1.1, 0),
    **_OURS,
)
def attention(query: OrtValue, key: OrtValue, value: OrtValue, **keywords: Any) -> Callable[[], OrtValue]:
    """The operator Attention, by its own kernel; holds all scores."""
    asked = Asked(**keywords)
    if asked.scale is not None and asked.scale <= 0:
        raise Unsupported("the operator's scale has to be above 0")
    (B, N, T, _), (S, V) = query.shape(), value.shape()[2:]
    # Causal is top-left, and bottom-right where lengths are given: to the operator the keys then are a cache.
    lengths = np.full(B, S) if asked.causal == "bottom_right" else None
    if asked.kv_lengths is not None:
        lengths = asked.kv_lengths.numpy()
    graph = Graph(
        {
            "query": query,
            "key": key,
            "value": value,
            "mask": asked.bias if asked.mask is None else asked.mask,
            "lengths": None if lengths is None else tensor(lengths, "int64"),
        }
    )
    attributes = {"is_causal": int(asked.causal is not None), "scale": asked.scale, "softcap": asked.softcap}
    given = {name: number for name, number in attributes.items() if number is not None}
    graph.node("Attention", "query", "key", "value", "mask", "", "", "lengths", **given)
    return graph.session((B, N, T, V), dtype_of(query))


def _claims_naive(dtype: str) -> Roundoffs:
    """float16 is widened to float32, computed there and rounded once."""
    wide = "float32" if dtype == "float16" else dtype
    return Roundoffs.of(dtype, accumulate=wide, score=wide, probability=wide)


@implementation(
    "onnxruntime/naive",
    dtypes=("float64", "float32", "float16"),
    roundoffs=_claims_naive,
    deviations=(_VALUE_LEAKS,),
    prove=_prove_naive,
    naive=True,
    scores_held=(3, 0),  # two with a bias, four with a mask
    **_OURS,
)
def naive(query: OrtValue, key: OrtValue, value: OrtValue, **keywords: Any) -> Callable[[], OrtValue]:
    """MatMul, Softmax, MatMul: the textbook form; holds all (B,N,T,S) scores. What hides keys is one mask, made before."""
    asked, dtype = Asked(**keywords), dtype_of(query)
    (B, N, T, H), (K, S, V) = query.shape(), value.shape()[1:]
    seen, sees = _in_sight(asked, T, S)
    graph = Graph({"query": query, "key": key, "value": value, "bias": asked.bias, "seen": seen, "sees": sees})
    wide = "float32" if dtype == "float16" else dtype
    # Written into the graph: left alone, ONNX Runtime widens float16 just where it lacks a kernel for it on this machine.
    q, k, v = (name if dtype == wide else graph.cast(name, wide) for name in ("query", "key", "value"))
    if K != N:  # the queries that share a key/value head become rows of one matrix
        q = graph.reshape(q, B, K, N // K * T, H)
    scores = graph.node("MatMul", q, graph.node("Transpose", k, perm=[0, 1, 3, 2]))
    scores = graph.node("Mul", scores, graph.constant(H**-0.5 if asked.scale is None else asked.scale, wide))
    if K != N:
        scores = graph.reshape(scores, B, N, T, S)
    if asked.softcap is not None:
        cap = graph.constant(asked.softcap, wide)
        scores = graph.node("Mul", graph.node("Tanh", graph.node("Div", scores, cap)), cap)
    if asked.bias is not None:
        scores = graph.node("Add", scores, "bias" if dtype == wide else graph.cast("bias", wide))
    if seen is not None:
        scores = graph.node("Where", "seen", scores, graph.constant(-np.inf, wide))
    weights = graph.node("Softmax", scores, axis=-1)
    if K != N:
        weights = graph.reshape(weights, B, K, N // K * T, S)
    out = graph.node("MatMul", weights, v)
    if K != N:
        out = graph.reshape(out, B, N, T, V)
    if sees is not None:  # the softmax of nothing is NaN
        out = graph.node("Where", "sees", out, graph.constant(0, wide))
    if dtype != wide:
        graph.cast(out, dtype)
    return graph.session((B, N, T, V), dtype)


def _in_sight(asked: Asked, T: int, S: int) -> tuple[OrtValue | None, OrtValue | None]:
    """Which keys each query sees, (b,n,T,S), and, where one sees none, which queries see any, (b,n,T,1)."""
    mask, bias, lengths = (None if a is None else a.numpy() for a in (asked.mask, asked.bias, asked.kv_lengths))
    seen: np.ndarray = np.ones((1, 1, 1, 1), bool)
    if asked.hides:
        known = dataclasses.replace(asked, mask=mask, kv_lengths=lengths)
        seen = np.logical_and(seen, known.seen(np.arange(T)[:, None], np.arange(S), S - T))
    sees = np.logical_or.reduce(seen if bias is None else seen & ~np.isneginf(bias), axis=-1, keepdims=True)
    return tensor(seen, "bool") if asked.hides else None, None if sees.all() else tensor(sees, "bool")
