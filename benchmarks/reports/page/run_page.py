"""The page of one or more runs."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING

from benchmarks.comparison.comparability import differences
from benchmarks.insights import handicap_line, three_lines
from benchmarks.reports.page import cells as c
from benchmarks.reports.page import derived, times, trust
from benchmarks.reports.page.growing import growing
from benchmarks.reports.page.machines import environment_section
from benchmarks.reports.page.model import Filter, Page, Section
from benchmarks.reports.page.stored_runs import cpus_words
from benchmarks.reports.text import seconds, three_digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.records import Record
    from benchmarks.reports.page.answers import Answers
    from benchmarks.reports.page.model import Dataset
    from benchmarks.reports.page.stored_runs import StoredRun

MOST_CELLS = 20_000
"""A page holds so many; of larger inputs the first cases, with all cells in a file beside it."""
FILTERS = (
    Filter("framework", "framework"),
    Filter("dtype", "dtype"),
    Filter("pass", "pass"),
    Filter("case", "case"),
    Filter("implementation", "implementation"),
    Filter("run", "run"),
    Filter("machine", "machine"),
)


def run_page(runs: Sequence[StoredRun], answers: Answers | None, *, beside: str = "") -> Page:
    """All that these runs have to say. `beside`: the name of the file with all cells, where they are too many for a page."""
    shown = [_cut(run, MOST_CELLS // len(runs)) for run in runs]
    frameworks = c.frameworks_of(shown)
    cells = c.cells_dataset(shown)
    ladders, seconds_by_length, bytes_by_length = growing(shown)
    datasets: dict[str, Dataset] = {
        "cells": {**cells, "start": derived.started(shown)},
        "overall": c.overall_dataset(runs),
        "ladders": seconds_by_length,
        "memory-ladders": bytes_by_length,
        "memory": derived.memory_dataset(cells),
        "pairs": derived.pairs_dataset(shown, cells),
        "paybacks": derived.paybacks_dataset(shown),
        "fairness": c.fairness_dataset(runs),
    }
    if answers is not None:
        datasets["conformance"] = answers.dataset
    sections = (
        times.heat_map(shown, cells),
        times.side_by_side(shown, _apart(runs)),
        times.lengths(shown, ladders, cells, frameworks),
        times.memory(shown, ladders, cells, frameworks),
        times.passes(shown, datasets["pairs"], frameworks),
        times.compiling(shown, datasets["paybacks"], frameworks),
        trust.accuracy(shown, cells, frameworks),
        trust.noise(shown, cells, frameworks),
        trust.fairness(runs),
        trust.conformance(answers),
        environment_section(runs),
        trust.all_cells(shown, _cut_note(runs, shown, beside)),
    )
    kept: list[Section] = [section for section in sections if section is not None]
    used = {block.dataset for section in kept for block in section.blocks if hasattr(block, "dataset")}
    return Page(
        title=_title(runs),
        intro=_intro(runs),
        facts=_facts(runs),
        sections=tuple(kept),
        datasets={name: dataset for name, dataset in datasets.items() if name in used},
        filters=FILTERS,
    )


def _cut(run: StoredRun, most: int) -> StoredRun:
    """The run's first whole cases, as many as fit; all of them, usually."""
    if len(run.records) <= most:
        return run
    of: dict[str, list[Record]] = defaultdict(list)
    for record in run.records:
        of[record.case].append(record)
    kept: list[Record] = []
    for records in of.values():
        if kept and len(kept) + len(records) > most:
            break
        kept += records
    side = dataclasses.replace(run.side, records={record.key: record for record in kept})
    return dataclasses.replace(run, records=tuple(kept), side=side)


def _cut_note(runs: Sequence[StoredRun], shown: Sequence[StoredRun], beside: str) -> str:
    all_, here = sum(len(run.records) for run in runs), sum(len(run.records) for run in shown)
    if all_ == here:
        return ""
    where = beside or "summary.csv"
    return f"This page holds the first {here:,} of {all_:,} cells, in whole cases; all of them stand in {where}."


def _title(runs: Sequence[StoredRun]) -> str:
    if len(runs) > 1:
        return f"{len(runs)} runs side by side: {', '.join(run.label for run in runs)}"
    suites = dict.fromkeys(record.suite for record in runs[0].records)
    where = f" on {runs[0].machine.partition(',')[0]}" if runs[0].machine else ""
    return f"Attention, suite {', '.join(suites)}{where}"


def _intro(runs: Sequence[StoredRun]) -> tuple[str, ...]:
    told: list[str] = []
    for run in runs:
        name = f"{run.label}: " if len(runs) > 1 else ""
        lines = three_lines(run.records, run.state)
        told.append(name + _counted(run))
        told += lines if len(runs) == 1 else [name + line for line in lines[:1]]
        told += [f"{name}handicap: {handicap_line(handicap)}" for handicap in run.state.handicaps]
        told += [f"{name}{note}" for note in run.state.notes]
    return tuple(told)


def _counted(run: StoredRun) -> str:
    """What was measured, in a sentence."""
    records = run.records
    implementations = {r.implementation for r in records}
    kinds = defaultdict[str, int](int)
    for record in records:
        kinds[c.kind_of(record)] += 1
    others = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if kind != "timed")
    passes = " and ".join(dict.fromkeys(r.pass_.replace("_", " and ") for r in records))
    dtypes = ", ".join(dict.fromkeys(r.dtype for r in records))
    frameworks = _number(len({r.framework for r in records}), "framework")
    cases = _number(len({r.case for r in records}), "case")
    return (
        f"{_number(len(implementations), 'implementation')} of attention in {frameworks}, on {cases} ({passes}; {dtypes}): "
        f"each held to a float64 oracle, then timed side by side. {kinds['timed']} of {len(records)} cells timed"
        + (f", {others}." if others else ".")
    )


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _facts(runs: Sequence[StoredRun]) -> tuple[tuple[str, str], ...]:
    if len(runs) > 1:
        return tuple((run.label, run.machine or "machine not recorded") for run in runs)
    run = runs[0]
    versions = "; ".join(run.versions.values())
    facts = (
        ("machine", run.machine),
        ("CPUs", cpus_words(run.environment)),
        ("device", ", ".join(dict.fromkeys(record.device for record in run.records))),
        ("measured", str(run.environment.get("time", ""))[:16].replace("T", " ")),
        ("took", _took(run)),
        ("versions", versions),
    )
    return tuple((name, value) for name, value in facts if value)


def _apart(runs: Sequence[StoredRun]) -> list[str]:
    """In what each run differs from the first, where it may not if times are to be compared."""
    told = []
    for run in runs[1:]:
        found = differences(runs[0].side, run.side)
        words = ", ".join(map(str, (*found.refused, *found.told)[:8]))
        kind = "not comparable as code against code: they differ" if found.refused else "comparable; they differ"
        if words:
            told.append(f"{runs[0].label} and {run.label} are {kind} in {words}.")
    return told


def _took(run: StoredRun) -> str:
    """As in: 286 s, 50% of it in timed blocks."""
    wall, timed = run.state.wall_s, run.state.timed_s
    return f"{seconds(wall)}, {three_digits(100 * timed / wall)}% of it in timed blocks" if wall else ""
