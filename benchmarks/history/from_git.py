"""The runs of a history from git: each commit that changed a stored summary.csv is one run. And when commits were made."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison.readers import ENVIRONMENT, SUMMARY
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.foreign import decoded
from benchmarks.history.runs import Collected, collected, run_from, time_of
from benchmarks.live.checkout import git, outside_hooks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from benchmarks.history.runs import Run


def in_git(folder: Path) -> Collected:
    """All versions of the runs in a folder (or of one run folder) that were ever committed on the way to HEAD.

    The folder need not be there any more. UsageError where it is in no repository or has no past.
    """
    near = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
    root = Path(git(near, "rev-parse", "--show-toplevel"))
    try:
        inside = folder.absolute().resolve().relative_to(root.resolve())
    except ValueError:
        raise UsageError(f"--history {folder} --git: not in the git repository {root}") from None
    wanted = f":(literal){inside.as_posix()}"
    # NUL between all: a path may hold any other character.
    words = ("log", "-z", "--format=%x01%H", "--name-only", "--diff-filter=AM", "--diff-merges=first-parent", "HEAD")
    listed = git(root, *words, "--", wanted)
    runs: list[Run] = []
    left_out: list[str] = []
    for commit, path in _versions(listed):
        stored = f"{commit[:7]}:{path.rpartition('/')[0] or '.'}"
        try:
            environment = _file_at(root, commit, path.removesuffix(SUMMARY) + ENVIRONMENT)
            runs.append(run_from(_file_at(root, commit, path) or "", environment, stored))
        except UnreadableResults as error:
            left_out.append(str(error))
    if not runs and not left_out:
        raise UsageError(f"--history {folder} --git: no commit up to HEAD has changed a {SUMMARY} in it")
    return collected(runs[::-1], left_out)  # the log begins with the newest


def with_commit_times(runs: Iterable[Run], repository: Path) -> list[Run]:
    """The same with the time of their commits, where it was not recorded and the repository knows them."""
    found = list(runs)
    unknown = sorted({run.commit for run in found if run.commit and run.committed is None})
    times: dict[str, datetime | None] = {}
    if unknown:
        try:
            words = ("log", "--no-walk=unsorted", "--ignore-missing", "--format=%H %cI", *unknown, "--")
            lines = git(repository, *words).splitlines()
        except UsageError:
            lines = []  # no git here, or no repository: then nobody knows
        times = {commit: time_of(time) for commit, _, time in (line.partition(" ") for line in lines)}
    return [dataclasses.replace(r, committed=r.committed or times.get(r.commit)) for r in found]


def _versions(listed: str) -> list[tuple[str, str]]:
    """(commit, path of a summary.csv), the newest first."""
    found = []
    for of_commit in listed.split("\x01")[1:]:
        commit, *paths = (word.strip("\n") for word in of_commit.split("\0"))
        found += [(commit, path) for path in paths if path.rpartition("/")[2] == SUMMARY]
    return found


def _file_at(root: Path, commit: str, path: str) -> str | None:
    """The text of a file in a commit; None where it is not there. UnreadableResults where it is no text."""
    # Not through `git`, which strips: the end of the last line says whether a file is whole.
    command = ["git", "-C", str(root), "show", f"{commit}:{path}"]
    done = subprocess.run(command, capture_output=True, check=False, env=outside_hooks())
    if done.returncode != 0:
        return None
    return decoded(done.stdout, f"{commit[:7]}:{path}")
