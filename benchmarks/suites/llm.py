"""Prefill shapes of named models."""

from benchmarks.cases import case

CASES = (
    case("llama-3-8b-2048", "arXiv 2407.21783, table 3", T=2048, N=32, K=8, H=128, causal="top_left"),
    case("gemma-2-9b-1024", "arXiv 2408.00118, table 1", T=1024, N=16, K=8, H=256, causal="top_left", softcap=50.0),
    case(
        "mistral-7b-2048",
        "arXiv 2310.06825, table 1: a window of 4096, which a prompt of 2048 does not fill",
        T=2048,
        N=32,
        K=8,
        H=128,
        causal="top_left",
        window=(4095, 0),
    ),
    case(
        "deepseek-v2-lite-1024",
        "arXiv 2405.04434, appendix B: 16 heads, head size 192 (128, and 64 that carry the position), value size 128",
        T=1024,
        N=16,
        H=192,
        V=128,
        causal="top_left",
    ),
    case(
        "gpt-2-1024",
        "Radford et al. 2019, table 2 (the smallest; openai/gpt-2, 124M: n_head 12, n_embd 768)",
        T=1024,
        N=12,
        causal="top_left",
    ),
    case("bert-base-512", "arXiv 1810.04805", B=4, T=512, N=12, kv_lengths=(512, 384, 256, 128)),
)
