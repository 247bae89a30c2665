"""The cells of all runs of a page as one dataset: a row each, with what follows from its run, and its sign in the heat map."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from backends import registry
from benchmarks.comparison.noise import Noise
from benchmarks.comparison.stored import compare_sides
from benchmarks.comparison.thresholds import asked_thresholds
from benchmarks.insights import winners
from benchmarks.limits import attainable_gflops
from benchmarks.records import NOT_TRIED, Status
from benchmarks.reports.page.model import Column, Kind
from benchmarks.reports.page.stored_runs import geometric_mean
from benchmarks.reports.text import shape_words, three_digits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.comparison.side import Key, Side
    from benchmarks.records import Record
    from benchmarks.reports.page.model import Dataset
    from benchmarks.reports.page.stored_runs import StoredRun

SIGNS = {"refused": "refused", "wrong": "✗ wrong", "failed": "! failed", "not tried": "…"}
_COPIED = (
    "case", "framework", "implementation", "device", "dtype", "pass_", "S", "status", "reason", "median_s", "first_call_s",
    "gflops", "gb_per_s", "peak_fraction", "peak_memory_bytes", "error_over_bound", "error_over_naive", "max_abs_error",
    "speedup", "blocks", "processes", "device_s", "device_cold_s", "checked",
)  # fmt: skip

_RARE = ("device_s", "device_cold_s", "checked")
"""Of accelerators, and of large problems."""

RUN = Column("run", "run")
CASE = Column("case", "case")
IMPLEMENTATION = Column("implementation", "implementation")
MEDIAN = Column("median_s", "median", Kind.SECONDS, "Seconds per call, everything warm")
RATIO = Column("ratio", "x best", Kind.RATIO, "Time over that of the fastest right implementation of the case")
INTERVAL = Column("interval", "95% int. ±", Kind.SHARE, "Half the width of the 95 % interval of the median")
FIRST = Column("first_call_s", "first call", Kind.SECONDS, "Tracing and compiling included; not part of the median")
ERROR = Column(
    "error_over_bound", "error / bound", Kind.NUMBER, "Largest error over its bound: at most 1, or it is wrong"
)
NAIVE_ERROR = Column(
    "error_over_naive", "error / naive", Kind.NUMBER, "Over the error of the textbook form in that dtype"
)
DEVICE = Column("device_s", "device", Kind.SECONDS, "That the accelerator works for a call, with a warm cache")
COLD = Column("device_cold_s", "cold L2", Kind.SECONDS, "The same with an empty second-level cache")
CHECKED = Column("checked", "checked", help="What was held to the oracle, where it was not everything")
MEMORY = Column("peak_memory_bytes", "memory", Kind.BYTES, "Peak of a warm call beyond inputs and output")
GFLOPS = Column("gflops", "GFLOP/s", Kind.NUMBER, "Counting visible pairs only")
GB_PER_S = Column("gb_per_s", "GB/s", Kind.NUMBER, "Bytes that have to be moved, over the median")
LIMIT = Column("peak_fraction", "of the limit", Kind.SHARE, "GFLOP/s over what this machine's roofline allows the case")
SEES = Column("sees", "sees", Kind.SHARE, "The slowdown that a second run like this would have shown nine times in ten")
STATUS = Column("status", "status")
REASON = Column("reason", "why")
SHAPE = Column("shape", "shape")


def columns_of(runs: Sequence[StoredRun], *columns: Column) -> tuple[Column, ...]:
    """Those columns, after the run's name where there are several; those of which no run knows anything are left out."""
    asked = ((RUN,) if len(runs) > 1 else ()) + columns
    return tuple(
        c for c in asked if c.field not in _RARE or any(getattr(r, c.field) for run in runs for r in run.records)
    )


def cells_dataset(runs: Sequence[StoredRun]) -> Dataset:
    """One row per cell and run, in the order of the runs' cases."""
    rows = [row for run in runs for row in _rows(run, several=len(runs) > 1)]
    ranks = implementation_ranks(row for row in rows if row["ratio"] is not None)
    cases = {case: place for place, case in enumerate(dict.fromkeys(row["case"] for row in rows))}
    numbers = {run.label: place for place, run in enumerate(runs)}
    first = _first_times(rows, runs[0].label)
    for row in rows:
        row["rank"] = ranks.get(row["implementation"], len(ranks))
        row["row_rank"] = cases[row["case"]] * len(runs) + numbers[row["run"]]
        base = first.get((row["case"], row["implementation"], row["device"], row["pass"]))
        row["over_first"] = row["median_s"] / base if base and row["median_s"] and row["run"] != runs[0].label else None
    names = rows[0].keys() if rows else ()
    return {name: [row[name] for row in rows] for name in names}


def _first_times(rows: Sequence[Mapping[str, Any]], label: str) -> dict[tuple[str, ...], float]:
    return {
        (row["case"], row["implementation"], row["device"], row["pass"]): row["median_s"]
        for row in rows
        if row["run"] == label and row["median_s"] is not None
    }


def _rows(run: StoredRun, *, several: bool) -> Iterable[dict[str, Any]]:
    best = winners(run.records)
    seen = smallest_visible(run.side)
    for record in run.records:
        fastest = best[record.case].median_s if record.case in best else None
        ratio = record.median_s / fastest if record.median_s and fastest else None
        is_best = best.get(record.case) is record
        kind = kind_of(record)
        row = {name.rstrip("_"): getattr(record, name) for name in _COPIED}
        row["status"] = str(record.status)
        yield {
            "run": run.label,
            "machine": run.machine,
            **row,
            "row": _row_name(record, run.label if several else ""),
            "shape": shape_words(_shape(record)),
            "kind": kind,
            "mark": "best" if is_best else "bad" if kind in ("wrong", "failed") else "",
            "sign": SIGNS.get(kind, "") if ratio is None else ("★" if is_best else "") + three_digits(ratio),
            "ratio": ratio,
            "interval": _half_width(record),
            "limit_s": limit_s(record, run),
            "sees": seen.get(record.key),
        }


def _row_name(record: Record, run: str) -> str:
    words = [record.case, *(["backward too"] if record.pass_ != "forward" else [])]  # noqa: S105 - a pass of the model
    return " · ".join([*words, run] if run else words)


_SHAPE = (*"BTSNKHV", "dtype", "pass_", "causal", "window", "softcap", "scale", "mask", "bias", "kv_lengths")


def _shape(record: Record) -> dict[str, object]:
    return {name: getattr(record, name) for name in _SHAPE}


def kind_of(record: Record) -> str:
    """How a cell ended, in the words of the page: timed, refused, wrong, not tried or failed."""
    if record.status is Status.OK:
        return "timed"
    if record.status is Status.INCORRECT:
        return "wrong"
    if record.reason.startswith(NOT_TRIED):
        return "not tried"
    return "failed" if record.failed else "refused"


def _half_width(record: Record) -> float | None:
    if record.median_s is None or record.ci_low_s is None or record.ci_high_s is None:
        return None
    return (record.ci_high_s - record.ci_low_s) / 2 / record.median_s


def limit_s(record: Record, run: StoredRun) -> float | None:
    """Seconds that the roofline of this run allows the cell's case, of whoever computes it; None where it is not known."""
    if record.flops and record.moved_bytes:
        rates = run.state.matmul_gflops
        reachable = attainable_gflops(record.flops, record.moved_bytes, record.dtype, rates, run.state.gb_per_s)
        return record.flops / reachable / 1e9 if reachable else None
    if record.median_s and record.peak_fraction and math.isfinite(record.peak_fraction):
        return record.median_s * record.peak_fraction
    return None


def smallest_visible(side: Side) -> dict[Key, float]:
    """Cell -> the slowdown that a second run like this one would have shown nine times in ten.

    From the run held against itself: `compare` then knows the spread of two such runs. Cells whose processes are too few to
    tell are not in it.
    """
    if not side.logs:
        return {}
    against_itself = compare_sides(side, side, asked_thresholds("5%", None, None), 0.01, Noise(None, None, None))
    return {
        (cell.case, cell.implementation, cell.device, cell.pass_): cell.change.smallest_visible
        for cell in against_itself.cells
        if cell.change is not None and math.isfinite(cell.change.smallest_visible)
    }


def implementation_ranks(timed: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Implementation -> its place by mean ratio to the winner; those that did less than half of the cases come last."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for row in timed:
        ratios[row["implementation"]].append(row["ratio"])
    most = max(map(len, ratios.values()), default=0)
    order = sorted(ratios, key=lambda name: (len(ratios[name]) < most / 2, geometric_mean(ratios[name])))
    return {id: place for place, id in enumerate(order)}


def frameworks_of(runs: Sequence[StoredRun]) -> list[str]:
    """In the order of the registry, then others as they appear."""
    found = dict.fromkeys(record.framework for run in runs for record in run.records)
    known = [name for name in registry.FRAMEWORKS if name in found]
    return known + [name for name in found if name not in known]


def fairness_dataset(runs: Sequence[StoredRun]) -> Dataset:
    """One row per run and implementation: what makes its cells comparable, all values that occurred."""
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for run in runs:
        for record in run.records:
            if record.status is Status.OK:
                found[run.label, record.implementation].append(record)
    names = ("threads", "layout", "matmul_precision", "jit", "lowered", "kernel")
    rows = [
        {"run": label, "framework": records[0].framework, "implementation": implementation}
        | {name: _together(getattr(r, name) for r in records) for name in names}
        for (label, implementation), records in found.items()
    ]
    return {name: [row[name] for row in rows] for name in ("run", "framework", "implementation", *names)}


def _together(texts: Iterable[str]) -> str:
    """The different ones; a kernel that names its sizes has one for each case, of which two show the pattern."""
    different = [text for text in dict.fromkeys(texts) if text]
    more = len(different) - 2
    return "; ".join(different) if more <= 0 else f"{'; '.join(different[:2])}; and {more} more"


def overall_dataset(runs: Sequence[StoredRun]) -> Dataset:
    """One row per run and implementation: how often it wins, and how far behind it is."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        best = winners(run.records)
        of: dict[str, list[Record]] = defaultdict(list)
        for record in run.records:
            of[record.implementation].append(record)
        for implementation, records in of.items():
            kinds = [kind_of(record) for record in records]
            pairs = [(r.median_s / (best[r.case].median_s or 1), r.case) for r in records if r.median_s]
            worst = max(pairs, default=(None, ""))
            errors = [r.error_over_bound for r in records if r.error_over_bound is not None]
            rows.append(
                {
                    "run": run.label,
                    "framework": records[0].framework,
                    "implementation": implementation,
                    "mean": geometric_mean([ratio for ratio, _ in pairs]) if pairs else None,
                    "wins": sum(best.get(r.case) is r for r in records),
                    "timed": len(pairs),
                    "refused": kinds.count("refused"),
                    "failed": kinds.count("wrong") + kinds.count("failed"),
                    "worst": worst[0],
                    "worst_case": worst[1],
                    "error": max(errors, default=None),
                }
            )
    rows.sort(key=lambda row: (row["run"], -row["timed"] * 2 < 0, row["mean"] or math.inf))
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


OVERALL = (
    IMPLEMENTATION,
    Column("mean", "x best, mean", Kind.RATIO, "Geometric mean over its timed cases of time over the winner's"),
    Column("wins", "best in", Kind.COUNT, "Cases in which it is the fastest right one"),
    Column("timed", "timed", Kind.COUNT, "Cases"),
    Column("refused", "refused", Kind.COUNT, "Cases that it says it cannot do"),
    Column("failed", "wrong or failed", Kind.COUNT),
    Column("worst", "at worst", Kind.RATIO),
    Column("worst_case", "in case"),
    Column("error", "error / bound, at most", Kind.NUMBER),
)
FAIRNESS = (
    IMPLEMENTATION,
    Column("threads", "threads"),
    Column("layout", "native layout"),
    Column("matmul_precision", "matmul precision"),
    Column("jit", "compiled"),
    Column("lowered", "expressed through the mask", help="Semantics written into mask or bias before the clock"),
    Column("kernel", "what ran"),
)
