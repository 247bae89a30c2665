"""The device's own clock, as far as it can be tested without a device: what is asked of it, and what is made of the answers."""

from __future__ import annotations

import dataclasses
import types

import pytest

from backends import device_clocks, jax_backend, registry, torch_backend
from backends.accuracy import Roundoffs
from benchmarks import inputs as seeded
from benchmarks.cases import case
from benchmarks.harness.cell import Cell
from benchmarks.harness.state import State
from benchmarks.records import Status, from_csv, to_csv
from tests.planted import record


class Stream:
    """What torch.cuda does with a stream, in order, on a clock of its own: a call takes 3 ms, an event nothing."""

    def __init__(self):
        self.done, self.now_ms, self.handed_over = [], 0.0, 0

    def fake(self):
        stream = self

        class Event:
            def __init__(self, *, enable_timing):
                assert enable_timing

            def record(self):
                self.at = stream.now_ms
                stream.done.append("event")

            def elapsed_time(self, other):
                assert stream.done[-1] == "synchronize", "the device has not come so far yet"
                return other.at - self.at

        class Bytes:
            def zero_(self):
                stream.take("zero", 0.5)

        def properties(_):
            return types.SimpleNamespace(L2_cache_size=1000)

        def empty(size, *, dtype, device):
            assert (size, dtype, device) == (2000, "int8", "cuda")
            return Bytes()

        cuda = types.SimpleNamespace(
            Event=Event,
            synchronize=lambda: stream.done.append("synchronize"),
            _sleep=lambda cycles: stream.take("sleep", cycles / 2e6),
            get_device_properties=properties,
            current_device=lambda: 0,
        )
        return types.SimpleNamespace(cuda=cuda, empty=empty, int8="int8")

    def take(self, what, ms):
        self.done.append(what)
        self.now_ms += ms

    def call(self):
        self.take("call", 3.0)


@pytest.mark.parametrize(("is_cold", "before"), [(False, []), (True, ["zero"])])
def test_events_stand_around_the_call_alone(monkeypatch, is_cold, before):
    stream = Stream()
    monkeypatch.setitem(__import__("sys").modules, "torch", stream.fake())
    device_clocks._torch_scratch.cache_clear()
    found = device_clocks.torch_events(stream.call, 4, is_cold=is_cold)
    device_clocks._torch_scratch.cache_clear()
    assert found == pytest.approx([3e-3] * 4)
    first = ["synchronize", "call", "synchronize"]
    assert stream.done == first + [*before, "sleep", "event", "call", "event", "synchronize"] * 4


class Cupti:
    """The extension of JAX's: tells the kernels since it was asked to look, and only those."""

    def __init__(self):
        self.seen = None

    def launch(self, *kernels):
        if self.seen is not None:
            self.seen.extend(kernels)

    def _cupti_init(self):
        assert self.seen is None, "CUPTI has one subscriber"
        self.seen = []

    def _cupti_get_timings(self, finalize):
        assert finalize, "else every later call pays for being watched"
        told, self.seen = self.seen, None
        return told


@pytest.fixture
def cupti(monkeypatch):
    """JAX with such an extension, and a flush of one kernel."""
    own = Cupti()
    monkeypatch.setattr(device_clocks, "_cupti", lambda: own)
    monkeypatch.setattr(device_clocks, "_jax_flush", lambda: lambda: own.launch(("flush", 40.0)))
    monkeypatch.setitem(__import__("sys").modules, "jax", types.SimpleNamespace(block_until_ready=lambda x: x))
    return own


@pytest.mark.parametrize("is_cold", [False, True])
def test_the_kernels_of_a_call_are_added_up_and_those_of_the_flush_are_not(cupti, is_cold):
    found = device_clocks.jax_kernels(lambda: cupti.launch(("dot", 2.0), ("exp", 1.0)), 5, is_cold=is_cold)
    assert found == pytest.approx([3e-3] * 5)
    assert cupti.seen is None


def test_kernels_that_change_from_call_to_call_are_no_measurement(cupti):
    calls = iter(range(100))
    assert device_clocks.jax_kernels(lambda: cupti.launch((f"k{next(calls)}", 1.0)), 3, is_cold=False) is None
    assert device_clocks.jax_kernels(lambda: None, 3, is_cold=False) is None


def test_cupti_lets_go_where_a_call_fails(cupti):
    def fails():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        device_clocks.jax_kernels(fails, 3, is_cold=False)
    assert cupti.seen is None


@pytest.mark.parametrize(
    ("kernels", "between", "of_one", "calls", "expected"),
    [
        ([("f", 9.0), ("a", 1.0), ("f", 9.0), ("a", 2.0)], 1, 1, 2, [1e-3, 2e-3]),
        ([("a", 1.0), ("b", 1.0)], 0, 2, 1, [2e-3]),
        ([("a", 1.0), ("b", 1.0), ("b", 1.0), ("a", 1.0)], 0, 2, 2, None),
        ([("a", 1.0)] * 3, 0, 2, 2, None),
        ([], 0, 0, 2, None),
    ],
)
def test_sums(kernels, between, of_one, calls, expected):
    assert device_clocks.sums(kernels, between, of_one, calls) == expected


@pytest.mark.parametrize(
    "module", [torch_backend, jax_backend, *(registry.module(n) for n in ("keras_jax", "keras_torch"))]
)
def test_a_cpu_has_no_clock_of_its_own(module):
    times = getattr(module, "device_times", None)
    assert times is None or times(lambda: None, 3, "cpu", is_cold=False) is None


class Clocked:
    """A framework whose device says 2 us warm and 3 cold."""

    def __init__(self, framework, told=("events", 2e-6, 3e-6)):
        self._framework, self.told, self.asked = framework, told, []

    def __getattr__(self, name):
        return getattr(self._framework, name)

    def device_times(self, call, calls, device, *, is_cold):
        call()
        self.asked.append((calls, device, is_cold))
        return self.told and (self.told[0], [1.0, self.told[1 + is_cold], 1e-9])


def _cell(framework, known=None, device="cuda"):
    problem = case("x", "y", T=8)
    own = registry.load("numpy")
    inputs = seeded.make(problem, 0)
    from backends.backward import expect_all

    chosen = dataclasses.replace(registry.implementations("numpy")["numpy/naive"], devices=("cpu", "cuda"))
    return Cell.prepare(problem, chosen, framework(own), device, inputs, expect_all(inputs, problem.semantics), known)


def test_a_cell_asks_the_device_warm_and_cold_and_takes_the_middle():
    made = _cell(Clocked)
    assert (made.device_clock, made.device_s, made.device_cold_s) == ("events", 2e-6, 3e-6)
    assert [(device, is_cold) for _, device, is_cold in made.framework.asked] == [("cuda", False), ("cuda", True)]
    assert all(3 <= calls <= 20 for calls, *_ in made.framework.asked)


def test_nobody_is_asked_on_the_cpu_nor_in_later_processes_and_none_is_an_answer():
    assert _cell(Clocked, device="cpu").framework.asked == []
    assert _cell(Clocked, known=("kernel", 1e-5)).framework.asked == []
    mute = _cell(lambda own: Clocked(own, None))
    assert (mute.device_clock, mute.device_s, mute.device_cold_s) == ("", None, None)


def test_later_processes_keep_what_the_first_was_told():
    state = State()
    event = {"event": "prepared", "case": "c", "implementation": "torch/naive", "device": "cuda"}
    for told in ({"device_s": 2e-6, "device_cold_s": 3e-6, "device_clock": "events"}, dict.fromkeys(("device_s",))):
        state.apply({**event, "facts": {"per_call_s": 1.0, **told}})
    (known,) = state.cells.values()
    assert (known.facts["device_s"], known.facts["device_clock"]) == (2e-6, "events")


def test_the_columns_come_back_and_only_ok_rows_carry_such_a_time():
    row = record(device="cuda", device_s=2e-6, device_cold_s=3e-6, device_clock="kernels", checked="3 of 32 heads")
    (back,) = from_csv(to_csv([row]), "x")
    assert (back.device_s, back.device_cold_s, back.device_clock, back.checked) == (
        2e-6,
        3e-6,
        "kernels",
        "3 of 32 heads",
    )
    with pytest.raises(ValueError, match="only ok rows carry a time"):
        record(status=Status.INCORRECT, reason="no", median_s=None, device_s=1e-6)


class TestTf32:
    """JAX on CUDA multiplies float32 in TF32 unless it is told not to; claims are the same on the CPU, whatever it is told."""

    @pytest.fixture
    def told(self, monkeypatch):
        def tell(precision):
            config = types.SimpleNamespace(jax_default_matmul_precision=precision)
            monkeypatch.setattr(jax_backend, "jax", types.SimpleNamespace(config=config), raising=False)

        return tell

    @pytest.mark.parametrize("id", ["jax/naive", "jax/naive-jit", "jax/nn", "jax/chunked"])
    @pytest.mark.parametrize("precision", [None, "default", "tensorfloat32"])
    def test_claims(self, told, id, precision):
        told(precision)
        chosen = registry.implementations()[id]
        assert chosen.claims("float32", "cuda").product == 2.0**-11
        assert chosen.claims("float32", "cuda").probability == 2.0**-10
        for dtype, device in (("float32", "cpu"), ("float64", "cuda"), ("bfloat16", "cuda")):
            assert chosen.claims(dtype, device) == chosen.roundoffs(dtype)

    @pytest.mark.parametrize("precision", ["highest", "float32", "BF16_BF16_F32_X9"])
    def test_who_forbids_it_is_held_to_float32(self, told, precision):
        told(precision)
        chosen = registry.implementations()["jax/naive-jit"]
        assert chosen.claims("float32", "cuda") == chosen.roundoffs("float32")

    def test_others_claim_the_same_everywhere(self):
        chosen = registry.implementations()["torch/naive"]
        assert chosen.claims("float32", "cuda") == chosen.claims("float32", "cpu")
        assert isinstance(chosen.claims("float32", "cuda"), Roundoffs)
