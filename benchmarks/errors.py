"""The two mistakes that end the program with one line and exit status 2. Here alone, so that `--help` imports nothing else."""

from __future__ import annotations

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
_LONGEST = 1000
"""Characters of a message."""
_LONGEST_LIST = 4000
"""Of one that may list what could have been meant."""


class UsageError(ValueError):
    """What the user asked for makes no sense; the message says what was got, what was expected and what to do."""

    def __init__(self, message: str) -> None:
        """What a file says may be quoted here too."""
        super().__init__(_cut(message, _LONGEST_LIST))


class UnreadableResults(ValueError):
    """A file that is not a result file of a known schema; the message says what is wrong and where."""

    def __init__(self, message: str) -> None:
        """What a file says may be quoted in the message, and may be long."""
        super().__init__(_cut(message, _LONGEST))


def _cut(message: str, longest: int) -> str:
    return message if len(message) <= longest else f"{message[: longest - 3]}..."
