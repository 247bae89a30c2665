"""Decoding through scaled_dot_product_attention: the heads that share keys are the rows of one."""

import pytest

from tests.helpers import hold, hold_gradients, make_problem, with_upstream

DECODE = {"T": 1, "S": 20, "dtype": "float32"}
IDS = ("torch/sdpa-flash", "torch/sdpa-math")


@pytest.fixture
def seen(needs, monkeypatch):
    """Shapes of the queries that reach torch's function, and whether it is asked to group heads."""
    torch = needs("torch").torch
    real, calls = torch.nn.functional.scaled_dot_product_attention, []

    def spy(query, *arguments, **options):
        calls.append((tuple(query.shape), options["enable_gqa"]))
        return real(query, *arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return calls


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"causal": "bottom_right"},
        {"kv_lengths": (20, 7)},
        {"mask": (2, 4, 1, 20)},
        {"mask": (20,)},
        {"bias": (4, 1, 20)},
        {"bias": (1, 4, 1, 1)},
        {"bias": (2, 1, 1, 20), "mask": (4, 1, 1), "hidden": 0.3},
        {"N": 6, "K": 1, "dtype": "bfloat16"},
    ],
    ids=str,
)
def test_heads_that_share_keys_are_rows(seen, id, asked):
    """Right, whatever is added to the scores, and torch groups nothing."""
    problem = make_problem(**{**DECODE, **asked})
    shape = problem.inputs.shape
    assert hold(id, problem) == "accepted"
    assert seen == [((shape.B, shape.K, shape.N // shape.K, shape.H), False)]


@pytest.mark.parametrize("id", IDS)
def test_gradients_go_through_the_rows(seen, id):
    """Of query, key and value."""
    assert hold_gradients(id, with_upstream(make_problem(**DECODE, mask=(2, 4, 1, 20)))) == "accepted"
    assert seen[0][0][1:3] == (2, 2)


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("asked", [{"causal": "top_left"}, {"T": 2}, {"K": 4}])
def test_other_problems_keep_their_heads(seen, id, asked):
    """A top-left diagonal shows a row more than the row before it; several queries have masks of their own."""
    problem = make_problem(**{**DECODE, **asked})
    assert hold(id, problem) == "accepted"
    assert seen[0][0][1:3] == (4, problem.inputs.shape.T)


@pytest.mark.parametrize(
    "asked",
    [
        {"causal": "bottom_right", "kv_lengths": (20, 7)},
        {"mask": (2, 4, 1, 20), "bias": (4, 1, 1), "hidden": 0.3},
        {"window": (3, 0), "causal": "bottom_right"},
    ],
    ids=str,
)
def test_flex_decodes_in_rows(needs, asked):
    """Right with a BlockMask and a score_mod of rows; a window keeps the heads."""
    needs("torch")
    assert hold("torch/flex", make_problem(**{**DECODE, **asked})) == "accepted"
