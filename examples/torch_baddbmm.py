"""Attention in PyTorch with one fused product: baddbmm scales the scores and adds the bias while it multiplies."""

import torch

from backends import Deviation, implementation


@implementation(
    "torch/baddbmm",
    layout="XTH",  # batch and heads in one axis, as baddbmm has it
    accepts={"value_size", "scale", "bias"},  # a mask, causal, a window or lengths arrive as -inf in the bias
    deviations=(
        Deviation("empty_rows", "NaN"),
        Deviation("hidden_nan_key", "NaN"),
        Deviation("hidden_nan_value", "NaN"),
    ),
)
def attention(query, key, value, *, bias=None, scale=None):
    """baddbmm, softmax, bmm; holds all scores."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if bias is None:
        bias, beta = query.new_zeros(()), 0
    else:
        beta = 1
    scores = torch.baddbmm(bias, query, key.mT, beta=beta, alpha=scale)
    return torch.bmm(scores.softmax(dim=-1), value)
