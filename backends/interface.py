"""What an implementation of attention is.

An *implementation* is one way to compute attention in one framework: a function, and beside it, as data, what it accepts,
in which layout it wants its arrays, the arithmetic it claims, where it deviates from the standard, and how to prove that
the kernel it names is the one that runs. The same decorator serves the built-in modules and a user's plug-in file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from backends.accuracy import Roundoffs
from backends.problem import DTYPES, Inputs, Semantics, Window

FEATURES = frozenset(
    {
        "grouped",
        "value_size",
        "scale",
        "mask",
        "bias",
        "causal_top_left",
        "causal_bottom_right",
        "window",
        "softcap",
        "kv_lengths",
    }
)
"""What a problem can ask beyond plain attention; see backends.problem.features."""

LAYOUTS = ("BTNH", "BNTH", "XTH")
"""Native layouts: batch-time-head, batch-head-time, and batch and heads folded into one axis (X = B*N)."""


class Unsupported(Exception):
    """An implementation cannot do a problem; the message is the reason, shown to the user."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Where a framework's own function differs from the standard: declared here, probed by `check`, shown in the matrix."""

    topic: str
    """"empty_rows", "hidden_nan_key" or "hidden_nan_value"."""
    says: str
    """What happens instead, in a few words, such as "mean(V)"."""
    source: str = ""
    """Upstream thread or file, where one exists."""


DEVIATION_TOPICS = ("empty_rows", "hidden_nan_key", "hidden_nan_value")


@dataclass(slots=True)  # not frozen: it is made in every call, and freezing it would cost an eager one 1 us
class Asked:
    """The keywords of an attention function, for those that do not name all seven: `asked = Asked(**keywords)`.

    The rules of who sees whom are written with operators that the arrays of every framework have.
    """

    mask: Any = None
    bias: Any = None
    causal: str | None = None
    window: Window | None = None
    softcap: float | None = None
    scale: float | None = None
    kv_lengths: Any = None

    @property
    def hides(self) -> bool:
        """Whether anything makes keys invisible."""
        return self.mask is not None or self.has_edges

    @property
    def has_edges(self) -> bool:
        """Whether causal, a window or lengths end what a query row sees."""
        return self.causal is not None or self.kv_lengths is not None or self.window not in (None, (None, None))

    def cut(self, part: Callable[[Any], Any]) -> Asked:
        """The same of a part of the problem: mask and bias as `part` makes them, where they are given."""
        mask, bias = (None if array is None else part(array) for array in (self.mask, self.bias))
        return dataclasses.replace(self, mask=mask, bias=bias)

    def in_sight(self, t: Any, s: Any, offset: int) -> list[Any]:
        """What causal and window ask for query t to see key s, each an index or a whole axis; `offset` is S - T."""
        diagonal = t + offset if self.causal == "bottom_right" else t
        left, right = self.window or (None, None)
        rules = [] if self.causal is None else [s <= diagonal]
        rules += [] if left is None else [s >= diagonal - left]
        rules += [] if right is None else [s <= diagonal + right]
        return rules

    def seen(self, t: Any, s: Any, offset: int) -> Any:
        """bool, broadcastable to (B,N,T,S): which keys s, a row, the queries t, a column, see; asked where something hides."""
        rules = self.in_sight(t, s, offset)
        rules += [] if self.mask is None else [self.mask]
        rules += [] if self.kv_lengths is None else [s < self.kv_lengths[:, None, None, None]]
        return functools.reduce(operator.and_, rules)


@dataclass(slots=True)
class Prepared:
    """One implementation bound to the arrays of one problem: all set-up is done, only `call()` is left to be timed."""

    call: Callable[[], Any]
    """Computes and returns the output, native. On asynchronous devices it only starts the work: see Framework.barrier."""
    function: Callable[..., Any]
    """What `call` invokes (the compiled function where there is one)."""
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    """Names of the gradients that `call` returns after the output, in a tuple; none: it returns the output alone."""
    lowered: tuple[str, ...] = ()
    """What it does not take natively and was expressed through its mask or bias, before the clock."""


@dataclass(frozen=True, slots=True, eq=False)
class Implementation:
    """One way to compute attention in one framework. See `implementation` for the meaning of the fields.

    Equal to itself alone: what a plug-in registers when it is loaded again is another one, whatever it holds.
    """

    id: str
    function: Callable[..., Any]
    summary: str
    dtypes: tuple[str, ...]
    devices: tuple[str, ...]
    layout: str
    accepts: frozenset[str]
    combines: bool
    compile: str | None
    is_setup: bool
    roundoffs: Callable[[str], Roundoffs]
    deviations: tuple[Deviation, ...]
    context: Callable[[], AbstractContextManager[Any]]
    prove: Callable[[Prepared], str] | None
    naive: bool
    gradient: Callable[..., Any] | str | None = None
    log_sum_exp: Callable[..., Any] | None = None
    untimed: str = ""
    broadcasts: bool = True
    scores_held: tuple[float, float] = (0.0, 0.0)
    cuda_roundoffs: Callable[[str], Roundoffs] | None = None

    def claims(self, dtype: str, device: str) -> Roundoffs:
        """The arithmetic that it claims in this dtype on this device."""
        special = self.cuda_roundoffs if device == "cuda" else None
        return (special or self.roundoffs)(dtype)

    @property
    def framework(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]

    def deviation(self, topic: str) -> Deviation | None:
        """The declared deviation on a topic, if there is one."""
        return next((d for d in self.deviations if d.topic == topic), None)


def declared_roundoffs(dtype: str) -> Roundoffs:
    """The default claim: every stored number in `dtype`, sums in float32 (float64 for float64)."""
    return Roundoffs.of(dtype, accumulate="float64" if dtype == "float64" else "float32")


_REGISTERED: dict[str, Implementation] = {}


def registered() -> Mapping[str, Implementation]:
    """Every implementation whose module (or plug-in file) has been imported, in the order of registration."""
    return MappingProxyType(_REGISTERED)


def restore(earlier: Mapping[str, Implementation]) -> None:
    """Forget what was registered since `earlier` was taken."""
    _REGISTERED.clear()
    _REGISTERED.update(earlier)


def implementation(
    id: str,
    *,
    summary: str = "",
    dtypes: tuple[str, ...] = DTYPES,
    devices: tuple[str, ...] = ("cpu", "cuda"),
    layout: str = "BTNH",
    accepts: frozenset[str] | set[str] = FEATURES,
    combines: bool = True,
    compile: str | None = None,
    setup: bool = False,
    roundoffs: Callable[[str], Roundoffs] = declared_roundoffs,
    deviations: tuple[Deviation, ...] = (),
    context: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    prove: Callable[[Prepared], str] | None = None,
    naive: bool = False,
    gradient: Callable[..., Any] | str | None = None,
    log_sum_exp: Callable[..., Any] | None = None,
    untimed: str = "",
    broadcasts: bool = True,
    scores_held: tuple[float, float] = (0.0, 0.0),
    cuda_roundoffs: Callable[[str], Roundoffs] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the implementation `framework/name`.

    The function is called as f(query, key, value, *, mask, bias, causal, window, softcap, scale, kv_lengths), the keywords
    only where they differ from None, with arrays of the framework's own type. mask and bias have four axes, each 1 or full.
    `Asked` holds these keywords. It returns the output in the layout of the query. It raises Unsupported("reason") for what
    it cannot do.

    Args:
        id: framework/name, named by what it does: "torch/sdpa-flash".
        summary: one line for `list`; default: the first line of the function's docstring.
        dtypes: those it takes.
        devices: those it runs on.
        layout: one of LAYOUTS; the arrays arrive in it, contiguous. Conversion happens before the clock starts.
        accepts: the FEATURES it takes natively. Masks, causal, windows and lengths outside of it are expressed through its
            mask or bias before the clock starts, and the result says so; what cannot be is refused.
        combines: whether mask, bias and causal may be given together; if not, they are merged into one beforehand.
        compile: a mode of Framework.compile. The function is compiled with its static arguments bound.
        setup: the function is a factory: it returns what is to be timed, a call without arguments. For what users build
            once (block masks, sessions), not for work that belongs to every call.
        roundoffs: dtype -> the arithmetic it claims.
        deviations: where it is known to differ from the standard.
        context: entered once around a timed block, outside of the clock (kernel selection, for example).
        prove: returns the name of the kernel that a call really ran, or raises KernelMismatch.
        naive: the framework's textbook form, against which `speedup` is counted.
        gradient: None: the framework differentiates the function. Else f(query, key, value, upstream, **keywords), which
            returns (output, gradients of query, key, value and of bias or None) in their layouts; or, as a string, why
            there is no backward pass.
        log_sum_exp: f(query, key, value, **keywords): the log-sum-exp of the scores, (B,N,T), as the same kernel has it;
            None where it gives none away.
        untimed: why it is held to the oracle and never timed; empty: it is timed.
        broadcasts: whether a mask or bias may have one axis of size 1 for all queries, or for all keys; if not, it is
            written out beforehand, and the result says so.
        scores_held: how many arrays of the size of all scores, (B,N,T,S) in float32 (float64 for float64), it holds at its
            peak: forward, and forward and backward. 0: its memory is linear in T. An estimate stands on it, made before a
            call is tried.
        cuda_roundoffs: dtype -> the arithmetic it claims on CUDA, where that is another one.

    """
    framework, _, name = id.partition("/")
    if not framework or not name:
        raise ValueError(f"implementation id {id!r}, expected 'framework/name'")
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r} of {id}, expected one of {', '.join(LAYOUTS)}")
    if unknown := set(accepts) - FEATURES:
        raise ValueError(f"{id} accepts {sorted(unknown)}, expected names among {sorted(FEATURES)}")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        known = _REGISTERED.get(id)
        if known is not None and known.function.__module__ != function.__module__:
            raise ValueError(f"implementation id {id!r} is taken by {known.function.__module__}; choose another name")
        doc = (function.__doc__ or "").strip().partition("\n")[0]
        _REGISTERED[id] = Implementation(
            id,
            function,
            summary or doc,
            dtypes,
            devices,
            layout,
            frozenset(accepts),
            combines,
            compile,
            setup,
            roundoffs,
            deviations,
            context,
            prove,
            naive,
            gradient,
            log_sum_exp,
            untimed,
            broadcasts,
            scores_held,
            cuda_roundoffs,
        )
        return function

    return register


class KernelMismatch(RuntimeError):
    """The kernel that ran is not the one that the implementation names."""


__all__ = [
    "DEVIATION_TOPICS",
    "FEATURES",
    "LAYOUTS",
    "Asked",
    "Deviation",
    "Implementation",
    "Inputs",
    "KernelMismatch",
    "Prepared",
    "Roundoffs",
    "Semantics",
    "Unsupported",
    "implementation",
    "registered",
    "restore",
]
