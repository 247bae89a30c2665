"""README and docs/: what they show is what is printed, and every command in them is one that the program takes today."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import typer.main

from backends import registry
from benchmarks.cases import parse_shape
from benchmarks.cli.commands import app
from benchmarks.suites import SUITES
from tests import documents
from tests.documents import Shown
from tests.processes import ROOT, attnbench

PAGES = [str(page) for page in documents.pages()]
TESTED_ELSEWHERE = {
    "docs/from-select-to-attention.md": "tests/test_docs_select.py",
    "README.md": "tests/test_readme.py",
}
"""Pages whose python blocks another file runs."""
NOT_RUN = {"dask_jobqueue": "needs a SLURM cluster"}
"""Tags of python blocks that nothing here can run -> why."""

OTHER_PROGRAMS = {
    r"python3 -m venv \.venv && .*": "the quick start: tests/test_readme.py and .ci/run hold it",
    r"(\.venv/bin/)?(python -m )?pip install .*": "needs an index of packages",
    r"python -m results\.history\.make.*": "measures for half an hour: tests/test_history_make.py",
    r"python -m tests\.(fuzz|soak).*": "tests/test_fuzz.py and tests/test_soak.py",
    r"git (clone|switch|add|commit|checkout) .*": "git, as everybody knows it",
}
"""Commands that are not ours -> why they are neither parsed nor run."""

NOT_OURS = {"--benchmark-compare-fail", "--benchmark-json", "--install-only", "--inputs", "--minutes", "--strict"}
"""Options named in prose that belong to pytest-benchmark and nox, to tests.fuzz, tests.soak and pip-audit."""


def text(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


# Python blocks.


@pytest.mark.parametrize(
    ("page", "tag"),
    [(p, t) for p in PAGES if p not in TESTED_ELSEWHERE for t in sorted({b.tag for b in documents.blocks(text(p))})],
)
def test_python_blocks_print_what_stands_below_them(page, tag):
    """Each page's blocks of one tag run in one process, without a warning, and print exactly what is shown."""
    if tag in NOT_RUN:
        pytest.skip(NOT_RUN[tag])
    if tag in registry.names() and registry.installed_version(tag) is None:
        pytest.skip(f"{tag} is not installed")
    assert not documents.differences(text(page), tag, page)


def test_output_belongs_to_a_block():
    """No text block stands alone: it would be output that nothing printed."""
    for page in PAGES:
        shown = sum(bool(block.shown) for block in documents.blocks(text(page)))
        assert shown == sum(fence["info"] == "text" for fence in documents.FENCE.finditer(text(page))), page


# Commands.


@functools.cache
def sessions() -> frozenset[str]:
    """The names of the nox sessions, read from noxfile.py."""
    found = set()
    for node in ast.parse((ROOT / "noxfile.py").read_text()).body:
        if isinstance(node, ast.FunctionDef) and "nox.session" in "".join(map(ast.unparse, node.decorator_list)):
            named = re.search(r"name='([^']+)'", "".join(map(ast.unparse, node.decorator_list)))
            found.add(named[1] if named else node.name)
    return frozenset(found)


def parse(words: list[str]) -> tuple[str, dict[str, object]]:
    """A command line as the program itself reads it: the command and its options. Nothing is run."""
    group = typer.main.get_command(app)
    context = group.make_context("attnbench", list(words))
    name, command, rest = group.resolve_command(context, list(words))
    return name, command.make_context(name, rest, parent=context).params


def wrong_with(command: str) -> str:
    """Why a command that a page shows is not right today; empty where it is."""
    if any(re.fullmatch(known, command) for known in OTHER_PROGRAMS):
        return ""
    words = shlex.split(command.removeprefix(".venv/bin/"))
    if words[:2] == ["nox", "-s"]:
        return "" if words[2] in sessions() else f"no session {words[2]}: there are {', '.join(sorted(sessions()))}"
    rest = words[3:] if words[:3] == ["python", "-m", "benchmarks"] else words[1:] if words[0] == "attnbench" else None
    if rest is None:
        return "no program of ours, and not in OTHER_PROGRAMS"
    try:
        _, options = parse(rest)
    except Exception as error:  # noqa: BLE001 - typer brings its own click, whose errors have no public name
        return f"{type(error).__name__}: {getattr(error, 'message', error)}"
    return "; ".join(_strange_values(options))


def _strange_values(options: dict[str, object]) -> list[str]:
    """Options that name something which is not there: a suite, a framework, an implementation, a shape's letter."""
    strange = []
    if options.get("suite") not in (None, *SUITES):
        strange.append(f"no suite {options['suite']}")
    strange += [f"no framework {name}" for name in options.get("framework") or () if name not in registry.names()]
    given = [*(options.get("implementation") or ()), options.get("a_implementation"), options.get("b_implementation")]
    for pattern in filter(None, given):
        mine = options.get("plugin") and pattern.partition("/")[0] in registry.names()
        if not mine and not any(fnmatchcase(id, pattern) for id in registry.implementations()):
            strange.append(f"no implementation {pattern}")
    if options.get("shape"):
        parse_shape(str(options["shape"]))
    return strange


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_right(page):
    """Each command of a page is parsed by today's options, names what there is, or is listed with a reason."""
    wrong = {f"{page}:{line} {command}": wrong_with(command) for line, command in documents.commands(text(page))}
    assert not {command: why for command, why in wrong.items() if why}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("python -m benchmarks run --siute smoke", "--siute"),
        ("python -m benchmarks run --suite smok", "no suite smok"),
        ("python -m benchmarks runn", "runn"),
        ("python -m benchmarks check --implementation torch/spda", "no implementation torch/spda"),
        ("nox -s bensh", "no session bensh"),
        ("python tools/other.py", "OTHER_PROGRAMS"),
    ],
)
def test_a_wrong_command_is_caught(command, why):
    """A slip in a command, an option, a suite, an implementation, a session or a program is told."""
    assert why in wrong_with(command)


@pytest.mark.parametrize("page", PAGES)
def test_options_and_sessions_in_prose_exist(page):
    """What a sentence quotes as `--option` or `nox -s NAME` is there."""
    prose = documents.FENCE.sub("", text(page))
    group = typer.main.get_command(app)
    known = {word for command in group.commands.values() for option in command.params for word in option.opts}
    quoted = set(re.findall(r"`[^`\n]*?(--[a-z][a-z-]+)", prose))
    assert quoted <= known | NOT_OURS | {"--help"}
    assert set(re.findall(r"nox -s ([\w-]+)", prose)) <= sessions()


@pytest.mark.parametrize("words", ["list", "list suites", "env", "--help"])
def test_the_cheap_commands_run(words):
    """What costs nothing is run as the pages show it."""
    done = attnbench(*words.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


# Files that a page tells to save, and commands whose output it shows.


@pytest.mark.parametrize("page", PAGES)
def test_files_shown_are_those_of_the_repository(page):
    """A page that shows a file of the repository shows it as it is."""
    for name, shown in documents.files(text(page)).items():
        if "/" in name:
            assert shown == (ROOT / name).read_text("utf-8"), f"{page} shows another {name}"


@pytest.mark.parametrize("page", [p for p in PAGES if documents.shown_runs(text(p))])
def test_commands_print_what_stands_below_them(page, tmp_path):
    """The commands of a page, run one after the other in one folder, print what it shows."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    runs = documents.shown_runs(text(page))
    own = [Shown(s.command, s.output, s.exactly, s.line, _own(s.saved)) for s in runs]
    wrong = [told for shown in own if (told := documents.run_shown(shown, tmp_path))]
    assert not wrong, "\n".join(wrong)


def _own(saved: dict[str, str]) -> dict[str, str]:
    """Without the repository's files: they are there already."""
    return {name: source for name, source in saved.items() if "/" not in name}


def test_another_output_is_caught():
    """Another word, another number or a missing line is not what a page shows; in `similar`, numbers and order are free."""
    shown = Shown("", "33 answers: 5 pass, 1 fail.\n", True, 1, {})
    assert documents.same(shown, "33 answers: 5 pass,  1 fail. \n")
    for other in ("33 answers: 6 pass, 1 fail.\n", "33 answers: 5 pass.\n", ""):
        assert not documents.same(shown, other)
    similar = Shown("", "numpy/mine  4.96 ms ±2.6%  < 4 MB\n", False, 1, {})
    assert documents.same(similar, "numpy/mine  816 us ±14.0%  10.2 MB\n")
    assert not documents.same(similar, "numpy/other  816 us ±14.0%  10.2 MB\n")
    assert not documents.same(similar, "numpy/mine unsupported: no softcap\n")
    rate = Shown("", "median  GFLOP/s  of limit\n", False, 1, {})
    assert documents.same(rate, "median  GB/s  of limit\n")
    assert not documents.same(rate, "median  GB/s\n")


# Links.


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Relative links exist, and so do the headings that they name."""
    for target, heading in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", documents.FENCE.sub("", text(page))):
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), f"{page} links to {target}"
        if heading:
            assert heading in anchors(file), f"{page} links to {target}#{heading}"


def anchors(file: Path) -> set[str]:
    """The ids that a page's headings get: lower case, spaces become dashes, the rest of punctuation goes."""
    headings = re.findall(r"^#+ (.+)$", documents.FENCE.sub("", file.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
