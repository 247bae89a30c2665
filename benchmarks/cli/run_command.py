"""`run`: resolve the request, measure, print."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import suites
from benchmarks.cli.consent import check_named, to_be_named
from benchmarks.cli.options import Format, in_dtype, in_pass, parse_bytes, resolve_environment, resolve_plugins
from benchmarks.comparison.noise import NOISE, noise_of_machine, read_noise
from benchmarks.errors import INTERRUPTED, UsageError
from benchmarks.files import write_atomically
from benchmarks.harness.cpus import resolve_cpus
from benchmarks.harness.process import ROOT
from benchmarks.harness.state import State
from benchmarks.harness.threads import with_threads
from benchmarks.insights import three_lines
from benchmarks.measure import Outcome, check_resumable, measure, remove_if_empty
from benchmarks.parquet import check_parquet, write_run
from benchmarks.plan import (
    Plan,
    asked_frameworks,
    check_device,
    check_installed,
    select_cases,
    select_implementations,
    select_shard,
)
from benchmarks.records import Status, by_machine
from benchmarks.rehearsal import rehearse
from benchmarks.reports.footer import footer
from benchmarks.reports.formats import FORMATS
from benchmarks.reports.progress import RunProgress
from benchmarks.reports.terminal import console, run_table
from benchmarks.reports.text import harmless
from benchmarks.run_folder import DEFAULT_PARENT, REPORT, RunFolder, new_run_id

if TYPE_CHECKING:
    from benchmarks.cases import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What the user typed."""

    suite: str
    cases: list[str]
    own_case: Case | None
    dtype: str | None
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
    block_s: float | None
    time_limit_s: float
    memory_limit: str | None
    seed: int
    shard: str | None = None
    cluster: str | None = None
    parquet: bool = False
    given: tuple[str, ...] = ()
    """The options that were typed, by their long names."""


_OF_A_RESUME = ("resume", "format", "quiet", "suite", "cluster", "parquet", "plugin", "env")
"""Options that may stand beside --resume; the suite has to be the same, plug-ins and variables those of the plan."""


def run_suite(request: RunRequest) -> int:
    """Do it, print it; the exit status."""
    if request.parquet:
        check_parquet()
    if request.resume is not None:
        folder, plan, state = _resume(request, request.resume)
    else:
        plan, state = _plan(request), State()
        folder = RunFolder.create(request.out or DEFAULT_PARENT / new_run_id(plan.suite), plan)
    try:
        outcome = _measured(request, plan, folder, state)
    except UsageError:
        folder.close()
        if request.resume is None:
            remove_if_empty(folder.path)
        raise
    if request.parquet:
        write_run(folder.path)
    _print(outcome, plan, folder, request.format)
    _write_page(folder, request.format)
    if outcome.interrupted:
        return INTERRUPTED
    failed = any(r.failed for r in outcome.records)
    timed = any(r.status is Status.OK for r in outcome.records)
    return 1 if failed or not timed else 0


def _resume(request: RunRequest, path: Path) -> tuple[RunFolder, Plan, State]:
    """What was begun. UsageError for options that belong to the beginning, and for other conditions than it had."""
    folder, plan, state = RunFolder.resume(path)
    try:
        _insist_on_none(set(request.given) - set(_OF_A_RESUME))
        check_named(path, plan, request.plugins or (), request.env or ())
        suite = request.suite if "suite" in request.given else plan.suite
        _check_resumable(folder, plan, suite, request.cluster)
        rehearse(plan, folder, state)
    except BaseException:
        folder.close()
        raise
    return folder, plan, state


def _insist_on_none(options: set[str]) -> None:
    for name in sorted(options):
        raise UsageError(
            f"--{name} belongs to the run's beginning; --resume goes on as it was begun, leave it out, or start anew"
        )


def _check_resumable(folder: RunFolder, plan: Plan, suite: str, address: str | None) -> None:
    if address is None and not plan.cluster:
        check_resumable(folder, plan, suite)
        return
    from benchmarks.cluster import measure as on_cluster

    on_cluster.check_resumable(folder, plan, address)


def _measured(request: RunRequest, plan: Plan, folder: RunFolder, state: State) -> Outcome:
    if request.cluster is not None:
        from benchmarks.cluster.measure import measure_on_cluster
        from benchmarks.reports.cluster_progress import cluster_progress

        show = cluster_progress(plan, quiet=request.quiet)
        return measure_on_cluster(plan, folder, state, show, request.cluster)
    with RunProgress(plan, quiet=request.quiet) as progress:
        return measure(plan, folder, state, progress.show, _noise_floor(plan, folder))


def _write_page(folder: RunFolder, format: Format) -> None:
    """report.html into the run folder. What goes wrong with it is told, and fails no run: the measurements are written.

    In a process of its own: what draws and judges a page takes 150 MB, and this one is to stay small beside the workers.
    """
    file = (folder.path / REPORT).resolve()
    command = [sys.executable, "-m", "benchmarks", "report", str(file.parent), "--output", str(file)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        line = f"attnbench: no {REPORT}: {lines[-1] if lines else f'status {done.returncode}'}"
        print(harmless(line), file=sys.stderr)
        return
    if format is Format.TABLE:
        console().print(f"To look at: {harmless(str(folder.path / REPORT))}", soft_wrap=True)


def _noise_floor(plan: Plan, folder: RunFolder) -> float | None:
    """What an audit of this machine has learned, where there was one; kept beside the run, where `compare` looks for it."""
    file = noise_of_machine(plan.cpus)
    if not file.is_file():
        return None
    noise = read_noise(file)
    try:
        write_atomically(folder.path / NOISE, file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot write {folder.path / NOISE}: {error.strerror or error}") from None
    return noise.floor


def _plan(request: RunRequest) -> Plan:
    check_device(request.device)
    neutral, variables = resolve_environment(request.env)
    here = request.cluster is None  # each machine of a cluster resolves its own
    cpus = resolve_cpus(request.cpus if here else None)
    threads = request.threads
    if here or threads is not None:
        threads, variables = with_threads(threads, cpus, neutral=neutral, variables=variables)
    asked = asked_frameworks(request.frameworks, request.implementations)
    if request.own_case is not None and request.cases:
        raise UsageError("--case selects from a suite and --shape gives a case of your own: use one of them")
    own = request.own_case
    if own is not None and request.shard is not None:
        raise UsageError("--shard divides the cases of a suite and --shape gives one case: use one of them")
    cases = in_pass((own,) if own is not None else _suite_cases(request), request.pass_)
    plugins, plugged = resolve_plugins(request.plugins, request.frameworks, request.implementations)
    chosen = select_implementations(request.frameworks, request.implementations, request.device, plugged, request.suite)
    if here:
        check_installed(asked)
    return Plan(
        suite=request.suite if own is None else "shape",
        cases=cases,
        implementations=chosen,
        device=request.device,
        plugins=plugins,
        asked=asked,
        cpus=cpus,
        cluster=not here,
        cpus_asked="" if here else request.cpus or "",
        neutral=neutral,
        variables=variables,
        threads=threads,
        processes=request.processes or suites.PROCESSES.get(request.suite, suites.USUAL_PROCESSES),
        blocks=request.blocks,
        block_s=request.block_s or suites.BLOCK_S.get(request.suite, suites.USUAL_BLOCK_S),
        seed=request.seed,
        shard=request.shard or "",
        time_limit_s=request.time_limit_s,
        memory_limit_bytes=None if request.memory_limit is None else parse_bytes(request.memory_limit),
    )


def _suite_cases(request: RunRequest) -> tuple[Case, ...]:
    cases = in_dtype(select_cases(request.suite, request.cases), request.dtype)
    return select_shard(cases, request.suite, request.shard)


def _print(outcome: Outcome, plan: Plan, folder: RunFolder, format: Format) -> None:
    out = console()
    if format is not Format.TABLE:
        out.file.write(FORMATS[format](outcome.records))
        return
    out.print(run_table(outcome.records, outcome.state))
    of_machine = by_machine(outcome.records)
    for machine, records in of_machine.items():
        state = outcome.state.machines.get(machine, outcome.state)
        if len(of_machine) > 1:
            out.print(harmless(f"On {machine or 'no machine'}:"))
        out.print(footer(plan.cases, records, state))
        for line in three_lines(records, state):
            out.print(line)
        out.print("")
    wall, timed = outcome.state.wall_s, outcome.state.timed_s
    out.print(
        f"{len(outcome.records)} cells in {wall:.0f} s, {timed:.0f} s of it ({timed / max(wall, 1e-9):.0%}) in timed blocks."
    )
    if outcome.interrupted:
        words = [str(folder.path), *to_be_named(plan), *(["--cluster", "ADDRESS"] if plan.cluster else [])]
        told = harmless(" ".join(words))
        out.print(f"Interrupted. Go on with: python -m benchmarks run --resume {told}", soft_wrap=True)
    out.print(f"Written to {harmless(str(folder.path))}", soft_wrap=True)  # paths are for copying: never broken
