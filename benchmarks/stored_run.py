"""A run as it lies on disk: its cells, what it knew of the machine, and the problems behind its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.problem import InvalidProblem, Semantics, Shape
from benchmarks.cases import Case
from benchmarks.comparison.plain_json import finite
from benchmarks.comparison.readers import ENVIRONMENT, SUMMARY, read_environments
from benchmarks.comparison.summaries import parse_summary
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import read_bytes
from benchmarks.harness.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.records import Record


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What `run` printed, to be printed again."""

    path: Path
    records: list[Record]
    """In the order of the file."""
    environment: Mapping[str, Any]
    """As in environment.json; empty where there is none, or one of several machines."""
    state: State
    """What the environment tells of the run: limits, handicaps, how long it took; in a run of several machines of each."""

    @property
    def run_id(self) -> str:
        """As its rows have it."""
        return self.records[0].run_id


def read_stored(path: Path) -> StoredRun:
    """A run folder or its summary.csv, with the environment.json beside it. UnreadableResults says what is wrong, and where."""
    file = path / SUMMARY if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise UnreadableResults(f"{path} holds no {SUMMARY}: it is no run folder, or its run has not ended")
    machines = parse_summary(read_bytes(file), str(file))
    records = [record for cells in machines.values() for record in cells.values()]
    beside = file.with_name(ENVIRONMENT)
    alone = file.name != SUMMARY or not beside.exists()  # any other CSV stands alone
    environments = {} if alone else read_environments(beside)
    if len(environments) == 1:
        environment = next(iter(environments.values()))
        return StoredRun(path, records, environment, _state(environment, beside))
    state = State(machines={machine: _state(known, beside) for machine, known in environments.items()})
    return StoredRun(path, records, {}, state)


def _state(environment: Mapping[str, Any], file: Path) -> State:
    state = State()
    for dtype, rates in environment.get("matmul_gflops", {}).items():
        state.matmul_gflops[dtype] = _rates(rates, f"{file}: matmul_gflops of {dtype}")
    state.gb_per_s = _rates(environment.get("stream_gb_per_s", {}), f"{file}: stream_gb_per_s")
    state.call_overhead_s = _rates(environment.get("call_overhead_s", {}), f"{file}: call_overhead_s")
    handicaps = environment.get("handicaps", [])
    if not isinstance(handicaps, list):
        raise UnreadableResults(f"{file}: handicaps is {type(handicaps).__name__}, expected a list")
    for handicap in handicaps:
        known = isinstance(handicap, dict) and isinstance(handicap.get("variable"), str)
        rates = [finite(handicap.get(name)) for name in ("gflops", "gflops_without")] if known else []
        if not rates or any(rate is None or rate <= 0 for rate in rates):
            raise UnreadableResults(f"{file}: a handicap without variable, gflops and gflops_without")
        state.handicaps.append(handicap)
    notes = environment.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise UnreadableResults(f"{file}: notes are {str(notes)[:40]}, expected a list of texts")
    state.notes += notes
    state.wall_s, state.timed_s = (finite(environment.get(name)) or 0.0 for name in ("wall_s", "timed_s"))
    return state


def _rates(table: object, where: str) -> dict[str, float]:
    if not isinstance(table, dict):
        raise UnreadableResults(f"{where} is {type(table).__name__}, expected an object")
    found = {str(name): finite(rate) for name, rate in table.items()}
    if any(rate is None or rate <= 0 for rate in found.values()):
        raise UnreadableResults(f"{where} holds what is no number above 0")
    return {name: rate for name, rate in found.items() if rate is not None}


def case_of(record: Record) -> Case:
    """The problem behind a row, the inverse of records.describe. InvalidProblem where it describes none."""
    left, colon, right = record.window.partition(":")
    window = (int(left) if left else None, int(right) if right else None) if colon else None
    return Case(
        record.case,
        Shape(**{letter: getattr(record, letter) for letter in "BTSNKHV"}),
        record.dtype,
        Semantics(record.causal or None, window, record.softcap, record.scale),
        mask=record.mask or None,
        bias=record.bias or None,
        kv_lengths=tuple(map(int, record.kv_lengths.split())) if record.kv_lengths else None,
        pass_=record.pass_,
    )


def cases_of(records: Iterable[Record]) -> list[Case]:
    """The problems behind these rows, each once, in their order; rows that describe none are passed over: another program's."""
    found: dict[str, Case | None] = {}
    for record in records:
        if record.case not in found:
            try:
                found[record.case] = case_of(record)
            except (InvalidProblem, ValueError):
                found[record.case] = None
    return [case for case in found.values() if case is not None]
