"""The commands, their options and their help. What each does stands in benchmarks.cli.<command>_command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options as o

app = typer.Typer(
    help="Which attention implementation to use, whether it is right, and whether a change made it worse.",
    no_args_is_help=True,
    add_completion=False,
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
    implementation: o.ImplementationGlob = None,
    framework: o.FrameworkName = None,
    device: o.Device = "cpu",
    plugin: o.Plugin = None,
    quiet: o.Quiet = False,
) -> None:
    """Conformance only: every semantic, asked of every implementation. Exit 0 if all conform, 1 if not."""
    from benchmarks.cli.check_command import check_conformance

    raise typer.Exit(check_conformance(matrix, json, implementation or [], framework or [], device, plugin, quiet))


@app.command()
def run(
    suite: o.Suite = "default",
    case: o.CaseGlob = None,
    implementation: o.ImplementationGlob = None,
    framework: o.FrameworkName = None,
    device: o.Device = "cpu",
    pass_: o.Pass = "forward",  # noqa: S107 - the pass, not a password
    plugin: o.Plugin = None,
    out: o.Out = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the unfinished run in this folder.")] = None,
    format: o.OutputFormat = o.Format.TABLE,
    quiet: o.Quiet = False,
    shape: o.ShapeText = None,
    dtype: Annotated[
        str | None, typer.Option(help="With --shape: float64, float32 (default), bfloat16 or float16.")
    ] = None,
    causal: Annotated[str | None, typer.Option(help="With --shape: top_left or bottom_right.")] = None,
    window: Annotated[str | None, typer.Option(help="With --shape: LEFT:RIGHT, an empty side is open.")] = None,
    softcap: Annotated[float | None, typer.Option(help="With --shape.")] = None,
    scale: Annotated[float | None, typer.Option(help="With --shape: default H ** -0.5.")] = None,
    mask: Annotated[str | None, typer.Option(help="With --shape: random, documents or prefix.")] = None,
    bias: Annotated[str | None, typer.Option(help="With --shape: random or alibi.")] = None,
    kv_lengths: Annotated[str | None, typer.Option(help="With --shape: one length for each batch element.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Fresh processes of each framework; default 2, in smoke 1.")
    ] = None,
    blocks: Annotated[int, typer.Option(min=1, help="Timed blocks of each cell in each process.")] = 14,
    block_ms: Annotated[float, typer.Option(min=0.1, help="Length of a timed block, milliseconds.")] = 25.0,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds for each step of a cell.")] = 180.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the inputs and of the order of turns.")] = 0,
) -> None:
    """Check each cell, then time it; print the table and write a run folder. Exit 1 if a cell is incorrect or failed."""
    from benchmarks.cli.run_command import RunRequest, run_suite

    own = o.own_case(
        shape, dtype=dtype, causal=causal, window=window, softcap=softcap, scale=scale, mask=mask, bias=bias,
        kv_lengths=kv_lengths,
    )  # fmt: skip
    o.check_pass(pass_)
    request = RunRequest(
        suite=suite, cases=case or [], own_case=own, implementations=implementation or [], frameworks=framework or [],
        device=device, plugins=plugin, out=out, resume=resume, format=format, quiet=quiet, processes=processes,
        blocks=blocks, block_s=block_ms / 1000, time_limit_s=time_limit, seed=seed,
    )  # fmt: skip
    raise typer.Exit(run_suite(request))


@app.command()
def env(format: o.OutputFormat = o.Format.JSON) -> None:
    """The environment fingerprint: what has to be equal for two runs to be comparable."""
    from benchmarks.cli.env_command import print_environment

    print_environment(format)
