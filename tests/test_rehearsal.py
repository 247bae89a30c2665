"""A journal that leads to no results is told before anything is measured."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest

from benchmarks.errors import UnreadableResults
from benchmarks.harness.state import State
from benchmarks.rehearsal import rehearse
from benchmarks.run_folder import RunFolder
from tests.fuzz.targets import _CLUSTER_EVENTS, _EVENTS, _plan
from tests.processes import attnbench

ON_CLUSTER = dataclasses.replace(_plan(), cluster=True)


def changed(events, place, value):
    """The events with something else at a place."""
    told = json.loads(json.dumps(events))
    *way, last = place
    at = told
    for step in way:
        at = at[step]
    at[last] = value
    return told


def rehearsed(folder, plan, events):
    """A state from events, and the rehearsal of going on with it."""
    state = State()
    for event in events:
        state.apply(event)
    before = copy.deepcopy(state)
    rehearse(plan, RunFolder(folder), state)
    assert state == before, "a rehearsal changes nothing"


@pytest.mark.parametrize(
    ("plan", "events"), [(_plan(), _EVENTS), (ON_CLUSTER, _CLUSTER_EVENTS)], ids=["here", "cluster"]
)
@pytest.mark.parametrize("most", [0, 1, 3, None])
def test_a_run_can_be_gone_on_with_wherever_it_stopped(tmp_path, plan, events, most):
    """After any event; nothing is written."""
    rehearsed(tmp_path, plan, events[:most])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ((2, "environment", "frameworks"), ["numpy"], "AttributeError: 'list'"),
        ((2, "environment", "frameworks"), {"numpy": 3}, "AttributeError: 'int'|holds what is no object"),
        ((2, "environment", "schema_version"), 9, "schema_version 9, expected 1"),
        ((3, "environment", "matmul_gflops"), {"float32": [1]}, "AttributeError|TypeError|holds what is no object"),
        ((0, "conditions", "frameworks"), None, "frameworks of machine m-1 is NoneType, expected an object"),
        ((0, "conditions", "python"), 3, "python of machine m-1 is int, expected a text"),
        ((2, "events", 7, "facts", "first_call_s"), "soon", "first_call_s='soon'"),
        ((2, "events", 6, "flops"), None, "TypeError"),
    ],
)
def test_what_machines_brought_home_is_checked(tmp_path, place, value, says):
    """Environments, conditions and facts of a cluster's journal: one line, not a traceback after the measuring."""
    events = changed(_CLUSTER_EVENTS, place, value)
    events[2]["events"] = [event for event in events[2]["events"] if event["event"] != "failed"]
    with pytest.raises(UnreadableResults, match=says) as caught:
        rehearsed(tmp_path, ON_CLUSTER, events)
    assert str(caught.value).startswith(f"no results follow from {tmp_path}")
    assert "\n" not in str(caught.value)


def test_resume_refuses_it_with_one_line(tmp_path):
    """Exit 2, before anything is measured, and the journal stays as it was."""
    run = tmp_path / "run"
    words = ("run", "--suite", "smoke", "--case", "tiny-self", "--implementation", "numpy/naive")
    small = ("--processes", "1", "--blocks", "1", "--quiet", "--out", str(run))
    assert attnbench(*words, *small).returncode == 0
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    wrong = [changed(line, ("flops",), "many") if line["event"] == "oracle" else line for line in lines]
    text = "".join(json.dumps(line) + "\n" for line in wrong)
    (run / "journal.jsonl").write_text(text)
    done = attnbench("run", "--resume", str(run), "--quiet")
    assert done.returncode == 2
    assert "no results follow from" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (run / "journal.jsonl").read_text() == text
