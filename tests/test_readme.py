"""What the README shows works: its quick start's form, its Python example, its plug-in. Its commands: test_docs.py."""

from __future__ import annotations

import json
import re

import pytest

from tests.processes import ROOT, attnbench, python

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_quick_start_is_two_lines_that_stand_alone():
    """One fenced block of exactly two commands: the main job, and the tests."""
    section = README.split("## Quick start\n", 1)[1]
    commands = re.search(r"```\n(.*?)```", section, re.DOTALL)[1].splitlines()
    assert len(commands) == 2
    assert commands[0].endswith("nox -s bench")
    assert commands[1].endswith("nox -s tests")
    assert commands[1] in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("needs", ["torch"])
def test_the_python_example_runs(needs):
    """The example from Python gives what the oracle gives, within float32."""
    pytest.importorskip(needs, reason="the example uses torch")
    code = next(text for kind, text in BLOCKS if kind == "python" and "backends.attention" in text)
    check = "assert np.abs(out - backends.reference.attention(query, key, value, causal='top_left')).max() < 1e-5"
    result = python(code + check)
    assert result.returncode == 0, result.stderr


def test_the_plugin_example_is_checked_and_timed(tmp_path):
    """The kernel of the README stands in the table, right and timed, and refuses what it cannot do."""
    pytest.importorskip("torch", reason="the example uses torch")
    plugin = tmp_path / "mine.py"
    plugin.write_text(next(text for kind, text in BLOCKS if kind == "python" and "# mine.py" in text))
    words = (
        "--suite",
        "smoke",
        "--implementation",
        "torch/mine",
        "--plugin",
        plugin,
        "--blocks",
        "1",
        "--format",
        "json",
    )
    result = attnbench("run", *words, "--out", tmp_path / "run", "--quiet")
    assert result.returncode == 0, result.stderr
    assert [row["status"] for row in json.loads(result.stdout)] == ["ok", "unsupported"]
