"""Draw select-and-attention.png: one table, four queries, and how their weights sharpen as the scale grows.

Run from anywhere: python docs/images/make.py [FILE]. The same matplotlib gives the same bytes each time.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

mpl.use("Agg")  # before pyplot: no display is needed
import matplotlib.pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image  # comes with matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = np.eye(6)
QUERIES = {
    "row 1": KEYS[0],
    "row 4": KEYS[3],
    "row 6": KEYS[5],
    "half row 2,\nhalf row 5": (KEYS[1] + KEYS[4]) / 2,
}
GREY = "#7b828b"  # as readable on a white page as on a dark one; the background is left transparent


def softmax(scores: np.ndarray) -> np.ndarray:
    """Positive weights that sum to 1 in each row."""
    weights: np.ndarray = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def panel(axes: Axes, title: str, numbers: np.ndarray, form: str) -> None:
    """One heat map with its numbers in the cells, dark on light and light on dark."""
    axes.imshow(numbers, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_xlabel("key")
    axes.set_xticks(range(len(KEYS)), [str(row + 1) for row in range(len(KEYS))])
    axes.set_yticks(range(len(numbers)), list(QUERIES))
    for (row, column), number in np.ndenumerate(numbers):
        colour = "black" if number > 0.45 else "white"
        axes.text(column, row, format(number, form), ha="center", va="center", color=colour, fontsize=12)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw(file: Path) -> None:
    """Write the picture. The figure's size is fixed, so its pixels are: 1320 x 360."""
    score = np.stack(list(QUERIES.values())) @ KEYS.T
    panels = (
        ("select: the score", score, "g"),
        ("attention: weights, scale 1", softmax(score), ".2f"),
        ("attention: weights, scale 16", softmax(16 * score), ".2f"),
    )
    mpl.rcdefaults()  # a user's own matplotlibrc must not show
    mpl.rcParams.update(dict.fromkeys(("axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), GREY))
    mpl.rcParams.update({"font.size": 14, "axes.titlesize": 15, "axes.titlepad": 10})
    layout = ConstrainedLayoutEngine(wspace=0.04)
    figure, row = plt.subplots(1, len(panels), sharey=True, figsize=(13.2, 3.6), dpi=100, layout=layout)
    for axes, (title, numbers, form) in zip(row, panels, strict=True):
        panel(axes, title, numbers, form)
    row[0].set_ylabel("query")
    rendered = io.BytesIO()
    figure.savefig(rendered, transparent=True)
    plt.close(figure)
    # 64 colours are enough and a third of the bytes; what matplotlib writes about itself is left behind, too.
    Image.open(rendered).quantize(64, method=Image.Quantize.FASTOCTREE).save(file, "PNG", optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("select-and-attention.png"))
