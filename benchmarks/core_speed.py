"""Times at one core speed: what the canary beside a block says about the machine is taken out of the block's time.

An analysis of covariance: within each process, how far the log times of a cell follow the log times of the canary (its slope),
and each block moved along that slope to where the canary takes a given time. Kernels differ: sharing a core with a neighbour
costs a loop over the smallest cache more than a matrix product, so every cell has a slope of its own, leaning on that of all.
"""

from __future__ import annotations

import numpy as np

QUIET = 0.25
"""Quantile of the canary that counts as undisturbed. Over three runs of the default suite, 86 % of the cells agreed within
5 % at the quantile 0.1 and 90 % at this one: the farther from the middle, the more the error of a slope counts."""
_FARTHEST = 0.4
"""Of a log time from its process's mean: what is beyond is an outlier and pulls no farther than this."""
_PRIOR_BLOCKS = 100
"""So many blocks of a cell count as much as what all cells together say about its slope: a run has fewer of most cells."""
_STEADY = 1e-4
"""A canary that moves by less than this share says nothing."""
_STEEPEST = 1.2
"""A slope of 1 is a clock rate; nothing follows the canary more than that."""


def slopes(cell: np.ndarray, process: np.ndarray, log_time: np.ndarray, log_canary: np.ndarray) -> np.ndarray:
    """The slope of each cell, between 0 and _STEEPEST.

    `cell` numbers the cell of each block from 0; `process` numbers each process of each cell, all different.
    """
    x, y = _within(process, log_canary), _within(process, log_time)
    cells = int(cell.max()) + 1 if len(cell) else 0
    together, squares = np.bincount(cell, x * y, cells), np.bincount(cell, x * x, cells)
    if squares.sum() <= _STEADY**2 * len(cell):
        return np.zeros(cells)
    pooled = together.sum() / squares.sum()
    prior = _PRIOR_BLOCKS * squares.sum() / len(cell)
    return np.clip((together + prior * pooled) / (squares + prior), 0.0, _STEEPEST)


def _within(process: np.ndarray, values: np.ndarray) -> np.ndarray:
    means = np.bincount(process, values) / np.maximum(np.bincount(process), 1)
    return np.clip(values - means[process], -_FARTHEST, _FARTHEST)


def at_speed(
    cell: np.ndarray, process: np.ndarray, log_time: np.ndarray, log_canary: np.ndarray, log_reference: float
) -> np.ndarray:
    """The log time that each block would have taken where the canary takes exp(log_reference)."""
    slope = slopes(cell, process, log_time, log_canary)
    return log_time - slope[cell] * (log_canary - log_reference)
