"""Large problems are answered in part: each part exactly, in its place, and what is wrong there is found."""

import dataclasses

import numpy as np
import pytest

from backends import accuracy, backward
from backends.accuracy import Roundoffs, judge_all, naive_error
from backends.parts import Part, drawn, parts_of
from backends.problem import Semantics, Shape
from benchmarks import inputs as seeded
from benchmarks import results
from benchmarks.cases import case
from benchmarks.harness import oracle
from benchmarks.reports.terminal import console, run_table
from tests.planted import record

CASES = (
    {"causal": "bottom_right", "mask": "heads", "bias": "full"},
    {"mask": "random", "bias": "random", "softcap": 3.0},
    {"kv_lengths": (9, 4), "window": (3, 1)},
    {"bias": "keys", "scale": -0.3},
)
SHAPE = {"B": 2, "T": 7, "S": 9, "N": 6, "K": 3, "H": 4, "V": 5}


def _names(expected):
    return {name.partition("@")[0] for name in expected}


@pytest.mark.parametrize("semantics", CASES, ids=" ".join)
@pytest.mark.parametrize("pass_", ["forward", "forward_backward"])
def test_the_parts_make_up_the_whole(semantics, pass_):
    problem = case("whole", "x", **SHAPE, **semantics, pass_=pass_)
    inputs = seeded.make(problem, 0)
    whole = backward.expect_all(inputs, problem.semantics)
    arrays = {name: (told.out, "float64") for name, told in whole.items()}
    for part in parts_of(inputs.shape):
        answers = backward.expect_all(part.of(inputs), problem.semantics)
        answers.pop("bias", None)
        placed = {part.named(name): part.place(name, told, inputs.shape) for name, told in answers.items()}
        assert _names(placed) == set(whole) - {"bias"}
        for name, told in placed.items():
            own = whole[name.partition("@")[0]]
            cut = tuple(slice(*bounds) for bounds in told.at)
            np.testing.assert_allclose(told.out, own.out[cut], rtol=1e-12, atol=1e-14)
            assert told.whole == own.out.shape
            for unit, coefficient in told.coefficients.items():
                np.testing.assert_allclose(coefficient, own.coefficients[unit][cut], rtol=1e-5, atol=1e-12)
        assert judge_all(arrays, "float64", placed, Roundoffs.of("float64")).correct


def _answered(monkeypatch, tmp_path, most=1, seed=0, **more):
    monkeypatch.setattr(oracle, "ANSWERED_SCORES", most)
    monkeypatch.setattr(oracle, "ANSWERED_BACKWARD", most)
    problem = case("large", "x", **{**SHAPE, "B": 3, **more})
    told = oracle.compute(problem, seed, tmp_path / "a.npz", only_expected=False)
    return problem, told, oracle.read(tmp_path / "a.npz")


def test_what_is_wrong_in_an_answered_head_is_found_and_told_in_its_place(monkeypatch, tmp_path):
    problem, told, expected = _answered(monkeypatch, tmp_path)
    assert (told["heads"], told["of_heads"], len(expected)) == (3, 9, 3)
    inputs = seeded.make(problem, 0)
    right = accuracy.expect(inputs, problem.semantics).out
    claims = Roundoffs.of("float32")
    assert judge_all({"output": (right, "float32")}, "float32", expected, claims).correct
    last = (2, 6, 5, 4)
    wrong = right.copy()
    wrong[last] += 1
    reason = judge_all({"output": (wrong, "float32")}, "float32", expected, claims).reason
    assert reason.startswith(f"1 of 70 outputs out of bound; first at (b,t,n,v)={last}")
    cut = right[:, :, :4]
    assert "have shape" in judge_all({"output": (cut, "float32")}, "float32", expected, claims).reason


def test_gradients_of_a_part_are_held_to_it(monkeypatch, tmp_path):
    problem, _, expected = _answered(monkeypatch, tmp_path, pass_="forward_backward")
    assert _names(expected) == {"output", "query", "key", "value"}
    inputs = seeded.make(problem, 0)
    right = {name: (told.out, "float32") for name, told in backward.expect_all(inputs, problem.semantics).items()}
    assert judge_all(right, "float32", expected, Roundoffs.of("float32")).correct
    wrong = right["key"][0].copy()
    wrong[0, 3, 0, 1] *= 1.01
    judged = judge_all({**right, "key": (wrong, "float32")}, "float32", expected, Roundoffs.of("float32"))
    assert "gradients of key out of bound; first at (b,s,k,h)=(0, 3, 0, 1)" in judged.reason


def test_a_bias_whose_gradient_is_wanted_is_answered_whole(monkeypatch, tmp_path):
    _, told, expected = _answered(monkeypatch, tmp_path, bias="random", pass_="forward_backward")
    assert told["heads"] == told["of_heads"] == 9
    assert set(expected) == {"output", "query", "key", "value", "bias"}


def test_the_textbooks_error_is_that_of_the_answered_heads(monkeypatch, tmp_path):
    problem, told, _ = _answered(monkeypatch, tmp_path, dtype="bfloat16")
    inputs = seeded.make(problem, 0)
    every = naive_error(inputs, problem.semantics, accuracy.expect(inputs, problem.semantics))
    assert 0 < told["naive_error"] <= every


def test_the_first_and_the_last_are_always_drawn_and_the_others_by_the_seed():
    shape = Shape(B=4, T=1, S=1, N=16, K=8, H=1, V=1)
    draws = [drawn(shape, 5, seed) for seed in range(8)]
    for parts in draws:
        assert len(set(parts)) == 5
        assert {Part(0, 0), Part(3, 7)} <= set(parts)
    assert len({tuple(parts) for parts in draws}) > 4
    assert drawn(shape, 5, 3) == draws[3]
    assert drawn(shape, 32, 0) == parts_of(shape)
    one = dataclasses.replace(shape, B=1, N=1, K=1)
    assert drawn(one, 3, 0) == [Part(0, 0)]


@pytest.mark.parametrize(
    ("changes", "forward", "causal", "backward"),
    [
        ({}, 16, 16, 4),
        ({"N": 32, "K": 32}, 16, 31, 4),
        ({"T": 1024, "S": 1024, "N": 64, "K": 64}, 64, 64, 64),
        ({"T": 16384, "S": 16384}, 3, 3, 3),
        ({"T": 65536, "S": 65536, "N": 1, "K": 1}, 1, 1, 1),
    ],
)
def test_only_large_problems_are_answered_in_part(changes, forward, causal, backward):
    """By the pairs that causal and windows leave."""
    shape = dataclasses.replace(Shape(B=1, T=4096, S=4096, N=16, K=16, H=64, V=64), **changes)
    assert oracle.heads_answered(shape, Semantics(), backward=False) == forward
    assert oracle.heads_answered(shape, Semantics("top_left"), backward=False) == causal
    assert oracle.heads_answered(shape, Semantics(), backward=True) == backward
    assert oracle.heads_answered(shape, Semantics(window=(127, 0)), backward=True) == shape.N


@pytest.mark.parametrize(
    ("told", "checked"),
    [({"heads": 3, "of_heads": 32}, "3 of 32 heads"), ({"heads": 32, "of_heads": 32}, ""), ({}, "")],
)
def test_a_row_says_what_was_checked(told, checked):
    """Journals from before say nothing, and then everything was."""
    assert results._checked(told) == checked
    screen = console()
    with screen.capture() as captured:
        screen.print(run_table([record(checked=checked)]))
    assert (f"(checked: {checked})" in captured.get()) == bool(checked)


def test_semantics_know_nothing_of_parts():
    problem = case("lengths", "x", **SHAPE, kv_lengths=(9, 4))
    inputs = seeded.make(problem, 0)
    own = Part(1, 2).of(inputs)
    assert own.kv_lengths.tolist() == [4]
    assert own.shape == Shape(B=1, T=7, S=9, N=2, K=1, H=4, V=5)
    assert Semantics() == problem.semantics
