"""Self-attention from 128 keys upwards, doubling: how time and memory grow."""

from benchmarks.cases import case

CASES = tuple(
    case(f"length-{S}", "doubling lengths, one head", T=S, N=1) for S in (128, 256, 512, 1024, 2048, 4096, 8192)
)
