"""tiny: lazy arrays, and attention in the textbook form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backends.interface import Deviation, Unsupported, implementation


def load() -> None:
    """Import tiny."""
    global tiny
    import tiny


def version() -> str:
    """Version of tiny."""
    return f"tiny {tiny.__version__}"


def devices() -> tuple[str, ...]:
    """The CPU alone."""
    return ("cpu",)


def to_native(array: np.ndarray, dtype: str, device: str) -> Any:
    """A lazy array that is there already."""
    if dtype == "bfloat16":
        raise Unsupported("tiny has no bfloat16")
    return tiny.array(np.ascontiguousarray(array, dtype=dtype))


def to_numpy(array: Any) -> np.ndarray:
    """Its numbers."""
    return array.wait()


def dtype_of(array: Any) -> str:
    """Name of the dtype."""
    return array.dtype.name


def barrier(output: Any) -> None:
    """Wait: until then nothing has been computed."""
    output.wait()


def compile(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """tiny compiles nothing."""
    raise Unsupported(f"tiny has no compile mode {mode!r}")


def differentiate(function: Callable[..., Any], mode: str | None, sources: tuple[str, ...]) -> Callable[..., Any]:
    """tiny differentiates nothing."""
    raise Unsupported("tiny has no automatic differentiation")


def pull_back(call: Callable[[], Any], sources: tuple[Any, ...], upstream: Any) -> tuple[Any, ...]:
    """As differentiate."""
    raise Unsupported("tiny has no automatic differentiation")


def settings() -> dict[str, str]:
    """What steers it: NumPy's threads."""
    return {"threads": "as NumPy's", "matmul_precision": "as the dtype"}


def matmul(size: int, dtype: str, device: str) -> Callable[[], Any]:
    """tiny's own product of two square matrices."""
    a = to_native(np.ones((size, size)), dtype, device)
    return lambda: tiny.matmul(a, a)


def stream(rows: int, width: int, device: str) -> Callable[[], Any]:
    """tiny's own product of a matrix and a vector."""
    a, b = (to_native(np.ones(shape), "float32", device) for shape in ((rows, width), (width,)))
    return lambda: tiny.matmul(a, b)


@implementation(
    "tiny/naive",
    naive=True,
    dtypes=("float64", "float32"),
    devices=("cpu",),
    layout="BNTH",
    accepts={"value_size", "scale", "mask"},
    deviations=(Deviation("hidden_nan_value", "NaN"),),
    scores_held=(3, 3),
)
def naive(query: Any, key: Any, value: Any, *, mask: Any = None, scale: float | None = None) -> Any:
    """matmul, softmax, matmul; holds all scores."""
    scores = tiny.matmul(query, tiny.apply(lambda key: key.swapaxes(2, 3), key))

    def softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        scores = scores * scores.dtype.type(key.wait().shape[3] ** -0.5 if scale is None else scale)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        highest = scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores - np.where(np.isneginf(highest), 0, highest))
        total = weights.sum(axis=-1, keepdims=True)
        return weights / np.where(total == 0, 1, total)

    weights = tiny.apply(softmax, scores) if mask is None else tiny.apply(softmax, scores, mask)
    return tiny.matmul(weights, value)
