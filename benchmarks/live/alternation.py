"""One epoch: a fresh pair of workers per framework, every cell checked on both sides, then turns in alternation.

An exchange of turns is A B B A or B A A B, in short blocks: what drifts steadily cancels out of it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UsageError
from benchmarks.harness.grouping import COPIES, fitting_groups
from benchmarks.harness.process import WorkerFailed
from benchmarks.live.plan import SIDES, LivePlan, Pair
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.cases import Case
    from benchmarks.harness.protocol import Message
    from benchmarks.harness.session import Greeting, Session
    from benchmarks.live.state import Event, LiveState

_ORACLE_LIMIT_S = 600.0
_GONE = "its worker did not come back"


def _in_turn(epoch: int) -> tuple[str, ...]:
    """The sides in the order in which they start and prepare: who is first finds other caches and gets other pages, so each is
    first in every other epoch.
    """
    return SIDES if epoch % 2 == 0 else SIDES[::-1]


class Alternation:
    """Measures epochs of a plan in a session; whatever happens becomes an event."""

    def __init__(self, plan: LivePlan, session: Session, state: LiveState, emit: Callable[[Event], None]) -> None:
        self._plan = plan
        self._session = session
        self._state = state
        self._emit = emit
        self._random = random.Random(plan.seed)  # noqa: S311 - an order of turns, no secret
        self._cases = {case.name: case for case in plan.cases}
        self._ready: dict[str, dict[Pair, float]] = {}
        """Worker -> its prepared cells with their seconds per call."""

    def epoch(self, number: int, pairs: Sequence[Pair]) -> None:
        """Measure the cells once more, in fresh processes on both sides."""
        self._session.launch({pair.worker(side): None for side in _in_turn(number) for pair in pairs}.keys())
        cases = [case for case in self._plan.cases if any(pair.case == case.name for pair in pairs)]
        cases = [case for case in cases if self._ask_oracle(case, pairs)]
        pairs = self._welcome(number, pairs)
        for group in fitting_groups(cases, lambda case: self._held_bytes(case, pairs)):
            names = {case.name for case in group}
            self._group(number, [pair for pair in pairs if pair.case in names])

    def _held_bytes(self, case: Case, pairs: Sequence[Pair]) -> float:
        cells = 2 * sum(pair.case == case.name for pair in pairs)
        return self._state.cases[case.name]["bytes"] * cells * COPIES

    def _welcome(self, number: int, pairs: Sequence[Pair]) -> list[Pair]:
        """The cells whose workers are there on both sides; the others have failed."""
        greetings = self._session.greetings()
        if number == 0:
            self._insist(greetings)
        absent: dict[str, tuple[Status, str]] = {}
        for name, greeting in greetings.items():
            before = self._state.greetings.get(name)
            if greeting.status is not Status.OK:
                absent[name] = (greeting.status, greeting.reason)
            elif before is not None and before["version"] != greeting.version:
                absent[name] = (Status.ERROR, f"began with {before['version']}, here is {greeting.version}; start anew")
            else:
                told = {"version": greeting.version, "settings": dict(greeting.settings)}
                told |= {"variables": dict(greeting.variables), "own_variables": dict(greeting.own_variables)}
                self._emit({"event": "greeting", "worker": name, "framework": greeting.framework, **told})
        for pair in pairs:
            for side in SIDES:
                if pair.worker(side) in absent:
                    self._failed(side, pair, *absent[pair.worker(side)])
        return [pair for pair in pairs if not any(pair.worker(side) in absent for side in SIDES)]

    def _insist(self, greetings: Mapping[str, Greeting]) -> None:
        """UsageError for a framework that only one side lacks, or that was asked for, or where there is no other."""
        absent = {name: greeting for name, greeting in greetings.items() if greeting.status is not Status.OK}
        for name, greeting in absent.items():
            lacks = {f"{side}-{greeting.framework}" for side in SIDES} <= absent.keys()
            if not lacks or greeting.framework in self._plan.asked or len(absent) == len(greetings):
                side = {"A": self._plan.a, "B": self._plan.b}[name[0]]
                raise UsageError(f"side {name[0]} ({side.label}): {greeting.reason}")

    def _group(self, number: int, pairs: Sequence[Pair]) -> None:
        self._ready = {pair.worker(side): {} for side in _in_turn(number) for pair in pairs}
        self._prepare(pairs)
        if self._plan.cpus:
            self._session.bind(self._plan.cpus)
        if number == 0:
            self._estimate(pairs)
        ready = [pair for pair in pairs if self._both_ready(pair)]
        exchanges = {pair: self._exchanges(pair) for pair in ready}
        rounds = max((count for count, _ in exchanges.values()), default=0)
        for turn in range(rounds):
            order = list(ready)
            self._random.shuffle(order)
            for pair in order:
                count, blocks = exchanges[pair]
                if (turn + 1) * count // rounds != turn * count // rounds and self._both_ready(pair):
                    self._exchange(number, pair, blocks)
        for name in self._ready:
            self._ready[name] = {}
            if name in self._session:
                try:
                    self._session.ask(name, "release", self._plan.time_limit_s)
                except WorkerFailed:
                    self._revive(name)  # its cells are measured; the next group needs it

    def _both_ready(self, pair: Pair) -> bool:
        return all(pair in self._ready.get(pair.worker(side), {}) for side in SIDES)

    def _per_call_s(self, pair: Pair) -> float:
        return max(self._ready[pair.worker(side)][pair] for side in SIDES)

    def _exchanges(self, pair: Pair) -> tuple[int, int]:
        """How many exchanges of turns a cell gets in an epoch, and how many blocks each side has in one."""
        share = self._plan.budget_s / self._plan.epochs
        block = max(self._plan.block_s, self._per_call_s(pair))
        return (max(1, round(share / (2 * block))), 2) if 2 * block <= share else (1, 1)

    def _exchange(self, number: int, pair: Pair, blocks: int) -> None:
        calls = max(1, round(self._plan.block_s / self._per_call_s(pair)))
        first, second = self._random.sample(SIDES, 2)
        order = [first, second, second, first] if blocks == 2 else [first, second]
        answers: dict[str, list[Message]] = {side: [] for side in SIDES}
        for side in order:
            slowdown = self._slowdown(side)
            answer = self._attempt(side, pair, "block", calls=calls, **({"slowdown": slowdown} if slowdown else {}))
            if answer is None:
                return
            answers[side].append(answer)
        told: Message = {"epoch": number, "calls": calls}
        told |= {f"{side.lower()}_s": [answer["seconds"] for answer in answers[side]] for side in SIDES}
        # Revisions from before there were laps tell the seconds of a block alone: both sides are then held to those.
        if all("per_call_s" in answer for side in SIDES for answer in answers[side]):
            told |= {f"{side.lower()}_per_call_s": [a["per_call_s"] for a in answers[side]] for side in SIDES}
        self._emit({"event": "turns", **name(pair), **told})

    def _slowdown(self, side: str) -> float:
        return self._plan.a.slowdown if side == "A" else self._plan.b.slowdown

    def _prepare(self, pairs: Iterable[Pair]) -> None:
        """All workers at once, each its cells one after the other; a cell that ends its worker is told and left out."""
        waiting = {
            worker: [(side, pair) for side in SIDES for pair in pairs if pair.worker(side) == worker]
            for worker in self._ready
        }
        while any(waiting.values()):
            queues = {
                worker: [
                    ((worker, side, pair), {"cell": f"{side} {pair}", **self._preparation(side, pair)})
                    for side, pair in cells
                ]
                for worker, cells in waiting.items()
                if cells and worker in self._session
            }
            if not queues:
                break
            for (worker, side, pair), answer in self._session.ask_side_by_side(
                queues, "prepare", self._plan.time_limit_s
            ):
                waiting[worker].remove((side, pair))
                self._take(side, pair, answer)
            for worker in queues:
                if worker not in self._session and waiting[worker]:
                    side, pair = waiting[worker].pop(0)
                    self._revive(worker)
                    # Alone it tells how it ended, and whether it was only slow beside others.
                    self._prepare_alone(side, pair)
        for cells in waiting.values():
            for side, pair in cells:
                self._failed(side, pair, Status.CRASHED, _GONE)

    def _estimate(self, pairs: Iterable[Pair]) -> None:
        """How long calls take when nobody disturbs: what was found while all prepared side by side is far too long."""
        for pair in pairs:
            for side in SIDES:
                if pair in self._ready[pair.worker(side)]:
                    answer = self._attempt(side, pair, "estimate")
                    if answer is not None:
                        facts = {**self._state.pairs[pair].facts[side], "per_call_s": answer["per_call_s"]}
                        self._ready[pair.worker(side)][pair] = answer["per_call_s"]
                        self._emit({"event": "prepared", **name(pair), "side": side, "facts": facts})

    def _take(self, side: str, pair: Pair, answer: Message) -> None:
        if answer["status"] != Status.OK:
            self._failed(side, pair, answer["status"], answer["reason"])
            return
        facts = {k: v for k, v in answer.items() if k not in ("status", "reason")}
        self._ready[pair.worker(side)][pair] = facts["per_call_s"]
        self._emit({"event": "prepared", **name(pair), "side": side, "facts": facts})

    def _preparation(self, side: str, pair: Pair) -> Message:
        facts = self._state.pairs[pair].facts.get(side)
        return {
            "case": self._cases[pair.case].to_dict(),
            "implementation": pair.implementation(side),
            "device": pair.device,
            "seed": self._plan.seed,
            "expected": self._file(pair.case),
            "known": [facts["kernel"], facts["per_call_s"]] if facts else None,
        }

    def _attempt(self, side: str, pair: Pair, op: str, /, **fields: Any) -> Message | None:
        worker = pair.worker(side)
        if worker not in self._session:
            self._failed(side, pair, Status.CRASHED, _GONE)
            return None
        try:
            answer = self._session.ask(worker, op, self._plan.time_limit_s, cell=f"{side} {pair}", **fields)
        except WorkerFailed as failure:
            self._failed(side, pair, failure.status, f"in {op}: {failure.reason}")
            self._revive(worker)
            return None
        if answer["status"] == Status.OK:
            return answer
        self._failed(side, pair, answer["status"], answer["reason"])
        return None

    def _revive(self, worker: str) -> None:
        """A new worker in place of a dead one, with the cells that the dead one held and did not die of."""
        lost = list(self._ready[worker])
        self._ready[worker] = {}
        try:
            self._session.restart(worker)
        except WorkerFailed as failure:
            for pair in lost:
                self._failed(worker[0], pair, failure.status, f"{_GONE}: {failure.reason}")
            return
        if self._plan.cpus:
            self._session.bind(self._plan.cpus)
        for pair in lost:
            self._prepare_alone(worker[0], pair)

    def _prepare_alone(self, side: str, pair: Pair) -> None:
        answer = self._attempt(side, pair, "prepare", **self._preparation(side, pair))
        if answer is not None:
            self._take(side, pair, answer)

    def _failed(self, side: str, pair: Pair, status: str, reason: str) -> None:
        self._ready.get(pair.worker(side), {}).pop(pair, None)
        self._emit({"event": "failed", **name(pair), "side": side, "status": str(status), "reason": reason})

    def _ask_oracle(self, case: Case, pairs: Iterable[Pair]) -> bool:
        """The oracle's answer, once for both sides and all epochs. False where it has none: then the cells have failed."""
        if case.name in self._state.cases:
            return True
        fields = {
            "case": case.to_dict(),
            "seed": self._plan.seed,
            "file": self._file(case.name),
            "only_expected": False,
        }
        try:
            answer = self._session.oracle(_ORACLE_LIMIT_S, **fields)
        except WorkerFailed as failure:
            answer = {"status": failure.status, "reason": failure.reason}
        if answer["status"] != Status.OK:
            for pair in pairs:
                for side in SIDES if pair.case == case.name else ():
                    self._failed(side, pair, answer["status"], f"the oracle failed: {answer['reason']}")
            return False
        told = {k: v for k, v in answer.items() if k not in ("status", "reason")}
        self._emit({"event": "oracle", "case": case.name, **told})
        return True

    def _file(self, case: str) -> str:
        return str(self._session.folder / f"{list(self._cases).index(case)}.npz")


def name(pair: Pair) -> Event:
    """The cell in an event."""
    return {"case": pair.case, "a": pair.a, "b": pair.b, "device": pair.device}
