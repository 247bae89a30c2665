"""The conformance matrix in the terminal, and in a few lines what does not conform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from benchmarks.conformance.check import BAD
from benchmarks.conformance.probes import BY_NAME
from benchmarks.conformance.probing import Verdict
from benchmarks.reports.text import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from benchmarks.conformance.check import Matrix

MARKS = {
    Verdict.PASS: ("+", "green"),
    Verdict.REFUSED: (".", "dim"),
    Verdict.DEVIATES: ("d", "yellow"),
    Verdict.FAIL: ("X", "bold red"),
    Verdict.ERROR: ("E", "bold red"),
}
LEGEND = "+ conforms   . refuses, with a reason   d deviates, as declared   X wrong or undeclared   E error"


_NAMES = 29
"""Columns that the implementations' names take; each probe takes two of the rest."""


@dataclass(frozen=True, slots=True)
class _Letters:
    """Implementations down, probes across, in as many tables as the width asks for."""

    matrix: Matrix

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        most = max(1, (options.max_width - _NAMES) // 2)
        probes = self.matrix.probes
        parts = -(-len(probes) // most)
        size = -(-len(probes) // max(parts, 1))
        for start in range(0, len(probes), size or 1):
            yield from _part(self.matrix, probes[start : start + size])
            yield Text("")
        yield Text(LEGEND, style="dim")


def matrix_table(matrix: Matrix) -> RenderableType:
    """Implementations down, probes across, one letter each; the probes' names stand upright to fit the width."""
    return _Letters(matrix)


def _part(matrix: Matrix, names: Sequence[str]) -> list[Text]:
    height = max(len(name) for name in names)
    upright = (" ".join(name.rjust(height)[row] for name in names) for row in range(height))
    lines = [Text(" " * _NAMES + line, style="dim") for line in upright]
    for implementation in matrix.implementations:
        line = Text(implementation[: _NAMES - 2].ljust(_NAMES))
        for name in names:
            mark, style = MARKS[matrix.answers[implementation, name].verdict]
            line.append(mark + " ", style=style)
        lines.append(line)
    return lines


def summary_lines(matrix: Matrix) -> list[Text]:
    """What failed, in full; what deviates; and the count."""
    bad = [a for a in matrix.answers.values() if a.verdict in BAD]
    lines = [
        Text(f"{a.implementation}  {a.probe} ({BY_NAME[a.probe].says}): {harmless(a.reason)}", style="red") for a in bad
    ]
    declared = [a for a in matrix.answers.values() if a.verdict is Verdict.DEVIATES]
    lines += [Text(f"{a.implementation}  {a.probe}: {harmless(a.reason)} (declared)", style="yellow") for a in declared]
    counts = {verdict: sum(a.verdict is verdict for a in matrix.answers.values()) for verdict in Verdict}
    words = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    if not matrix.is_whole:
        told = f"Interrupted: {len(matrix.answers)} of {matrix.asked} answers" + (f": {words}" if words else "")
        return [*lines, Text(f"{told}. No file was written.")]
    lines.append(
        Text(f"{len(matrix.answers)} answers: {words}. " + ("Conforms." if matrix.conforms else "Does not conform."))
    )
    return lines
