"""What `compare` and `ab` print and keep of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cli.options import Format
from benchmarks.errors import UsageError
from benchmarks.reports.terminal import console
from benchmarks.reports.verdict_formats import VERDICT_FORMATS
from benchmarks.reports.verdicts import verdict_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.comparison.verdicts import Comparison

SUFFIXES = {".md": "markdown", ".csv": "csv", ".json": "json", ".xml": "junit", ".txt": "github", ".html": "page"}
"""Of the files that --save-as writes: which form each gets."""


def check_suffixes(files: Sequence[Path]) -> None:
    """UsageError for a file whose form cannot be told, before anything is measured."""
    for file in files:
        if file.suffix not in SUFFIXES:
            known = ", ".join(f"{suffix} ({form})" for suffix, form in SUFFIXES.items())
            raise UsageError(f"--save-as {file}: suffix {file.suffix!r}, expected one of {known}")


def save_comparison(comparison: Comparison, files: Sequence[Path]) -> None:
    """Write each file in the form that its suffix says. UsageError where one cannot be written."""
    for file in files:
        text = _page(comparison) if file.suffix == ".html" else VERDICT_FORMATS[SUFFIXES[file.suffix]](comparison)
        part = file.with_name(file.name + ".part")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(file)
        except OSError as error:
            raise UsageError(f"cannot write {file}: {error.strerror or error}") from None


def _page(comparison: Comparison) -> str:
    from benchmarks.reports.page.render import render_page
    from benchmarks.reports.page.verdict_page import verdict_page

    return render_page(verdict_page(comparison))


def print_comparison(comparison: Comparison, format: Format, *, show_all: bool) -> None:
    """On stdout."""
    out = console()
    if format is Format.TABLE:
        out.print(verdict_table(comparison, everything=show_all))
    else:
        out.file.write(VERDICT_FORMATS[format](comparison, everything=show_all))
