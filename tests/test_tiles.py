"""Implementations that work tile by tile, with tiles so small that problems of a few rows have many."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from backends import jax_chunked, numpy_backend, numpy_blocked, numpy_products, tf_chunked
from backends.interface import Asked
from backends.problem import Semantics
from tests.helpers import Problem, hold, hold_gradients, make_problem, problems, with_upstream


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
    problem = make_problem(**{"B": 1, "T": 900, "S": 3000, "N": 2, "K": 1, "H": 4, "dtype": "float32", **asked})
    rows = tf_chunked.rows_of(1, 2, 900, 3000)
    assert 900 // rows > 1
    assert 900 % rows
    assert hold("tf_keras/chunked", problem) == "accepted"
    assert hold_gradients("tf_keras/chunked", with_upstream(problem)) == "accepted"
