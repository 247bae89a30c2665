"""A case whose oracle cannot be had: its cells fail with the reason, the other cases are measured."""

from __future__ import annotations

import pytest

from benchmarks import measure
from benchmarks.harness.process import WorkerFailed
from benchmarks.harness.session import Session
from benchmarks.harness.state import State
from benchmarks.plan import Plan, select_cases
from benchmarks.records import Status
from benchmarks.run_folder import RunFolder


@pytest.mark.parametrize("dies", [True, False])
def test_only_its_own_cells_fail(tmp_path, monkeypatch, dies):
    """Whether the oracle's worker died or said no: a row with a reason, not a traceback."""
    cases = select_cases("smoke", [])[:2]
    plan = Plan(suite="smoke", cases=cases, implementations=("numpy/naive",), processes=2, blocks=2)
    ask = Session.oracle

    def oracle(session, limit_s, /, **fields):
        if fields["case"]["name"] != cases[0].name:
            return ask(session, limit_s, **fields)
        if dies:
            raise WorkerFailed(Status.CRASHED, "ended by SIGKILL")
        return {"status": "out_of_memory", "reason": "MemoryError"}

    monkeypatch.setattr(Session, "oracle", oracle)
    outcome = measure.measure(plan, RunFolder.create(tmp_path / "run", plan), State(), lambda event: None)
    failed, measured = outcome.records
    assert failed.status is (Status.CRASHED if dies else Status.OUT_OF_MEMORY)
    assert failed.reason.startswith("the oracle failed: ")
    assert measured.status is Status.OK
    assert measured.processes == 2
