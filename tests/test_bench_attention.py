"""The suite for pytest-benchmark: right before it is timed, told in extra_info, and no framework that no cell needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tests.processes import ROOT

PLUGIN = """
from pathlib import Path
import backends
from backends import implementation
from backends.reference import attention as right

def plain(query, key, value, **rest):
    return right(query, key, value, **rest).astype(query.dtype)

@implementation("numpy/wrong")
def _(query, key, value, **rest):
    with Path(__file__).with_name("calls").open("a") as calls:
        calls.write("called\\n")
    return plain(query, key, value, scale=0.2)

@implementation("numpy/keeps")
def _(query, key, value, **rest):
    first = plain(query, key, value, **rest)
    return globals().setdefault("kept", first)

@implementation("numpy/refuses")
def _(query, key, value, **rest):
    raise backends.Unsupported("not today")
"""
ENABLED = ("--benchmark-enable", "--benchmark-max-time=0.02", "--benchmark-min-rounds=3")


def bench(*words, start=("-m", "pytest")):
    """Run pytest on the file in a fresh process; what this test run told its own workers stays here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, *start, "benchmarks/bench_attention.py", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """One run with a right implementation and three that are not to be timed: exit status, outcomes, JSON, folder."""
    folder = tmp_path_factory.mktemp("planted")
    plugin = folder / "faulty.py"
    plugin.write_text(PLUGIN)
    words = ("--suite", "smoke", "--case", "tiny-self", "--plugin", plugin, "--implementation", "numpy/[nkwr]*")
    files = ("--benchmark-json", folder / "out.json", "--junitxml", folder / "junit.xml")
    result = bench("-p", "benchmarks.pytest_options", *words, *ENABLED, *files)
    assert "error" not in result.stdout.splitlines()[-1], result.stdout
    outcomes = {}
    for test in ElementTree.parse(folder / "junit.xml").iter("testcase"):
        said = next(iter(test), None)
        outcomes[test.get("name")] = ("passed", "") if said is None else (said.tag, said.get("message"))
    return result, outcomes, json.loads((folder / "out.json").read_text()), folder


@pytest.mark.parametrize(
    ("name", "outcome", "says"),
    [
        ("naive", "passed", ""),
        ("wrong", "failure", "out of bound"),
        ("keeps", "failure", "on fresh inputs"),
        ("refuses", "skipped", "not today"),
    ],
)
def test_each_cell_ends_as_it_should(planted, name, outcome, says):
    """A right cell passes, a wrong one fails with the oracle's words, one that refuses is skipped with its reason."""
    result, outcomes, _, _ = planted
    ended, said = outcomes[f"test_attention[tiny-self-numpy/{name}]"]
    assert (ended, says in said) == (outcome, True), result.stdout
    assert result.returncode == 1


def test_only_right_answers_have_a_time(planted):
    """The file holds the right cell alone, and the wrong one was called once: to be judged."""
    _, _, written, folder = planted
    assert [b["params"]["implementation"] for b in written["benchmarks"]] == ["numpy/naive"]
    assert (folder / "calls").read_text().count("called") == 1


def test_the_file_says_what_was_timed(planted):
    """extra_info holds the cell in the words of summary.csv, and the rounds are there."""
    _, _, written, _ = planted
    (found,) = written["benchmarks"]
    extra = found["extra_info"]
    told = ("case", "implementation", "framework", "device", "pass", "dtype", *"BTSNKHV", "kernel", "threads", "status")
    assert {name: extra[name] for name in told} == {
        "case": "tiny-self",
        "implementation": "numpy/naive",
        "framework": "numpy",
        "device": "cpu",
        "pass": "forward",
        "dtype": "float32",
        **dict(zip("BTSNKHV", (2, 64, 64, 4, 4, 32, 32), strict=True)),
        "kernel": extra["kernel"],
        "threads": extra["threads"],
        "status": "ok",
    }
    assert extra["threads"]
    assert 0 < extra["error_over_bound"] <= 1
    assert found["group"] == "tiny-self"
    assert len(found["stats"]["data"]) >= 3


def test_no_framework_is_imported_that_no_cell_needs():
    """Collecting all cells imports none, and timing NumPy's only NumPy. The suite is smoke where no option names one."""
    code = (
        "import sys, pytest; code = pytest.main(sys.argv[1:]);"
        "print([name for name in ('tensorflow', 'jax', 'torch') if name in sys.modules]); sys.exit(code)"
    )
    collected = bench("--collect-only", "-q", start=("-c", code))
    assert collected.returncode == 0, collected.stdout
    assert "tiny-grouped-causal-numpy/naive" in collected.stdout
    assert collected.stdout.splitlines()[-1] == "[]"
    ran = bench("-q", "-k", "tiny-self and numpy/naive", start=("-c", code))
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--suite", "nope"), "unknown suite 'nope'"),
        (("--case", "nope*"), "no case of suite 'smoke' matches 'nope*'"),
        (("--implementation", "nope/*"), "no implementation matches 'nope/*'"),
        (("--plugin", "nope.py"), "is not a file"),
    ],
)
def test_what_matches_nothing_is_an_error(words, says):
    """Never a green run of no cells: a line that says what is there, and pytest's status for files it cannot collect."""
    result = bench("-p", "benchmarks.pytest_options", *words)
    assert result.returncode == 2, result.stdout
    assert says in result.stdout + result.stderr
    assert "bench_attention.py:" not in result.stdout + result.stderr, "a traceback"
