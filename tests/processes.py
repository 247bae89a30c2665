"""Running the command line, and code, as fresh processes: what users do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def attnbench(*words, environment=None):
    """Run `python -m benchmarks WORDS` at the repository's root; the finished process with its text."""
    return _run("-m", "benchmarks", *map(str, words), environment=environment)


def python(code, *, environment=None):
    """Run code in a fresh process at the repository's root, with warnings as errors."""
    return _run("-W", "error", "-c", code, environment=environment)


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
