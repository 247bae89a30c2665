"""`recommend`: look for a stored run that answers, measure shortly where none does, and spell the winner's call out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends import registry
from backends.snippets import snippet
from benchmarks import recommendation
from benchmarks.cli.options import Format, in_pass, resolve_plugins
from benchmarks.errors import INTERRUPTED, UsageError
from benchmarks.harness.cpus import resolve_cpus
from benchmarks.harness.room import hollow
from benchmarks.harness.state import State
from benchmarks.harness.threads import with_threads
from benchmarks.measure import measure, remove_if_empty
from benchmarks.plan import Plan, asked_frameworks, check_device, check_installed, select_implementations
from benchmarks.reports.progress import RunProgress
from benchmarks.reports.recommendation import answer, as_json, as_markdown
from benchmarks.reports.terminal import console
from benchmarks.reports.text import harmless
from benchmarks.run_folder import DEFAULT_PARENT, RunFolder, new_run_id

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.cases import Case
    from benchmarks.recommendation import Recommendation


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendRequest:
    """What the user typed."""

    case: Case
    pass_: str | None
    implementations: list[str]
    frameworks: list[str]
    device: str
    plugins: list[Path] | None
    runs: list[Path] | None
    anew: bool
    cpus: str | None
    processes: int
    blocks: int
    out: Path | None
    format: Format
    quiet: bool


def recommend_for(request: RecommendRequest) -> int:
    """Find or measure it, print it; the exit status: 1 where nothing does the problem."""
    if request.format not in (Format.TABLE, Format.MARKDOWN, Format.JSON):
        raise UsageError(f"recommend prints table, markdown or json, not {request.format}")
    if request.runs and request.anew:
        raise UsageError("--from takes stored runs and --measure takes none: use one of them")
    plan = _plan(request)
    found = None if request.anew else recommendation.find(plan, request.runs)
    if found is None:
        found, interrupted = _measured(plan, request)
        if interrupted:
            return INTERRUPTED
    if not found.ranked:
        reasons = "; ".join(f"{r.implementation} {r.status}: {r.reason}" for r in found.others[:5])
        print(f"attnbench: no implementation gave a right answer: {reasons}", file=sys.stderr)
        return 1
    _print(found, plan, request.format)
    return 0


def _plan(request: RecommendRequest) -> Plan:
    check_device(request.device)
    cpus = resolve_cpus(request.cpus)
    threads, variables = with_threads(None, cpus, neutral=False, variables=())
    asked = asked_frameworks(request.frameworks, request.implementations)
    plugins, plugged = resolve_plugins(request.plugins, request.frameworks, request.implementations)
    chosen = select_implementations(request.frameworks, request.implementations, request.device, plugged)
    check_installed(asked)
    return Plan(
        suite="shape",
        cases=in_pass((request.case,), request.pass_),
        implementations=chosen,
        device=request.device,
        plugins=plugins,
        asked=asked,
        cpus=cpus,
        variables=variables,
        threads=threads,
        processes=request.processes,
        blocks=request.blocks,
    )


def _measured(plan: Plan, request: RecommendRequest) -> tuple[Recommendation, bool]:
    """A short run, kept where the next question finds it; whether it was interrupted."""
    folder = RunFolder.create(request.out or DEFAULT_PARENT / new_run_id("recommend"), plan)
    try:
        with RunProgress(plan, quiet=request.quiet) as progress:
            outcome = measure(plan, folder, State(), progress.show)
    except UsageError:
        folder.close()
        remove_if_empty(folder.path)
        raise
    if outcome.interrupted:
        print(f"attnbench: interrupted; what was measured is in {harmless(str(folder.path))}", file=sys.stderr)
    return recommendation.measured(plan, folder.path, outcome.records), outcome.interrupted


def _print(found: Recommendation, plan: Plan, format: Format) -> None:
    best = found.ranked[0].record.implementation
    winner = registry.implementations().get(best)
    if winner is None:
        code = _plugged(best, plan)
    else:
        code = snippet(winner, hollow(plan.cases[0]), plan.cases[0].semantics)
    out = console()
    if format is Format.JSON:
        out.file.write(as_json(found, code))
    elif format is Format.MARKDOWN:
        out.file.write(as_markdown(found, winner, code))
    else:
        out.print(answer(found, winner))
        out.print("")
        out.file.write(code)  # to be copied: neither wrapped nor coloured


def _plugged(id: str, plan: Plan) -> str:
    """What a plug-in defines is called as its author wrote it; here is where it stands."""
    files = [path for framework, path in plan.plugins if framework == id.partition("/")[0]]
    return f"# {id} is a function of your plug-in: {', '.join(files)}\n"
