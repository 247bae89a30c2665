"""`show`: a stored run printed again, sorted and filtered as asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.cli.options import Format
from benchmarks.insights import three_lines
from benchmarks.records import by_machine
from benchmarks.reports.footer import footer
from benchmarks.reports.formats import FORMATS
from benchmarks.reports.terminal import console, run_table
from benchmarks.reports.text import harmless
from benchmarks.selection import ordered, select
from benchmarks.stored_run import cases_of, read_stored

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.selection import Selection
    from benchmarks.stored_run import StoredRun


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest:
    """What the user typed."""

    run: Path
    selection: Selection
    sort: str | None
    reverse: bool
    format: Format
    parquet: Path | None


def show_run(request: ShowRequest) -> None:
    """Read it, print it."""
    stored = read_stored(request.run)
    records = ordered(select(stored.records, request.selection), request.sort, reverse=request.reverse)
    if request.parquet is not None:
        from benchmarks.frames import frame_of
        from benchmarks.parquet import write_parquet

        write_parquet(frame_of(records), request.parquet)
    out = console()
    if request.format is not Format.TABLE:
        out.file.write(FORMATS[request.format](records))
        return
    out.print(run_table(records, stored.state, in_order=request.sort not in (None, "case") or request.reverse))
    of_machine = by_machine(records)
    for machine, own in of_machine.items():
        if len(of_machine) > 1:
            out.print(harmless(f"On {machine or 'no machine'}:"))
        state = stored.state.machines.get(machine, stored.state)
        out.print(footer(cases_of(own), own, state))
        for line in three_lines(own, state):
            out.print(harmless(line))
        out.print("")
    out.print(_told(stored, len(records)))
    out.print(harmless(f"From {stored.path}"), soft_wrap=True)


def _told(stored: StoredRun, shown: int) -> str:
    """As in: 12 of 190 cells of RUN, 2026-11-24, on AMD EPYC, 2 cores; it took 286 s, 143 s (50%) in timed blocks."""
    every, state, environment = len(stored.records), stored.state, stored.environment
    words = f"{shown} of {every} cells of {stored.run_id}" if shown != every else f"{every} cells of {stored.run_id}"
    machine = environment.get("machine", {})
    if environment.get("time"):
        words += f", {str(environment['time'])[:10]}"
    if machine.get("cpu"):
        words += f", on {machine['cpu']}, {machine.get('cores_allowed', '?')} cores"
    if state.wall_s:
        words += f"; it took {state.wall_s:.0f} s, {state.timed_s:.0f} s ({state.timed_s / state.wall_s:.0%}) in timed blocks"
    return harmless(f"{words}.")
