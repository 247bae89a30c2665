"""What is computed, without the numbers: shapes, dtype and semantics of one attention problem.

Shape letters, fixed for the whole project: `B` batch, `T` query length, `S` key/value length, `N` query heads, `K` key/value
heads, `H` head size of query and key, `V` head size of value. query (B,T,N,H), key (B,S,K,H), value (B,S,K,V),
output (B,T,N,V); mask and bias broadcast to (B,N,T,S).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

DTYPES = ("float64", "float32", "bfloat16", "float16")
CAUSAL = (None, "top_left", "bottom_right")
PASSES = ("forward", "forward_backward")

Window = tuple[int | None, int | None]


class InvalidProblem(ValueError):
    """Arguments that no implementation could accept; the message names the argument, what was got and what was expected."""


@dataclass(frozen=True, slots=True)
class Semantics:
    """The static part of the semantics: what a compiler may treat as constant."""

    causal: str | None = None
    """None, "top_left" (key s visible to query t iff s <= t) or "bottom_right" (iff s <= t + S - T)."""
    window: Window | None = None
    """Inclusive counts of keys left and right of the causal diagonal in force; None = open on that side."""
    softcap: float | None = None
    """Scores become softcap * tanh(scores / softcap) before bias and mask."""
    scale: float | None = None
    """Factor of the scores; None = H ** -0.5."""

    def __post_init__(self) -> None:
        if self.causal not in CAUSAL:
            raise InvalidProblem(f"causal={self.causal!r}, expected None, 'top_left' or 'bottom_right'")
        if self.window is not None:
            check_window(self.window)
            left, right = (None if count is None else int(count) for count in self.window)
            object.__setattr__(self, "window", (left, right))
        for name in ("softcap", "scale"):
            number = getattr(self, name)
            if number is None:
                continue
            if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
                raise InvalidProblem(f"{name}={number!r}, expected a finite number or None")
            object.__setattr__(self, name, float(number))
        if self.softcap is not None and self.softcap <= 0:
            raise InvalidProblem(f"softcap={self.softcap!r}, expected a number above 0 or None")

    def as_arguments(self) -> dict[str, Any]:
        """Keyword arguments for an attention function: only what differs from the default."""
        return {f.name: v for f in dataclasses.fields(self) if (v := getattr(self, f.name)) is not None}


def check_window(window: object) -> None:
    """Raise InvalidProblem unless window is a pair of counts >= 0 or None."""
    if not isinstance(window, tuple) or len(window) != 2:
        raise InvalidProblem(f"window={window!r}, expected a pair (left, right) of counts, None = open")
    for count in window:
        if count is not None and (isinstance(count, bool) or not isinstance(count, Integral) or count < 0):
            raise InvalidProblem(f"window={window!r}, expected counts of 0 or more, None = open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The seven letters. Sizes are counts of elements; T and S may be 0."""

    B: int = 1
    T: int
    S: int
    N: int
    K: int
    H: int
    V: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            size = getattr(self, field.name)
            least = 0 if field.name in "TS" else 1
            if size < least:
                raise InvalidProblem(f"{field.name}={size}, expected {least} or more")
        if self.N % self.K:
            raise InvalidProblem(
                f"N={self.N} query heads, K={self.K} key/value heads: expected N to be a multiple of K"
            )


@dataclass(slots=True)
class Inputs:
    """The arrays of one problem, in NumPy, BTNH.

    bfloat16, which NumPy lacks, is held in float32 arrays whose numbers are bfloat16 numbers: every conversion is exact.
    """

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    dtype: str
    mask: np.ndarray | None = None
    """bool, True = attend, broadcastable to (B,N,T,S)."""
    bias: np.ndarray | None = None
    """Additive, in `dtype`, broadcastable to (B,N,T,S)."""
    kv_lengths: np.ndarray | None = None
    """int32 (B,): keys at or past the length are invisible."""
    upstream: np.ndarray | None = None
    """Gradient of a loss by the output, (B,T,N,V) in `dtype`: where given, the problem is forward and backward."""

    @property
    def shape(self) -> Shape:
        """The seven letters, read off the arrays."""
        B, T, N, H = self.query.shape
        _, S, K, V = self.value.shape
        return Shape(B=B, T=T, S=S, N=N, K=K, H=H, V=V)

    def extras(self) -> dict[str, np.ndarray]:
        """Mask, bias and kv_lengths: those that are given."""
        every = {"mask": self.mask, "bias": self.bias, "kv_lengths": self.kv_lengths}
        return {name: array for name, array in every.items() if array is not None}


def features(inputs: Inputs, semantics: Semantics) -> tuple[str, ...]:
    """The names of what this problem asks beyond plain attention, in a fixed order (the words of Implementation.accepts)."""
    shape = inputs.shape
    asked = {
        "grouped": shape.K != shape.N,
        "value_size": shape.V != shape.H,
        "scale": semantics.scale is not None,
        "mask": inputs.mask is not None,
        "bias": inputs.bias is not None,
        "causal_top_left": semantics.causal == "top_left",
        "causal_bottom_right": semantics.causal == "bottom_right",
        "window": semantics.window is not None,
        "softcap": semantics.softcap is not None,
        "kv_lengths": inputs.kv_lengths is not None,
    }
    return tuple(name for name, is_asked in asked.items() if is_asked)
