"""Tables of one line a row, of columns with fixed widths: on a narrow terminal whole columns go, the least telling first.

rich's own Table measures and wraps each cell, 2 ms a row: 50,000 cells would take minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.style import Style

_NARROWEST = 8
"""What is left of a column of names where the terminal has no room at all."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; its width is what it has where there is room."""

    name: str
    width: int
    rank: int = 0
    """Where the line is too narrow the highest goes first; 0 stays."""
    names: bool = False
    """Text, to the left, that may be cut where nothing else helps; numbers stand to the right."""
    most: int = 0
    """How wide names may grow where there is room left over; 0: not wider."""
    least: int = 0
    """How wide names are at least, where other tables of the same columns need it."""
    brief: str = ""
    """Its name where the line is narrow; empty: the same."""
    brief_width: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One line. Its cells are text that is harmless already."""

    cells: Sequence[str]
    style: str = ""


@dataclass(slots=True)
class Columns:
    """A table for rich to print, as wide as the console is."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    gap: int = 2
    header: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A line for the header and one for each row."""
        fitted = list(self.fit(options.max_width).items())
        if self.header:
            names = [_padded(name, width, left) for _, (name, width, left) in fitted]
            yield from self._line(names, console.get_style("dim"))
        for row in self.rows:
            parts = [_padded(row.cells[place], width, left) for place, (_, width, left) in fitted]
            yield from self._line(parts, console.get_style(row.style) if row.style else None)

    def _line(self, parts: Sequence[str], style: Style | None) -> Iterator[Segment]:
        yield Segment((" " * self.gap).join(parts).rstrip(), style)
        yield Segment.line()

    def fit(self, width: int) -> dict[int, tuple[str, int, bool]]:
        """Place of each column that is shown -> its name, its width, whether it holds names."""
        longest = self._longest()
        for brief in (False, True):
            chosen = [
                (place, c.brief if brief and c.brief else c.name, c.brief_width if brief and c.brief else c.width)
                for place, c in enumerate(self.columns)
            ]
            least = {
                place: max(self.columns[place].least, min(full, longest[place])) if self.columns[place].names else full
                for place, _, full in chosen
            }
            if self._total(least) <= width:
                break
        while self._total(least) > width:
            last = max(least, key=lambda place: self.columns[place].rank)
            if not self.columns[last].rank:
                break
            del least[last]
        spare = width - self._total(least)
        found = {}
        for place, name, full in chosen:
            if place not in least:
                continue
            own = least[place]
            if self.columns[place].names:
                most = max(full, min(longest[place], self.columns[place].most))
                own = max(min(_NARROWEST, own), min(most, own + spare))
                spare -= own - least[place]
            found[place] = (name, own, self.columns[place].names)
        return found

    def _longest(self) -> dict[int, int]:
        """Of each column of names."""
        places = [place for place, column in enumerate(self.columns) if column.names]
        texts = {place: max((cell_len(row.cells[place]) for row in self.rows), default=0) for place in places}
        return {place: max(size, cell_len(self.columns[place].name)) for place, size in texts.items()}

    def _total(self, widths: dict[int, int]) -> int:
        return sum(widths.values()) + self.gap * max(0, len(widths) - 1)


def _padded(text: str, width: int, names: bool) -> str:
    size = len(text) if text.isascii() else cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…"
    return text + " " * (width - size) if names else " " * (width - size) + text
