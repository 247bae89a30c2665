"""All frameworks in less than a minute: one plain case and one that uses most of what a decoder asks for."""

from benchmarks.cases import case

CASES = (
    case("tiny-self", "the smallest shape that still fills a vector unit", B=2, T=64, N=4, H=32),
    case("tiny-grouped-causal", "a decoder's prefill in small", T=96, N=8, K=2, H=32, causal="top_left"),
)
