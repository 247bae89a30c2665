"""A run folder: a journal that grows event by event, and the files made from it.

journal.jsonl is the truth and is only ever appended to; summary.csv, samples.csv and environment.json are written from it,
each atomically, when the run ends or is interrupted.
"""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.foreign import as_bytes, parse_json, read_text
from benchmarks.harness.state import Event, State
from benchmarks.plan import Plan
from benchmarks.records import to_csv

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
)
_LARGEST_PLAN = 2**26
DEFAULT_PARENT = Path("results") / "runs"


def new_run_id(suite: str) -> str:
    """A name that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{suite}-{os.getpid()}"


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal: TextIO | None = None

    @classmethod
    def create(cls, path: Path, plan: Plan) -> RunFolder:
        """A new folder with its plan. UsageError where it cannot be written or holds a run already."""
        folder = cls(path)
        if (path / "journal.jsonl").exists() or (path / "logs").exists():
            raise UsageError(f"{path} holds a run already; choose another --out, or go on with it: --resume {path}")
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder._write("plan.json", json.dumps(plan.to_dict(), indent=1))
            folder.open()
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror or error}") from None
        return folder

    @property
    def run_id(self) -> str:
        """The folder's name; a name that is no UTF-8 has question marks in it."""
        return as_bytes(self.path.name).decode()

    def open(self) -> None:
        """Open the journal for appending."""
        self._journal = (self.path / "journal.jsonl").open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def append(self, event: Event) -> None:
        """Put one event on disk before anything else happens."""
        if self._journal is None:
            raise RuntimeError("the journal is not open")
        self._journal.write(json.dumps(event) + "\n")
        self._journal.flush()

    def load(self) -> tuple[Plan, State]:
        """The plan and what the journal tells so far. A torn last line, from a crash, is passed over."""
        try:
            plan = Plan.from_dict(parse_json(read_text(self.path / "plan.json", _LARGEST_PLAN), "it"))
            lines = read_text(self.path / "journal.jsonl").splitlines()
        except UnreadableResults as error:
            raise UsageError(f"{self.path} holds no run to resume: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableResults(f"{self.path / 'plan.json'} is damaged: {str(error)[:300]}") from None
        state = State()
        for number, line in enumerate(lines, start=1):
            try:
                state.apply(parse_json(line, "it"))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if number == len(lines):
                    break
                told = str(error)[:300]
                raise UnreadableResults(f"{self.path / 'journal.jsonl'}, line {number} is damaged: {told}") from None
        state.drop_unfinished()
        return plan, state

    def environment(self) -> dict[str, Any]:
        """The fingerprint that was written; empty where there is none yet."""
        try:
            found = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
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
        part = self.path / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(self.path / name)


def samples_csv(state: State, passes: Mapping[str, str]) -> str:
    """Every block: which cell, which process, when in the order of turns, how many calls, how many seconds.

    `passes`: case -> its pass.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(SAMPLE_COLUMNS)
    for cell, known in state.cells.items():
        for process, blocks in sorted(known.blocks.items()):
            for block, order, calls, seconds, canary_s in blocks:
                place = (cell.case, cell.implementation, cell.device, passes[cell.case], process, block, order, calls)
                writer.writerow([*place, f"{seconds:.9g}", f"{canary_s:.9g}"])
    return out.getvalue()
