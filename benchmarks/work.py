"""How much work a case is: exact operations and bytes of the visible pairs, and the conventional count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.needed import needed
from backends.visibility import as_four, count_pairs

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
    """What is read counts where it is part of a visible pair: rows of query, key and value, elements of the bias; of the mask
    what causal, the window and the lengths leave of it. What is written counts whole: the output. Forward and backward besides:
    the upstream gradient, read as the queries are, and the gradients of query, key, value and bias, written.
    """


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
    conventional = conventional // 2 if case.semantics.causal else conventional
    exact = per_pair * pairs
    if inputs.upstream is not None:
        exact, conventional = 3 * exact, conventional * 7 // 2
    return Work(exact, conventional, _moved(case, inputs))


def _moved(case: Case, inputs: Inputs) -> int:
    """Bytes, as Work.bytes counts them."""
    shape, semantics, bias, mask = case.shape, case.semantics, inputs.bias, inputs.mask
    queries = needed(inputs, semantics, (shape.B, shape.N, shape.T, 1))
    keys = needed(inputs, semantics, (shape.B, shape.K, 1, shape.S))
    numbers = queries * shape.H + keys * (shape.H + shape.V) + shape.B * shape.T * shape.N * shape.V
    numbers += 0 if bias is None else needed(inputs, semantics, as_four(bias).shape)
    if inputs.upstream is not None:
        numbers += queries * shape.V + inputs.query.size + inputs.key.size + inputs.value.size
        numbers += 0 if bias is None else bias.size
    of_mask = 0 if mask is None else needed(inputs, semantics, as_four(mask).shape, masked=False)
    return ITEMSIZE[case.dtype] * numbers + of_mask
