"""The same page as Markdown: its sentences and tables, and matrices for heat maps; other charts are left to HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.reports.page.model import Chart, Column, Facts, Kind, Note, Table
from benchmarks.reports.page.render import told_columns
from benchmarks.reports.text import prose, seconds, three_digits
from benchmarks.reports.verdict_words import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.reports.page.model import Dataset, Page

_MOST_ROWS = 1000


def markdown_page(page: Page) -> str:
    """Of everything foreign the markup is escaped."""
    lines = [f"# {prose(page.title)}", "", *_paragraphs(page.intro)]
    if page.facts:
        lines += [*(f"- {prose(name)}: {prose(value)}" for name, value in page.facts), ""]
    for section in page.sections:
        lines += [f"## {prose(section.title)}", "", *_paragraphs(section.lead)]
        for block in section.blocks:
            match block:
                case Note():
                    lines += _paragraphs([block.text])
                case Facts():
                    lines += [prose(block.caption), "", *_table(block.head, block.rows)]
                case Table():
                    lines += [prose(block.caption), "", *_rows(block, page.datasets[block.dataset])]
                case Chart() if block.matrix:
                    lines += [prose(block.caption), "", *_matrix(block.matrix, page.datasets[block.dataset])]
                    lines += [*(f"- {prose(words)}" for _, words in block.legend), ""] if block.legend else []
                case Chart():
                    pass
    return "\n".join(lines).rstrip() + "\n"


def _paragraphs(sentences: Iterable[str]) -> list[str]:
    return [line for sentence in sentences for line in (prose(sentence), "")]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[bool] = ()) -> list[str]:
    marks = ["---:" if place < len(right) and right[place] else "---" for place in range(len(head))]
    lines = [f"| {' | '.join(map(prose, head))} |", f"| {' | '.join(marks)} |"]
    return [*lines, *(f"| {' | '.join(map(prose, row))} |" for row in rows), ""]


def _rows(table: Table, dataset: Dataset) -> list[str]:
    columns = told_columns(table.columns, dataset)
    places = [
        place
        for place in range(len(next(iter(dataset.values()), ())))
        if all(dataset[name][place] == value for name, value in table.only.items())
    ]
    field = table.sort.removeprefix("-")
    if field in dataset:
        values: Sequence[Any] = dataset[field]
        places.sort(key=lambda place: (values[place] is None, values[place] if values[place] is not None else 0))
        if table.sort.startswith("-"):
            places.reverse()
    rows = ([_formatted(dataset[c.field][place], c) for c in columns] for place in places[:_MOST_ROWS])
    lines = _table([c.label for c in columns], rows, [c.kind is not Kind.TEXT for c in columns])
    more = len(places) - _MOST_ROWS
    return [*lines, f"... and {more:,} more rows", ""] if more > 0 else lines


def _matrix(names: tuple[str, str, str], dataset: Dataset) -> list[str]:
    """(rows, columns, words): one line for each value of the first."""
    down, across, words = (dataset[name] for name in names)
    columns = list(dict.fromkeys(str(value) for value in across))
    if "rank" in dataset:
        rank: Mapping[str, Any] = dict(zip(map(str, across), dataset["rank"], strict=True))
        columns.sort(key=lambda name: rank[name])
    cells: dict[str, dict[str, str]] = {}
    for row, column, word in zip(down, across, words, strict=True):
        cells.setdefault(str(row), {})[str(column)] = str(word)
    shown = [[row, *(of.get(column, "") for column in columns)] for row, of in list(cells.items())[:_MOST_ROWS]]
    return _table(["", *columns], shown, [False, *([True] * len(columns))])


_FORMATS: Mapping[Kind, Callable[[Any], str]] = {
    Kind.TEXT: str,
    Kind.COUNT: lambda value: f"{value:,}",
    Kind.NUMBER: lambda value: f"{value:.3g}",
    Kind.SECONDS: seconds,
    Kind.BYTES: lambda value: f"{three_digits(value / 1e6)} MB",
    Kind.SHARE: share,
    Kind.RATIO: three_digits,
}


def _formatted(value: object, column: Column) -> str:
    return "" if value is None or value == "" else _FORMATS[column.kind](value)
