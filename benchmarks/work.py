"""How much work a case is: exact operations over the visible pairs, the conventional count, and the bytes moved once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.visibility import count_pairs

if TYPE_CHECKING:
    from backends.problem import Inputs
    from benchmarks.cases import Case

ITEMSIZE = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Work:
    """Of one call, in the case's pass."""

    flops: int
    """2 (H + V) for each visible pair of query and key: a multiply-add in each of the two products. No softmax. Forward and
    backward: 3 times that, for the way back has four products; what is computed a second time does not count.
    """
    flops_conventional: int
    """2 (H + V) B N T S, halved where causal, 3.5 times that forward and backward: its way back has a fifth product (flash-
    attention, benchmarks/benchmark_flash_attention.py).
    """
    bytes: int
    """Query, key, value, mask, bias and output, each once; forward and backward all but the mask a second time."""


def native_bytes(inputs: Inputs) -> int:
    """Bytes of the inputs in their own dtype; bfloat16 is held in float32 here."""
    floats = (inputs.query, inputs.key, inputs.value, inputs.bias, inputs.upstream)
    masks = 0 if inputs.mask is None else inputs.mask.size
    return masks + ITEMSIZE[inputs.dtype] * sum(array.size for array in floats if array is not None)


def count(case: Case, inputs: Inputs) -> Work:
    """Count the work of a case on its inputs."""
    shape = case.shape
    pairs, _ = count_pairs(inputs, case.semantics)
    per_pair = 2 * (shape.H + shape.V)
    conventional = per_pair * shape.B * shape.N * shape.T * shape.S
    item = ITEMSIZE[case.dtype]
    moved = item * (inputs.query.size + inputs.key.size + inputs.value.size + shape.B * shape.T * shape.N * shape.V)
    moved += 0 if inputs.bias is None else item * inputs.bias.size
    conventional = conventional // 2 if case.semantics.causal else conventional
    exact = per_pair * pairs
    if inputs.upstream is not None:
        exact, conventional, moved = 3 * exact, conventional * 7 // 2, 2 * moved
    return Work(exact, conventional, moved + (0 if inputs.mask is None else inputs.mask.size))
