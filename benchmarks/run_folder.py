"""A run folder: a journal that grows event by event, and the files made from it.

journal.jsonl is the truth and is only ever appended to (benchmarks.journal); summary.csv, samples.csv and environment.json
are written from it, each atomically, when the run ends or is interrupted.
"""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.files import write_atomically
from benchmarks.foreign import LARGE_BYTES, as_bytes, parse_json, read_text
from benchmarks.harness.state import Event, State
from benchmarks.journal import JOURNAL, Journal, read_journal
from benchmarks.plan import Plan
from benchmarks.records import safe_text, to_csv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.records import Record

SAMPLE_COLUMNS = (
    "case",
    "implementation",
    "device",
    "pass",
    "process",
    "block",
    "order",
    "calls",
    "seconds",
    "canary_s",
    "per_call_s",
)
LATER_SAMPLE_COLUMNS = ("per_call_s",)
"""Files from before there were laps lack them: their blocks are told by seconds / calls."""
DEFAULT_PARENT = Path("results") / "runs"
REPORT = "report.html"


def new_run_id(suite: str) -> str:
    """A name that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{suite}-{os.getpid()}"


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal: Journal | None = None
        self._whole_bytes = 0

    @classmethod
    def create(cls, path: Path, plan: Plan) -> RunFolder:
        """A new folder with its plan. UsageError where it cannot be written or holds a run already."""
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder._insist_on_none()
            folder._journal = Journal(path)
            try:
                folder._insist_on_none()  # another process may have been faster
                folder._write("plan.json", json.dumps(plan.to_dict(), indent=1))
            except BaseException:
                folder.close()
                raise
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror or error}") from None
        return folder

    def _insist_on_none(self) -> None:
        journal = self.path / JOURNAL
        begun = (self.path / "plan.json").exists() or (journal.exists() and journal.stat().st_size > 0)
        if begun or (self.path / "logs").exists():
            raise UsageError(
                f"{self.path} holds a run already; choose another --out, or go on with it: --resume {self.path}"
            )

    @classmethod
    def resume(cls, path: Path) -> tuple[RunFolder, Plan, State]:
        """A folder to go on with, its plan and what the journal tells. UsageError where there is none, or it is in use."""
        folder = cls(path)
        if not (path / "plan.json").is_file():
            raise UsageError(f"{path} holds no run to resume: there is no plan.json in it")
        try:
            folder._journal = Journal(path)
            try:
                plan, state = folder.load()
                folder._journal.cut(folder._whole_bytes)
            except BaseException:
                folder.close()
                raise
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror or error}") from None
        return folder, plan, state

    @property
    def run_id(self) -> str:
        """The folder's name; a name that is no UTF-8 has question marks in it."""
        return as_bytes(self.path.name).decode()

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def append(self, event: Event) -> None:
        """Put one event on disk before anything else happens."""
        if self._journal is None:
            raise RuntimeError("the journal is not open")
        self._journal.append(event)

    def load(self) -> tuple[Plan, State]:
        """The plan and what the journal tells so far. A torn last line, from a crash, is passed over."""
        try:
            text = read_text(self.path / "plan.json", LARGE_BYTES)
        except UnreadableResults as error:
            raise UsageError(f"{self.path} holds no run to resume: {error}") from None
        try:
            plan = Plan.from_dict(parse_json(text, "it"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableResults(f"{self.path / 'plan.json'} is damaged: {str(error)[:300]}") from None
        state = State()
        self._whole_bytes = read_journal(self.path / JOURNAL, state.apply)
        return plan, state

    def environment(self) -> dict[str, Any]:
        """The fingerprint that was written; empty where there is none yet."""
        try:
            found = parse_json(read_text(self.path / "environment.json", LARGE_BYTES), "it")
        except UnreadableResults:
            return {}
        return found if isinstance(found, dict) else {}

    def write_environment(self, fingerprint: dict[str, Any]) -> None:
        """environment.json."""
        self._write("environment.json", json.dumps(fingerprint, indent=1))

    def write_results(self, records: Sequence[Record], state: State) -> None:
        """summary.csv and samples.csv."""
        self._write("samples.csv", samples_csv(state, {r.case: r.pass_ for r in records}))
        self._write("summary.csv", to_csv(records))

    def _write(self, name: str, text: str) -> None:
        try:
            write_atomically(self.path / name, text, is_own=True)
        except OSError as error:
            raise UsageError(f"cannot write {self.path / name}: {error.strerror or error}") from None


def samples_csv(state: State, passes: Mapping[str, str]) -> str:
    """Every block: which cell, which process, when in the order of turns, how many calls, how many seconds, how fast
    the core was, and seconds per call of the middle lap.

    `passes`: case -> its pass.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    several = len(state.machines) > 1
    writer.writerow([*SAMPLE_COLUMNS, *(["machine"] if several else [])])
    for machine, own in (state.machines or {"": state}).items():
        last = [safe_text(machine)] if several else []
        for cell, known in own.cells.items():
            which = [safe_text(text) for text in (cell.case, cell.implementation, cell.device, passes[cell.case])]
            for process, blocks in sorted(known.blocks.items()):
                for block, order, calls, *times in blocks:
                    told = (f"{value:.9g}" for value in times)
                    writer.writerow([*which, process, block, order, calls, *told, *last])
    return out.getvalue()
