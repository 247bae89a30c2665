"""From what a run has seen to its records: one row per cell, computed, never printed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from backends import registry
from benchmarks.records import Record, Status, describe
from benchmarks.stats import summarise

if TYPE_CHECKING:
    from benchmarks.cases import Case
    from benchmarks.harness.state import CellState, State
    from benchmarks.plan import CellKey, Plan

NOT_REACHED = "the run was interrupted before this cell was measured"


def to_records(plan: Plan, state: State, run_id: str) -> list[Record]:
    """One record per cell of the plan, in its order."""
    naive = {i.framework: i.id for i in registry.implementations().values() if i.naive}
    records = []
    for case in plan.cases:
        rows = {cell: _row(plan, case, cell, state, run_id) for cell in plan.cells(case)}
        median = {cell.implementation: row.get("median_s") for cell, row in rows.items()}
        for cell, row in rows.items():
            base = median.get(naive.get(cell.framework, ""))
            if base is not None and "median_s" in row:
                row["speedup"] = base / row["median_s"]
            records.append(Record(**row))
    return records


def _row(plan: Plan, case: Case, cell: CellKey, state: State, run_id: str) -> dict[str, Any]:
    known = state.cells[cell]
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
    row["lowered"] = "; ".join(known.facts.get("lowered", ()))
    if known.status is not None:
        return {**row, "status": known.status, "reason": known.reason or "no reason given"}
    if not any(known.blocks.values()):
        return {**row, "status": Status.ERROR, "reason": NOT_REACHED}
    return {**row, "status": Status.OK, **_measured(case, known, state)}


def _measured(case: Case, known: CellState, state: State) -> dict[str, Any]:
    blocks: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for process, places in known.blocks.items():
        blocks[process] = [(calls, seconds) for _, _, calls, seconds in places]
    summary = summarise(blocks)
    work, facts = state.cases[case.name], known.facts
    gflops = work["flops"] / summary.median_s / 1e9
    peak = max(state.matmul_gflops.get(case.dtype, {}).values(), default=None)
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
        "first_call_s": facts["first_call_s"],
        "gflops": gflops,
        "gflops_conventional": work["flops_conventional"] / summary.median_s / 1e9,
        "gb_per_s": work["bytes"] / summary.median_s / 1e9,
        "peak_fraction": None if peak is None else gflops / peak,
        "max_abs_error": facts["max_abs_error"],
        "error_over_bound": facts["error_over_bound"],
        "error_over_naive": facts["max_abs_error"] / work["naive_error"] if work["naive_error"] else None,
    }
