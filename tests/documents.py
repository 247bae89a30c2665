"""Pages whose python blocks are run, and print what stands below them. `python -m tests.documents PAGE...` writes that anew."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)

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
    """The python blocks of a document in their order, each with the output shown below it."""
    fences = list(FENCE.finditer(document))
    found = []
    for place, fence in enumerate(fences):
        language, _, tag = fence["info"].partition(" ")
        if language != "python":
            continue
        below = fences[place + 1] if place + 1 < len(fences) else None
        directly = below is not None and below["info"] == "text" and not document[fence.end() : below.start()].strip()
        shown = below["body"] if below is not None and directly else ""
        found.append(Block(tag, document.count("\n", 0, fence.start()) + 1, fence["body"], shown))
    return found


def run_blocks(chosen: list[Block], name: str) -> list[str]:
    """What each block of a page prints, all in one fresh process in which warnings are errors."""
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


def refreshed(document: str, name: str) -> str:
    """The document with what its blocks print now below each that shows an output."""
    every = blocks(document)
    printed: dict[int, str] = {}
    for tag in dict.fromkeys(block.tag for block in every):
        own = [block for block in every if block.tag == tag]
        printed |= {block.line: text for block, text in zip(own, run_blocks(own, name), strict=True)}
    for block in every:
        if block.shown:
            document = document.replace(
                f"{block.source}```\n\n```text\n{block.shown}",
                f"{block.source}```\n\n```text\n{printed[block.line]}",
                1,
            )
    return document


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(refreshed(page.read_text("utf-8"), page.name), "utf-8")
