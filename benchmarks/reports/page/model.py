"""What a page shows, as data: sections of charts, tables and facts over named datasets. Nothing in it is markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Dataset = Mapping[str, Sequence[object]]
"""Column -> values, all columns of one length. None is "not known"."""


class Kind(StrEnum):
    """How the values of a column are written, and that numbers sort as numbers."""

    TEXT = "text"
    COUNT = "count"
    """A whole number."""
    NUMBER = "number"
    """Three significant digits."""
    SECONDS = "seconds"
    BYTES = "bytes"
    SHARE = "share"
    """0.05 is written 5.0%."""
    RATIO = "ratio"
    """1.24 is written 1.24x."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, one line of a tooltip."""

    field: str
    label: str
    kind: Kind = Kind.TEXT
    help: str = ""
    """A sentence for who points at the header."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure, with its numbers as a table under it."""

    id: str
    spec: Mapping[str, Any]
    """Vega-Lite, as `charts.to_spec` makes it."""
    dataset: str
    columns: tuple[Column, ...]
    """Of the tooltip and of the table."""
    caption: str
    described: str
    """For who cannot see it: what is drawn over what."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Column -> the one value that this chart shows."""
    tall: str = "row"
    """The column whose values take a row of the chart each."""
    matrix: tuple[str, str, str] | None = None
    """(rows, columns, words) of a heat map: how it is written where nothing can be drawn."""
    legend: tuple[tuple[str, str], ...] = ()
    """(CSS class, words): what the signs in the chart mean."""


@dataclass(frozen=True, slots=True)
class Table:
    """A sortable table."""

    id: str
    dataset: str
    columns: tuple[Column, ...]
    caption: str
    sort: str = ""
    """Field to sort by at first, with a minus for the largest first; empty: in the order of the data."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Column -> the one value that this table shows."""
    folded: bool = False
    """Shown when its caption is opened."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they are, as a small table that is not filtered."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph between charts and tables."""

    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    id: str
    """In the address of a view: lower case and hyphens."""
    title: str
    lead: tuple[str, ...] = ()
    """Sentences before the first chart."""
    blocks: tuple[Chart | Table | Facts | Note, ...] = ()
    short: str = ""
    """In the list of sections; empty: the title."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A column by which the whole page can be narrowed; of each dataset that has it."""

    field: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All of it."""

    title: str
    intro: tuple[str, ...]
    """Sentences at the top."""
    sections: tuple[Section, ...]
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    filters: tuple[Filter, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    """(name, value) under the intro: the machine, the time, how many cells."""
