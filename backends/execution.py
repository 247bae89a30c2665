"""From NumPy arrays to a call that can be timed, and from its output back: one path for backends.attention and the harness."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from backends.interface import Framework, Implementation, Prepared, Unsupported
from backends.layout import from_layout, to_layout
from backends.lowering import lower
from backends.problem import Inputs, Semantics
from backends.visibility import any_row_is_blind


def refuse(implementation: Implementation, inputs: Inputs, semantics: Semantics, device: str) -> None:
    """Raise Unsupported for what the declared capabilities and deviations rule out."""
    if device not in implementation.devices:
        raise Unsupported(f"runs on {', '.join(implementation.devices)}, not on {device}")
    if inputs.dtype not in implementation.dtypes:
        raise Unsupported(f"no {inputs.dtype}: takes {', '.join(implementation.dtypes)}")
    empty = implementation.deviation("empty_rows")
    if empty is not None and any_row_is_blind(inputs, semantics):
        raise Unsupported(f"a query row sees no key: gives {empty.says}, not 0 (declared deviation)")


def prepare(
    implementation: Implementation,
    framework: Framework,
    inputs: Inputs,
    semantics: Semantics,
    device: str = "cpu",
    *,
    probe_deviations: bool = False,
    reuse: Prepared | None = None,
    keep: bool = False,
) -> Prepared:
    """Everything up to the call: refuse or lower, convert layout and type, transfer, bind, set up or compile lazily.

    With `probe_deviations` a problem on which the implementation is declared to deviate is run all the same. With `reuse`
    the function that was compiled for an earlier problem of the same shape and semantics is called on these inputs. With
    `keep` such a function is looked for among those kept before, and kept. Raises Unsupported with the reason.
    """
    if not probe_deviations:
        refuse(implementation, inputs, semantics, device)
    lowered, static, notes = lower(inputs, semantics, implementation)
    native = to_layout(lowered, implementation.layout)
    query, key, value = (framework.to_native(a, inputs.dtype, device) for a in (native.query, native.key, native.value))
    kinds = {"mask": "bool", "bias": inputs.dtype, "kv_lengths": "int32"}
    arrays = {name: framework.to_native(array, kinds[name], device) for name, array in native.extras().items()}
    if implementation.is_setup:
        call = implementation.function(query, key, value, **arrays, **static.as_arguments())
        return Prepared(call, call, lowered=notes)
    if reuse is not None:
        function = reuse.function
    elif keep:
        function = _kept(implementation, framework.compile, static, _form(native, device))
    else:
        function = _bound(implementation, framework.compile, static)
    call = functools.partial(function, query, key, value, **arrays)
    return Prepared(call, function, (query, key, value), arrays, notes)


def _bound(implementation: Implementation, compile: Callable[..., Any], static: Semantics) -> Callable[..., Any]:
    """The function with its static arguments; where it is to be compiled, that happens when it is first called."""
    function = functools.partial(implementation.function, **static.as_arguments())
    return function if implementation.compile is None else compile(function, implementation.compile)


@functools.lru_cache(maxsize=64)
def _kept(
    implementation: Implementation, compile: Callable[..., Any], static: Semantics, form: tuple[Any, ...]
) -> Callable[..., Any]:
    """The same function for every problem of one form; each form has its own, for torch gives up on one after eight."""
    return _bound(implementation, compile, static)


def _form(native: Inputs, device: str) -> tuple[Any, ...]:
    """What a compiled function is made for: dtype, device, and the shapes of those arrays that there are."""
    extras = tuple((name, array.shape) for name, array in native.extras().items())
    return native.dtype, device, native.query.shape, native.key.shape, native.value.shape, extras


def run(implementation: Implementation, framework: Framework, prepared: Prepared, heads: int) -> tuple[np.ndarray, str]:
    """Call once; the output as (B,T,N,V) in NumPy, and the dtype it had."""
    with implementation.context():
        output = prepared.call()
        framework.barrier(output)
    return from_layout(framework.to_numpy(output), implementation.layout, heads), framework.dtype_of(output)
