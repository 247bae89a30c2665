"""References that the frameworks ship for their own tests, held against our oracle and our implementations.

PyTorch: the OpInfo samples of scaled_dot_product_attention, with the gradients that its own autograd gives them. JAX: the
references of its Pallas kernels. Keras: the function of its NumPy backend. None of it was written by us.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import backends
from backends import backward
from backends.accuracy import UNIT_ROUNDOFF
from backends.problem import Inputs, Semantics
from backends.visibility import as_four, visible
from tests.helpers import Problem, hold, hold_gradients, make_problem, problems


def opinfo_samples() -> list[Any]:
    """Those without dropout, which is not attention's; in float64."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("expecttest", reason="torch's test helpers import it")
    from torch.testing._internal.common_methods_invocations import op_db

    (info,) = [op for op in op_db if op.name == "nn.functional.scaled_dot_product_attention"]
    samples = list(info.sample_inputs("cpu", torch.float64, requires_grad=True))
    kept = [sample for sample in samples if not sample.kwargs["dropout_p"]]
    assert len(kept) >= 13, "torch ships fewer samples than when this was written"
    return kept


def as_problem(sample: Any) -> Problem:
    """In our words: torch's arrays are (batch..., heads, T, H), of three axes without a batch; batch axes broadcast."""
    key, value = (np.atleast_3d(a.detach().numpy()) for a in sample.args)
    query = sample.input.detach().numpy()
    batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
    whole = [
        np.broadcast_to(a, (*batch, *a.shape[-2:])).reshape(-1, batch[-1], *a.shape[-2:]) for a in (query, key, value)
    ]
    q, k, v = (np.ascontiguousarray(a.transpose(0, 2, 1, 3)) for a in whole)
    mask = sample.kwargs.get("attn_mask")
    given: dict[str, Any] = {}
    if mask is not None:
        given["mask" if mask.dtype.is_floating_point is False else "bias"] = mask.detach().numpy()
    upstream = np.random.default_rng(0).standard_normal((*q.shape[:3], v.shape[3]))
    inputs = Inputs(q, k, v, "float64", upstream=upstream, **given)
    return Problem(inputs, Semantics(causal="top_left" if sample.kwargs["is_causal"] else None), str(sample))


def test_opinfo_samples_give_what_torch_gives() -> None:
    """Outputs and the gradients of query, key and value, of our oracle and of torch's own function, in float64."""
    torch = pytest.importorskip("torch")
    for sample in opinfo_samples():
        problem = as_problem(sample)
        i = problem.inputs
        heads_first = [
            torch.tensor(a.transpose(0, 2, 1, 3).copy(), requires_grad=True) for a in (i.query, i.key, i.value)
        ]
        theirs = torch.nn.functional.scaled_dot_product_attention(*heads_first, **sample.kwargs)
        ours = backends.reference.attention(**problem.arguments())
        np.testing.assert_allclose(ours, theirs.detach().numpy().transpose(0, 2, 1, 3), rtol=1e-12, atol=1e-13)
        # Their function on their own shapes: what we made of the sample is the sample.
        own = torch.nn.functional.scaled_dot_product_attention(sample.input, *sample.args, **sample.kwargs)
        assert own.detach().numpy().reshape(-1) == pytest.approx(theirs.detach().numpy().reshape(-1))
        upstream = torch.tensor(i.upstream.transpose(0, 2, 1, 3).copy())
        found = backward.compute(i, problem.semantics)
        for name, gradient in zip(
            ("query", "key", "value"), torch.autograd.grad(theirs, heads_first, upstream), strict=True
        ):
            np.testing.assert_allclose(found[name], gradient.numpy().transpose(0, 2, 1, 3), rtol=1e-10, atol=1e-12)


COMPILED_FOR_SECONDS = ("torch/naive-compile", "torch/flex")
"""These get every fourth sample: each shape is compiled anew."""


def test_every_implementation_does_the_opinfo_samples(cpu_id: str) -> None:
    """Right within its bound, forward and backward, or refused with a reason; each plain sample is accepted."""
    chosen = backends.implementations()[cpu_id]
    dtype = "float64" if "float64" in chosen.dtypes else "float32"
    outcomes = []
    for sample in opinfo_samples()[:: 4 if cpu_id in COMPILED_FOR_SECONDS else 1]:
        problem = as_problem(sample)
        arrays = {name: getattr(problem.inputs, name) for name in ("query", "key", "value", "upstream", "bias")}
        cast = {name: None if a is None else a.astype(dtype) for name, a in arrays.items()}
        inputs = Inputs(**cast, dtype=dtype, mask=problem.inputs.mask)
        forward = dataclasses.replace(inputs, upstream=None)
        outcomes.append(hold(cpu_id, Problem(forward, problem.semantics, problem.made_from)))
        hold_gradients(cpu_id, Problem(inputs, problem.semantics, problem.made_from))
    assert "accepted" in outcomes


def heads_first(array: np.ndarray, group: int = 1) -> np.ndarray:
    """(B,N,T,H), each key/value head as often as query heads read it."""
    return np.ascontiguousarray(np.repeat(array, group, axis=2).transpose(0, 2, 1, 3))


def close(ours: np.ndarray, theirs: np.ndarray, problem: Problem) -> None:
    """Float32 arithmetic of theirs against float64 of ours, on numbers from N(0,1) with scores of a few units."""
    assert np.abs(ours - theirs).max(initial=0.0) <= 200 * UNIT_ROUNDOFF["float32"] * max(1, np.abs(ours).max()), (
        problem
    )


@settings(max_examples=25, deadline=None)
@given(problems(dtypes=("float32",), longest=16))
def test_the_references_of_jax_s_pallas_kernels(problem: Problem) -> None:
    """flash_attention's mha_reference and splash_attention's attention_reference, the second with mask and softcap."""
    pytest.importorskip("jax")
    import jax.numpy as jnp
    from jax.experimental.pallas.ops.tpu.flash_attention import mha_reference
    from jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_kernel import attention_reference

    i, semantics, shape = problem.inputs, problem.semantics, problem.inputs.shape
    group, scale = shape.N // shape.K, shape.H**-0.5 if semantics.scale is None else semantics.scale
    seen = np.broadcast_to(visible(i, semantics), (shape.B, shape.N, shape.T, shape.S))
    if not seen.any(axis=-1).all():
        return  # their blind rows give mean(V); ours 0 (see the deviations)
    q, k, v = heads_first(i.query), heads_first(i.key, group), heads_first(i.value, group)
    ours = backends.reference.attention(**problem.arguments()).transpose(0, 2, 1, 3)
    if semantics.softcap is None and i.upstream is None:
        bias = np.zeros(seen.shape, np.float32) if i.bias is None else np.broadcast_to(as_four(i.bias), seen.shape)
        # They scale the sum of product and bias; we scale the product.
        hidden = jnp.asarray(np.where(seen, bias, np.float32(-1e30)) / np.float32(scale))
        close(ours, np.asarray(mha_reference(q, k, v, hidden, sm_scale=scale)), problem)
    if i.bias is None:
        for b in range(shape.B):
            for n in range(shape.N):
                theirs = attention_reference(
                    jnp.asarray(seen[b, n]),
                    q[b, n] * np.float32(scale),
                    k[b, n],
                    v[b, n],
                    None,
                    attn_logits_soft_cap=semantics.softcap,
                )
                close(ours[b, n], np.asarray(theirs), problem)


@functools.cache
def keras_s_function() -> Callable[..., Any]:
    """dot_product_attention of Keras's NumPy backend, and Keras left as it was found."""
    backend = pytest.importorskip("keras.src.backend")
    # The import binds the package `numpy` to the name under which Keras keeps the ops of the backend that runs.
    ops = backend.numpy
    module = importlib.import_module("keras.src.backend.numpy.nn")
    backend.numpy = ops
    found: Callable[..., Any] = module.dot_product_attention
    return found


@settings(max_examples=40, deadline=None)
@given(problems(dtypes=("float64", "float32")))
def test_the_function_of_keras_s_numpy_backend(problem: Problem) -> None:
    """keras/src/backend/numpy/nn.py: dot_product_attention, on the problems that it has words for."""
    dot_product_attention = keras_s_function()
    i, semantics = problem.inputs, problem.semantics
    seen = visible(i, semantics)
    if semantics.softcap is not None or not seen.any(axis=-1).all():
        return  # no softcap there, and blind rows give mean(V)
    if i.shape.N != i.shape.K:
        i = Inputs(
            i.query,
            np.repeat(i.key, i.shape.N // i.shape.K, 2),
            np.repeat(i.value, i.shape.N // i.shape.K, 2),
            i.dtype,
            i.mask,
            i.bias,
            i.kv_lengths,
        )
    bias = None if i.bias is None else as_four(i.bias)
    theirs = dot_product_attention(i.query, i.key, i.value, bias=bias, mask=seen, scale=semantics.scale)
    close(backends.reference.attention(**problem.arguments()), np.asarray(theirs, np.float64), problem)


def test_keras_s_causal_is_top_left() -> None:
    """Its own flag, not our mask: the alignment of is_causal where T and S differ."""
    dot_product_attention = keras_s_function()
    problem = make_problem(T=5, S=9, N=2, K=2, causal="top_left")
    i = problem.inputs
    close(
        backends.reference.attention(**problem.arguments()),
        dot_product_attention(i.query, i.key, i.value, is_causal=True),
        problem,
    )
