"""A cluster with a clock of its own: the dispatcher's own code, and machines that only say how long they would take.

python -m tests.simulated_cluster    # the figures of docs/cluster.md
"""

from __future__ import annotations

import heapq
import json
import random
import zlib
from dataclasses import dataclass, field

from benchmarks.cases import case
from benchmarks.cluster.dispatch import Dispatcher, Ended
from benchmarks.cluster.pieces import pieces
from benchmarks.harness.state import State
from benchmarks.plan import Plan

SOURCES = "abc"
START_S = 40.0
"""Two fresh processes of five frameworks, with the limits of the machine: 20 s each, as the default suite takes here."""
CASE_S = 25.0
"""19 cells, 24 blocks each, with oracle, preparation and recheck: 286 s for 10 cases, less the start."""
AWAY_S = 300.0
"""How long a lost machine stays away."""
IDENTITY_BYTES = 1100
"""Of each worker, in what the scheduler tells when it is asked who is there; measured with distributed 2026.8.0."""


class Clock:
    """Seconds that pass when somebody says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def conditions(kind, **changes):
    """What a machine tells of itself."""
    found = {
        "machine": f"kind-{kind}-16-cores-abcdef",
        "fingerprint": {"cpu": f"Kind {kind}", "cores_allowed": 16},
        "python": "3.11.7",
        "sources": SOURCES,
        "frameworks": {"numpy": "2.4"},
        "variables": {},
    }
    return {**found, **changes}


@dataclass
class Machines:
    """A pool: `kinds` says what each worker is; `lose`: (part number) -> the machine is lost half way."""

    clock: Clock
    kinds: dict
    seed: int = 0
    lost_share: float = 0.0
    answer: object = None
    """Called with the part: what a machine brings home; default nothing but the ends of its cases."""
    parts: list = field(default_factory=list)
    polls: int = 0
    busy_s: float = 0.0

    def __post_init__(self):
        self._random = random.Random(self.seed)
        self._events = []
        self._number = 0
        self._away = set()
        self._dead = set()

    def workers(self):
        self.polls += 1
        return [worker for worker in self.kinds if worker not in self._away]

    def discover(self, worker):
        self._later(1.0, worker, Ended(worker, self.kinds[worker]))

    def measure(self, worker, part):
        self.parts.append((worker, part))
        cases = [c for piece in part for c in piece]
        takes_s = (START_S + CASE_S * len(cases)) * self._random.lognormvariate(0.0, 0.3)
        self.busy_s += takes_s
        if self._random.random() < self.lost_share:
            self._later(takes_s / 2, worker, "lost")
            return
        answer = self.answer(part) if self.answer else {"outcome": "ok", "events": ends(cases), "environment": {}}
        self._later(takes_s, worker, Ended(worker, answer))

    def ended(self, limit_s):
        until = self.clock.now + limit_s
        while self._events and self._events[0][0] <= until:
            at, _, worker, what = heapq.heappop(self._events)
            self.clock.now = max(self.clock.now, at)
            if what == "lost":
                self._away.add(worker)
                self._later(AWAY_S, worker, "back")
            elif what == "back":
                self._away.discard(worker)
            else:
                return [what]
        self.clock.now = until
        return []

    def forget(self, worker):
        pass

    def _later(self, after_s, worker, what):
        self._number += 1
        heapq.heappush(self._events, (self.clock.now + after_s, self._number, worker, what))


def ends(cases, processes=2):
    """The events that say that cases are complete."""
    return [{"event": "case", "case": c.name, "process": p} for c in cases for p in range(processes)]


def big_plan(cells, implementations=19):
    """So many cells, of cases that make no ladder."""
    count = -(-cells // implementations)
    cases = tuple(case(f"case-{n:05d}", "made up", T=64 + n, S=65 + 2 * n, N=8, H=64) for n in range(count))
    return Plan(suite="made-up", cases=cases, implementations=tuple(f"numpy/i{n}" for n in range(implementations)))


def sizes():
    """(bytes of a cell in the journal, packed on the way, in summary.csv and samples.csv, of a case in a request)."""
    rng, plan = random.Random(0), big_plan(19)
    events = []
    for cell in plan.cells(plan.cases[0]):
        place = {"case": cell.case, "implementation": cell.implementation, "device": cell.device}
        facts = {name: rng.random() for name in ("per_call_s", "first_call_s", "max_abs_error", "error_over_bound")}
        facts |= {
            "peak_memory_bytes": 12345678,
            "layout": "BTNH",
            "jit": "eager",
            "kernel": "openblas 0.3.31 SkylakeX",
            "lowered": [],
        }
        events += [{"event": "prepared", **place, "facts": facts, "t_s": 12.3456} for _ in range(plan.processes)]
        for n in range(plan.processes * plan.blocks):
            order = {"process": n // 12, "block": n % 12, "order": 1000 + n, "calls": 123}
            seconds = {
                "seconds": rng.uniform(0.02, 0.04),
                "canary_s": rng.uniform(1e-6, 2e-6),
                "t_s": round(rng.uniform(10, 99), 4),
            }
            events.append({"event": "block", **place, **order, **seconds})
    text = json.dumps(events)
    request = json.dumps(plan.cases[0].to_dict())
    row = 24 * len(f"{plan.cases[0].name},numpy/i10,cpu,forward,1,11,1234,123,0.0281234567,1.23456789e-06\n") + 420
    return len(text) / 19, len(zlib.compress(text.encode())) / 19, row, len(request)


def simulate(cells, machines, *, lost_share=0.0, seed=0):
    """One run; its figures."""
    clock, plan = Clock(), big_plan(cells)
    pool = Machines(clock, {f"w{n:03d}": conditions("a") for n in range(machines)}, seed=seed, lost_share=lost_share)
    state = State()
    Dispatcher(plan, pool, state.apply, clock, SOURCES).run(pieces(plan, state))
    journal, packed, files, request = sizes()
    all_cells = len(plan.cases) * len(plan.implementations)
    return {
        "cells": all_cells,
        "hours": clock.now / 3600,
        "busy": pool.busy_s / (machines * clock.now),
        "parts": len(pool.parts),
        "per_minute": len(pool.parts) / (clock.now / 60),
        "sent_mb": request * sum(len(piece) for _, part in pool.parts for piece in part) / 1e6,
        "brought_mb": packed * all_cells / 1e6,
        "asked_mb": pool.polls * machines * IDENTITY_BYTES / 1e6,
        "journal_mb": journal * all_cells / 1e6,
        "files_mb": files * all_cells / 1e6,
    }


SCENARIOS = (
    ("10,000 cells on 1 machine", 10_000, 1, 0.0),
    ("10,000 cells on 100 machines", 10_000, 100, 0.0),
    ("the same, 5 % of the parts lose their machine", 10_000, 100, 0.05),
    ("1,000,000 cells on 100 machines", 1_000_000, 100, 0.0),
)


def table():
    """The page's table."""
    lines = [
        "| | time | machines busy | parts | a minute | sent | brought home | who is there | journal | tables |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, cells, machines, lost in SCENARIOS:
        f = simulate(cells, machines, lost_share=lost)
        lines.append(
            f"| {name} | {f['hours']:.2f} h | {f['busy']:.0%} | {f['parts']} | {f['per_minute']:.1f} | {f['sent_mb']:.1f} MB | "
            f"{f['brought_mb']:.0f} MB | {f['asked_mb']:.0f} MB | {f['journal_mb']:.0f} MB | {f['files_mb']:.0f} MB |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
