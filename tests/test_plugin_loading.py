"""Plug-ins run code by design: in workers only, and only those that somebody has named. See SECURITY.md."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from backends.plugins import PluginError, installed_plugins
from benchmarks.cli.consent import check_named, to_be_named
from benchmarks.cli.options import resolve_plugins
from benchmarks.errors import UsageError
from benchmarks.plan import Plan, select_cases
from tests.planted import write_run
from tests.processes import attnbench

MARKING = """
import os, sys
with open({mark!r}, "a") as file:
    file.write(" ".join(sys.orig_argv) + "\\n")
from backends import implementation

@implementation("{id}")
def attention(query, key, value, **rest):
    \"\"\"Zeros.\"\"\"
    return value * 0
"""
QUICK = (
    "--shape",
    "t=4 n=1 h=4",
    "--blocks",
    "1",
    "--block-ms",
    "1",
    "--processes",
    "1",
    "--quiet",
    "--format",
    "json",
)


def marking(folder: Path, name: str, id: str) -> Path:
    """A module that leaves a line in NAME.mark wherever it is imported: the command of that process."""
    file = folder / f"{name}.py"
    file.write_text(MARKING.format(mark=str(folder / f"{name}.mark"), id=id))
    return file


def marks(folder: Path, name: str) -> list[str]:
    """The commands of the processes that have imported it."""
    file = folder / f"{name}.mark"
    return file.read_text().splitlines() if file.exists() else []


def install(folder: Path, text: str) -> dict[str, str]:
    """A package with these entry points; the environment in which it is found."""
    about = folder / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(text)
    return {"PYTHONPATH": str(folder)}


def test_a_named_plugin_is_loaded_in_workers_only(tmp_path):
    """Every process that has imported it is a worker; the one that the user started is none of them."""
    plugin = marking(tmp_path, "mine", "numpy/mine")
    words = ("--implementation", "numpy/mine", "--plugin", plugin, "--out", tmp_path / "run")
    result = attnbench("run", *QUICK, *words)
    assert json.loads(result.stdout)[0]["implementation"] == "numpy/mine", result.stderr
    seen = marks(tmp_path, "mine")
    assert len(seen) >= 2, "once to ask what it defines, once to measure"
    assert all("-m benchmarks.harness.worker" in command for command in seen)


def test_what_is_installed_is_loaded_where_its_framework_is_asked_for(tmp_path):
    """An entry point that begins with a framework stays out of runs of others, and out of all that only reads."""
    marking(tmp_path, "theirs", "numpy/theirs")
    marking(tmp_path, "others", "torch/others")
    environment = install(tmp_path, "[attnbench.backends]\nnumpy/theirs = theirs\ntorch = others\n")
    run = write_run(tmp_path / "a", noise=0.001)
    for words in (("compare", run, run), ("env",), ("list", "suites"), ("list", "implementations"), ("run", "--help")):
        attnbench(*words, environment=environment)
        assert marks(tmp_path, "theirs") == marks(tmp_path, "others") == []
    result = attnbench("run", *QUICK, "--framework", "numpy", "--out", tmp_path / "run", environment=environment)
    assert "numpy/theirs" in {row["implementation"] for row in json.loads(result.stdout)}, result.stderr
    assert marks(tmp_path, "theirs")
    assert all("-m benchmarks.harness.worker" in command for command in marks(tmp_path, "theirs"))
    assert marks(tmp_path, "others") == []


@pytest.mark.parametrize(
    ("frameworks", "patterns", "expected"),
    [
        ((), (), ["a", "b", "c"]),
        (("numpy",), (), ["a", "c"]),
        (("jax",), (), ["c"]),
        ((), ("torch/*",), ["b", "c"]),
        ((), ("*/mine",), ["a", "b", "c"]),
        (("numpy",), ("torch/mine",), ["c"]),
    ],
)
def test_which_entry_points_are_wanted(tmp_path, monkeypatch, frameworks, patterns, expected):
    """By the framework in their name; one that names none is always among them."""
    install(tmp_path, "[attnbench.backends]\nnumpy/mine = a\ntorch = b:register\ntheirs = c\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = []
    monkeypatch.setattr("benchmarks.conformance.check.plugin_ids", lambda wanted: asked.extend(wanted) or {})
    resolve_plugins(None, frameworks, patterns)
    assert asked == [f"module:{name}" for name in expected]
    assert not {"a", "b", "c"} & sys.modules.keys()


def test_metadata_that_cannot_be_read(tmp_path, monkeypatch):
    """Of a package that offers a plug-in: one line with its name. Of any other: none of our business."""
    install(tmp_path, "[attnbench.backends]\ntheirs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match="entry points of the installed package 'theirs' cannot be read"):
        installed_plugins()
    with pytest.raises(UsageError, match="'theirs'"):
        resolve_plugins(None)
    (tmp_path / "theirs-1.0.dist-info" / "entry_points.txt").write_bytes(b"[console_scripts]\n\xff\nx\n")
    assert installed_plugins() == ()


# A folder that somebody else has packed names code to run.


def plan(**changes) -> Plan:
    """Of one small cell."""
    return Plan(suite="smoke", cases=select_cases("smoke", ["tiny-self"]), implementations=("numpy/naive",), **changes)


def test_resume_runs_no_code_that_a_folder_names(tmp_path):
    """plan.json with a plug-in beside it: nothing is imported before the user has named it himself."""
    evil = marking(tmp_path, "evil", "numpy/naive2")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan(plugins=(("numpy", str(evil)),)).to_dict()))
    (folder / "journal.jsonl").touch()
    result = attnbench("run", "--resume", folder, "--quiet")
    assert result.returncode == 2
    assert f"goes on with code in {evil}; name it, if it is yours: --resume" in result.stderr
    assert marks(tmp_path, "evil") == []
    assert not (folder / "summary.csv").exists()


def test_what_has_to_be_typed_is_told(tmp_path):
    """When a run is interrupted, the line that goes on with it names what check_named asks for, and no more."""
    mine = str(tmp_path / "mine.py")
    own = plan(plugins=(("numpy", mine),), variables=(("LD_PRELOAD", "a.so"), ("OMP_NUM_THREADS", "1")))
    assert to_be_named(own) == ["--plugin", mine, "--env", "LD_PRELOAD=a.so"]
    check_named(tmp_path, own, [Path(mine)], ["LD_PRELOAD=a.so"])
    assert to_be_named(plan()) == []


def test_what_was_typed_is_what_goes_on(tmp_path):
    """The same plug-in, typed again, is agreed to; another one is refused, and so are modules that nobody has installed."""
    mine = tmp_path / "mine.py"
    own = plan(plugins=(("numpy", str(mine)),))
    check_named(tmp_path, own, [mine], [])
    check_named(tmp_path, plan(), [], [])
    with pytest.raises(UsageError, match="name it, if it is yours"):
        check_named(tmp_path, own, [], [])
    with pytest.raises(UsageError, match="belongs to the run's beginning"):
        check_named(tmp_path, own, [mine, tmp_path / "another.py"], [])
    with pytest.raises(UsageError, match="code in module:os"):
        check_named(tmp_path, plan(plugins=(("numpy", "module:os"),)), [], [])


@pytest.mark.parametrize(
    ("name", "value", "is_free"),
    [
        ("OMP_NUM_THREADS", "1", True),
        ("OPENBLAS_CORETYPE", "Haswell", True),
        ("MINE", "a=b c", True),
        ("LD_PRELOAD", "evil.so", False),
        ("PYTHONPATH", "x", False),
        ("XLA_FLAGS", "--xla_dump_to=/home/you", False),
        ("PJRT_NAMES_AND_LIBRARY_PATHS", "x:./evil.so", False),
    ],
)
def test_variables_that_load_or_write_files_are_typed_again(tmp_path, name, value, is_free):
    """Those that count threads or choose a kernel go on without being asked for."""
    own = plan(variables=((name, value),))
    check_named(tmp_path, own, [], [f"{name}={value}"])
    if is_free:
        check_named(tmp_path, own, [], [])
    else:
        with pytest.raises(UsageError, match="which may load or write files"):
            check_named(tmp_path, own, [], [])
    with pytest.raises(UsageError, match="belongs to the run's beginning"):
        check_named(tmp_path, own, [], [f"{name}={value}{os.sep}other"])
