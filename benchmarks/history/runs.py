"""The runs of a history: from a folder, each read as data; what cannot be read is told and left out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.readers import ENVIRONMENT, SUMMARY, parse_environments
from benchmarks.comparison.summaries import parse_summary
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.foreign import LARGE_BYTES, read_bytes, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.comparison.side import Key
    from benchmarks.records import Record

JOURNAL = "journal.jsonl"
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SHORT = 7
"""Digits of a commit, where it is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a history."""

    source: str
    """Its folder, or commit:folder."""
    records: Mapping[Key, Record]
    environment: Mapping[str, Any]
    measured: datetime | None
    """When; None where nothing says so."""
    committed: datetime | None = None
    """When its commit was made, where that is known."""

    @property
    def commit(self) -> str:
        """The git commit that was measured, in full; empty where it is not known."""
        commit = str(self.environment.get("revision", {}).get("commit", ""))
        return commit if _COMMIT.fullmatch(commit) else ""

    @property
    def modified(self) -> bool:
        """Whether the files differed from the commit."""
        return self.environment.get("revision", {}).get("modified") is True

    @property
    def short_commit(self) -> str:
        """As people name it: abc1234, abc1234+ where files were changed; empty where it is not known."""
        return self.commit[:_SHORT] + ("+" if self.modified else "") if self.commit else ""

    @property
    def label(self) -> str:
        """The commit, or the name of the folder."""
        return self.short_commit or self.source.rstrip("/").rpartition("/")[2] or self.source


@dataclass(frozen=True, slots=True)
class Collected:
    """What there was."""

    runs: tuple[Run, ...]
    left_out: tuple[str, ...] = ()
    """One line for each run that could not be read, or that is another's copy."""


def run_from(summary: bytes | str, environment: str | None, source: str) -> Run:
    """One run from the text of its files. UnreadableResults says what is wrong with them."""
    machines = parse_summary(summary, f"{source}/{SUMMARY}")
    environments = {} if environment is None else parse_environments(environment, f"{source}/{ENVIRONMENT}")
    if max(len(machines), len(environments)) > 1:
        raise UnreadableResults(f"{source} is a run of several machines; a history takes the runs of each by itself")
    (records,) = machines.values()
    told = next(iter(environments.values()), {})
    first = next(iter(records.values()))
    measured = time_of(told.get("time")) or _time_in(first.run_id)
    committed = time_of(told.get("revision", {}).get("time"))
    return Run(source=source, records=records, environment=told, measured=measured, committed=committed)


def in_folder(folder: Path) -> Collected:
    """All runs in a folder and below. UsageError where there is none, UnreadableResults where none can be read."""
    if not folder.is_dir():
        raise UsageError(f"--history {folder}: no such folder; expected one that holds run folders")
    files = sorted(folder.rglob(SUMMARY))
    unfinished = sorted(p.parent for p in folder.rglob(JOURNAL) if not (p.parent / SUMMARY).exists())
    left_out = [f"{path}: its run has not ended; go on with it: run --resume {path}" for path in unfinished]
    if not files:
        more = f" ({len(unfinished)} unfinished)" if unfinished else ""
        raise UsageError(f"--history {folder}: no {SUMMARY} in it{more}; expected sub-folders of finished runs")
    runs = []
    for file in files:
        try:
            beside = file.with_name(ENVIRONMENT)
            environment = read_text(beside, LARGE_BYTES) if beside.exists() else None
            runs.append(run_from(read_bytes(file), environment, str(file.parent)))
        except UnreadableResults as error:
            left_out.append(str(error))
    return collected(runs, left_out)


def collected(runs: list[Run], left_out: list[str]) -> Collected:
    """Each run once. UnreadableResults where none is left."""
    once: dict[object, Run] = {}
    for run in runs:
        # The same rows measured at the same moment are one run, however many copies of it lie about.
        identity = (run.measured, tuple(run.records.values()))
        if identity in once:
            left_out.append(f"{run.source}: a copy of {once[identity].source}")
        else:
            once[identity] = run
    if not once:
        raise UnreadableResults(f"none of {len(left_out)} runs can be read; the first: {left_out[0]}")
    return Collected(tuple(once.values()), tuple(left_out))


def time_of(text: object) -> datetime | None:
    """An ISO time, of UTC where it does not say; None where it is none."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        if found is None:
            return None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _time_in(run_id: str) -> datetime | None:
    """Of a run id such as 20261123T165616-smoke-417."""
    try:
        return datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
