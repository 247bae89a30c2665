"""The three lines under the table, and what holds BLAS back."""

from __future__ import annotations

from benchmarks.harness import handicap
from benchmarks.harness.state import State
from benchmarks.insights import three_lines
from benchmarks.records import Status
from tests.test_records import record


def timed(case, implementation, median, **rest):
    """A timed cell."""
    return record(
        case=case, framework=implementation.split("/")[0], implementation=implementation, median_s=median, **rest
    )


ROWS = [
    timed("a", "numpy/naive", 3.0),
    timed("a", "torch/fast", 1.0),
    timed("a", "jax/slow", 30.0),
    timed("b", "numpy/naive", 1.0),
    timed("b", "torch/fast", 1.5),
    timed("b", "jax/slow", 40.0),
    timed("a", "jax/only-once", 0.9),
]


def test_the_fastest_covers_the_most_cases():
    """An implementation that did one case only is not the fastest overall, however fast; wins are counted."""
    fastest, avoid, surprising = three_lines(ROWS, State())
    assert fastest == "Fastest overall: torch/fast, 1.29x the winner's time on average, best in 0 of 2 cases."
    assert avoid == "Avoid: jax/slow, 36.5x the winner's time on average, 40x on b."
    assert surprising.startswith("Surprising: nothing")


def test_a_wrong_answer_is_the_first_surprise():
    """Nothing is more worth telling."""
    wrong = record(implementation="jax/wrong", status=Status.INCORRECT, median_s=None, reason="got 1, expected 2")
    assert "jax/wrong gave wrong answers" in three_lines([*ROWS, wrong], State())[2]


def test_a_slow_matmul_is_told():
    """Frameworks whose float32 matmul is far behind are named, with both rates."""
    state = State(matmul_gflops={"float32": {"torch": 200.0, "jax": 405.0}})
    assert three_lines(ROWS, state)[2] == (
        "Surprising: torch's float32 matmul runs at 200 GFLOP/s, jax's at 405 on the same cores."
    )


def test_a_kernel_slower_than_naive_is_told():
    """A fused kernel that loses to the textbook form is a surprise."""
    slow = timed("a", "torch/fused", 3.0, speedup=0.1)
    assert "torch/fused takes 10.0x the time of torch's naive form on a" in three_lines([*ROWS, slow], State())[2]


def test_nothing_timed_is_said():
    """A run without a time says so."""
    assert three_lines([], State()) == ["Nothing was timed: no cell ended ok."]


def test_a_handicap_is_told_only_if_measured(monkeypatch):
    """A variable that halves the rate is found; one that changes nothing is not; others are not tried."""
    for name in list(handicap.steering_variables()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("XLA_FLAGS", "--none")

    def rate(environment):
        assert "XLA_FLAGS" in environment
        return 230.0 if "OPENBLAS_CORETYPE" in environment else 439.0

    monkeypatch.setattr(handicap, "_matmul_gflops", rate)
    found = handicap.find_handicaps()
    assert found == [{"variable": "OPENBLAS_CORETYPE=Haswell", "gflops": 230.0, "gflops_without": 439.0}]
    state = State(handicaps=found, matmul_gflops={"float32": {"torch": 200.0, "jax": 405.0}})
    assert three_lines(ROWS, state)[2] == (
        "Surprising: OPENBLAS_CORETYPE=Haswell in the environment holds NumPy's matmul at 230 GFLOP/s; without it: 439."
    )


def test_the_matmul_probe_measures():
    """The program that is run with and without a variable prints a rate."""
    import os

    assert handicap._matmul_gflops(dict(os.environ)) > 0
