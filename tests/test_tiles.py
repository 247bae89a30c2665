"""Implementations that work tile by tile, with tiles so small that problems of a few rows have many."""

from __future__ import annotations

import functools
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from backends import jax_chunked, numpy_backend, numpy_blocked, numpy_products, numpy_threads, tf_chunked
from backends.interface import Asked
from backends.problem import Semantics
from benchmarks.cases import case
from tests.helpers import Problem, hold, hold_gradients, implementation, make_problem, problems, with_upstream


@pytest.mark.parametrize(("query_tile", "key_tile"), [(1, 1), (4, 3), (7, 64), (64, 7)])
@pytest.mark.parametrize("threads", [1, 3])
def test_numpy_blocked_with_small_tiles(
    monkeypatch: pytest.MonkeyPatch, query_tile: int, key_tile: int, threads: int
) -> None:
    """Tiles of any size, on one thread or several, are right on any problem."""
    monkeypatch.setattr(numpy_blocked, "ROWS", query_tile)
    monkeypatch.setattr(numpy_blocked, "KEYS", key_tile)
    monkeypatch.setattr(numpy_blocked, "threads", lambda: threads)
    monkeypatch.setattr(numpy_blocked, "_WORTH_THREADS", 0)
    monkeypatch.setattr(numpy_blocked, "_WHOLE", 0)
    monkeypatch.setattr(numpy_blocked, "_WHOLE_WITH_EXP2", 0)
    monkeypatch.setattr(numpy_blocked, "_has_fast_exp2", lambda: threads == 1)
    monkeypatch.setattr(numpy_blocked, "FEW_ROWS", 4)
    monkeypatch.setattr(numpy_products, "FEW_ROWS", 4)
    monkeypatch.setattr(numpy_products, "_PIECE", 3)
    for module in (numpy_blocked, numpy_products):
        monkeypatch.setattr(module, "copies_pieces", lambda: query_tile == 4)
    monkeypatch.setattr(
        numpy_products, "threads", lambda: threads
    )  # with one, rows go one by one where pieces are copied
    monkeypatch.setattr(numpy_blocked, "_STEP", 2)

    @settings(max_examples=25)
    @given(problems(dtypes=numpy_backend.DTYPES, longest=20))
    def holds(problem: Problem) -> None:
        assert hold("numpy/blocked", problem) != "refused"
        assert hold_gradients("numpy/blocked", with_upstream(problem)) != "refused"

    holds()


@pytest.mark.parametrize(
    ("changed", "whole", "whole_with_exp2"),
    [
        ({}, True, False),
        ({"T": 128, "S": 128}, True, True),
        ({"T": 128, "S": 129}, True, False),
        ({"T": 1}, False, False),
        ({"T": 1100, "S": 1100}, False, False),
        ({"T": 64, "S": 64, "causal": "top_left"}, False, False),
        ({"causal": "top_left"}, False, False),
        ({"window": (700, None)}, False, False),
        ({"kv_lengths": (200, 100)}, False, False),
        ({"softcap": 5.0}, False, False),
    ],
)
def test_small_plain_problems_go_whole_where_tiles_bring_nothing(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], whole: bool, whole_with_exp2: bool
) -> None:
    """Anything else that is asked for keeps to the tiles, so that small questions are asked of them."""
    problem = make_problem(**{"B": 2, "T": 200, "S": 200, "N": 2, "K": 1, "dtype": "float32", **changed})
    query, key = (np.swapaxes(array, 1, 2) for array in (problem.inputs.query, problem.inputs.key))
    semantics = problem.semantics
    asked = Asked(
        causal=semantics.causal,
        window=semantics.window,
        softcap=semantics.softcap,
        kv_lengths=problem.inputs.kv_lengths,
    )
    for fast, expected in ((False, whole), (True, whole_with_exp2)):
        monkeypatch.setattr(numpy_blocked, "_has_fast_exp2", lambda fast=fast: fast)
        assert numpy_blocked.goes_whole(query, key, asked) == expected


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"T": 1},
        {"causal": "top_left"},
        {"causal": "bottom_right", "K": 2, "window": (700, None)},
        {"causal": "top_left", "K": 2, "T": 1600, "S": 1600},
        {"kv_lengths": (700, 1100)},
    ],
)
def test_numpy_blocked_across_its_own_tiles(asked: dict[str, Any]) -> None:
    """The same with the tiles that it really has."""
    problem = make_problem(**{"T": 600, "S": 1100, "N": 2, "K": 1, "dtype": "float32", **asked})
    assert hold("numpy/blocked", problem) == "accepted"


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"causal": "bottom_right"},
        {"T": 3, "N": 6, "K": 2},
        {"kv_lengths": (900, 1100, 0)},
        {"mask": (3, 1, 1, 1100)},
    ],
)
def test_numpy_blocked_decodes_for_several_users(asked: dict[str, Any]) -> None:
    """Together where all see all of their keys, and one by one elsewhere."""
    problem = make_problem(**{"B": 3, "T": 1, "S": 1100, "N": 8, "K": 4, "V": 24, "dtype": "float32", **asked})
    assert hold("numpy/blocked", problem) == "accepted"


def scores_of(monkeypatch: pytest.MonkeyPatch, T: int, **asked: Any) -> int:
    """How many scores numpy/blocked computes, on one head, forward."""
    counted = []
    real = numpy_blocked.product

    def product(query: np.ndarray, key: np.ndarray, out: np.ndarray) -> np.ndarray:
        counted.append(out.size)
        return real(query, key, out)

    with monkeypatch.context() as patch:
        patch.setattr(numpy_blocked, "product", product)
        array = np.ones((1, 1, T, 2), np.float32)
        numpy_blocked.Walk.through(array, array, array, Asked(**asked))
    return sum(counted)


def test_numpy_blocked_skips_what_causal_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4096 x 4096 scores it computes half, and as many more as the edges of its pieces hold."""
    assert scores_of(monkeypatch, 4096) == 4096**2
    for causal in ("top_left", "bottom_right"):
        assert 0.5 * 4096**2 <= scores_of(monkeypatch, 4096, causal=causal) <= 0.54 * 4096**2


@pytest.mark.parametrize("window", [(127, 0), (64, 64), (1000, 0)])
def test_a_window_costs_numpy_blocked_in_proportion_to_the_rows(
    monkeypatch: pytest.MonkeyPatch, window: tuple[int, int]
) -> None:
    """Twice the rows, twice the scores, to one tile; and no more than thrice of what is seen."""
    seen = sum(window) + 1
    some, twice = (scores_of(monkeypatch, T, window=window) for T in (4096, 8192))
    assert abs(twice - 2 * some) <= numpy_blocked.ROWS * (seen + numpy_blocked.KEYS)
    assert twice <= 3 * 8192 * seen


@pytest.mark.parametrize(("backward", "asked"), [(False, {}), (True, {"window": (1000, 0)})])
def test_numpy_blocked_holds_little_there_and_back(
    monkeypatch: pytest.MonkeyPatch, backward: bool, asked: dict[str, Any]
) -> None:
    """At T=S=32768 within 64 MiB, as Python's own account of NumPy's arrays has it, where the scores are 4 GiB."""
    array = np.random.default_rng(0).standard_normal((1, 1, 32768, 64), np.float32)
    blocked = implementation("numpy/blocked")
    function, arrays = (blocked.gradient, [array] * 4) if backward else (blocked.function, [array] * 3)
    assert function is not None
    monkeypatch.setattr(numpy_threads, "_OWN", threading.local())  # what earlier calls have kept would not count
    tracemalloc.start()
    try:
        returned = function(*arrays, **asked)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    outputs = sum(a.nbytes for a in (returned if isinstance(returned, tuple) else (returned,)) if a is not None)
    assert outputs <= held <= outputs + (64 << 20)


@pytest.mark.parametrize("block", [(1, 2), (6, 4), (13, 64)])
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems(dtypes=("float32", "bfloat16"), longest=20))
def test_jax_chunked_with_small_blocks(
    needs: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, block: tuple[int, int], problem: Problem
) -> None:
    """Blocks of any size, with and without a rest, are right on any problem, and so are their gradients."""
    needs("jax")
    monkeypatch.setattr(jax_chunked, "sizes", lambda T, S, asked: (max(1, min(T, block[0])), max(1, min(S, block[1]))))
    assert hold("jax/chunked", problem) != "refused"
    assert hold_gradients("jax/chunked", with_upstream(problem)) != "refused"


@pytest.mark.parametrize(
    "asked", [{}, {"causal": "bottom_right"}, {"bias": (2, 1, 3000), "mask": (3000,), "hidden": 0.5}]
)
def test_jax_chunked_across_its_own_blocks(needs: Callable[[str], Any], asked: dict[str, Any]) -> None:
    """The same with the blocks that it really has: several whole ones and a rest, of queries and of keys."""
    needs("jax")
    problem = make_problem(**{"B": 1, "T": 4100, "S": 3000, "N": 2, "K": 1, "H": 4, "dtype": "float32", **asked})
    rows, keys = jax_chunked.sizes(4100, 3000, Asked(causal=asked.get("causal")))
    assert 4100 // rows > 1
    assert 4100 % rows
    assert 3000 // keys > 1
    assert 3000 % keys
    assert hold("jax/chunked", problem) == "accepted"


@pytest.mark.parametrize("asked", [{}, {"causal": "top_left"}, {"causal": "bottom_right", "window": (300, 0)}])
def test_jax_chunked_holds_little_there_and_back(needs: Callable[[str], Any], asked: dict[str, Any]) -> None:
    """XLA's own account of one compiled call: 32768 queries and keys within 256 MiB, where their scores are 4 GiB."""
    jax = needs("jax")
    import jax as framework

    semantics = Semantics(causal=asked.get("causal"), window=asked.get("window"))
    function = functools.partial(jax_chunked.chunked, **semantics.as_arguments())
    both = jax.differentiate(function, "jit", ("query", "key", "value"))
    array = framework.ShapeDtypeStruct((1, 1, 32768, 64), "float32")
    for call, arrays in ((jax.compile(function, "jit"), [array] * 3), (both, [array] * 4)):
        held = call.lower(*arrays).compile().memory_analysis().temp_size_in_bytes
        assert held < 256 << 20


@pytest.mark.parametrize("rows", [1, 4, 7])
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems(dtypes=("float64", "float32", "bfloat16"), longest=20))
def test_tf_chunked_with_small_chunks(
    needs: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, rows: int, problem: Problem
) -> None:
    """Chunks of any size, with and without a rest, are right on any problem, and so are their gradients."""
    needs("tf_keras")
    monkeypatch.setattr(tf_chunked, "rows_of", lambda B, N, T, S: max(1, min(T, rows)))
    assert hold("tf_keras/chunked", problem) != "refused"
    assert hold_gradients("tf_keras/chunked", with_upstream(problem)) != "refused"


@pytest.mark.parametrize(
    "asked", [{"window": (200, 0)}, {"causal": "bottom_right"}, {"bias": (2, 1, 3000), "mask": (3000,), "hidden": 0.5}]
)
def test_tf_chunked_across_its_own_chunks(needs: Callable[[str], Any], asked: dict[str, Any]) -> None:
    """The same with the chunks that it really has: several whole ones and a rest."""
    needs("tf_keras")
    problem = make_problem(**{"B": 1, "T": 1500, "S": 3000, "N": 2, "K": 1, "H": 4, "dtype": "float32", **asked})
    rows = tf_chunked.rows_of(1, 2, 1500, 3000)
    assert 1500 // rows > 1
    assert 1500 % rows
    assert hold("tf_keras/chunked", problem) == "accepted"
    assert hold_gradients("tf_keras/chunked", with_upstream(problem)) == "accepted"


@pytest.mark.parametrize("backward", [False, True])
def test_tf_chunked_holds_little_there_and_back(needs: Callable[[str], Any], backward: bool) -> None:
    """A call at T=S=8192 raises the process by less than the 256 MiB that one matrix of its scores takes; three or more
    matrices are what the textbook form holds.
    """
    needs("tf_keras")
    from tests.test_room import measured_bytes

    long = case("long", "s", T=8192, N=1, pass_="forward_backward" if backward else "forward")
    held = measured_bytes("tf_keras/chunked", long)
    assert held is not None
    assert held < 192 << 20
