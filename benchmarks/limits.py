"""The limit of the machine, as this run has measured it: a roofline whose two roofs are the best that any framework reached.

Each framework's own matrix product and its own reading of memory are measured beside its attention, so that the limit needs
no data sheet and holds for the threads, the clock and the neighbours of this run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.harness.state import State
    from benchmarks.records import Record

FAR_BEHIND = 0.5
"""A framework that reaches this part of another's rate, or less, leaves much on the table."""
_HALVES = ("bfloat16", "float16")


def matmul_limit(dtype: str, rates: Mapping[str, Mapping[str, float]]) -> float | None:
    """GFLOP/s: the best product of any framework in this dtype; None where none was measured.

    In half precision float32 counts as well: it may be widened, which costs little, and where the processor has no
    arithmetic for it the products of the frameworks are far slower than what attention reaches that way.
    """
    found = [*rates.get(dtype, {}).values(), *(rates.get("float32", {}).values() if dtype in _HALVES else ())]
    return max(found, default=None)


def attainable_gflops(
    flops: int,
    moved_bytes: int,
    dtype: str,
    rates: Mapping[str, Mapping[str, float]],
    gb_per_s: Mapping[str, float],
) -> float | None:
    """GFLOP/s that the roofline allows for so many operations on so many bytes (Williams, Waterman, Patterson, 2009).

    The lower of two: the best product, and the operations per byte times the best rate at which memory is read. None where
    no product was measured; without a rate of memory, as in runs that measured none, the product alone. Arrays that stay in
    a cache from one call to the next are read faster than memory: such a case may go beyond this limit.

    Args:
        flops: of one call.
        moved_bytes: of one call.
        dtype: of the case.
        rates: dtype -> framework -> GFLOP/s.
        gb_per_s: framework -> GB/s.

    """
    product, memory = matmul_limit(dtype, rates), max(gb_per_s.values(), default=None)
    if product is None or memory is None or not moved_bytes or not flops:
        return product
    return min(product, flops / moved_bytes * memory)


def memory_is_the_roof(record: Record, state: State) -> bool:
    """Whether memory, not arithmetic, limits the case of a row: GB/s then say how good a time is. False where not known."""
    if not record.flops or not record.moved_bytes:
        return False
    product = matmul_limit(record.dtype, state.matmul_gflops)
    roofs = state.matmul_gflops, state.gb_per_s
    allowed = attainable_gflops(record.flops, record.moved_bytes, record.dtype, *roofs)
    return product is not None and allowed is not None and allowed < product


def far_behind(state: State) -> list[str]:
    """A line for each dtype, and one for memory, in which frameworks reach half of another's rate or less."""
    found = [_behind(f"{dtype} matmul", rates) for dtype, rates in state.matmul_gflops.items()]
    return [line for line in (*found, _behind("reading memory", state.gb_per_s)) if line]


def _behind(what: str, rates: Mapping[str, float]) -> str:
    if not rates:
        return ""
    fast = max(rates, key=lambda name: rates[name])
    slow = [f"{name} at {rate / rates[fast]:.2f}" for name, rate in rates.items() if rate <= FAR_BEHIND * rates[fast]]
    return f"Much is left on the table: {what}: {', '.join(slow)} of {fast}'s rate." if slow else ""
