"""One self-contained HTML page: header, style, Vega bundle, theme switch, filters, sortable tables, charts.

Whoever has something to show describes it as data and lets `render_page` write it:

    cells = {"case": ["self-128", ...], "framework": [...], "median_s": [...]}        # a dataset: column -> values
    columns = (Column("case", "case"), Column("median_s", "median", Kind.SECONDS))
    page = Page(
        title="attnbench: ...",
        intro=("What a reader has to know in ten seconds.", ...),
        sections=(
            Section("heat-map", "What wins where", blocks=(Chart("heat-map", spec, "cells", columns, caption, described),)),
            Section("cells", "All cells", lead=("...",), blocks=(Table("cells", "cells", columns, caption),)),
        ),
        datasets={"cells": cells},
        filters=(Filter("framework", "framework"), Filter("dtype", "dtype")),
    )
    html = render_page(page)

A chart is a Vega-Lite specification whose data is named after a dataset (`alt.Chart(alt.NamedData("cells"))`, see
`charts.to_spec`); filters, tooltips, the theme and the table under each chart are the page's. All text is foreign until it has
been escaped, and is escaped here and nowhere else: nothing in a Page is markup.
"""

from __future__ import annotations

from benchmarks.reports.page.model import Chart, Column, Facts, Filter, Kind, Note, Page, Section, Table
from benchmarks.reports.page.render import render_page

__all__ = ["Chart", "Column", "Facts", "Filter", "Kind", "Note", "Page", "Section", "Table", "render_page"]
