"""Worth compiling after n calls: planted times give planted answers."""

from __future__ import annotations

import dataclasses

import pytest

from backends import registry
from benchmarks.compiling import Payback, calls_until_paid, paybacks, twins
from benchmarks.records import from_csv
from benchmarks.reports.footer import paid_words
from tests.processes import attnbench
from tests.test_records import record

TWIN = {"torch/c": "torch/e"}


def cell(implementation, first, median, case="a", spread=0.01):
    """A timed cell whose interval is as wide as `spread` to each side."""
    interval = {"ci_low_s": median * (1 - spread), "ci_high_s": median * (1 + spread)}
    return record(case=case, implementation=implementation, first_call_s=first, median_s=median, **interval)


def test_the_twins_are_the_same_functions():
    """Found from the registry alone: no framework is imported for it."""
    found = twins(registry.implementations())
    assert found["torch/naive-compile"] == "torch/naive"
    assert found["jax/naive-jit"] == "jax/naive"
    assert found["tf_keras/attention-xla"] == found["tf_keras/attention-function"] == "tf_keras/attention"
    assert "jax/chunked" not in found  # it exists compiled only
    assert not set(found) & set(found.values())


@pytest.mark.parametrize(
    ("compiled", "eager", "calls"),
    [
        ((10.0, 0.1), (1.0, 1.0), 10),
        ((10.05, 0.1), (1.0, 1.0), 11),  # nine and a bit over 0.9: after the tenth it is still behind
        ((1.0, 0.1), (2.0, 1.0), 0),  # its first call is the faster one already
        ((10.0, 1.0), (1.0, 0.1), None),  # slower
        ((10.0, 0.999), (1.0, 1.0), None),  # faster by less than the intervals know
    ],
)
def test_calls_until_paid(compiled, eager, calls):
    """(first compiled - first eager) / (median eager - median compiled), rounded up; never where it is not faster."""
    assert calls_until_paid(cell("torch/c", *compiled), cell("torch/e", *eager)) == calls


def test_paybacks_need_both():
    """A case that one of them did not do, or without a first call, tells nothing."""
    rows = [cell("torch/c", 10.0, 0.1), cell("torch/e", 1.0, 1.0), cell("torch/c", 10.0, 0.1, case="b")]
    rows += [cell("torch/c", None, 0.1, case="c"), cell("torch/e", 1.0, 1.0, case="c"), cell("torch/x", 1.0, 1.0)]
    assert paybacks(rows, TWIN) == [Payback("torch/c", "torch/e", {"a": 10})]


def test_code_from_the_disk_is_told():
    """A first call that found compiled code is not what compiling costs: the sentence says in how many cases it was so."""
    rows = [cell("torch/e", 1.0, 1.0), dataclasses.replace(cell("torch/c", 10.0, 0.1), first_call_cache="hit")]
    rows += [cell("torch/e", 1.0, 1.0, case="b"), cell("torch/c", 10.0, 0.1, case="b")]
    (found,) = paybacks(rows, TWIN)
    assert found.cached == 1
    assert paid_words(found).endswith("worth compiling after 10 calls (2 cases; its code came from the disk in 1)")


@pytest.mark.slow
def test_the_second_run_finds_compiled_code(tmp_path):
    """The first fills PyTorch's cache, in whose second process code is found, which is not told: the first one counts."""
    words = ("--shape", "t=8 n=1 h=4", "--implementation", "torch/naive-compile", "--blocks", "1", "--processes", "2")
    told = []
    for name in ("a", "b"):
        cache = ("--env", f"TORCHINDUCTOR_CACHE_DIR={tmp_path / 'cache'}")
        result = attnbench("run", *words, *cache, "--quiet", "--out", tmp_path / name)
        assert result.returncode == 0, result.stderr
        told += [row.first_call_cache for row in from_csv((tmp_path / name / "summary.csv").read_bytes(), "it")]
    assert told == ["", "hit"]
