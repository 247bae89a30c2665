"""`ab`: resolve the two sides, measure them in alternation, print the verdicts, keep the folder."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.options import Format, in_dtype, in_pass, resolve_environment, resolve_plugins
from benchmarks.cli.verdict_output import check_suffixes, print_comparison, save_comparison
from benchmarks.comparison.thresholds import asked_thresholds
from benchmarks.comparison.verdicts import Exit
from benchmarks.errors import INTERRUPTED, UsageError
from benchmarks.files import write_atomically
from benchmarks.harness.cpus import resolve_cpus
from benchmarks.harness.steering import worker_variables
from benchmarks.harness.threads import with_threads
from benchmarks.live.checkout import checkout, plugin_in, repository_of
from benchmarks.live.measure import measure
from benchmarks.live.plan import LivePlan, Pair, Side
from benchmarks.measure import remove_if_empty
from benchmarks.plan import asked_frameworks, check_device, check_installed, select_cases, select_implementations
from benchmarks.reports.live_progress import LiveProgress
from benchmarks.reports.verdict_words import headline
from benchmarks.run_folder import DEFAULT_PARENT, new_run_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.cases import Case
    from benchmarks.comparison.verdicts import Comparison

_OURS = ("journal.jsonl", "plan.json", "environment.json", "summary.csv", "verdicts.csv", "comparison.json", "logs")
"""A folder that holds one of these holds a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRequest:
    """What the user typed about one side."""

    implementation: str | None
    python: Path | None
    revision: str | None
    variables: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRequest:
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
    a: SideRequest
    b: SideRequest
    threshold: str
    floor: str | None
    overrides: Path | None
    alpha: float
    budget_s: float
    epochs: int
    block_s: float
    time_limit_s: float
    seed: int
    cpus: str | None
    out: Path | None
    format: Format
    save_as: list[Path]
    show_all: bool
    quiet: bool


def run_live(request: LiveRequest) -> int:
    """Do it, print it; the exit status."""
    check_suffixes(request.save_as)
    with _plan(request) as plan:
        folder = request.out or DEFAULT_PARENT / new_run_id(f"ab-{plan.suite}")
        _create(folder, plan)
        try:
            with LiveProgress(plan, quiet=request.quiet) as progress:
                outcome = measure(plan, folder, progress.show)
        except UsageError:
            remove_if_empty(folder)
            raise
    comparison = outcome.comparison
    save_comparison(comparison, [folder / "verdicts.csv", folder / "comparison.json", *request.save_as])
    print_comparison(comparison, request.format, show_all=request.show_all)
    if request.format is Format.TABLE:
        _print_effort(outcome.state.wall_s, comparison, folder)
    if outcome.interrupted:
        return INTERRUPTED
    if comparison.exit is Exit.NOT_COMPARABLE:
        print(f"attnbench: {headline(comparison)}", file=sys.stderr)
    return int(comparison.exit)


def _print_effort(wall_s: float, comparison: Comparison, folder: Path) -> None:
    from benchmarks.reports.terminal import console
    from benchmarks.reports.text import harmless

    out = console()
    out.print(f"{len(comparison.cells)} cells in {wall_s:.0f} s.")
    out.print(f"Written to {harmless(str(folder))}", soft_wrap=True)


def _create(folder: Path, plan: LivePlan) -> None:
    try:
        if any((folder / name).exists() for name in _OURS):
            raise UsageError(f"{folder} holds a run already; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "plan.json", json.dumps(plan.to_dict(), indent=1))
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from None


@contextlib.contextmanager
def _plan(request: LiveRequest) -> Iterator[LivePlan]:
    """The plan, while the checkouts of its revisions exist."""
    check_device(request.device)
    _check_finite(request)
    if (request.a.implementation is None) != (request.b.implementation is None):
        raise UsageError("--a-implementation and --b-implementation belong together: give both")
    if request.own_case is not None and request.cases:
        raise UsageError("--case selects from a suite and --shape gives a case of your own: use one of them")
    own = request.own_case
    suite_cases = in_dtype(select_cases(request.suite, request.cases), request.dtype) if own is None else (own,)
    cases = in_pass(suite_cases, request.pass_)
    named = [id for id in (request.a.implementation, request.b.implementation) if id]
    plugins, plugged = resolve_plugins(request.plugins, request.frameworks, [*request.implementations, *named])
    pairs, asked = _pairs(request, cases, plugged)
    if not any(side.python for side in (request.a, request.b)):
        check_installed(asked)
    thresholds = asked_thresholds(request.threshold, request.floor, request.overrides)
    cpus = resolve_cpus(request.cpus)
    with contextlib.ExitStack() as stack:
        a = _side("A", request.a, cpus, request.plugins, plugins, stack)
        b = _side("B", request.b, cpus, request.plugins, plugins, stack)
        if _conditions(a) == _conditions(b) and all(pair.a == pair.b for pair in pairs):
            raise UsageError(
                "A and B are the same: give two implementations (--a-implementation, --b-implementation), interpreters "
                "(--a-python), revisions (--a-rev) or variables (--a-env); `audit` compares identical code on purpose"
            )
        yield LivePlan(
            suite=request.suite if own is None else "shape",
            cases=cases,
            pairs=pairs,
            a=a,
            b=b,
            thresholds=thresholds,
            alpha=request.alpha,
            budget_s=request.budget_s,
            epochs=request.epochs,
            block_s=request.block_s,
            asked=asked,
            cpus=cpus,
            seed=request.seed,
            time_limit_s=request.time_limit_s,
        )


def _conditions(side: Side) -> tuple[object, ...]:
    """What a side's workers run, and in what: neutral is no difference where there is nothing to clear."""
    return side.python, side.root, side.plugins, worker_variables(side.neutral, side.variables)


def _check_finite(request: LiveRequest) -> None:
    options = {"alpha": request.alpha, "budget": request.budget_s, "block-ms": request.block_s * 1000}
    for name, value in {**options, "time-limit": request.time_limit_s}.items():
        if not math.isfinite(value):
            raise UsageError(f"--{name} {value}, expected a finite number")


def _pairs(
    request: LiveRequest, cases: tuple[Case, ...], plugged: tuple[str, ...]
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """The cells, and the frameworks that were named."""
    a, b = request.a.implementation, request.b.implementation
    if a is not None and b is not None:
        if request.implementations or request.frameworks:
            raise UsageError("--implementation and --framework select cells; with --a-implementation leave them out")
        for id in (a, b):
            if select_implementations([], [id], request.device, plugged, request.suite) != (id,):
                raise UsageError(f"implementation {id!r}, expected the name of one, not a pattern")
        pairs = tuple(Pair(case.name, a, b, request.device) for case in cases)
        return pairs, asked_frameworks([], [a, b])
    chosen = select_implementations(request.frameworks, request.implementations, request.device, plugged, request.suite)
    pairs = tuple(Pair(case.name, id, id, request.device) for case in cases for id in chosen)
    return pairs, asked_frameworks(request.frameworks, request.implementations)


def _side(
    name: str,
    side: SideRequest,
    cpus: tuple[int, ...],
    files: list[Path] | None,
    plugins: tuple[tuple[str, str], ...],
    stack: contextlib.ExitStack,
) -> Side:
    """`files`: the plug-ins that were named; `plugins`: those and the installed ones, by framework."""
    words = [side.implementation] if side.implementation else []
    values: dict[str, object] = {}
    if side.python is not None:
        if not side.python.is_file() or not os.access(side.python, os.X_OK):
            raise UsageError(f"--{name.lower()}-python {str(side.python)!r} is not a program, expected an interpreter")
        values["python"] = str(side.python.absolute())  # not resolved: a virtual environment's is a link
        words.append(str(side.python))
    if side.revision is not None:
        root = stack.enter_context(checkout(side.revision, repository_of(files)))
        if files:
            plugins = tuple((framework, plugin_in(root, path)) for framework, path in plugins)
        else:
            values["root"] = root.path
        words.append(f"{side.revision} ({root.commit[:10]})")
    neutral, variables = resolve_environment(side.variables, f"--{name.lower()}-env")
    words += ["neutral"] if neutral else []
    words += [f"{k}={v}" for k, v in variables]
    threads, variables = with_threads(None, cpus, neutral=neutral, variables=variables)
    return Side(
        name=name,
        label=" ".join(words) or "this checkout",
        plugins=plugins,
        neutral=neutral,
        variables=variables,
        threads=threads,
        **values,  # type: ignore[arg-type] # python and root, where they are not the usual ones
    )
