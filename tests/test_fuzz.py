"""Whatever a stranger has written: it is read, or one line says what is wrong. `python -m tests.fuzz` gives many more."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import HOSTILE, mutate
from tests.fuzz.targets import SEEDS, TARGETS, give, seeds

_HEAVY = (
    "summary", "lone_summary", "samples", "environment", "merged_summary", "merged_samples", "merged_environment",
    "pytest_json",
)  # fmt: skip
"""What has been read is compared too: some 10 ms each."""


@pytest.mark.parametrize("target", TARGETS)
def test_what_once_broke_something(target):
    """A good input is read; of those that once broke the reader, none does any more."""
    good, *broke = seeds(target)
    assert give(target, good), "the seed that everything is made from is refused itself"
    for data in broke:
        give(target, data)


def test_no_seed_is_left_out():
    """Each folder of seeds is of a target."""
    assert {folder.name for folder in SEEDS.iterdir()} <= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_a_seed_with_something_wrong_in_it(target):
    """Cut, repeated, shuffled, numbers replaced by what no one expects."""
    rng, known = random.Random(7), seeds(target)
    for _ in range(15 if target in _HEAVY else 60):
        give(target, mutate(rng, rng.choice(known)))


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(st.binary(max_size=40) | st.sampled_from(HOSTILE), max_size=6), where=st.floats(0, 1))
def test_bytes_in_a_seed(target, parts, where):
    """Any bytes anywhere in a good input, or alone."""
    good = seeds(target)[0]
    place = int(where * len(good))
    give(target, b"".join(parts))
    give(target, good[:place] + b"".join(parts) + good[place:])


def test_a_fault_is_seen(monkeypatch):
    """What leaves a reader as another exception is not swallowed here."""
    monkeypatch.setitem(TARGETS, "noise", lambda data: data.index(b"\x00"))
    with pytest.raises(ValueError, match="subsection not found"):
        give("noise", b"{}")
