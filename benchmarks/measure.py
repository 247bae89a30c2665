"""A whole run, from a plan to a finished folder: sessions, journal, state, and results whatever happens on the way."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.conditions import CONDITIONS, conditions, difference
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.files import own_folder
from benchmarks.harness.environment import fingerprint, machine_id
from benchmarks.harness.interrupts import Patience
from benchmarks.harness.schedule import Scheduler
from benchmarks.harness.session import Session, greet, usual_workers
from benchmarks.harness.state import Event, State
from benchmarks.harness.steering import worker_variables
from benchmarks.harness.threads import asked_of, thread_notes
from benchmarks.journal import JOURNAL, read_journal
from benchmarks.plan import Plan
from benchmarks.results import to_records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.harness.session import Greeting
    from benchmarks.records import Record
    from benchmarks.run_folder import RunFolder


@dataclass(slots=True)
class Outcome:
    """A run that has ended."""

    records: list[Record]
    state: State
    interrupted: bool


def measure(
    plan: Plan, folder: RunFolder, state: State, show: Callable[[Event], None], noise_floor: float | None = None
) -> Outcome:
    """Run what the state lacks. On Ctrl-C, what was measured is written all the same.

    `noise_floor`: what an audit of this machine says is the smallest change that can be told from none.
    """
    start = time.monotonic()
    plugins: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for framework, path in plan.plugins:
        plugins[framework] += (path,)
    logs = folder.path / "logs"
    try:
        own_folder(logs)
    except OSError as error:
        raise UsageError(f"cannot write to {logs}: {error.strerror or error}") from None
    variables = worker_variables(plan.neutral, plan.variables)
    if not folder.environment():
        folder.write_environment({**fingerprint(variables=variables), **conditions(plan)})
    workers = usual_workers(
        plan.frameworks,
        plugins,
        plan.cpus,
        neutral=plan.neutral,
        variables=plan.variables,
        memory_limit_bytes=plan.memory_limit_bytes,
    )
    with Patience() as patience, contextlib.ExitStack() as stack:

        def emit(event: Event) -> None:
            told = {**event, "t_s": round(time.monotonic() - start, 4)}
            with patience.unbroken():
                folder.append(told)
                state.apply(told)
            if event["event"] != "begin":
                with contextlib.suppress(OSError):  # whoever read our progress has gone
                    show(event)

        interrupted = written = False
        session = stack.enter_context(Session(workers, log=logs, keeps=True))
        emit({"event": "begin", "time": datetime.now(UTC).isoformat(timespec="seconds")})
        try:
            _note(plan, state, emit)
            Scheduler(plan, session, state, emit, patience.unbroken).run()
        except KeyboardInterrupt:
            interrupted = True
        try:
            with patience.unbroken():
                stack.close()
                records, environment = results(plan, folder, state, noise_floor)
                folder.write_environment(environment)
                folder.write_results(records, state)
                folder.close()
                written = True
        except KeyboardInterrupt:
            if not written:
                raise
            interrupted = True
    return Outcome(records, state, interrupted)


def _note(plan: Plan, state: State, emit: Callable[[Event], None]) -> None:
    """What is known of the threads before anything is started; a run that goes on has it already."""
    for line in thread_notes(
        plan.threads, plan.cpus, neutral=plan.neutral, variables=plan.variables, option="--threads"
    ):
        if line not in state.notes:
            emit({"event": "note", "text": line})


def results(
    plan: Plan, folder: RunFolder, state: State, noise_floor: float | None = None
) -> tuple[list[Record], dict[str, Any]]:
    """What follows from the journal so far: the rows, and environment.json."""
    records = to_records(plan, state, folder.run_id, noise_floor, machine_id())
    return records, _environment(plan, folder, state)


def _environment(plan: Plan, folder: RunFolder, state: State) -> dict[str, Any]:
    began = folder.environment()
    greetings = {}
    for framework, told in state.greetings.items():
        greetings[framework] = greet(framework, told)
    found = fingerprint(greetings, worker_variables(plan.neutral, plan.variables))
    found |= {name: began[name] for name in CONDITIONS if name in began}
    found["matmul_gflops"] = state.matmul_gflops
    found["stream_gb_per_s"] = state.gb_per_s
    found["call_overhead_s"] = state.call_overhead_s
    found["handicaps"] = [{k: v for k, v in h.items() if k not in ("event", "t_s")} for h in state.handicaps]
    found["cpus"] = list(plan.cpus)
    found["threads"] = {name: _threads(plan, state, greeting) for name, greeting in greetings.items()}
    found["notes"] = list(state.notes)
    found["wall_s"], found["timed_s"] = round(state.wall_s, 3), round(state.timed_s, 3)
    return found


def _threads(plan: Plan, state: State, greeting: Greeting) -> dict[str, Any]:
    """What a framework was asked for, what it says it uses, what its libraries have, and what was seen in its matmul."""
    busy = state.threads_busy.get(greeting.framework)
    return {
        "asked": asked_of(greeting.framework, plan),
        "found": dict(greeting.settings).get("threads", ""),
        "pools": dict(greeting.pools),
        "busy": None if busy is None else round(busy, 2),
    }


def check_resumable(folder: RunFolder, plan: Plan, suite: str) -> None:
    """UsageError, naming the difference, where a run would go on under other conditions than it began, or as another."""
    began, at = folder.environment(), folder.path
    if suite != plan.suite:
        raise UsageError(f"{at} began with suite {plan.suite!r}, not {suite!r}; start anew")
    if not began:
        raise UnreadableResults(
            f"{at / 'environment.json'} is missing or damaged: what the run began with is not known"
        )
    now = fingerprint(variables=worker_variables(plan.neutral, plan.variables)) | conditions(plan)
    differs = difference(began, now)
    if differs is not None:
        raise UsageError(f"{at} began with {differs}; start anew")


def remove_if_empty(path: Path) -> None:
    """Take away a folder in which nothing was measured: a mistake in the request leaves nothing half-written."""
    measured = False

    def look(event: Event) -> None:
        nonlocal measured
        measured |= event.get("event") in ("block", "turns", "part")

    with contextlib.suppress(UnreadableResults):
        read_journal(path / JOURNAL, look)
    if measured:
        return
    for name in (JOURNAL, "plan.json", "environment.json", "noise.json"):
        with contextlib.suppress(OSError):
            (path / name).unlink()
    logs = path / "logs"
    with contextlib.suppress(OSError):
        for log in () if logs.is_symlink() else logs.iterdir():
            log.unlink()
        logs.rmdir()
    with contextlib.suppress(OSError):
        os.rmdir(path)  # noqa: PTH106 - refuses a folder that holds anything else, as it should
