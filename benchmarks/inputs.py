"""Seeded inputs: the same bytes for every framework, from a case's name and a seed alone."""

from __future__ import annotations

import zlib

import numpy as np

from backends.accuracy import round_to
from backends.problem import Inputs, Shape
from benchmarks.cases import Case


def make(case: Case, seed: int) -> Inputs:
    """Query, key and value from N(0,1), rounded to the case's dtype, with the mask, bias and lengths that it names.

    For a backward pass the upstream gradient is from N(0,1) too.
    """
    rng = np.random.default_rng([seed, zlib.crc32(case.name.encode())])
    shape = case.shape
    wide = np.float64 if case.dtype == "float64" else np.float32

    def normal(*size: int) -> np.ndarray:
        return round_to(rng.standard_normal(size, dtype=wide), case.dtype)

    query = normal(shape.B, shape.T, shape.N, shape.H)
    key = normal(shape.B, shape.S, shape.K, shape.H)
    value = normal(shape.B, shape.S, shape.K, shape.V)
    bias = None
    if case.bias == "random":
        bias = normal(1, shape.N, shape.T, shape.S)
    elif case.bias == "alibi":
        bias = round_to(_alibi(shape).astype(wide), case.dtype)
    mask = None if case.mask is None else _mask(case.mask, shape, rng)
    lengths = None if case.kv_lengths is None else np.array(case.kv_lengths, np.int32)
    # Last, so that all else is the same in both passes.
    upstream = normal(shape.B, shape.T, shape.N, shape.V) if case.backward else None
    return Inputs(query, key, value, case.dtype, mask=mask, bias=bias, kv_lengths=lengths, upstream=upstream)


def _alibi(shape: Shape) -> np.ndarray:
    """-slope * distance (Press et al., 2022), slopes 2**(-8 i / N); (1,N,T,S)."""
    slopes = 2.0 ** (-8.0 * np.arange(1, shape.N + 1) / shape.N)
    distance = np.abs(np.arange(shape.T)[:, None] + shape.S - shape.T - np.arange(shape.S)[None, :])
    out: np.ndarray = -slopes[None, :, None, None] * distance
    return out


def _mask(kind: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Bool (b,1,T,S) in which every query sees at least one key."""
    t, s = np.arange(shape.T)[:, None], np.arange(shape.S)[None, :]
    home = t * shape.S // shape.T  # the key that stands where the query stands
    if kind == "random":
        return (rng.random((shape.B, 1, shape.T, shape.S)) < 0.5) | (s == home)
    if kind == "prefix":  # every query sees the first quarter, and what came before it
        return ((s < max(1, shape.S // 4)) | (s <= home))[None, None]
    documents = 4  # packed sequences of equal length that do not see each other
    return (home * documents // shape.S == s * documents // shape.S)[None, None]
