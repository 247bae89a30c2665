"""Which machine of the one run is held against which of the other: times of two machines are never one cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.comparison.comparability import NotComparable, differences
from benchmarks.comparison.side import Side

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Pair:
    """The two sides of one machine; where only one run has it, the other side is empty."""

    machine: str
    """Empty where each run is of one machine only."""
    a: Side
    b: Side

    def named(self, notes: Iterable[str]) -> list[str]:
        """Notes on this machine, with its name where there are others."""
        return [f"{self.machine}: {note}" if self.machine else note for note in notes]


def pair_up(a: Mapping[str, Side], b: Mapping[str, Side]) -> list[Pair]:
    """Two runs of one machine each are a pair, whatever their names; else each machine is held against itself.

    NotComparable where the runs share no machine.
    """
    if len(a) == len(b) == 1:
        return [Pair("", next(iter(a.values())), next(iter(b.values())))]
    if not a.keys() & b.keys():
        names = [", ".join(name or "not recorded" for name in side) for side in (a, b)]
        raise NotComparable(f"not comparable, they share no machine ({names[0]} / {names[1]})")
    label_a, label_b = (next(iter(side.values())).label for side in (a, b))
    return [
        Pair(name or "machine not recorded", a.get(name) or _nothing(label_a), b.get(name) or _nothing(label_b))
        for name in dict.fromkeys((*a, *b))
    ]


def check_pairs(pairs: Sequence[Pair], *, force: bool) -> tuple[str, ...]:
    """Notes for the reader. NotComparable, naming the machine, where a pair differs in what may not differ."""
    notes: list[str] = []
    for pair in pairs:
        if pair.machine and not (pair.a.records and pair.b.records):
            side = "candidate" if pair.a.records else "baseline"
            notes += pair.named([f"the {side} has no cell of this machine"])
            continue
        try:
            notes += pair.named(differences(pair.a, pair.b).check(force=force))
        except NotComparable as error:
            raise NotComparable(f"{error} (on {pair.machine})" if pair.machine else str(error)) from None
    return tuple(notes)


def _nothing(label: str) -> Side:
    return Side(label=label, records={}, logs={})
