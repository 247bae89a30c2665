"""The sections about time and memory: each takes what it shows and gives a Section, or None where there is nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends import registry
from benchmarks.compiling import paybacks, twins
from benchmarks.reports.footer import paid_words
from benchmarks.reports.page import cells as c
from benchmarks.reports.page import charts, heat_maps
from benchmarks.reports.page.growing import FEWEST_LENGTHS
from benchmarks.reports.page.model import Chart, Column, Kind, Note, Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.reports.page.growing import Ladder
    from benchmarks.reports.page.model import Dataset
    from benchmarks.reports.page.stored_runs import StoredRun

_MOST_LADDERS = 12
_FITTED = "dotted: the fitted power law where the lengths tell one, its exponent in the tooltip and the table"
_TOP_RATIO = 30.0
"""Where the colours of the heat map end: what is slower still has the last one."""


def heat_map(runs: Sequence[StoredRun], cells: Dataset) -> Section:
    """What wins where."""
    columns = c.columns_of(
        runs, c.CASE, c.IMPLEMENTATION, c.MEDIAN, c.RATIO, c.DEVICE, c.COLD, c.INTERVAL, c.ERROR, c.MEMORY, c.FIRST, c.GFLOPS,
        c.LIMIT, c.STATUS, c.REASON, c.SHAPE,
    )  # fmt: skip
    legend = [("sign-best", "★ fastest right implementation of the case")]
    words = {
        "refused": ("sign-refused", "refused: it says that it cannot do it, or it is not installed"),
        "not tried": ("sign-refused", "… not tried: a shorter length told how it would end"),
        "wrong": ("sign-wrong", "✗ wrong: not timed"),
        "failed": ("sign-failed", "! failed: an error, a crash, or time or memory ran out"),
    }
    occurring = set(cells["kind"])
    legend += [told for kind, told in words.items() if kind in occurring]
    chart = Chart(
        "fastest",
        heat_maps.ratios("cells", _TOP_RATIO),
        "cells",
        columns,
        "Time over that of the fastest right implementation of the case (1.00 is the fastest; colours on a logarithmic scale, "
        f"the darkest from {_TOP_RATIO:.0f} on). Implementations are ordered by their mean. What is filtered out still counts "
        "as the fastest.",
        "Heat map: a row for each case, a column for each implementation, the ratio of its time to the fastest one's in each "
        "cell. The same numbers are in the table below it.",
        matrix=("row", "implementation", "sign"),
        legend=tuple(legend),
    )
    table = Table(
        "overall",
        "overall",
        c.columns_of(runs, *c.OVERALL),
        "Each implementation over all cases of its run",
        sort="mean",
    )
    return Section("heat-map", "What wins where", blocks=(chart, table))


def side_by_side(runs: Sequence[StoredRun], notes: Sequence[str]) -> Section | None:
    """The runs against the first of them."""
    if len(runs) < 2:
        return None
    first = runs[0].label
    others = [run.label for run in runs[1:]]
    chart = Chart(
        "runs-against-first",
        charts.strip(
            "cells", "over_first", f"time over that in {first}", others, axis="ratio", rule=1.0, colours="run"
        ),
        "cells",
        c.columns_of(runs, c.CASE, c.IMPLEMENTATION, c.MEDIAN, Column("over_first", f"over {first}", Kind.RATIO)),
        f"Each cell's time over the same cell's in {first}; left of the dashed line it is faster. A point is a cell, the bar "
        "the median of an implementation. Whether a change is more than noise, `compare` says.",
        "Strip chart: a row for each implementation, a point for each cell at the ratio of its time to the first run's.",
    )
    lead = ("; ".join(f"{run.label}: {run.machine or 'machine not recorded'}" for run in runs) + ".", *notes)
    return Section("runs", "Runs side by side", lead, (chart,))


def lengths(runs: Sequence[StoredRun], ladders: Sequence[Ladder], cells: Dataset, frameworks: Sequence[str]) -> Section:
    """Time against length, and how near each comes to the machine's limit."""
    columns = c.columns_of(
        runs, c.CASE, c.IMPLEMENTATION, Column("S", "keys", Kind.COUNT), Column("seconds", "time", Kind.SECONDS),
        Column("exponent", "time ~ S^", Kind.NUMBER), Column("over", "fitted over"),
    )  # fmt: skip
    blocks: list[Chart | Table | Note] = []
    for place, ladder in enumerate(ladders[:_MOST_LADDERS]):
        fitted = f"{_FITTED}; " if ladder.lengths > 3 else ""
        blocks.append(
            Chart(
                f"ladder-{place}",
                charts.against_length("ladders", frameworks, _length(ladder)),
                "ladders",
                columns,
                f"{ladder.name}: time against length, both logarithmic; {fitted}dashed red: the least time that this machine's "
                "measured limits allow the case.",
                "Line chart: time of a call over the number of keys, a line for each implementation, and the machine's limit.",
                only={"ladder": ladder.name},
            )
        )
    lead = []
    if len(ladders) > _MOST_LADDERS:
        lead.append(f"The first {_MOST_LADDERS} of {len(ladders)} ladders of lengths are drawn.")
    if not ladders:
        lead.append("No two cases differ in nothing but their length: `run --suite scaling` measures such ladders.")
    elif all(ladder.lengths < 4 for ladder in ladders):
        lead.append(
            "An exponent needs four lengths or more that differ in nothing else: `run --suite scaling` has them."
        )
    if any(value is not None for value in cells["peak_fraction"]):
        blocks.append(
            Chart(
                "limit",
                charts.strip(
                    "cells", "peak_fraction", "part of the limit that is reached", frameworks, axis="share", rule=1.0
                ),
                "cells",
                c.columns_of(runs, c.CASE, c.IMPLEMENTATION, c.MEDIAN, c.GFLOPS, c.GB_PER_S, c.LIMIT),
                "GFLOP/s over what the roofline of this machine allows the case: the best matrix product and the best rate of "
                "reading memory that any framework reached in this run. Beyond the dashed line arrays stay in a cache.",
                "Strip chart: a row for each implementation, a point for each case at the part of the machine's limit.",
            )
        )
    return Section("lengths", "Time against length and limit", tuple(lead), tuple(blocks), short="Length and limit")


def _length(ladder: Ladder) -> str:
    return "keys of the cache, S" if ladder.decoding else "length, T = S"


def memory(
    runs: Sequence[StoredRun], ladders: Sequence[Ladder], cells: Dataset, frameworks: Sequence[str]
) -> Section | None:
    """Peak of a warm call, and how it grows with the length."""
    known = [value for value in cells["peak_memory_bytes"] if isinstance(value, int) and value > 0]
    if not known:
        return None
    chart = Chart(
        "memory-map",
        heat_maps.sizes("memory", 4e6, float(max(known))),
        "memory",
        c.columns_of(runs, c.CASE, c.IMPLEMENTATION, c.MEMORY, c.MEDIAN, c.SHAPE),
        "What a warm call takes at its peak beyond its inputs and its output, in MB; less than 4 MB is below what the kernel "
        "resolves.",
        "Heat map: a row for each case, a column for each implementation, megabytes in each cell.",
        matrix=("row", "implementation", "memory_sign"),
    )
    return Section("memory", "Memory", blocks=(chart, *_memory_against_length(runs, ladders, frameworks)))


def _memory_against_length(
    runs: Sequence[StoredRun], ladders: Sequence[Ladder], frameworks: Sequence[str]
) -> list[Chart]:
    columns = c.columns_of(
        runs, c.CASE, c.IMPLEMENTATION, Column("S", "keys", Kind.COUNT), Column("bytes", "memory", Kind.BYTES),
        Column("exponent", "memory ~ S^", Kind.NUMBER), Column("over", "fitted over"),
    )  # fmt: skip
    return [
        Chart(
            f"memory-ladder-{place}",
            charts.against_length("memory-ladders", frameworks, _length(ladder), "bytes", "memory of a call"),
            "memory-ladders",
            columns,
            f"{ladder.name}: memory against length, both logarithmic{f'; {_FITTED}' if ladder.weighed > 3 else ''}. What holds "
            "all scores grows with the square of the length; less than 4 MB is noise.",
            "Line chart: peak memory of a call over the number of keys, a line for each implementation.",
            only={"ladder": ladder.name},
        )
        for place, ladder in enumerate(ladders[:_MOST_LADDERS])
        if ladder.weighed >= FEWEST_LENGTHS
    ]


def passes(runs: Sequence[StoredRun], pairs: Dataset, frameworks: Sequence[str]) -> Section:
    """Forward and backward over forward alone."""
    title = "Forward against backward"
    if not pairs["both_over_forward"]:
        done = sorted({record.pass_ for run in runs for record in run.records})
        told = " and ".join(name.replace("_", " and ") for name in done)
        ask = "forward_backward" if done == ["forward"] else "forward"
        lead = (
            f"Timed here: {told}, and no cell in both. `run --pass {ask}` into another folder, and `report` of both, show what "
            "the gradients cost."
        )
        return Section("backward", title, (lead,), short="Backward")
    over = "forward and backward over forward alone"
    chart = Chart(
        "backward-over-forward",
        charts.strip("pairs", "both_over_forward", over, frameworks, axis="ratio", rule=3.0),
        "pairs",
        (
            c.CASE, c.IMPLEMENTATION, Column("forward_s", "forward", Kind.SECONDS),
            Column("both_s", "with gradients", Kind.SECONDS), Column("both_over_forward", "over forward", Kind.RATIO),
            Column("where", "measured in"),
        ),
        "Time with the gradients of query, key and value over the time of the forward pass. The dashed line stands at 3: that "
        "many times the operations, if nothing is computed twice.",
        "Strip chart: a row for each implementation, a point for each case at the ratio of the two passes.",
    )  # fmt: skip
    return Section("backward", title, blocks=(chart,), short="Backward")


def compiling(runs: Sequence[StoredRun], paid: Dataset, frameworks: Sequence[str]) -> Section:
    """What the first call costs, and when it has paid."""
    chart = Chart(
        "first-calls",
        charts.first_against_warm("cells", frameworks),
        "cells",
        c.columns_of(runs, c.CASE, c.IMPLEMENTATION, c.FIRST, c.MEDIAN, Column("start", "form")),
        "The first call in a fresh process, tracing and compiling included, against a warm one. On the dashed diagonal a start "
        "costs nothing. With warm compile caches it is the cost of finding the compiled code.",
        "Scatter chart: first call over warm call for each cell, triangles for what is compiled.",
    )
    blocks: list[Chart | Table | Note] = [chart]
    twin = twins(registry.implementations())
    for run in runs:
        name = f"{run.label}: " if len(runs) > 1 else ""
        blocks += [Note(f"{name}{paid_words(payback)}.") for payback in paybacks(run.records, twin)]
    if paid["case"]:
        blocks.append(
            Table(
                "paybacks",
                "paybacks",
                c.columns_of(
                    runs, Column("implementation", "compiled"), Column("eager", "as it stands"), c.CASE,
                    Column("calls", "pays after", Kind.COUNT, "Calls after the first"), Column("never", "or never"),
                ),
                "After how many calls each has caught up with the same function as it stands, case by case",
                sort="calls",
                folded=True,
            )
        )  # fmt: skip
    return Section("compiling", "Cost of compiling", blocks=tuple(blocks), short="Compiling")
