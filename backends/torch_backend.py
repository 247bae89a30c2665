"""PyTorch: the textbook form, eager and compiled, and each kernel of scaled_dot_product_attention by name.

Inputs never require a gradient, so autograd records nothing; torch.inference_mode gains nothing measurable on top of that.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.accuracy import Roundoffs
from backends.device_clocks import EVENTS, torch_events
from backends.interface import Asked, Deviation, KernelMismatch, Prepared, Unsupported, implementation
from backends.problem import DTYPES

if TYPE_CHECKING:
    import torch

Tensor = Any
KEY_LEAKS = Deviation("hidden_nan_key", "NaN", "pytorch/pytorch#101967: NaN + -inf")
VALUE_LEAKS = Deviation("hidden_nan_value", "NaN", "pytorch/pytorch#101967: 0 * NaN")


def load() -> None:
    """Import torch; nothing global is changed in it."""
    global torch
    import torch
    import torch.nn.attention.flex_attention


def version() -> str:
    """Version of torch; its local part names the build (+cpu, +cu129)."""
    return f"torch {torch.__version__}"


def devices() -> tuple[str, ...]:
    """The CPU, and CUDA where torch finds a GPU."""
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def to_native(array: np.ndarray, dtype: str, device: str) -> Tensor:
    """A contiguous tensor of its own: torch's allocator aligns to 64 bytes, NumPy's memory need not be."""
    return torch.tensor(np.ascontiguousarray(array), dtype=getattr(torch, dtype), device=device)


def to_numpy(array: Tensor) -> np.ndarray:
    """The numbers on the host; bfloat16 as float32, which holds them exactly."""
    return (array.float() if array.dtype == torch.bfloat16 else array).detach().cpu().numpy()


def dtype_of(array: Tensor) -> str:
    """Name of the dtype."""
    return str(array.dtype).removeprefix("torch.")


def barrier(output: Tensor | tuple[Tensor, ...]) -> None:
    """On the CPU torch has computed when it returns; CUDA only has it in its queue."""
    first = output[0] if isinstance(output, tuple) else output
    if first.is_cuda:
        torch.cuda.synchronize(first.device)


def compile(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """torch.compile for fixed shapes; it compiles when first called. Unsupported without a C++ compiler."""
    if mode != "compile":
        raise Unsupported(f"torch has no compile mode {mode!r}, expected 'compile'")
    _require_compiler()

    def attention(*arrays: Tensor, **keywords: Any) -> Tensor:
        return function(*arrays, **keywords)

    # Dynamo files what it compiles under the code object, and gives up on one after eight recompilations. Each problem
    # gets a code object of its own: that limit is never met, and no guards of other problems are tried at each call.
    own = types.FunctionType(attention.__code__.replace(), globals(), "attention", None, attention.__closure__)
    return torch.compile(own, fullgraph=True, dynamic=False)


@functools.cache
def _require_compiler() -> None:
    """Raise Unsupported where inductor has no C++ compiler; on CUDA Triton needs one too, for its launchers."""
    with warnings.catch_warnings():
        # Importing inductor decorates a class with torch's own torch.jit.script_method, deprecated since 2.9.
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        importlib.import_module("torch._inductor.compile_fx")
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise Unsupported("torch.compile needs a C++ compiler and finds none (set CXX, or install g++)") from error


def differentiate(function: Callable[..., Any], mode: str | None, sources: tuple[str, ...]) -> Callable[..., Any]:
    """Forward under autograd, then backward. Compiled, both graphs are inductor's: the first call traces them together."""
    forward = function if mode is None else compile(function, mode)

    def both(query: Tensor, key: Tensor, value: Tensor, upstream: Tensor, **arrays: Tensor) -> tuple[Tensor, ...]:
        own = {"query": query, "key": key, "value": value, **arrays}
        call = functools.partial(forward, query, key, value, **arrays)
        return pull_back(call, tuple(own[name] for name in sources), upstream)

    return both


def pull_back(call: Callable[[], Tensor], sources: tuple[Tensor, ...], upstream: Tensor) -> tuple[Tensor, ...]:
    """torch.autograd.grad of what `call` returns."""
    for source in sources:
        source.requires_grad_()
    output = call()
    return (output.detach(), *torch.autograd.grad(output, sources, upstream))


def settings() -> dict[str, str]:
    """Threads, matmul precision, and the flags by which torch chooses its kernels."""
    parallel = re.search(r"ATen parallel backend: (.+)", torch.__config__.parallel_info())
    return {
        "threads": str(torch.get_num_threads()),
        "interop_threads": str(torch.get_num_interop_threads()),
        "parallel_backend": parallel[1] if parallel else "",
        "blas": "mkl" if torch.backends.mkl.is_available() else "not mkl",
        "mkldnn": str(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cuda_matmul_tf32": str(torch.backends.cuda.matmul.allow_tf32),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
    }


def watch(device: str) -> Callable[[], int | None] | None:
    """What torch's caching allocator has handed out on CUDA. On the CPU it keeps nothing: malloc does."""
    if device != "cuda":
        return None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return lambda: torch.cuda.max_memory_allocated() - before


def free_bytes(device: str) -> int | None:
    """What the driver has left of the CUDA device, and what torch's caching allocator keeps of what was freed."""
    if device != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info()
    return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())


def taken_from_disk() -> int:
    """By inductor's own counters: graphs from its cache, and whole functions from AOTAutograd's, which is asked first."""
    if "torch._dynamo.utils" not in sys.modules:  # nothing was compiled
        return 0
    from torch._dynamo.utils import counters

    return int(counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"])


def device_times(call: Callable[[], Any], calls: int, device: str, *, is_cold: bool) -> tuple[str, list[float]] | None:
    """By CUDA events."""
    return None if device != "cuda" else (EVENTS, torch_events(call, calls, is_cold=is_cold))


def matmul(size: int, dtype: str, device: str) -> Callable[[], Any]:
    """torch.mm of two square matrices into memory that is already there."""
    a = torch.randn(size, size, device=device).to(getattr(torch, dtype))
    return functools.partial(torch.mm, a, a, out=torch.empty_like(a))


def stream(rows: int, width: int, device: str) -> Callable[[], Any]:
    """torch.mv of a matrix and a vector into memory that is already there."""
    a, b = (torch.ones(shape, dtype=torch.float32, device=device) for shape in ((rows, width), (width,)))
    return functools.partial(torch.mv, a, b, out=torch.empty(rows, dtype=torch.float32, device=device))


def _claims(
    dtype: str, *, stored: tuple[str, ...] = ("score", "probability"), roundings: int = 2, flushes: bool = False
) -> Roundoffs:
    """Sums are kept in float32 (float64 for float64), and so are scores and probabilities unless they are `stored`."""
    wide = "float64" if dtype == "float64" else "float32"
    score, probability = (dtype if stage in stored else wide for stage in ("score", "probability"))
    return Roundoffs.of(
        dtype, accumulate=wide, score=score, probability=probability, roundings=roundings, flushes=flushes
    )


def operators_of(prepared: Prepared) -> list[str]:
    """Names of the operators that one call runs, in their order."""
    # Else the profiler's library writes two lines to stderr each time it runs.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    with torch.autograd.profiler.profile() as profile:
        barrier(prepared.call())
    return list(dict.fromkeys(event.name for event in profile.function_events))


def prove_naive(prepared: Prepared) -> str:
    """The two operators of the textbook form, and no fused one."""
    names = operators_of(prepared)
    if any("scaled_dot_product" in name for name in names) or not {"aten::bmm", "aten::_softmax"} <= set(names):
        raise KernelMismatch(f"expected aten::bmm and aten::_softmax, ran {', '.join(names)}")
    return "aten::bmm + aten::_softmax"


def prove_compiled(prepared: Prepared) -> str:
    """That the compiler's graph ran; told with the operators it calls, for it may have put in a fused attention."""
    names = operators_of(prepared)
    if not any("CompiledFxGraph" in name for name in names):
        raise KernelMismatch(f"expected a graph of inductor's, ran {', '.join(names)}")
    called = [n for n in names if n in ("aten::bmm", "aten::baddbmm") or n.startswith("aten::_scaled_dot_product")]
    return " + ".join(["inductor graph", *called])


_EACH_STEP = functools.partial(_claims, roundings=3)  # each of matmul, scale, softcap, bias stores its scores
WIDE_SCORES = functools.partial(_claims, stored=("probability",))
_WIDE = functools.partial(_claims, stored=())
OWN: dict[str, Any] = {"layout": "BNTH", "deviations": (VALUE_LEAKS,)}
_SAME = "The textbook form under torch.compile, which puts in a fused kernel where it finds its pattern."
_COMPILED: dict[str, Any] = {"summary": _SAME, "compile": "compile", "prove": prove_compiled, **OWN}


@implementation("torch/naive-compile", roundoffs=_EACH_STEP, scores_held=(2, 2), **_COMPILED)
@implementation("torch/naive", naive=True, roundoffs=_EACH_STEP, prove=prove_naive, scores_held=(2.1, 3), **OWN)
def naive(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
    """matmul, softmax, matmul: the textbook form; holds all (B,N,T,S) scores."""
    asked = Asked(**keywords)
    (B, N, T, H), (K, S), V = query.shape, key.shape[1:3], value.shape[3]
    # The queries that share a key/value head become rows of one matrix: grouped heads need no copy of key and value.
    scores = torch.matmul(query.reshape(B, K, N // K * T, H), key.mT)
    # Scaled after the product: scaling the query first would round each of its numbers.
    scores = scores.mul_(H**-0.5 if asked.scale is None else asked.scale).reshape(B, N, T, S)
    if asked.softcap is not None:
        scores = torch.tanh(scores / asked.softcap) * asked.softcap
    if asked.bias is not None:
        scores = scores + asked.bias
    sees: Tensor = None
    if asked.hides:
        t, s = torch.arange(T, device=query.device)[:, None], torch.arange(S, device=query.device)
        seen = asked.seen(t, s, S - T)
        sees = seen.any(dim=-1, keepdim=True)
        # A row that sees no key keeps its scores, for the softmax of nothing is NaN; its output becomes 0 below.
        scores = torch.where(seen | ~sees, scores, -torch.inf)
    if asked.bias is not None and S:  # a bias of -inf can hide a whole row, too
        some = scores.amax(dim=-1, keepdim=True) != -torch.inf
        sees = some if sees is None else sees & some
    probability = torch.softmax(scores, dim=-1)
    out = torch.matmul(probability.reshape(B, K, N // K * T, S), value).reshape(B, N, T, V)
    return out if sees is None else torch.where(sees, out, 0)


def sdpa(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor = None, bias: Tensor = None, **static: Any
) -> Tensor:
    """scaled_dot_product_attention with the one kernel that the context allows: where that cannot, torch raises."""
    options = {"attn_mask": bias if mask is None else mask, "enable_gqa": query.shape[1] != key.shape[1]}
    options |= {"is_causal": "causal" in static, "scale": static.get("scale")}
    try:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, **options)
    except RuntimeError as error:
        if "No available kernel" not in str(error):
            raise
        raise Unsupported(_refusal(query, key, value, **options)) from error


def in_rows(array: Tensor, K: int) -> Tensor:
    """(b,N,1,x) as (b,K,N/K,x): the heads that share keys as rows of one. What stands for all heads stands for all rows."""
    b, heads, _, last = array.shape
    return array if heads == 1 else array.reshape(b, K, heads // K, last)


def sdpa_in_rows(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor = None, bias: Tensor = None, **static: Any
) -> Tensor:
    """The same; where one query reads keys that several heads share, these heads become the rows of one.

    With enable_gqa flash reads the keys anew for each head on the CPU, and math repeats them in memory. Decoding with S4096
    N32 K8 H128 (two cores with AVX2) took flash 6.9 ms and takes 3.9, in bfloat16 22.6 and 2.4; math 102 and 4.8.
    """
    (B, N, T, _), K = query.shape, key.shape[1]
    if T != 1 or N == K or "causal" in static:
        return sdpa(query, key, value, mask=mask, bias=bias, **static)
    mask, bias = (None if array is None else in_rows(array, K) for array in (mask, bias))
    return sdpa(in_rows(query, K), key, value, mask=mask, bias=bias, **static).reshape(B, N, T, value.shape[3])


def _flash_log_sum_exp(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
    """What the operator behind sdpa-flash returns beside its output, (B,N,T)."""
    if query.is_cuda:
        raise Unsupported("gives no log-sum-exp away through an interface that is the same on CUDA")
    asked = Asked(**keywords)
    key, value = (a.repeat_interleave(query.shape[1] // a.shape[1], dim=1) for a in (key, value))
    mask = asked.bias
    if asked.mask is not None:
        mask = torch.zeros(asked.mask.shape, dtype=query.dtype).masked_fill_(~asked.mask, -torch.inf)
    if mask is not None and bool((mask == -torch.inf).all(dim=-1).any()):
        raise Unsupported("the kernel says 0, not -inf, for the log-sum-exp of a row that sees no key")
    options = {"is_causal": asked.causal is not None, "attn_mask": mask, "scale": asked.scale}
    # The operator that scaled_dot_product_attention calls; it has no public name.
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, **options)[1]  # noqa: SLF001


def _refusal(*arrays: Tensor, **options: Any) -> str:
    """Why the kernel cannot do a problem. Torch says so in warnings, among those of the kernels that are switched off."""
    with warnings.catch_warnings(record=True) as told, suppress(RuntimeError):
        warnings.simplefilter("always")
        torch.nn.functional.scaled_dot_product_attention(*arrays, **options)
    reasons = [str(warning.message).partition(" (Triggered")[0] for warning in told]
    own = [reason for reason in reasons if "not used because" not in reason and "disabled" not in reason]
    if options["attn_mask"] is not None and options["attn_mask"].requires_grad:
        own.append("this kernel gives no gradient of a bias")  # on the CPU torch does not say why
    return "; ".join(own) or "torch has no kernel of this kind for this problem"


@contextmanager
def _only(backend: str) -> Iterator[None]:
    """A context in which scaled_dot_product_attention has one kernel to choose from; why it cannot is told in _refusal."""
    with warnings.catch_warnings(), torch.nn.attention.sdpa_kernel(getattr(torch.nn.attention.SDPBackend, backend)):
        warnings.filterwarnings("ignore", message=".*kernel not used because")
        yield


def _prove_sdpa(backend: str, operator: str, prepared: Prepared) -> str:
    """The operator by its name, which may go on: on the CPU flash's ends in _for_cpu."""
    with _only(backend):
        names = operators_of(prepared)
    if found := [name for name in names if name.startswith(operator)]:
        return found[0]
    raise KernelMismatch(f"expected {operator}, ran {', '.join(names)}")


NARROW = ("float32", "bfloat16", "float16")
_ACCEPTS = {"grouped", "scale", "mask", "bias", "causal_top_left", "value_size"}
_BOTH, _NO_VALUE_SIZE = ("cpu", "cuda"), _ACCEPTS - {"value_size"}
for _function, _backend, _operator, _dtypes, _devices, _accepts, _roundoffs in (
    (sdpa_in_rows, "MATH", "attention_math", DTYPES, _BOTH, _ACCEPTS, _WIDE),
    (sdpa_in_rows, "FLASH_ATTENTION", "flash_attention", DTYPES, _BOTH, _NO_VALUE_SIZE, WIDE_SCORES),
    (sdpa, "EFFICIENT_ATTENTION", "efficient_attention", NARROW, ("cuda",), _ACCEPTS, WIDE_SCORES),
    (sdpa, "CUDNN_ATTENTION", "cudnn_attention", NARROW[1:], ("cuda",), _ACCEPTS, WIDE_SCORES),
):
    _name = _backend.partition("_")[0].lower()
    implementation(
        f"torch/sdpa-{_name}",
        summary=f"scaled_dot_product_attention, its {_name} kernel.",
        dtypes=_dtypes,
        devices=_devices,
        layout="BNTH",
        accepts=_accepts,
        combines=False,  # attn_mask and is_causal exclude each other
        roundoffs=_roundoffs,
        # Gradients of 1e-41 came out as 0 (torch 2.11, H200).
        cuda_roundoffs=functools.partial(_roundoffs, flushes=True),
        deviations=(KEY_LEAKS, VALUE_LEAKS),
        context=functools.partial(_only, _backend),
        scores_held=(2.6, 4.1) if _name == "math" else (0, 0),
        log_sum_exp=_flash_log_sum_exp if _name == "flash" else None,
        prove=functools.partial(_prove_sdpa, _backend, f"aten::_scaled_dot_product_{_operator}"),
    )(_function)
