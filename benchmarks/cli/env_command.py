"""`env`: the fingerprint."""

from __future__ import annotations

import json

from backends import registry
from benchmarks.cli.options import Format
from benchmarks.errors import UsageError
from benchmarks.harness.environment import fingerprint
from benchmarks.harness.session import Session, usual_workers
from benchmarks.harness.steering import neutral_clears
from benchmarks.reports.terminal import console


def print_environment(format: Format) -> None:
    """Start each framework's worker for its version and settings, and print all of it."""
    if format not in (Format.JSON, Format.TABLE):
        raise UsageError(f"env prints json or table, not {format}")
    with Session(usual_workers(registry.names())) as session:
        session.launch()
        found = fingerprint(session.greetings()) | {"neutral_clears": list(neutral_clears())}
    out = console()
    if format is Format.JSON:
        out.file.write(json.dumps(found, indent=1) + "\n")
        return
    for name, value in found.items():
        for line in _lines(name, value):
            out.print(line)


def _lines(name: str, value: object) -> list[str]:
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _lines(f"{name}.{key}", inner)]
    return [f"{name} = {value}"]
