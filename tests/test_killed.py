"""SIGKILL of a run at random moments: at most the running block is lost, nothing is left behind, and it can be completed."""

from __future__ import annotations

import os
import sys
import time

import pytest

from tests.killed import BLOCKS, ours, start, trial

TRIALS = int(os.environ.get("ATTNBENCH_KILLS", "4"))
"""`nox -s kills` asks for 50."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="environments of processes are read from /proc")


@pytest.fixture(scope="module")
def whole_s(tmp_path_factory):
    """How long the run takes that nobody kills."""
    folder, temporary = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("t")
    began = time.monotonic()
    run = start(folder / "run", temporary)
    _, error = run.communicate(timeout=240)
    assert run.returncode == 0, error
    assert ours(temporary) == []
    return time.monotonic() - began


@pytest.mark.parametrize("seed", range(TRIALS))
def test_a_killed_run_loses_a_block_at_most_and_goes_on(tmp_path, whole_s, seed):
    """What the journal held before is there afterwards, once; the rows are those of an unbroken run."""
    temporary = tmp_path / "t"
    temporary.mkdir()
    assert 0 <= trial(tmp_path / "run", temporary, seed, 0.9 * whole_s) <= len(BLOCKS)
