"""ONNX Runtime: what is particular to it. That its implementations are right is held where all are."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backends import onnx_graphs, registry
from backends.interface import KernelMismatch, Unsupported
from tests.helpers import hold, make_problem, prepare, run

ATTENTION, NAIVE = "onnxruntime/attention", "onnxruntime/naive"


@pytest.fixture(autouse=True)
def framework(needs: Callable[[str], Any]) -> Any:
    return needs("onnxruntime")


def test_the_proof_tells_the_kernel_from_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention of opset 25 has no kernel: ONNX Runtime runs its definition, and the proof says so."""
    chosen, _, prepared = prepare(ATTENTION, make_problem(dtype="float32"))
    assert chosen.prove(prepared) == "Attention-24, CPUExecutionProvider"
    monkeypatch.setattr(onnx_graphs, "OPSET", 25)
    expanded = prepare(ATTENTION, make_problem(dtype="float32"))[2]
    with pytest.raises(KernelMismatch, match=r"expected one node Attention and no other, ran .*MatMul x2.*Softmax"):
        chosen.prove(expanded)


def test_the_textbook_form_is_no_attention_kernel() -> None:
    """Its proof names two products and a softmax, and does not take the operator for it."""
    chosen, _, prepared = prepare(NAIVE, make_problem(dtype="float32"))
    assert "Softmax" in chosen.prove(prepared)
    with pytest.raises(KernelMismatch, match="ran Attention"):
        chosen.prove(prepare(ATTENTION, make_problem(dtype="float32"))[2])


@pytest.mark.parametrize(
    ("asked", "lowered"),
    [
        ({"causal": "bottom_right"}, ()),
        ({"causal": "top_left", "softcap": 20.0, "scale": 0.2}, ()),
        ({"kv_lengths": (20, 7)}, ()),
        ({"window": (3, 2)}, ("window as mask",)),
        ({"causal": "top_left", "kv_lengths": (20, 7)}, ("causal_top_left as mask", "kv_lengths as mask")),
        ({"causal": "top_left", "bias": (12, 20)}, ("causal_top_left as bias",)),
    ],
)
def test_what_the_operator_takes_and_what_becomes_a_mask(asked: dict[str, Any], lowered: tuple[str, ...]) -> None:
    """Both causal alignments and lengths are the operator's own; beside one another they are told as what they become."""
    problem = make_problem(dtype="float32", **asked)
    assert prepare(ATTENTION, problem)[2].lowered == lowered
    assert hold(ATTENTION, problem) == "accepted"


@pytest.mark.parametrize("shape", [(2, 1, 1, 20), (4, 12, 1), (20,), ()])
@pytest.mark.parametrize("kind", ["mask", "bias"])
def test_masks_and_biases_broadcast_over_queries_and_keys(kind: str, shape: tuple[int, ...]) -> None:
    """The kernel takes none that does: they are written out before."""
    assert hold(ATTENTION, make_problem(dtype="float32", **{kind: shape}, hidden=0.2)) == "accepted"


def test_a_scale_of_no_root_is_refused() -> None:
    """The operator multiplies query and key by the scale's root."""
    for scale in (0.0, -0.2):
        with pytest.raises(Unsupported, match="scale has to be above 0"):
            run(ATTENTION, make_problem(dtype="float32", scale=scale))
    assert hold(NAIVE, make_problem(dtype="float32", scale=-0.2)) == "accepted"


def test_what_was_returned_does_not_change_with_the_next_run(framework: Any) -> None:
    """A session writes into the same memory each time; NumPy gets a copy."""
    prepared = prepare(ATTENTION, make_problem(dtype="float32"))[2]
    native = prepared.call()
    first = framework.to_numpy(native)
    native.update_inplace(np.zeros_like(first))
    assert first.any()
    assert np.array_equal(framework.to_numpy(prepared.call()), first)


@pytest.mark.parametrize(("told", "threads"), [("3", 3), ("2,1", 2), ("many", None), ("0", None), (None, None)])
def test_threads_follow_the_variable_or_the_cpus(told: str | None, threads: int | None, monkeypatch: Any) -> None:
    """OMP_NUM_THREADS where it is a number, else the CPUs that this process may run on; the settings tell."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert registry.module("onnxruntime").settings()["threads"] == str(threads or free)


def test_nothing_is_written_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither by making and running sessions, nor by the proof."""
    for id in (ATTENTION, NAIVE):
        chosen, _, prepared = prepare(id, make_problem(dtype="float16", N=4, K=1, bias=(4, 12, 20)))
        prepared.call()
        chosen.prove(prepared)
    assert capfd.readouterr() == ("", "")


def test_there_is_no_backward_pass(framework: Any) -> None:
    """Refused in words, by the implementations and by the framework."""
    with pytest.raises(Unsupported, match="no backward pass"):
        framework.differentiate(lambda: None, None, ("query",))
    with pytest.raises(Unsupported, match="no backward pass"):
        framework.pull_back(lambda: None, (), None)
    with pytest.raises(Unsupported, match="no compile mode"):
        framework.compile(lambda: None, "jit")
