"""Three lines that a person can act on, computed from the records: what to use, what to avoid, what is surprising."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.harness.state import State
    from benchmarks.records import Record

_NAMES = {"numpy": "NumPy"}
_TELL_MATMUL = 1.5
_TELL_SLOWER_THAN_NAIVE = 1.3


def winners(records: Sequence[Record]) -> dict[str, Record]:
    """Case -> its fastest right cell."""
    best: dict[str, Record] = {}
    for record in records:
        if record.median_s is None:
            continue
        known = best.get(record.case)
        if known is None or known.median_s is None or record.median_s < known.median_s:
            best[record.case] = record
    return best


def mean_ratios(records: Sequence[Record]) -> dict[str, tuple[float, int, Record, float]]:
    """Implementation -> (geometric mean of time over the winner's, cases, its worst cell, that cell's ratio)."""
    best = winners(records)
    ratios: dict[str, list[tuple[float, Record]]] = defaultdict(list)
    for record in records:
        if record.median_s is not None:
            fastest = best[record.case].median_s
            ratios[record.implementation].append((record.median_s / (fastest or 1.0), record))
    found = {}
    for implementation, pairs in ratios.items():
        mean = math.exp(sum(math.log(ratio) for ratio, _ in pairs) / len(pairs))
        ratio, worst = max(pairs, key=lambda pair: pair[0])
        found[implementation] = (mean, len(pairs), worst, ratio)
    return found


def three_lines(records: Sequence[Record], state: State) -> list[str]:
    """Fastest right implementation overall, the one to avoid, and the most surprising thing, in this order."""
    means = mean_ratios(records)
    if not means:
        return ["Nothing was timed: no cell ended ok."]
    cases = len({r.case for r in records})
    most = max(count for _, count, _, _ in means.values())
    complete = {i: m for i, m in means.items() if m[1] == most}
    first = min(complete, key=lambda i: complete[i][0])
    wins = sum(1 for r in winners(records).values() if r.implementation == first)
    lines = [
        f"Fastest overall: {first}, {means[first][0]:.2f}x the winner's time on average, best in {wins} of {cases} cases."
    ]
    rivals = {i: m for i, m in means.items() if i != first}
    if rivals:
        last = max(rivals, key=lambda i: rivals[i][0])
        mean, _, worst, ratio = rivals[last]
        lines.append(f"Avoid: {last}, {mean:.1f}x the winner's time on average, {ratio:.0f}x on {worst.case}.")
    lines.append(f"Surprising: {surprise(records, state)}")
    return lines


def surprise(records: Sequence[Record], state: State) -> str:
    """The largest of: a wrong or failed cell, a handicap, matmul rates apart, a kernel slower than the naive form."""
    wrong = [r for r in records if r.status is Status.INCORRECT]
    if wrong:
        names = sorted({r.implementation for r in wrong})
        return f"{', '.join(names)} gave wrong answers and was not timed there: {wrong[0].case}: {wrong[0].reason}"
    candidates = [*_handicaps(state), *_matmul(state.matmul_gflops), *_slower_than_naive(records)]
    if not candidates:
        return "nothing; no framework's matmul is far behind another's, and no kernel is slower than its naive form."
    return max(candidates)[1]


def handicap_line(handicap: Mapping[str, Any]) -> str:
    """A proven handicap, with its factor."""
    framework = handicap.get("framework", "numpy")  # older journals tell of NumPy alone
    rate, free = handicap["gflops"], handicap["gflops_without"]
    return (
        f"{handicap['variable']}: {_NAMES.get(framework, framework)}'s matmul at {rate / free:.2f} of what this processor "
        f"does ({rate:.0f} of {free:.0f} GFLOP/s)"
    )


def handicap_warning(handicap: Mapping[str, Any]) -> str:
    """The same as a warning, with the remedy."""
    return f"handicap: {handicap_line(handicap)}; --env neutral does without"


def _handicaps(state: State) -> list[tuple[float, str]]:
    return [(10 * h["gflops_without"] / h["gflops"], f"{handicap_line(h)}.") for h in state.handicaps]


def _matmul(rates: Mapping[str, Mapping[str, float]]) -> list[tuple[float, str]]:
    found = []
    for dtype, by_framework in rates.items():
        if len(by_framework) < 2:
            continue
        slow, fast = min(by_framework, key=lambda f: by_framework[f]), max(by_framework, key=lambda f: by_framework[f])
        ratio = by_framework[fast] / by_framework[slow]
        if ratio >= _TELL_MATMUL:
            told = (
                f"{slow}'s {dtype} matmul runs at {by_framework[slow]:.0f} GFLOP/s, "
                f"{fast}'s at {by_framework[fast]:.0f} on the same machine."
            )
            # Half-precision matmul is known to be slow on processors without it; float32 is what people do not expect.
            found.append((ratio * (3 if dtype == "float32" else 0.1), told))
    return found


def _slower_than_naive(records: Sequence[Record]) -> list[tuple[float, str]]:
    found = []
    for r in records:
        if r.speedup is not None and r.speedup < 1 / _TELL_SLOWER_THAN_NAIVE and not r.implementation.endswith("naive"):
            told = f"{r.implementation} takes {1 / r.speedup:.1f}x the time of {r.framework}'s naive form on {r.case}."
            found.append((1 / r.speedup, told))
    return found
