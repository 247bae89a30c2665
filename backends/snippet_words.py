"""A problem in the words of a snippet: which arrays it takes, what hides keys, what is written in each framework's dialect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.lowering import merged_into, simplify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backends.interface import Implementation
    from backends.problem import Inputs, Semantics, Shape

HALVES = ("bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Words:
    """What a snippet has to say."""

    id: str
    shape: Shape
    dtype: str
    semantics: Semantics
    """As the implementation takes it: bottom-right is top-left where T = S."""
    asked: Semantics
    """As it was asked for."""
    arrays: tuple[str, ...]
    """Beside query, key and value, in this order: mask, bias, kv_lengths."""
    merged: str
    """What everything that hides keys is merged into, "mask" or "bias"; empty: the implementation takes it as it is."""
    backward: bool

    @classmethod
    def of(cls, implementation: Implementation, inputs: Inputs, semantics: Semantics) -> Words:
        """From arrays of which the shapes alone matter. Raises Unsupported as `lower` does."""
        merged = merged_into(inputs, semantics, implementation)
        own, _ = simplify(inputs, semantics, implementation.accepts)
        arrays = tuple(inputs.extras())
        backward = inputs.upstream is not None
        return cls(implementation.id, inputs.shape, inputs.dtype, own, semantics, arrays, merged, backward)

    @property
    def grouped(self) -> bool:
        """Whether query heads share key/value heads."""
        return self.shape.N != self.shape.K

    @property
    def half(self) -> bool:
        """Whether the dtype is one of 16 bits."""
        return self.dtype in HALVES

    @property
    def parameters(self) -> str:
        """Of the function: query, key, value, mask, ..."""
        return ", ".join(("query", "key", "value", *self.arrays))

    @property
    def sources(self) -> tuple[str, ...]:
        """What gradients are wanted of."""
        return ("query", "key", "value", *(name for name in self.arrays if name == "bias"))

    @property
    def scale(self) -> str:
        """The factor of the scores, in the words of Python."""
        return "H**-0.5" if self.semantics.scale is None else repr(self.semantics.scale)

    @property
    def rules(self) -> list[str]:
        """What has to hold for query t to see key s; empty where all see all."""
        semantics = self.semantics
        diagonal = "t + S - T" if semantics.causal == "bottom_right" else "t"
        left, right = semantics.window or (None, None)
        found = [] if semantics.causal is None else [f"(s <= {diagonal})"]
        found += [] if left is None else [f"(s >= {diagonal} - {left})"]
        found += [] if right is None else [f"(s <= {diagonal} + {right})"]
        found += ["(s < kv_lengths[:, None, None, None])"] if "kv_lengths" in self.arrays else []
        return found + (["mask"] if "mask" in self.arrays else [])

    @property
    def may_be_blind(self) -> bool:
        """Whether a query may see no key at all."""
        only_causal = self.rules == ["(s <= t)"] or (
            self.rules == ["(s <= t + S - T)"] and self.shape.T <= self.shape.S
        )
        return bool(self.rules) and not only_causal

    def seen(self, arange: str, *, four: bool) -> list[str]:
        """Lines that make `seen`, the mask of all rules, from T and S. `four`: it has to have four axes."""
        rules, lines = self.rules, []
        if any("s " in rule or "t " in rule for rule in rules):
            lines.append(f"t, s = {arange.format('T')}[:, None], {arange.format('S')}")
        joined = " & ".join(rules)
        joined = joined[1:-1] if len(rules) == 1 and joined.startswith("(") else joined
        if four and not set(self.arrays) & {"mask", "kv_lengths"}:
            joined = f"({joined})[None, None]"
        return [*lines, f"seen = {joined}"]


def shapes_of(words: Words) -> list[str]:
    """What the function takes and returns, as comments."""
    s = words.shape
    lines = [
        f"# B={s.B} T={s.T} S={s.S} N={s.N} K={s.K} H={s.H} V={s.V}, {words.dtype}",
        "# query (B,T,N,H), key (B,S,K,H), value (B,S,K,V), output (B,T,N,V)",
    ]
    kinds = {
        "mask": "mask bool (B,N,T,S), True = attend",
        "bias": "bias (B,N,T,S)",
        "kv_lengths": "kv_lengths int32 (B,)",
    }
    more = ", ".join(kinds[name] for name in words.arrays)
    if {"mask", "bias"} & set(words.arrays):
        more += "; an axis of size 1 stands for all"
    return [*lines, *([f"# {more}"] if more else [])]


def function(words: Words, body: Iterable[str], *, decorator: str = "", name: str = "attention") -> list[str]:
    """The lines of a function of the arrays."""
    lines = [f"    {line}".rstrip() for line in (*shapes_of(words), *body)]
    return [*([decorator] if decorator else []), f"def {name}({words.parameters}):", *lines]


def call(name: str, positional: str, **keywords: object) -> str:
    """`name(positional, key=value, ...)`, without what is None or False."""
    given = [f"{key}={value}" for key, value in keywords.items() if value is not None and value is not False]
    return f"{name}({', '.join((positional, *given))})"


def gradients_torch(words: Words) -> list[str]:
    """Output and gradients, by autograd."""
    sources = ", ".join(words.sources)
    return [
        f"def gradients({words.parameters}, upstream):",
        f"    {sources} = (array.detach().requires_grad_() for array in ({sources}))",
        f"    output = attention({words.parameters})",
        f"    return output, *torch.autograd.grad(output, ({sources}), upstream)",
    ]


def gradients_jax(words: Words, decorator: str) -> list[str]:
    """Output and gradients, by jax.vjp."""
    sources = ", ".join(words.sources)
    return [
        *([decorator] if decorator else []),
        f"def gradients({words.parameters}, upstream):",
        f"    output, pull_back = jax.vjp(lambda {sources}: attention({words.parameters}), {sources})",
        "    return output, *pull_back(upstream)",
    ]


def gradients_tf(words: Words, decorator: str) -> list[str]:
    """Output and gradients, by a tape."""
    sources = ", ".join(words.sources)
    return [
        *([decorator] if decorator else []),
        f"def gradients({words.parameters}, upstream):",
        "    with tf.GradientTape() as tape:",
        f"        tape.watch(({sources}))",
        f"        output = attention({words.parameters})",
        f"    return output, *tape.gradient(output, ({sources}), output_gradients=upstream)",
    ]
