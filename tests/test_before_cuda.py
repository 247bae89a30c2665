"""What comes before a call on CUDA, and what is made of it, as far as that needs no device: refusals and proofs of kernels."""

from __future__ import annotations

import types

import pytest

from backends import jax_backend, registry, torch_backend, torch_flex
from backends.interface import Implementation, KernelMismatch, Prepared, Unsupported

T = S = 8
SHAPE = (1, T, 4, 64)


class Program:
    """A compiled function of JAX's: all that is asked of it is its text."""

    def __init__(self, text):
        self.as_text = lambda: text

    def lower(self, *arguments, **keywords):
        return self

    def compile(self):
        return self


FUSED = """
  %a = (bf16[1,4,8,64]{3,1,2,0}, u8[0]{0}) custom-call(%q, %k, %v), custom_call_target="__cudnn$fmhaSoftmax"
"""
PLAIN = """
  %d = f32[4,8,8]{2,1,0} dot(%q, %k), lhs_contracting_dims={2}
  %e = f32[4,8,8]{2,1,0} exponential(%d)
  %o = f32[4,8,64]{2,1,0} custom-call(%e, %v), custom_call_target="__cublas$gemm"
"""
LOOP = PLAIN + "  %w = (s32[]{:T(128)}) while(%t), condition=%c, body=%b\n"


def prove(id, program):
    """What the proof of an implementation says of a program."""
    told = registry.implementations()[id].prove
    assert told is not None
    return told(Prepared(lambda: None, Program(program)))


def test_cudnn_is_proven_by_its_call():
    """Forward or backward, with a bias or without: the names begin alike. XLA's own products are another kernel."""
    assert prove("jax/nn-cudnn", FUSED) == "XLA: __cudnn$fmhaSoftmax"
    assert prove("jax/nn-cudnn", FUSED.replace("Softmax", "SoftmaxBackward")) == "XLA: __cudnn$fmhaSoftmaxBackward"
    with pytest.raises(KernelMismatch, match=r"expected a call of __cudnn\$fmha, got XLA: __cublas\$gemm, dot, expon"):
        prove("jax/nn-cudnn", PLAIN)


@pytest.mark.parametrize("id", ["jax/nn", "jax/naive-jit"])
def test_what_xla_is_to_do_itself_is_not_cudnns(id):
    """Neither fused nor in a loop; a product may be cuBLAS's."""
    assert prove(id, PLAIN) == "XLA: __cublas$gemm, dot, exponential"
    for program in (FUSED, LOOP):
        with pytest.raises(KernelMismatch, match="plain operations"):
            prove(id, program)


@pytest.fixture
def cudnn(needs, monkeypatch):
    """jax/nn-cudnn on arrays of zeros, and what it hands to jax.nn."""
    needs("jax")
    handed = []

    def attention(query, key, value, **given):
        handed.append({name: told for name, told in given.items() if told is not None})
        return query

    monkeypatch.setattr(jax_backend.jax.nn, "dot_product_attention", attention)
    arrays = [jax_backend.jnp.zeros(SHAPE, "bfloat16")] * 3

    def call(**keywords):
        jax_backend.nn_cudnn(*arrays, **keywords)
        return handed[-1]

    return call


def test_cudnn_gets_what_was_asked(cudnn):
    """Always by name, so that JAX never falls back."""
    lengths = jax_backend.jnp.ones(1, "int32")
    assert cudnn() == {"implementation": "cudnn", "is_causal": False}
    assert cudnn(causal="top_left", scale=0.5) == {"implementation": "cudnn", "is_causal": True, "scale": 0.5}
    assert cudnn(kv_lengths=lengths)["key_value_seq_lengths"] is lengths


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_cudnn_refuses_what_is_broadcast_over_queries_or_keys(cudnn, name):
    """Together they may make up for each other: JAX adds them before cuDNN sees them."""
    ones = jax_backend.jnp.ones
    for shape in ((1, 1, 1, S), (1, 4, T, 1)):
        with pytest.raises(Unsupported, match="must have all T and S"):
            cudnn(**{name: ones(shape)})
    assert name in cudnn(**{name: ones((1, 1, T, S))})
    assert {"mask", "bias"} <= cudnn(mask=ones((1, 1, T, 1)), bias=ones((1, 1, 1, S))).keys()


def test_cudnns_windows_need_causal_and_have_no_right_side(cudnn):
    """Under causal that side says nothing; an open left side is no window at all."""
    with pytest.raises(Unsupported, match="windows need causal"):
        cudnn(window=(3, 0))
    for right in (0, 5, None):
        assert cudnn(causal="top_left", window=(3, right))["local_window_size"] == (3, 0)
    assert "local_window_size" not in cudnn(causal="top_left", window=(None, 0))


def test_what_jax_refuses_is_refused(cudnn, monkeypatch):
    """Head sizes and compute capabilities are JAX's to know; anything else that it raises is an error."""

    def raises(error):
        def attention(*_, **__):
            raise error

        monkeypatch.setattr(jax_backend.jax.nn, "dot_product_attention", attention)

    raises(NotImplementedError("head dim must be <= 128 and a multiple of 8"))
    with pytest.raises(Unsupported, match="head dim"):
        cudnn()
    raises(ValueError("unlike shapes"))
    with pytest.raises(ValueError, match="unlike shapes"):
        cudnn()


SDPA = {
    "torch/sdpa-math": ("MATH", "aten::_scaled_dot_product_attention_math"),
    "torch/sdpa-flash": ("FLASH_ATTENTION", "aten::_scaled_dot_product_flash_attention"),
    "torch/sdpa-efficient": ("EFFICIENT_ATTENTION", "aten::_scaled_dot_product_efficient_attention"),
    "torch/sdpa-cudnn": ("CUDNN_ATTENTION", "aten::_scaled_dot_product_cudnn_attention"),
}


def sdpa(id) -> Implementation:
    """One of the kernels of scaled_dot_product_attention."""
    return registry.implementations()[id]


def test_torch_knows_the_operators_that_are_expected(needs):
    """Of this build of torch: its CPU build registers those of CUDA too."""
    needs("torch")
    torch = torch_backend.torch
    known = {schema.name for schema in torch._C._jit_get_all_schemas()}
    assert {operator for _, operator in SDPA.values()} <= known
    assert all(hasattr(torch.nn.attention.SDPBackend, backend) for backend, _ in SDPA.values())


@pytest.mark.parametrize("id", SDPA)
def test_each_kernel_of_sdpa_is_proven_by_its_operator_alone(needs, monkeypatch, id):
    """That of another kernel is a mismatch, and nothing else may be chosen while it is looked for."""
    needs("torch")
    backend, operator = SDPA[id]
    ran, allowed = [], []

    def operators_of(prepared):
        allowed.append(torch_backend.torch.nn.attention._cur_sdpa_kernel_backends())
        return ["aten::scaled_dot_product_attention", *ran]

    monkeypatch.setattr(torch_backend, "operators_of", operators_of)
    proven = sdpa(id).prove
    assert proven is not None
    for other in SDPA.values():
        ran[:] = [other[1], "aten::empty"]
        if other[1] == operator:
            assert proven(Prepared(lambda: None, print)) == operator
        else:
            with pytest.raises(KernelMismatch, match=f"expected {operator}, ran aten::scaled_dot.*{other[1]}"):
                proven(Prepared(lambda: None, print))
    assert allowed == [[getattr(torch_backend.torch.nn.attention.SDPBackend, backend)]] * len(SDPA)


def test_what_runs_on_cuda_alone_says_so():
    """And flash takes float64 on the CPU; cuDNN takes 16 bits."""
    assert {id for id in SDPA if sdpa(id).devices == ("cuda",)} == {"torch/sdpa-efficient", "torch/sdpa-cudnn"}
    assert sdpa("torch/sdpa-cudnn").dtypes == ("bfloat16", "float16")
    assert registry.implementations()["jax/nn-cudnn"].devices == ("cuda",)


def flex_on_cuda(monkeypatch, call):
    """torch/flex of a query on a card, whose compiled call is this one."""
    monkeypatch.setattr(torch_flex, "_flex", lambda *_, **__: call)
    query = types.SimpleNamespace(is_cuda=True, requires_grad=True)
    return torch_flex.flex(query, query, query)


def test_flex_refuses_where_inductor_has_no_kernel(monkeypatch):
    """Told when it is called, for that is when it is compiled; gradients are no reason there, as they are on the CPU."""

    def fails(words):
        def call():
            raise RuntimeError(words)

        return flex_on_cuda(monkeypatch, call)

    assert flex_on_cuda(monkeypatch, lambda: "output")() == "output"
    with pytest.raises(Unsupported, match="inductor has no kernel"):
        fails("LoweringException: NoValidChoicesError: No choices to select")()
    with pytest.raises(RuntimeError, match="CUDA error"):
        fails("CUDA error: an illegal memory access was encountered")()


def test_flex_gives_its_log_sum_exp_away_on_cuda_alone():
    """On the CPU it has none."""
    with pytest.raises(Unsupported, match="on the CPU"):
        torch_flex._flex_log_sum_exp(*[types.SimpleNamespace(is_cuda=False)] * 3)
