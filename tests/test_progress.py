"""What a run says while it goes on: results as they come, marked as such; plain where it is piped, nothing if quiet."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from benchmarks.cases import case
from benchmarks.comparison.thresholds import Threshold, Thresholds
from benchmarks.conformance.probes import PROBES
from benchmarks.conformance.probing import Answer, Verdict
from benchmarks.harness.provisional import Provisional
from benchmarks.live.plan import LivePlan, Pair, Side
from benchmarks.plan import Plan
from benchmarks.reports import progress
from benchmarks.reports.live_progress import LiveProgress

CASE = case("a-case", "here", T=4)
PLAN = Plan(
    suite="smoke", cases=(CASE,), implementations=("numpy/naive", "numpy/blocked", "jax/nn"), processes=3, blocks=2
)
CELL = {"case": "a-case", "device": "cpu"}


def block(implementation, seconds, process=0):
    """An event of one block of 10 calls."""
    place = {"process": process, "block": 0, "order": 0, "calls": 10, "seconds": seconds, "canary_s": 1e-6}
    return {"event": "block", **CELL, "implementation": implementation, **place}


EVENTS = [
    {"event": "asking", "case": "a-case", "extra": 0},
    {"event": "asking", "case": "a-case", "extra": 1},
    {"event": "prepared", **CELL, "implementation": "numpy/naive", "facts": {}},
    block("numpy/naive", 0.2),
    block("numpy/blocked", 0.1),
    block("numpy/blocked", 0.3),
    block("numpy/blocked", 0.1),
    block("jax/nn", 0.01),
    {"event": "failed", **CELL, "implementation": "jax/nn", "status": "incorrect", "reason": "got \x1b[2J1"},
    {"event": "case", "case": "a-case", "process": 0},
    {"event": "case", "case": "a-case", "process": 1},
    {"event": "case", "case": "a-case", "process": 2},
]


@pytest.fixture
def screen(monkeypatch):
    """What is printed, on a console that is a terminal or not."""

    def make(width=100, *, terminal):
        out = Console(
            file=io.StringIO(), width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False
        )
        monkeypatch.setattr(progress, "console", lambda **_: out)
        monkeypatch.setattr("benchmarks.reports.live_progress.console", lambda **_: out)
        return out.file

    return make


def told(plan, file, *, quiet=False):
    """Everything that a run of these events leaves on the screen."""
    with progress.RunProgress(plan, quiet=quiet) as shown:
        for event in EVENTS:
            shown.show(event)
    return file.getvalue()


def test_results_are_told_as_they_come_and_marked_until_they_are_whole(screen):
    """The first process tells what is to be expected, the last what came out; a cell that failed has no place among them."""
    lines = told(PLAN, screen(terminal=False)).splitlines()
    assert "a-case: numpy/blocked 10.0 ms, numpy/naive x2.00; so far, process 1 of 3" in lines
    assert lines[-1] == "a-case: numpy/blocked 10.0 ms, numpy/naive x2.00"
    assert sum(line.startswith("a-case: numpy/blocked") for line in lines) == 2
    assert any("incorrect: got ?[2J1" in line for line in lines)
    assert sum(line.startswith("a-case: the oracle computes (") for line in lines) == 1


def test_piped_output_is_plain_and_quiet_is_silent(screen):
    """No escape, no bar; with --quiet nothing at all."""
    assert "\x1b" not in told(PLAN, screen(terminal=False))
    assert told(PLAN, screen(terminal=False), quiet=True) == ""
    assert told(PLAN, screen(terminal=True), quiet=True) == ""


@pytest.mark.parametrize("width", [100, 80, 60, 40])
def test_a_terminal_shows_the_cell_and_the_time_left_on_one_line(screen, width):
    """The bar fits the width, with the current cell, its median so far and the time left."""
    out = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told(PLAN, screen(width, terminal=True)))
    drawn = [line for line in re.split(r"[\r\n]", out) if re.search(r"\d+%", line)]
    assert max(map(len, drawn)) <= width
    assert any("left" in line for line in drawn)
    assert any("numpy/blocked" in line or "numpy/b" in line or "jax" in line for line in drawn)


def test_medians_so_far():
    """Of each cell's blocks, from the fastest on, without what has failed; none where nothing is known."""
    known = Provisional()
    for event in EVENTS:
        known.apply(event)
    assert known.ranking("a-case") == [("numpy/blocked", 0.01), ("numpy/naive", 0.02)]
    assert (known.median("a-case", "numpy/blocked"), known.median("a-case", "numpy/none")) == (0.01, None)
    assert known.ranking("other") == []


def test_a_check_tells_each_implementation_when_it_has_answered_everything(screen):
    """One line each, piped or not, with the counts of its verdicts."""
    file = screen(terminal=False)
    with progress.checking(quiet=False, asked=len(PROBES)) as show:
        for number, probe in enumerate(PROBES):
            assert file.getvalue() == ""
            verdict = Verdict.PASS if number else Verdict.REFUSED
            show(probe.name, Answer("numpy/naive", probe.name, verdict, ""))
    assert file.getvalue() == f"numpy/naive: {len(PROBES) - 1} {Verdict.PASS}, 1 {Verdict.REFUSED}\n"


def test_a_live_comparison_tells_the_ratio_so_far(screen):
    """On a terminal: the cell, B over A, and at most how long it goes on."""
    sides = {name.lower(): Side(name=name, label=name) for name in "AB"}
    pair = Pair("a-case", "numpy/naive", "numpy/naive")
    plan = LivePlan(suite="smoke", cases=(CASE,), pairs=(pair,), thresholds=Thresholds(Threshold(0.02)), **sides)
    file = screen(terminal=True)
    with LiveProgress(plan, quiet=False) as shown:
        turns = {"event": "turns", "epoch": 0, "case": "a-case", "a": pair.a, "b": pair.b, "a_s": [1.0], "b_s": [1.5]}
        shown.show(turns)
        shown._bar.refresh()
    assert "numpy/naive B/A 1.50 a-case" in file.getvalue()
    assert "left at most" in file.getvalue()
