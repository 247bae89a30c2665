"""Which variables are tried for which framework, and what is concluded from planted rates."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import suites
from benchmarks.harness import handicap
from benchmarks.harness.handicap import find_handicaps, handicaps, matmul_gflops, steering_matmul
from benchmarks.harness.steering import steering_variables
from benchmarks.plan import Plan
from tests.processes import ROOT, TINY, attnbench


class Planted:
    """A machine whose matmul is slowed down by the variables that are left: name -> factor, the lowest one rules."""

    def __init__(self, names, factors, together=1.0):
        self.names, self.factors, self.together = names, factors, together
        self.calls = 0

    def __call__(self, cleared):
        """GFLOP/s."""
        self.calls += 1
        left = [name for name in self.names if name not in cleared]
        everything = self.together if left == list(self.names) else 1.0
        return 400.0 * min([everything, *(self.factors.get(name, 1.0) for name in left)])


@pytest.mark.parametrize(
    ("factors", "guilty"),
    [
        ({}, []),
        ({"B": 0.9}, []),
        ({"B": 0.5}, ["B"]),
        # Either would stay unseen if only the other were left out.
        ({"A": 0.5, "B": 0.5}, ["A", "B"]),
        ({"A": 0.3, "B": 0.6, "C": 0.9}, ["A", "B"]),
    ],
)
def test_who_is_guilty(factors, guilty):
    """Each variable that by itself holds the rate back, with its own factor; nobody else."""
    machine = Planted("ABC", factors)
    found = find_handicaps(("A", "B", "C"), machine)
    assert [names for names, _, _ in found] == [(name,) for name in guilty]
    assert [rate / free for _, rate, free in found] == [factors[name] for name in guilty]
    assert machine.calls == (2 if not guilty else machine.calls)


def test_what_only_hurts_together_is_told_together():
    """No variable alone explains the loss."""
    assert find_handicaps(("A", "B"), Planted("AB", {}, together=0.5)) == [(("A", "B"), 200.0, 400.0)]


SHARES = st.integers(1, 128).map(lambda n: n / 128)  # exact, and never at the threshold


@given(factors=st.dictionaries(st.sampled_from("ABCDEFGHIJ"), SHARES, min_size=1), together=SHARES)
def test_the_trials_are_bounded(factors, together):
    """However many variables are set, and whatever they do; and what is told is a loss."""
    names = tuple(sorted(factors))
    machine = Planted("".join(names), factors, together)
    found = find_handicaps(names, machine)
    assert machine.calls <= 4 + 2 * handicap._ALONE
    assert all(rate / free < handicap._TOLD_FROM for _, rate, free in found)
    assert bool(found) == (min(together, *factors.values()) < handicap._TOLD_FROM)


def test_a_rate_that_was_disturbed_once_accuses_nobody():
    """What is told is measured twice, and the better rate counts."""
    rates = iter([400.0, 100.0, 400.0, 390.0])
    assert find_handicaps(("A",), lambda cleared: next(rates)) == []
    assert next(rates, None) is None


@pytest.mark.parametrize("fails", [("A",), ()])
def test_what_cannot_be_measured_is_not_claimed(fails):
    """A worker that does not start without a variable, or with it, proves nothing."""
    assert find_handicaps(("A",), lambda cleared: None if cleared == fails else 100.0) == []


@pytest.mark.parametrize(
    ("framework", "tried"),
    [
        ("numpy", ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE")),
        ("torch", ("ATEN_CPU_CAPABILITY", "MKL_NUM_THREADS", "OMP_NUM_THREADS")),
        ("jax", ("XLA_FLAGS",)),
        ("tf_keras", ("TF_ENABLE_ONEDNN_OPTS",)),
        ("onnxruntime", ("OMP_NUM_THREADS",)),
        ("of-the-future", ()),
    ],
)
def test_what_is_tried(framework, tried):
    """Variables that the framework may heed; no logs, no devices."""
    names = ("ATEN_CPU_CAPABILITY", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "MKL_NUM_THREADS", "OMP_NUM_THREADS",
             "OPENBLAS_CORETYPE", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS")  # fmt: skip
    assert steering_matmul(framework, names) == tried


@pytest.fixture
def rates(monkeypatch):
    """A bare environment, and planted rates in it: (framework, cleared) of each measurement; Haswell halves NumPy's."""
    asked = []
    for name in steering_variables():
        monkeypatch.delenv(name)

    def planted(plan, framework, cleared, folder):
        asked.append((framework, cleared))
        return 400.0 if "OPENBLAS_CORETYPE" in cleared else 200.0

    monkeypatch.setattr(handicap, "matmul_gflops", planted)
    return asked


def plan(**fields):
    """A plan of one case."""
    return Plan(suite="smoke", cases=suites.load("smoke")[:1], implementations=("numpy/naive",), **fields)


def test_nothing_set_nothing_tried(rates):
    """The usual run pays nothing."""
    assert list(handicaps(plan(), ["numpy", "jax", "torch"], Path())) == []
    assert rates == []


def test_what_is_set_is_tried_and_told(rates, monkeypatch):
    """Only in frameworks that heed it: the others start no process."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    trying, found, tried = handicaps(plan(), ["numpy", "jax", "torch"], Path())
    about = {"framework": "numpy", "variables": ["OPENBLAS_CORETYPE"]}
    assert trying == {"event": "trying", **about}
    told = {"framework": "numpy", "variable": "OPENBLAS_CORETYPE=Haswell", "gflops": 200.0, "gflops_without": 400.0}
    assert found == {"event": "handicap", **told}
    assert tried == {"event": "tried", **about, "seconds": tried["seconds"]}
    assert {framework for framework, _ in rates} == {"numpy"}


@pytest.mark.parametrize(
    "fields",
    [
        {"neutral": True},
        {"variables": (("OPENBLAS_CORETYPE", "Haswell"),)},
        {"neutral": True, "variables": (("OPENBLAS_CORETYPE", "Haswell"),)},
        {"device": "cuda"},
    ],
)
def test_what_the_workers_do_not_have_or_the_user_wished_is_not_tried(rates, monkeypatch, fields):
    """Cleared, set on purpose, or of no concern to the device."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert list(handicaps(plan(**fields), ["numpy"], Path())) == []
    assert rates == []


def test_keras_computes_with_its_host(rates, monkeypatch):
    """keras_jax and jax are tried once."""
    monkeypatch.setenv("XLA_FLAGS", "--none")
    events = list(handicaps(plan(), ["jax", "keras_jax"], Path()))
    assert [e["framework"] for e in events] == ["jax", "jax"]
    assert rates == [("jax", ("XLA_FLAGS",)), ("jax", ())]


PLANTED = """
from benchmarks.harness import handicap
handicap.matmul_gflops = lambda plan, framework, cleared, folder: 400.0 if "OPENBLAS_PLANTED" in cleared else 208.0
"""


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_handicap_reaches_its_reader(tmp_path, quiet):
    """On stderr, under the table whether or not that was silenced, when the run is shown again, and in environment.json."""
    (tmp_path / "sitecustomize.py").write_text(PLANTED)
    words = (
        *TINY,
        "--processes",
        "1",
        "--blocks",
        "1",
    )
    planted = {"OPENBLAS_PLANTED": "1", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    run = attnbench("run", *words, *quiet, "--out", tmp_path / "run", environment=planted)
    assert run.returncode == 0, run.stderr
    line = (
        "handicap: OPENBLAS_PLANTED=1: NumPy's matmul at 0.52 of what this processor does (208 of 400 GFLOP/s); "
        "--env neutral does without"
    )
    assert (line in run.stderr) == (not quiet)
    for printed in (run.stdout, attnbench("show", tmp_path / "run").stdout):
        assert line in " ".join(printed.split())
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["handicaps"] == [
        {"framework": "numpy", "variable": "OPENBLAS_PLANTED=1", "gflops": 208.0, "gflops_without": 400.0}
    ]
    assert "OPENBLAS_PLANTED=1" in (tmp_path / "run" / "report.html").read_text()


def test_the_measurement_measures(tmp_path):
    """A fresh worker gives a rate; one that does not start gives none."""
    assert matmul_gflops(plan(), "numpy", (), tmp_path) > 0
    assert matmul_gflops(plan(), "nonsense", (), tmp_path) is None
    assert matmul_gflops(plan(variables=(("PYTHONHOME", "/nowhere"),)), "numpy", (), tmp_path) is None
