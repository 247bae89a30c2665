"""The grid of the FlashAttention papers: 16384 tokens, hidden size 2048, causal or not, half precision. For accelerators."""

from benchmarks.cases import case

_SOURCE = "flash-attention, benchmarks/benchmark_flash_attention.py; arXiv 2307.08691, section 4.1"

CASES = tuple(
    case(
        f"flash-{S}-h{H}-{'causal' if causal else 'full'}-{dtype}",
        _SOURCE,
        B=16384 // S,
        T=S,
        N=2048 // H,
        H=H,
        causal=causal,
        dtype=dtype,
    )
    for dtype in ("bfloat16", "float16")
    for H in (64, 128)
    for causal in (None, "top_left")
    for S in (512, 1024, 2048, 4096, 8192, 16384)
)
