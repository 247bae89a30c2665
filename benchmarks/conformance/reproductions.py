"""How to see each declared deviation without us: a few lines in the framework's own words, as data.

The tests run each of them in its framework and look at what it prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Code that prints what one deviation of some implementations looks like."""

    implementations: tuple[str, ...]
    """Globs of ids."""
    topic: str
    """See backends.interface.DEVIATION_TOPICS."""
    code: str


_TORCH = "import torch, torch.nn.functional as F\nq, sees = torch.ones(1, 1, 2, 4), torch.tensor([[True, False]])\n"
_JAX = "import jax, jax.numpy as jnp\nq, sees = jnp.ones((1, 2, 1, 4)), jnp.array([True, False])[None, None, None]\n"
_KERAS = (
    "import keras, numpy as np\n"
    "q = np.ones((1, 2, 1, 4), 'float32'); v = q * np.array([1, 3], 'float32')[None, :, None, None]\n"
)
_LAYER = (
    "import keras, numpy as np\nq = np.ones((1, 2, 4), 'float32'); v = q * np.array([1, 3], 'float32')[None, :, None]\n"
)
_ONNX = (
    "import numpy as np, onnx.parser, onnxruntime\n"
    "text = '<ir_version: 10, opset_import: [\"\": 23]> g (float[1,1,2,4] q, float[1,1,2,4] k, float[1,1,2,4] v, '\n"
    "text += 'bool[2,2] m) => (float[1,1,2,4] y) { y = Attention(q, k, v, m) }'\n"
    "run = onnxruntime.InferenceSession(onnx.parser.parse_model(text).SerializeToString()).run\n"
    "q, sees = np.ones((1, 1, 2, 4), 'float32'), np.array([[True, False]] * 2)\n"
    "nan = q * np.array([1, np.nan], 'float32')[:, None]  # of key 1, which is hidden from both queries\n"
)
_NAN_V = "v = q * np.array([1, np.nan], 'float32')[None, :, None, None]; sees = np.array([[[[True, False]]]])\n"

REPRODUCTIONS = (
    Reproduction(
        ("torch/sdpa-*",),
        "hidden_nan_key",
        f"{_TORCH}k = q * torch.tensor([[1.0], [torch.nan]])  # key 1 is hidden from both queries\n"
        "print(F.scaled_dot_product_attention(q, k, q, attn_mask=sees))",
    ),
    Reproduction(
        ("torch/sdpa-*",),
        "hidden_nan_value",
        f"{_TORCH}v = q * torch.tensor([[1.0], [torch.nan]])  # value 1 is hidden from both queries\n"
        "print(F.scaled_dot_product_attention(q, q, v, attn_mask=sees))",
    ),
    Reproduction(
        ("torch/*", "keras_torch/*"),
        "hidden_nan_value",
        "import torch\nweights, values = torch.tensor([1.0, 0.0]), torch.tensor([1.0, torch.nan])\n"
        "print(weights @ values)  # a weight of 0 does not hide it",
    ),
    Reproduction(
        ("jax/nn*",),
        "empty_rows",
        f"{_JAX}v = q * jnp.array([1.0, 3.0])[None, :, None, None]\n"
        "print(jax.nn.dot_product_attention(q, q, v, mask=sees & False))",
    ),
    Reproduction(
        ("jax/nn*",),
        "hidden_nan_key",
        f"{_JAX}k = q * jnp.array([1.0, jnp.nan])[None, :, None, None]\n"
        "print(jax.nn.dot_product_attention(q, k, q, mask=sees, implementation='cudnn'))",
    ),
    Reproduction(
        ("jax/nn*",),
        "hidden_nan_value",
        f"{_JAX}v = q * jnp.array([1.0, jnp.nan])[None, :, None, None]\n"
        "print(jax.nn.dot_product_attention(q, q, v, mask=sees))",
    ),
    Reproduction(
        ("jax/*", "keras_jax/*"),
        "hidden_nan_value",
        "import jax.numpy as jnp\nweights, values = jnp.array([1.0, 0.0]), jnp.array([1.0, jnp.nan])\n"
        "print(weights @ values)  # a weight of 0 does not hide it",
    ),
    Reproduction(
        ("*/keras-ops*",),
        "empty_rows",
        f"{_KERAS}print(keras.ops.dot_product_attention(q, q, v, mask=np.zeros((1, 1, 2, 2), bool)))",
    ),
    Reproduction(
        ("*/keras-ops*",),
        "hidden_nan_key",
        f"{_KERAS}k = q * np.array([1, np.nan], 'float32')[None, :, None, None]\n"
        "print(keras.ops.dot_product_attention(q, k, q, mask=np.array([[[[True, False]]]])))",
    ),
    Reproduction(
        ("*/keras-ops*",),
        "hidden_nan_value",
        f"{_KERAS}{_NAN_V}print(keras.ops.dot_product_attention(q, q, v, mask=sees))",
    ),
    Reproduction(
        ("*/keras-layer*",),
        "empty_rows",
        f"{_LAYER}print(keras.layers.Attention()([q, v, q], mask=[None, np.zeros((1, 2), bool)]))  # query, value, key",
    ),
    Reproduction(
        ("*/keras-layer*",),
        "hidden_nan_key",
        f"{_LAYER}k = q * np.array([1, np.nan], 'float32')[None, :, None]\n"
        "print(keras.layers.Attention()([q, v, k], mask=[None, np.array([[True, False]])]))  # query, value, key",
    ),
    Reproduction(
        ("*/keras-layer*",),
        "hidden_nan_value",
        f"{_LAYER}v = q * np.array([1, np.nan], 'float32')[None, :, None]\n"
        "print(keras.layers.Attention()([q, v, q], mask=[None, np.array([[True, False]])]))  # query, value, key",
    ),
    Reproduction(
        ("onnxruntime/attention",),
        "hidden_nan_key",
        f"{_ONNX}print(run(None, {{'q': q, 'k': nan, 'v': q, 'm': sees}}))",
    ),
    Reproduction(
        ("onnxruntime/attention",),
        "hidden_nan_value",
        f"{_ONNX}print(run(None, {{'q': q, 'k': q, 'v': nan, 'm': sees}}))",
    ),
    Reproduction(
        ("onnxruntime/*",),
        "hidden_nan_value",
        "import numpy as np, onnx.parser, onnxruntime\n"
        "text = '<ir_version: 10, opset_import: [\"\": 23]> g (float[2] w, float[2] v) => (float y) { y = MatMul(w, v) }'\n"
        "run = onnxruntime.InferenceSession(onnx.parser.parse_model(text).SerializeToString()).run\n"
        "print(run(None, {'w': np.array([1, 0], 'f'), 'v': np.array([1, np.nan], 'f')}))  # a weight of 0",
    ),
    Reproduction(
        ("tf_keras/*",),
        "hidden_nan_value",
        "import tensorflow as tf\nweights, values = tf.constant([[1.0, 0.0]]), tf.constant([[1.0], [float('nan')]])\n"
        "print(weights @ values)  # a weight of 0 does not hide it",
    ),
)
"""The first that fits an implementation and a topic is its own."""


def reproduction(implementation: str, topic: str) -> Reproduction | None:
    """What shows a deviation of an implementation; None where none is written down."""
    return next(
        (
            r
            for r in REPRODUCTIONS
            if r.topic == topic and any(fnmatchcase(implementation, p) for p in r.implementations)
        ),
        None,
    )
