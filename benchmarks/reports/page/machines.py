"""The environment of runs, side by side: machine, versions, limits, variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.limits import far_behind
from benchmarks.reports.page.model import Facts, Note, Section
from benchmarks.reports.page.stored_runs import cpus_words
from benchmarks.reports.text import seconds, three_digits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.reports.page.stored_runs import StoredRun


def environment_section(runs: Sequence[StoredRun]) -> Section:
    """Where it was measured, and with what."""
    known = [run for run in runs if run.environment]
    if not known:
        told = "No environment.json lies beside the cells: on which machine they were measured is not known."
        return Section("environment", "Environment", (told,))
    head = ("", *(run.label for run in known))
    blocks: list[Facts | Note] = [
        Facts("Machine and versions", head, _merged([_facts(run.environment) for run in known])),
    ]
    limits = _merged([_limits(run) for run in known])
    if limits:
        blocks.append(Facts("Limits, as each framework has measured them in this run", head, limits))
    blocks += [Note(line) for run in known for line in far_behind(run.state)]
    variables = _merged([_variables(run.environment) for run in known])
    if variables:
        blocks.append(Facts("Variables that steer speed", head, variables))
    settings = _merged([_settings(run.environment) for run in known])
    if settings:
        blocks.append(Facts("Settings that the frameworks told", head, settings, folded=True))
    return Section("environment", "Environment", blocks=tuple(blocks))


def _merged(tables: Sequence[Mapping[str, str]]) -> tuple[tuple[str, ...], ...]:
    names = dict.fromkeys(name for table in tables for name in table)
    return tuple((name, *(table.get(name, "") for table in tables)) for name in names)


def _facts(environment: Mapping[str, Any]) -> dict[str, str]:
    machine, revision = environment.get("machine", {}), environment.get("revision", {})
    words = {name.replace("_", " "): str(value) for name, value in machine.items() if value is not None}
    words["workers"] = cpus_words(environment)
    words["load before"] = " ".join(map(str, environment.get("load_average") or ()))
    words["measured"] = str(environment.get("time", ""))
    words["Python"] = str(environment.get("python", ""))
    if revision.get("commit"):
        words["attnbench"] = f"{str(revision['commit'])[:12]}{', modified' if revision.get('modified') else ''}"
    for name, told in environment.get("frameworks", {}).items():
        words[name] = str(told.get("version") or told.get("reason") or "")
    return {name: value for name, value in words.items() if value}


def _limits(run: StoredRun) -> dict[str, str]:
    found: dict[str, str] = {}
    for dtype, rates in run.state.matmul_gflops.items():
        found |= {f"{dtype} matmul, {name}": f"{three_digits(rate)} GFLOP/s" for name, rate in rates.items()}
    found |= {f"reading memory, {name}": f"{three_digits(rate)} GB/s" for name, rate in run.state.gb_per_s.items()}
    return found | {f"empty call, {name}": seconds(cost) for name, cost in run.state.call_overhead_s.items()}


def _variables(environment: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in environment.get("variables", {}).items()}


def _settings(environment: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"{framework}: {name}": str(value)
        for framework, told in environment.get("frameworks", {}).items()
        for name, value in told.get("settings", {}).items()
    }
