"""What is known of a run so far, folded from its events: the same fold serves the live run, the journal and --resume."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.harness.threads import threads_line
from benchmarks.plan import CellKey
from benchmarks.plausible import is_time
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

Event = dict[str, Any]
_OF_THE_FIRST = ("first_call_s", "first_call_cache", "peak_memory_bytes", "device_s", "device_cold_s", "device_clock")


@dataclass(slots=True)
class CellState:
    """One cell: its failure, or its facts and blocks."""

    status: Status | None = None
    """None until it has failed or finished."""
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    blocks: dict[int, list[tuple[int, int, int, float, float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Process -> (block, order, calls, seconds, canary_s, per_call_s)."""

    def all_blocks(self) -> Iterator[tuple[int, int, int, float, float, float]]:
        """Those of all processes."""
        for blocks in self.blocks.values():
            yield from blocks

    def rounds(self, process: int) -> set[int]:
        """The numbers of the blocks that a process has."""
        return {block for block, *_ in self.blocks.get(process, ())}


@dataclass(slots=True)
class State:
    """A run so far."""

    cells: dict[CellKey, CellState] = field(default_factory=lambda: defaultdict(CellState))
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the oracle said of each case: naive_error, flops, flops_conventional, bytes."""
    done: set[tuple[str, int]] = field(default_factory=set)
    """(case, process) that are complete. Of the others --resume measures the blocks that are not there."""
    greetings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The latest of each framework."""
    matmul_gflops: dict[str, dict[str, float]] = field(default_factory=dict)
    """dtype -> framework -> best rate."""
    gb_per_s: dict[str, float] = field(default_factory=dict)
    """Framework -> the best rate at which it reads memory."""
    call_overhead_s: dict[str, float] = field(default_factory=dict)
    """Framework -> what an empty call costs in the timed loop."""
    threads_busy: dict[str, float] = field(default_factory=dict)
    """Framework -> how many threads work in its float32 matmul, see busy_threads; of those that tell."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the run has to know of its threads, a line each."""
    machines: dict[str, State] = field(default_factory=dict)
    """In a run on a cluster: what each machine has measured. What stands above is then empty."""
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Machine -> what it was and had when it was first met."""
    environments: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    """Machine -> the environment.json of each part that it measured."""
    handicaps: list[dict[str, Any]] = field(default_factory=list)
    wall_s: float = 0.0
    timed_s: float = 0.0
    _latest_s: float = 0.0
    """How long the session had lasted at its latest event, where its end is not told: it was killed."""

    def apply(self, event: Event) -> None:
        """Take one event in. Unknown kinds are ignored: a newer journal may have more."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)
        if event["event"] != "end":
            self._latest_s = event.get("t_s", self._latest_s)

    def _on_begin(self, event: Event) -> None:
        self.wall_s += self._latest_s

    def _on_greeting(self, event: Event) -> None:
        self.greetings[event["framework"]] = event

    def _on_matmul(self, event: Event) -> None:
        self.matmul_gflops.setdefault(event["dtype"], {})[event["framework"]] = event["gflops"]
        if event["dtype"] == "float32" and event.get("threads_busy") is not None:
            self.threads_busy[event["framework"]] = event["threads_busy"]

    def _on_note(self, event: Event) -> None:
        self._note(str(event["text"]))  # a journal may be anybody's

    def _on_threads(self, event: Event) -> None:
        self._note(threads_line(event))

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def _on_stream(self, event: Event) -> None:
        self.gb_per_s[event["framework"]] = event["gb_per_s"]

    def _on_overhead(self, event: Event) -> None:
        self.call_overhead_s[event["framework"]] = event["call_s"]

    def _on_handicap(self, event: Event) -> None:
        # A run that is resumed in its first process tries again: what it finds then counts.
        same = [(h.get("framework"), h["variable"]) for h in self.handicaps]
        place = (event.get("framework"), event["variable"])
        if place in same:
            del self.handicaps[same.index(place)]
        self.handicaps.append(event)

    def _on_oracle(self, event: Event) -> None:
        self.cases[event["case"]] = event

    def _on_prepared(self, event: Event) -> None:
        cell = self.cells[key(event)]
        # The first process tells the cold first call, later ones find warm caches; it alone weighs the memory, and asks
        # the device for its time.
        first: dict[str, Any] = {name: cell.facts[name] for name in _OF_THE_FIRST if name in cell.facts}
        cell.facts = {**event["facts"], **first}

    def _on_block(self, event: Event) -> None:
        seconds, calls = event["seconds"], event["calls"]
        per_call_s = event.get("per_call_s", seconds / calls)  # journals from before blocks had laps
        place = (event["block"], event["order"], calls, seconds, event["canary_s"], per_call_s)
        if not all(map(is_time, place[3:])):
            raise ValueError(f"a block of {place[3:]} seconds")
        self.cells[key(event)].blocks[event["process"]].append(place)
        self.timed_s += event["seconds"]

    def _on_failed(self, event: Event) -> None:
        cell = self.cells[key(event)]
        cell.status, cell.reason = Status(event["status"]), event["reason"]

    def _on_case(self, event: Event) -> None:
        self.done.add((event["case"], event["process"]))

    def _on_machine(self, event: Event) -> None:
        self.conditions[event["machine"]] = event["conditions"]

    def _on_part(self, event: Event) -> None:
        own = self.machines.setdefault(event["machine"], State())
        for inner in event["events"]:
            own.apply(inner)
        if event["environment"]:
            self.environments[event["machine"]].append(event["environment"])

    def _on_end(self, event: Event) -> None:
        self.wall_s += event["wall_s"]
        self._latest_s = 0.0


def key(event: Event) -> CellKey:
    """The cell that an event is about."""
    return CellKey(event["case"], event["implementation"], event["device"])
