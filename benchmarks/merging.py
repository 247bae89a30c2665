"""Runs that were measured apart, joined into one: shards of a suite, other frameworks, other machines."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks import suites
from benchmarks.comparison.readers import ENVIRONMENT, SAMPLES, SUMMARY, read_environments
from benchmarks.comparison.summaries import parse_summary
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.foreign import LARGE_BYTES, check_end, csv_rows, opened, parse_json, read_bytes, read_text
from benchmarks.machines import joined, of_machines, why_not_one
from benchmarks.plan import Plan
from benchmarks.records import safe_text, to_csv
from benchmarks.run_folder import SAMPLE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.comparison.side import Key
    from benchmarks.records import Record

_PLAN = "plan.json"
_PROBLEM = ("dtype", *"BTSNKHV", "causal", "window", "softcap", "scale", "mask", "bias", "kv_lengths")
_KEY = ("case", "implementation", "device", "pass")


@dataclass(frozen=True, slots=True)
class Part:
    """One of the runs."""

    path: Path
    """As it was given."""
    machines: dict[str, dict[Key, Record]]
    environments: dict[str, dict[str, Any]]
    """By machine; empty where nothing is known."""
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """All of them."""

    parts: tuple[Part, ...]
    machines: dict[str, dict[Key, Record]] = field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def records(self) -> list[Record]:
        """Every cell, machine by machine, in the order of their suites."""
        return [record for cells in self.machines.values() for record in cells.values()]


def read_part(path: Path) -> Part:
    """A run folder or a summary.csv. UnreadableResults says which file, which line and what was expected."""
    file = path / SUMMARY if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise UnreadableResults(f"{path} holds no {SUMMARY}: it is no run folder, or its run has not ended")
    machines = parse_summary(read_bytes(file), str(file))
    environments: dict[str, dict[str, Any]] = {}
    folder = _folder(path)
    if folder is not None and (folder / ENVIRONMENT).exists():
        environments = read_environments(folder / ENVIRONMENT)
        if (
            len(machines) == 1 and len(environments) == 1
        ):  # rows from before machines were named take the name from there
            name = next(iter(machines)) or next(iter(environments))
            machines = {name: next(iter(machines.values()))}
            environments = {name: next(iter(environments.values()))}
    named = {
        machine: {k: r if r.machine == machine else dataclasses.replace(r, machine=machine) for k, r in cells.items()}
        for machine, cells in machines.items()
    }
    return Part(path, named, environments, None if folder is None else _plan(folder / _PLAN))


def _folder(path: Path) -> Path | None:
    """Files lie beside a summary.csv that has kept its name; any other CSV stands alone."""
    if path.is_dir():
        return path
    return path.parent if path.name == SUMMARY else None


def _plan(file: Path) -> Plan | None:
    if not file.exists():
        return None
    text = read_text(file, LARGE_BYTES)
    try:
        return Plan.from_dict(parse_json(text, "it"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableResults(f"{file} is damaged: {str(error)[:300]}") from None


def merge(parts: Sequence[Part]) -> Merged:
    """One run of all. UsageError, naming cell and runs, where a cell of one machine is in two of them, where a case is not
    the same problem everywhere, and where parts of one machine were made under conditions that make them two runs.
    """
    whole = Merged(tuple(parts))
    _check_cases(parts)
    owner: dict[tuple[str, Key], Part] = {}
    for part in parts:
        for machine, cells in part.machines.items():
            for key in cells:
                before = owner.setdefault((machine, key), part)
                if before is not part:
                    raise UsageError(
                        f"{' '.join(key)} of machine {machine or 'not recorded'} is in {before.path} and in {part.path}: "
                        "each cell may be there once; leave one of the runs out"
                    )
            whole.machines.setdefault(machine, {}).update(cells)
    for machine, cells in whole.machines.items():
        whole.machines[machine] = _in_order(cells)
        told = [(part, part.environments[machine]) for part in parts if machine in part.environments]
        for part, environment in told[1:]:
            if why := why_not_one(told[0][1], environment):
                raise UsageError(
                    f"{told[0][0].path} and {part.path} are of one machine, {machine}, and differ in {why}: "
                    "they are two runs; compare them, or measure one of them anew"
                )
        if told:
            whole.environments[machine] = joined(environment for _, environment in told)
    return whole


def _check_cases(parts: Iterable[Part]) -> None:
    """The same name is the same problem."""
    first: dict[str, tuple[Part, Record]] = {}
    plans: dict[tuple[str, str], tuple[Part, Any]] = {}
    for part in parts:
        for cells in part.machines.values():
            for record in cells.values():
                known, before = first.setdefault(record.case, (part, record))
                for name in _PROBLEM:
                    x, y = getattr(before, name), getattr(record, name)
                    if x != y:
                        raise UsageError(
                            f"case {record.case} is not the same problem: {name} is {x or 'none'} in {known.path} "
                            f"and {y or 'none'} in {part.path}"
                        )
        for case in part.plan.cases if part.plan else ():
            known, defined = plans.setdefault((case.name, case.pass_), (part, case))
            if defined.values != case.values:  # what summary.csv does not tell
                raise UsageError(
                    f"case {case.name} is not the same problem: values are {defined.values} in {known.path} "
                    f"and {case.values} in {part.path}"
                )


def _in_order(cells: dict[Key, Record]) -> dict[Key, Record]:
    """As their suite has them: shards come out as the undivided run; what is in no suite keeps its place after them."""
    order: dict[str, int] = {}
    for suite in dict.fromkeys(record.suite for record in cells.values()):
        if suite in suites.SUITES:
            for case in suites.load(suite):
                order.setdefault(case.name, len(order))
    for key in cells:
        order.setdefault(key[0], len(order))
    return {key: cells[key] for key in sorted(cells, key=lambda key: order[key[0]])}


def plan_of(merged: Merged) -> Plan | None:
    """All that was asked for, as one plan; None where a part does not tell."""
    plans = [part.plan for part in merged.parts if part.plan is not None]
    if len(plans) < len(merged.parts):
        return None
    cases = {(case.name, case.pass_): case for plan in plans for case in plan.cases}
    names = dict.fromkeys(key[0] for cells in merged.machines.values() for key in cells)
    place = {name: number for number, name in enumerate(names)}
    return dataclasses.replace(
        plans[0],
        suite="+".join(dict.fromkeys(plan.suite for plan in plans)),
        cases=tuple(cases[key] for key in sorted(cases, key=lambda key: place.get(key[0], len(place)))),
        implementations=tuple(dict.fromkeys(i for plan in plans for i in plan.implementations)),
        plugins=tuple(dict.fromkeys(p for plan in plans for p in plan.plugins)),
        asked=tuple(dict.fromkeys(name for plan in plans for name in plan.asked)),
        shard="",
    )


def write(merged: Merged, out: Path) -> None:
    """The folder, summary.csv last. UsageError where it holds a run already or cannot be written."""
    if any((out / name).exists() for name in (SUMMARY, SAMPLES, ENVIRONMENT, "journal.jsonl")):
        raise UsageError(f"{out} holds a run already; choose another --out")
    plan, part = plan_of(merged), out / f"{SAMPLES}.part"
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_samples(merged, part)
        part.replace(out / SAMPLES)
        texts = {ENVIRONMENT: json.dumps({**of_machines(merged.environments), "merged": _runs(merged)}, indent=1)}
        texts |= {} if plan is None else {_PLAN: json.dumps(plan.to_dict(), indent=1)}
        for name, text in {**texts, SUMMARY: to_csv(merged.records)}.items():
            (out / f"{name}.part").write_text(text, encoding="utf-8")
            (out / f"{name}.part").replace(out / name)
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror or error}") from None
    except UnreadableResults:
        part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            out.rmdir()
        raise


def _runs(merged: Merged) -> list[dict[str, Any]]:
    return [
        {
            "run_id": next(iter(cells.values())).run_id,
            "machine": machine,
            "shard": part.plan.shard if part.plan else "",
            "cells": len(cells),
        }
        for part in merged.parts
        for machine, cells in part.machines.items()
    ]


def _write_samples(merged: Merged, file: Path) -> None:
    """Line by line: a million blocks are never in memory at once."""
    several = len(merged.machines) > 1
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*SAMPLE_COLUMNS, *(["machine"] if several else [])])
        for part in merged.parts:
            folder = _folder(part.path)
            if folder is not None and (folder / SAMPLES).exists():
                writer.writerows(_blocks(folder / SAMPLES, part, several=several))


def _blocks(file: Path, part: Part, *, several: bool) -> Iterator[list[str]]:
    only = next(iter(part.machines)) if len(part.machines) == 1 else None
    with opened(file) as (stream, _):
        check_end(stream, str(file))
        rows = csv_rows(stream, str(file))
        _, header = next(rows, (0, []))
        for name in (*SAMPLE_COLUMNS, *([] if only is not None else ["machine"])):
            if name not in header:
                raise UnreadableResults(f"{file} lacks the column {name}")
        place = [header.index(name) for name in SAMPLE_COLUMNS]
        key_of = [header.index(name) for name in _KEY]
        for line, row in rows:
            machine = only if only is not None else row[header.index("machine")]
            case, implementation, device, pass_ = (row[i] for i in key_of)
            if (case, implementation, device, pass_) not in part.machines.get(machine, {}):
                raise UnreadableResults(
                    f"{file}, line {line}: {case} {implementation} {device} {pass_} is not in {SUMMARY}"
                )
            yield [safe_text(text) for text in (*(row[i] for i in place), *([machine] if several else []))]
