"""The same attention with a running softmax over blocks of keys (FlashAttention's recurrence), made to be broken, too."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from tests.mutants.attention import Array, Attention


class Blocked(Attention):
    """Walks over the keys; what it has so far is rescaled where a higher score turns up."""

    size = 7

    def blocks(self) -> list[Any]:
        """Which keys belong together, in the order of the walk."""
        return [slice(start, min(start + self.size, self.S)) for start in range(0, self.S, self.size)]

    def raised(self, highest: Array, scores: Array) -> Array:
        """The highest score after one more block."""
        return np.maximum(highest, scores.max(axis=-1, keepdims=True, initial=-np.inf))

    def kept(self, before: Array, after: Array) -> Array:
        """What the sums so far are multiplied by."""
        return np.where(np.isneginf(before), 0, np.exp(before - np.where(np.isneginf(after), 0, after)))

    def kept_total(self, before: Array, after: Array) -> Array:
        return self.kept(before, after)

    def kept_sums(self, before: Array, after: Array) -> Array:
        return self.kept(before, after)

    @cached_property
    def walked(self) -> tuple[Array, Array, Array]:
        """The highest scores, the sums of the weights, and the weighted sums of the values."""
        values = self.values()
        highest = np.full((self.B, self.N, self.T, 1), -np.inf, self.wide)
        total, sums = np.zeros_like(highest), np.zeros((self.B, self.N, self.T, self.V), self.wide)
        for block in self.blocks():
            scores = self.scores[..., block]
            raised = self.raised(highest, scores)
            weights = self.exp(scores - np.where(np.isneginf(raised), 0, raised))
            total = total * self.kept_total(highest, raised) + self.summed(weights)
            sums = sums * self.kept_sums(highest, raised) + weights @ values[:, :, block]
            highest = raised
        return highest, total, sums

    def mixed(self) -> Array:
        _, total, sums = self.walked
        return self.divided(sums, total)

    def log_sum_exp(self) -> Array:
        highest, total, _ = self.walked
        with np.errstate(divide="ignore"):
            return (highest + np.log(total))[..., 0]

    def again(self) -> Array:
        """Computed again from the log-sum-exp, which is all that the way forth leaves behind."""
        log = self.log_sum_exp()[..., None]
        return np.exp(self.scores - np.where(np.isneginf(log), 0, log))
