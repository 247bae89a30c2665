"""Faults of what stays between calls, of what is written into arguments, and of the arrays that are returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.mutants.attention import Array, Attention
from tests.mutants.frame import of_name
from tests.mutants.mutant import FIRST_BATCH, family, is_decoding, is_float16, mutant

Function = Callable[..., Any]


def form_of(*arguments: Any) -> str:
    """What a cache by shape takes for the same: shapes and dtypes of arrays, and everything else."""
    return repr([(getattr(a, "shape", a), getattr(a, "dtype", "")) for a in arguments])


def kept_by(*names: str) -> Callable[[Function], Function]:
    """Keeps these arguments of the first call of each form, and uses them in all others of it."""

    def around(function: Function) -> Function:
        kept: dict[Any, dict[str, Any]] = {}

        def call(query: Array, key: Array, value: Array, *rest: Array, **keywords: Any) -> Any:
            given = {"query": query, "key": key, "value": value, **keywords}
            first = kept.setdefault(form_of(*given.values(), *rest), given)
            given = {name: first[name] if name in names else array for name, array in given.items()}
            return function(*(given.pop(name) for name in ("query", "key", "value")), *rest, **given)

        return call

    return around


def keeps_result(function: Function) -> Function:
    """Returns what it returned for the first problem of this form."""
    kept: dict[str, Any] = {}

    def call(*arrays: Array, **keywords: Any) -> Any:
        form = form_of(*arrays, *keywords, *keywords.values())
        if form not in kept:
            kept[form] = function(*arrays, **keywords)
        return kept[form]

    return call


def keeps_options(function: Function) -> Function:
    """Does to every problem of these shapes what the first of them asked for."""
    kept: dict[str, dict[str, Any]] = {}

    def call(*arrays: Array, **keywords: Any) -> Any:
        options = {name: option for name, option in keywords.items() if not isinstance(option, np.ndarray)}
        given = {name: array for name, array in keywords.items() if name not in options}
        first = kept.setdefault(form_of(*arrays, *given, *given.values()), options)
        return function(*arrays, **given, **first)

    return call


def changed(found: Any, change: Callable[[Array], Array]) -> Any:
    """What a call returned, with its output changed."""
    return (change(found[0]), *found[1:]) if isinstance(found, tuple) else change(found)


def now_and_then(every: int, change: Callable[[Array], Array], first: int = 1) -> Callable[[Function], Function]:
    """Changes the output of every so manieth call, from the `first` on."""

    def around(function: Function) -> Function:
        calls = 0

        def call(*arrays: Array, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            found = function(*arrays, **keywords)
            return changed(found, change) if calls >= first and (calls - first) % every == 0 else found

        return call

    return around


def noisy(array: Array) -> Array:
    """One number is off by a thousandth."""
    out = array.copy()
    out.flat[out.size // 2] *= 1.001
    return out


def writes(name: str, factor: float = 1.01) -> Callable[[Function], Function]:
    """Leaves an argument changed."""

    def around(function: Function) -> Function:
        def call(*arrays: Array, **keywords: Any) -> Any:
            found = function(*arrays, **keywords)
            given = {**dict(zip(("query", "key", "value", "upstream"), arrays, strict=False)), **keywords}
            if name in given:
                array = given[name]
                array[...] = ~array if array.dtype == bool else array * factor
            return found

        return call

    return around


def one_buffer(function: Function) -> Function:
    """Returns the same memory in each call."""
    kept: dict[tuple[int, ...], Array] = {}

    def into(array: Array) -> Array:
        buffer = kept.setdefault((*array.shape, array.dtype.num), array)
        buffer[...] = array
        return buffer

    def call(*arrays: Array, **keywords: Any) -> Any:
        return changed(function(*arrays, **keywords), into)

    return call


def sums_up(function: Function) -> Function:
    """Adds the gradients of each call to those of the calls before."""
    kept: dict[Any, Array] = {}

    def call(*arrays: Array, **keywords: Any) -> Any:
        found = function(*arrays, **keywords)
        if not isinstance(found, tuple):
            return found
        for i, gradient in enumerate(found[1:]):
            if gradient is not None:
                form = (i, *gradient.shape, gradient.dtype.num)
                kept[form] = gradient + kept.get(form, np.zeros_like(gradient))
        return (found[0], *(None if g is None else kept[i, *g.shape, g.dtype.num] for i, g in enumerate(found[1:])))

    return call


MEMORY = family(
    "memory",
    mutant("the result by shape", around=keeps_result),
    mutant("the options by shape", around=keeps_options),
    mutant("the keys by shape", around=kept_by("key")),
    mutant("the values by shape", around=kept_by("value")),
    mutant("the mask by shape", around=kept_by("mask")),
    mutant("the bias by shape", around=kept_by("bias")),
    mutant("the lengths by shape", around=kept_by("kv_lengths")),
    mutant("the output is overwritten by the next call", around=one_buffer),
    mutant("gradients add up from call to call", around=sums_up),
    mutant("every fifth call is 1e-3 off", around=now_and_then(5, lambda out: out * 1.001)),
    mutant("every eleventh call is NaN", around=now_and_then(11, lambda out: out * np.float16(np.nan))),
    mutant("in every seventh call one number is 1e-3 off", around=now_and_then(7, noisy)),
    mutant("the first call gives 0", around=now_and_then(10**9, np.zeros_like)),
    mutant("every call but the first gives 0", around=now_and_then(1, np.zeros_like, first=2)),
)

WRITES = family(
    "writes",
    mutant("the query is scaled in place", around=writes("query")),
    mutant("the key is scaled in place", around=writes("key")),
    mutant("the value is scaled in place", around=writes("value")),
    mutant("the mask is inverted in place", around=writes("mask")),
    mutant("the bias is scaled in place", around=writes("bias")),
    mutant("the lengths become 0", around=writes("kv_lengths", 0)),
    mutant("the upstream gradient is scaled in place", around=writes("upstream")),
)


def result(change: Callable[[Attention, Array], Any]) -> Any:
    return lambda a: change(a, Attention.result(a))


def gradient(place: int, change: Callable[[Attention, Array], Any]) -> Any:
    """gradients() with one of them changed."""

    def changed_gradients(a: Attention) -> tuple[Any, ...]:
        found = list(Attention.gradients(a))
        found[place] = None if found[place] is None else change(a, found[place])
        return tuple(found)

    return changed_gradients


def exchanged(one: int, other: int) -> Any:
    """gradients() with two of them in each other's place."""

    def changed_gradients(a: Attention) -> tuple[Any, ...]:
        found = list(Attention.gradients(a))
        found[one], found[other] = found[other], found[one]
        return tuple(found)

    return changed_gradients


def float64(a: Attention, out: Array) -> Array:
    return np.asarray(out).astype("float64")


def reread(a: Attention, out: Array) -> Array:
    """The memory of BTNH, taken for BNTH."""
    return out.swapaxes(1, 2).copy().reshape(out.shape)


RETURNS = family(
    "returns",
    mutant("float64", result=result(float64)),
    mutant("float32 for float16", result=result(lambda a, out: out.astype("float32")), when=is_float16),
    mutant("float16", result=result(lambda a, out: np.asarray(out).astype("float16"))),
    mutant("bfloat16", result=result(lambda a, out: of_name(np.asarray(out).astype("float32"), "bfloat16"))),
    mutant("the other layout", result=result(lambda a, out: out.swapaxes(1, 2))),
    mutant("the memory of the other layout", result=result(reread)),
    mutant("heads and sizes in one axis", result=result(lambda a, out: out.swapaxes(1, 2).reshape(a.B, a.T, -1))),
    mutant("transposed rows", result=result(lambda a, out: out.swapaxes(2, 3))),
    mutant("no axis for one query", result=result(lambda a, out: out[:, :, 0]), when=is_decoding),
    mutant("one row too many", result=result(lambda a, out: np.concatenate([out, out[:, :, -1:]], axis=2))),
    mutant("only the first batch element", result=result(lambda a, out: out[FIRST_BATCH])),
    mutant("a number", result=result(lambda a, out: out.sum(keepdims=True).reshape(()))),
    mutant("a gradient in float64", gradients=gradient(0, float64)),
    mutant("a gradient of 0 of the value", gradients=gradient(2, lambda a, g: np.zeros_like(g))),
    mutant(
        "a gradient of the key for each query head", gradients=gradient(1, lambda a, g: np.repeat(g, a.group, axis=1))
    ),
    mutant("a gradient of the bias in the wrong order", gradients=gradient(3, lambda a, g: g.swapaxes(-1, -2))),
    mutant("the gradients of key and value swapped", gradients=exchanged(1, 2)),
    mutant("the gradients of query and key swapped", gradients=exchanged(0, 1)),
)

FAULTS = (*MEMORY, *WRITES, *RETURNS)
