"""One new token over a growing cache: bound by memory, not by arithmetic."""

from benchmarks.cases import case

_LLAMA = "Llama 3 8B: 32 query heads, 8 key/value heads, head size 128 (arXiv 2407.21783, table 3)"
_GRID = "PyTorch, benchmarks/transformer/configs/config_decoding.yaml"

CASES = (
    *(
        case(f"decode-grouped-{S}", _LLAMA, T=1, S=S, N=32, K=8, H=128, causal="bottom_right")
        for S in (1024, 4096, 16384)
    ),
    case("decode-heads-4096", _GRID, T=1, S=4096, N=16, H=64, causal="bottom_right"),
    case("decode-one-head-4096", f"multi-query; {_GRID}", T=1, S=4096, N=16, K=1, H=64, causal="bottom_right"),
    case(
        "decode-batch-2048",
        _GRID,
        B=8,
        T=1,
        S=2048,
        N=16,
        K=2,
        H=64,
        kv_lengths=(2048, 1500, 1024, 700, 512, 200, 64, 1),
    ),
)
