"""What a history is made from: runs of folders and of git, in order, never mixed; what cannot be read is told."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest

from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.history import words
from benchmarks.history.from_git import in_git, with_commit_times
from benchmarks.history.runs import in_folder
from benchmarks.history.tracks import Order, tracks
from benchmarks.history.trends import Kind, history
from benchmarks.records import Status
from tests.histories import commit, environment, plant, plant_run, when
from tests.planted import edited, record


def made(folder, **options):
    """The history of a folder."""
    return history(in_folder(folder), str(folder), **options)


def failed(row, status=Status.INCORRECT, reason="error 12 times the bound"):
    """The same cell without a time."""
    return dataclasses.replace(row, status=status, reason=reason, median_s=None, ci_low_s=None, ci_high_s=None)


def test_a_planted_change_is_told_with_commit_and_versions(tmp_path):
    """Since when, by how much, by which commit, and what else changed there."""

    def told(run):
        return environment(run, frameworks__numpy__version="numpy 2.4.6" if run < 9 else "numpy 2.5.0")

    found = made(plant(tmp_path / "h", steps={3: {9: 1.23}}, told=told))
    (finding,) = found.findings
    assert finding.kind is Kind.CHANGED
    said = words.since(finding)
    assert "x1.2" in said
    assert said.endswith(f"since 2026-11-10 (commit {commit(9)[:7]}; numpy 2.4.6 -> 2.5.0)")
    assert words.headline(found)[0].startswith("Changed most: numpy/naive on case-3, x1.2")


def test_the_same_commit_is_not_blamed(tmp_path):
    """Where only Python and the system changed they are named, and where nothing did, that is said."""
    usual = environment(0)["revision"]

    def told(run):
        changed = {} if run < 8 else {"python": "3.12.1", "machine__kernel": "6.19.1"}
        return environment(run, revision=usual, **changed)

    (finding,) = made(plant(tmp_path / "a", steps={0: {8: 0.7}}, told=told)).findings
    assert words.why(finding) == "python 3.11.7 -> 3.12.1; system kernel 6.18.44 -> 6.19.1"
    same = plant(tmp_path / "b", steps={0: {8: 0.7}}, told=lambda run: environment(run, revision=usual))
    (finding,) = made(same).findings
    assert words.why(finding) == "nothing that is recorded changed"


def test_order_is_that_of_time_not_of_folders(tmp_path):
    """Folders named against their dates: the trend follows the dates."""
    folder = plant(tmp_path / "h", steps={2: {6: 1.5}})
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"z{99 - number}")
    (finding,) = made(folder).findings
    assert (finding.place, finding.ratio) == (6, pytest.approx(1.5, rel=0.03))


def test_commits_measured_after_the_fact_stand_in_their_own_order(tmp_path):
    """Measured backwards, a history still runs forwards, and says so; --order measured turns it round."""

    def told(run):
        return environment(run, time=when(100 - run))

    folder = plant(tmp_path / "h", steps={2: {6: 1.5}}, told=told)
    found = made(folder)
    (finding,) = found.findings
    assert finding.ratio == pytest.approx(1.5, rel=0.03)
    assert words.date(finding.track, finding.place) == "2026-11-07"
    assert any("another order" in note for note in words.notes(found))
    (finding,) = made(folder, order=Order.MEASURED).findings
    assert finding.ratio == pytest.approx(1 / 1.5, rel=0.03)


def test_machines_and_settings_are_never_mixed(tmp_path):
    """Another processor, CPU count, variable, memory, number of threads or problem: a series of its own each time."""
    changes = (
        {}, {"machine__cpu": "Other (R) CPU 9"}, {"cpus": [1]}, {"variables": {"OMP_NUM_THREADS": "1"}},
        {"machine__memory_bytes": 50_000_000_000}, {"machine__memory_bytes": 25_300_000_000},
        {"variables": {"TORCH_HOME": "/a"}},
    )  # fmt: skip
    for number, change in enumerate(changes):
        plant_run(tmp_path / f"{number}", [record(run_id=f"{number}")], environment(number, **change))
    plant_run(tmp_path / "threads", [record(threads="7", run_id="t")], environment(20))
    plant_run(tmp_path / "problem", [record(T=8, run_id="p")], environment(21))
    found = tracks(in_folder(tmp_path).runs)
    # A little more memory is the same machine, and so is another folder; threads and problems part cells, not runs.
    assert sorted(len(track.runs) for track in found) == [1, 1, 1, 1, 5]
    (most,) = (track for track in found if len(track.runs) == 5)
    assert [sum(point.record is not None for point in s.points) for s in most.series] == [3, 1, 1]
    assert {track.machine for track in found} == {"amd-epyc-25-1-avx2-2-cores", "other-9-2-cores"}
    notes = " ".join(words.notes(made(tmp_path)))
    assert "4 settings, which are not mixed" in notes
    assert "OMP_NUM_THREADS" in notes
    assert "3 series of cells whose problem or settings changed" in notes


def test_two_machines_each_have_their_change(tmp_path):
    """The same cells on two machines, one of which got slower: one finding, and it says where."""
    plant(tmp_path / "a", steps={1: {8: 1.4}})
    plant(tmp_path / "b", told=lambda run: environment(run, machine__cpu="Other"), seed=5)
    found = made(tmp_path)
    assert len(found.tracks) == 2
    (finding,) = found.findings
    assert finding.track.machine == "amd-epyc-25-1-avx2-2-cores"
    assert "on amd-epyc-25-1-avx2-2-cores, x1.4" in words.headline(found)[0]


def test_gaps_keep_their_status(tmp_path):
    """Missing, crashed and incorrect cells are gaps; the one that became incorrect is told first, the lost one next."""

    def change(run, cell, row):
        if cell == 0 and run in (3, 4):
            return None
        if cell == 1 and run == 5:
            return failed(row, Status.CRASHED, "signal 11")
        if cell == 2 and run >= 12:
            return failed(row, Status.TIMEOUT, "180 s") if run == 12 else failed(row)
        return failed(row, Status.ERROR, "no memory") if cell == 3 and run == 15 else row

    found = made(plant(tmp_path / "h", steps={4: {8: 3.0}}, change=change))
    assert [f.kind for f in found.findings] == [Kind.INCORRECT, Kind.LOST, Kind.CHANGED]
    assert (found.findings[0].place, found.findings[0].before) == (13, 11)
    assert words.headline(found)[0].startswith("Became incorrect: numpy/naive on case-2, incorrect since 2026-11-14")
    assert words.headline(found)[0].endswith("error 12 times the bound.")
    assert words.headline(found)[1].startswith("Changed most: numpy/naive on case-4")
    assert "gaps: 3 incorrect, 2 missing, 1 crashed, 1 timeout, 1 error" in " ".join(words.notes(found))


def test_a_damaged_run_is_one_line_and_the_rest_goes_on(tmp_path):
    """Six kinds of damage among good runs: each a line that names the file, and the change is found all the same."""
    folder = plant(tmp_path / "h", steps={1: {8: 1.4}})
    good = (folder / "000" / "summary.csv").read_text()
    for name, text in {
        "cut": good[:-40], "empty": "", "binary": "\0\1\2", "version": good.replace("\n1,", "\n9,"),
        "twice": good + good.splitlines()[1] + "\n",
    }.items():  # fmt: skip
        (folder / name).mkdir()
        (folder / name / "summary.csv").write_text(text)
    plant_run(folder / "json", [record()], None)
    (folder / "json" / "environment.json").write_text("{")
    (folder / "running").mkdir()
    (folder / "running" / "journal.jsonl").write_text("")
    found = made(folder)
    assert len(found.left_out) == 7
    assert all(line.count("\n") == 0 for line in found.left_out)
    for name in ("cut", "empty", "binary", "version", "twice", "json", "running"):
        assert sum(f"/{name}" in line for line in found.left_out) == 1
    assert [f.ratio for f in found.findings] == [pytest.approx(1.4, rel=0.03)]


def test_copies_count_once(tmp_path):
    """A run that lies in two folders is one run."""
    plant(tmp_path / "h", runs=4)
    plant(tmp_path / "again", runs=4)
    found = in_folder(tmp_path)
    assert len(found.runs) == 4
    assert all("a copy of" in line for line in found.left_out)


def test_one_run_only(tmp_path):
    """It is shown, and nothing is claimed."""
    found = made(plant(tmp_path / "h", runs=1))
    assert not found.findings
    assert words.headline(found)[0].startswith("No change can be told yet")


def test_nothing_to_show(tmp_path):
    """No folder, no run, none that can be read: one line each."""
    with pytest.raises(UsageError, match="no such folder"):
        in_folder(tmp_path / "none")
    with pytest.raises(UsageError, match=r"no summary\.csv in it"):
        in_folder(tmp_path)
    (tmp_path / "summary.csv").write_text("x\n")
    with pytest.raises(UnreadableResults, match="none of 1 runs can be read"):
        in_folder(tmp_path)


def test_runs_that_say_nothing_of_themselves(tmp_path):
    """Without environment.json the machine is unknown, and such runs stand apart from the others."""
    plant_run(tmp_path / "a", [record(run_id="20261123T165616-x")])
    plant_run(tmp_path / "b", [record()], edited(environment(1), revision={"commit": "--exec=x"}, time=17))
    found = in_folder(tmp_path)
    assert [run.commit for run in found.runs] == ["", ""]
    assert found.runs[0].measured.isoformat() == "2026-11-23T16:56:16+00:00"
    assert found.runs[1].measured is None
    assert {track.machine for track in tracks(found.runs)} == {
        "unknown machine",
        "amd-epyc-25-1-avx2-2-cores",
    }


def git(folder, *words):
    """Run git there."""
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_baseline_in_git_is_a_history(tmp_path):
    """Each commit that changed it is a run: with a space in its path, a change, a deletion and a commit besides."""
    where = tmp_path / "results here" / "smoke"
    git(tmp_path, "init", "--quiet")
    for run in range(12):
        level = 1.4 if run >= 6 else 1.0
        rows = [record(f"case-{n}", median_s=1e-3 * level * (1 + 0.001 * ((run * 7 + n) % 5))) for n in range(3)]
        plant_run(where, rows, environment(run))
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "--quiet", "-m", f"run {run}")
    (tmp_path / "other.txt").write_text("x")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "--quiet", "-m", "no run")
    git(tmp_path, "rm", "--quiet", "-r", "results here")
    git(tmp_path, "commit", "--quiet", "-m", "gone")
    found = history(in_git(where), "x")
    assert [len(track.track.runs) for track in found.tracks] == [12]
    assert {(f.place, round(f.ratio, 2)) for f in found.findings} == {(6, 1.4)}
    assert found.tracks[0].track.runs[0].source.endswith(":results here/smoke")
    with pytest.raises(UsageError, match="no commit up to HEAD"):
        in_git(tmp_path / "none")


def test_git_tells_when_commits_were_made(tmp_path):
    """Commits that the repository knows get their time; others, and folders outside git, are left as they are."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "one", "--date", "2026-01-02T03:04:05Z")
    known = git(tmp_path, "rev-parse", "HEAD")
    for name, revision in (("a", known), ("b", commit(3))):
        plant_run(
            tmp_path / name, [record(run_id=name)], environment(1, revision={"commit": revision, "modified": False})
        )
    runs = with_commit_times(in_folder(tmp_path).runs, tmp_path)
    assert [run.committed is not None for run in runs] == [True, False]
    assert [run.committed for run in with_commit_times(in_folder(tmp_path).runs, tmp_path / "nowhere")] == [None, None]


def test_environment_of_this_checkout_says_when_its_commit_was_made():
    """What is recorded now is what a history orders by."""
    from benchmarks.harness.environment import revision
    from benchmarks.history.runs import time_of

    assert time_of(revision()["time"]) is not None
    assert json.dumps(revision())
