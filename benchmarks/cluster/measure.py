"""A whole run on a cluster, from a plan to a finished folder: as benchmarks.measure, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cluster.dask_pool import DaskPool, connected
from benchmarks.cluster.dispatch import ClusterGone, Dispatcher, Pool
from benchmarks.cluster.pieces import pieces
from benchmarks.cluster.task import sources
from benchmarks.errors import UsageError
from benchmarks.machines import joined, of_machines
from benchmarks.measure import Outcome
from benchmarks.results import to_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.state import Event, State
    from benchmarks.plan import Plan
    from benchmarks.records import Record
    from benchmarks.run_folder import RunFolder


def measure_on_cluster(
    plan: Plan, folder: RunFolder, state: State, show: Callable[[Event], None], address: str
) -> Outcome:
    """Run what the state lacks on the machines at an address. On Ctrl-C, or where all machines are gone, what was measured is
    written all the same. UsageError where there is no cluster, or none of its machines may measure anything.
    """
    todo = pieces(plan, state)
    with connected(address, plan.device) as client:
        pool = DaskPool(client, folder.run_id, plan, _plugin_texts(plan))
        try:
            interrupted = dispatch(plan, folder, state, show, pool, todo)
        finally:
            pool.stop()
    return finish(plan, folder, state, interrupted=interrupted)


def dispatch(
    plan: Plan,
    folder: RunFolder,
    state: State,
    show: Callable[[Event], None],
    pool: Pool,
    todo: list[Any],
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Hand out and write down; whether it was interrupted."""
    start = clock()

    def emit(event: Event) -> None:
        folder.append({**event, "t_s": round(clock() - start, 4)})
        state.apply(event)
        show(event)

    try:
        Dispatcher(plan, pool, emit, clock, sources(), dict(state.conditions)).run(todo)
    except KeyboardInterrupt:
        return True
    except ClusterGone as error:
        if not state.machines:
            raise UsageError(f"nothing was measured: {error}") from None
        emit({"event": "gone", "reason": str(error)})
        return True
    finally:
        emit({"event": "end", "wall_s": clock() - start})
    return False


def finish(plan: Plan, folder: RunFolder, state: State, *, interrupted: bool) -> Outcome:
    """The files, from what is known."""
    for own in state.machines.values():
        state.timed_s += own.timed_s
    records, environment = results(plan, folder, state)
    folder.write_environment(environment)
    folder.write_results(records, state)
    folder.close()
    return Outcome(records, state, interrupted)


def results(plan: Plan, folder: RunFolder, state: State) -> tuple[list[Record], dict[str, Any]]:
    """What follows from the journal so far: the rows of all machines, and environment.json."""
    environments = {machine: joined(known) for machine, known in state.environments.items()}
    for machine in state.machines:
        if machine not in environments:  # it was lost before it brought anything home
            told = state.conditions.get(machine, {})
            known: dict[str, Any] = {name: told[name] for name in ("python", "variables") if name in told}
            environments[machine] = {"schema_version": 1, **known, "machine": told.get("fingerprint", {})}
    return cluster_records(plan, state, folder.run_id, environments), of_machines(environments)


def cluster_records(plan: Plan, state: State, run_id: str, environments: dict[str, dict[str, Any]]) -> list[Record]:
    """One record per cell of the plan: of each case on the machine that measured it."""
    home = {case: machine for machine, own in state.machines.items() for case, _ in own.done}
    of_case: dict[str, list[Record]] = {}
    for machine, own in {**state.machines, "": state}.items():
        cases = tuple(case for case in plan.cases if home.get(case.name, "") == machine)
        cpus = tuple(environments.get(machine, {}).get("cpus", ()))
        for record in to_records(dataclasses.replace(plan, cases=cases, cpus=cpus), own, run_id, machine=machine):
            of_case.setdefault(record.case, []).append(record)
    return [record for case in plan.cases for record in of_case[case.name]]


def check_resumable(folder: RunFolder, plan: Plan, address: str | None) -> None:
    """UsageError where a run would go on otherwise than it began: on a cluster, or here."""
    if plan.cluster and address is None:
        raise UsageError(
            f"{folder.path} is a run on a cluster; go on with it there: --resume {folder.path} --cluster ADDRESS"
        )
    if address is not None and not plan.cluster:
        raise UsageError(f"{folder.path} is a run on one machine; go on with it there, without --cluster")


def _plugin_texts(plan: Plan) -> dict[str, str]:
    """The plug-ins that are files travel with each part; those of installed packages are there or not."""
    files = {path: Path(path) for _, path in plan.plugins}
    return {path: file.read_text(encoding="utf-8") for path, file in files.items() if file.is_file()}
