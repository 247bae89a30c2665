"""PyTorch: the textbook form, eager and compiled, each kernel of scaled_dot_product_attention by name, and FlexAttention.

Inputs never require a gradient, so autograd records nothing; torch.inference_mode gains nothing measurable on top of that.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.accuracy import Roundoffs
from backends.interface import Asked, Deviation, KernelMismatch, Prepared, Unsupported, implementation
from backends.problem import DTYPES

if TYPE_CHECKING:
    import torch

Tensor = Any
_KEY_LEAKS = Deviation("hidden_nan_key", "NaN", "pytorch/pytorch#101967: NaN + -inf")
_VALUE_LEAKS = Deviation("hidden_nan_value", "NaN", "pytorch/pytorch#101967: 0 * NaN")


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


def matmul(size: int, dtype: str, device: str) -> Callable[[], Any]:
    """torch.mm of two square matrices into memory that is already there."""
    a = torch.randn(size, size, device=device).to(getattr(torch, dtype))
    return functools.partial(torch.mm, a, a, out=torch.empty_like(a))


def _claims(dtype: str, *, stored: tuple[str, ...] = ("score", "probability"), roundings: int = 2) -> Roundoffs:
    """Sums are kept in float32 (float64 for float64), and so are scores and probabilities unless they are `stored`."""
    wide = "float64" if dtype == "float64" else "float32"
    score, probability = (dtype if stage in stored else wide for stage in ("score", "probability"))
    return Roundoffs.of(dtype, accumulate=wide, score=score, probability=probability, roundings=roundings)


def _ran(prepared: Prepared) -> list[str]:
    """Names of the operators that one call runs, in their order."""
    # Else the profiler's library writes two lines to stderr each time it runs.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    with torch.autograd.profiler.profile() as profile:
        barrier(prepared.call())
    return list(dict.fromkeys(event.name for event in profile.function_events))


def _prove_naive(prepared: Prepared) -> str:
    names = _ran(prepared)
    if any("scaled_dot_product" in name for name in names) or not {"aten::bmm", "aten::_softmax"} <= set(names):
        raise KernelMismatch(f"expected aten::bmm and aten::_softmax, ran {', '.join(names)}")
    return "aten::bmm + aten::_softmax"


def _prove_compiled(prepared: Prepared) -> str:
    """That the compiler's graph ran; told with the operators it calls, for it may have put in a fused attention."""
    names = _ran(prepared)
    if not any("CompiledFxGraph" in name for name in names):
        raise KernelMismatch(f"expected a graph of inductor's, ran {', '.join(names)}")
    called = [n for n in names if n in ("aten::bmm", "aten::baddbmm") or n.startswith("aten::_scaled_dot_product")]
    return " + ".join(["inductor graph", *called])


_EACH_STEP = functools.partial(_claims, roundings=3)  # each of matmul, scale, softcap, bias stores its scores
_WIDE_SCORES = functools.partial(_claims, stored=("probability",))
_WIDE = functools.partial(_claims, stored=())
_OWN: dict[str, Any] = {"layout": "BNTH", "deviations": (_VALUE_LEAKS,)}
_SAME = "The textbook form under torch.compile, which puts in a fused kernel where it finds its pattern."
_COMPILED: dict[str, Any] = {"summary": _SAME, "compile": "compile", "prove": _prove_compiled, **_OWN}


@implementation("torch/naive-compile", roundoffs=_EACH_STEP, **_COMPILED)
@implementation("torch/naive", naive=True, roundoffs=_EACH_STEP, prove=_prove_naive, **_OWN)
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
        names = _ran(prepared)
    if found := [name for name in names if name.startswith(operator)]:
        return found[0]
    raise KernelMismatch(f"expected {operator}, ran {', '.join(names)}")


_NARROW = ("float32", "bfloat16", "float16")
_ACCEPTS = {"grouped", "scale", "mask", "bias", "causal_top_left", "value_size"}
for _backend, _operator, _dtypes, _devices, _accepts, _roundoffs in (
    ("MATH", "attention_math", DTYPES, ("cpu", "cuda"), _ACCEPTS, _WIDE),
    ("FLASH_ATTENTION", "flash_attention", DTYPES, ("cpu", "cuda"), _ACCEPTS - {"value_size"}, _WIDE_SCORES),
    ("EFFICIENT_ATTENTION", "efficient_attention", _NARROW, ("cuda",), _ACCEPTS, _WIDE_SCORES),
    ("CUDNN_ATTENTION", "cudnn_attention", _NARROW[1:], ("cuda",), _ACCEPTS, _WIDE_SCORES),
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
        deviations=(_KEY_LEAKS, _VALUE_LEAKS),
        context=functools.partial(_only, _backend),
        log_sum_exp=_flash_log_sum_exp if _name == "flash" else None,
        prove=functools.partial(_prove_sdpa, _backend, f"aten::_scaled_dot_product_{_operator}"),
    )(sdpa)


def _flex_log_sum_exp(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
    """What FlexAttention returns beside its output, (B,N,T); on CUDA only."""
    if not query.is_cuda:
        raise Unsupported("FlexAttention gives no log-sum-exp away on the CPU")
    wanted = torch.nn.attention.flex_attention.AuxRequest(lse=True)
    return _flex(query, key, value, Asked(**keywords), return_aux=wanted)()[1].lse


@implementation(
    "torch/flex",
    dtypes=_NARROW,
    setup=True,
    roundoffs=_WIDE_SCORES,
    prove=_prove_compiled,
    log_sum_exp=_flex_log_sum_exp,
    **_OWN,
)
def flex(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Callable[[], Tensor]:
    """FlexAttention, compiled; what hides keys is a BlockMask built beforehand, softcap and bias are a score_mod."""
    call = _flex(query, key, value, Asked(**keywords))
    if query.is_cuda:
        return call

    def on_cpu() -> Tensor:
        if query.requires_grad:
            raise Unsupported("FlexAttention has no backward pass on the CPU")
        return call()

    return on_cpu


def _flex(query: Tensor, key: Tensor, value: Tensor, asked: Asked, **more: Any) -> Callable[[], Any]:
    mask, bias, kv_lengths, softcap = asked.mask, asked.bias, asked.kv_lengths, asked.softcap
    (B, N, T, H), S = query.shape, key.shape[2]
    if not query.is_cuda and H in (8, 16) and S % 16 == 8:
        # The product of the last 8 keys computes 16 (inductor's ntail_transpose_b kernel, AVX2, torch 2.13 at least):
        # it reads past the keys and writes past the scores, into the next row or the running maxima.
        raise Unsupported(f"inductor's CPU kernel is wrong for H={H} with S={S}: it overruns where S % 16 is 8")

    def at(array: Tensor, *place: Any) -> Tensor:
        return array[tuple(0 if size == 1 else index for size, index in zip(array.shape, place, strict=True))]

    def mask_mod(b: Tensor, n: Tensor, t: Tensor, s: Tensor) -> Tensor:
        rules = asked.in_sight(t, s, S - T)
        rules += [] if mask is None else [at(mask, b, n, t, s)]
        rules += [] if kv_lengths is None else [s < kv_lengths[b]]
        return functools.reduce(torch.logical_and, rules)

    def score_mod(score: Tensor, b: Tensor, n: Tensor, t: Tensor, s: Tensor) -> Tensor:
        if softcap is not None:
            score = torch.tanh(score / softcap) * softcap
        return score if bias is None else score + at(bias, b, n, t, s)

    block_mask = None
    if asked.hides:
        batches = B if kv_lengths is not None or (mask is not None and mask.shape[0] > 1) else None
        heads = N if mask is not None and mask.shape[1] > 1 else None
        create = torch.nn.attention.flex_attention.create_block_mask
        block_mask = create(mask_mod, batches, heads, T, S, device=query.device)
    shapes = tuple(None if a is None else tuple(a.shape) for a in (query, key, value, mask, bias, kv_lengths))
    problem = (shapes, query.dtype, query.device, softcap, asked.scale, asked.causal, asked.window, *more)
    mod = None if softcap is None and bias is None else score_mod
    options = {"score_mod": mod, "block_mask": block_mask, "scale": asked.scale, "enable_gqa": key.shape[1] != N}
    return functools.partial(_compiled_flex(problem), query, key, value, **options, **more)


@functools.cache
def _compiled_flex(problem: tuple[Any, ...]) -> Callable[..., Any]:
    """FlexAttention compiled for one problem: other numbers in the same problem find it compiled."""
    return compile(torch.nn.attention.flex_attention.flex_attention, "compile")
