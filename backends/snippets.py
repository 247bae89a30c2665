"""What a user pastes: an implementation's call for a problem, as a function of arrays in that framework's own type.

Where the framework has a function of its own, or the textbook form says it all, the snippet is plain code of the framework;
for forms that only this project has it is backends.attention. Arrays come in (B,T,N,H), and go out so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from backends import snippet_calls, snippet_onnx, snippet_textbook
from backends.interface import Unsupported
from backends.snippet_words import Words, shapes_of

if TYPE_CHECKING:
    from backends.interface import Implementation
    from backends.problem import Inputs, Semantics

_PLAIN: dict[str, Callable[[Words], list[str]]] = {
    "numpy/naive": snippet_textbook.numpy,
    "tf_keras/attention": snippet_textbook.tensorflow,
    "tf_keras/attention-function": snippet_textbook.tensorflow_function,
    "tf_keras/attention-xla": snippet_textbook.tensorflow_xla,
    "tf_keras/keras-ops": snippet_calls.keras_ops,
    "tf_keras/keras-layer": snippet_calls.keras_layer,
    "jax/naive": snippet_textbook.jax,
    "jax/naive-jit": snippet_textbook.jax_jit,
    "jax/nn": snippet_calls.jax_nn,
    "jax/nn-cudnn": snippet_calls.jax_nn,
    "torch/naive": snippet_textbook.torch,
    "torch/naive-compile": snippet_textbook.torch_compile,
    "torch/sdpa-math": snippet_calls.sdpa,
    "torch/sdpa-flash": snippet_calls.sdpa,
    "torch/sdpa-efficient": snippet_calls.sdpa,
    "torch/sdpa-cudnn": snippet_calls.sdpa,
    "torch/flex": snippet_calls.flex,
    "onnxruntime/attention": snippet_onnx.attention,
    "onnxruntime/naive": snippet_onnx.naive,
    "keras_jax/naive": snippet_calls.keras_naive,
    "keras_jax/keras-ops": snippet_calls.keras_ops_jit,
    "keras_jax/keras-ops-eager": snippet_calls.keras_ops,
    "keras_jax/keras-layer": snippet_calls.keras_layer,
    "keras_torch/naive": snippet_calls.keras_naive,
    "keras_torch/keras-ops": snippet_calls.keras_ops,
    "keras_torch/keras-layer": snippet_calls.keras_layer,
}
"""By id; all others are called through backends.attention."""


def is_plain(implementation: str, *, backward: bool = False) -> bool:
    """Whether its snippet is plain code of the framework, on that framework's arrays; else it takes NumPy arrays."""
    return implementation in _PLAIN and not (backward and implementation.startswith("numpy/"))


def snippet(implementation: Implementation, inputs: Inputs, semantics: Semantics, plugin: str | None = None) -> str:
    """Python code that defines `attention`, and `gradients` where the problem has an upstream gradient.

    attention(query, key, value, ...) takes, after these, what the problem has of mask, bias and kv_lengths, in this order;
    gradients(..., upstream) returns the output and the gradients of query, key, value, and of bias where there is one.

    Args:
        implementation: whose call is spelled out.
        inputs: of which shapes, dtype and what is there are read, never a number.
        semantics: of the problem.
        plugin: the file that defines the implementation, where one does.

    Raises: Unsupported where the implementation cannot do it.

    """
    if inputs.upstream is not None and isinstance(implementation.gradient, str):
        raise Unsupported(f"no backward pass: {implementation.gradient}")
    words = Words.of(implementation, inputs, semantics)
    plain = is_plain(implementation.id, backward=words.backward)
    lines = _PLAIN[implementation.id](words) if plain else _ours(words, plugin)
    return "\n".join(lines) + "\n"


def _ours(words: Words, plugin: str | None) -> list[str]:
    """Through this project, NumPy arrays in and out."""
    arguments = [f'implementation="{words.id}"', *(f"{name}={name}" for name in words.arrays)]
    arguments += [f"{name}={_literal(value)}" for name, value in words.asked.as_arguments().items()]
    rest = ", ".join(arguments)
    lines = ["import backends  # of attnbench", ""]
    lines += [f"backends.load_plugin({plugin!r})", ""] if plugin else []
    lines += [
        "",
        f"def attention({words.parameters}):  # NumPy arrays",
        *(f"    {line}" for line in shapes_of(words)),
        f"    return backends.attention(query, key, value, {rest})",
    ]
    if words.backward:
        lines += [
            "",
            "",
            f"def gradients({words.parameters}, upstream):",
            f"    found = backends.gradients(query, key, value, upstream, {rest})",
            f"    return found[:{1 + len(words.sources)}]",
        ]
    return lines


def _literal(value: object) -> str:
    """As Python code; causal is a text."""
    return f'"{value}"' if isinstance(value, str) else repr(value)
