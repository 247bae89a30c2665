"""A whole run, from a plan to a finished folder: sessions, journal, state, and results whatever happens on the way."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.errors import UsageError
from benchmarks.harness.environment import fingerprint, machine_id
from benchmarks.harness.schedule import Scheduler
from benchmarks.harness.session import Session, greet, usual_workers
from benchmarks.harness.state import Event, State
from benchmarks.harness.steering import worker_variables
from benchmarks.plan import Plan
from benchmarks.results import to_records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    interrupted = False

    start = time.monotonic()

    def emit(event: Event) -> None:
        folder.append({**event, "t_s": round(time.monotonic() - start, 4)})
        state.apply(event)
        show(event)

    logs = folder.path / "logs"
    logs.mkdir(exist_ok=True)
    plugins: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for framework, path in plan.plugins:
        plugins[framework] += (path,)
    if not folder.environment():
        folder.write_environment(fingerprint(variables=worker_variables(plan.neutral, plan.variables)))
    workers = usual_workers(plan.frameworks, plugins, plan.cpus, neutral=plan.neutral, variables=plan.variables)
    with Session(workers, log=logs) as session:
        try:
            Scheduler(plan, session, state, emit).run()
        except KeyboardInterrupt:
            interrupted = True
    folder.write_environment(_environment(plan, state))
    records = to_records(plan, state, folder.run_id, noise_floor, machine_id())
    folder.write_results(records, state)
    folder.close()
    return Outcome(records, state, interrupted)


def _environment(plan: Plan, state: State) -> dict[str, object]:
    greetings = {}
    for framework, told in state.greetings.items():
        greetings[framework] = greet(framework, told)
    found = fingerprint(greetings, worker_variables(plan.neutral, plan.variables))
    found["matmul_gflops"] = state.matmul_gflops
    found["stream_gb_per_s"] = state.gb_per_s
    found["call_overhead_s"] = state.call_overhead_s
    found["handicaps"] = [{k: v for k, v in h.items() if k != "event"} for h in state.handicaps]
    found["cpus"] = list(plan.cpus)
    found["wall_s"], found["timed_s"] = round(state.wall_s, 3), round(state.timed_s, 3)
    return found


def check_resumable(folder: RunFolder, plan: Plan) -> None:
    """UsageError, naming the difference, where a run would go on under other conditions than it began."""
    began = folder.environment()
    now = fingerprint(variables=worker_variables(plan.neutral, plan.variables))
    if not began:
        return
    for name in ("machine", "python"):
        if began.get(name) != now[name]:
            raise UsageError(
                f"{folder.path} began with another {name}: {began.get(name)} then, {now[name]} now; start anew"
            )
    before, after = began.get("variables") or {}, now["variables"]
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if names:
        told = ", ".join(f"{n} ({before.get(n, 'not set')} then, {after.get(n, 'not set')} now)" for n in names)
        raise UsageError(f"{folder.path} began with other variables: {told}; start anew")


def remove_if_empty(path: Path) -> None:
    """Take away a folder in which nothing was measured: a mistake in the request leaves nothing half-written."""
    for name in ("journal.jsonl", "plan.json", "environment.json", "noise.json"):
        with contextlib.suppress(OSError):
            (path / name).unlink()
    logs = path / "logs"
    if logs.is_dir():
        for log in logs.iterdir():
            log.unlink()
        logs.rmdir()
    with contextlib.suppress(OSError):
        os.rmdir(path)  # noqa: PTH106 - refuses a folder that holds anything else, as it should
