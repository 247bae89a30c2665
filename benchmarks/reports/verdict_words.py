"""What all reports of a comparison say in the same words: ratios, intervals, counts, the order of the cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.comparison.verdicts import Exit, Verdict
from benchmarks.reports.text import three_digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.comparison.verdicts import CellComparison, Change, Comparison

FEW = 12
"""So many uneventful cells are shown one by one; more are summed up."""


def name(cell: CellComparison) -> str:
    """Its case, and device and pass where they are not the usual ones."""
    words = [cell.case]
    words += [cell.device] if cell.device != "cpu" else []
    words += [cell.pass_] if cell.pass_ != "forward" else []  # noqa: S105 - the pass, not a password
    return " ".join(words)


def place(cell: CellComparison) -> str:
    """Its name, and its machine where several are compared."""
    return f"{name(cell)} on {cell.machine}" if cell.machine else name(cell)


def machines(comparison: Comparison) -> tuple[str, ...]:
    """Those that are compared; none where each run is of one machine."""
    return tuple(dict.fromkeys(cell.machine for cell in comparison.cells if cell.machine))


def ratio(value: float) -> str:
    """1.034; 12.3 where it is large."""
    if not math.isfinite(value):
        return "endless"
    return f"{value:.3f}" if value < 9.9995 else three_digits(value)


def interval(change: Change) -> str:
    """[1.01, 1.06], or that there is none."""
    if not math.isfinite(change.high):
        return "not known"
    return f"[{_short(change.low)}, {_short(change.high)}]"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else three_digits(value)


def share(value: float) -> str:
    """0.0123 as 1.2%; nothing where no change would have been seen."""
    if not math.isfinite(value):
        return "none"
    return f"{100 * value:.1f}%" if value < 9.995 else ">999%"


def counts(comparison: Comparison) -> str:
    """As in: 2 slower, 1 faster, 30 same, 4 inconclusive; 1 complaint besides time."""
    words = ", ".join(f"{comparison.count(verdict)} {verdict}" for verdict in Verdict)
    complaints = sum(len(cell.complaints) for cell in comparison.cells)
    if complaints:
        words += f"; {complaints} complaint{'s' if complaints > 1 else ''} besides time"
    return words


def conditions(comparison: Comparison) -> str:
    """What a verdict means here."""
    return f"threshold {share(comparison.threshold)}, alpha {comparison.alpha:g} over {comparison.judged} cells"


def headline(comparison: Comparison) -> str:
    """The whole in a few words."""
    match comparison.exit:
        case Exit.REGRESSION:
            worse = len(comparison.worse)
            return f"worse: {worse} of {len(comparison.cells)} cells"
        case Exit.NOT_COMPARABLE:
            if comparison.judged:
                return f"nothing could be seen: {comparison.judged} cells, and no variance to judge them by"
            return "nothing compared: no cell has a time on both sides"
        case Exit.GREEN:
            open_ = comparison.count(Verdict.INCONCLUSIVE)
            return "nothing found slower" + (f", {open_} of {comparison.judged} cells inconclusive" if open_ else "")


def in_order(cells: Sequence[CellComparison]) -> list[CellComparison]:
    """Worse first, then faster, inconclusive, same and those without a verdict; the largest change first in each."""
    return sorted(cells, key=_rank)


_RANKS = {Verdict.FASTER: 2, Verdict.INCONCLUSIVE: 3, Verdict.SAME: 4, None: 5}


def _rank(cell: CellComparison) -> tuple[int, float]:
    size = -abs(math.log(cell.change.ratio)) if cell.change and 0 < cell.change.ratio < math.inf else 0.0
    if cell.verdict is Verdict.SLOWER:
        return (0, size)
    if cell.complaints:
        return (1, size)
    return (_RANKS[cell.verdict], size)


def is_event(cell: CellComparison) -> bool:
    """Whether it is always shown."""
    return cell.is_worse or cell.verdict is Verdict.FASTER


def split(comparison: Comparison, *, everything: bool) -> tuple[list[CellComparison], list[CellComparison]]:
    """Cells with a change to show one by one, and those to sum up, both in order."""
    cells = [cell for cell in in_order(comparison.cells) if cell.change is not None]
    quiet = [cell for cell in cells if not is_event(cell)]
    if everything or len(quiet) <= FEW:
        return cells, []
    return [cell for cell in cells if is_event(cell)], quiet


def summed_up(cells: Sequence[CellComparison]) -> list[str]:
    """As in: 30 same: ratios 0.984 to 1.021; a slowdown of 1.2% to 3.4% would have been seen. A line per verdict."""
    lines = []
    for verdict in (Verdict.INCONCLUSIVE, Verdict.SAME):
        changes = [cell.change for cell in cells if cell.verdict is verdict and cell.change is not None]
        if not changes:
            continue
        ratios = [change.ratio for change in changes]
        line = f"{len(changes)} {verdict}: ratios {ratio(min(ratios))} to {ratio(max(ratios))}"
        seen = sorted(change.smallest_visible for change in changes)
        if math.isfinite(seen[0]):
            line += f"; a slowdown of {share(seen[0])} to {share(seen[-1])} would have been seen"
        lines.append(line)
    return lines


def without_verdict(comparison: Comparison) -> list[CellComparison]:
    """Cells that have neither a verdict nor a complaint: unsupported, new, failing before and now."""
    return [cell for cell in comparison.cells if cell.verdict is None and not cell.complaints]
