"""Running the command line, and code, as fresh processes: what users do."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = ("--suite", "smoke", "--case", "tiny-self", "--implementation", "numpy/naive")
"""Of `run` and `ab`: the smallest cell there is."""


def attnbench(*words, environment=None):
    """Run `python -m benchmarks WORDS` at the repository's root; the finished process with its text."""
    return _run("-m", "benchmarks", *map(str, words), environment=environment)


def python(code, *, environment=None):
    """Run code in a fresh process at the repository's root, with warnings as errors."""
    return _run("-W", "error", "-c", code, environment=environment)


_HEEDING_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
"""


@contextlib.contextmanager
def started(*words):
    """`python -m benchmarks WORDS` as it runs, with both outputs as pipes; ended and closed afterwards, whatever happened.

    Whoever runs the tests in the background has Ctrl-C ignored, and what he starts inherits that: it is undone here.
    """
    command = [sys.executable, "-c", _HEEDING_CTRL_C, *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _run(*words, environment):
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        stdin=subprocess.DEVNULL,
    )
