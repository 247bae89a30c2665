"""What masks, biases, windows and lengths cost on one and the same shape."""

from benchmarks.cases import case

_HERE = "one shape for all, so that only the semantics differ"
_S = 1024

CASES = (
    case("plain", _HERE, T=_S),
    case("causal", _HERE, T=_S, causal="top_left"),
    case("causal-bottom-right", "chunked prefill: 256 new tokens after 768", T=256, S=_S, causal="bottom_right"),
    case("mask-random", _HERE, T=_S, mask="random"),
    case("mask-documents", "four packed sequences", T=_S, mask="documents"),
    case("mask-prefix", "prefix-LM (arXiv 1910.10683)", T=_S, mask="prefix"),
    case("bias", "relative position bias (arXiv 1910.10683)", T=_S, bias="random"),
    case("alibi-causal", "ALiBi (arXiv 2108.12409)", T=_S, bias="alibi", causal="top_left"),
    case("window-128", "sliding window (Mistral 7B, arXiv 2310.06825)", T=_S, causal="top_left", window=(128, 0)),
    case("softcap-50", "Gemma 2 (arXiv 2408.00118)", T=_S, causal="top_left", softcap=50.0),
    case("lengths", "a padded batch", B=4, T=512, kv_lengths=(512, 400, 256, 77)),
)
