"""What pytest-benchmark writes with --benchmark-json, as a side: its extra_info names the cell, its rounds are one process."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.plain_json import finite
from benchmarks.comparison.side import Side
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import parse_json
from benchmarks.records import Record, Status

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.comparison.side import Key

_NEEDED = ("case", "implementation")
_TEXTS = (
    "causal",
    "window",
    "mask",
    "bias",
    "kv_lengths",
    "threads",
    "layout",
    "matmul_precision",
    "jit",
    "lowered",
    "kernel",
)
_NUMBERS = ("softcap", "scale", "error_over_bound")
_MACHINE = {"architecture": "machine", "system": "system", "kernel": "release"}
"""Our name of a machine's field -> pytest-benchmark's."""


def parse_pytest_benchmark(text: str, file: Path, label: str) -> Side:
    """A side. Times are seconds per call; where the rounds were not saved (--benchmark-save-data), the median stands alone."""
    data = parse_json(text, str(file))
    benchmarks = data.get("benchmarks") if isinstance(data, dict) else None
    if not isinstance(benchmarks, list) or not benchmarks:
        raise UnreadableResults(f"{file} holds no list named benchmarks, expected what --benchmark-json writes")
    records: dict[Key, Record] = {}
    logs: dict[Key, tuple[float, ...]] = {}
    for number, benchmark in enumerate(benchmarks, start=1):
        where = f"{file}, benchmark {number}"
        rounds = _rounds(benchmark, where)
        record = _record(benchmark, rounds, file, where)
        if record.key in records:
            raise UnreadableResults(f"{where}: {' '.join(record.key)} is here twice, expected each cell once")
        records[record.key] = record
        if record.status is Status.OK:
            logs[record.key] = (statistics.median(map(math.log, rounds)),)
    return Side(label=label, records=records, logs=logs, environment=_environment(data))


def _rounds(benchmark: Any, where: str) -> list[float]:
    stats = benchmark.get("stats") if isinstance(benchmark, dict) else None
    if not isinstance(stats, dict):
        raise UnreadableResults(f"{where} has no stats")
    rounds = stats.get("data") or [stats.get("median")]
    if not isinstance(rounds, list):
        raise UnreadableResults(f"{where}: stats.data is {type(rounds).__name__}, expected a list of seconds")
    return [_seconds(value, where) for value in rounds]


def _seconds(value: object, where: str) -> float:
    seconds = finite(value)
    if seconds is None or seconds <= 0:
        raise UnreadableResults(f"{where}: a time of {str(value)[:40]}, expected seconds above 0")
    return seconds


def _record(benchmark: dict[str, Any], rounds: list[float], file: Path, where: str) -> Record:
    extra = benchmark.get("extra_info")
    if not isinstance(extra, dict):
        extra = {}
    for name in _NEEDED:
        if not isinstance(extra.get(name), str) or not extra[name]:
            raise UnreadableResults(
                f"{where}: extra_info names no {name}, expected a file written by benchmarks/bench_*.py"
            )
    try:
        status = Status(extra.get("status", "ok"))
    except ValueError:
        raise UnreadableResults(f"{where}: status {extra['status']!r}, expected {', '.join(Status)}") from None
    is_ok = status is Status.OK
    # What the file does not say is 0 or empty, and no difference to one that does.
    sizes = {letter: extra.get(letter) for letter in "BTSNKHV"}
    told: dict[str, Any] = {letter: size if isinstance(size, int) else 0 for letter, size in sizes.items()}
    told |= {name: extra[name] for name in _TEXTS if isinstance(extra.get(name), str)}
    told |= {name: _at_least_0(extra[name], f"{where}: {name}") for name in _NUMBERS if extra.get(name) is not None}
    return Record(
        **told,
        run_id=file.stem,
        suite="pytest-benchmark",
        case=extra["case"],
        framework=extra["implementation"].partition("/")[0],
        implementation=extra["implementation"],
        device=str(extra.get("device", "cpu")),
        pass_=str(extra.get("pass", "forward")),
        dtype=str(extra.get("dtype", "")),
        status=status,
        reason="" if is_ok else str(extra.get("reason") or "no reason given"),
        median_s=statistics.median(rounds) if is_ok else None,
        blocks=len(rounds) if is_ok else None,
        processes=1 if is_ok else None,
    )


def _at_least_0(value: object, where: str) -> float:
    number = finite(value)
    if number is None or number < 0:
        raise UnreadableResults(f"{where}={str(value)[:40]}, expected a number of at least 0")
    return number


def _environment(data: dict[str, Any]) -> dict[str, Any]:
    """What pytest-benchmark says of the machine, under our names."""
    machine, commit = data.get("machine_info"), data.get("commit_info")
    found: dict[str, Any] = {}
    if isinstance(machine, dict):
        found["machine"] = {ours: machine[theirs] for ours, theirs in _MACHINE.items() if theirs in machine}
        found["python"] = str(machine.get("python_version", ""))
        cpu = machine.get("cpu")
        if isinstance(cpu, dict) and "brand_raw" in cpu:
            found["machine"]["cpu"] = cpu["brand_raw"]
        if isinstance(cpu, dict) and "count" in cpu:
            found["machine"]["cores_logical"] = cpu["count"]
    if isinstance(commit, dict) and commit.get("id"):
        found["revision"] = {"commit": commit["id"]}
    return found
