"""Whether there is room for a cell: what it will need, estimated from shapes before anything is allocated, and what is free.

An estimate that is too small costs a worker, which asks to be the first that the kernel ends when memory runs out; one
that is far too large would refuse what could be measured. Both are held to measured peaks in tests/test_room.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from typing import TYPE_CHECKING

import numpy as np

from backends.execution import refuse
from backends.interface import Unsupported
from backends.lowering import merged_into
from backends.problem import Inputs
from benchmarks.harness import control_groups
from benchmarks.records import Status
from benchmarks.work import ITEMSIZE, native_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backends.framework import Framework
    from backends.interface import Implementation
    from benchmarks.cases import Case

_SPARE = 0.1
"""Part of the free memory that is left alone: other processes move, and estimates are no measurements."""
_FIXED_BYTES = 2**26
"""Tiles, packed matrices and stacks of threads, whatever the size."""
_JUDGED_BYTES = 56
"""For each number that is held to the oracle: widened, its error, bound and quotient in float64, each with a temporary."""
_EXPECTED_BYTES, _COLLECTED_BYTES = 28, 56
"""For each number of the oracle's answer: float64 and up to five float32 coefficients; the same in float64 while they are
summed up, and what is written."""
_TILE, _TILES = 1 << 19, 24
"""Scores that a thread of the oracle has at a time, and how many arrays of that size, in float64, at once."""


_OWN_TILE, _KEYS_AT_ONCE = 1 << 20, 256
"""What an implementation holds that does not hold all scores: so many of each head, or those of so many keys, twice."""


class NoRoom(MemoryError):
    """A cell that cannot fit; the message says how much it needs and how much there is."""


def hollow(case: Case) -> Inputs:
    """Inputs of the right shapes and types that take no memory: every element is the same zero."""
    s = case.shape
    wide = np.float64 if case.dtype == "float64" else np.float32

    def zeros(kind: type, *size: int) -> np.ndarray:
        return np.broadcast_to(np.zeros((), kind), size)

    masks = {
        "random": (s.B, 1, s.T, s.S),
        "heads": (s.B, s.N, s.T, s.S),
        "padding": (s.B, 1, 1, s.S),
        "documents": (1, 1, s.T, s.S),
        "prefix": (1, 1, s.T, s.S),
    }
    biases = {
        "random": (1, s.N, s.T, s.S),
        "full": (s.B, s.N, s.T, s.S),
        "keys": (s.B, 1, 1, s.S),
        "alibi": (1, s.N, s.T, s.S),
    }
    return Inputs(
        zeros(wide, s.B, s.T, s.N, s.H),
        zeros(wide, s.B, s.S, s.K, s.H),
        zeros(wide, s.B, s.S, s.K, s.V),
        case.dtype,
        mask=None if case.mask is None else zeros(np.bool_, *masks[case.mask]),
        bias=None if case.bias is None else zeros(wide, *biases[case.bias]),
        kv_lengths=None if case.kv_lengths is None else np.array(case.kv_lengths, np.int32),
        upstream=zeros(wide, s.B, s.T, s.N, s.V) if case.backward else None,
    )


def _arrays(inputs: Inputs) -> list[np.ndarray]:
    every = (getattr(inputs, field.name) for field in dataclasses.fields(inputs))
    return [array for array in every if isinstance(array, np.ndarray)]


def _bytes(inputs: Inputs) -> int:
    return sum(array.size * array.itemsize for array in _arrays(inputs))


def _judged(case: Case, inputs: Inputs) -> int:
    """How many numbers are held to the oracle: the output and the gradients."""
    s = case.shape
    output = s.B * s.T * s.N * s.V
    if inputs.upstream is None:
        return output
    return output + sum(a.size for a in (inputs.query, inputs.key, inputs.value, inputs.bias) if a is not None)


def inputs_bytes(case: Case) -> int:
    """What a worker holds of a case before any cell of it: the inputs and the oracle's answer."""
    inputs = hollow(case)
    return _bytes(inputs) + _EXPECTED_BYTES * _judged(case, inputs)


def oracle_bytes(case: Case) -> int:
    """What the oracle's worker needs: the inputs and their making, its answer, and some rows at a time."""
    inputs = hollow(case)
    largest = max(array.size for array in _arrays(inputs))
    tile = min(case.shape.T * case.shape.S, max(_TILE, case.shape.S)) * (os.cpu_count() or 1)
    making = 3 * 8 * largest  # from float64 random numbers, rounded
    return _bytes(inputs) + max(making, _COLLECTED_BYTES * _judged(case, inputs) + 8 * _TILES * tile)


def cell_bytes(case: Case, implementation: Implementation, device: str) -> int:
    """What a cell needs in its worker on top of inputs_bytes. Raises Unsupported where it would be refused anyway."""
    inputs = hollow(case)
    # Whether a row sees no key would have to be read off the numbers.
    refuse(implementation, inputs, case.semantics, device, probe_deviations=True)
    target = merged_into(inputs, case.semantics, implementation)
    native = _bytes(inputs) * (1 + ITEMSIZE[case.dtype] / inputs.query.itemsize) + _lowered(
        inputs, implementation, target
    )
    if device != "cpu":
        return round(native)
    returned = ITEMSIZE[case.dtype] * _judged(case, inputs)
    judging = _JUDGED_BYTES * _judged(case, inputs)
    return round(native + returned + max(call_bytes(case, implementation) + _FIXED_BYTES, judging))


def device_bytes(case: Case, implementation: Implementation, device: str) -> float:
    """What a cell holds at its peak on a device other than the CPU, at least: inputs, what it returns, a mask that is written
    out, and all scores where it declares to hold them, all in their own dtype. Too little costs nothing there, for the
    framework itself says when its device is full; too much would refuse what fits. Raises Unsupported as cell_bytes does.
    """
    inputs, item = hollow(case), ITEMSIZE[case.dtype]
    refuse(implementation, inputs, case.semantics, device, probe_deviations=True)
    target = merged_into(inputs, case.semantics, implementation)
    written = _written_out(inputs, implementation, target) * (
        item if target == "bias" or inputs.bias is not None else 1
    )
    s = case.shape
    scores = implementation.scores_held[case.backward] * s.B * s.N * s.T * s.S
    return native_bytes(inputs) + written + item * (_judged(case, inputs) + scores)


def call_bytes(case: Case, implementation: Implementation) -> float:
    """What a call takes at its peak beyond its inputs and what it returns: what is measured as peak_memory_bytes."""
    inputs = hollow(case)
    linear = 3 * _bytes(dataclasses.replace(inputs, mask=None, bias=None))
    addends = sum(array.size for array in (inputs.mask, inputs.bias) if array is not None)
    return linear + addends * inputs.query.itemsize + _scores(case, inputs, implementation)


def _lowered(inputs: Inputs, implementation: Implementation, target: str) -> int:
    """Bytes of a mask and a bias that are written out over more than the inputs have, with their copies on the way."""
    of_each = 4 + inputs.query.itemsize * (1 if target != "bias" and inputs.bias is None else 3)
    return _written_out(inputs, implementation, target) * of_each


def _written_out(inputs: Inputs, implementation: Implementation, target: str) -> int:
    """Numbers of such a mask or bias."""
    s = inputs.shape
    given = [array for array in (inputs.mask, inputs.bias) if array is not None]
    is_folded = implementation.layout == "XTH"
    if not target and not (given and (is_folded or not implementation.broadcasts)):
        return 0
    lengths = [] if inputs.kv_lengths is None else [inputs.kv_lengths[:, None, None, None]]
    b, n = np.broadcast_shapes((1, 1), *(array.shape[:2] for array in [*given, *lengths]))
    return (s.B * s.N if is_folded else b * n) * s.T * s.S


def _scores(case: Case, inputs: Inputs, implementation: Implementation) -> float:
    """Bytes of the arrays of all scores that it declares, and of those that masks, biases and softcaps add; else of tiles."""
    s, semantics = case.shape, case.semantics
    held = implementation.scores_held[case.backward]
    if not held:
        tile = 2 * min(s.T * s.S, max(_OWN_TILE, _KEYS_AT_ONCE * s.T))
        return float((3 if case.backward else 1) * s.B * s.N * tile * inputs.query.itemsize)
    hides = inputs.mask is not None or inputs.kv_lengths is not None
    hides |= semantics.causal is not None or semantics.window is not None
    more = 1.25 * hides + 1.25 * (inputs.bias is not None) + 2.0 * (semantics.softcap is not None)
    return (held + more * (2 if case.backward else 1)) * s.B * s.N * s.T * s.S * inputs.query.itemsize


def insist_on_room(case: Case, implementation: Implementation, device: str, framework: Framework) -> None:
    """Raise NoRoom where a cell of a case that is here already cannot fit, here or on its device, as far as the framework
    tells what is free there; what is unsupported is told elsewhere.
    """
    with contextlib.suppress(Unsupported):
        insist(cell_bytes(case, implementation, device))
        told: Callable[[str], int | None] | None = getattr(framework, "free_bytes", None)
        free = None if told is None or device == "cpu" else told(device)
        if free is not None and (need := device_bytes(case, implementation, device)) > free * (1 - _SPARE):
            raise NoRoom(f"needs about {need / 1e9:,.1f} GB on {device}, {free / 1e9:,.1f} GB are free there")


def insist(need_bytes: float) -> None:
    """Raise NoRoom where so much is not free."""
    free = free_bytes()
    if need_bytes > free * (1 - _SPARE):
        raise NoRoom(f"needs about {need_bytes / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free")


def insist_within(limit_bytes: int | None, need_bytes: float) -> None:
    """Raise NoRoom where a process may not hold so much."""
    if limit_bytes is not None and need_bytes > limit_bytes:
        raise NoRoom(f"needs about {need_bytes / 1e9:,.3g} GB, --memory-limit is {limit_bytes / 1e9:,.3g} GB")


def refusal(
    case: Case, implementation: Implementation | None, device: str, workers: int, limit_bytes: int | None = None
) -> tuple[Status, str] | None:
    """Why a cell is not to be started at all, where there is no room for it, for its inputs in `workers` workers or for
    the oracle; `limit_bytes`: what one process may hold. What would be refused anyway stays unsupported; of an
    implementation that is not known here (None: a plug-in's) its worker decides.
    """
    own, unsupported = 0, ""
    try:
        own = 0 if implementation is None else cell_bytes(case, implementation, device)
    except Unsupported as error:
        unsupported = str(error)
    try:
        insist(max(workers * inputs_bytes(case) + own, oracle_bytes(case)))
        insist_within(limit_bytes, max(inputs_bytes(case) + own, oracle_bytes(case)))
    except NoRoom as error:
        return (Status.UNSUPPORTED, unsupported) if unsupported else (Status.OUT_OF_MEMORY, str(error))
    return None


def free_bytes(root: Path = control_groups.ROOT) -> float:
    """Bytes that can be had without swapping: of the machine, and of the control groups that this process is in; infinite
    where nobody tells.
    """
    machine = math.inf
    with contextlib.suppress(ModuleNotFoundError):  # a worker's interpreter may have NumPy and its framework alone
        import psutil

        with contextlib.suppress(OSError, ValueError, psutil.Error):  # a sandbox without /proc
            machine = float(psutil.virtual_memory().available)
    grouped = control_groups.free_bytes(root)
    return machine if grouped is None else min(machine, grouped)


def usable_bytes() -> int | None:
    """What there is for all processes together, of the machine or of the control groups; None where nobody tells."""
    limits = [control_groups.memory_limit_bytes()]
    with contextlib.suppress(ModuleNotFoundError):
        import psutil

        with contextlib.suppress(OSError, ValueError, psutil.Error):
            limits.append(int(psutil.virtual_memory().total))
    return min((limit for limit in limits if limit is not None), default=None)
