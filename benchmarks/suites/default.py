"""The main job: what encoders, decoders, vision and cross attention ask for, sized for two cores."""

from benchmarks.cases import case

_LLAMA = "Llama 3 8B: 32 query heads, 8 key/value heads, head size 128 (arXiv 2407.21783, table 3)"
_BERT = "BERT-base: 12 heads, head size 64 (arXiv 1810.04805), padded as question answering batches are"
_CROSS = "text-to-image cross attention over 77 text tokens (PyTorch, test_transformers.py)"

CASES = (
    case("self-128", "short self-attention, where call overhead shows", T=128),
    case("self-2048", "long self-attention, where matrix products and softmax show", T=2048),
    case("bert-384", _BERT, B=2, T=384, N=12, kv_lengths=(384, 201)),
    case("bert-512", _BERT, B=2, T=512, N=12, kv_lengths=(512, 317)),
    case("vit-197", "ViT-B/16: 196 patches and a class token, 12 heads (arXiv 2010.11929)", B=2, T=197, N=12),
    case("llama-prefill-512", _LLAMA, T=512, N=32, K=8, H=128, causal="top_left"),
    case("llama-decode-4096", _LLAMA, T=1, S=4096, N=32, K=8, H=128, causal="bottom_right"),
    case("cross-256x77", _CROSS, B=2, T=256, S=77, N=10),
    case("self-512-bfloat16", "mid-size self-attention in the training dtype", T=512, dtype="bfloat16"),
    case("self-512-float16", "mid-size self-attention in the inference dtype", T=512, dtype="float16"),
)
