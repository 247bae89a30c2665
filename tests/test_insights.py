"""The three lines under the table."""

from __future__ import annotations

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
        "Surprising: torch's float32 matmul runs at 200 GFLOP/s, jax's at 405 on the same machine."
    )


def test_a_kernel_slower_than_naive_is_told():
    """A fused kernel that loses to the textbook form is a surprise."""
    slow = timed("a", "torch/fused", 3.0, speedup=0.1)
    assert "torch/fused takes 10.0x the time of torch's naive form on a" in three_lines([*ROWS, slow], State())[2]


def test_nothing_timed_is_said():
    """A run without a time says so."""
    assert three_lines([], State()) == ["Nothing was timed: no cell ended ok."]


def test_a_handicap_is_told_with_its_factor():
    """It outweighs the matmul rates; a journal from before frameworks were tried tells of NumPy's."""
    rates = {"gflops": 230.0, "gflops_without": 439.0}
    state = State(matmul_gflops={"float32": {"torch": 200.0, "jax": 405.0}})
    for framework in ({}, {"framework": "numpy"}):
        state.apply({"event": "handicap", "variable": "OPENBLAS_CORETYPE=Haswell", **framework, **rates})
        assert three_lines(ROWS, state)[2] == (
            "Surprising: OPENBLAS_CORETYPE=Haswell: NumPy's matmul at 0.52 of what this processor does "
            "(230 of 439 GFLOP/s)."
        )


def test_a_handicap_that_is_found_again_is_one():
    """A run that is resumed in its first process tries again; what it finds then counts."""
    state = State()
    for framework, gflops in (("numpy", 1.0), ("torch", 2.0), ("numpy", 3.0)):
        rates = {"gflops": gflops, "gflops_without": 9.0}
        state.apply({"event": "handicap", "framework": framework, "variable": "OMP_NUM_THREADS=1", **rates})
    assert [(h["framework"], h["gflops"]) for h in state.handicaps] == [("torch", 2.0), ("numpy", 3.0)]
