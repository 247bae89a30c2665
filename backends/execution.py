"""From NumPy arrays to a call that can be timed, and from its output back: one path for backends.attention and the harness."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from backends.backward import wanted
from backends.framework import Framework
from backends.interface import Implementation, Prepared, Unsupported
from backends.layout import bias_from_layout, from_layout, to_layout
from backends.lowering import lower
from backends.problem import Inputs, Semantics
from backends.visibility import any_row_is_blind


def refuse(
    implementation: Implementation,
    inputs: Inputs,
    semantics: Semantics,
    device: str,
    *,
    probe_deviations: bool = False,
) -> None:
    """Raise Unsupported for what the declared capabilities and, unless these are probed, the deviations rule out."""
    if device not in implementation.devices:
        raise Unsupported(f"runs on {', '.join(implementation.devices)}, not on {device}")
    if inputs.dtype not in implementation.dtypes:
        raise Unsupported(f"no {inputs.dtype}: takes {', '.join(implementation.dtypes)}")
    if inputs.upstream is not None and isinstance(implementation.gradient, str):
        raise Unsupported(f"no backward pass: {implementation.gradient}")
    empty = None if probe_deviations else implementation.deviation("empty_rows")
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
    refuse(implementation, inputs, semantics, device, probe_deviations=probe_deviations)
    lowered, static, notes = lower(inputs, semantics, implementation)
    native = to_layout(lowered, implementation.layout)
    query, key, value = (framework.to_native(a, inputs.dtype, device) for a in (native.query, native.key, native.value))
    kinds = {"mask": "bool", "bias": inputs.dtype, "kv_lengths": "int32"}
    arrays = {name: framework.to_native(array, kinds[name], device) for name, array in native.extras().items()}
    names = wanted(inputs)
    arguments = [query, key, value]
    if native.upstream is not None:
        arguments.append(framework.to_native(native.upstream, inputs.dtype, device))
    if implementation.is_setup:
        call = implementation.function(query, key, value, **arrays, **static.as_arguments())
        if names:
            sources = (query, key, value, *([arrays["bias"]] if "bias" in names else []))
            call = functools.partial(framework.pull_back, call, sources, arguments[3])
        return Prepared(call, call, sources=names, lowered=notes)
    if reuse is not None:
        function = reuse.function
    elif keep:
        function = _kept(
            implementation, framework.compile, framework.differentiate, static, names, _form(native, device)
        )
    else:
        function = _bound(implementation, framework.compile, framework.differentiate, static, names)
    call = functools.partial(function, *arguments, **arrays)
    return Prepared(call, function, tuple(arguments), arrays, names, notes)


def _bound(
    implementation: Implementation,
    compile: Callable[..., Any],
    differentiate: Callable[..., Any],
    static: Semantics,
    sources: tuple[str, ...],
) -> Callable[..., Any]:
    """The function with its static arguments; where it is to be compiled, that happens when it is first called."""
    function, mode, gradient = implementation.function, implementation.compile, implementation.gradient
    if sources and callable(gradient):
        function = gradient
    function = functools.partial(function, **static.as_arguments())
    if sources and not callable(gradient):
        return differentiate(function, mode, sources)
    return function if mode is None else compile(function, mode)


@functools.lru_cache(maxsize=64)
def _kept(
    implementation: Implementation,
    compile: Callable[..., Any],
    differentiate: Callable[..., Any],
    static: Semantics,
    sources: tuple[str, ...],
    form: tuple[Any, ...],
) -> Callable[..., Any]:
    """The same function for every problem of one form; each form has its own, for torch gives up on one after eight."""
    return _bound(implementation, compile, differentiate, static, sources)


def _form(native: Inputs, device: str) -> tuple[Any, ...]:
    """What a compiled function is made for: dtype, device, and the shapes of those arrays that there are."""
    extras = tuple((name, array.shape) for name, array in native.extras().items())
    return native.dtype, device, native.query.shape, native.key.shape, native.value.shape, extras


def run(
    implementation: Implementation, framework: Framework, prepared: Prepared, inputs: Inputs
) -> dict[str, tuple[np.ndarray, str]]:
    """Call once; see results."""
    return results(implementation, framework, prepared, call(implementation, framework, prepared), inputs)


def call(implementation: Implementation, framework: Framework, prepared: Prepared) -> Any:
    """What a call returns, native, once it has been computed."""
    with implementation.context():
        returned = prepared.call()
        framework.barrier(returned)
    return returned


def results(
    implementation: Implementation, framework: Framework, prepared: Prepared, returned: Any, inputs: Inputs
) -> dict[str, tuple[np.ndarray, str]]:
    """What a call returned, in NumPy and in BTNH, each with the dtype that it had: "output" and the gradients by name.

    Gradients of a bias that was broadcast on its way (see lowering, layout) are summed to its shape. An array of another
    rank than expected is returned as it is, for the judge to see.
    """
    if not prepared.sources:
        out = from_layout(framework.to_numpy(returned), implementation.layout, inputs.shape.N)
        return {"output": (out, framework.dtype_of(returned))}
    found = {}
    for name, native in zip(("output", *prepared.sources), returned, strict=False):
        if native is None:  # the judge says which is missing
            continue
        array, shape = framework.to_numpy(native), inputs.shape
        if name == "bias":
            array = bias_from_layout(array, implementation.layout, inputs)
        else:
            heads = shape.K if name in ("key", "value") else shape.N
            array = from_layout(array, implementation.layout, heads)
        found[name] = array, framework.dtype_of(native)
    return found


def log_sum_exp(
    implementation: Implementation, framework: Framework, inputs: Inputs, semantics: Semantics, device: str = "cpu"
) -> np.ndarray:
    """The log-sum-exp of the scores as the implementation gives it away, (B,T,N). Raises Unsupported with the reason."""
    if implementation.log_sum_exp is None:
        raise Unsupported("gives no log-sum-exp away")
    own = dataclasses.replace(implementation, function=implementation.log_sum_exp, is_setup=False)
    prepared = prepare(own, framework, inputs, semantics, device)
    array = framework.to_numpy(call(own, framework, prepared))
    return array.transpose(0, 2, 1) if array.ndim == 3 else array
