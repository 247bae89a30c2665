"""Cells that are wrong, crash, hang or lie: each becomes the right row, its neighbours are measured, the run goes on."""

from __future__ import annotations

import json

import pytest

from tests.processes import attnbench

HEAD = """
import ctypes, os, signal, sys, time
import numpy as np
import backends
from backends import implementation
from backends.reference import attention as right


def plain(query, key, value, **rest):
    return right(query, key, value, **rest).astype(query.dtype)
"""

FAULTS = {
    "nan": ("incorrect", "got nan", "return np.full_like(plain(query, key, value, **rest), np.nan)"),
    "dtype": ("incorrect", "output is float64, expected float32", "return right(query, key, value, **rest)"),
    "shape": ("incorrect", "have shape", "return plain(query, key, value, **rest)[:, :-1]"),
    "row": (
        "incorrect",
        "first at (b,t,n,v)=(0, 3,",
        "out = plain(query, key, value, **rest); out[0, 3] *= 1.01; return out",
    ),
    "heads": ("incorrect", "out of bound", "return plain(query, key, value, **rest)[:, :, ::-1]"),
    "scale": ("incorrect", "out of bound", "return plain(query, key, value, scale=0.2)"),
    "modifies": ("incorrect", "after timing", "out = plain(query, key, value, **rest); value *= 1.01; return out"),
    "keeps": (
        "incorrect",
        "on fresh inputs",
        "first = plain(query, key, value, **rest); return globals().setdefault('kept', first)",
    ),
    "raises": (
        "error",
        "RuntimeError: a [bold]hostile[/bold] ?msg",
        r"raise RuntimeError('a [bold]hostile[/bold] \x1bmsg')",
    ),
    "refuses": ("unsupported", "not today", "raise backends.Unsupported('not today')"),
    "memory": ("out_of_memory", "MemoryError", "raise MemoryError"),
    "exits": ("crashed", "exited with code 3", "os._exit(3)"),
    "system-exit": ("crashed", "exited with code 4", "sys.exit(4)"),
    "segfaults": ("crashed", "SIGSEGV", "ctypes.string_at(0)"),
    "aborts": ("crashed", "SIGABRT", "os.abort()"),
    "killed": ("crashed", "SIGKILL", "os.kill(os.getpid(), signal.SIGKILL)"),
    "hangs": ("timeout", "no answer within 4 s", "time.sleep(1000)"),
    "shouts": ("ok", "", "print('noise' * 100000); return plain(query, key, value, **rest)"),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """One run with every faulty implementation beside a right one."""
    folder = tmp_path_factory.mktemp("faults")
    code = HEAD
    for name, (_, _, body) in FAULTS.items():
        code += f'\n\n@implementation("numpy/{name}")\ndef _(query, key, value, **rest):\n    {body}\n'
    plugin = folder / "faulty plug-in ü.py"
    plugin.write_text(code)
    case = ("--suite", "smoke", "--case", "tiny-self", "--processes", "2", "--blocks", "1")
    limits = (
        "--time-limit",
        "4",
        "--framework",
        "numpy",
        "--plugin",
        plugin,
        "--format",
        "json",
        "--out",
        folder / "run",
    )
    result = attnbench("run", *case, *limits)
    assert result.returncode == 1, result.stderr
    assert "\x1b" not in result.stderr
    return {row["implementation"]: row for row in json.loads(result.stdout)}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_ends_as_its_row(rows, name):
    """The status is right, the reason says what happened, and only an ok row carries a time."""
    status, reason, _ = FAULTS[name]
    row = rows[f"numpy/{name}"]
    assert row["status"] == status, row["reason"]
    assert reason.replace("?", "\x1b" if name == "raises" else "?") in row["reason"]
    assert (row["median_s"] is not None) == (status == "ok")


@pytest.mark.parametrize("name", ["naive", "blocked", "shouts"])
def test_the_neighbours_are_measured(rows, name):
    """Right implementations in the same worker survive each of its deaths."""
    row = rows[f"numpy/{name}"]
    assert (row["status"], row["processes"]) == ("ok", 2), row["reason"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("x = 1\n", "defines no implementation"),
        ("def f(:\n", "does not import: SyntaxError"),
        ("raise ValueError('not \\x1b[31mtoday')\n", "does not import: ValueError: not"),
        ("import os; os._exit(7)\n", "exited with code 7"),
        ("from backends import implementation\n@implementation('nope/mine')\ndef f(): ...\n", "'nope/mine'"),
        ("from backends import implementation\n@implementation('numpy/naive')\ndef f(): ...\n", "is taken"),
        ("from backends import implementation\n@implementation('mine')\ndef f(): ...\n", "framework/name"),
    ],
)
def test_a_bad_plugin_is_one_line(tmp_path, code, says):
    """A plug-in that cannot be used ends the run before it begins: exit 2, one line, nothing written."""
    plugin = tmp_path / "mine.py"
    plugin.write_text(code)
    result = attnbench("run", "--suite", "smoke", "--plugin", plugin, "--out", tmp_path / "run")
    assert result.returncode == 2, result.stderr
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "\x1b" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_check_catches_a_wrong_plugin(tmp_path):
    """check accuses an implementation that ignores what it was asked, and exits with 1."""
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        HEAD + '\n\n@implementation("numpy/mine")\ndef _(query, key, value, **rest):\n'
        "    rest.pop('causal', None)\n    return plain(query, key, value, **rest)\n"
    )
    result = attnbench("check", "--implementation", "numpy/mine", "--plugin", plugin, "--quiet")
    assert result.returncode == 1, result.stderr
    assert "numpy/mine  top-left" in result.stdout
    assert "Does not conform." in result.stdout


def test_check_tells_what_ended_a_worker(tmp_path):
    """A worker that dies beside others is told with its reason; what it died of is asked once more, alone."""
    plugin = tmp_path / "mine.py"
    once = tmp_path / "once"
    plugin.write_text(
        HEAD + '\n\n@implementation("numpy/mine")\ndef mine(query, key, value, **rest):\n'
        f"    import os, pathlib\n    once = pathlib.Path({str(once)!r})\n"
        "    if not once.exists():\n        once.touch()\n        os._exit(3)\n"
        "    return plain(query, key, value, **rest)\n"
    )
    result = attnbench("check", "--implementation", "numpy/mine", "--plugin", plugin)
    assert "ended its worker (crashed: worker exited with code 3); it is asked again, alone" in result.stderr
    assert "numpy/mine  plain" not in result.stdout


BLOCKER = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise {error}
sys.meta_path.insert(0, Block())
"""


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        ("ModuleNotFoundError('No module named jax', name='jax')", "not_installed", "jax is not installed"),
        (
            "OSError('libxyz.so: cannot open')",
            "error",
            "installed but does not import: OSError: libxyz.so: cannot open",
        ),
    ],
)
def test_an_absent_or_broken_framework_is_a_row_unless_asked_for(tmp_path, error, status, says):
    """Unasked it becomes rows with the reason; asked for it ends the run with exit 2."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(module="jax", error=error))
    words = ("--suite", "smoke", "--case", "tiny-self", "--processes", "1", "--blocks", "1", "--format", "json")
    environment = {"PYTHONPATH": str(tmp_path)}
    mixed = ("--implementation", "[nj]*/naive")
    result = attnbench("run", *words, *mixed, "--out", tmp_path / "run", environment=environment)
    rows = {r["implementation"]: r for r in json.loads(result.stdout)}
    assert rows["numpy/naive"]["status"] == "ok"
    assert rows["jax/naive"]["status"] == status
    assert says in rows["jax/naive"]["reason"]
    assert result.returncode == (1 if status == "error" else 0)
    asked = attnbench("run", *words, "--framework", "jax", "--out", tmp_path / "asked", environment=environment)
    assert asked.returncode == 2, asked.stderr
    assert says in asked.stderr
    assert not (tmp_path / "asked").exists()


def test_an_installed_plugin_is_found_through_its_entry_point(tmp_path):
    """A package with an entry point in the group attnbench.backends stands beside ours without being named."""
    (tmp_path / "theirs.py").write_text(
        HEAD + '\n\n@implementation("numpy/theirs")\ndef _(query, key, value, **rest):\n'
        "    return plain(query, key, value, **rest)\n"
    )
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[attnbench.backends]\ntheirs = theirs\n")
    words = ("--suite", "smoke", "--case", "tiny-self", "--implementation", "numpy/theirs", "--blocks", "1")
    paths = {"PYTHONPATH": str(tmp_path)}
    result = attnbench("run", *words, "--format", "json", "--quiet", "--out", tmp_path / "run", environment=paths)
    assert result.returncode == 0, result.stderr
    assert [row["status"] for row in json.loads(result.stdout)] == ["ok"]
