"""`audit`: compare identical code with itself, and with known slowdowns put in; print what this machine can see."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.audit import trials as t
from benchmarks.audit.machine_noise import learn, write
from benchmarks.audit.neighbour import busy_neighbour
from benchmarks.audit.resampling import resampled_live, resampled_stored
from benchmarks.audit.rival_work import Work
from benchmarks.audit.rivals import RivalFailed, check_rivals, run_rivals
from benchmarks.cli.options import Format, resolve_environment
from benchmarks.comparison.noise import NOISE, noise_of_machine
from benchmarks.comparison.thresholds import Threshold, Thresholds, parse_percent
from benchmarks.errors import INTERRUPTED, UsageError
from benchmarks.files import write_atomically
from benchmarks.foreign import SMALL_BYTES, parse_json, read_text
from benchmarks.harness.cpus import resolve_cpus
from benchmarks.harness.threads import with_threads
from benchmarks.live.plan import LivePlan, Pair, Side
from benchmarks.plan import Plan, asked_frameworks, check_installed, select_cases, select_implementations
from benchmarks.reports.audit_progress import AuditProgress
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless
from benchmarks.reports.truth import audit_json, audit_markdown, audit_table
from benchmarks.run_folder import DEFAULT_PARENT, new_run_id

if TYPE_CHECKING:
    from benchmarks.audit.rivals import Alarms
    from benchmarks.cases import Case

COMPARE_THRESHOLDS = Thresholds(Threshold(0.05))
"""The default of `compare`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """What the user typed."""

    suite: str
    cases: list[str]
    own_case: Case | None
    implementations: list[str]
    frameworks: list[str]
    comparisons: int
    stored: int
    resampled: int
    slowdowns: list[str]
    trials: int
    stored_trials: int
    threshold: str
    alpha: float
    budget_s: float
    epochs: int
    processes: int
    block_s: float
    cpus: str | None
    env: list[str] | None
    neighbour: bool
    against: str | None
    keep: bool
    out: Path | None
    format: Format
    quiet: bool


def run_audit(request: AuditRequest) -> int:
    """Measure the trials that were asked for, add them to those of the folder, print what all of them say."""
    rivals = [name.strip() for name in (request.against or "").split(",") if name.strip()]
    check_rivals(rivals)
    if request.format not in (Format.TABLE, Format.MARKDOWN, Format.JSON):
        raise UsageError(f"audit prints table, markdown or json, not {request.format}")
    live_plan, plan = _plans(request)
    slowdowns = [parse_percent(text) for text in request.slowdowns]
    folder = request.out or DEFAULT_PARENT / new_run_id(f"audit-{request.suite}")
    _open(folder, live_plan, plan, neighbour=request.neighbour)
    against: dict[str, dict[float, Alarms]] = {}
    interrupted = False
    with AuditProgress(quiet=request.quiet) as progress:
        try:
            with busy_neighbour(request.neighbour):
                _measure(request, live_plan, plan, slowdowns, folder, progress)
                if rivals:
                    against = _rivals(request, rivals, live_plan, [0.0, *slowdowns], progress)
        except KeyboardInterrupt:
            interrupted = True
        except RivalFailed as error:
            progress.tell(f"given up: {error}")
    _conclude(request, live_plan, plan, folder, against)
    return INTERRUPTED if interrupted else 0


def _plans(request: AuditRequest) -> tuple[LivePlan, Plan]:
    check_installed(asked_frameworks(request.frameworks, request.implementations))
    cases = select_cases(request.suite, request.cases) if request.own_case is None else (request.own_case,)
    ids = select_implementations(request.frameworks, request.implementations, "cpu", suite=request.suite)
    cpus = resolve_cpus(request.cpus)
    neutral, variables = resolve_environment(request.env)
    threads, variables = with_threads(None, cpus, neutral=neutral, variables=variables)
    suite = request.suite if request.own_case is None else "shape"
    live_plan = LivePlan(
        suite=suite,
        cases=cases,
        pairs=tuple(Pair(case.name, id, id) for case in cases for id in ids),
        a=Side(name="A", label="this checkout", neutral=neutral, variables=variables, threads=threads),
        b=Side(name="B", label="this checkout", neutral=neutral, variables=variables, threads=threads),
        thresholds=Thresholds(Threshold(parse_percent(request.threshold))),
        alpha=request.alpha,
        budget_s=request.budget_s,
        epochs=request.epochs,
        block_s=request.block_s,
        cpus=cpus,
    )
    blocks = max(1, round(request.budget_s / request.processes / request.block_s))
    plan = Plan(
        suite=suite,
        cases=cases,
        implementations=ids,
        cpus=cpus,
        neutral=neutral,
        variables=variables,
        threads=threads,
        processes=request.processes,
        blocks=blocks,
        block_s=request.block_s,
    )
    return live_plan, plan


def _open(folder: Path, live_plan: LivePlan, plan: Plan, *, neighbour: bool) -> None:
    """A new folder, or that of an earlier audit with the same settings, to which trials are added."""
    from benchmarks.harness.environment import machine

    settings = {"live": live_plan.to_dict(), "stored": plan.to_dict(), "neighbour": neighbour, "machine": machine()}
    settings = json.loads(json.dumps(settings, default=str))
    file = folder / "audit.json"
    try:
        if file.exists():
            before = parse_json(read_text(file, SMALL_BYTES), str(file))
            if before != settings:
                told = before if isinstance(before, dict) else {}
                differs = sorted(k for k in settings if told.get(k) != settings[k])
                raise UsageError(f"{folder} holds an audit with another {differs[0]}; choose another --out")
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(settings, indent=1))
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from None


def _measure(
    request: AuditRequest,
    live_plan: LivePlan,
    plan: Plan,
    slowdowns: list[float],
    folder: Path,
    progress: AuditProgress,
) -> None:
    """Trials of all kinds in turn, so that a minute of the machine does not fall on one kind alone."""
    kinds = [(t.AB, 0.0, request.comparisons), (t.COMPARE, 0.0, request.stored)]
    kinds += [(t.AB, slowdown, request.trials) for slowdown in slowdowns]
    kinds += [(t.COMPARE, slowdown, request.stored_trials) for slowdown in slowdowns]
    progress.expect(sum(count for _, _, count in kinds))
    done = len(t.read_trials(folder))
    for turn in range(max(count for _, _, count in kinds)):
        for path, slowdown, count in kinds:
            if turn >= count:
                continue
            place = folder / f"{path}-{slowdown:g}-{done:04d}"
            progress.begin(path, slowdown)
            if path == t.AB:
                trial = t.live_trial(live_plan, slowdown, done, place, progress.show)
            else:
                trial = t.stored_trial(plan, COMPARE_THRESHOLDS, request.alpha, slowdown, done, place, progress.show)
            t.append(folder, trial)
            progress.end(trial)
            done += 1


def _rivals(
    request: AuditRequest, names: list[str], live_plan: LivePlan, slowdowns: list[float], progress: AuditProgress
) -> dict[str, dict[float, Alarms]]:
    """The other tools, on the first cell, with the same budget and on the same CPUs."""
    pair = live_plan.pairs[0]
    work = Work(case=live_plan.cases[0], implementation=pair.a, cpus=live_plan.cpus)
    progress.expect(len(names) * len(slowdowns) * request.trials)
    return run_rivals(names, work, slowdowns, request.trials, request.budget_s, progress.rival)


def _conclude(
    request: AuditRequest,
    live_plan: LivePlan,
    plan: Plan,
    folder: Path,
    against: dict[str, dict[float, Alarms]],
) -> None:
    """Resample, summarise, print; leave noise.json."""
    found = [t.judged_anew(folder, trial, COMPARE_THRESHOLDS, request.alpha) for trial in t.read_trials(folder)]
    same = [trial for trial in found if trial.path == t.AB and trial.slowdown == 0]
    sides = t.stored_sides(folder)
    if same:
        found += resampled_live(live_plan, same, request.resampled)
    if len(sides) > 1:
        found += resampled_stored(sides, COMPARE_THRESHOLDS, request.alpha, request.resampled)
    noise = learn(found, sides, plan, folder.name)
    if noise is not None:
        write(folder / NOISE, noise)
        if request.keep:
            write(noise_of_machine(plan.cpus), noise)
    out = console()
    if request.format is Format.TABLE:
        out.print(audit_table(found, against, live_plan, plan))
        out.print(f"Written to {harmless(str(folder))}", soft_wrap=True)
    else:
        out.file.write({Format.MARKDOWN: audit_markdown, Format.JSON: audit_json}[request.format](found, against))
