"""Implementations that work tile by tile, with tiles so small that problems of a few rows have many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from backends import numpy_backend, numpy_blocked
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
    monkeypatch.setattr(numpy_blocked, "_has_fast_exp2", lambda: threads == 1)
    monkeypatch.setattr(numpy_blocked, "_SKINNY", 4)

    @settings(max_examples=25)
    @given(problems(dtypes=numpy_backend.DTYPES, longest=20))
    def holds(problem: Problem) -> None:
        assert hold("numpy/blocked", problem) != "refused"
        assert hold_gradients("numpy/blocked", with_upstream(problem)) != "refused"

    holds()


@pytest.mark.parametrize("asked", [{}, {"T": 1}, {"causal": "top_left"}, {"kv_lengths": (700, 1100)}])
def test_numpy_blocked_across_its_own_tiles(asked: dict[str, Any]) -> None:
    """The same with the tiles that it really has."""
    problem = make_problem(**{"T": 600, "S": 1100, "N": 2, "K": 1, "dtype": "float32", **asked})
    assert hold("numpy/blocked", problem) == "accepted"


@pytest.mark.parametrize("block", [1, 6, 13])
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems(dtypes=("float32", "bfloat16"), longest=20))
def test_jax_chunked_with_small_blocks(
    needs: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, block: int, problem: Problem
) -> None:
    """Blocks of any size, with and without a rest, are right on any problem."""
    monkeypatch.setattr(needs("jax"), "_block", lambda T, S: max(1, min(S, block)))
    assert hold("jax/chunked", problem) != "refused"


@pytest.mark.parametrize(
    "asked", [{}, {"causal": "bottom_right"}, {"bias": (2, 1, 3000), "mask": (3000,), "hidden": 0.5}]
)
def test_jax_chunked_across_its_own_blocks(needs: Callable[[str], Any], asked: dict[str, Any]) -> None:
    """The same with the blocks that it really has: ten whole ones and a rest."""
    jax = needs("jax")
    problem = make_problem(**{"B": 1, "T": 3900, "S": 3000, "N": 2, "K": 1, "H": 4, "dtype": "float32", **asked})
    assert 3000 // jax._block(3900, 3000) > 1
    assert 3000 % jax._block(3900, 3000)
    assert hold("jax/chunked", problem) == "accepted"
