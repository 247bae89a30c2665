"""Shell completion: names are offered where names are typed, and no framework is imported for it."""

from __future__ import annotations

import pytest

from tests.processes import ROOT, attnbench, python

BASELINE = "results/baselines/amd-epyc-25-1-avx2-2-cores/default"


def offered(line):
    """What bash is offered at the end of a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_ATTNBENCH_COMPLETE": "complete_bash"}
    done = attnbench(environment=words)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("attnbench run --suite s", ["smoke", "scaling"]),
        ("attnbench run --suite smoke --case ", ["tiny-self", "tiny-grouped-causal"]),
        ("attnbench run --implementation torch/sdpa-f", ["torch/sdpa-flash"]),
        ("attnbench check --framework ke", ["keras_jax", "keras_torch"]),
        (f"attnbench show {BASELINE} --case ll", ["llama-prefill-512", "llama-decode-4096"]),
        ("attnbench show nowhere --case ", []),
        ("attnbench show x --sort me", ["median", "memory"]),
        ("attnbench sh", ["show"]),
    ],
)
def test_names_are_offered(line, some):
    """What starts so, and nothing else; a run that cannot be read offers nothing and says nothing."""
    assert offered(line) == some


def test_nothing_heavy_is_imported():
    """Offering implementations needs no framework, no pandas, no rich."""
    code = """
import sys
from benchmarks.cli import completion
import typer
class Context: params = {}
assert ("jax/nn") in [word for word, _ in completion.implementations(Context, "")]
assert completion.frameworks("torch")[0][0] == "torch"
print(*sorted({"torch", "jax", "tensorflow", "keras", "onnxruntime", "pandas", "rich"} & set(sys.modules)))
"""
    done = python(code)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_help_imports_no_more_than_it_needs():
    """The options and what completes them bring neither NumPy nor rich to --help."""
    code = """
import sys
sys.argv = ["attnbench", "--help"]
from benchmarks.cli import main
try:
    main()
except SystemExit:
    pass
print("imported:", *sorted({"numpy", "pandas", "rich", "backends", "jinja2", "altair"} & set(sys.modules)))
"""
    assert python(code).stdout.splitlines()[-1] == "imported:"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_shown(shell):
    """What --install-completion installs is for the command attnbench."""
    done = attnbench(environment={"_ATTNBENCH_COMPLETE": f"source_{shell}"})
    assert "attnbench" in done.stdout
    assert (ROOT / "pyproject.toml").read_text().count('attnbench = "benchmarks.cli:main"') == 1
