"""`report --history`: trends over many runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def write_history(folder: Path, output: Path | None, *, runs: Sequence[Path], format: str | None) -> int:
    """The page of a history; the exit status. UsageError where there is nothing to show."""
    raise UsageError(f"--history {folder}: not built yet")
