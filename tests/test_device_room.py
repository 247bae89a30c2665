"""Whether there is room on a device: what is free as the framework tells it, and estimates against peaks of an H200."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path

import pytest

from backends import jax_backend, registry, tf_keras_backend, torch_backend
from benchmarks.cases import case
from benchmarks.harness import room
from benchmarks.harness.failures import status_of, told
from benchmarks.harness.worker import Server
from benchmarks.records import Status
from benchmarks.reports.page.growing import case_of
from benchmarks.stored_run import read_stored
from benchmarks.work import ITEMSIZE, native_bytes

GB = 10**9
H200 = Path(__file__).parents[1] / "results" / "baselines" / "nvidia-h200-intel-xeon-processor-16-cores"
LONG = case("long", "s", T=16_384, N=8, H=64, dtype="float16")
"""Scores of 4.3 GB in float16, arrays of 17 MB."""


class Card:
    """NumPy on a card with so many bytes free; None: it does not tell."""

    def __init__(self, free):
        self._framework, self._free, self.asked = registry.load("numpy"), free, []

    def __getattr__(self, name):
        return getattr(self._framework, name)

    def free_bytes(self, device):
        self.asked.append(device)
        return self._free


def insist(free, id="torch/naive", device="cuda", problem=LONG):
    """What insist_on_room says of an implementation; "" where it may start."""
    card = Card(free)
    try:
        room.insist_on_room(problem, registry.implementations()[id], device, card)
    except room.NoRoom as error:
        return card.asked, str(error)
    return card.asked, ""


def test_what_cannot_fit_the_device_is_refused_with_the_estimate():
    """Two arrays of all scores, beside a tenth that is left alone; a kernel that holds none fits."""
    assert insist(8 * GB) == (["cuda"], "needs about 9.1 GB on cuda, 8.0 GB are free there")
    assert insist(10 * GB)[1].startswith("needs about 9.1 GB")
    assert insist(10.2 * GB) == (["cuda"], "")
    assert insist(0.1 * GB, "torch/sdpa-flash") == (["cuda"], "")
    assert insist(0.05 * GB, "torch/sdpa-flash")[1].startswith("needs about 0.1 GB")


def test_who_does_not_tell_is_not_refused_and_the_cpu_is_not_asked():
    """The framework itself says then when its device is full."""
    assert insist(None) == (["cuda"], "")
    assert insist(0, device="cpu")[0] == []
    room.insist_on_room(LONG, registry.implementations()["torch/naive"], "cuda", object())


def test_gradients_and_what_is_written_out_count():
    """A mask of 268 MB, a byte each, that flash takes in place of its window; and the scores that gradients need."""
    flash, naive = (registry.implementations()[f"torch/{name}"] for name in ("sdpa-flash", "naive"))
    windowed = case("w", "s", T=16_384, N=8, H=64, dtype="float16", window=(64, 0))
    both = case("b", "s", T=16_384, N=8, H=64, dtype="float16", pass_="forward_backward")
    more = room.device_bytes(windowed, flash, "cuda") - room.device_bytes(LONG, flash, "cuda")
    assert more == 16_384**2
    assert room.device_bytes(both, naive, "cuda") > 1.4 * room.device_bytes(LONG, naive, "cuda")


def test_the_row_is_out_of_memory():
    """The worker asks before anything is made: no file of the oracle is read, no input drawn."""
    server = Server("numpy", [])
    server.hello()
    naive = registry.implementations()["numpy/naive"]
    server._framework = Card(0.001 * GB)
    server._named = lambda wanted: dataclasses.replace(naive, devices=("cpu", "cuda"))
    with pytest.raises(room.NoRoom) as error:
        server.prepare("x", case("small", "s", T=512).to_dict(), "numpy/naive", "cuda", 0, "no file is read")
    assert status_of(error.value) is Status.OUT_OF_MEMORY
    assert "on cuda" in told(error.value)


@pytest.mark.parametrize("name", ["flash", "decode", "decode-bfloat16"])
def test_no_estimate_is_above_what_was_measured_on_a_device(name):
    """Else it would refuse what fits. Cells that hold all scores: at least 0.4 of the peak is foreseen, too."""
    held = 0
    for row in read_stored(H200 / name).records:
        if row.peak_memory_bytes is None:
            continue
        problem, chosen = case_of(row), registry.implementations()[row.implementation]
        assert problem is not None
        inputs = room.hollow(problem)
        returned = ITEMSIZE[problem.dtype] * problem.shape.B * problem.shape.T * problem.shape.N * problem.shape.V
        beyond = room.device_bytes(problem, chosen, "cuda") - native_bytes(inputs) - returned
        assert beyond <= row.peak_memory_bytes / (1 - room._SPARE), (row.case, row.implementation)
        if row.implementation == "torch/naive":
            held += 1
            assert beyond >= 0.4 * row.peak_memory_bytes
    assert held


def test_torch_counts_what_its_allocator_keeps(monkeypatch):
    """Freed memory that it has not given back is there for the next cell."""
    cuda = types.SimpleNamespace(
        mem_get_info=lambda: (1000, 9000), memory_reserved=lambda: 700, memory_allocated=lambda: 300
    )
    monkeypatch.setattr(torch_backend, "torch", types.SimpleNamespace(cuda=cuda), raising=False)
    assert torch_backend.free_bytes("cuda") == 1400
    assert torch_backend.free_bytes("cpu") is None


@pytest.mark.parametrize(
    ("stats", "free"), [(None, None), ({"bytes_in_use": 5}, None), ({"bytes_in_use": 5, "bytes_limit": 12}, 7)]
)
def test_jax_knows_its_limit(monkeypatch, stats, free):
    """Not on the CPU, nor of an allocator without one."""
    device = types.SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setattr(jax_backend, "jax", types.SimpleNamespace(devices=lambda kind: [device]), raising=False)
    assert jax_backend.free_bytes("cuda") == free


def test_tensorflow_does_not_tell():
    """It knows what it has handed out, and no limit."""
    assert not hasattr(tf_keras_backend, "free_bytes")
