"""The sections about trust: how wrong each one is, noise, fairness, conformance, and the table of everything."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.reports.page import cells as c
from benchmarks.reports.page import charts, heat_maps
from benchmarks.reports.page.model import Chart, Column, Kind, Section, Table
from benchmarks.reports.verdict_words import share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.reports.page.answers import Answers
    from benchmarks.reports.page.model import Dataset
    from benchmarks.reports.page.stored_runs import StoredRun


def accuracy(runs: Sequence[StoredRun], cells: Dataset, frameworks: Sequence[str]) -> Section:
    """How wrong each one is."""
    wrong = [place for place, kind in enumerate(cells["kind"]) if kind == "wrong"]
    lead = [
        f"Wrong: {cells['implementation'][place]} on {cells['case'][place]}: {cells['reason'][place]}"
        for place in wrong[:12]
    ]
    if len(wrong) > 12:
        lead.append(f"... and {len(wrong) - 12} more wrong answers; the table of all cells has them.")
    if not wrong:
        lead = ["Every cell that was timed gave the right answer first: within a bound of its own on each element."]
    chart = Chart(
        "errors",
        charts.strip("cells", "error_over_bound", "largest error over its bound", frameworks, axis="number", rule=1.0),
        "cells",
        c.columns_of(runs, c.CASE, c.IMPLEMENTATION, Column("dtype", "dtype"), c.ERROR, c.NAIVE_ERROR),
        "Largest error against the float64 oracle over its bound, for each case; beyond the dashed line it would be wrong. The "
        "bound follows from the roundoffs that the implementation declares.",
        "Strip chart: a row for each implementation, a point for each case at its error over its bound.",
    )
    return Section("accuracy", "How wrong each one is", tuple(lead), (chart,), short="Accuracy")


def noise(runs: Sequence[StoredRun], cells: Dataset, frameworks: Sequence[str]) -> Section:
    """How far the numbers can be trusted, and what was too small to be seen."""
    chart = Chart(
        "intervals",
        charts.strip("cells", "interval", "half the 95 % interval, of the median", frameworks, axis="share"),
        "cells",
        c.columns_of(runs, c.CASE, c.IMPLEMENTATION, c.MEDIAN, c.INTERVAL, c.SEES, Column("blocks", "blocks", Kind.COUNT),
                     Column("processes", "processes", Kind.COUNT)),
        "How well each median is known. With few processes the interval is a lower bound: part of the noise belongs to the "
        "process.",
        "Strip chart: a row for each implementation, a point for each case at the width of its interval.",
    )  # fmt: skip
    return Section(
        "noise",
        "Noise, and what could not be seen",
        tuple(_unseen(run, cells) for run in runs),
        (chart,),
        short="Noise",
    )


def _unseen(run: StoredRun, cells: Dataset) -> str:
    own = [place for place, label in enumerate(cells["run"]) if label == run.label]
    seen = [value for place in own if isinstance(value := cells["sees"][place], float)]
    floors = {r.noise_floor for r in run.records if r.noise_floor is not None}
    told = f"{run.label}: "
    if seen:
        told += (
            f"a second run like it would have shown a slowdown of {share(statistics.median(seen))} in the median cell and of "
            f"{share(max(seen))} in the worst, nine times in ten. What is smaller, this run could not have seen."
        )
    else:
        told += "its processes are too few, or its samples.csv is not there, to tell which slowdown it could have seen."
    if floors:
        told += f" An audit of this machine could tell {share(max(floors))} from no change."
    return told


def fairness(runs: Sequence[StoredRun]) -> Section:
    """What makes the rows comparable, or not."""
    table = Table(
        "fair", "fairness", c.columns_of(runs, *c.FAIRNESS), "As each implementation ran, over all of its cases"
    )
    lead = (
        "What has to be alike for times to be compared: threads, precision, and what was done before the clock started."
    )
    return Section("fairness", "What makes it fair", (lead,), (table,), short="Fairness")


def conformance(answers: Answers | None) -> Section:
    """Does it compute what is meant."""
    title = "Conformance"
    if answers is None or not answers.dataset["probe"]:
        told = answers.left_out if answers else ()
        ask = (
            "No stored answers of these versions: `check --csv conformance.csv` asks every implementation every question, and "
            "`report --conformance` shows them."
        )
        return Section("conformance", title, (*told, ask))
    versions = "; ".join(version or name for name, version in answers.versions)
    chart = Chart(
        "matrix",
        heat_maps.verdicts("conformance"),
        "conformance",
        (
            c.IMPLEMENTATION, Column("probe", "question"), Column("asks", "what conforming means"), Column("verdict", "answer"),
            Column("reason", "why"), Column("version", "version"),
        ),
        "Every semantic, asked of every implementation on small problems and held to a float64 oracle.",
        "Matrix: a row for each question, a column for each implementation, its answer in each cell.",
        tall="probe",
        matrix=("probe", "implementation", "sign"),
        legend=(
            ("sign-right", "✓ right"), ("sign-differs", "≠ differs from the standard, as declared"),
            ("sign-refused", "· refused, with a reason"), ("sign-wrong", "✗ wrong"),
        ),
    )  # fmt: skip
    lead = f"Not asked in this run: stored answers ({answers.source}) of the same versions: {versions}."
    return Section("conformance", title, (lead, *answers.left_out), (chart,))


def all_cells(runs: Sequence[StoredRun], note: str) -> Section:
    """The table of everything."""
    columns = c.columns_of(
        runs, c.CASE, c.IMPLEMENTATION, Column("dtype", "dtype"), Column("pass", "pass"), c.STATUS, c.MEDIAN, c.INTERVAL,
        c.RATIO, c.DEVICE, c.COLD, c.FIRST, c.MEMORY, c.GFLOPS, c.GB_PER_S, c.LIMIT, c.CHECKED, c.ERROR, c.NAIVE_ERROR,
        Column("speedup", "over naive", Kind.RATIO, "Median of the framework's naive form over this one's"), c.SEES, c.REASON,
    )  # fmt: skip
    table = Table("all", "cells", columns, "All cells; a click on a header sorts by it")
    return Section("cells", "All cells", (note,) if note else (), (table,))
