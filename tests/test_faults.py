"""Cells that are wrong, crash, hang or lie: each becomes the right row, its neighbours are measured, the run goes on."""

from __future__ import annotations

import json

import pytest

from benchmarks.harness.guard import LOG_BYTES
from tests.processes import attnbench

HEAD = """
import ctypes, json, os, signal, struct, sys, time
import numpy as np
import backends
from backends import implementation
from backends.reference import attention as right


def plain(query, key, value, **rest):
    return right(query, key, value, **rest).astype(query.dtype)


def say(raw):
    # Into the connection to the parent, past the protocol.
    os.write(int(sys.argv[sys.argv.index("--fd") + 1]), raw)


def tell(**message):
    raw = json.dumps({"status": "ok", "reason": "", **message}).encode()
    say(struct.pack("!i", len(raw)) + raw)
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
    "no-text": ("error", "RuntimeError: half ? of a character", r"raise RuntimeError('half \ud800 of a character')"),
    "long-words": ("error", "RuntimeError: xxxx", "raise RuntimeError('x' * 10**7)"),
    "refuses": ("unsupported", "not today", "raise backends.Unsupported('not today')"),
    "memory": ("out_of_memory", "MemoryError", "raise MemoryError"),
    "grows": (
        "out_of_memory",
        "and --memory-limit is 0.5 GB",
        "held = []\n    while True:\n        held.append(b'x' * 2**24)\n        time.sleep(0.001)",
    ),
    "leaves": ("crashed", "exited with code 0", "sys.exit()"),
    "interrupts": ("crashed", "SIGINT", "raise KeyboardInterrupt"),
    "garbage": (
        "crashed",
        "worker answered b'hello', not a message",
        "say(struct.pack('!i', 5) + b'hello'); time.sleep(1000)",
    ),
    "deep": ("crashed", "(RecursionError)", "say(struct.pack('!i', 10**5) + b'[' * 10**5); time.sleep(1000)"),
    "huge": ("crashed", "wrote into it what is no message", "say(b'\\x7f' * 8); time.sleep(1000)"),
    "half": ("crashed", "answered half a message", "say(struct.pack('!i', 500) + b'{'); time.sleep(1000)"),
    "half-exits": ("crashed", "exited with code 5", "say(struct.pack('!i', 500) + b'{'); os._exit(5)"),
    "no-status": ("crashed", "status 'great', not a message", "tell(status='great'); time.sleep(1000)"),
    "no-fields": ("crashed", "without first_call_s, to 'prepare'", "tell(); time.sleep(1000)"),
    "no-time": ("crashed", "first_call_s=nan, to 'prepare'", "tell(first_call_s=float('nan')); time.sleep(1000)"),
    "twice": ("unsupported", "said it twice", "tell(status='unsupported', reason='said it twice'); raise ValueError"),
    "late": (
        "unsupported",
        "said it early",
        "tell(status='unsupported', reason='said it early'); time.sleep(0.5); raise ValueError",
    ),
    "endless": ("timeout", "no answer within 4 s", "while True:\n        os.write(1, b'x' * 2**21); time.sleep(0.02)"),
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
        "--memory-limit",
        "500MB",
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
    assert "Traceback" not in result.stderr
    assert (folder / "run" / "logs" / "numpy.log").stat().st_size < 2 * LOG_BYTES
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
        ("__import__('os').abort()", "crashed", "worker was killed by SIGABRT"),
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
    assert result.returncode == (0 if status == "not_installed" else 1)
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
