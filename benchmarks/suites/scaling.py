"""Self-attention from 128 keys upwards, doubling: how time and memory grow.

An implementation ends where one call would take longer than 2 s, or where memory does, and all of them where the oracle
would take longer than a step may: see benchmarks.harness.sweep. No machine known to us comes to the last rung.
"""

from benchmarks.cases import case

CASES = tuple(
    case(f"length-{128 << doublings}", "doubling lengths, one head", T=128 << doublings, N=1) for doublings in range(14)
)
