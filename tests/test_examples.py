"""The plug-ins in examples/ conform, refuse with a reason what they cannot do, and are timed."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.processes import ROOT, attnbench

EXAMPLES = {
    "numpy/rows": ("numpy_rows.py", "numpy", 18),
    "torch/baddbmm": ("torch_baddbmm.py", "torch", 25),
    "jax/map": ("jax_map.py", "jax", 31),
    "numpy/numba-flash": ("numba_flash.py", "numba", 19),
}
"""Id -> file, the package that it needs, and how many questions of `check` it answers right."""
COMPILED = ("jax/map", "numpy/numba-flash")


def needs(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def test_every_example_is_tested():
    """No file in examples/ that this page leaves out."""
    assert {file for file, _, _ in EXAMPLES.values()} == {path.name for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize("id", [pytest.param(i, marks=pytest.mark.slow) if i in COMPILED else i for i in EXAMPLES])
def test_an_example_conforms(id, tmp_path):
    """Nothing is wrong, every refusal has its reason, every deviation is declared, and most of the standard is there."""
    file, package, right = EXAMPLES[id]
    needs(package)
    words = ("--plugin", f"examples/{file}", "--implementation", id, "--json", tmp_path / "answers.json", "--quiet")
    done = attnbench("check", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads((tmp_path / "answers.json").read_text())["answers"]
    assert {answer["verdict"] for answer in answers} <= {"pass", "refused", "deviates"}
    assert all(answer["reason"] for answer in answers if answer["verdict"] != "pass")
    assert sum(answer["verdict"] == "pass" for answer in answers) >= right


def test_the_examples_are_timed(tmp_path):
    """One `run` checks and times all of those whose packages are there."""
    there = [id for id, (_, package, _) in EXAMPLES.items() if importlib.util.find_spec(package)]
    plugins = [word for id in there for word in ("--plugin", f"examples/{EXAMPLES[id][0]}")]
    asked = [word for id in there for word in ("--implementation", id)]
    words = ("--suite", "smoke", "--case", "tiny-self", "--blocks", "1", "--format", "json", "--quiet")
    done = attnbench("run", *words, *plugins, *asked, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    rows = {row["implementation"]: row for row in json.loads(done.stdout)}
    assert {id: row["status"] for id, row in rows.items()} == dict.fromkeys(there, "ok")
    assert all(row["median_s"] > 0 for row in rows.values())
