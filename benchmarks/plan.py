"""What a run is asked to do, resolved: which cases, which implementations, on which device, for how long."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from backends import registry
from benchmarks import suites
from benchmarks.cases import Case
from benchmarks.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEVICES = ("cpu", "cuda")
_LONGEST_SHARD = 18
"""Characters: more digits are no number of shards."""


@dataclass(frozen=True, slots=True, order=True)
class CellKey:
    """What identifies a cell within a run, for now always of the forward pass."""

    case: str
    implementation: str
    device: str

    @property
    def framework(self) -> str:
        """The part of the implementation's id before the slash."""
        return self.implementation.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.case} {self.implementation} {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A resolved request."""

    suite: str
    cases: tuple[Case, ...]
    implementations: tuple[str, ...]
    device: str = "cpu"
    plugins: tuple[tuple[str, str], ...] = ()
    """(framework, absolute path of the file) for each worker that loads a plug-in."""
    asked: tuple[str, ...] = ()
    """Frameworks that were asked for by name: they must load."""
    cpus: tuple[int, ...] = ()
    """Those that the workers run on; none named: all."""
    cluster: bool = False
    """Whether its cases are handed to the machines of a cluster."""
    cpus_asked: str = ""
    """On a cluster: --cpus as it was asked, for each machine to resolve."""
    neutral: bool = False
    """Whether the workers' environment is cleared of the variables that steer; see benchmarks.harness.steering."""
    variables: tuple[tuple[str, str], ...] = ()
    """(name, value) that are set in it, those of `threads` among them."""
    threads: int | None = None
    """Of each framework; None: as many as it chooses."""
    processes: int = 2
    blocks: int = 12
    """Timed blocks of each cell in each process."""
    block_s: float = 0.028
    slowdown: float = 0.0
    """Share of a call's time that is added to every call, by `audit`."""
    seed: int = 0
    shard: str = ""
    """Which part of the suite these cases are, as in 2/5; empty: not divided."""
    time_limit_s: float = 180.0
    """For each step of a cell: prepare (with compiling), block, recheck."""
    memory_limit_bytes: int | None = None
    """Of each worker process; None: what the machine has, less a reserve."""

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Those that are needed, in registry order."""
        return tuple(dict.fromkeys(i.partition("/")[0] for i in self.implementations))

    def cells(self, case: Case) -> list[CellKey]:
        """The cells of a case."""
        return [CellKey(case.name, implementation, self.device) for implementation in self.implementations]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the run folder."""
        return {**dataclasses.asdict(self), "cases": [c.to_dict() for c in self.cases]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """The inverse of to_dict, also after a trip through JSON. ValueError, KeyError, TypeError or AttributeError where it is
        none.
        """
        lists = {name: tuple(data[name]) for name in ("implementations", "asked", "cpus")}
        pairs = {
            "plugins": tuple((framework, path) for framework, path in data["plugins"]),
            "variables": tuple((name, value) for name, value in data.get("variables", ())),
        }
        plan = cls(**{**data, **lists, **pairs, "cases": tuple(Case.from_dict(c) for c in data["cases"])})
        names = [plan.suite, plan.shard, *plan.implementations, *plan.asked, *(case.name for case in plan.cases)]
        names += [word for pair in (*plan.plugins, *plan.variables) for word in pair]
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name in it is no text")
        return plan


def select_cases(suite: str, patterns: Sequence[str]) -> tuple[Case, ...]:
    """The cases of a suite whose names match one of the globs. UsageError where none does."""
    try:
        cases = suites.load(suite)
    except KeyError as error:
        raise UsageError(str(error.args[0])) from None
    if not patterns:
        return cases
    for pattern in patterns:
        if not any(fnmatchcase(c.name, pattern) for c in cases):
            raise UsageError(
                f"no case of suite {suite!r} matches {pattern!r}; there are: {', '.join(c.name for c in cases)}"
            )
    return tuple(c for c in cases if any(fnmatchcase(c.name, p) for p in patterns))


def select_shard(cases: Sequence[Case], suite: str, shard: str | None) -> tuple[Case, ...]:
    """Those of the cases that belong to a shard such as 2/5: every fifth of the suite, from its second on.

    By the place in the whole suite: what is filtered out moves no other case to another shard. UsageError for text that is
    no shard, and for a shard that none of the cases is in.
    """
    if shard is None:
        return tuple(cases)
    number, slash, of = shard.partition("/")
    is_digits = number.isdecimal() and of.isdecimal() and len(shard) <= _LONGEST_SHARD
    if not (slash and is_digits and 1 <= int(number) <= int(of)):
        raise UsageError(f"--shard {shard!r}, expected NUMBER/OF, from 1/5 to 5/5")
    place = {case.name: place for place, case in enumerate(suites.load(suite))}
    chosen = tuple(case for case in cases if place[case.name] % int(of) == int(number) - 1)
    if not chosen:
        others = sorted({place[case.name] % int(of) + 1 for case in cases})
        raise UsageError(
            f"--shard {shard} has none of the {len(cases)} chosen cases of suite {suite!r}; "
            f"they are in {', '.join(f'{n}/{of}' for n in others[:8])}"
        )
    return chosen


def select_implementations(
    frameworks: Sequence[str],
    patterns: Sequence[str],
    device: str,
    plugged: Sequence[str] = (),
    suite: str | None = "default",
) -> tuple[str, ...]:
    """Ids that match, of those that run on the device at all. UsageError where a filter matches nothing.

    `plugged` are the ids that plug-ins define; what the device rules out is left out unless it was named exactly. `suite`:
    what they are to be timed with, so that nothing is chosen which is never timed or, unasked, which the suite leaves out;
    None: all, to be checked.
    """
    for framework in frameworks:
        if framework not in registry.names():
            raise UsageError(f"unknown framework {framework!r}, expected one of {', '.join(registry.names())}")
    known = {id: i.devices for id, i in registry.implementations().items()}
    known |= {id: DEVICES for id in plugged if id not in known}
    wanted = [id for id in known if not frameworks or id.partition("/")[0] in frameworks]
    for pattern in patterns:
        if not any(fnmatchcase(id, pattern) for id in wanted):
            raise UsageError(f"no implementation matches {pattern!r}; there are: {', '.join(wanted)}")
    chosen = [id for id in wanted if not patterns or any(fnmatchcase(id, p) for p in patterns)]
    if suite is not None:
        left_out = () if frameworks or patterns else suites.leaves_out(suite)
        chosen = _timed([id for id in chosen if id in plugged or id.partition("/")[0] not in left_out], patterns)
    able = tuple(id for id in chosen if device in known[id] or id in patterns)
    if not able:
        raise UsageError(f"none of the chosen implementations runs on {device}: {', '.join(chosen)}")
    return able


def _timed(chosen: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Without those that are never timed. UsageError with the reason where one was named, or nothing else is left."""
    reasons = {id: i.untimed for id, i in registry.implementations().items() if i.untimed}
    timed = [id for id in chosen if id not in reasons]
    for id in chosen:
        if id not in timed and (id in patterns or not timed):
            raise UsageError(f"{id} is never timed, only checked: {reasons[id]}")
    return timed


def check_device(device: str) -> None:
    """UsageError for a device that this program does not know."""
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r}, expected one of {', '.join(DEVICES)}")


def asked_frameworks(frameworks: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """The frameworks that the user named: with --framework, or before the slash of an --implementation."""
    named = [p.partition("/")[0] for p in patterns]
    return tuple(dict.fromkeys([*frameworks, *(n for n in named if n in registry.names())]))


def check_installed(frameworks: Sequence[str]) -> None:
    """UsageError for a framework that was asked for and is not installed, before anything is started."""
    for framework in frameworks:
        if registry.installed_version(framework) is None:
            command = registry.install_command(framework)
            raise UsageError(f"framework {framework} was asked for and is not installed; install it: {command}")
