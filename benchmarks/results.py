"""From what a run has seen to its records: one row per cell, computed, never printed."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backends import registry
from benchmarks.core_speed import QUIET, at_speed
from benchmarks.harness.state import CellState
from benchmarks.limits import attainable_gflops
from benchmarks.records import Record, Status, describe
from benchmarks.stats import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.cases import Case
    from benchmarks.harness.state import State
    from benchmarks.plan import CellKey, Plan


@dataclass(frozen=True, slots=True)
class Block:
    """One timed block."""

    calls: int
    per_call_s: float
    """Of the middle lap, as the clock gave it."""
    quiet_per_call_s: float
    """At the core speed of the run's quiet moments."""


NOT_REACHED = "the run was interrupted before this cell was measured"


def to_records(
    plan: Plan, state: State, run_id: str, noise_floor: float | None = None, machine: str = ""
) -> list[Record]:
    """One record per cell of the plan, in its order. `noise_floor`: of the machine that is named, by its audit."""
    naive = {i.framework: i.id for i in registry.implementations().values() if i.naive}
    timed = timed_blocks(state, one_core=len(plan.cpus) == 1)
    records = []
    for case in plan.cases:
        rows = {cell: _row(plan, case, cell, state, timed.get(cell, {}), run_id) for cell in plan.cells(case)}
        median = {cell.implementation: row.get("median_s") for cell, row in rows.items()}
        for cell, row in rows.items():
            base = median.get(naive.get(cell.framework, ""))
            if base is not None and "median_s" in row:
                row["speedup"] = base / row["median_s"]
            if "median_s" in row:
                row["noise_floor"] = noise_floor
            records.append(Record(**row, machine=machine))
    return records


def timed_blocks(state: State, *, one_core: bool) -> dict[CellKey, dict[int, list[Block]]]:
    """The blocks of each cell by process, each at the core speed of its framework's quiet moments in this run.

    That speed is known on one core only: on several, what the others do counts as much, and the canary does not see it.
    """
    cells = [cell for cell, known in state.cells.items() if any(known.blocks.values())]
    flat = [
        (cell, process, calls, canary_s, per_call_s)
        for cell in cells
        for process, places in state.cells[cell].blocks.items()
        for _, _, calls, _, canary_s, per_call_s in places
    ]
    if not flat:
        return {}
    number = {cell: n for n, cell in enumerate(cells)}
    place: dict[tuple[CellKey, int], int] = {}
    of_cell = np.array([number[cell] for cell, *_ in flat])
    of_process = np.array([place.setdefault((cell, process), len(place)) for cell, process, *_ in flat])
    framework = np.array([cell.framework for cell, *_ in flat])
    log_time = np.log([per_call_s for *_, per_call_s in flat])
    log_canary = np.log([canary_s for *_, canary_s, _ in flat])
    for name in np.unique(framework):
        log_canary[framework == name] -= np.quantile(log_canary[framework == name], QUIET)
    quiet = at_speed(of_cell, of_process, log_time, log_canary, 0.0) if one_core else log_time
    adjusted = np.exp(quiet)
    found: dict[CellKey, dict[int, list[Block]]] = defaultdict(lambda: defaultdict(list))
    for (cell, process, calls, _, per_call_s), quiet_s in zip(flat, adjusted, strict=True):
        found[cell][process].append(Block(calls, per_call_s, float(quiet_s)))
    return found


def _row(
    plan: Plan, case: Case, cell: CellKey, state: State, blocks: dict[int, list[Block]], run_id: str
) -> dict[str, Any]:
    known = state.cells.get(cell) or CellState()
    told = state.greetings.get(cell.framework, {})
    row: dict[str, Any] = {
        "run_id": run_id,
        "suite": plan.suite,
        "framework": cell.framework,
        "implementation": cell.implementation,
        "device": cell.device,
        **describe(case),
        "threads": told.get("settings", {}).get("threads", ""),
        "matmul_precision": told.get("settings", {}).get("matmul_precision", ""),
    }
    row |= {name: known.facts.get(name, "") for name in ("layout", "jit", "kernel")}
    if case.name in state.cases:
        told_by_oracle = state.cases[case.name]
        row["flops"], row["moved_bytes"] = (told_by_oracle[name] for name in ("flops", "bytes"))
        row["checked"] = _checked(told_by_oracle)
    row["lowered"] = "; ".join(known.facts.get("lowered", ()))
    if known.status is not None:
        return {**row, "status": known.status, "reason": known.reason or "no reason given"}
    if not any(known.blocks.values()):
        return {**row, "status": Status.ERROR, "reason": NOT_REACHED}
    return {**row, "status": Status.OK, **_measured(case, known, blocks, state)}


def _checked(told: Mapping[str, Any]) -> str:
    heads, every = told.get("heads"), told.get("of_heads")  # journals from before large problems were answered in part
    return "" if heads == every else f"{heads} of {every} heads"


def _measured(case: Case, known: CellState, blocks: dict[int, list[Block]], state: State) -> dict[str, Any]:
    summary = summarise({p: [(b.calls, b.quiet_per_call_s) for b in own] for p, own in blocks.items()})
    work, facts = state.cases[case.name], known.facts
    gflops = work["flops"] / summary.median_s / 1e9
    reachable = attainable_gflops(work["flops"], work["bytes"], case.dtype, state.matmul_gflops, state.gb_per_s)
    return {
        "median_s": summary.median_s,
        "ci_low_s": summary.ci_low_s,
        "ci_high_s": summary.ci_high_s,
        "min_s": summary.min_s,
        "q25_s": summary.q25_s,
        "q75_s": summary.q75_s,
        "samples": summary.samples,
        "blocks": summary.blocks,
        "processes": summary.processes,
        "median_raw_s": statistics.median(b.per_call_s for own in blocks.values() for b in own),
        "first_call_s": facts["first_call_s"],
        "first_call_cache": facts.get("first_call_cache", ""),
        "gflops": gflops,
        "gflops_conventional": work["flops_conventional"] / summary.median_s / 1e9,
        "gb_per_s": work["bytes"] / summary.median_s / 1e9,
        "peak_fraction": None if reachable is None else gflops / reachable,
        "peak_memory_bytes": facts.get("peak_memory_bytes"),
        "device_s": facts.get("device_s"),
        "device_cold_s": facts.get("device_cold_s"),
        "device_clock": facts.get("device_clock", ""),
        "max_abs_error": facts["max_abs_error"],
        "error_over_bound": facts["error_over_bound"],
        "error_over_naive": facts["max_abs_error"] / work["naive_error"] if work["naive_error"] else None,
    }
