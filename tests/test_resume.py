"""run --resume: only where everything is as it was begun, only one process at a time, and as an unbroken run."""

from __future__ import annotations

import json

import pytest

import benchmarks
from benchmarks import conditions
from benchmarks.conditions import difference
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.measure import check_resumable, remove_if_empty
from benchmarks.plan import Plan
from benchmarks.run_folder import RunFolder
from tests.planted import ENVIRONMENT, edited
from tests.processes import attnbench, started
from tests.test_run_folder import EVENTS, PLAN

BEGAN = ENVIRONMENT | {"code": {"backends": "b", "harness": "h", "suites": "s"}, "plugins": {"/mine.py": "1"}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"machine__cpu": "Other"}, "another machine: cpu (AMD EPYC then, Other now)"),
        ({"machine__cores_allowed": 1}, "another machine: cores_allowed (2 then, 1 now)"),
        ({"machine__memory_bytes": 12 * 10**9}, "another machine: memory_bytes"),
        ({"python": "3.12.1"}, "another Python: 3.11.7 then, 3.12.1 now"),
        ({"variables__XLA_FLAGS": "--x"}, "other variables: XLA_FLAGS (not set then, --x now)"),
        ({"code__suites": "t"}, "another version of attnbench: suites (s then, t now)"),
        ({"plugins__/mine.py": "2"}, "another plug-in: /mine.py (1 then, 2 now)"),
        ({"plugins__/mine.py": "missing"}, "another plug-in: /mine.py (1 then, missing now)"),
    ],
)
def test_every_difference_is_named(change, says):
    """Each in words, with what was then and what is now."""
    assert difference(BEGAN, edited(BEGAN, **change)).startswith(says)


def test_what_may_differ_does():
    """The time of day, the load, and the memory that the kernel keeps for itself; a folder of an older version may not."""
    other = edited(BEGAN, time="later", machine__memory_bytes=25276514304 - 10**7)
    assert difference(BEGAN, other) is None
    assert "another version of attnbench" in difference(ENVIRONMENT, BEGAN)


def test_code_and_plugins_are_told_by_their_content(tmp_path, monkeypatch):
    """Another byte is another hash, a file that is gone is missing; code that only shows results does not count."""
    root, plugin = tmp_path / "root", tmp_path / "mine.py"
    for name in ("backends/a.py", "benchmarks/harness/b.py", "benchmarks/suites/c.py", "benchmarks/reports/d.py"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("1")
    plugin.write_text("1")
    monkeypatch.setattr(conditions, "ROOT", root)
    plan = Plan(suite="x", cases=(), implementations=(), plugins=(("numpy", str(plugin)),))
    before = conditions.conditions(plan)
    (root / "benchmarks/reports/d.py").write_text("2")
    assert conditions.conditions(plan) == before
    for name, part in (
        ("backends/a.py", "backends"),
        ("benchmarks/harness/b.py", "harness"),
        ("benchmarks/suites/c.py", "suites"),
    ):
        (root / name).write_text("2")
        now = conditions.conditions(plan)
        assert [p for p in now["code"] if now["code"][p] != before["code"][p]] == [part]
        (root / name).write_text("1")
    plugin.write_text("2")
    assert conditions.conditions(plan)["plugins"] != before["plugins"]
    plugin.unlink()
    assert conditions.conditions(plan)["plugins"] == {str(plugin): "missing"}


def test_another_suite_or_a_lost_beginning_is_refused(tmp_path):
    """Without environment.json nobody knows what the run began with."""
    folder = RunFolder.create(tmp_path / "run", PLAN)
    with pytest.raises(UsageError, match="began with suite 'smoke', not 'default'; start anew"):
        check_resumable(folder, PLAN, "default")
    with pytest.raises(UnreadableResults, match=r"environment\.json is missing or damaged"):
        check_resumable(folder, PLAN, "smoke")
    folder.close()


def test_a_mistake_takes_away_nothing_that_was_measured(tmp_path):
    """A folder with a block in its journal stays, whatever ends the run; without one nothing half-written is left."""
    for name, events, stays in (("none", EVENTS[:5], False), ("some", EVENTS, True)):
        folder = RunFolder.create(tmp_path / name, PLAN)
        for event in events:
            folder.append(event)
        folder.close()
        remove_if_empty(tmp_path / name)
        assert (tmp_path / name).exists() == stays


def test_options_belong_to_the_beginning(tmp_path):
    """Passed over in silence, they would be a lie about what was measured."""
    RunFolder.create(tmp_path / "run", PLAN).close()
    for words in (
        ["--threads", "2"],
        ["--cpus", "1"],
        ["--env", "neutral"],
        ["--blocks", "12"],
        ["--memory-limit", "1GB"],
    ):
        result = attnbench("run", "--resume", tmp_path / "run", *words)
        assert result.returncode == 2
        assert result.stderr.startswith(f"attnbench: {words[0]} belongs to the run's beginning"), result.stderr


def test_a_run_has_one_writer_and_any_readers(tmp_path):
    """Another process is refused, with the number of the first; readers are not. Killed, it goes on with its plug-in."""
    plugin, path = tmp_path / "mine.py", tmp_path / "run"
    code = "from backends import implementation\nfrom backends.reference import attention as right\n\n\n"
    code += '@implementation("numpy/mine")\ndef _(query, key, value, **rest):\n'
    code += "    return right(query, key, value, **rest).astype(query.dtype)\n"
    plugin.write_text(code)
    words = (
        "--suite",
        "smoke",
        "--case",
        "tiny-self",
        "--implementation",
        "numpy/mine",
        "--plugin",
        plugin,
        "--out",
        path,
    )
    with started("run", *words, "--blocks", "4000") as run:
        assert any(line.startswith("timing:") for line in run.stderr)
        refused = attnbench("run", "--resume", path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == (
            f"attnbench: {path} is in use by process {run.pid}: wait for it, or end it; or choose another folder\n"
        )
        refused = attnbench("run", *words)
        assert (refused.returncode, "holds a run already" in refused.stderr) == (2, True)
        RunFolder(path).load()
        run.kill()
    plugin.write_text(code + "\n")
    refused = attnbench("run", "--resume", path, "--plugin", plugin)
    assert refused.returncode == 2
    assert f"began with another plug-in: {plugin} (" in refused.stderr
    plugin.write_text(code)
    plan = json.loads((path / "plan.json").read_text())
    (path / "plan.json").write_text(json.dumps(plan | {"blocks": 2, "processes": 1}))
    done = attnbench("run", "--resume", path, "--suite", "smoke", "--plugin", plugin, "--quiet")
    assert done.returncode == 0, done.stderr
    assert list(benchmarks.load(path)["status"]) == ["ok"]
