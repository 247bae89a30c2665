"""`run`: resolve the request, measure, print."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import suites
from benchmarks.cli.consent import check_named
from benchmarks.cli.options import Format, in_pass, resolve_cpus, resolve_environment, resolve_plugins
from benchmarks.comparison.noise import NOISE, noise_of_machine, read_noise
from benchmarks.errors import INTERRUPTED, UsageError
from benchmarks.harness.environment import threads_of_quota
from benchmarks.harness.state import State
from benchmarks.harness.steering import thread_variables
from benchmarks.insights import three_lines
from benchmarks.measure import Outcome, check_resumable, measure, remove_if_empty
from benchmarks.plan import (
    Plan,
    asked_frameworks,
    check_device,
    check_installed,
    select_cases,
    select_implementations,
)
from benchmarks.records import Status
from benchmarks.reports.footer import footer
from benchmarks.reports.formats import FORMATS
from benchmarks.reports.progress import RunProgress
from benchmarks.reports.terminal import console, run_table
from benchmarks.reports.text import harmless
from benchmarks.run_folder import DEFAULT_PARENT, RunFolder, new_run_id

if TYPE_CHECKING:
    from benchmarks.cases import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What the user typed."""

    suite: str
    cases: list[str]
    own_case: Case | None
    pass_: str | None
    implementations: list[str]
    frameworks: list[str]
    device: str
    plugins: list[Path] | None
    out: Path | None
    resume: Path | None
    format: Format
    quiet: bool
    cpus: str | None
    threads: int | None
    env: list[str] | None
    processes: int | None
    blocks: int
    block_s: float
    time_limit_s: float
    seed: int


def run_suite(request: RunRequest) -> int:
    """Do it, print it; the exit status."""
    if request.resume is not None:
        folder = RunFolder(request.resume)
        plan, state = folder.load()
        check_named(folder.path, plan, request.plugins or (), request.env or ())
        check_resumable(folder, plan)
        folder.open()
    else:
        plan, state = _plan(request), State()
        folder = RunFolder.create(request.out or DEFAULT_PARENT / new_run_id(plan.suite), plan)
    try:
        with RunProgress(plan, quiet=request.quiet) as progress:
            outcome = measure(plan, folder, state, progress.show, _noise_floor(plan, folder))
    except UsageError:
        if request.resume is None:
            folder.close()
            remove_if_empty(folder.path)
        raise
    _print(outcome, plan, folder, request.format)
    if outcome.interrupted:
        return INTERRUPTED
    failed = any(r.failed for r in outcome.records)
    timed = any(r.status is Status.OK for r in outcome.records)
    return 1 if failed or not timed else 0


def _noise_floor(plan: Plan, folder: RunFolder) -> float | None:
    """What an audit of this machine has learned, where there was one; kept beside the run, where `compare` looks for it."""
    file = noise_of_machine(plan.cpus)
    if not file.is_file():
        return None
    noise = read_noise(file)
    shutil.copy(file, folder.path / NOISE)
    return noise.floor


def _plan(request: RunRequest) -> Plan:
    check_device(request.device)
    neutral, variables = resolve_environment(request.env)
    cpus = resolve_cpus(request.cpus)
    threads = request.threads or threads_of_quota(cpus)
    asked = asked_frameworks(request.frameworks, request.implementations)
    if request.own_case is not None and request.cases:
        raise UsageError("--case selects from a suite and --shape gives a case of your own: use one of them")
    own = request.own_case
    cases = in_pass(select_cases(request.suite, request.cases) if own is None else (own,), request.pass_)
    plugins, plugged = resolve_plugins(request.plugins, request.frameworks, request.implementations)
    chosen = select_implementations(request.frameworks, request.implementations, request.device, plugged, request.suite)
    check_installed(asked)
    return Plan(
        suite=request.suite if own is None else "shape",
        cases=cases,
        implementations=chosen,
        device=request.device,
        plugins=plugins,
        asked=asked,
        cpus=cpus,
        neutral=neutral,
        variables=tuple({**dict(thread_variables(threads)), **dict(variables)}.items()),
        threads=threads,
        processes=request.processes or suites.PROCESSES.get(request.suite, suites.USUAL_PROCESSES),
        blocks=request.blocks,
        block_s=request.block_s,
        seed=request.seed,
        time_limit_s=request.time_limit_s,
    )


def _print(outcome: Outcome, plan: Plan, folder: RunFolder, format: Format) -> None:
    out = console()
    if format is not Format.TABLE:
        out.file.write(FORMATS[format](outcome.records))
        return
    out.print(run_table(outcome.records))
    out.print(footer(plan.cases, outcome.records, outcome.state))
    for line in three_lines(outcome.records, outcome.state):
        out.print(line)
    out.print("")
    wall, timed = outcome.state.wall_s, outcome.state.timed_s
    out.print(
        f"{len(outcome.records)} cells in {wall:.0f} s, {timed:.0f} s of it ({timed / max(wall, 1e-9):.0%}) in timed blocks."
    )
    if outcome.interrupted:
        out.print(
            f"Interrupted. Go on with: python -m benchmarks run --resume {harmless(str(folder.path))}", soft_wrap=True
        )
    out.print(f"Written to {harmless(str(folder.path))}", soft_wrap=True)  # paths are for copying: never broken
