"""python -m tests.soak --minutes 60: `run` in a loop, in one process; does anything grow? 1 if something does.

Memory of the parent and of its workers, open files, threads, files left in the folder for temporary ones and in shared memory,
and the seconds that an empty call takes in the timed loop. What grows is told by the slope over all rounds but the first
tenth (Theil and Sen: the median of all slopes, which a neighbour's moment does not move) and its 95 % interval.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from rich.table import Table
from scipy import stats

from benchmarks.cases import Case, parse_shape
from benchmarks.harness.state import Event, State
from benchmarks.measure import measure
from benchmarks.plan import Plan
from benchmarks.reports.terminal import console, run_table
from benchmarks.run_folder import RunFolder

_MB = 2**20
_SHARED = Path("/dev/shm")
_LEFT_BY = ("psm_", "sem.", "torch_", "attnbench-")
"""How names begin there that Python, torch and this program could leave; browsers and others use it too."""


@dataclass(frozen=True)
class Quantity:
    """What is watched, and by how much it may grow over the whole soak: absolutely, or as a share of what it was."""

    unit: str
    allowed: float
    share: float = 0.0


WATCHED: Mapping[str, Quantity] = {
    "parent memory": Quantity("MB", 5.0, 0.01),  # rich remembers the widths of 4,096 texts: 1 to 2 MB after 300 runs
    "worker memory": Quantity("MB", 4.0, 0.01),
    "open files": Quantity("", 0.5),
    "threads": Quantity("", 0.5),
    "children left": Quantity("", 0.5),
    "temporary files": Quantity("", 0.5),
    "shared memory": Quantity("files", 0.5),
    "empty call": Quantity("ns", 2.0, 0.05),
}
"""Workers of several frameworks, and their empty calls, are watched one by one: "empty call, numpy"."""


@dataclass(frozen=True)
class Trend:
    """Growth over the whole soak, with its interval."""

    first: float
    last: float
    growth: float
    low: float
    high: float
    grows: bool


def judge(values: Sequence[float], quantity: Quantity) -> Trend:
    """Grows: surely above 0, and by more than is allowed."""
    kept = np.asarray(values[len(values) // 10 :], float)
    middle = float(np.median(kept))
    if len(kept) < 3 or np.ptp(kept) == 0:
        return Trend(float(kept[0]), float(kept[-1]), 0.0, 0.0, 0.0, grows=False)
    slope, _, low, high = (float(x) * (len(kept) - 1) for x in stats.theilslopes(kept))
    allowed = max(quantity.allowed, quantity.share * middle)
    # A step that happens once in many rounds has a slope of 0: thirds of the rounds show it.
    third = len(kept) // 3
    step = float(np.median(kept[-third:]) - np.median(kept[:third])) if third else 0.0
    return Trend(
        float(kept[0]), float(kept[-1]), slope, low, high, grows=(low > 0 and slope > allowed) or step > allowed
    )


def one_round(plan: Plan, folder: Path) -> dict[str, float]:
    """A run, and what there is after it; its folder is removed."""
    workers: dict[str, float] = defaultdict(float)

    def show(event: Event) -> None:
        if event["event"] == "block":
            for child in psutil.Process().children():
                words = child.cmdline()
                if "--framework" in words:
                    name = words[words.index("--framework") + 1]
                    workers[name] = max(workers[name], child.memory_info().rss / _MB)

    state = State()
    outcome = measure(plan, RunFolder.create(folder, plan), state, show)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, no path of ours
        out = console()
        out.file = nowhere
        out.print(run_table(outcome.records))
    if not all(record.median_s for record in outcome.records):
        raise SystemExit(f"a cell was not timed: {[record.reason for record in outcome.records]}")
    shutil.rmtree(folder)
    here = psutil.Process()
    return {
        "parent memory": here.memory_info().rss / _MB,
        "open files": here.num_fds(),
        "threads": here.num_threads(),
        "children left": len(here.children(recursive=True)),
        "temporary files": sum(1 for _ in Path(tempfile.gettempdir()).rglob("*")),
        "shared memory": sum(1 for file in _SHARED.glob("*") if file.name.startswith(_LEFT_BY)),
        **{f"worker memory, {name}": size for name, size in workers.items()},
        **{f"empty call, {name}": 1e9 * seconds for name, seconds in state.call_overhead_s.items()},
    }


def soak(minutes: float, implementations: tuple[str, ...], folder: Path) -> dict[str, list[float]]:
    """Round after round until the time is up: quantity -> its value after each."""
    plan = Plan(
        suite="shape",
        cases=(Case("soak", parse_shape("t=32 n=2 h=16")),),
        implementations=implementations,
        processes=1,
        blocks=4,
        block_s=0.005,
    )
    found: dict[str, list[float]] = defaultdict(list)
    start, number = time.monotonic(), 0
    while time.monotonic() - start < 60 * minutes or number < 5:
        for name, value in one_round(plan, folder / f"round-{number}").items():
            found[name].append(value)
        number += 1
        print(
            f"\rround {number}, {(time.monotonic() - start) / 60:.1f} of {minutes:g} minutes", end="", file=sys.stderr
        )
    print(file=sys.stderr)
    return found


def main() -> int:
    """Soak, print, judge; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--implementations", default="numpy/naive,onnxruntime/naive")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attnbench-soak-") as folder:
        own = Path(folder) / "tmp"
        own.mkdir()
        # So that nobody else's temporary files are counted; workers inherit it.
        os.environ["TMPDIR"] = tempfile.tempdir = str(own)
        found = soak(asked.minutes, tuple(asked.implementations.split(",")), Path(folder))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "unit", "first", "last", "least", "most", "growth", "95% int.", ""):
        table.add_column(name, justify="left" if name in ("", "unit") else "right", no_wrap=True)
    grown = []
    for name, values in found.items():
        quantity = WATCHED[name.partition(",")[0]]
        trend = judge(values, quantity)
        grown += [name] if trend.grows else []
        numbers = (trend.first, trend.last, min(values), max(values), trend.growth)
        interval = f"[{trend.low:.2f}, {trend.high:.2f}]"
        words = [f"{number:.1f}" for number in numbers]
        table.add_row(name, quantity.unit, *words, interval, "GROWS" if trend.grows else "flat")
    out = console()
    rounds = len(next(iter(found.values())))
    out.print(f"{rounds} runs in {asked.minutes:g} minutes; growth is that over all of them but the first tenth")
    out.print(table)
    out.print(f"grows: {', '.join(grown)}" if grown else "nothing grows")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
