"""`check`: conformance, as a list of what does not conform and, if asked, the whole matrix."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path

from benchmarks.cli.options import resolve_plugins
from benchmarks.conformance.check import check
from benchmarks.errors import UsageError
from benchmarks.plan import asked_frameworks, check_device, check_installed, select_implementations
from benchmarks.reports.matrix import matrix_table, summary_lines
from benchmarks.reports.progress import checking
from benchmarks.reports.terminal import console


def check_conformance(
    matrix: bool,
    json_file: Path | None,
    implementations: list[str],
    frameworks: list[str],
    device: str,
    plugin_paths: list[Path] | None,
    quiet: bool,
) -> int:
    """Ask everything, print, and return the exit status."""
    check_device(device)
    plugins, plugged = resolve_plugins(plugin_paths)
    chosen = select_implementations(frameworks, implementations, device, plugged)
    asked = asked_frameworks(frameworks, implementations)
    check_installed(asked)
    by_framework: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for framework, path in plugins:
        by_framework[framework] += (path,)
    with checking(quiet=quiet) as show:
        found = check(chosen, device, asked=asked, plugins=by_framework, show=show)
    out = console()
    if matrix:
        out.print(matrix_table(found))
    for line in summary_lines(found):
        out.print(line)
    if json_file is not None:
        answers = [dataclasses.asdict(answer) for answer in found.answers.values()]
        versions = {g.framework: g.version for g in found.greetings.values()}
        text = json.dumps({"schema_version": 1, "versions": versions, "answers": answers}, indent=1)
        try:
            json_file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write to {json_file}: {error.strerror or error}") from None
    return 0 if found.conforms else 1
