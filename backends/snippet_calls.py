"""The frameworks' own functions, called with what is asked for: PyTorch's, JAX's and Keras's."""

from __future__ import annotations

import dataclasses

from backends import snippet_textbook
from backends.snippet_words import Words, call, function, gradients_jax, gradients_tf, gradients_torch

_TORCH_RANGE = "torch.arange({}, device=query.device)"
_TORCH_HEADS = "query, key, value = (array.transpose(1, 2) for array in (query, key, value))  # (B,N,T,H)"
_SDPA = {
    "torch/sdpa-math": "MATH",
    "torch/sdpa-flash": "FLASH_ATTENTION",
    "torch/sdpa-efficient": "EFFICIENT_ATTENTION",
    "torch/sdpa-cudnn": "CUDNN_ATTENTION",
}
_IN_ROWS = {"torch/sdpa-math", "torch/sdpa-flash"}


def sdpa(words: Words) -> list[str]:
    """scaled_dot_product_attention with one kernel to choose from."""
    lines, mask = [_TORCH_HEADS], None
    if words.merged:
        lines += ["T, S = query.shape[2], key.shape[2]", *words.seen(_TORCH_RANGE, four=False)]
        mask = "seen"
        if words.merged == "bias":
            start = "bias" if "bias" in words.arrays else "torch.zeros((), dtype=query.dtype, device=query.device)"
            lines.append(f"seen = torch.where(seen, {start}, -torch.inf)")
    elif words.arrays:
        mask = words.arrays[0]
    causal = not words.merged and words.semantics.causal is not None
    in_rows = words.id in _IN_ROWS and words.grouped and words.shape.T == 1 and not causal
    grouped = words.grouped and not in_rows
    options = {"attn_mask": mask, "is_causal": causal, "scale": words.semantics.scale, "enable_gqa": grouped}
    if in_rows:  # as torch_backend.sdpa_in_rows
        lines += ["(B, N, T, H), (K, S), V = query.shape, key.shape[1:3], value.shape[3]"]
        lines += [f"{mask} = {mask}.expand(B, N, T, S).reshape(B, K, N // K, S)"] if mask else []
        lines += ["query = query.reshape(B, K, N // K, H)  # enable_gqa would read the keys anew for each head"]
    lines += [
        f"with sdpa_kernel(SDPBackend.{_SDPA[words.id]}):",
        f"    out = {call('torch.nn.functional.scaled_dot_product_attention', 'query, key, value', **options)}",
        f"return out{'.reshape(B, N, T, V)' * in_rows}.transpose(1, 2)",
    ]
    found = ["import torch", "from torch.nn.attention import SDPBackend, sdpa_kernel", "", "", *function(words, lines)]
    return found + (["", "", *gradients_torch(words)] if words.backward else [])


def flex(words: Words) -> list[str]:
    """FlexAttention, compiled."""
    semantics = words.semantics
    in_rows = words.grouped and words.shape.T == 1 and semantics.causal != "top_left" and semantics.window is None
    if in_rows:  # as torch_flex.flex on the CPU
        words = dataclasses.replace(words, semantics=dataclasses.replace(semantics, causal=None))
    lines = [_TORCH_HEADS, "(B, N, T, H), (K, S), V = query.shape, key.shape[1:3], value.shape[3]"]
    own = [name for name in ("mask", "bias") if name in words.arrays]
    lines += [f"{name} = {name}.expand(B, N, T, S)" for name in own]
    if in_rows:
        names = ", ".join(["query", *own])
        lines += ["# Heads that share keys become rows of one: enable_gqa would read the keys anew for each."]
        lines += [
            f"{names} = (array.reshape(B, K, N // K, -1) for array in ({names}))"
            if own
            else "query = query.reshape(B, K, N // K, H)"
        ]
    heads, rows = ("K", "N // K") if in_rows else ("N", "T")
    options: dict[str, object] = {}
    if words.rules:
        told = {"mask": "mask[b, n, t, s]", "(s < kv_lengths[:, None, None, None])": "(s < kv_lengths[b])"}
        rule = " & ".join(told.get(rule, rule) for rule in words.rules)
        varies = {"mask", "kv_lengths"} & set(words.arrays)
        sizes = f"{'B' if varies else None}, {heads if 'mask' in varies else None}, {rows}, S, device=query.device"
        lines += ["", "def mask_mod(b, n, t, s):", f"    return {rule}", ""]
        lines += [f"block_mask = create_block_mask(mask_mod, {sizes})  # to be built once"]
        options["block_mask"] = "block_mask"
    if semantics.softcap is not None or "bias" in words.arrays:
        cap = semantics.softcap
        score = "score" if cap is None else f"{cap!r} * torch.tanh(score / {cap!r})"
        score += " + bias[b, n, t, s]" if "bias" in words.arrays else ""
        lines += ["", "def score_mod(score, b, n, t, s):", f"    return {score}", ""]
        options["score_mod"] = "score_mod"
    options |= {"scale": semantics.scale, "enable_gqa": words.grouped and not in_rows}
    back = ".reshape(B, N, T, V)" * in_rows
    lines += [f"return {call('flex', 'query, key, value', **options)}{back}.transpose(1, 2)"]
    imports = ["create_block_mask"] * bool(words.rules) + ["flex_attention"]
    return [
        "import torch",
        f"from torch.nn.attention.flex_attention import {', '.join(imports)}",
        "",
        "flex = torch.compile(flex_attention, fullgraph=True, dynamic=False)",
        "",
        "",
        *function(words, lines),
        *(["", "", *gradients_torch(words)] if words.backward else []),
    ]


def jax_nn(words: Words) -> list[str]:
    """jax.nn.dot_product_attention, compiled."""
    semantics, lines = words.semantics, []
    options: dict[str, object] = {"bias": "bias" if "bias" in words.arrays else None}
    if words.merged:
        lines += ["T, S = query.shape[1], key.shape[1]", *words.seen("jnp.arange({})", four=True)]
        options["mask"] = "seen"
    else:
        options |= {"mask": "mask" if "mask" in words.arrays else None, "is_causal": semantics.causal is not None}
        options["key_value_seq_lengths"] = "kv_lengths" if "kv_lengths" in words.arrays else None
        if semantics.window is not None:  # an open side becomes one that reaches past every key
            far = words.shape.T + words.shape.S
            options["local_window_size"] = tuple(far if side is None else side for side in semantics.window)
    options["scale"] = semantics.scale
    options["implementation"] = '"cudnn"' if words.id.endswith("cudnn") else '"xla"'
    lines.append(f"return {call('jax.nn.dot_product_attention', 'query, key, value', **options)}")
    imports = ["import jax"] + ["import jax.numpy as jnp"] * bool(words.merged)
    switch = ["", 'jax.config.update("jax_enable_x64", True)'] if words.dtype == "float64" else []
    found = [*imports, *switch, "", "", *function(words, lines, decorator="@jax.jit")]
    return found + (["", "", *gradients_jax(words, "@jax.jit")] if words.backward else [])


_BACKENDS = {"tf_keras": "tensorflow", "keras_jax": "jax", "keras_torch": "torch"}


def _in_keras(words: Words, imports: list[str], body: list[str], decorator: str = "") -> list[str]:
    """A function of keras.ops, with the backend that it is for and that backend's gradients."""
    backend = _BACKENDS[words.id.partition("/")[0]]
    needs = words.backward or decorator
    own = {"tensorflow": "import tensorflow as tf", "jax": "import jax", "torch": "import torch"}[backend]
    lines = ["import os", "", f'os.environ["KERAS_BACKEND"] = "{backend}"  # before keras is imported', ""]
    lines += sorted([own] * bool(needs) + imports, key=lambda line: (line.startswith("from"), line))
    lines += ["", "", *body]
    if words.backward:
        of = {
            "tensorflow": gradients_tf(words, decorator),
            "jax": gradients_jax(words, decorator),
            "torch": gradients_torch(words),
        }
        lines += ["", "", *of[backend]]
    return lines


def keras_naive(words: Words) -> list[str]:
    """The textbook form in keras.ops."""
    return _in_keras(words, ["import keras", "from keras import ops"], snippet_textbook.keras(words)[4:])


def keras_ops(words: Words) -> list[str]:
    """keras.ops.dot_product_attention."""
    return _keras_ops(words, "")


def keras_ops_jit(words: Words) -> list[str]:
    """... under jax.jit."""
    return _keras_ops(words, "@jax.jit")


def _keras_ops(words: Words, decorator: str) -> list[str]:
    semantics, lines, imports = words.semantics, [], ["import keras"]
    options: dict[str, object] = {"bias": "bias" if "bias" in words.arrays else None}
    if words.merged:
        imports.append("from keras import ops")
        lines += ["T, S = query.shape[1], key.shape[1]", *words.seen("ops.arange({})", four=True)]
        if words.merged == "bias":
            start = "bias" if "bias" in words.arrays else "ops.zeros((), query.dtype)"
            lines.append(f'bias = ops.where(seen, {start}, -float("inf"))')
            options["bias"] = "bias"
        else:
            options["mask"] = "seen"
    else:
        options |= {"mask": "mask" if "mask" in words.arrays else None, "is_causal": semantics.causal is not None}
    options["scale"] = semantics.scale
    if words.dtype == "float64":  # of a Python float, and of its own default, Keras makes a float32
        imports.append("import numpy as np")
        scale = "query.shape[-1] ** -0.5" if semantics.scale is None else repr(semantics.scale)
        options["scale"] = f"np.float64({scale})"
    lines.append(f"return {call('keras.ops.dot_product_attention', 'query, key, value', **options)}")
    return _in_keras(words, imports, function(words, lines, decorator=decorator), decorator)


def keras_layer(words: Words) -> list[str]:
    """keras.layers.Attention, heads folded into the batch."""
    scale = "H**-0.5" if words.semantics.scale is None else repr(words.semantics.scale)
    lengths = "kv_lengths" in words.arrays
    fold = "ops.reshape(ops.transpose(array, (0, 2, 1, 3)), (B * N, array.shape[1], array.shape[3]))"
    mask = "[None, ops.repeat(ops.arange(S) < kv_lengths[:, None], N, axis=0)]" if lengths else None
    options = {"mask": mask, "use_causal_mask": words.semantics.causal is not None}
    lines = [
        "(B, T, N, H), S, V = query.shape, key.shape[1], value.shape[3]",
        "# Its only way to a scale is a weight; to be built once.",
        f'layer = keras.layers.Attention(use_scale=True, dtype="{words.dtype}", trainable=False)',
        "layer.build([(B * N, T, H), (B * N, S, V), (B * N, S, H)])",
        f"layer.scale.assign({scale})",
        f"query, key, value = ({fold} for array in (query, key, value))",
        f"out = {call('layer', '[query, value, key]', **options)}",
        "return ops.transpose(ops.reshape(out, (B, N, T, V)), (0, 2, 1, 3))",
    ]
    return _in_keras(words, ["import keras", "from keras import ops"], function(words, lines))
