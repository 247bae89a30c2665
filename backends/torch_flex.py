"""FlexAttention of PyTorch, compiled: softcap and bias as a score_mod, what hides keys as a BlockMask made beforehand."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from backends import torch_backend
from backends.interface import Asked, Unsupported, implementation
from backends.torch_backend import NARROW, OWN, WIDE_SCORES, in_rows, prove_compiled

Tensor = Any


def _flex_log_sum_exp(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
    """What FlexAttention returns beside its output, (B,N,T); on CUDA only."""
    if not query.is_cuda:
        raise Unsupported("FlexAttention gives no log-sum-exp away on the CPU")
    import torch.nn.attention.flex_attention

    wanted = torch.nn.attention.flex_attention.AuxRequest(lse=True)
    return _flex(query, key, value, Asked(**keywords), return_aux=wanted)()[1].lse


@implementation(
    "torch/flex",
    dtypes=NARROW,
    setup=True,
    roundoffs=WIDE_SCORES,
    prove=prove_compiled,
    log_sum_exp=_flex_log_sum_exp,
    **OWN,
)
def flex(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Callable[[], Tensor]:
    """FlexAttention, compiled; what hides keys is a BlockMask built beforehand, softcap and bias are a score_mod."""
    asked = Asked(**keywords)
    if query.is_cuda:
        return functools.partial(_on_cuda, _flex(query, key, value, asked))
    (B, N, T, _), K = query.shape, key.shape[1]
    if T == 1 and N != K and asked.causal != "top_left" and asked.window is None:
        # enable_gqa reads the keys anew for each head: 5.5 ms instead of 3.8 (S4096 N32 K8 H128), in bfloat16 14.8 and 3.0.
        rows = dataclasses.replace(asked.cut(lambda array: in_rows(array, K)), causal=None)
        of_rows = _flex(in_rows(query, K), key, value, rows)
        call: Callable[[], Tensor] = lambda: of_rows().reshape(B, N, T, value.shape[3])  # noqa: E731
    else:
        call = _flex(query, key, value, asked)

    def on_cpu() -> Tensor:
        if query.requires_grad:
            raise Unsupported("FlexAttention has no backward pass on the CPU")
        return call()

    return on_cpu


def _on_cuda(call: Callable[[], Tensor]) -> Tensor:
    try:
        return call()
    except RuntimeError as error:
        if "NoValidChoicesError" not in str(error):
            raise
        # Below 128 queries inductor takes its kernel for decoding, which has no tile for some (torch 2.11: T=96, N/K=4).
        raise Unsupported("inductor has no kernel of FlexAttention for this problem: NoValidChoicesError") from error


def _flex(query: Tensor, key: Tensor, value: Tensor, asked: Asked, **more: Any) -> Callable[[], Any]:
    import torch.nn.attention.flex_attention

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
    import torch.nn.attention.flex_attention

    return torch_backend.compile(torch.nn.attention.flex_attention.flex_attention, "compile")
