"""`check`: conformance, as a list of what does not conform and, if asked, the whole matrix."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from typing import TYPE_CHECKING

from rich.text import Text

from backends import registry
from benchmarks.cli.options import resolve_environment, resolve_plugins
from benchmarks.conformance.check import check
from benchmarks.conformance.probes import PROBES
from benchmarks.errors import INTERRUPTED, UsageError
from benchmarks.files import write_atomically
from benchmarks.harness.threads import thread_notes, with_threads
from benchmarks.plan import asked_frameworks, check_device, check_installed, select_implementations
from benchmarks.reports.conformance import changes_since, conformance_csv, conformance_page
from benchmarks.reports.matrix import matrix_table, summary_lines
from benchmarks.reports.progress import checking
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def check_conformance(
    matrix: bool,
    json_file: Path | None,
    files: Mapping[str, Path | None],
    against: Path | None,
    implementations: list[str],
    frameworks: list[str],
    device: str,
    plugin_paths: list[Path] | None,
    quiet: bool,
    env: list[str] | None,
) -> int:
    """Ask everything, print, and return the exit status.

    `files`: "page" and "csv" -> where to write them. `against`: a conformance.csv; a verdict that changed since is an error.
    """
    check_device(device)
    neutral, variables = resolve_environment(env)
    threads, variables = with_threads(None, (), neutral=neutral, variables=variables)
    plugins, plugged = resolve_plugins(plugin_paths, frameworks, implementations)
    chosen = select_implementations(frameworks, implementations, device, plugged, suite=None)
    asked = asked_frameworks(frameworks, implementations)
    check_installed(asked)
    by_framework: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for framework, path in plugins:
        by_framework[framework] += (path,)
    with checking(quiet=quiet, asked=len(chosen) * len(PROBES)) as show:
        found = check(
            chosen, device, asked=asked, plugins=by_framework, show=show, neutral=neutral, variables=variables
        )
    out = console()
    for note in thread_notes(threads, (), neutral=neutral, variables=variables):
        out.print(Text(f"note: {harmless(note)}", style="dim"))
    if matrix and found.is_whole:
        out.print(matrix_table(found))
    for line in summary_lines(found):
        out.print(line)
    if not found.is_whole:
        return INTERRUPTED
    changed = [] if against is None else changes_since(against, found)
    for change in changed:
        out.print(Text(f"changed since {against}: {harmless(change)}", style="bold red"))
    declared = {id: i.deviations for id, i in registry.implementations().items()}
    written = {"page": lambda: conformance_page(found, declared), "csv": lambda: conformance_csv(found)}
    for kind, file in files.items():
        if file is not None:
            _write(file, written[kind]())
    if json_file is not None:
        answers = [dataclasses.asdict(answer) for answer in found.answers.values()]
        told = found.greetings.values()
        versions = {g.framework: g.version for g in told}
        had = {g.framework: dict(g.variables) for g in told}
        everything = {"schema_version": 1, "versions": versions, "variables": had, "answers": answers}
        _write(json_file, json.dumps(everything, indent=1) + "\n")
    return 0 if found.conforms and not changed else 1


def _write(file: Path, text: str) -> None:
    try:
        write_atomically(file, text)
    except OSError as error:
        raise UsageError(f"cannot write to {file}: {error.strerror or error}") from None
