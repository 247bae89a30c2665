"""Draw the pictures of docs/from-select-to-attention.md.

Run from anywhere: python docs/images/make.py [FOLDER]. The same matplotlib gives the same bytes each time.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")  # before pyplot: no display is needed
import matplotlib.pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image  # comes with matplotlib

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRUIT = ("apple", "banana", "orange", "kiwi", "lemon", "strawberry")
KEYS = np.eye(6)
VALUES = np.array([[10, 5], [12, 9], [9, 53], [9, 93], [3, 53], [5, 59]])
TASTE = np.array([[1.0, 0.0], [2.0, -2.0], [1.0, 1.0], [0.0, 2.0], [-2.0, 2.0], [0.0, 1.0]])
WISH = np.array([1.0, 2.0])
QUERIES = {
    "row 1": KEYS[0],
    "row 4": KEYS[3],
    "row 6": KEYS[5],
    "half row 2,\nhalf row 5": (KEYS[1] + KEYS[4]) / 2,
}
GREY = "#7b828b"  # as readable on a white page as on a dark one; the background is left transparent
ORANGE, BLUE = "#d55e00", "#3d8fc4"  # Okabe and Ito: told apart by everybody, and on both pages


def softmax(scores: np.ndarray) -> np.ndarray:
    """Positive weights that sum to 1 in each row."""
    weights: np.ndarray = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def panels(count: int, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of so many panels in a row. Its size is fixed, so its pixels are: 100 to the inch."""
    mpl.rcdefaults()  # a user's own matplotlibrc must not show
    names = ("axes.labelcolor", "axes.titlecolor", "axes.edgecolor", "text.color", "xtick.color", "ytick.color")
    mpl.rcParams.update(dict.fromkeys(names, GREY))
    mpl.rcParams.update({"font.size": 14, "axes.titlesize": 15, "axes.titlepad": 10})
    layout = ConstrainedLayoutEngine(wspace=0.04)
    return plt.subplots(1, count, figsize=(width, height), dpi=100, layout=layout, **options)


def cells(axes: Axes, numbers: np.ndarray, form: str, **options: Any) -> None:
    """A heat map with its numbers in the cells, dark on light and light on dark."""
    axes.imshow(numbers, **{"cmap": "viridis", "vmin": 0, "vmax": 1, "interpolation": "nearest", **options})
    for (row, column), number in np.ndenumerate(numbers):
        share = number / options.get("vmax", 1)
        axes.text(
            column, row, format(number, form), ha="center", va="center", color="black" if share > 0.45 else "white"
        )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def two_products() -> Figure:
    """A select, drawn as what it is: two matrix products."""
    query = KEYS[3:4]
    shown = (
        ("query", query, "g", 1.0, [""], range(1, 7)),
        ("keys.T", KEYS.T, "g", 1.0, [""] * 6, range(1, 7)),
        ("score", query @ KEYS.T, "g", 1.0, [""], range(1, 7)),
        ("values", VALUES, "g", 93.0, FRUIT, ("sugar", "vit C")),
        ("result", query @ KEYS.T @ VALUES, "g", 93.0, [""], ("sugar", "vit C")),
    )
    figure, row = panels(5, 13.2, 3.2, width_ratios=[6, 6, 6, 3, 3])
    for axes, (title, numbers, form, top, left, below) in zip(row, shown, strict=True):
        cells(axes, numbers, form, vmax=top)
        axes.set_title(title)
        axes.set_yticks(range(len(numbers)), left)
        axes.set_xticks(range(numbers.shape[1]), list(map(str, below)), fontsize=10 if numbers.shape[1] == 2 else 14)
    for axes, sign in zip(row, ("@", "=", "@", "=", ""), strict=True):
        axes.annotate(sign, (1.0, 0.5), (10, 0), "axes fraction", "offset points", fontsize=18, va="center")
    for axes in (row[1], row[3]):  # the row that is found
        at = (2.5, -0.5) if axes is row[1] else (-0.5, 2.5)
        size = (1, 6) if axes is row[1] else (2, 1)
        axes.add_patch(plt.Rectangle(at, *size, fill=False, edgecolor=ORANGE, linewidth=3, clip_on=False))
    return figure


def taste() -> Figure:
    """The fruit as points, the wish as an arrow; what each scores, and what weight that gives."""
    figure, (plane, scores, weights) = panels(3, 13.2, 4.2, width_ratios=[5, 4, 4])
    score, names = TASTE @ WISH, list(FRUIT)
    plane.axhline(0, color=GREY, linewidth=0.8, alpha=0.5)
    plane.axvline(0, color=GREY, linewidth=0.8, alpha=0.5)
    plane.plot([-2, 2], [1, -1], linestyle="--", color=GREY, linewidth=1)
    plane.text(2.1, -1.0, "score 0", fontsize=11, va="center")
    plane.scatter(*TASTE.T, s=70, color=BLUE, zorder=3)
    plane.annotate("", WISH, (0, 0), arrowprops={"arrowstyle": "-|>", "color": ORANGE, "linewidth": 3})
    plane.text(WISH[0] + 0.12, WISH[1] + 0.1, "wish", color=ORANGE, fontweight="bold")
    for name, (sweet, sour) in zip(names, TASTE, strict=True):
        beside = {"kiwi": (-0.12, 0.25, "right"), "strawberry": (-0.15, 0.0, "right"), "banana": (-0.15, 0.0, "right")}
        dx, dy, align = beside.get(name, (0.15, -0.22, "left"))
        plane.text(sweet + dx, sour + dy, name, ha=align, va="center")
    plane.set(xlim=(-3, 3), ylim=(-2.6, 2.7), xlabel="sweet", ylabel="sour", title="keys and a query")
    plane.set_aspect("equal")
    plane.spines[["top", "right"]].set_visible(False)
    for axes, numbers, title, form in ((scores, score, "score", "g"), (weights, softmax(score), "weight", ".2f")):
        bars = axes.barh(names, numbers, color=[ORANGE if number < 0 else BLUE for number in numbers])
        axes.bar_label(bars, [format(number, form) for number in numbers], padding=4)
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_title(title)
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.margins(x=0.18)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    weights.set_yticks(range(6), [""] * 6)
    return figure


def select_and_attention() -> Figure:
    """One table, four queries, and how their weights sharpen as the scale grows."""
    score = np.stack(list(QUERIES.values())) @ KEYS.T
    shown = (
        ("select: the score", score, "g"),
        ("attention: weights, scale 1", softmax(score), ".2f"),
        ("attention: weights, scale 16", softmax(16 * score), ".2f"),
    )
    figure, row = panels(3, 13.2, 3.6, sharey=True)
    for axes, (title, numbers, form) in zip(row, shown, strict=True):
        cells(axes, numbers, form)
        axes.set_title(title)
        axes.set_xlabel("key")
        axes.set_xticks(range(len(KEYS)), [str(number + 1) for number in range(len(KEYS))])
        axes.set_yticks(range(len(numbers)), list(QUERIES))
    row[0].set_ylabel("query")
    return figure


def sharpness() -> Figure:
    """The weights of the wish as the scale grows: from the mean of all rows to one row."""
    figure, axes = panels(1, 9.0, 4.4)
    scales = np.geomspace(0.02, 20, 300)
    weights = softmax(scales[:, None] * (TASTE @ WISH))
    lines = {"kiwi": (3, ORANGE, "-"), "orange": (2, BLUE, "--"), "lemon, strawberry": (4, GREY, "-.")}
    lines |= {"apple": (0, GREY, ":"), "banana": (1, BLUE, ":")}
    for name, (row, colour, style) in lines.items():
        axes.semilogx(scales, weights[:, row], style, color=colour, linewidth=2.5, label=name)
    axes.axvline(2**-0.5, color=GREY, linewidth=1)
    axes.text(2**-0.5 * 1.06, 0.93, "the usual scale", fontsize=12)
    axes.text(0.021, 0.24, "the mean of all rows", fontsize=12)
    axes.text(19, 0.93, "one row", fontsize=12, ha="right")
    axes.set(xlabel="scale", ylabel="weight", ylim=(-0.02, 1.04), xlim=(0.02, 20))
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(0.02, 0.62), fontsize=12)
    return figure


def masks() -> Figure:
    """Who sees whom, for four queries and six keys."""
    t, s = np.arange(4)[:, None], np.arange(6)
    shown = {
        'causal "top_left"': s <= t,
        'causal "bottom_right"': s <= t + 2,
        "window (1, 1)": abs(s - t) <= 1,
        "5 keys of 6 are there": np.broadcast_to(s < 5, (4, 6)),
    }
    figure, row = panels(4, 13.2, 3.0)
    for axes, (title, seen) in zip(row, shown.items(), strict=True):
        axes.imshow(seen, cmap=mpl.colors.ListedColormap([(0, 0, 0, 0), BLUE]), vmin=0, vmax=1, interpolation="nearest")
        for edge in range(7):
            axes.plot([edge - 0.5] * 2, [-0.5, 3.5], color=GREY, linewidth=0.8)
            axes.plot([-0.5, 5.5], [min(edge, 4) - 0.5] * 2, color=GREY, linewidth=0.8)
        axes.set_title(title, fontsize=14)
        axes.set_xticks(range(6), range(1, 7))
        axes.set_yticks(range(4), range(1, 5))
        axes.set_xlabel("key")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    row[0].set_ylabel("query")
    return figure


def heads() -> Figure:
    """Four query heads that share two key/value heads."""
    figure, axes = panels(1, 9.0, 2.6)
    for n in range(4):
        colour = (BLUE, ORANGE)[n // 2]
        axes.plot([n, n // 2 * 2 + 0.5], [1, 0], color=colour, linewidth=2, zorder=1)
        axes.scatter(n, 1, s=1600, color=colour, zorder=2)
        axes.text(n, 1, str(n), ha="center", va="center", color="black", fontsize=16)
    for k in range(2):
        axes.scatter(2 * k + 0.5, 0, s=1900, marker="s", color=(BLUE, ORANGE)[k], zorder=2)
        axes.text(2 * k + 0.5, 0, str(k), ha="center", va="center", color="black", fontsize=16)
    axes.text(-0.55, 1, "query heads, N = 4", ha="right", va="center")
    axes.text(-0.55, 0, "key/value heads, K = 2", ha="right", va="center")
    axes.set(xlim=(-2.6, 3.5), ylim=(-0.45, 1.45))
    axes.axis("off")
    return figure


def tiles() -> Figure:
    """How fused kernels go over the scores: tile by tile, with what a row of tiles has gathered so far."""
    figure, axes = panels(1, 9.0, 3.4)
    for row in range(3):
        for column in range(5):
            here, done = (row, column) == (1, 2), (row, column) < (1, 2)
            face = ORANGE if here else BLUE if done else "none"
            axes.add_patch(
                plt.Rectangle((column, -row), 0.94, -0.94, facecolor=face, edgecolor=GREY, alpha=1 if here else 0.55)
            )
    axes.annotate("", (2.9, -1.47), (2.05, -1.47), arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 2})
    told = (
        (5.25, -0.47, "finished: a row of tiles is\none block of outputs"),
        (5.25, -1.47, "in the making: maximum, sum and\nweighted values, so far"),
        (5.25, -2.47, "not yet looked at"),
    )
    for x, y, words in told:
        axes.text(x, y, words, va="center", fontsize=13)
    axes.text(2.47, 0.25, "keys", ha="center")
    axes.text(-0.15, -1.47, "queries", ha="right", va="center", rotation=90)
    axes.set(xlim=(-0.6, 9.4), ylim=(-3.05, 0.5))
    axes.axis("off")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "two-products.png": two_products,
    "taste.png": taste,
    "select-and-attention.png": select_and_attention,
    "sharpness.png": sharpness,
    "heads.png": heads,
    "masks.png": masks,
    "tiles.png": tiles,
}


def draw(folder: Path) -> None:
    """Write all pictures."""
    for name, picture in PICTURES.items():
        figure, rendered = picture(), io.BytesIO()
        figure.savefig(rendered, transparent=True)
        plt.close(figure)
        # 64 colours are enough and a third of the bytes; what matplotlib writes about itself is left behind, too.
        Image.open(rendered).quantize(64, method=Image.Quantize.FASTOCTREE).save(folder / name, "PNG", optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
