"""Ctrl-C: what was measured is written, nothing is left behind, and the run can go on."""

from __future__ import annotations

import json
import signal

import psutil

from tests.processes import attnbench, started


def test_ctrl_c_writes_what_there_is_and_the_run_goes_on(tmp_path):
    """Exit 130, the files of the contract, the way to go on, no worker left; --resume completes it."""
    words = ("run", "--suite", "smoke", "--framework", "numpy", "--blocks", "400", "--out", str(tmp_path / "run"))
    with started(*words) as run:
        for line in run.stderr:
            if line.startswith("timing:"):
                break
        workers = psutil.Process(run.pid).children(recursive=True)
        assert workers
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert f"--resume {tmp_path / 'run'}" in out
    for name in ("summary.csv", "samples.csv", "environment.json"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    assert not list((tmp_path / "run").glob("*.part"))
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    plan = tmp_path / "run" / "plan.json"
    plan.write_text(plan.read_text().replace('"blocks": 400', '"blocks": 2'))
    again = attnbench("run", "--resume", tmp_path / "run", "--format", "json", "--quiet")
    assert again.returncode == 0, again.stderr
    rows = json.loads(again.stdout)
    assert [r["status"] for r in rows] == ["ok"] * 4
    assert all(r["blocks"] >= 2 for r in rows)
