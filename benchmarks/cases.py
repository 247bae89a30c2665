"""A case: a named problem of a suite, as data, with its provenance."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from backends.problem import DTYPES, PASSES, InvalidProblem, Semantics, Shape

MASKS = ("random", "heads", "padding", "documents", "prefix")
BIASES = ("random", "full", "keys", "alibi")
VALUES = ("normal", "outliers", "large-queries", "constant-keys")


@dataclass(frozen=True, slots=True)
class Case:
    """One problem to check and to time. Its inputs follow from its name and a seed: the same bytes for every framework."""

    name: str
    shape: Shape
    dtype: str = "float32"
    semantics: Semantics = field(default_factory=Semantics)
    mask: str | None = None
    """One of MASKS; see benchmarks.inputs."""
    bias: str | None = None
    """One of BIASES."""
    kv_lengths: tuple[int, ...] | None = None
    """One length per batch element."""
    source: str = ""
    """Where the shape comes from."""
    pass_: str = "forward"  # noqa: S105 - the pass of a problem, not a password
    """One of PASSES. The inputs of both are the same; the second has an upstream gradient beside them."""
    values: str = "normal"
    """One of VALUES: what query, key and value are drawn from; see benchmarks.inputs."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InvalidProblem(f"dtype={self.dtype!r}, expected one of {', '.join(DTYPES)}")
        if self.pass_ not in PASSES:
            raise InvalidProblem(f"pass={self.pass_!r}, expected one of {', '.join(PASSES)}")
        words = (("mask", self.mask, MASKS), ("bias", self.bias, BIASES), ("values", self.values, VALUES))
        for name, value, known in words:
            if value is not None and value not in known:
                raise InvalidProblem(f"{name}={value!r}, expected one of {', '.join(known)}")
        if self.kv_lengths is not None:
            if len(self.kv_lengths) != self.shape.B:
                raise InvalidProblem(f"{len(self.kv_lengths)} kv_lengths, expected one for each of B = {self.shape.B}")
            if not all(0 <= length <= self.shape.S for length in self.kv_lengths):
                raise InvalidProblem(f"kv_lengths={self.kv_lengths}, expected 0 to S = {self.shape.S}")

    @property
    def backward(self) -> bool:
        """Whether the gradients belong to it."""
        return self.pass_ == PASSES[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a worker's message or a run folder."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Case:
        """The inverse of to_dict, also after a trip through JSON."""
        semantics = dict(data["semantics"])
        if semantics["window"] is not None:
            semantics["window"] = tuple(semantics["window"])
        lengths = data["kv_lengths"]
        return cls(
            **{
                **data,
                "shape": Shape(**data["shape"]),
                "semantics": Semantics(**semantics),
                "kv_lengths": None if lengths is None else tuple(lengths),
            }
        )


def case(
    name: str,
    source: str,
    *,
    T: int,
    S: int | None = None,
    N: int = 8,
    K: int | None = None,
    H: int = 64,
    V: int | None = None,
    B: int = 1,
    **rest: Any,
) -> Case:
    """A Case in one line: S defaults to T, K to N, V to H; causal, window, softcap and scale go to its semantics."""
    semantics = Semantics(**{k: rest.pop(k) for k in ("causal", "window", "softcap", "scale") if k in rest})
    shape = Shape(B=B, T=T, S=T if S is None else S, N=N, K=K or N, H=H, V=V or H)
    return Case(name, shape, semantics=semantics, source=source, **rest)


_LETTER = re.compile(r"([A-Za-z]+)=(-?[0-9]{1,18})")


def parse_shape(text: str) -> Shape:
    """A Shape from words such as "b=1 t=2048 s=2048 n=32 k=8 h=128".

    b defaults to 1, s to t, k to n, v to h. Raises InvalidProblem naming the letter.
    """
    letters: dict[str, int] = {}
    for word in text.replace(",", " ").split():
        match = _LETTER.fullmatch(word)
        if match is None or match[1].upper() not in "BTSNKHV" or len(match[1]) != 1:
            raise InvalidProblem(
                f"{word!r} in the shape {text!r}, expected letters like b=1 t=128 s=128 n=8 k=8 h=64 v=64"
            )
        letter, size = match[1].upper(), int(match[2])
        if letter in letters:
            raise InvalidProblem(f"{match[1]} stands twice in the shape {text!r}")
        if size < 1:
            raise InvalidProblem(f"{word} in the shape {text!r}, expected 1 or more")
        letters[letter] = size
    for letter in "TNH":
        if letter not in letters:
            raise InvalidProblem(f"the shape {text!r} lacks {letter.lower()}=..., expected at least t, n and h")
    T, N, H = letters["T"], letters["N"], letters["H"]
    return Shape(
        B=letters.get("B", 1), T=T, S=letters.get("S", T), N=N, K=letters.get("K", N), H=H, V=letters.get("V", H)
    )
