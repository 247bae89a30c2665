"""Datasets that follow from the cells: memory as signs, pairs of passes, when compiling has paid."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from backends import registry
from benchmarks.compiling import paybacks, twins
from benchmarks.reports.text import megabytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.reports.page.model import Dataset
    from benchmarks.reports.page.stored_runs import StoredRun


def memory_dataset(cells: Dataset) -> Dataset:
    """The cells whose memory is known, with their megabytes as a sign; below the resolution they are all alike."""
    places = [place for place, value in enumerate(cells["peak_memory_bytes"]) if isinstance(value, int)]
    found: dict[str, list[Any]] = {name: [values[place] for place in places] for name, values in cells.items()}
    found["memory_sign"] = [_short(value) for value in found["peak_memory_bytes"]]
    found["peak_memory_bytes"] = [max(value, 4_000_000) for value in found["peak_memory_bytes"]]
    unused = (
        "first_call_s",
        "gflops",
        "gb_per_s",
        "error_over_naive",
        "max_abs_error",
        "speedup",
        "sees",
        "limit_s",
        "reason",
        "sign",
    )
    return {name: values for name, values in found.items() if name not in unused}


def _short(value: int) -> str:
    told = megabytes(value)
    return (
        "< 4" if told.startswith("<") else told.removesuffix(" MB") if told.endswith("MB") else told.replace(" GB", "G")
    )


def pairs_dataset(runs: Sequence[StoredRun], cells: Dataset) -> Dataset:
    """One row per problem and implementation that was timed in both passes, in one run or in two of the same machine."""
    of: dict[tuple[object, ...], dict[str, tuple[float, str, str]]] = defaultdict(dict)
    for run in runs:
        where = (run.machine, str(run.environment.get("cpus")))
        for r in run.records:
            if r.median_s is not None:
                problem = (
                    *(getattr(r, letter) for letter in "BTSNKHV"),
                    r.dtype,
                    r.causal,
                    r.window,
                    r.softcap,
                    r.scale,
                )
                key = (where, *problem, r.mask, r.bias, r.kv_lengths, r.implementation, r.framework, r.device)
                of[key].setdefault(r.pass_, (r.median_s, r.case, run.label))
    rank = dict(zip(cells.get("implementation", ()), cells.get("rank", ()), strict=True))
    rows: list[Mapping[str, Any]] = []
    for key, found in of.items():
        if len(found) < 2:
            continue
        (forward_s, case, before), (both_s, _, after) = found["forward"], found["forward_backward"]
        implementation, framework, _ = key[-3:]
        rows.append(
            {
                "case": case, "row": case, "implementation": implementation, "framework": framework, "dtype": key[8],
                "rank": rank[implementation], "forward_s": forward_s, "both_s": both_s,
                "both_over_forward": both_s / forward_s, "where": before if before == after else f"{before}, {after}",
            }
        )  # fmt: skip
    names = (
        "case", "row", "implementation", "framework", "dtype", "rank", "forward_s", "both_s", "both_over_forward", "where",
    )  # fmt: skip
    return {name: [row[name] for row in rows] for name in names}


def started(runs: Sequence[StoredRun]) -> list[str]:
    """Of each cell, whether it was compiled."""
    return ["as it stands" if r.jit in ("", "eager") else "compiled" for run in runs for r in run.records]


def paybacks_dataset(runs: Sequence[StoredRun]) -> Dataset:
    """One row per run, compiled implementation and case."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        framework = {record.implementation: record.framework for record in run.records}
        told = {record.case: (record.dtype, record.pass_) for record in run.records}
        for payback in paybacks(run.records, twins(registry.implementations())):
            for case, calls in payback.calls.items():
                row = {"run": run.label, "framework": framework[payback.compiled], "implementation": payback.compiled}
                row |= {"eager": payback.eager, "case": case, "dtype": told[case][0], "pass": told[case][1]}
                rows.append({**row, "calls": calls, "never": "never" if calls is None else ""})
    names = ("run", "framework", "implementation", "eager", "case", "dtype", "pass", "calls", "never")
    return {name: [row[name] for row in rows] for name in names}
