"""What people see on a terminal of their own: its width is kept, NO_COLOR and a dumb one are respected, names stay whole."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from rich.cells import cell_len

from backends import registry
from benchmarks import suites
from tests.processes import ROOT

BASELINE = "results/baselines/amd-epyc-25-1-avx2-2-cores/smoke"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURED = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|4[0-7]|9[0-7]|10[0-7]|38;[0-9;]+|48;[0-9;]+)m")
COMMANDS = {
    "show": ("show", BASELINE),
    "compare": ("compare", BASELINE, BASELINE, "--threshold", "50%"),
    "list implementations": ("list", "implementations"),
    "list cases": ("list", "cases"),
    "list suites": ("list", "suites"),
}


def on_terminal(words, columns, **environment):
    """What a command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    clean = {
        k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM")
    }
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *words],
        stdout=theirs,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env={**clean, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(theirs)
        found = b""
        while chunk := _read(ours):
            found += chunk
        os.close(ours)
    return process.returncode, found.decode().replace("\r\n", "\n")


def _read(descriptor):
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
@pytest.mark.parametrize("name", COMMANDS)
def test_lines_keep_to_the_width(name, columns):
    """And to 100 columns where there are more."""
    code, text = on_terminal(COMMANDS[name], columns)
    assert code == 0, text
    lines = [ESCAPE.sub("", line) for line in text.splitlines()]
    assert len(lines) > 5
    assert max(map(cell_len, lines)) <= min(columns, 100)


@pytest.mark.parametrize("columns", [80, 100])
def test_names_are_never_broken(columns):
    """Whoever copies an id from a list has all of it."""
    _, text = on_terminal(COMMANDS["list implementations"], columns)
    assert [line.split()[0] for line in ESCAPE.sub("", text).splitlines() if "/" in line.split("  ")[0]] == list(
        registry.implementations()
    )
    _, text = on_terminal(COMMANDS["list cases"], columns)
    words = set(ESCAPE.sub("", text).split())
    assert {case.name for suite in suites.SUITES for case in suites.load(suite)} <= words


def test_colours_are_there_and_go_where_they_are_not_wanted():
    """NO_COLOR (no-color.org) leaves bold and dim; a dumb terminal gets plain text."""
    _, bright = on_terminal(COMMANDS["show"], 100)
    assert COLOURED.search(bright)
    _, plain = on_terminal(COMMANDS["show"], 100, NO_COLOR="1")
    assert not COLOURED.search(plain)
    assert ESCAPE.sub("", plain) == ESCAPE.sub("", bright)
    _, dumb = on_terminal(COMMANDS["show"], 100, TERM="dumb")
    assert "\x1b" not in dumb
