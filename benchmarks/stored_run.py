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
    from collections.abc import Callable, Iterable, Mapping
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
        return StoredRun(path, records, environment, state_of(environment, _refusing(beside)))
    refusing = _refusing(beside)
    state = State(machines={machine: state_of(known, refusing) for machine, known in environments.items()})
    return StoredRun(path, records, {}, state)


def state_of(environment: Mapping[str, Any], complain: Callable[[str], None] = lambda what: None) -> State:
    """What environment.json tells of the machine's limits, of handicaps and of the run.

    What is not as it should be is passed over, and `complain` is told.
    """
    matmul = _table(environment.get("matmul_gflops", {}), "matmul_gflops", complain)
    by_dtype = {str(dtype): _rates(told, f"matmul_gflops of {dtype}", complain) for dtype, told in matmul.items()}
    handicaps = _list(environment.get("handicaps", []), "handicaps", complain)
    notes = _list(environment.get("notes", []), "notes", complain)
    if not all(map(_is_handicap, handicaps)):
        complain("a handicap without variable, gflops and gflops_without")
    if not all(isinstance(note, str) for note in notes):
        complain(f"notes are {str(notes)[:40]}, expected a list of texts")
    return State(
        matmul_gflops={dtype: rates for dtype, rates in by_dtype.items() if rates},
        gb_per_s=_rates(environment.get("stream_gb_per_s", {}), "stream_gb_per_s", complain),
        call_overhead_s=_rates(environment.get("call_overhead_s", {}), "call_overhead_s", complain),
        handicaps=list(filter(_is_handicap, handicaps)),
        notes=[note for note in notes if isinstance(note, str)],
        wall_s=finite(environment.get("wall_s")) or 0.0,
        timed_s=finite(environment.get("timed_s")) or 0.0,
    )


def _refusing(file: Path) -> Callable[[str], None]:
    def complain(what: str) -> None:
        raise UnreadableResults(f"{file}: {what}")

    return complain


def _table(told: object, where: str, complain: Callable[[str], None]) -> dict[Any, Any]:
    if isinstance(told, dict):
        return told
    complain(f"{where} is {type(told).__name__}, expected an object")
    return {}


def _list(told: object, where: str, complain: Callable[[str], None]) -> list[Any]:
    if isinstance(told, list):
        return told
    complain(f"{where} is {type(told).__name__}, expected a list")
    return []


def _rates(told: object, where: str, complain: Callable[[str], None]) -> dict[str, float]:
    found = {str(name): finite(rate) for name, rate in _table(told, where, complain).items()}
    good = {name: rate for name, rate in found.items() if rate is not None and rate > 0}
    if len(good) < len(found):
        complain(f"{where} holds what is no number above 0")
    return good


def _is_handicap(told: object) -> bool:
    if not isinstance(told, dict) or not isinstance(told.get("variable"), str):
        return False
    numbers = (finite(told.get(name)) for name in ("gflops", "gflops_without"))
    return all(number is not None and number > 0 for number in numbers)


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
