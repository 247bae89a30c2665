"""The commands, their options and their help. What each does stands in benchmarks.cli.<command>_command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options as o

app = typer.Typer(
    help="Which attention implementation to use, whether it is right, and whether a change made it worse.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help needs no rich, which costs half of the time that --help may take
)


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(help="frameworks, implementations, devices, suites, cases, or everything")
    ] = "everything",
    suite: Annotated[str | None, typer.Option(help="Only the cases of this suite.")] = None,
    format: o.OutputFormat = o.Format.TABLE,
) -> None:
    """What there is: frameworks (with version, or why not), implementations, devices, suites, cases."""
    from benchmarks.cli.list_command import list_everything

    list_everything(what, suite, format)


@app.command()
def check(
    matrix: Annotated[bool, typer.Option("--matrix", help="Print implementations x semantics.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write all answers to this file.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="... as a table.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="... as a page of Markdown, with what deviates and what is refused.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="The table of an earlier check: a verdict that changed since is an error.")
    ] = None,
    implementation: o.ImplementationGlob = None,
    framework: o.FrameworkName = None,
    device: o.Device = "cpu",
    plugin: o.Plugin = None,
    env: o.Env = None,
    quiet: o.Quiet = False,
) -> None:
    """Conformance only: every semantic, asked of every implementation. Exit 0 if all conform, 1 if not."""
    from benchmarks.cli.check_command import check_conformance

    files = {"csv": csv, "page": page}
    names = (implementation or [], framework or [])
    raise typer.Exit(check_conformance(matrix, json, files, against, *names, device, plugin, quiet, env))


@app.command()
def run(
    context: typer.Context,
    suite: o.Suite = "default",
    case: o.CaseGlob = None,
    implementation: o.ImplementationGlob = None,
    framework: o.FrameworkName = None,
    device: o.Device = "cpu",
    pass_: o.Pass = None,
    plugin: o.Plugin = None,
    out: o.Out = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the unfinished run in this folder.")] = None,
    shard: Annotated[
        str | None, typer.Option(help="Only this part of the cases, as in 2/5; `merge` joins what was measured apart.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Hand the cases to the machines of a Dask cluster at this address; local: to one started here."
        ),
    ] = None,
    format: o.OutputFormat = o.Format.TABLE,
    quiet: o.Quiet = False,
    shape: o.ShapeText = None,
    dtype: o.Dtype = None,
    causal: Annotated[str | None, typer.Option(help="With --shape: top_left or bottom_right.")] = None,
    window: Annotated[str | None, typer.Option(help="With --shape: LEFT:RIGHT, an empty side is open.")] = None,
    softcap: Annotated[float | None, typer.Option(help="With --shape.")] = None,
    scale: Annotated[float | None, typer.Option(help="With --shape: default H ** -0.5.")] = None,
    mask: o.Mask = None,
    bias: o.Bias = None,
    kv_lengths: Annotated[str | None, typer.Option(help="With --shape: one length for each batch element.")] = None,
    cpus: o.Cpus = None,
    threads: o.Threads = None,
    env: o.Env = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Fresh processes of each framework; default 2, in smoke 1.")
    ] = None,
    blocks: Annotated[
        int, typer.Option(min=1, help="Timed blocks of each cell in each process; long calls get fewer.")
    ] = 12,
    block_ms: Annotated[
        float | None, typer.Option(min=0.1, help="Length of a timed block, milliseconds; default 100, in smoke 28.")
    ] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds for each step of a cell.")] = 180.0,
    memory_limit: o.MemoryLimit = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the inputs and of the order of turns.")] = 0,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write Parquet beside the CSV files, too.")] = False,
) -> None:
    """Check each cell, then time it; print the table and write a run folder. Exit 1 if a cell is incorrect or failed."""
    from benchmarks.cli.run_command import RunRequest, run_suite

    own = o.own_case(
        shape, dtype=dtype, causal=causal, window=window, softcap=softcap, scale=scale, mask=mask, bias=bias,
        kv_lengths=kv_lengths,
    )  # fmt: skip
    request = RunRequest(
        suite=suite, cases=case or [], own_case=own, dtype=dtype, pass_=pass_, implementations=implementation or [],
        frameworks=framework or [], device=device, plugins=plugin, out=out, resume=resume, format=format, quiet=quiet,
        cpus=cpus, threads=threads, env=env, processes=processes, blocks=blocks,
        block_s=None if block_ms is None else block_ms / 1000, time_limit_s=time_limit, memory_limit=memory_limit,
        seed=seed, shard=shard, cluster=cluster, parquet=parquet, given=o.given(context),
    )  # fmt: skip
    raise typer.Exit(run_suite(request))


@app.command()
def compare(
    baseline: Annotated[Path, typer.Argument(help="Run folder, summary.csv or pytest-benchmark's JSON.")],
    candidate: Annotated[Path, typer.Argument(help="The same, of what is held against the baseline.")],
    threshold: o.Threshold = "5%",
    floor: o.Floor = None,
    thresholds: o.ThresholdsFile = None,
    alpha: o.Alpha = 0.01,
    noise: Annotated[
        Path | None, typer.Option(help="noise.json of an audit; default: the one in the baseline's folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare in spite of other machines or settings.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Cells that only the baseline has are no regression.")
    ] = False,
    format: o.OutputFormat = o.Format.TABLE,
    save_as: o.SaveAs = None,
    all_: o.All = False,
    quiet: o.Quiet = False,
) -> None:
    """Two runs, cell by cell, with a verdict each. Exit 0 if none got worse, 1 if one did, 3 if not comparable."""
    from benchmarks.cli.compare_command import CompareRequest, compare_runs

    request = CompareRequest(
        baseline=baseline, candidate=candidate, threshold=threshold, floor=floor, thresholds=thresholds, alpha=alpha,
        noise=noise, force=force, allow_missing=allow_missing, format=format, save_as=save_as or [], show_all=all_,
        quiet=quiet,
    )  # fmt: skip
    raise typer.Exit(compare_runs(request))


@app.command()
def env(format: o.OutputFormat = o.Format.JSON) -> None:
    """The environment fingerprint: what has to be equal for two runs to be comparable."""
    from benchmarks.cli.env_command import print_environment

    print_environment(format)


@app.command()
def ab(
    suite: o.Suite = "smoke",
    case: o.CaseGlob = None,
    implementation: o.ImplementationGlob = None,
    framework: o.FrameworkName = None,
    device: o.Device = "cpu",
    pass_: o.Pass = None,
    plugin: o.Plugin = None,
    a_implementation: Annotated[str | None, typer.Option(help="Side A runs this implementation.")] = None,
    b_implementation: Annotated[str | None, typer.Option(help="Side B runs this implementation.")] = None,
    a_python: Annotated[Path | None, typer.Option(help="Side A runs under this interpreter.")] = None,
    b_python: Annotated[Path | None, typer.Option(help="Side B runs under this interpreter.")] = None,
    a_rev: Annotated[
        str | None, typer.Option(help="Side A is this git revision, of this repository or of the plug-in's.")
    ] = None,
    b_rev: Annotated[
        str | None, typer.Option(help="Side B is this git revision; default: the files as they are.")
    ] = None,
    a_env: Annotated[
        list[str] | None, typer.Option(help="neutral, or NAME=VALUE in side A's environment. May be repeated.")
    ] = None,
    b_env: Annotated[
        list[str] | None, typer.Option(help="neutral, or NAME=VALUE in side B's environment. May be repeated.")
    ] = None,
    threshold: o.Threshold = "2%",
    floor: o.Floor = None,
    thresholds: o.ThresholdsFile = None,
    alpha: o.Alpha = 0.01,
    budget: Annotated[float, typer.Option(min=0.01, help="Seconds of measuring per cell and side, at most.")] = 4.0,
    epochs: Annotated[int, typer.Option(min=1, help="Fresh pairs of processes, at most; 3 or more for a verdict.")] = 8,
    block_ms: Annotated[float, typer.Option(min=0.1, help="Length of a timed block, milliseconds.")] = 5.0,
    cpus: o.Cpus = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds for each step of a cell.")] = 180.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the inputs and of the order of turns.")] = 0,
    shape: o.ShapeText = None,
    dtype: o.Dtype = None,
    causal: Annotated[str | None, typer.Option(help="With --shape.")] = None,
    out: o.Out = None,
    format: o.OutputFormat = o.Format.TABLE,
    save_as: o.SaveAs = None,
    all_: o.All = False,
    quiet: o.Quiet = False,
) -> None:
    """Two implementations, interpreters, revisions or environments, alive at once and timed in alternation.

    Exit 0 if none is slower, 1 if one is, 3 if nothing could be compared.
    """
    from benchmarks.cli.ab_command import LiveRequest, SideRequest, run_live

    own = o.own_case(
        shape, dtype=dtype, causal=causal, window=None, softcap=None, scale=None, mask=None, bias=None, kv_lengths=None
    )
    request = LiveRequest(
        suite=suite, cases=case or [], own_case=own, dtype=dtype, pass_=pass_, implementations=implementation or [],
        frameworks=framework or [], device=device, plugins=plugin,
        a=SideRequest(implementation=a_implementation, python=a_python, revision=a_rev, variables=a_env or []),
        b=SideRequest(implementation=b_implementation, python=b_python, revision=b_rev, variables=b_env or []),
        threshold=threshold, floor=floor, overrides=thresholds, alpha=alpha, budget_s=budget, epochs=epochs,
        block_s=block_ms / 1000, time_limit_s=time_limit, seed=seed, cpus=cpus, out=out, format=format,
        save_as=save_as or [], show_all=all_, quiet=quiet,
    )  # fmt: skip
    raise typer.Exit(run_live(request))


@app.command()
def audit(
    suite: o.Suite = "smoke",
    case: o.CaseGlob = None,
    implementation: o.ImplementationGlob = None,
    framework: o.FrameworkName = None,
    comparisons: Annotated[int, typer.Option(min=0, help="Live `ab` comparisons of identical code.")] = 5,
    stored: Annotated[int, typer.Option(min=0, help="Live `compare`s of two runs of identical code.")] = 2,
    resampled: Annotated[int, typer.Option(min=0, help="More of both, by drawing the measured processes anew.")] = 100,
    slowdown: Annotated[list[str] | None, typer.Option(help="Put in; default 2%, 3%, 5% and 10%. Repeatable.")] = None,
    trials: Annotated[int, typer.Option(min=0, help="Live `ab` comparisons, and rivals' trials, per slowdown.")] = 1,
    stored_trials: Annotated[int, typer.Option(min=0, help="Live `compare`s per slowdown.")] = 1,
    threshold: o.Threshold = "2%",
    alpha: o.Alpha = 0.01,
    budget: Annotated[float, typer.Option(min=0.01, help="Seconds of measuring per cell and side, at most.")] = 4.0,
    epochs: Annotated[int, typer.Option(min=1, help="Fresh pairs of processes in an `ab`, at most.")] = 8,
    processes: Annotated[int, typer.Option(min=1, help="Fresh processes in a stored run.")] = 4,
    block_ms: Annotated[float, typer.Option(min=0.1, help="Length of a timed block, milliseconds.")] = 5.0,
    cpus: o.Cpus = None,
    env: o.Env = None,
    neighbour: Annotated[bool, typer.Option("--neighbour", help="Keep the first CPU busy meanwhile.")] = False,
    against: Annotated[str | None, typer.Option(help="Other tools on the first cell: pytest-benchmark,pyperf.")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Let `run` and `compare` on this machine know what was learned.")
    ] = False,
    shape: o.ShapeText = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder; that of an earlier audit with the same settings is added to.")
    ] = None,
    format: o.OutputFormat = o.Format.TABLE,
    quiet: o.Quiet = False,
) -> None:
    """This machine's truth: identical code against itself, and known slowdowns, through `ab` and `compare`."""
    from benchmarks.cli.audit_command import AuditRequest, run_audit

    own = o.own_case(
        shape, dtype=None, causal=None, window=None, softcap=None, scale=None, mask=None, bias=None, kv_lengths=None
    )
    request = AuditRequest(
        suite=suite, cases=case or [], own_case=own, implementations=implementation or [], frameworks=framework or [],
        comparisons=comparisons, stored=stored, resampled=resampled, slowdowns=slowdown or ["2%", "3%", "5%", "10%"],
        trials=trials, stored_trials=stored_trials, threshold=threshold, alpha=alpha, budget_s=budget, epochs=epochs,
        processes=processes, block_s=block_ms / 1000, cpus=cpus, env=env, neighbour=neighbour, against=against,
        keep=keep, out=out, format=format, quiet=quiet,
    )  # fmt: skip
    raise typer.Exit(run_audit(request))
