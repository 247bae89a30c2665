"""`show` and `recommend`: their options and their help; what they do stands in their own modules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import completion as c
from benchmarks.cli import options as o
from benchmarks.cli.app import app


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="Run folder or summary.csv.")],
    case: o.CaseGlob = None,
    implementation: o.ImplementationGlob = None,
    framework: Annotated[
        list[str] | None, typer.Option(help="Only this framework. May be repeated.", autocompletion=c.frameworks)
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Only this device. May be repeated.", autocompletion=c.devices)
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option(help="Only this dtype. May be repeated.", autocompletion=c.dtypes)
    ] = None,
    pass_: Annotated[
        list[str] | None, typer.Option("--pass", help="Only this pass. May be repeated.", autocompletion=c.passes)
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Only cells that ended so. May be repeated.", autocompletion=c.statuses)
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="Best first: median, error, memory, first-call, gflops, speedup, interval; or case, implementation. "
            "Cells of a case by it, cases by their first cell. Default: as the run printed them.",
            autocompletion=c.sorts,
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The worst first.")] = False,
    format: o.OutputFormat = o.Format.TABLE,
    parquet: Annotated[Path | None, typer.Option(help="Write the cells shown to this Parquet file, too.")] = None,
) -> None:
    """A stored run again, sorted and filtered; best, ratios and the lines below are of the cells shown."""
    from benchmarks.cli.show_command import ShowRequest, show_run
    from benchmarks.selection import Selection

    selection = Selection(
        cases=case or (), implementations=implementation or (), frameworks=framework or (), devices=device or (),
        dtypes=dtype or (), passes=pass_ or (), statuses=status or (),
    )  # fmt: skip
    show_run(ShowRequest(run=run, selection=selection, sort=sort, reverse=reverse, format=format, parquet=parquet))


@app.command()
def recommend(
    shape: Annotated[str, typer.Option(help='The problem: "b=1 t=2048 s=2048 n=32 k=8 h=128 v=128".')],
    dtype: Annotated[
        str | None, typer.Option(help="float64, float32 (default), bfloat16 or float16.", autocompletion=c.dtypes)
    ] = None,
    causal: Annotated[str | None, typer.Option(help="top_left or bottom_right.")] = None,
    window: Annotated[str | None, typer.Option(help="LEFT:RIGHT, an empty side is open.")] = None,
    softcap: Annotated[float | None, typer.Option(help="Scores become softcap * tanh(scores / softcap).")] = None,
    scale: Annotated[float | None, typer.Option(help="Default H ** -0.5.")] = None,
    mask: Annotated[str | None, typer.Option(help="random, heads, documents, prefix or padding.")] = None,
    bias: Annotated[str | None, typer.Option(help="random, full, keys or alibi.")] = None,
    kv_lengths: Annotated[str | None, typer.Option(help="One length for each batch element.")] = None,
    pass_: Annotated[
        str | None, typer.Option("--pass", help="forward (default) or forward_backward.", autocompletion=c.passes)
    ] = None,
    implementation: o.ImplementationGlob = None,
    framework: o.FrameworkName = None,
    device: o.Device = "cpu",
    plugin: o.Plugin = None,
    from_: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Answer from this run, of any machine; default: this machine's stored runs."),
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure it, whatever is stored.")] = False,
    cpus: o.Cpus = None,
    processes: Annotated[int, typer.Option(min=1, help="Where measured: fresh processes of each framework.")] = 2,
    blocks: Annotated[int, typer.Option(min=1, help="... and timed blocks in each.")] = 8,
    out: o.Out = None,
    format: o.OutputFormat = o.Format.TABLE,
    quiet: o.Quiet = False,
) -> None:
    """The fastest right implementation for a problem on this machine, with its call as code to paste.

    From stored runs where one has all of them, else by a short measurement. Exit 1 if none does the problem.
    """
    from benchmarks.cli.recommend_command import RecommendRequest, recommend_for

    case = o.own_case(
        shape, dtype=dtype, causal=causal, window=window, softcap=softcap, scale=scale, mask=mask, bias=bias,
        kv_lengths=kv_lengths,
    )  # fmt: skip
    if case is None:
        raise RuntimeError("a shape that was given makes a case")
    request = RecommendRequest(
        case=case, pass_=pass_, implementations=implementation or [], frameworks=framework or [], device=device,
        plugins=plugin, runs=from_, anew=measure, cpus=cpus, processes=processes, blocks=blocks, out=out, format=format,
        quiet=quiet,
    )  # fmt: skip
    raise typer.Exit(recommend_for(request))
