"""What a mutant is: an attention with some methods replaced, in some places, on some problems. As data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backends.accuracy import Roundoffs
from backends.interface import Deviation, Implementation, implementation, registered, restore
from backends.problem import DTYPES
from tests.mutants.attention import Array, Attention

ID = "numpy/mutant"

# Where a fault is: an index into what is returned, (B,N,T,V), (B,N,T,H), (B,K,S,...) or of the bias.
LAST_HEAD, FIRST_BATCH, LATER_BATCHES = np.s_[:, -1:], np.s_[:1], np.s_[1:]
LAST_ROW, LAST_COLUMN = np.s_[:, :, -1:], np.s_[..., -1:]


@dataclasses.dataclass(frozen=True, eq=False)
class Mutant:
    """One line of a table."""

    name: str
    changes: Mapping[str, Any]
    """Methods that are replaced: name -> what is called with the instance instead."""
    family: str = ""
    base: type[Attention] = Attention
    where: Any = None
    """Only there; None: everywhere."""
    when: Callable[[Attention], bool] | None = None
    """Only on these problems."""
    around: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    """Wraps the functions, for what is kept from call to call, written into arguments or done to the output."""
    layout: str = "BNTH"
    deviations: tuple[Deviation, ...] = ()

    def implementation(self) -> Implementation:
        """A fresh one, with a memory of its own."""
        earlier = dict(registered())
        functions = {name: self._function(name) for name in ("forward", "gradient", "log_sum_exp")}
        options: dict[str, Any] = {"dtypes": DTYPES, "devices": ("cpu",), "layout": self.layout, "roundoffs": claims}
        options |= {"gradient": functions["gradient"], "log_sum_exp": functions["log_sum_exp"]}
        try:
            implementation(ID, summary=self.name, deviations=self.deviations, **options)(functions["forward"])
            return registered()[ID]
        finally:
            restore(earlier)

    def _function(self, name: str) -> Callable[..., Any]:
        def call(*arrays: Array, **keywords: Any) -> Any:
            if self.layout == "BTNH":
                arrays = tuple(array.swapaxes(1, 2) for array in arrays)
            with np.errstate(all="ignore"):
                right, wrong = self.base(*arrays, **keywords), self.changed(*arrays, **keywords)
                if self.when is not None and not self.when(right):
                    wrong = right
                pairs = zip(RETURNED[name](right), RETURNED[name](wrong), strict=True)
                found = tuple(self._there(*pair) for pair in pairs)
            if self.layout == "BTNH" and name != "log_sum_exp":
                found = tuple(a if i == 4 or a is None else a.swapaxes(1, 2) for i, a in enumerate(found))
            return found if name == "gradient" else found[0]

        return call if self.around is None else self.around(call)

    @functools.cached_property
    def changed(self) -> type[Attention]:
        """The base with the methods replaced; what is cached stays cached."""
        own = {}
        for name, change in self.changes.items():
            known = getattr(self.base, name)  # a fault in a method that does not exist is none
            own[name] = functools.cached_property(change) if isinstance(known, functools.cached_property) else change
            if isinstance(known, property):
                own[name] = property(change)
        return type(self.base.__name__, (self.base,), own)

    def _there(self, right: Any, wrong: Any) -> Any:
        """`wrong`, or where the fault has a place, `right` with `wrong` in that place."""
        if self.where is None or right is wrong or wrong is None:
            return wrong
        out = right.copy()
        out[self.where] = wrong[self.where]
        return out


RETURNED: Mapping[str, Callable[[Attention], tuple[Any, ...]]] = {
    "forward": lambda a: (a.result(),),
    "gradient": lambda a: (a.result(), *a.gradients()),
    "log_sum_exp": lambda a: (a.log_sum_exp(),),
}


def claims(dtype: str) -> Roundoffs:
    """Computed in float32 at least, rounded once: the least that one may be off by."""
    wide = "float64" if dtype == "float64" else "float32"
    return Roundoffs.of(dtype, accumulate=wide, score=wide, probability=wide)


def mutant(
    name: str,
    *,
    base: type[Attention] = Attention,
    where: Any = None,
    when: Callable[[Attention], bool] | None = None,
    around: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
    layout: str = "BNTH",
    deviations: tuple[Deviation, ...] = (),
    **changes: Any,
) -> Mutant:
    """A Mutant in one line."""
    return Mutant(name, changes, "", base, where, when, around, layout, deviations)


def family(name: str, *members: Mutant) -> tuple[Mutant, ...]:
    """Mutants that are about the same."""
    return tuple(dataclasses.replace(member, family=name) for member in members)


# When a fault shows.


def crosses(a: Attention) -> bool:
    return a.S != a.T


def is_square(a: Attention) -> bool:
    return a.S == a.T


def has_more_queries(a: Attention) -> bool:
    return a.T > a.S


def is_decoding(a: Attention) -> bool:
    return a.T == 1


def is_odd(a: Attention) -> bool:
    return a.S % 2 == 1


def is_long(a: Attention) -> bool:
    return a.S > 1024


def has_large_heads(a: Attention) -> bool:
    return a.H > 64


def is_grouped(a: Attention) -> bool:
    return a.group > 1


def is_float16(a: Attention) -> bool:
    return a.dtype == "float16"


def is_bfloat16(a: Attention) -> bool:
    return a.dtype == "bfloat16"


def is_float64(a: Attention) -> bool:
    return a.dtype == "float64"


def is_windowed(a: Attention) -> bool:
    return a.asked.window is not None


def is_causal(a: Attention) -> bool:
    return a.asked.causal is not None


def is_masked(a: Attention) -> bool:
    return a.asked.mask is not None


def is_biased(a: Attention) -> bool:
    return a.asked.bias is not None


def has_lengths(a: Attention) -> bool:
    return a.asked.kv_lengths is not None
