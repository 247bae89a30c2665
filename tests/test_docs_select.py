"""docs/from-select-to-attention.md: what it shows is what is printed, what it claims holds for every implementation."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backends
from backends import accuracy, execution, registry
from backends.validation import validate
from tests.documents import FENCE, blocks, differences

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "from-select-to-attention.md"
PICTURES = ROOT / "docs" / "images"
DRAWN = sorted(path for path in PICTURES.glob("*.png") if not path.name.startswith("report-"))
"""What make.py draws; the pictures of the report are screenshots."""


# The document: its blocks run, and print what stands below them.


def skip_unless_installed(framework: str) -> None:
    if registry.installed_version(framework) is None:
        pytest.skip(f"{framework} is not installed")


@pytest.mark.parametrize("tag", ["numpy", "tf_keras", "jax", "torch"])
def test_the_document_shows_what_its_blocks_print(tag):
    """Every block runs without a warning and prints exactly the text below it."""
    skip_unless_installed(tag)
    assert not differences(DOCUMENT.read_text("utf-8"), tag, DOCUMENT.name)


def test_every_block_is_run_by_a_test():
    """No python block without a tag that a test runs, and no text block that belongs to none of them."""
    document = DOCUMENT.read_text("utf-8")
    assert {block.tag for block in blocks(document)} == {"numpy", "tf_keras", "jax", "torch"}
    shown = sum(bool(block.shown) for block in blocks(document))
    assert shown == sum(fence["info"] == "text" for fence in FENCE.finditer(document))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("result: [ 9. 93.]", "result: [ 9. 94.]"),
        ("score:  [0. 0. 0. 1. 0. 0.]\n", ""),
        ("```text\n(2, 3, 4, 5)\n```\n", ""),
    ],
    ids=["wrong number", "missing line", "missing output"],
)
def test_an_altered_document_is_caught(right, wrong):
    """A number, a line or a whole output that is not what the block prints is told, with its place, and nothing else is."""
    document = DOCUMENT.read_text("utf-8")
    altered = document.replace(right, wrong, 1)
    assert altered != document
    (told,) = differences(altered, "numpy", DOCUMENT.name)
    assert right.removeprefix("```text\n").removesuffix("```\n") in told


def test_a_block_that_fails_or_warns_is_caught():
    """An exception and a warning both fail the process, with the document's own line."""
    for statement in ("1 / 0", "import warnings; warnings.warn('old')"):
        with pytest.raises(AssertionError, match=rf'"{DOCUMENT.name}", line 3\b'):
            differences(f"words\n```python numpy\n{statement}\n```\n", "numpy", DOCUMENT.name)


def test_the_frameworks_print_the_same_numbers():
    """Weights and result of the hand-written function, and the ready-made call, are the same text in every framework."""
    document = DOCUMENT.read_text("utf-8")
    in_numpy = next(b.shown for b in blocks(document) if "attention(wish, taste, values, H**-0.5)" in b.source)
    result = in_numpy.splitlines()[1] + "\n"
    for tag in ("tf_keras", "jax", "torch"):
        first = next(block for block in blocks(document) if block.tag == tag)
        assert first.shown == in_numpy + result


# The claim: attention on one-hot keys approaches the select, in every implementation.

SCALES = (1.0, 4.0, 16.0, 64.0)
SIZES = ((2, 4, 6, 2, 8), (1, 3, 5, 1, 5), (1, 1, 2, 3, 4), (1, 2, 1, 1, 1))
"""B, T, S, N (= K) and H (= V), with S at most H. Few, because JAX compiles each operation anew for each shape."""


@dataclass(frozen=True, slots=True)
class Tables:
    """B x N tables with one-hot keys, and T queries for each that match one of its keys."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    scale: float


@st.composite
def tables(draw, sizes, scales):
    """Tables of drawn contents; `sizes` draws B, T, S, N and H, with S at most H."""
    B, T, S, N, H = draw(sizes)
    one_hot = np.eye(H, dtype=np.float32)
    order = draw(st.lists(st.permutations(range(H)), min_size=B * N, max_size=B * N))
    key = one_hot[np.array(order).reshape(B, N, H)[:, :, :S].swapaxes(1, 2)]
    asked = draw(hnp.arrays(np.int64, (B, T, N, 1), elements=st.integers(0, S - 1)))
    # Values as long as keys are: not every implementation takes V != H. And none so small that a weight times a value is
    # subnormal: TensorFlow and JAX make zero of it.
    value = draw(hnp.arrays(np.int64, (B, S, N, H), elements=st.integers(-(2**17), 2**17))) / 2**10
    return Tables(np.take_along_axis(key, asked, axis=1), key, value.astype(np.float32), draw(scales))


def selected(drawn: Tables) -> np.ndarray:
    """backends.select in each table."""
    out = np.empty((*drawn.query.shape[:3], drawn.value.shape[3]))
    for b, n in np.ndindex(out.shape[0], out.shape[2]):
        out[b, :, n] = backends.select(drawn.query[b, :, n], drawn.key[b, :, n], drawn.value[b, :, n])
    return out


def allowed(drawn: Tables, roundoffs: accuracy.Roundoffs) -> np.ndarray:
    """(S-1) exp(-scale) times the spread of each table's values, and the rounding error that is declared."""
    S = drawn.key.shape[1]
    spread = (drawn.value.max(axis=(1, 3)) - drawn.value.min(axis=(1, 3))).astype(np.float64)
    inputs = validate(drawn.query, drawn.key, drawn.value)
    rounding = accuracy.expect(inputs, backends.Semantics(scale=drawn.scale)).bound(roundoffs)
    return (S - 1) * math.exp(-drawn.scale) * spread[:, None, :, None] + rounding


def check_approaches_select(name: str, drawn: Tables, out: np.ndarray) -> None:
    """Fails where attention is further away from the select than the document says."""
    away = np.abs(out - selected(drawn))
    limit = allowed(drawn, backends.implementations()[name].roundoffs("float32"))
    worst = tuple(map(int, np.unravel_index((away - limit).argmax(), away.shape)))
    assert (away <= limit).all(), f"{name}: off by {away[worst]:.3g} at (b,t,n,v)={worst}, allowed {limit[worst]:.3g}"


def is_compiled(name: str) -> bool:
    """Whether new shapes, or a new scale, cost it a compilation or a set-up."""
    found = backends.implementations()[name]
    return found.compile is not None or found.is_setup


def test_attention_approaches_select(cpu_id):
    """On one-hot keys, attention differs from the select by no more than the document's bound."""
    if is_compiled(cpu_id):
        check_compiled(cpu_id)
        return

    @settings(max_examples=30, deadline=None, derandomize=True, database=None)
    @given(tables(st.sampled_from(SIZES), st.sampled_from(SCALES)))
    def check(drawn):
        out = backends.attention(drawn.query, drawn.key, drawn.value, implementation=cpu_id, scale=drawn.scale)
        check_approaches_select(cpu_id, drawn, out)

    check()


def check_compiled(name: str) -> None:
    """The same for what compiles: one shape and two scales, each compiled once, and only the numbers change."""
    chosen, framework = backends.implementations()[name], backends.load(name.partition("/")[0])
    compiled = {}

    @settings(max_examples=10, deadline=None, derandomize=True, database=None)
    @given(tables(st.just(SIZES[0]), st.sampled_from((4.0, 16.0))))
    def check(drawn):
        # What backends.attention does, but for `reuse`.
        inputs, semantics = validate(drawn.query, drawn.key, drawn.value), backends.Semantics(scale=drawn.scale)
        prepared = execution.prepare(chosen, framework, inputs, semantics, reuse=compiled.get(drawn.scale))
        compiled[drawn.scale] = prepared
        check_approaches_select(name, drawn, execution.run(chosen, framework, prepared, inputs)["output"][0])

    check()


def test_the_bound_is_reached_and_no_looser_than_it_must_be():
    """One row far from all the others: the difference is the bound over 1 + (S-1) exp(-scale), to the last digits."""
    S = 6
    key = np.eye(S)[None, :, None]
    value = np.zeros((1, S, 1, 1))
    value[0, 2] = 90.0
    for scale in SCALES[:3]:
        drawn = Tables(key[:, 2:3], key, value, scale)
        away = np.abs(backends.reference.attention(drawn.query, key, value, scale=scale) - selected(drawn))
        exact = (S - 1) * math.exp(-scale)
        np.testing.assert_allclose(away, 90.0 * exact / (1 + exact), rtol=1e-7)


def test_a_blunter_attention_is_caught():
    """Attention at half the scale is outside of the bound: the check can fail."""
    drawn = Tables(np.eye(6)[None, 3:4, None], np.eye(6)[None, :, None], np.arange(6.0).reshape(1, 6, 1, 1), 8.0)
    blunt = backends.reference.attention(drawn.query, drawn.key, drawn.value, scale=4.0)
    assert (np.abs(blunt - selected(drawn)) > allowed(drawn, accuracy.Roundoffs.of("float64"))).all()


# backends.select itself.

KEYS = np.eye(6)
VALUES = np.array([[10, 5], [12, 9], [9, 53], [9, 93], [3, 53], [5, 59]])


def test_select_returns_the_row_whose_key_matches():
    """The blog post's example: a query that matches the 4th key returns the 4th row of values."""
    assert np.array_equal(backends.select(np.array([[0, 0, 0, 1, 0, 0]]), KEYS, VALUES), VALUES[[3]])


def test_select_answers_a_single_query_with_a_single_row():
    """A query without an axis of its own gives a row without one."""
    row = backends.select(np.array([0, 0, 0, 1, 0, 0]), KEYS, VALUES)
    assert row.shape == (2,)
    assert np.array_equal(row, VALUES[3])


def test_select_answers_every_query():
    """Each row of the query gets its own row of values, in the order asked, and may ask twice."""
    assert np.array_equal(backends.select(KEYS[[5, 0, 5]], KEYS, VALUES), VALUES[[5, 0, 5]])


def test_select_gives_zeros_where_nothing_matches():
    """A query that no key matches gives zeros."""
    assert np.array_equal(backends.select(np.array([KEYS[4], KEYS[0]]), KEYS[:3], VALUES[:3]), [[0, 0], VALUES[0]])


def test_select_gives_the_sum_where_several_match():
    """A key that stands in the table twice gives the sum of its rows."""
    assert np.array_equal(backends.select(KEYS[1], KEYS[[1, 0, 1]], VALUES[:3]), VALUES[0] + VALUES[2])


def test_select_takes_lists():
    """What NumPy can make an array of needs no conversion."""
    assert backends.select([0, 1], [[1, 0], [0, 1]], [[7], [8]]).tolist() == [8]


@pytest.mark.parametrize(
    ("query", "keys", "values", "named"),
    [
        ((2, 5), (6, 6), (6, 2), ["query (2, 5)", "keys (6, 6)"]),
        ((5,), (6, 6), (6, 2), ["query (5,)", "keys (6, 6)"]),
        ((), (6, 6), (6, 2), ["query ()", "keys (6, 6)"]),
        ((1, 2, 6), (6, 6), (6, 2), ["query (1, 2, 6)", "keys (6, 6)"]),
        ((6,), (6, 6), (5, 2), ["keys (6, 6)", "values (5, 2)"]),
        ((6,), (6,), (6, 2), ["keys (6,)", "values (6, 2)"]),
        ((6,), (6, 6), (6,), ["keys (6, 6)", "values (6,)"]),
    ],
)
def test_select_names_the_shapes_that_do_not_go_together(query, keys, values, named):
    """Shapes that do not fit raise ValueError, which names both of them."""
    with pytest.raises(ValueError, match=re.escape(named[0])) as caught:
        backends.select(np.zeros(query), np.zeros(keys), np.zeros(values))
    assert named[1] in str(caught.value)


# The pictures.


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height, from the header."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def test_the_pictures_are_what_their_script_draws(tmp_path):
    """The script draws the committed pictures' sizes, the same bytes each time, small, without a date in them."""
    pytest.importorskip(
        "matplotlib", reason="matplotlib is in the environment of `nox -s pictures` only: Keras imports it"
    )
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        script = [sys.executable, "-W", "error", str(PICTURES / "make.py"), str(tmp_path / name)]
        subprocess.run(script, check=True, timeout=120)
    drawn = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert drawn == sorted(path.name for path in DRAWN)
    for name in drawn:
        first, second, kept = (folder / name for folder in (tmp_path / "first", tmp_path / "second", PICTURES))
        assert first.read_bytes() == second.read_bytes()
        assert size_of(first.read_bytes()) == size_of(kept.read_bytes())


@pytest.mark.parametrize("picture", DRAWN, ids=lambda path: path.stem)
def test_a_picture_is_small_and_described(picture):
    """Less than 60 kB, nothing in it but the picture, and in the document once, with a description for who does not see it."""
    png = picture.read_bytes()
    assert len(png) <= 60_000
    assert not [chunk for chunk in (b"tEXt", b"iTXt", b"zTXt", b"tIME", b"eXIf") if chunk in png]
    document = DOCUMENT.read_text("utf-8")
    (described,) = re.findall(rf"!\[([^\]]+)\]\(images/{re.escape(picture.name)}\)", document)
    assert len(described) > 100
