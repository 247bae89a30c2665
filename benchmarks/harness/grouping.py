"""Which cases are held ready at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.room import free_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.cases import Case

COPIES = 1.5
"""Of inputs and output that an implementation holds while it waits for its turn."""


def fitting_groups(cases: Iterable[Case], held_bytes: Callable[[Case], float]) -> list[list[Case]]:
    """As many cases together as fit a quarter of the free memory, all of them if possible.

    The longer the stretch over which the turns of a cell are spread, the less a slow or fast minute of the machine
    decides about it.
    """
    budget = free_bytes() / 4
    groups: list[list[Case]] = [[]]
    held = 0.0
    for case in cases:
        need = held_bytes(case)
        if groups[-1] and held + need > budget:
            groups.append([])
            held = 0.0
        groups[-1].append(case)
        held += need
    return groups
