"""From a path to a side: a run folder, a summary.csv, or pytest-benchmark's JSON. Files are data: reading one runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.comparison.pytest_json import parse_pytest_benchmark
from benchmarks.comparison.side import CoreSpeed, Side
from benchmarks.comparison.summaries import parse_summary
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import SMALL_BYTES, parse_json, read_bytes, read_text

if TYPE_CHECKING:
    from pathlib import Path

SUMMARY, SAMPLES, ENVIRONMENT = "summary.csv", "samples.csv", "environment.json"
_TABLES = ("machine", "variables", "revision", "frameworks", "matmul_gflops")
_TABLES_OF_TABLES = ("frameworks", "matmul_gflops")
_SCHEMA_VERSION = 1
_LOOK_BYTES = 4096
"""So far into a file it is looked for the brace of a JSON."""


def read_side(path: Path) -> Side:
    """UnreadableResults says which file, which line and what was expected."""
    file = path / SUMMARY if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise UnreadableResults(f"{path} holds no {SUMMARY}: it is no run folder, or its run has not ended")
    data = read_bytes(file)
    if file.suffix == ".json" or data[:_LOOK_BYTES].lstrip().startswith(b"{"):
        del data
        return parse_pytest_benchmark(read_text(file), file, str(path))
    records = parse_summary(data, str(file))
    del data
    # Files lie beside a summary.csv that has kept its name; any other CSV stands alone.
    folder = file.parent if file.name == SUMMARY else None
    samples = None
    environment: dict[str, Any] = {}
    if folder is not None and (folder / ENVIRONMENT).exists():
        environment = _environment(folder / ENVIRONMENT)
    if folder is not None and (folder / SAMPLES).exists():
        from benchmarks.comparison.samples import parse_samples

        file = folder / SAMPLES
        samples = parse_samples(read_bytes(file), str(file), records, one_core=len(environment.get("cpus", ())) == 1)
    if samples is None:
        return Side(label=str(path), records=records, logs={}, environment=environment)
    speed = CoreSpeed(samples.slopes, samples.log_quiet)
    return Side(label=str(path), records=records, logs=samples.logs, environment=environment, speed=speed)


def _environment(file: Path) -> dict[str, Any]:
    """environment.json, with tables where others expect tables."""
    found = parse_json(read_text(file, SMALL_BYTES), str(file))
    if not isinstance(found, dict):
        raise UnreadableResults(f"{file} is {type(found).__name__}, expected an object")
    if found.get("schema_version") != _SCHEMA_VERSION:
        raise UnreadableResults(f"{file}: schema_version {found.get('schema_version')!r}, expected {_SCHEMA_VERSION}")
    for name in _TABLES:
        table = found.get(name, {})
        if not isinstance(table, dict):
            raise UnreadableResults(f"{file}: {name} is {type(table).__name__}, expected an object")
        if name in _TABLES_OF_TABLES and not all(isinstance(inner, dict) for inner in table.values()):
            raise UnreadableResults(f"{file}: {name} holds what is no object")
    if not isinstance(found.get("cpus", []), list):
        raise UnreadableResults(f"{file}: cpus is {type(found['cpus']).__name__}, expected a list")
    for name, told in found.get("frameworks", {}).items():
        for kind in ("settings", "variables", "own_variables"):
            if not isinstance(told.get(kind, {}), dict):
                raise UnreadableResults(f"{file}: the {kind} of {name} are no object")
    return found
