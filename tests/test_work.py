"""The work of a case, against a count of single pairs: what no query sees is not read, and what is written is written whole."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import inputs as seeded
from benchmarks.cases import case
from benchmarks.work import count

BYTES = {"float32": 4, "bfloat16": 2}


def sees(semantics, length, T, S, t, s):
    """Whether a query sees a key as far as no mask hides it, in the words of the standard."""
    diagonal = t + (S - T if semantics.causal == "bottom_right" else 0)
    left, right = semantics.window or (None, None)
    return (
        s < length
        and (semantics.causal is None or s <= diagonal)
        and (left is None or s >= diagonal - left)
        and (right is None or s <= diagonal + right)
    )


def counted(problem, arrays):
    """(flops, bytes) of a case, one pair after the other."""
    B, T, S, N, K, H, V = (getattr(problem.shape, letter) for letter in "BTSNKHV")
    four = {
        name: None if (a := getattr(arrays, name)) is None else a.reshape((1,) * (4 - a.ndim) + a.shape)
        for name in ("mask", "bias")
    }
    lengths = problem.kv_lengths or (S,) * B
    pairs, read = 0, {name: set() for name in ("query", "key", "mask", "bias")}
    for b, n, t, s in product(range(B), range(N), range(T), range(S)):
        if not sees(problem.semantics, lengths[b], T, S, t, s):
            continue
        place = {
            name: None
            if a is None
            else tuple(min(at, size - 1) for at, size in zip((b, n, t, s), a.shape, strict=True))
            for name, a in four.items()
        }
        read["mask"].add(place["mask"])
        if four["mask"] is not None and not four["mask"][place["mask"]]:
            continue
        pairs += 1
        read["bias"].add(place["bias"])
        read["query"].add((b, n, t))
        read["key"].add((b, n // (N // K), s))
    masks, biases = (len(read[name] - {None}) for name in ("mask", "bias"))
    numbers = len(read["query"]) * H + len(read["key"]) * (H + V) + biases + B * T * N * V
    if problem.backward:
        numbers += len(read["query"]) * V + B * T * N * H + B * S * K * (H + V)
        numbers += 0 if four["bias"] is None else four["bias"].size
    return (3 if problem.backward else 1) * 2 * (H + V) * pairs, BYTES[problem.dtype] * numbers + masks


@st.composite
def problems(draw):
    """Small ones, with all that hides keys."""
    B, T, S, K, group = (draw(st.integers(1, most)) for most in (3, 5, 6, 2, 2))
    count_or_open = st.none() | st.integers(0, 4)
    fields = {
        "causal": draw(st.sampled_from([None, "top_left", "bottom_right"])),
        "window": draw(st.none() | st.tuples(count_or_open, count_or_open)),
        "kv_lengths": draw(st.none() | st.tuples(*[st.integers(0, S)] * B)),
        "mask": draw(st.sampled_from([None, "random", "heads", "padding", "prefix", "documents"])),
        "bias": draw(st.sampled_from([None, "random", "full", "keys", "alibi"])),
        "dtype": draw(st.sampled_from(["float32", "bfloat16"])),
        "pass_": draw(st.sampled_from(["forward", "forward_backward"])),
    }
    return case("drawn", "here", B=B, T=T, S=S, N=K * group, K=K, H=3, V=2, **fields)


@given(problems())
def test_work_is_that_of_the_visible_pairs(problem):
    """Operations and bytes, with all that hides keys, in both passes."""
    arrays = seeded.make(problem, 0)
    work = count(problem, arrays)
    assert (work.flops, work.bytes) == counted(problem, arrays)


AXES = st.tuples(*[st.booleans()] * 4)


@given(problems(), AXES, AXES, st.integers(0, 99))
def test_masks_and_biases_of_any_shape(problem, of_mask, of_bias, seed):
    """What hides every key of a head, or of a query, too; arrays that are the same along any of the axes."""
    arrays = seeded.make(problem, 0)
    full = [getattr(problem.shape, letter) for letter in "BNTS"]
    masked, biased = ([size if own else 1 for size, own in zip(full, axes, strict=True)] for axes in (of_mask, of_bias))
    arrays.mask = np.random.default_rng(seed).random(masked) < seed / 99
    arrays.bias = np.zeros(biased, np.float32)
    work = count(problem, arrays)
    assert (work.flops, work.bytes) == counted(problem, arrays)


@pytest.mark.parametrize(
    ("fields", "queries", "keys"),
    [
        ({"T": 1, "S": 100}, 1, 100),
        ({"T": 1, "S": 100, "causal": "bottom_right", "window": (9, None)}, 1, 10),  # a decode sees ten keys
        ({"T": 4, "S": 100, "causal": "top_left"}, 4, 4),
        ({"T": 4, "S": 100, "causal": "bottom_right", "window": (9, 0)}, 4, 13),
        ({"T": 100, "S": 4, "causal": "bottom_right"}, 4, 4),  # 96 queries stand before the first key
        ({"T": 4, "S": 100, "kv_lengths": (60,)}, 4, 60),
        ({"T": 4, "S": 100, "kv_lengths": (0,)}, 0, 0),
        ({"T": 100, "S": 4, "window": (0, None)}, 4, 4),  # windows of the other 96 begin behind the last key
        ({"T": 300, "S": 300, "mask": "padding"}, 300, 200),  # a third of the keys
        ({"T": 300, "S": 300, "mask": "documents"}, 300, 300),  # each key is seen by a quarter of the queries
    ],
)
def test_rows_that_are_read(fields, queries, keys):
    """Of two heads each; the output is written whole, and forward and backward so are the gradients."""
    problem = case("rows", "here", N=2, H=8, V=4, **fields)
    T, S = problem.shape.T, problem.shape.S
    arrays = seeded.make(problem, 0)
    mask = 0 if arrays.mask is None else arrays.mask.size
    forward = 4 * 2 * (queries * 8 + keys * (8 + 4) + T * 4)
    assert count(problem, arrays).bytes == forward + mask
    both = case("rows", "here", N=2, H=8, V=4, pass_="forward_backward", **fields)
    written = 4 * 2 * (queries * 4 + T * 8 + S * (8 + 4))
    assert count(both, seeded.make(both, 0)).bytes == forward + written + mask


def test_keys_that_one_head_sees():
    """A key/value head is read where any query head of its group looks; no other head's is."""
    problem = case("heads", "here", T=2, S=10, N=4, K=2, H=8, V=4, mask="heads")
    arrays = seeded.make(problem, 0)
    arrays.mask = np.zeros((1, 4, 2, 10), bool)
    arrays.mask[0, 1, 0, :3] = arrays.mask[0, 0, 1, 2:5] = True  # both of the first group: keys 0 to 4
    assert count(problem, arrays).bytes == 4 * (2 * 8 + 5 * (8 + 4) + 2 * 4 * 4) + arrays.mask.size


def test_half_of_a_causal_bias_is_read():
    """Its gradient is written whole."""
    problem = case("alibi", "here", T=64, N=2, H=8, causal="top_left", bias="alibi")
    plain = case("alibi", "here", T=64, N=2, H=8, causal="top_left")
    triangle = 4 * 2 * (64 * 65 // 2)
    arrays = seeded.make(problem, 0)
    assert count(problem, arrays).bytes - count(plain, seeded.make(plain, 0)).bytes == triangle


def test_forward_and_backward_are_counted_by_two_conventions():
    """Three times the operations, exactly; three and a half times by convention."""
    fields = {"T": 5, "S": 7, "N": 4, "K": 2, "H": 8, "V": 4, "causal": "top_left"}
    one, both = (case("passes", "here", pass_=name, **fields) for name in ("forward", "forward_backward"))
    forward, backward = (count(problem, seeded.make(problem, 0)) for problem in (one, both))
    assert forward.flops == 2 * (8 + 4) * 4 * (5 * 6 // 2)
    assert forward.flops_conventional == 2 * (8 + 4) * 4 * 5 * 7 // 2
    assert backward.flops == 3 * forward.flops
    assert 2 * backward.flops_conventional == 7 * forward.flops_conventional
