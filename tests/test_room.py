"""Whether there is room: shapes without arrays, estimates against measured peaks, and cells that are never started."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import execution, registry
from backends.interface import Implementation, Unsupported
from benchmarks import inputs as seeded
from benchmarks import measure
from benchmarks.cases import BIASES, MASKS, case
from benchmarks.harness import memory, room
from benchmarks.harness.session import Session
from benchmarks.harness.state import State
from benchmarks.harness.worker import Server, status_of, told
from benchmarks.plan import Plan
from benchmarks.records import Status
from benchmarks.run_folder import RunFolder
from benchmarks.work import ITEMSIZE, native_bytes
from tests.helpers import fresh

GB = 10**9
LONG = case("long", "for this test", T=131_072, N=8, H=64)


def named(id: str) -> Implementation:
    return registry.implementations()[id]


@given(
    st.sampled_from((None, *MASKS)),
    st.sampled_from((None, *BIASES)),
    st.sampled_from(("float64", "float32", "bfloat16", "float16")),
    st.booleans(),
    st.booleans(),
)
def test_hollow_inputs_have_the_shapes_and_types_of_those_that_are_made(mask, bias, dtype, backward, lengths):
    """Array by array; float16 alone is made narrower than it is assumed to be."""
    problem = case(
        "x",
        "s",
        B=2,
        T=6,
        S=8,
        N=4,
        K=2,
        H=8,
        V=4,
        dtype=dtype,
        mask=mask,
        bias=bias,
        pass_="forward_backward" if backward else "forward",
        kv_lengths=(3, 8) if lengths else None,
    )
    made, hollow = seeded.make(problem, 0), room.hollow(problem)
    for field in dataclasses.fields(made):
        real, stand_in = getattr(made, field.name), getattr(hollow, field.name)
        if not isinstance(real, np.ndarray):
            assert real == stand_in
            continue
        assert real.shape == stand_in.shape, field.name
        assert real.itemsize <= stand_in.itemsize, field.name
        assert stand_in.base is None or stand_in.base.nbytes <= 8


def test_a_case_that_no_machine_can_hold_costs_nothing_to_ask_about():
    """Shapes of 10**15 bytes: nothing of that size is made."""
    huge = case("huge", "s", B=1000, T=10**6, N=64, mask="heads", bias="full", pass_="forward_backward")
    assert room.inputs_bytes(huge) > 1e15
    assert room.oracle_bytes(huge) > 1e15
    assert room.cell_bytes(huge, named("numpy/naive"), "cpu") > 1e15


def test_only_what_holds_all_scores_is_refused(monkeypatch):
    """131072 queries and keys: 550 GB of scores for the textbook form, a few GB for tiles."""
    naive, blocked = (room.cell_bytes(LONG, named(f"numpy/{name}"), "cpu") for name in ("naive", "blocked"))
    assert naive > 8 * 131_072**2 * 4 > 500 * GB
    assert blocked < 10 * GB
    monkeypatch.setattr(room, "free_bytes", lambda: 32.0 * GB)
    assert room.refusal(LONG, named("numpy/blocked"), "cpu", 1) is None
    status, reason = room.refusal(LONG, named("numpy/naive"), "cpu", 1) or ("", "")
    assert status is Status.OUT_OF_MEMORY
    assert reason.startswith("needs about ")
    assert reason.endswith(" GB, 32.0 GB are free")


def test_inputs_and_the_oracle_must_fit_too(monkeypatch):
    """Whatever the implementation, and in every worker; one that is not known here is asked in its worker."""
    monkeypatch.setattr(room, "free_bytes", lambda: 1.0 * GB)
    for implementation in (named("numpy/blocked"), None):
        assert (room.refusal(LONG, implementation, "cpu", 1) or ("",))[0] is Status.OUT_OF_MEMORY
    monkeypatch.setattr(room, "free_bytes", lambda: 12.0 * GB)
    assert room.refusal(LONG, None, "cpu", 1) is None
    assert room.refusal(LONG, None, "cpu", 7) is not None


def test_what_would_be_refused_anyway_stays_unsupported(monkeypatch):
    """Lack of memory is a failure of the run, lack of a feature is not."""
    monkeypatch.setattr(room, "free_bytes", lambda: 0.1 * GB)
    narrow = dataclasses.replace(LONG, dtype="bfloat16")
    status, reason = room.refusal(narrow, named("numpy/naive"), "cpu", 1) or ("", "")
    assert (status, reason) == (Status.UNSUPPORTED, "no bfloat16: takes float64, float32, float16")


def test_a_mask_that_is_written_out_is_counted():
    """Flash has no window: 1 GiB of what each query sees, for a problem whose arrays are some MB."""
    plain = case("plain", "s", T=32_768, N=1, H=16)
    windowed = dataclasses.replace(plain, semantics=dataclasses.replace(plain.semantics, window=(64, 0)))
    flash = named("torch/sdpa-flash")
    more = room.cell_bytes(windowed, flash, "cpu") - room.cell_bytes(plain, flash, "cpu")
    assert more >= 32_768**2
    taken = named("numpy/blocked")
    assert room.cell_bytes(windowed, taken, "cpu") == room.cell_bytes(plain, taken, "cpu")


def test_the_worker_refuses_what_does_not_fit_now(monkeypatch):
    """A plug-in's implementation is only known there; the reason has no type before it."""
    monkeypatch.setattr(room, "free_bytes", lambda: 0.01 * GB)
    server = Server("numpy", [])
    server.hello()
    small = case("small", "s", T=16)
    with pytest.raises(room.NoRoom) as error:
        server.prepare("x", small.to_dict(), "numpy/naive", "cpu", 0, "no file is read")
    assert status_of(error.value) is Status.OUT_OF_MEMORY
    assert told(error.value).startswith("needs about 0.")


def test_rows_of_a_case_too_large_are_out_of_memory_and_nothing_is_asked(tmp_path, monkeypatch):
    """No oracle, no inputs; the case beside it is measured."""
    large = case("large", "s", T=10**6)
    plan = Plan(
        suite="x",
        cases=(large, case("small", "s", T=32)),
        implementations=("numpy/naive", "numpy/blocked"),
        processes=2,
        blocks=2,
    )
    asked, ask = [], Session.oracle

    def oracle(session, limit_s, /, **fields):
        asked.append(fields["case"]["name"])
        return ask(session, limit_s, **fields)

    monkeypatch.setattr(Session, "oracle", oracle)
    monkeypatch.setattr(room, "free_bytes", lambda: 4.0 * GB)
    outcome = measure.measure(plan, RunFolder.create(tmp_path / "run", plan), State(), lambda event: None)
    rows = {(r.case, r.implementation): r for r in outcome.records}
    for id in plan.implementations:
        assert rows["large", id].status is Status.OUT_OF_MEMORY
        assert rows["large", id].reason.endswith("4.0 GB are free")
        small = rows["small", id]
        assert small.status is Status.OK
        assert small.peak_memory_bytes is not None
    assert set(asked) == {"small"}


def limits(root, version, levels):
    """A tree of control groups: path -> (limit, used, inactive file pages)."""
    (root / "proc/self").mkdir(parents=True)
    inner = max(levels, key=len)
    line = f"0::/{inner}" if version == 2 else f"4:memory:/{inner}\n3:cpuset:/"
    (root / "proc/self/cgroup").write_text(line + "\n")
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for path, (limit, used, inactive) in levels.items():
        group = root / "sys/fs/cgroup" / ("" if version == 2 else "memory") / path
        group.mkdir(parents=True, exist_ok=True)
        (group / names[0]).write_text(f"{limit}\n")
        (group / names[1]).write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"anon 1\n{'total_' if version == 1 else ''}inactive_file {inactive}\n")
    return root


@pytest.mark.parametrize("version", [1, 2])
def test_the_tightest_control_group_counts(tmp_path, version):
    """The group itself, or one above it; file pages that are not in use do not count as used."""
    root = limits(tmp_path, version, {"": (900, 500, 0), "a": (800, 700, 150), "a/b": (1000, 100, 0)})
    assert room.free_bytes(root) == 800 - 700 + 150


def test_without_limits_the_machine_counts(tmp_path):
    """Groups of version 2 say max; a system without groups says nothing."""
    root = limits(tmp_path / "groups", 2, {"a": ("max", 700, 0)})
    for place in (root, tmp_path / "none"):
        assert 0 < room.free_bytes(place) < math.inf


def test_a_worker_offers_itself_first(tmp_path):
    """To the kernel's out-of-memory killer; asked of a process of its own."""
    code = (
        "from benchmarks.harness.worker import die_first; die_first(); print(open('/proc/self/oom_score_adj').read())"
    )
    assert fresh(code) == "1000"


MEASURED = (
    case("plain", "s", T=1024),
    case("causal", "s", T=1024, causal="top_left"),
    case("mask", "s", T=1024, mask="heads"),
    case("bias", "s", T=1024, bias="random"),
    case("softcap", "s", T=1024, softcap=20.0),
    case("half", "s", T=1024, dtype="float16"),
    case("backward", "s", T=1024, pass_="forward_backward"),
    case("backward-causal", "s", T=1024, causal="top_left", pass_="forward_backward"),
)


def measured_bytes(id, problem):
    """What a warm call takes at its peak, in this process."""
    chosen = named(id)
    framework, inputs = registry.load(chosen.framework), seeded.make(problem, 0)
    prepared = execution.prepare(chosen, framework, inputs, problem.semantics)

    def call():
        return execution.call(chosen, framework, prepared)

    return memory.peak_bytes(call, framework, "cpu", call(), ITEMSIZE[problem.dtype], native_bytes(inputs))


ALL_SCORES_BYTES = 8 * 1024**2 * 4
SLOW_TO_COMPILE = ("torch/naive-compile", "torch/flex")


TIMED = [
    id
    for id, found in registry.implementations().items()
    if not found.untimed and "cpu" in found.devices and not id.startswith("keras_")
]


@pytest.mark.parametrize("id", TIMED)
def test_what_a_call_takes_was_estimated_and_not_absurdly(id, needs):
    """Above what is measured; and where scores are held, not five times as much. What it refuses has no peak."""
    chosen = named(id)
    needs(chosen.framework)
    seen = set()
    for problem in MEASURED:
        if id in SLOW_TO_COMPILE and problem.name != "causal":
            continue
        try:
            measured = measured_bytes(id, problem)
        except Unsupported:
            continue
        seen.add(problem.name)
        estimate = room.call_bytes(problem, chosen)
        assert measured is not None
        assert measured <= estimate + room._FIXED_BYTES, problem.name
        if any(chosen.scores_held):
            least = ALL_SCORES_BYTES * ITEMSIZE[problem.dtype] / 4
            assert measured >= 0.9 * least, f"{problem.name}: it declares to hold all scores"
            assert estimate <= 5 * measured, problem.name
    assert "causal" in seen
