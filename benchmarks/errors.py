"""The two mistakes that end the program with one line and exit status 2. Here alone, so that `--help` imports nothing else."""

from __future__ import annotations

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class UsageError(ValueError):
    """What the user asked for makes no sense; the message says what was got, what was expected and what to do."""


class UnreadableResults(ValueError):
    """A file that is not a result file of a known schema; the message says what is wrong and where."""
