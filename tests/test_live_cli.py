"""`ab` as a process, on NumPy and tiny shapes: two implementations, revisions, interpreters; faults; bad input; Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from tests.processes import ROOT, attnbench, started

TINY = ("--shape", "b=1 t=8 s=8 n=2 h=8")
SHORT = ("--budget", "0.06", "--block-ms", "2", "--quiet")
FILES = {"plan.json", "journal.jsonl", "verdicts.csv", "comparison.json", "logs"}

HEAD = """
import ctypes, os
import numpy as np
import backends
from backends import implementation
from backends.reference import attention as right


def plain(query, key, value, **rest):
    return right(query, key, value, **rest).astype(query.dtype)


def off(query, key, value, share, **rest):
    return (right(query, key, value, **rest) * (1 + share)).astype(query.dtype)
"""
PLAIN = "return plain(query, key, value, **rest)"
LATER = """COUNT[0] += 1
    if COUNT[0] > 3:
        os._exit(5)
    return plain(query, key, value, **rest)"""
REFUSES = "raise backends.Unsupported('not today')"
DIFFERENCES = {
    "steady": (PLAIN, PLAIN),
    "slower": (PLAIN, "for _ in range(4): plain(query, key, value, **rest)\n    " + PLAIN),
    "faster": ("for _ in range(4): plain(query, key, value, **rest)\n    " + PLAIN, PLAIN),
    "coarser": ("return off(query, key, value, 1e-8, **rest)", "return off(query, key, value, 5e-7, **rest)"),
    "wrong": (PLAIN, "return off(query, key, value, 0.01, **rest)"),
    "exits": (PLAIN, "os._exit(3)"),
    "exits-later": (PLAIN, LATER),
    "segfaults": (PLAIN, "ctypes.string_at(0)"),
    "refuses": (PLAIN, REFUSES),
    "never": (REFUSES, REFUSES),
    "mended": ("os._exit(3)", PLAIN),
}
"""Name -> what it does at the first commit, and at the second."""


def git(folder, *words):
    """Run git in a folder, as nobody in particular: neither a hook that runs these tests nor the user's settings count."""
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", "-C", folder, *who, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder, text):
    """All files of a folder as one more commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "-m", text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository with a plug-in, and two commits of it. The files are those of the second."""
    folder = tmp_path_factory.mktemp("a repository ü")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    for number in (0, 1):
        code = HEAD + "\n\nCOUNT = [0]\n"
        for name, bodies in DIFFERENCES.items():
            code += f'\n\n@implementation("numpy/{name}")\ndef _(query, key, value, **rest):\n    {bodies[number]}\n'
        (folder / "plugin.py").write_text(code)
        if number == 1:
            (folder / "later.py").write_text(code)
        commit(folder, f"commit {number}")
    return folder


def plugged(repository, *names):
    """The words that select implementations of the plug-in."""
    return ("--plugin", repository / "plugin.py", *(w for n in names for w in ("--implementation", f"numpy/{n}")))


def worktrees(repository):
    """How many git knows of."""
    return len(git(repository, "worktree", "list").splitlines())


def verdicts(folder):
    """The rows of verdicts.csv by implementation."""
    with (folder / "verdicts.csv").open() as file:
        return {row["implementation"]: row for row in csv.DictReader(file)}


def journal(folder, kind):
    """The events of a kind."""
    lines = (folder / "journal.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


# --- what it finds ---


@pytest.fixture(scope="module")
def revisions(repository, tmp_path_factory):
    """All differences of the plug-in at once: its first commit against its files."""
    out = tmp_path_factory.mktemp("out") / "run"
    words = ("--epochs", "6", "--alpha", "0.1", "--threshold", "50%", "--time-limit", "60")
    selected = plugged(repository, *DIFFERENCES)
    result = attnbench("ab", *TINY, *SHORT, *words, *selected, "--a-rev", "main~1", "--out", out, "--all")
    return result, out


def test_a_regression_is_1(revisions):
    """Exit 1, nothing on stderr, and the table names both sides."""
    result, out = revisions
    assert result.returncode == 1, result.stderr
    assert result.stderr == ""
    assert "A  main~1 (" in result.stdout
    assert "B  this checkout" in result.stdout
    assert "worse: 7 of 11 cells" in result.stdout
    assert str(out) in result.stdout


@pytest.mark.parametrize(("name", "verdict"), [("slower", "slower"), ("faster", "faster")])
def test_a_gross_change_is_found(revisions, name, verdict):
    """Five times the work at one revision: far beyond any noise."""
    row = verdicts(revisions[1])[f"numpy/{name}"]
    assert (row["verdict"], row["complaints"]) == (verdict, "")
    assert (float(row["ratio"]) > 1.5) == (name == "slower")


def test_identical_code_is_not_called_slower(revisions):
    """The same body at both revisions, among the worst neighbours, under a threshold that noise does not reach."""
    assert verdicts(revisions[1])["numpy/steady"]["verdict"] in ("same", "inconclusive")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wrong", "status: incorrect in B: "),
        ("exits", "status: crashed in B: in prepare: worker exited with code 3"),
        ("exits-later", "worker exited with code 5"),
        ("segfaults", "status: crashed in B: in prepare: worker was killed by SIGSEGV"),
        ("refuses", "status: unsupported in B: not today"),
    ],
)
def test_what_fails_in_b_alone_is_a_complaint(revisions, name, says):
    """No verdict on its time, a complaint that says what happened; and the others were measured all the same."""
    row = verdicts(revisions[1])[f"numpy/{name}"]
    assert says in row["complaints"]
    assert row["complaints"].startswith("status: ")
    assert (row["verdict"], row["ratio"], row["a_s"], row["b_s"]) == ("", "", "", "")


def test_lost_accuracy_is_a_complaint(revisions):
    """Within the bound on both sides, and much further off in B: a complaint beside its verdict."""
    row = verdicts(revisions[1])["numpy/coarser"]
    assert row["complaints"].startswith("accuracy: ")
    assert row["verdict"] != ""


@pytest.mark.parametrize(("name", "note"), [("never", "B unsupported: not today"), ("mended", "A crashed: ")])
def test_what_failed_in_a_is_no_regression(revisions, name, note):
    """Refused on both sides, or mended in B: no verdict, no complaint, a note."""
    row = verdicts(revisions[1])[f"numpy/{name}"]
    assert (row["verdict"], row["complaints"]) == ("", "")
    assert note in row["note"]


def test_every_cell_that_is_timed_was_timed_in_alternation(revisions):
    """The journal holds each exchange of turns: as many blocks of A as of B, of as many calls."""
    turns = journal(revisions[1], "turns")
    assert {turn["a"] for turn in turns} >= {"numpy/steady", "numpy/slower", "numpy/faster", "numpy/coarser"}
    assert not {turn["a"] for turn in turns} & {"numpy/wrong", "numpy/exits", "numpy/refuses", "numpy/never"}
    assert all(len(turn["a_s"]) == len(turn["b_s"]) >= 1 and turn["calls"] >= 1 for turn in turns)


def test_the_worktree_is_gone(revisions, repository):
    """A revision is checked out for as long as it is measured."""
    assert worktrees(repository) == 1
    plan = json.loads((revisions[1] / "plan.json").read_text())
    (_, checked_out), (_, as_it_is) = plan["a"]["plugins"][0], plan["b"]["plugins"][0]
    assert not Path(checked_out).exists()
    assert as_it_is == str(repository / "plugin.py")


def test_the_same_revision_twice_is_not_called_slower(repository, tmp_path):
    """A revision against itself: no false alarm, exit 0, in every form that was asked for; also from within a git hook."""
    saved = [tmp_path / name for name in ("c.md", "c.xml", "c.txt", "c.csv", "c.json")]
    words = [word for file in saved for word in ("--save-as", file)]
    same = ("--a-rev", "main", "--b-rev", "HEAD", "--threshold", "50%", "--epochs", "3", "--format", "json")
    selected = (*plugged(repository, "steady"), *words, "--out", tmp_path / "run")
    result = attnbench("ab", *TINY, *SHORT, *same, *selected, environment={"GIT_DIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["counts"]["slower"] == found["counts"]["faster"] == 0
    assert found["cells"][0]["units"] == 3
    assert found["a"].startswith("main (")
    assert worktrees(repository) == 1
    assert saved[0].read_text().startswith("### attnbench: nothing found slower")
    assert ET.fromstring(saved[1].read_text()).get("failures") == "0"
    assert saved[3].read_text() == (tmp_path / "run" / "verdicts.csv").read_text()
    assert saved[4].read_text() == (tmp_path / "run" / "comparison.json").read_text() == result.stdout


def test_refused_on_both_sides_is_3(repository, tmp_path):
    """Nothing could be compared: never green, and said on stderr whatever the format."""
    words = ("--b-env", "ATTNBENCH_TEST=1", "--epochs", "3", "--format", "csv")
    result = attnbench("ab", *TINY, *SHORT, *words, *plugged(repository, "never"), "--out", tmp_path / "run")
    assert result.returncode == 3, result.stderr
    assert result.stderr == "attnbench: nothing compared: no cell has a time on both sides\n"
    assert verdicts(tmp_path / "run")["numpy/never"]["verdict"] == ""


def test_two_implementations(tmp_path):
    """The folder holds its files, they agree with each other and with the exit status."""
    words = ("--a-implementation", "numpy/naive", "--b-implementation", "numpy/blocked", "--epochs", "4")
    result = attnbench("ab", *TINY, *SHORT, *words, "--threshold", "5%", "--out", tmp_path / "run")
    folder = tmp_path / "run"
    assert {file.name for file in folder.iterdir()} == FILES
    rows = verdicts(folder)
    assert list(rows) == ["numpy/blocked vs numpy/naive"]
    row = rows["numpy/blocked vs numpy/naive"]
    assert result.returncode == (1 if row["verdict"] == "slower" else 0), result.stderr
    assert row["verdict"] in ("slower", "faster", "same", "inconclusive")
    assert float(row["ratio_low"]) <= float(row["ratio"]) <= float(row["ratio_high"])
    assert f"{row['verdict']} " in result.stdout
    found = json.loads((folder / "comparison.json").read_text())
    assert found["exit"] == result.returncode
    assert (found["a"], found["b"]) == ("numpy/naive", "numpy/blocked")
    epochs = [event["epoch"] for event in journal(folder, "epoch")]
    assert epochs == list(range(len(epochs)))
    assert int(row["units"]) == len(epochs) <= 4
    greetings = journal(folder, "greeting")
    assert [g["worker"] for g in greetings] == ["A-numpy", "B-numpy"] * len(epochs), "workers are not restarted"
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["pairs"] == [{"case": row["case"], "a": "numpy/naive", "b": "numpy/blocked", "device": "cpu"}]


def test_another_interpreter(tmp_path):
    """Another Python that has the framework is measured; one epoch shows nothing and is told to be too few: exit 3."""
    python = environment(tmp_path, packages=True)
    words = ("--b-python", python, "--implementation", "numpy/naive", "--epochs", "1", "--format", "json")
    result = attnbench("ab", *TINY, *SHORT, *words, "--out", tmp_path / "run")
    assert result.returncode == 3, result.stderr
    assert "nothing could be seen" in result.stderr
    found = json.loads(result.stdout)
    assert found["b"] == str(python)
    assert found["cells"][0]["units"] == 1
    assert found["cells"][0]["verdict"] == "inconclusive"
    assert "too few for a verdict" in found["notes"][0]


def environment(folder, *, packages):
    """The interpreter of a virtual environment without packages of its own, or with those of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    if packages:
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "python"


def test_revisions_of_this_repository(tmp_path):
    """Without a plug-in a revision is one of the program itself: each side runs its own code."""
    copy = tmp_path / "copy"
    for package in ("backends", "benchmarks"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    module = copy / "backends" / "numpy_backend.py"
    now = module.read_text()
    assert 'return f"numpy {' in now
    git(copy, "init", "--quiet", "--initial-branch", "main")
    module.write_text(now.replace('return f"numpy {', 'return f"old numpy {'))
    commit(copy, "old")
    module.write_text(now)
    commit(copy, "now")
    words = ("--a-rev", "main~1", "--implementation", "numpy/naive", "--epochs", "1", "--format", "json")
    command = [sys.executable, "-m", "benchmarks", "ab", *TINY, *SHORT, *words, "--out", tmp_path / "run"]
    result = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode == 3, result.stderr  # one epoch shows nothing
    versions = {g["worker"]: g["version"].split()[0] for g in journal(tmp_path / "run", "greeting")}
    assert versions == {"A-numpy": "old", "B-numpy": "numpy"}
    assert worktrees(copy) == 1


# --- bad input ---


def refused(result, *words):
    """Exit 2, one line on stderr (or typer's three) that holds the words, nothing on stdout."""
    __tracebackhide__ = True
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("Usage: ") or result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


NUMPY = ("--suite", "smoke", "--case", "tiny-self", "--implementation", "numpy/naive", "--epochs", "1", "--quiet")
OTHER = ("--b-env", "ATTNBENCH_TEST=1")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], ["A and B are the same", "--a-rev", "audit"]),
        (["--a-implementation", "numpy/naive"], ["belong together"]),
        (["--a-python", "nowhere/python"], ["--a-python 'nowhere/python' is not a program"]),
        (["--b-python", ROOT / "pyproject.toml"], ["--b-python", "is not a program"]),
        (["--b-python", ROOT], ["is not a program"]),
        (["--a-env", "nothing"], ["--a-env 'nothing'", "neutral or NAME=VALUE"]),
        (["--a-env", "=x"], ["NAME=VALUE"]),
        (["--b-env", "X=1", "--b-env", "X=2"], ["--b-env sets X to '1' and to '2'"]),
        ([*OTHER, "--threshold=-5%"], ["threshold '-5%'", "5% or 0.05"]),
        ([*OTHER, "--threshold", "x"], ["threshold 'x'"]),
        ([*OTHER, "--floor", "20"], ["time '20'", "its unit"]),
        ([*OTHER, "--thresholds", "nowhere.toml"], ["nowhere.toml cannot be read"]),
        ([*OTHER, "--alpha", "2"], ["--alpha"]),
        ([*OTHER, "--alpha", "nan"], ["--alpha"]),
        ([*OTHER, "--budget", "inf"], ["--budget inf", "finite"]),
        ([*OTHER, "--budget", "0"], ["--budget"]),
        ([*OTHER, "--block-ms", "nan"], ["--block-ms"]),
        ([*OTHER, "--time-limit", "inf"], ["--time-limit inf", "finite"]),
        ([*OTHER, "--epochs", "0"], ["--epochs"]),
        ([*OTHER, "--cpus", "0"], ["--cpus 0"]),
        ([*OTHER, "--save-as", "out.pdf"], ["--save-as out.pdf: suffix '.pdf'", ".md (markdown)"]),
        ([*OTHER, "--save-as", "out"], ["--save-as out: suffix ''"]),
        ([*OTHER, "--case", "nope"], ["'nope'", "tiny-self"]),
        ([*OTHER, "--device", "tpu"], ["unknown device 'tpu'"]),
        ([*OTHER, "--plugin", "nowhere.py"], ["nowhere.py", "is not a file"]),
        ([*OTHER, "--shape", "t=8 n=1 h=4"], ["--case", "--shape", "one of them"]),
        (["--a-implementation", "numpy/naive", "--b-implementation", "numpy/blocked"], ["leave them out"]),
    ],
)
def test_bad_input_ends_with_one_line(tmp_path, words, says):
    """Usage errors: exit 2, what was got and what was expected, before anything is started or written."""
    refused(attnbench("ab", *NUMPY, *words, "--out", tmp_path / "run"), *says)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ("numpy/nope", "numpy/naive", ["no implementation matches 'numpy/nope'", "numpy/naive"]),
        ("numpy/naive", "numpy/*", ["'numpy/*'", "not a pattern"]),
        ("*/naive", "numpy/naive", ["'*/naive'", "not a pattern"]),
        ("numpy/naive", "numpy/naive", ["A and B are the same"]),
    ],
)
def test_implementations_are_named_exactly(tmp_path, a, b, says):
    """--a-implementation and --b-implementation name one each, and two different ones."""
    refused(attnbench("ab", *TINY, "--a-implementation", a, "--b-implementation", b, "--out", tmp_path / "run"), *says)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("revision", "says"),
    [
        ("nowhere", "has no revision 'nowhere'"),
        ("--upload-pack=x", "revision '--upload-pack=x', expected a commit, branch or tag"),
        ("", "has no revision ''"),
        ("main:plugin.py", "has no revision 'main:plugin.py'"),
        ("main~7", "has no revision 'main~7'"),
    ],
)
def test_a_revision_that_is_not_there(repository, tmp_path, revision, says):
    """One line that names it and its repository; nothing is checked out."""
    words = (f"--a-rev={revision}", "--out", tmp_path / "run")
    refused(attnbench("ab", *TINY, *SHORT, *plugged(repository, "steady"), *words), says)
    assert list(tmp_path.iterdir()) == []
    assert worktrees(repository) == 1


def test_a_revision_without_the_plugin(repository, tmp_path):
    """A file that is younger than the revision is told; so is one outside of git."""
    words = ("--implementation", "numpy/steady", "--a-rev", "main~1", "--out", tmp_path / "run")
    result = attnbench("ab", *TINY, *SHORT, "--plugin", repository / "later.py", *words)
    refused(result, "has no later.py")
    outside = tmp_path / "plugin.py"
    shutil.copy(repository / "plugin.py", outside)
    refused(attnbench("ab", *TINY, *SHORT, "--plugin", outside, *words), "not a git repository")
    both = ("--plugin", repository / "plugin.py", "--plugin", ROOT / "tests" / "planted.py")
    assert attnbench("ab", *TINY, *SHORT, *both, *words).returncode == 2
    assert list(tmp_path.iterdir()) == [outside]
    assert worktrees(repository) == 1


@pytest.mark.parametrize("out", ["run", None])
def test_an_interpreter_without_the_framework(tmp_path, out):
    """One line that says which side, which interpreter and what it lacks; the new folder is gone again."""
    python = environment(tmp_path, packages=False)
    words = ("--out", tmp_path / out) if out else ()
    before = set((ROOT / "results").rglob("*"))
    result = attnbench("ab", *NUMPY, "--a-python", python, *words)
    refused(result, f"side A ({python}): ", "No module named 'numpy'")
    assert [file.name for file in tmp_path.iterdir()] == ["venv"]
    assert out is not None or {f for f in set((ROOT / "results").rglob("*")) - before if "-ab-" in f.name} == set()


@pytest.mark.parametrize("python", ["/bin/false", "/bin/true"])
def test_a_program_that_is_no_interpreter(tmp_path, python):
    """Something else that runs ends with the same line."""
    refused(
        attnbench("ab", *NUMPY, "--b-python", python, "--out", tmp_path / "run"), f"side B ({python}): worker exited"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["journal.jsonl", "verdicts.csv", "summary.csv", "plan.json"])
def test_a_folder_that_holds_a_run_is_left_alone(tmp_path, name):
    """--out of any earlier run, of this command or of `run`: refused, and not a byte of it changes."""
    (tmp_path / name).write_text("precious")
    refused(attnbench("ab", *NUMPY, *OTHER, "--out", tmp_path), "holds a run already", "--out")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "precious")]


def test_an_unwritable_folder_is_told(tmp_path):
    """For root too: a file stands where the folder should."""
    (tmp_path / "file").write_text("")
    refused(attnbench("ab", *NUMPY, *OTHER, "--out", tmp_path / "file" / "run"), f"cannot write to {tmp_path}/file/run")
    refused(attnbench("ab", *NUMPY, *OTHER, "--out", tmp_path / "file"), f"cannot write to {tmp_path}/file")


# --- Ctrl-C ---


def test_ctrl_c_judges_what_there_is(repository, tmp_path):
    """Exit 130, the verdicts so far are written, no worker and no worktree is left."""
    words = ("--epochs", "500", "--budget", "60", "--threshold", "0%", "--a-rev", "main", "--out", tmp_path / "run")
    with started("ab", *TINY, *plugged(repository, "steady"), *words) as run:
        told = []
        for line in run.stderr:
            told.append(line)
            if line.startswith("epoch 2 of at most 500"):
                break
        workers = psutil.Process(run.pid).children(recursive=True)
        assert workers, "".join(told)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert f"Written to {tmp_path / 'run'}" in out
    assert {file.name for file in (tmp_path / "run").iterdir()} == FILES
    row = verdicts(tmp_path / "run")["numpy/steady"]
    assert row["verdict"] != ""
    assert int(row["units"]) >= 1
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    assert worktrees(repository) == 1
