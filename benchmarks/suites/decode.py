"""One new token over a growing cache, and over a growing batch: bound by memory, not by arithmetic."""

from benchmarks.cases import case

_LLAMA = "Llama 3 8B: 32 query heads, 8 key/value heads, head size 128 (arXiv 2407.21783, table 3)"
_QWEN = "Qwen2.5 7B: 28 query heads, 4 key/value heads, head size 128, 131072 tokens (arXiv 2412.15115, table 1)"
_GRID = "PyTorch, benchmarks/transformer/configs/config_decoding.yaml"

CASES = (
    # Four key/value heads: the longest cache takes 256 MiB, of which each implementation holds one.
    *(
        case(f"decode-length-{S}", _QWEN, T=1, S=S, N=28, K=4, H=128, causal="bottom_right")
        for S in (1024, 2048, 4096, 8192, 16384, 32768, 65536)
    ),
    *(
        case(f"decode-batch-{B}x2048", _GRID, B=B, T=1, S=2048, N=16, K=2, H=64, causal="bottom_right")
        for B in (1, 4, 8, 16)
    ),
    case("decode-grouped-4096", _LLAMA, T=1, S=4096, N=32, K=8, H=128, causal="bottom_right"),
    case("decode-heads-4096", _GRID, T=1, S=4096, N=16, H=64, causal="bottom_right"),
    case("decode-one-head-4096", f"multi-query; {_GRID}", T=1, S=4096, N=16, K=1, H=64, causal="bottom_right"),
    case(
        "decode-batch-2048",
        f"a batch of unlike lengths; {_GRID}",
        B=8,
        T=1,
        S=2048,
        N=16,
        K=2,
        H=64,
        kv_lengths=(2048, 1500, 1024, 700, 512, 200, 64, 1),
    ),
)
