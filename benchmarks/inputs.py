"""Seeded inputs: the same bytes for every framework, from a case's name and a seed alone."""

from __future__ import annotations

import zlib

import numpy as np

from backends.accuracy import round_to
from backends.problem import Inputs, Shape
from benchmarks.cases import Case

LARGE = {"float64": 64.0, "float32": 64.0, "bfloat16": 2.0, "float16": 4.0}
"""What queries or keys are made larger by, where a case asks for it. In float32 and float16 exp(score) then overflows; 16-bit
scores must not be so large that their own rounding decides the softmax: see accuracy.ILL_CONDITIONED."""


def make(case: Case, seed: int) -> Inputs:
    """Query, key and value from N(0,1), rounded to the case's dtype, with the mask, bias and lengths that it names.

    For a backward pass the upstream gradient is from N(0,1) too. Other `values` than normal ones: "outliers": one number in
    a thousand has N(0,100) added, as in FlashAttention-3 (arXiv 2407.08608); "large-queries": queries from
    N(0, LARGE**2); "constant-keys": large keys that are all the same, so that a row's scores are.
    """
    rng = np.random.default_rng([seed, zlib.crc32(case.name.encode())])
    shape = case.shape
    wide = np.float64 if case.dtype == "float64" else np.float32

    def normal(*size: int) -> np.ndarray:
        return round_to(rng.standard_normal(size, dtype=wide), case.dtype)

    query = normal(shape.B, shape.T, shape.N, shape.H)
    key = normal(shape.B, shape.S, shape.K, shape.H)
    value = normal(shape.B, shape.S, shape.K, shape.V)
    if case.values == "outliers":
        query, key, value = (_with_outliers(array, case.dtype, rng) for array in (query, key, value))
    elif case.values == "large-queries":
        query = query * LARGE[case.dtype]  # a power of two: exact, and a Python float keeps the dtype
    elif case.values == "constant-keys":
        key = np.repeat(key[:, :1] * LARGE[case.dtype], shape.S, axis=1)
    bias = None
    if case.bias == "random":
        bias = normal(1, shape.N, shape.T, shape.S)
    elif case.bias == "full":
        bias = normal(shape.B, shape.N, shape.T, shape.S)
    elif case.bias == "keys":
        bias = normal(shape.B, 1, 1, shape.S)
    elif case.bias == "alibi":
        bias = round_to(_alibi(shape).astype(wide), case.dtype)
    mask = None if case.mask is None else _mask(case.mask, shape, rng)
    lengths = None if case.kv_lengths is None else np.array(case.kv_lengths, np.int32)
    # Last, so that all else is the same in both passes.
    upstream = normal(shape.B, shape.T, shape.N, shape.V) if case.backward else None
    return Inputs(query, key, value, case.dtype, mask=mask, bias=bias, kv_lengths=lengths, upstream=upstream)


def _with_outliers(array: np.ndarray, dtype: str, rng: np.random.Generator) -> np.ndarray:
    """N(0,100) added to one number in a thousand, at random."""
    far = 10 * rng.standard_normal(array.shape) * (rng.random(array.shape) < 0.001)
    return round_to(array + far, dtype)


def _alibi(shape: Shape) -> np.ndarray:
    """-slope * distance (Press et al., 2022), slopes 2**(-8 i / N); (1,N,T,S)."""
    slopes = 2.0 ** (-8.0 * np.arange(1, shape.N + 1) / shape.N)
    distance = np.abs(np.arange(shape.T)[:, None] + shape.S - shape.T - np.arange(shape.S)[None, :])
    out: np.ndarray = -slopes[None, :, None, None] * distance
    return out


def _mask(kind: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Bool (b,n,t,S) in which every query sees at least one key."""
    t, s = np.arange(shape.T)[:, None], np.arange(shape.S)[None, :]
    home = t * shape.S // shape.T  # the key that stands where the query stands
    if kind in ("random", "heads"):  # the same for all heads, or each its own
        heads = 1 if kind == "random" else shape.N
        return (rng.random((shape.B, heads, shape.T, shape.S)) < 0.5) | (s == home)
    if kind == "padding":  # the first keys of each batch element are padding, of each another number of them
        first = (np.arange(shape.B) + 1) * shape.S // (shape.B + 2)
        return (s >= first[:, None])[:, None, None]
    if kind == "prefix":  # every query sees the first quarter, and what came before it
        return ((s < max(1, shape.S // 4)) | (s <= home))[None, None]
    documents = 4  # packed sequences of equal length that do not see each other
    return (home * documents // shape.S == s * documents // shape.S)[None, None]
