"""A git revision as a folder of its own, for as long as it is measured."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import UsageError
from benchmarks.harness.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A revision of a repository, checked out."""

    path: Path
    commit: str
    repository: Path


def repository_of(plugins: Sequence[Path] | None) -> Path:
    """The repository that a revision is one of: that of the plug-ins where there are any, otherwise this one."""
    if not plugins:
        return ROOT
    roots = {Path(git(path.resolve().parent, "rev-parse", "--show-toplevel")) for path in plugins}
    if len(roots) > 1:
        raise UsageError(
            f"the plug-ins lie in {len(roots)} git repositories, and a revision can only be of one: give one plug-in"
        )
    return roots.pop()


@contextlib.contextmanager
def checkout(revision: str, repository: Path) -> Iterator[Checkout]:
    """A worktree of the revision; it is gone afterwards. UsageError where there is no such revision or no git."""
    if revision.startswith("-"):
        raise UsageError(f"revision {revision!r}, expected a commit, branch or tag")
    commit = git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", wanted=revision)
    with tempfile.TemporaryDirectory(prefix="attnbench-checkout-") as scratch:
        path = Path(scratch) / "tree"
        git(repository, "worktree", "add", "--detach", "--quiet", str(path), commit)
        try:
            yield Checkout(path, commit, repository)
        finally:
            git(repository, "worktree", "remove", "--force", str(path))


def plugin_in(root: Checkout, plugin: str) -> str:
    """The same plug-in file in a checkout. UsageError where the revision does not have it."""
    if plugin.startswith("module:"):
        return plugin
    path = root.path / Path(plugin).relative_to(root.repository)
    if not path.is_file():
        raise UsageError(f"revision {root.commit[:10]} has no {Path(plugin).name}")
    return str(path)


def outside_hooks() -> dict[str, str]:
    """The environment for git: a hook's variables name the repository that it runs in, whatever -C says."""
    return {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}


def git(repository: Path, *words: str, wanted: str | None = None) -> str:
    """What git prints. UsageError where it fails; `wanted`: the revision that is missing then."""
    command = ["git", "-C", str(repository), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=outside_hooks())
    except FileNotFoundError:
        raise UsageError("a revision needs git, and there is none; install it") from None
    if done.returncode != 0:
        if wanted is not None:
            raise UsageError(f"{repository} has no revision {wanted!r}, expected a commit, branch or tag")
        said = " ".join(done.stderr.split())
        raise UsageError(f"git {words[0]} in {repository}: {said}")
    return done.stdout.strip()
