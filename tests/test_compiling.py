"""Worth compiling after n calls: planted times give planted answers."""

from __future__ import annotations

import pytest

from backends import registry
from benchmarks.compiling import Payback, calls_until_paid, paybacks, twins
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
