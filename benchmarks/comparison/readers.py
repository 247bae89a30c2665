"""From a path to a side: a run folder, a summary.csv, or pytest-benchmark's JSON. Files are data: reading one runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.comparison.pytest_json import parse_pytest_benchmark
from benchmarks.comparison.side import CoreSpeed, Side
from benchmarks.comparison.summaries import parse_summary
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import LARGE_BYTES, parse_json, read_bytes, read_text
from benchmarks.harness.environment import machine_id

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.comparison.samples import Samples
    from benchmarks.comparison.side import Key
    from benchmarks.records import Record

SUMMARY, SAMPLES, ENVIRONMENT = "summary.csv", "samples.csv", "environment.json"
_TABLES = ("machine", "variables", "revision", "frameworks", "matmul_gflops")
_TABLES_OF_TABLES = ("frameworks", "matmul_gflops")
_SCHEMA_VERSION = 1
_LOOK_BYTES = 4096
"""So far into a file it is looked for the brace of a JSON."""


def read_side(path: Path) -> Side:
    """A run of one machine. UnreadableResults says which file, which line and what was expected."""
    found = read_machines(path)
    if len(found) > 1:
        raise UnreadableResults(f"{path} is of {len(found)} machines, expected a run of one: {', '.join(found)}")
    return next(iter(found.values()))


def read_machines(path: Path) -> dict[str, Side]:
    """Machine -> what was measured on it; one for most runs, named "" where neither rows nor environment tell.

    UnreadableResults says which file, which line and what was expected.
    """
    file = path / SUMMARY if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise UnreadableResults(f"{path} holds no {SUMMARY}: it is no run folder, or its run has not ended")
    data = read_bytes(file)
    if file.suffix == ".json" or data[:_LOOK_BYTES].lstrip().startswith(b"{"):
        del data
        return {"": parse_pytest_benchmark(read_text(file), file, str(path))}
    machines = parse_summary(data, str(file))
    del data
    # Files lie beside a summary.csv that has kept its name; any other CSV stands alone.
    folder = file.parent if file.name == SUMMARY else None
    environments: dict[str, dict[str, Any]] = {}
    if folder is not None and (folder / ENVIRONMENT).exists():
        environments = read_environments(folder / ENVIRONMENT)
        if (
            len(machines) == 1 and len(environments) == 1
        ):  # rows from before machines were named take the name from there
            machines = {next(iter(machines)) or next(iter(environments)): next(iter(machines.values()))}
            environments = dict(zip(machines, environments.values(), strict=True))
    samples: dict[str, Samples] = {}
    if folder is not None and (folder / SAMPLES).exists():
        from benchmarks.comparison.samples import parse_samples

        file = folder / SAMPLES
        one_core = [machine for machine, known in environments.items() if len(known.get("cpus", ())) == 1]
        samples = parse_samples(read_bytes(file), str(file), machines, one_core)
    return {
        machine: _side(str(path), records, environments.get(machine, {}), samples.get(machine))
        for machine, records in machines.items()
    }


def _side(label: str, records: dict[Key, Record], environment: dict[str, Any], samples: Samples | None) -> Side:
    if samples is None:
        return Side(label=label, records=records, logs={}, environment=environment)
    speed = CoreSpeed(samples.slopes, samples.log_quiet)
    return Side(
        label=label, records=records, logs=samples.logs, environment=environment, speed=speed, laps=samples.laps
    )


def read_environments(file: Path) -> dict[str, dict[str, Any]]:
    """Machine -> its environment, with tables where others expect tables. UnreadableResults."""
    return parse_environments(read_text(file, LARGE_BYTES), str(file))


def parse_environments(text: str, file: str) -> dict[str, dict[str, Any]]:
    """The same from the text of an environment.json."""
    found = parse_json(text, file)
    if not isinstance(found, dict):
        raise UnreadableResults(f"{file} is {type(found).__name__}, expected an object")
    machines = found.get("machines")
    if machines is None:
        _check(found, str(file))
        return {machine_id(found["machine"]) if found.get("machine") else "": found}
    if not isinstance(machines, dict) or not all(isinstance(known, dict) for known in machines.values()):
        raise UnreadableResults(f"{file}: machines is no object of objects")
    for machine, known in machines.items():
        _check(known, f"{file}, machine {machine}")
    return machines


def _check(found: dict[str, Any], where: str) -> None:
    if found.get("schema_version") != _SCHEMA_VERSION:
        raise UnreadableResults(f"{where}: schema_version {found.get('schema_version')!r}, expected {_SCHEMA_VERSION}")
    for name in _TABLES:
        table = found.get(name, {})
        if not isinstance(table, dict):
            raise UnreadableResults(f"{where}: {name} is {type(table).__name__}, expected an object")
        if name in _TABLES_OF_TABLES and not all(isinstance(inner, dict) for inner in table.values()):
            raise UnreadableResults(f"{where}: {name} holds what is no object")
    if not isinstance(found.get("cpus", []), list):
        raise UnreadableResults(f"{where}: cpus is {type(found['cpus']).__name__}, expected a list")
    for name, told in found.get("frameworks", {}).items():
        for kind in ("settings", "variables", "own_variables"):
            if not isinstance(told.get(kind, {}), dict):
                raise UnreadableResults(f"{where}: the {kind} of {name} are no object")
