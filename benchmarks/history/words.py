"""A history in sentences: what changed, since when, by how much, with what else. Foreign text is not yet harmless."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from benchmarks.history.noise import FEWEST_RUNS
from benchmarks.history.trends import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.comparison.side import Key
    from benchmarks.history.tracks import Series, Track
    from benchmarks.history.trends import Finding, History, TrackTrends, Trend

_TOLD_AT_MOST = 3
"""Of what else changed."""
_FEWEST_AT_ONCE = 4


def times(ratio: float) -> str:
    """A ratio of times: x1.23, x0.045, x12.3."""
    if ratio >= 9.995:
        return f"x{ratio:.3g}"
    return f"x{ratio:.2f}" if ratio >= 0.0995 else f"x{ratio:.2g}"


def percent(share: float) -> str:
    """0.034 as 3.4%, 0.123 as 12%."""
    return f"{100 * share:.1f}%" if share < 0.0995 else f"{100 * share:.0f}%"


def date(track: Track, place: int) -> str:
    """The day that a run stands for."""
    when = track.when(place)
    return "an unknown date" if when is None else f"{when:%Y-%m-%d}"


def label(track: Track, place: int) -> str:
    """Of a run: its commit, or the name of its folder."""
    return track.runs[place].label


def cell(series: Series) -> str:
    """The implementation on its case, with device and pass where they are not the usual ones."""
    case, implementation, device, pass_ = series.key
    words = [case]
    words += [device] if device != "cpu" else []
    words += [pass_] if pass_ != "forward" else []  # noqa: S105 - the pass, not a password
    return f"{implementation} on {' '.join(words)}"


def apart(track: Track) -> dict[int, str]:
    """Place in track.series -> what sets it apart, for cells that have several series: problems, threads, variables."""
    same: dict[Key, list[int]] = defaultdict(list)
    for place, series in enumerate(track.series):
        same[series.key].append(place)
    found = {}
    for places in same.values():
        if len(places) < 2:
            continue
        rows = [{**_problem(track.series[p]), **dict(track.series[p].conditions)} for p in places]
        names = [name for name in dict.fromkeys(n for row in rows for n in row) if len({r.get(name) for r in rows}) > 1]
        for place, row in zip(places, rows, strict=True):
            found[place] = " ".join(f"{name}={row.get(name, 'none')}" for name in names)
    return found


def _problem(series: Series) -> dict[str, str]:
    from benchmarks.comparison.comparability import PROBLEM

    return {name: str(getattr(series.latest, name)) for name in PROBLEM}


def since(finding: Finding) -> str:
    """As in: x1.23 [1.20, 1.26] since 2026-11-03 (commit abc1234; torch 2.12.0 -> 2.13.0)."""
    when = f"since {date(finding.track, finding.place)} ({why(finding)})"
    match finding.kind:
        case Kind.CHANGED if finding.step is not None:
            return f"{times(finding.step.ratio)} [{finding.step.low:.3g}, {finding.step.high:.3g}] {when}"
        case Kind.ODD:
            return f"{times(finding.ratio or 1.0)} in the last run alone, which is no change yet"
        case _:
            record = finding.trend.series.points[finding.place].record
            reason = f": {record.reason}" if record is not None and record.reason else ""
            return f"{finding.trend.series.points[finding.place].status} {when}{reason}"


def why(finding: Finding) -> str:
    """The commit, and what else was recorded to have changed at that place."""
    words = [f"commit {finding.commit}"] if finding.commit else []
    words += finding.changed[:_TOLD_AT_MOST]
    more = len(finding.changed) - _TOLD_AT_MOST
    words += [f"and {more} more"] if more > 0 else []
    if not words:
        words = ["nothing that is recorded changed"]
    gap = finding.place - finding.before - 1
    if gap:
        words.append(f"no time in the {gap} runs before" if gap > 1 else "no time in the run before")
    return "; ".join(words)


def headline(history: History) -> list[str]:
    """The first sentences: what became wrong, what changed most, how much there was to look at."""
    findings = history.findings
    wrong = [f for f in findings if f.kind is Kind.INCORRECT]
    lost = [f for f in findings if f.kind is Kind.LOST]
    steps = [f for f in findings if f.kind is Kind.CHANGED]
    lines = []
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        lines.append(f"Became incorrect: {_where(history, wrong[0])}, {since(wrong[0])}{more}.")
    if steps:
        lines.append(f"Changed most: {_where(history, steps[0])}, {since(steps[0])}.")
    elif not wrong and not lost:
        lines.append(_nothing(history))
    lines.append(_size(history, steps, len(wrong), len(lost)))
    return lines


def _where(history: History, finding: Finding) -> str:
    machines = {track.track.machine for track in history.tracks}
    return cell(finding.trend.series) + (f" on {finding.track.machine}" if len(machines) > 1 else "")


def _nothing(history: History) -> str:
    seen = sorted(v for track in history.tracks for trend in track.trends if (v := trend.found.visible) is not None)
    if not seen:
        return f"No change can be told yet: a cell needs {FEWEST_RUNS} timed runs, and none has them (`compare` judges two)."
    return f"No change found; one of {percent(seen[0])} to {percent(seen[-1])} would have been, nine times in ten."


def _size(history: History, steps: Sequence[Finding], wrong: int, lost: int) -> str:
    cells = sum(len(track.trends) for track in history.tracks)
    runs = len({id(run) for track in history.tracks for run in track.track.runs})
    machines = len({track.track.machine for track in history.tracks})
    slower = sum(f.ratio is not None and f.ratio > 1 for f in steps)
    words = [f"{slower} slower, {len(steps) - slower} faster"]
    words += [f"{wrong} incorrect"] if wrong else []
    words += [f"{lost} lost otherwise"] if lost else []
    of = f"{_count(cells, 'cell')}, {_count(runs, 'run')}, {_count(machines, 'machine')}"
    return f"Changes: {', '.join(words)} ({of}; each beyond {percent(history.threshold)}, alpha {history.alpha:g})."


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def title(track: Track) -> str:
    """As in: amd-epyc-2-cores, smoke, 1 CPU: 24 runs from 2026-11-03 to 2026-11-24."""
    cpus = dict(track.conditions).get("cpus")
    words = [track.machine, track.suite] + ([f"{cpus} CPU" + ("" if cpus == "1" else "s")] if cpus else [])
    last = len(track.runs) - 1
    days = f"from {date(track, 0)} to {date(track, last)}" if last else f"of {date(track, 0)}"
    return f"{', '.join(words)}: {_count(len(track.runs), 'run')} {days}"


def notes(history: History) -> list[str]:
    """What a reader has to know: what is not mixed, how runs stand, what was left out."""
    found = [*_settings(history), *(line for track in history.tracks for line in _of_track(track))]
    return found + [f"left out: {line}" for line in history.left_out]


def _settings(history: History) -> list[str]:
    """Runs of one machine and suite that stand in several trends, and in what they differ."""
    same: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for track in history.tracks:
        same[track.track.machine, track.track.suite].append(dict(track.track.conditions))
    lines = []
    for (machine, suite), several in same.items():
        if len(several) > 1:
            names = dict.fromkeys(name for one in several for name in one)
            unequal = [name for name in names if len({one.get(name) for one in several}) > 1]
            words = "; ".join(f"{n} {' / '.join(str(one.get(n, 'not set')) for one in several)}" for n in unequal)
            lines.append(f"{machine}, {suite}: runs of {len(several)} settings, which are not mixed: {words}")
    return lines


def _of_track(found: TrackTrends) -> list[str]:
    track = found.track
    name = f"{track.machine}, {track.suite}"
    lines = []
    if track.by_commit:
        lines.append(f"{name}: measured in another order than that of the commits; runs stand where their commits do")
    lines += _at_once(found, name)
    short = sum(_timed(trend) in range(1, FEWEST_RUNS) for trend in found.trends)
    if short:
        lines.append(f"{name}: {_count(short, 'cell')} with fewer than {FEWEST_RUNS} timed runs, too few for a change")
    if several := len(apart(track)):
        lines.append(f"{name}: {several} series of cells whose problem or settings changed; each stands alone")
    gaps = Counter(p.status for t in found.trends if _timed(t) for p in t.series.points if not p.is_timed)
    if gaps:
        lines.append(f"{name}: gaps: {', '.join(f'{count} {status}' for status, count in gaps.most_common())}")
    return lines


def _at_once(found: TrackTrends, name: str) -> list[str]:
    """Places where half of the cells or more changed: that is seldom the work of one kernel."""
    places: dict[int, list[float]] = defaultdict(list)
    for trend in found.trends:
        for step in trend.found.steps:
            places[step.place].append(step.ratio)
    return [
        f"{name}: {len(ratios)} of {len(found.trends)} cells changed at once on {date(found.track, place)} "
        f"({label(found.track, place)}), {times(min(ratios))} to {times(max(ratios))}: the machine, or what all of them share"
        for place, ratios in sorted(places.items())
        if len(ratios) >= max(_FEWEST_AT_ONCE, len(found.trends) / 2)
    ]


def _timed(trend: Trend) -> int:
    return sum(point.is_timed for point in trend.series.points)
