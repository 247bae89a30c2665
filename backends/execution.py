"""From NumPy arrays to a call that can be timed, and from its output back: one path for backends.attention and the harness."""

from __future__ import annotations

import functools

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
) -> Prepared:
    """Everything up to the call: refuse or lower, convert layout and type, transfer, bind, set up or compile lazily.

    With `probe_deviations` a problem on which the implementation is declared to deviate is run all the same. With `reuse`
    the function that was compiled for an earlier problem of the same shape and semantics is called on these inputs.
    Raises Unsupported with the reason.
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
    else:
        function = functools.partial(implementation.function, **static.as_arguments())
        if implementation.compile is not None:
            function = framework.compile(function, implementation.compile)
    call = functools.partial(function, query, key, value, **arrays)
    return Prepared(call, function, (query, key, value), arrays, notes)


def run(implementation: Implementation, framework: Framework, prepared: Prepared, heads: int) -> tuple[np.ndarray, str]:
    """Call once; the output as (B,T,N,V) in NumPy, and the dtype it had."""
    with implementation.context():
        output = prepared.call()
        framework.barrier(output)
    return from_layout(framework.to_numpy(output), implementation.layout, heads), framework.dtype_of(output)
