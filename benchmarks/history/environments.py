"""What was recorded to have changed between two runs, as far as it concerns one cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.comparison.comparability import differences
from benchmarks.comparison.side import Side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.comparison.comparability import Difference
    from benchmarks.history.runs import Run
    from benchmarks.history.tracks import Series, Track

_ORDER = ("version", "python", "modified", "machine", "kernel", "layout", "jit", "matmul_precision", "lowered")
"""What explains most stands first; the rest keeps its order."""


def changed(track: Track, series: Series, before: int, after: int) -> tuple[str, ...]:
    """From one run to another, in words such as "torch 2.12.0 -> 2.13.0"; the commit is left to others."""
    sides = []
    for place in (before, after):
        record = series.points[place].record
        records = {} if record is None else {series.key: record}
        sides.append(Side(label="", records=records, logs={}, environment=track.runs[place].environment))
    found = differences(*sides)
    ranked = sorted((*found.refused, *found.told), key=_rank)
    return tuple(dict.fromkeys(words for difference in ranked for words in _words(difference)))


def borders(track: Track, series: Series) -> list[int]:
    """The runs at which the commit, a version, Python or the system differ from those of the run before."""
    framework = series.latest.framework
    states = [_state(run, framework) for run in track.runs]
    return [place for place in range(1, len(states)) if states[place] != states[place - 1]]


def _state(run: Run, framework: str) -> tuple[object, ...]:
    environment = run.environment
    version = environment.get("frameworks", {}).get(framework, {}).get("version")
    system = environment.get("machine", {}).get("kernel")
    return (run.commit, run.modified, str(version), str(environment.get("python")), str(system))


def _rank(difference: Difference) -> int:
    words = difference.field.partition(" of ")[0].split(".")
    return min((_ORDER.index(word) for word in words if word in _ORDER), default=len(_ORDER))


def _words(difference: Difference) -> Iterator[str]:
    # Fields of a cell read "kernel of CASE IMPLEMENTATION", and everyone knows which cell it is about.
    name = difference.field.partition(" of ")[0]
    parts = name.split(".")
    if name == "revision.commit":
        return
    if name == "revision.modified":
        yield "with uncommitted changes" if difference.b == "True" else "without uncommitted changes"
    elif parts[0] == "frameworks" and parts[-1] == "version":
        yield from _versions(difference.a, difference.b)
    elif name == "machine.kernel":
        yield f"system kernel {_arrow(difference)}"
    elif name == "cpus":
        yield f"CPU {_arrow(difference)}"
    else:
        yield f"{' '.join(parts[1:] if parts[0] == 'frameworks' else parts)} {_arrow(difference)}"


def _versions(a: str, b: str) -> Iterator[str]:
    """Of "keras 3.15.1, tensorflow 2.21.0" those that differ."""
    before, after = (dict(part.strip().rpartition(" ")[::2] for part in text.split(",")) for text in (a, b))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}".strip()


def _arrow(difference: Difference) -> str:
    return f"{_short(difference.a)} -> {_short(difference.b)}"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
