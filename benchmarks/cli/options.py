"""Options that several commands share, and their way into a plan."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli import completion as c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.cases import Case


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"


Suite = Annotated[str, typer.Option(help="Suite of cases; see `list suites`.", autocompletion=c.suites)]
CaseGlob = Annotated[
    list[str] | None,
    typer.Option("--case", help="Only cases that match this glob. May be repeated.", autocompletion=c.cases),
]
ImplementationGlob = Annotated[
    list[str] | None,
    typer.Option(
        "--implementation",
        help="Only implementations that match this glob. May be repeated.",
        autocompletion=c.implementations,
    ),
]
FrameworkName = Annotated[
    list[str] | None,
    typer.Option(
        "--framework", help="Only this framework, which must load. May be repeated.", autocompletion=c.frameworks
    ),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.", autocompletion=c.devices)]
Pass = Annotated[
    str | None,
    typer.Option(
        "--pass",
        help="forward or forward_backward; default what the suite says, mostly forward.",
        autocompletion=c.passes,
    ),
]
Plugin = Annotated[
    list[Path] | None, typer.Option(help="A Python file with implementations of your own. May be repeated.")
]
Out = Annotated[Path | None, typer.Option(help="Folder for the run; default results/runs/<time>-<suite>.")]
Cpus = Annotated[
    str | None,
    typer.Option(
        help="CPUs that the workers run on: how many (1), or which (0,2); default all. One is far quieter on shared machines."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, help="Threads of each framework; default one for each CPU, or as many as a quota of CPU time feeds."
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        help="What one worker process may hold, 4GB or 512MiB: beyond it is ended, and its cell is out_of_memory. Default: "
        "what the machine has, less 3 %."
    ),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        help="The workers' variables: inherit yours (default), neutral (none that steers speed or numerics), or NAME=VALUE. "
        "May be repeated.",
    ),
]
Threshold = Annotated[str, typer.Option(help="A change counts beyond this share: 5% or 0.05.")]
Floor = Annotated[str | None, typer.Option(help="... and beyond this time: 20us.")]
ThresholdsFile = Annotated[Path | None, typer.Option(help="TOML file with thresholds of certain cells.")]
Alpha = Annotated[
    float, typer.Option(min=1e-9, max=0.5, help="Chance of one false alarm in the whole comparison, at most.")
]
SaveAs = Annotated[
    list[Path] | None,
    typer.Option(
        help="Write the result to this file too: .html, .md, .csv, .json, .xml (JUnit) or .txt (GitHub). Repeatable."
    ),
]
All = Annotated[bool, typer.Option("--all", help="Print every cell, uneventful ones too.")]
OutputFormat = Annotated[Format, typer.Option("--format", help="How the result is printed.")]
Mask = Annotated[
    str | None, typer.Option(help="With --shape: random, heads (another for each), documents, prefix or padding.")
]
Bias = Annotated[
    str | None,
    typer.Option(help="With --shape: random, full (another for each head and batch element), keys or alibi."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="float64, float32, bfloat16 or float16: of --shape (default float32), or of all cases of the suite (default as "
        "they are)."
    ),
]
ShapeText = Annotated[
    str | None, typer.Option("--shape", help='A problem of your own: "b=1 t=2048 s=2048 n=32 k=8 h=128 v=128".')
]


def given(context: typer.Context) -> tuple[str, ...]:
    """The options that were typed, by their long names without the dashes: "time-limit"."""
    words = {}
    for parameter in context.command.params:
        words[parameter.name] = max(parameter.opts, key=len).lstrip("-")
    typed = (n for n in context.params if getattr(context.get_parameter_source(n), "name", "") == "COMMANDLINE")
    return tuple(words[name] for name in typed)


def parse_bytes(text: str) -> int:
    """The text "4GB" is 4 * 10**9, "512MiB" is 512 * 2**20. UsageError names what is wrong."""
    import re

    from benchmarks.errors import UsageError

    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT]?)(i?)B?", text.strip(), re.ASCII | re.IGNORECASE)
    size = 0.0
    if found is not None:
        number, prefix, binary = found.groups()
        size = float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix.upper() or " ")
    if size < 1:
        raise UsageError(f"--memory-limit {text!r}, expected a size like 4GB or 512MiB")
    return int(size)


def own_case(
    shape: str | None,
    *,
    dtype: str | None,
    causal: str | None,
    window: str | None,
    softcap: float | None,
    scale: float | None,
    mask: str | None,
    bias: str | None,
    kv_lengths: str | None,
) -> Case | None:
    """The case that `--shape` and its companions describe; None without it. UsageError names what is wrong.

    The dtype alone may stand without --shape: `in_dtype` gives the cases of a suite in it.
    """
    from backends.problem import InvalidProblem, Semantics
    from benchmarks.cases import Case, parse_shape
    from benchmarks.errors import UsageError

    if shape is None:
        companions = {
            "causal": causal, "window": window, "softcap": softcap, "scale": scale, "mask": mask,
            "bias": bias, "kv-lengths": kv_lengths,
        }  # fmt: skip
        for name, value in companions.items():
            if value is not None:
                raise UsageError(
                    f"--{name} describes a problem of your own and needs --shape; a suite's cases have theirs"
                )
        return None
    try:
        letters = parse_shape(shape)
        semantics = Semantics(causal, None if window is None else _window(window), softcap, scale)
        lengths = None if kv_lengths is None else _lengths(kv_lengths)
        sizes = "-".join(f"{name.lower()}{getattr(letters, name)}" for name in "BTSNKHV")
        return Case(
            f"{sizes}-{dtype or 'float32'}",
            letters,
            dtype or "float32",
            semantics,
            mask=mask,
            bias=bias,
            kv_lengths=lengths,
            source="--shape",
        )
    except InvalidProblem as error:
        raise UsageError(str(error)) from None


def _lengths(text: str) -> tuple[int, ...]:
    """Whole numbers, separated by spaces or commas."""
    from benchmarks.errors import UsageError
    from benchmarks.plausible import is_count

    words = text.replace(",", " ").split()
    if not words or not all(map(is_count, words)):
        raise UsageError(f"--kv-lengths {text!r}, expected whole numbers, one for each batch element")
    return tuple(map(int, words))


def _window(text: str) -> tuple[int | None, int | None]:
    """The text "128:0" is (128, 0); an empty side is open."""
    from benchmarks.errors import UsageError
    from benchmarks.plausible import is_count

    left, colon, right = text.partition(":")
    if not colon or not all(side == "" or is_count(side) for side in (left, right)):
        raise UsageError(f"--window {text!r}, expected LEFT:RIGHT with counts of keys, an empty side being open")
    return (int(left) if left else None, int(right) if right else None)


def resolve_environment(words: Sequence[str] | None, option: str = "--env") -> tuple[bool, tuple[tuple[str, str], ...]]:
    """Whether the workers' environment is neutral, and what is set in it: (name, value). UsageError for a word that says
    neither, and for two that contradict each other.
    """
    import re

    from benchmarks.errors import UsageError

    neutral: bool | None = None
    variables: dict[str, str] = {}
    for word in words or ():
        if word in ("inherit", "neutral"):
            if neutral not in (None, word == "neutral"):
                raise UsageError(f"{option} inherit and {option} neutral contradict each other: use one of them")
            neutral = word == "neutral"
            continue
        name, equals, value = word.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise UsageError(f"{option} {word!r}, expected inherit, neutral or NAME=VALUE")
        if variables.get(name, value) != value:
            raise UsageError(f"{option} sets {name} to {variables[name]!r} and to {value!r}: set it once")
        variables[name] = value
    return bool(neutral), tuple(variables.items())


def in_pass(cases: Sequence[Case], name: str | None) -> tuple[Case, ...]:
    """The same problems in the pass that was asked for, or each in its own. UsageError for one that is not there."""
    import dataclasses

    from backends.problem import PASSES
    from benchmarks.errors import UsageError

    if name is not None and name not in PASSES:
        raise UsageError(f"unknown pass {name!r}, expected one of {', '.join(PASSES)}")
    return tuple(case if name is None else dataclasses.replace(case, pass_=name) for case in cases)


def in_dtype(cases: Sequence[Case], dtype: str | None) -> tuple[Case, ...]:
    """The same problems in the dtype that was asked for, named by it, each once; or each in its own. UsageError for one that
    is not there.
    """
    import dataclasses

    from backends.problem import InvalidProblem
    from benchmarks.errors import UsageError

    if dtype is None:
        return tuple(cases)
    found: dict[str, Case] = {}
    for case in cases:
        name = case.name if case.dtype == dtype else f"{case.name.removesuffix(f'-{case.dtype}')}-{dtype}"
        try:
            found.setdefault(name, dataclasses.replace(case, name=name, dtype=dtype))
        except InvalidProblem as error:
            raise UsageError(str(error)) from None
    return tuple(found.values())


def resolve_plugins(
    paths: list[Path] | None, frameworks: Sequence[str] = (), patterns: Sequence[str] = ()
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """((framework, plug-in), ...) for each worker that loads one, and all the ids that they define.

    The files of --plugin, and what installed packages offer through the entry-point group attnbench.backends; not those
    whose entry point names a framework that --framework and --implementation leave out.
    """
    from fnmatch import fnmatchcase

    from backends.plugins import PluginError, installed_plugins
    from benchmarks.conformance.check import plugin_ids
    from benchmarks.errors import UsageError

    def is_wanted(framework: str) -> bool:
        asked = not patterns or any(fnmatchcase(framework, pattern.partition("/")[0]) for pattern in patterns)
        return asked and (not frameworks or framework in frameworks)

    try:
        wanted = [*(str(path.resolve()) for path in paths or ()), *installed_plugins(is_wanted)]
    except PluginError as error:
        raise UsageError(str(error)) from None
    if not wanted:
        return (), ()
    found = plugin_ids(wanted)
    ids = tuple(id for defined in found.values() for id in defined)
    pairs = {(id.partition("/")[0], path): None for path, defined in found.items() for id in defined}
    return tuple(pairs), ids
