"""The program that measures this project's past: which commits, in which order, what it keeps; it runs nothing here."""

from __future__ import annotations

import itertools
import json

import pytest

from benchmarks.live.checkout import git
from results.history import make
from tests.helpers import ROOT


def test_its_commits_are_of_this_history():
    """Each is an ancestor of the next, so that their order is that of the trend. A shallow clone cannot say."""
    wanted = make.commits()
    assert len(wanted) >= 8
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("a shallow clone does not hold them")
    for older, newer in itertools.pairwise(wanted):
        assert git(ROOT, "merge-base", older, newer).startswith(older)


def test_every_round_has_every_commit_in_another_order():
    """Random, the same for the same seed; commits without a backward pass have none."""
    wanted = [f"c{n}" for n in range(8)]
    found = make.jobs(wanted, 3, 0, set(wanted[1:]))
    assert found == make.jobs(wanted, 3, 0, set(wanted[1:]))
    rounds = [[job[1:] for job in found if job[0] == number] for number in (1, 2, 3)]
    assert all(sorted(of_round) == sorted(rounds[0]) for of_round in rounds)
    assert len({tuple(of_round) for of_round in rounds}) == 3
    assert len(rounds[0]) == 15
    assert ("c0", "backward") not in rounds[0]


def test_what_another_program_has_run_is_not_kept(tmp_path):
    """Two small files are kept, with the time of the commit; none where the commit is not the one that ran."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("samples.csv", "summary.csv"):
        (run / name).write_text("x\n")
    (run / "environment.json").write_text(json.dumps({"revision": {"commit": "abc"}}))
    with pytest.raises(RuntimeError, match="expected the program of def"):
        make.keep(run, tmp_path / "kept", "def", "2026-11-03T00:00:00+00:00")
    make.keep(run, tmp_path / "kept", "abc", "2026-11-03T00:00:00+00:00")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(make.KEPT)
    told = json.loads((tmp_path / "kept" / "environment.json").read_text())
    assert told["revision"] == {"commit": "abc", "time": "2026-11-03T00:00:00+00:00"}
