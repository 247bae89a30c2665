"""How often a history cries about noise, and how often it finds what was planted: the figures of docs/history.md.

python -m tests.history_truth          # prints the tables anew, in about ten minutes
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from benchmarks.history.change_points import find
from benchmarks.history.trends import ALPHA, THRESHOLD
from tests.histories import noise

KINDS = ("normal", "uneven", "heavy", "drifting")
SIZES = (0.05, 0.1, 0.2)
PLACES = ("middle", "three runs ago")


def false_alarms(kind, cells, runs, trials, seed=0):
    """Of `trials` histories of noise, how many show a change."""
    rng = np.random.default_rng(seed)
    return sum(
        any(found.steps for found in find(list(noise(rng, cells, runs, kind)), ALPHA, THRESHOLD)) for _ in range(trials)
    )


def detections(kind, cells, runs, size, place, trials, seed=1):
    """(found, planted): changes of a tenth of the cells, found within one run of where they are."""
    rng = np.random.default_rng(seed)
    at = runs // 2 if place == PLACES[0] else runs - 3
    changed = max(1, cells // 10)
    hits = 0
    for _ in range(trials):
        logs = noise(rng, cells, runs, kind)
        logs[:changed, at:] += math.log1p(size)
        found = find(list(logs), ALPHA, THRESHOLD)
        hits += sum(any(abs(step.place - at) <= 1 for step in found[cell].steps) for cell in range(changed))
    return hits, trials * changed


def _tables():
    sizes = ((30, 8), (30, 16), (30, 50), (1, 16), (1, 50))
    print("| noise | " + " | ".join(f"{cells} cell{'s' * (cells > 1)}, {runs} runs" for cells, runs in sizes) + " |")
    print("| --- |" + " ---: |" * len(sizes))
    for kind in KINDS:
        counts = [(false_alarms(kind, cells, runs, 400), 400) for cells, runs in sizes]
        print(f"| {kind} | " + " | ".join(f"{count} of {trials}" for count, trials in counts) + " |")
    print()
    head = [f"{100 * size:.0f} %, {place}" for size, place in itertools.product(SIZES, PLACES)]
    print("| noise, 30 cells | " + " | ".join(head) + " |")
    print("| --- |" + " ---: |" * len(head))
    for runs, kind in itertools.product((8, 16, 50), KINDS):
        found = [detections(kind, 30, runs, size, place, 60) for size, place in itertools.product(SIZES, PLACES)]
        print(f"| {kind}, {runs} runs | " + " | ".join(f"{100 * hits / of:.0f} %" for hits, of in found) + " |")


if __name__ == "__main__":
    _tables()
