"""Self-attention from 128 keys upwards, doubling: how time and memory grow.

An implementation ends where one call would take longer than 2 s, or where memory does: see benchmarks.harness.sweep.
"""

from benchmarks.cases import case

CASES = tuple(
    case(f"length-{S}", "doubling lengths, one head", T=S, N=1)
    for S in (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
)
