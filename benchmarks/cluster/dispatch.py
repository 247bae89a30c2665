"""Who measures what next: pieces to idle machines, again elsewhere where a machine is lost, and into the journal as they come.

It knows no Dask: a pool starts things and tells what has ended. The clock is given, so that a simulation can bring its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.cluster.pieces import Piece, share
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from benchmarks.harness.state import Event
    from benchmarks.plan import Plan

MOST_ATTEMPTS = 3
"""A piece that so many machines were lost on, or failed to measure, is recorded: it may be what they died of."""
POLL_S = 2.0
"""At most so long it takes to notice a machine that has come or gone."""
NO_MACHINE_LIMIT_S = 600.0
"""A run ends, and can be resumed, where for so long no machine takes anything. Queues of schedulers take minutes."""

LEFT_OUT_LIMIT_S = 30.0
"""The same where machines are there, and none of them may measure."""

Part = tuple[Piece, ...]
Conditions = dict[str, Any]


class ClusterGone(Exception):
    """Nobody measures any more; what was measured is kept."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Something that a worker was asked for has ended."""

    worker: str
    answer: dict[str, Any] | None
    """As task.discover or task.measure_part gave it."""
    error: str = ""
    """Why there is no answer."""


class Pool(Protocol):
    """Workers that can be asked, one thing at a time each."""

    def workers(self) -> Collection[str]:
        """Those that are there and offer this device. ClusterGone where nobody can tell."""

    def discover(self, worker: str) -> None:
        """Ask for the conditions."""

    def measure(self, worker: str, part: Part) -> None:
        """Ask for a part of the run."""

    def ended(self, limit_s: float) -> Sequence[Ended]:
        """What has ended, as soon as something has; nothing after the limit."""

    def forget(self, worker: str) -> None:
        """It is gone: what it was asked for is not waited for."""


@dataclass(slots=True)
class Dispatcher:
    """The loop over all of it."""

    plan: Plan
    pool: Pool
    emit: Callable[[Event], None]
    clock: Callable[[], float]
    sources: str
    conditions: dict[str, Conditions] = field(default_factory=dict)
    """Machine -> those of the first worker on it; a worker under other ones takes nothing."""
    _queue: deque[Piece] = field(default_factory=deque)
    _again: deque[Piece] = field(default_factory=deque)
    """Pieces that were lost: each alone, so that the one which a machine dies of takes no other with it."""
    _attempts: dict[Piece, int] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _machine: dict[str, str] = field(default_factory=dict)
    """Worker -> its machine, where it may measure."""
    _refused: set[str] = field(default_factory=set)
    _reasons: list[str] = field(default_factory=list)
    _busy: dict[str, Part] = field(default_factory=dict)

    def run(self, pieces: Sequence[Piece]) -> None:
        """Until every piece is measured or recorded. ClusterGone where nobody is left to do it."""
        self._queue.extend(pieces)
        idle_since = self.clock()
        while self._queue or self._again or self._busy:
            present = set(self.pool.workers())
            for worker in [w for w in (*self._asked, *self._busy) if w not in present]:
                self._lose(worker)
            for worker in [w for w in self._machine if w not in present]:
                del self._machine[worker]
            for worker in sorted(present - self._asked - self._machine.keys() - self._refused):
                self._asked.add(worker)
                self.pool.discover(worker)
            if not self._asked:  # which frameworks there are is known of all before the first takes anything
                self._hand_out()
            if self._busy or self._asked:
                idle_since = self.clock()
            elif self.clock() - idle_since > (LEFT_OUT_LIMIT_S if present else NO_MACHINE_LIMIT_S):
                raise ClusterGone(self._why_nobody(len(present)))
            for ended in self.pool.ended(POLL_S):
                self._take(ended)

    def _why_nobody(self, present: int) -> str:
        if self._reasons:
            return f"{present} machines are there and none may measure; the last because {self._reasons[-1]}"
        return f"no machine that offers this device has come within {NO_MACHINE_LIMIT_S:g} s"

    def _hand_out(self) -> None:
        """A case is measured with all frameworks that some machine has: one that has fewer leaves it to others."""
        most = max((frozenset(known["frameworks"]) for known in self.conditions.values()), key=len, default=frozenset())
        for worker in sorted(self._machine.keys() - self._busy.keys()):
            missing = sorted(most - self.conditions[self._machine[worker]]["frameworks"].keys())
            if missing:
                self._refuse(worker, f"it has no {', '.join(missing)}, which another machine of this run has")
                continue
            part = self._next()
            if part:
                self._busy[worker] = part
                self.pool.measure(worker, part)

    def _next(self) -> Part:
        if self._again:
            return (self._again.popleft(),)
        count = min(share(len(self._queue), len(self._machine)), len(self._queue))
        return tuple(self._queue.popleft() for _ in range(count))

    def _take(self, ended: Ended) -> None:
        worker = ended.worker
        if worker in self._asked:
            self._asked.discard(worker)
            self._meet(worker, ended)
            return
        part = self._busy.pop(worker, ())
        if not part:  # it was given up before
            return
        if ended.answer is None or ended.answer["outcome"] == "failed":
            reason = ended.error if ended.answer is None else ended.answer["reason"]
            self._put_back(part, worker, Status.ERROR, reason)
        elif ended.answer["outcome"] == "refused":
            self._queue.extendleft(reversed(part))
            self._refuse(worker, ended.answer["reason"])
        else:
            self._measured(part, worker, ended.answer["events"], ended.answer["environment"])

    def _measured(self, part: Part, worker: str, events: Sequence[Event], environment: Mapping[str, Any]) -> None:
        """One line of the journal for all of it: it is there whole, or not at all."""
        cases = [case.name for piece in part for case in piece]
        told = {"cases": cases, "events": list(events), "environment": dict(environment)}
        self.emit({"event": "part", "machine": self._machine[worker], "worker": worker, **told})

    def _meet(self, worker: str, ended: Ended) -> None:
        found = ended.answer
        if found is None:
            self._refuse(worker, f"it does not tell what it is: {ended.error}")
            return
        machine = found["machine"]
        reason = self._why_not(found)
        if reason is not None:
            self._refuse(worker, reason)
            return
        self._machine[worker] = machine
        if machine not in self.conditions:
            self.conditions[machine] = found
            self.emit({"event": "machine", "machine": machine, "worker": worker, "conditions": found})

    def _why_not(self, found: Conditions) -> str | None:
        if found["sources"] != self.sources:
            return f"its attnbench is another one (sources {found['sources']}, here {self.sources}): update it"
        missing = [name for name in self.plan.asked if name not in found["frameworks"]]
        if missing:
            return f"it has no {', '.join(missing)}, which was asked for"
        known = self.conditions.get(found["machine"])
        if known is None:
            return None
        for name in ("python", "frameworks", "variables"):
            if known[name] != found[name]:
                return f"machines of its kind began with other {name}: {_difference(known[name], found[name])}"
        return None

    def _refuse(self, worker: str, reason: str) -> None:
        self._machine.pop(worker, None)
        self._refused.add(worker)
        self._reasons.append(reason)
        self.emit({"event": "left_out", "worker": worker, "reason": reason})

    def _lose(self, worker: str) -> None:
        self._asked.discard(worker)
        part = self._busy.pop(worker, ())
        self.pool.forget(worker)
        if part:
            self.emit({"event": "lost", "worker": worker, "cases": [case.name for piece in part for case in piece]})
            self._put_back(part, worker, Status.CRASHED, f"its machine was lost ({worker})")

    def _put_back(self, part: Part, worker: str, status: Status, reason: str) -> None:
        """To be tried again, elsewhere where there is another; or recorded."""
        for piece in part:
            self._attempts[piece] = self._attempts.get(piece, 0) + 1
            if self._attempts[piece] < MOST_ATTEMPTS:
                self._again.append(piece)
                continue
            told = {"status": str(status), "reason": f"tried {MOST_ATTEMPTS} times; the last time {reason}"}
            events: list[Event] = []
            for case in piece:
                for cell in self.plan.cells(case):
                    place = {"case": cell.case, "implementation": cell.implementation, "device": cell.device}
                    events.append({"event": "failed", **place, **told})
                events += [{"event": "case", "case": case.name, "process": p} for p in range(self.plan.processes)]
            self._measured((piece,), worker, events, {})


def _difference(a: object, b: object) -> str:
    if isinstance(a, dict) and isinstance(b, dict):
        names = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
        return ", ".join(f"{n} {a.get(n, 'not set')}, here {b.get(n, 'not set')}" for n in names)
    return f"{a}, here {b}"
