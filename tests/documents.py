"""The pages that people read, as blocks that can be run: one grammar for README and docs.

```python TAG           run, with warnings as errors; all blocks of one tag of a page are one process. A text block directly
                        below is exactly what it prints. A tag that is a framework's name needs that framework.
```python file=NAME     saved under this name, for the commands below; a NAME that the repository has must hold just this.
```console run          each `$ command` is run, and prints what stands below it; `...` stands for anything.
```console similar      likewise, but numbers and the order may differ: each word is printed, and no other status.
any other               lines that begin with a program of ours, or with `$ `, are commands: they have to be right. Not run.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.records import Status
from tests.processes import ROOT

GENERATED = {
    "docs/conformance.md": "made by `nox -s conformance`; its reproductions are run by tests/test_deviations.py",
    "docs/command-line.md": "made of --help when the site is built, and held by tests/test_site.py",
}
HISTORY = {"CHANGELOG.md": "says what commands were, too"}

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
UNITS = {"", "s", "ms", "us", "B", "KB", "MB", "GB", "<", "GFLOP/s", "GB/s"}
"""Those of numbers that are free: in which one they are depends on the machine, as which of its limits a case meets does."""
COMMAND = re.compile(r"^(?:\$ )?(?P<words>(?:\.venv/bin/)?(?:python3?|attnbench|nox|pip|git|typer) .*)$")

RUN_BLOCKS = """
import contextlib, io, json, sys

namespace = {"__name__": "__main__"}
printed = []
for block in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        # Empty lines above the source: a traceback tells lines of the document.
        exec(compile("\\n" * block["line"] + block["source"], block["file"], "exec"), namespace)
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


def pages() -> list[Path]:
    """README, docs and the other pages that people read, as paths from the root."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "results").glob("*.md")]
    left_out = GENERATED | HISTORY
    return sorted(p.relative_to(ROOT) for p in found if str(p.relative_to(ROOT)) not in left_out)


@dataclass(frozen=True, slots=True)
class Block:
    """One python block of a document."""

    tag: str
    """Names the process in which it runs, with all the others of the same tag."""
    line: int
    """Of its opening fence, counted from 1."""
    source: str
    shown: str
    """The text block directly below; empty where there is none."""


def blocks(document: str) -> list[Block]:
    """The python blocks of a document that are run, in their order, each with the output shown below it."""
    fences = list(FENCE.finditer(document))
    found = []
    for place, fence in enumerate(fences):
        language, _, tag = fence["info"].partition(" ")
        if language != "python" or tag.startswith("file="):
            continue
        below = fences[place + 1] if place + 1 < len(fences) else None
        directly = below is not None and below["info"] == "text" and not document[fence.end() : below.start()].strip()
        shown = below["body"] if below is not None and directly else ""
        found.append(Block(tag, _line(document, fence), fence["body"], shown))
    return found


def _line(document: str, fence: re.Match[str]) -> int:
    return document.count("\n", 0, fence.start()) + 1


def run_blocks(chosen: list[Block], name: str) -> list[str]:
    """What each block prints, all in one fresh process in which warnings are errors; `name` stands in its tracebacks."""
    told = [{"line": block.line, "source": block.source, "file": name} for block in chosen]
    # TensorFlow writes about the machine's processor when it is imported, and Keras could run on something else.
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_BLOCKS],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def differences(document: str, tag: str, name: str) -> list[str]:
    """Where the output shown in a document is not what its blocks of this tag print; a line for each block."""
    chosen = [block for block in blocks(document) if block.tag == tag]
    return [
        f"{name}:{block.line} prints\n{printed}but shows\n{block.shown}"
        for block, printed in zip(chosen, run_blocks(chosen, name), strict=True)
        if printed != block.shown
    ]


def commands(document: str) -> list[tuple[int, str]]:
    """(line, command) of every command that a page shows, each in one line and without its comment."""
    found = []
    for fence in FENCE.finditer(document):
        language = fence["info"].partition(" ")[0]
        if language in ("python", "text"):
            continue
        body = re.sub(r"\\\n\s*", "", fence["body"])
        for line in body.splitlines():
            shown = COMMAND.match(line)
            if shown or line.startswith("$ "):
                words = shown["words"] if shown else line[2:]
                found.append((_line(document, fence), re.sub(r"\s+#.*$", "", words)))
            else:
                assert language not in ("bash", "console") or not line.startswith("python"), line
    return found


def files(document: str) -> dict[str, str]:
    """What a page tells to save: name -> text."""
    found = {}
    for fence in FENCE.finditer(document):
        language, _, rest = fence["info"].partition(" ")
        if language == "python" and rest.startswith("file="):
            found[rest.removeprefix("file=")] = fence["body"]
    return found


@dataclass(frozen=True, slots=True)
class Shown:
    """A command in a console block that is run, and what the page says that it prints."""

    command: str
    output: str
    exactly: bool
    line: int
    saved: dict[str, str]
    """The files as they are at this place of the page."""


def shown_runs(document: str) -> list[Shown]:
    """The commands of a page that are run, in their order."""
    found, saved = [], {}
    for fence in FENCE.finditer(document):
        language, _, rest = fence["info"].partition(" ")
        if language == "python" and rest.startswith("file="):
            saved = saved | {rest.removeprefix("file="): fence["body"]}
        if language != "console" or rest not in ("run", "similar"):
            continue
        for part in re.split(r"^\$ ", fence["body"], flags=re.MULTILINE)[1:]:
            command, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
            found.append(Shown(command, output, rest == "run", _line(document, fence), saved))
    return found


def run_shown(shown: Shown, folder: Path) -> str:
    """What is wrong with what a page shows of a command, run in `folder`; empty where nothing is."""
    for name, text in shown.saved.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    program, *words = shlex.split(shown.command)
    assert program == "python", shown.command
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr[-4000:]  # 1 is an answer: does not conform
    if same(shown, done.stdout):
        return ""
    return f"line {shown.line}: `{shown.command}` prints\n{done.stdout}but the page shows\n{shown.output}"


def same(shown: Shown, printed: str) -> bool:
    """Whether a page shows what was printed, in the sense of its block."""
    if not shown.exactly:
        wanted, found = _words(shown.output), _words(printed)
        return wanted <= found and not (found - wanted) & set(map(str, Status))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown.output, printed, flags)


def _words(printed: str) -> set[str]:
    """The words without a digit, but for units."""
    words = {word.strip(".,:;()*") for word in printed.split()}
    return {word for word in words if not re.search(r"\d", word)} - UNITS


def renewed(document: str, name: str) -> str:
    """A page with what its python blocks print today in the text blocks below them."""
    printed = {}
    for tag in {block.tag for block in blocks(document)}:
        chosen = [block for block in blocks(document) if block.tag == tag]
        printed |= dict(zip((block.line for block in chosen), run_blocks(chosen, name), strict=True))
    found, at, below = [], 0, None
    for fence in FENCE.finditer(document):
        if fence["info"] == "text" and below is not None:
            found += [document[at : fence.start("body")], printed[below]]
            at = fence.end("body")
        below = _line(document, fence) if _line(document, fence) in printed else None
    return "".join([*found, document[at:]])


if __name__ == "__main__":  # python -m tests.documents docs/reading-results.md
    for page in sys.argv[1:]:
        Path(page).write_text(renewed(Path(page).read_text("utf-8"), page), "utf-8")
