"""How many threads do the work of a call, from planted accounts and from real threads."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.harness.busy_threads import thread_seconds, threads_busy
from benchmarks.harness.thread_pools import thread_pools


@pytest.mark.parametrize(
    ("spent", "busy"),
    [
        ([{1: 1.0}], 1.0),
        ([{1: 1.0, 2: 1.0}], 2.0),
        ([{1: 0.01, 2: 1.0}], 1.01),
        ([{1: 1.0, 2: 0.5, 3: 0.5}], 2.0),
        ([{1: 1.0, 2: 1.0}, {1: 1.0}, {1: 1.0}, {1: 1.0}, {1: 1.0, 2: 0.9}], 1.0),  # the middle call counts
        ([{1: 1.0}, {2: 1.0}], 1.0),  # one after the other is one
        ([{1: 0.0}], None),
        ([{}], None),
    ],
)
def test_of_planted_accounts(spent, busy):
    """What each call adds to each thread's time -> how many were busy; threads may come and go."""
    used, calls = {1: 100.0, 9: 50.0}, iter(spent * 5)

    def call():
        for thread, seconds in next(calls).items():
            used[thread] = used.get(thread, 0.0) + seconds

    assert threads_busy(call, lambda: dict(used)) == (None if busy is None else pytest.approx(busy))


def test_a_system_that_does_not_tell():
    """Then nobody is accused."""
    assert threads_busy(lambda: None, dict) is None


@pytest.mark.skipif(not thread_seconds(), reason="this system keeps no account of threads")
@pytest.mark.parametrize(("count", "least", "most"), [(1, 1.0, 1.3), (4, 1.5, 4.3)])
def test_of_real_threads(count, least, most):
    """As many as share the work alike, on however few CPUs; where these are of unlike speed, a little fewer."""
    together, data = threading.Barrier(count), bytes(1_000_000)

    def part(_):
        together.wait()
        hashlib.sha256(data).digest()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(part, range(count)))
        assert least <= threads_busy(lambda: list(pool.map(part, range(count)))) < most


def test_the_pools_of_this_process():
    """NumPy's BLAS at least, with threads to count."""
    import numpy as np

    assert np.ones(2) @ np.ones(2) == 2
    assert all(count >= 1 for count in thread_pools().values())
