"""docs/new-framework.md is true: in a copy of this checkout, one module and one line are a framework, in every command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests import documents
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "new-framework.md").read_text("utf-8")
TINY = ROOT / "tests" / "tiny"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the two packages with what the page says that a framework needs, and tiny as if it were installed."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in ("backends", "benchmarks"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TINY / "tiny.py", folder)
    (folder / "tiny-1.0.dist-info").mkdir()
    (folder / "tiny-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    shutil.copy(TINY / "tiny_backend.py", folder / "backends")
    (line,) = re.findall(r'^    "tiny": Entry\(.*\),$', PAGE, re.MULTILINE)
    registry = folder / "backends" / "registry.py"
    old = registry.read_text("utf-8")
    new = re.sub(
        r"(FRAMEWORKS: Mapping\[str, Entry\] = \{.*?)^\}", rf"\1{line}\n}}", old, flags=re.DOTALL | re.MULTILINE
    )
    assert new != old
    registry.write_text(new, "utf-8")
    return folder


def attnbench(folder, *words):
    """`python -m benchmarks WORDS` in the copy."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_it_is_listed_without_being_imported(checkout):
    """`list` shows the framework's version from its metadata, and its implementation, even where it does not import."""
    done = attnbench(checkout, "list", "implementations")
    assert "tiny/naive" in done.stdout, done.stderr
    code = "import sys, backends; backends.implementations(); print('tiny' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_it_is_held_to_the_standard(checkout):
    """`check` asks it everything: some is right, the rest refused with a reason, one deviation is as declared."""
    done = attnbench(checkout, "check", "--framework", "tiny", "--json", checkout / "answers.json", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    answers = {a["probe"]: a for a in json.loads((checkout / "answers.json").read_text())["answers"]}
    assert answers["plain"]["verdict"] == "pass"
    assert answers["lengths"]["verdict"] == "pass", "lowered to a mask"
    assert answers["nan-in-value"]["verdict"] == "deviates"
    assert answers["grad-plain"]["reason"] == "tiny has no automatic differentiation"


def test_it_is_timed_beside_the_others(checkout):
    """`run` gives it a row with a time in the table of all, and its own matrix product among the limits."""
    words = ("--suite", "smoke", "--case", "tiny-self", "--framework", "numpy", "--framework", "tiny", "--blocks", "1")
    done = attnbench(checkout, "run", *words, "--quiet", "--out", checkout / "run")
    assert done.returncode == 0, done.stderr
    assert re.search(r"tiny/naive +\d", done.stdout)
    assert re.search(r"^tiny +\d", done.stdout, re.MULTILINE)


def test_without_its_barrier_the_clock_would_lie(checkout):
    """Why `barrier` is asked for: what tiny returns has not been computed."""
    code = "import numpy as np, tiny; a = tiny.array(np.ones((2, 2))); print(tiny.matmul(a, a)._value)"
    told = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "None"


def test_the_page_names_every_function_that_a_framework_needs():
    """Each hook of framework.Framework stands in the page's table, and no other."""
    from backends.framework import Framework

    hooks = {name for name in vars(Framework) if not name.startswith("_")}
    table = set(re.findall(r"^\| `(\w+)`", documents.FENCE.sub("", PAGE), re.MULTILINE))
    assert table == hooks
