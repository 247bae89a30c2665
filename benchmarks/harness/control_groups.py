"""Control groups of Linux, version 1 and 2: what holds a process back besides the machine, as in containers and batch jobs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/")


def groups(controller: str, root: Path = ROOT) -> Iterator[tuple[Path, int]]:
    """The folders of the groups of a controller that this process is in, from all levels, each with its version."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux, or no /proc: there may be a group at the top all the same
        lines = ["0::/"]
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        inner = top / place.lstrip("/")
        # Inside a container the path may be the host's: then the group is what is mounted at the top.
        for group in {top, *(p for p in (inner, *inner.parents) if p.is_relative_to(top))}:
            yield group, 1 if controllers else 2


def cpu_quota(root: Path = ROOT) -> float | None:
    """CPUs' worth of time that the groups allow; None where none sets a limit."""
    found = [quota for group in groups("cpu", root) if (quota := _quota(*group)) is not None]
    return min(found, default=None)


def _quota(group: Path, version: int) -> float | None:
    names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        quota, period = " ".join((group / name).read_text(encoding="utf-8") for name in names).split()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def free_bytes(root: Path = ROOT) -> float | None:
    """The least that is left of memory in any of the groups; None where none sets a limit."""
    found = [free for group in _limited(root) if (free := _free(*group)) is not None]
    return min(found, default=None)


@functools.cache
def _limited(root: Path) -> tuple[tuple[Path, int], ...]:
    """The groups that limit memory, found once: free_bytes is asked ten times a second, while others are timed."""
    return tuple(group for group in groups("memory", root) if _free(*group) is not None)


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """The least that any of the groups may hold; None where none sets a limit."""
    found = [most for group in groups("memory", root) if (most := _most(*group)) is not None]
    return min(found, default=None)


def _most(group: Path, version: int) -> int | None:
    try:
        most = (group / ("memory.max" if version == 2 else "memory.limit_in_bytes")).read_text(encoding="utf-8").strip()
        return None if most == "max" or int(most) >= _NO_LIMIT else int(most)
    except (OSError, ValueError):
        return None


def _free(group: Path, version: int) -> float | None:
    most = _most(group, version)
    if most is None:
        return None
    try:
        used = int(
            (group / ("memory.current" if version == 2 else "memory.usage_in_bytes")).read_text(encoding="utf-8")
        )
        lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
        stat = dict(line.split() for line in lines)
        # File pages that nobody has used for a while are given up first.
        return most - used + int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None


_NO_LIMIT = 1 << 62
"""What version 1 says of a group without a limit: the largest number of pages."""
