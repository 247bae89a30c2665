"""The order of things: start the workers, check every cell, let the cells of a case take turns in short random blocks.

The scheduler measures and tells; it keeps nothing. Whatever happens becomes an event: the journal writes it down, the
state folds it in, the progress bar shows it.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UsageError
from benchmarks.harness.ceilings import measure_ceilings
from benchmarks.harness.grouping import COPIES, fitting_groups
from benchmarks.harness.handicap import handicaps
from benchmarks.harness.oracle_answers import OracleAnswers
from benchmarks.harness.process import WorkerFailed
from benchmarks.harness.sweep import Sweep
from benchmarks.harness.threads import other_than_asked, threads_line
from benchmarks.harness.turns import calls_and_turns, has_turn
from benchmarks.plan import CellKey, Plan
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from benchmarks.cases import Case
    from benchmarks.harness.protocol import Message
    from benchmarks.harness.session import Greeting, Session
    from benchmarks.harness.state import Event, State


class Scheduler:
    """Runs a plan in a session."""

    def __init__(
        self,
        plan: Plan,
        session: Session,
        state: State,
        emit: Callable[[Event], None],
        unbroken: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`unbroken`: what a Ctrl-C has to wait for: a block, and the telling of it."""
        self._plan = plan
        self._session = session
        self._state = state
        self._emit = emit
        self._unbroken = unbroken
        self._order = 1 + max((block[1] for known in state.cells.values() for block in known.all_blocks()), default=-1)
        self._sweep = Sweep(plan, state)
        self._answers = OracleAnswers(plan, session, state, self._sweep, self._failed, emit)
        self._cases: dict[str, Case] = {}
        """Of the group that is being measured."""
        self._ready: dict[CellKey, float] = {}
        """Its prepared cells, with their seconds per call."""

    def run(self) -> None:
        """Measure what the state does not hold yet."""
        start = time.monotonic()
        try:
            for process in range(self._plan.processes):
                cases = [c for c in self._plan.cases if (c.name, process) not in self._state.done and self._open(c)]
                if cases:
                    self._pass(process, cases)
        finally:
            self._emit({"event": "end", "wall_s": time.monotonic() - start})

    def _pass(self, process: int, cases: list[Case]) -> None:
        """Everything once, in fresh processes: part of the noise belongs to the process."""
        self._session.launch()
        first, *longer = self._sweep.stages(cases)
        # The oracle computes while the frameworks import: nothing is being timed yet.
        first = self._with_oracle(first, process)
        greetings = self._session.greetings()
        self._welcome(greetings)
        if process == 0:
            measure_ceilings(self._plan, self._session, self._emit, self._revive)
            self._session.freeze()
            for event in handicaps(
                self._plan, [f for f in self._plan.frameworks if f in self._session], self._session.folder
            ):
                self._emit(event)
        self._groups(first, process)
        for stage in longer:
            for cell, ends in self._sweep.ends_before(stage):
                self._failed(cell, *ends)
            self._groups(self._with_oracle(stage, process), process)

    def _with_oracle(self, cases: list[Case], process: int) -> list[Case]:
        """Those that the oracle has an answer to, in the last process to fresh inputs too."""
        cases = [case for case in cases if self._answers.has_room(case) and self._answers.ask(case, 0)]
        return [case for case in cases if process < self._plan.processes - 1 or self._answers.ask(case, 1)]

    def _open(self, case: Case) -> list[CellKey]:
        return [cell for cell in self._plan.cells(case) if self._state.cells[cell].status is None]

    def _groups(self, cases: list[Case], process: int) -> None:
        for group in fitting_groups(cases, self._held_bytes):
            self._group(group, process)
            for case in group:
                self._emit({"event": "case", "case": case.name, "process": process})

    def _welcome(self, greetings: dict[str, Greeting]) -> None:
        for greeting in greetings.values():
            before = self._state.greetings.get(greeting.framework)
            if greeting.status is not Status.OK and greeting.framework in self._plan.asked and before is None:
                raise UsageError(greeting.reason)
            if before and before["version"] != greeting.version and greeting.status is Status.OK:
                raise UsageError(f"the run began with {before['version']}, here is {greeting.version}; start a new run")
            self._emit(greeting.to_event())
        present = [g for g in greetings.values() if g.status is Status.OK]
        for greeting in present:
            told = other_than_asked(greeting.framework, self._plan, dict(greeting.settings), dict(greeting.pools))
            for event in told:
                if threads_line(event) not in self._state.notes:  # each process greets
                    self._emit(event)
        if present and not any(self._plan.device in g.devices for g in present):
            there = sorted({d for g in present for d in g.devices})
            raise UsageError(f"no framework here finds a device {self._plan.device!r}; they find: {', '.join(there)}")

    def _held_bytes(self, case: Case) -> float:
        return self._state.cases[case.name]["bytes"] * len(self._plan.implementations) * COPIES

    def _group(self, cases: list[Case], process: int) -> None:
        """Some cases in one process: prepare all their cells, let them take turns, check them again."""
        self._ready = {}
        self._cases = {case.name: case for case in cases}
        cells = [cell for case in cases for cell in self._open(case)]
        if process > 0:
            # The first call is on the clock in the first process only; here frameworks may prepare side by side.
            cells = self._side_by_side(cells, "prepare", self._preparation)
        of_case: dict[str, list[CellKey]] = defaultdict(list)
        for cell in cells:
            of_case[cell.case].append(cell)
        for case in cases:
            self._fetch(case, {cell.framework for cell in of_case[case.name]})
            for cell in of_case[case.name]:
                self._prepare(cell)
        self._take_turns(process)
        if process == self._plan.processes - 1:
            for cell in self._side_by_side(list(self._ready), "recheck", self._recheck):
                if cell in self._ready:
                    self._attempt(cell, "recheck", **self._recheck(cell))
        for framework in {cell.framework for cell in self._ready}:
            self._release(framework)

    def _release(self, framework: str) -> None:
        try:
            self._session.ask(framework, "release", self._plan.time_limit_s)
        except WorkerFailed:
            self._ready = {}  # they are measured; the next group needs the worker
            self._revive(framework)

    def _fetch(self, case: Case, frameworks: set[str]) -> None:
        """All workers at once make the inputs and read the oracle: what is on the clock afterwards waits for neither."""
        fields = {"case": case.to_dict(), "seed": self._plan.seed, "expected": str(self._answers.file(case, 0))}
        queues = {framework: [(framework, fields)] for framework in frameworks if framework in self._session}
        answered = {
            framework for framework, _ in self._session.ask_side_by_side(queues, "fetch", self._plan.time_limit_s)
        }
        for framework in queues.keys() - answered:
            self._revive(framework)

    def _preparation(self, cell: CellKey) -> Message:
        case = self._cases[cell.case]
        fields: Message = {"case": case.to_dict(), "implementation": cell.implementation, "device": cell.device}
        facts = self._state.cells[cell].facts
        known = [facts["kernel"], facts["per_call_s"]] if facts else None
        return {**fields, "seed": self._plan.seed, "expected": str(self._answers.file(case, 0)), "known": known}

    def _recheck(self, cell: CellKey) -> Message:
        case = self._cases[cell.case]
        files = {"expected": str(self._answers.file(case, 0)), "fresh_expected": str(self._answers.file(case, 1))}
        return {"seed": self._plan.seed, "fresh_seed": self._plan.seed + 1, **files}

    def _prepare(self, cell: CellKey) -> None:
        if cell.framework not in self._session:
            told = self._state.greetings[cell.framework]
            self._failed(cell, told["status"], told["reason"])
            return
        answer = self._attempt(cell, "prepare", **self._preparation(cell))
        if answer is not None:
            self._is_ready(cell, answer)

    def _is_ready(self, cell: CellKey, answer: Message) -> None:
        facts = {k: v for k, v in answer.items() if k not in ("status", "reason")}
        self._ready[cell] = facts["per_call_s"]
        self._emit({"event": "prepared", **_name(cell), "facts": facts})

    def _side_by_side(self, cells: list[CellKey], op: str, fields: Callable[[CellKey], Message]) -> list[CellKey]:
        """Ask all workers at once, each one cell after the other. What remains has to be asked one by one: the cells of
        a worker that died, among them the one that it died of.
        """
        queues: dict[str, list[tuple[CellKey, Message]]] = defaultdict(list)
        for cell in cells:
            if cell.framework in self._session:
                queues[cell.framework].append((cell, {"cell": str(cell), **fields(cell)}))
        answered = set()
        for cell, answer in self._session.ask_side_by_side(queues, op, self._plan.time_limit_s):
            answered.add(cell)
            if answer["status"] != Status.OK:
                self._ready.pop(cell, None)
                self._failed(cell, answer["status"], answer["reason"])
            elif op == "prepare":
                self._is_ready(cell, answer)
        remaining = [cell for cell in cells if cell not in answered]
        for framework in {cell.framework for cell in remaining if cell.framework in queues}:
            self._revive(framework)
        return remaining

    def _take_turns(self, process: int) -> None:
        """Rounds of one block each, in random order: drift and neighbours hit all alike. What is there is not asked again."""
        rounds = self._plan.blocks
        there = {cell: self._state.cells[cell].rounds(process) for cell in self._ready}
        for block in range(rounds):
            turn = list(self._ready)
            random.Random(f"{self._plan.seed} {process} {block}").shuffle(turn)  # noqa: S311 - an order, no secret
            for cell in turn:
                if cell not in self._ready or block in there[cell]:
                    continue
                calls, turns = calls_and_turns(self._ready[cell], self._plan.block_s, rounds)
                if has_turn(block, turns, rounds):
                    self._block(cell, process, block, calls)

    def _block(self, cell: CellKey, process: int, block: int, calls: int) -> None:
        slowed = {"slowdown": self._plan.slowdown} if self._plan.slowdown else {}
        with self._unbroken():
            answer = self._ask(cell, "block", calls=calls, **slowed)
            if isinstance(answer, dict) and answer["status"] == Status.OK:
                place = {"process": process, "block": block, "order": self._order, "calls": calls}
                told = {name: answer[name] for name in ("seconds", "per_call_s", "canary_s")}
                self._emit({"event": "block", **_name(cell), **place, **told})
                self._order += 1
                return
        self._ended(cell, "block", answer)

    def _ask(self, cell: CellKey, op: str, /, **fields: Any) -> Message | WorkerFailed | None:
        """A worker's answer or how it failed; None where the cell has ended in between. One that was gone before it was
        asked, as the kernel ends idle workers first when memory runs out, is started anew and asked once more.
        """
        for is_again in (False, True):
            try:
                return self._session.ask(cell.framework, op, self._plan.time_limit_s, cell=str(cell), **fields)
            except WorkerFailed as failure:
                if is_again or not failure.idle:
                    return failure
                self._revive(cell.framework)
                if cell.framework not in self._session:
                    return failure if op == "prepare" else None
                if op != "prepare" and cell not in self._ready:
                    return None
        return None

    def _attempt(self, cell: CellKey, op: str, /, **fields: Any) -> Message | None:
        """Ask a cell's worker; the answer, or None where the cell has ended."""
        answer = self._ask(cell, op, **fields)
        if isinstance(answer, dict) and answer["status"] == Status.OK:
            return answer
        self._ended(cell, op, answer)
        return None

    def _ended(self, cell: CellKey, op: str, how: Message | WorkerFailed | None) -> None:
        """A failure becomes the cell's row and, if the worker is gone, its other cells move on. None: it has its row."""
        self._ready.pop(cell, None)
        if how is None:
            return
        if isinstance(how, WorkerFailed):
            self._failed(cell, how.status, f"in {op}: {how.reason}")
            self._revive(cell.framework)
        else:
            self._failed(cell, how["status"], how["reason"])

    def _revive(self, framework: str) -> None:
        """A new worker in place of a dead one, with the cells that the dead one held and did not die of."""
        lost = [cell for cell in self._ready if cell.framework == framework]
        for cell in lost:
            del self._ready[cell]
        try:
            self._session.restart(framework)
        except WorkerFailed as failure:
            told = {"status": failure.status, "reason": f"its worker did not come back: {failure.reason}"}
            self._emit(
                {"event": "greeting", "framework": framework, "version": "", "devices": [], "settings": {}, **told}
            )
        for cell in lost:
            self._prepare(cell)

    def _failed(self, cell: CellKey, status: str, reason: str) -> None:
        self._emit({"event": "failed", **_name(cell), "status": str(status), "reason": reason})


def _name(cell: CellKey) -> Event:
    return {"case": cell.case, "implementation": cell.implementation, "device": cell.device}
