"""A whole live comparison: epochs until every cell is clear or the budget is spent, and its folder whatever happens."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.comparison.gates import accuracy, memory
from benchmarks.comparison.verdicts import CellComparison, Comparison, Complaint, Gate, Verdict
from benchmarks.files import own_folder
from benchmarks.harness.session import Session
from benchmarks.harness.threads import thread_notes
from benchmarks.journal import Journal
from benchmarks.live.alternation import Alternation
from benchmarks.live.plan import SIDES, LivePlan, Pair
from benchmarks.live.sequential import FEWEST_EPOCHS, look, looks
from benchmarks.live.state import LiveState
from benchmarks.records import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.comparison.prior import Prior
    from benchmarks.comparison.verdicts import Change
    from benchmarks.live.state import Event


@dataclass(slots=True)
class LiveOutcome:
    """A live comparison that has ended."""

    comparison: Comparison
    state: LiveState
    interrupted: bool


def measure(plan: LivePlan, folder: Path, show: Callable[[Event], None], prior: Prior | None = None) -> LiveOutcome:
    """Measure until all is clear. On Ctrl-C, what was measured is judged and returned all the same."""
    state = LiveState()
    start = time.monotonic()
    interrupted = False
    verdicts: dict[Pair, tuple[Change, Verdict]] = {}
    logs = folder / "logs"
    own_folder(logs)
    with Journal(folder) as journal, Session(plan.workers(), log=logs, keeps=True) as session:

        def emit(event: Event) -> None:
            journal.append({**event, "t_s": round(time.monotonic() - start, 4)})
            state.apply(event)
            show(event)

        alternation = Alternation(plan, session, state, emit)
        try:
            open_pairs = list(plan.pairs)
            for epoch in range(plan.epochs):
                emit({"event": "epoch", "epoch": epoch, "open": len(open_pairs)})
                alternation.epoch(epoch, open_pairs)
                open_pairs = [pair for pair in open_pairs if not state.pairs[pair].failures]
                if plan.stops_early and epoch + 1 in looks(plan.epochs):
                    verdicts |= _look(plan, state, prior, decided=verdicts)
                    for pair in [p for p in open_pairs if _is_clear(verdicts, p)]:
                        open_pairs.remove(pair)
                        emit({"event": "verdict", "pair": str(pair), "verdict": verdicts[pair][1], "epoch": epoch})
                if not open_pairs:
                    break
        except KeyboardInterrupt:
            interrupted = True
        verdicts |= _look(plan, state, prior, decided=verdicts)
        emit({"event": "end", "wall_s": time.monotonic() - start})
    return LiveOutcome(to_comparison(plan, state, verdicts), state, interrupted)


def _is_clear(verdicts: dict[Pair, tuple[Change, Verdict]], pair: Pair) -> bool:
    return pair in verdicts and verdicts[pair][1] is not Verdict.INCONCLUSIVE


def _look(
    plan: LivePlan, state: LiveState, prior: Prior | None, decided: dict[Pair, tuple[Change, Verdict]]
) -> dict[Pair, tuple[Change, Verdict]]:
    """Verdicts of the cells that are still open. A verdict that was given is not taken back."""
    usable = {pair: known for pair, known in state.pairs.items() if known.turns and not known.failures}
    ratios = {pair: known.log_ratios() for pair, known in usable.items()}
    found = look(plan, ratios, {pair: known.median_s("A") for pair, known in usable.items()}, prior)
    return {pair: verdict for pair, verdict in found.items() if not _is_clear(decided, pair)}


def to_comparison(plan: LivePlan, state: LiveState, verdicts: dict[Pair, tuple[Change, Verdict]]) -> Comparison:
    """All cells of the plan, in its order, with what else got worse."""
    notes = _thread_notes(plan)
    used = max((len(known.turns) for known in state.pairs.values()), default=0)
    if 0 < used < FEWEST_EPOCHS:
        notes.append(f"{used} pairs of processes are too few for a verdict; --epochs {FEWEST_EPOCHS} or more")
    passes = {case.name: case.pass_ for case in plan.cases}
    return Comparison(
        a=plan.a.label,
        b=plan.b.label,
        threshold=plan.thresholds.usual.relative,
        alpha=plan.alpha,
        cells=tuple(_cell(pair, passes[pair.case], state, verdicts) for pair in plan.pairs),
        notes=tuple(notes),
    )


def _thread_notes(plan: LivePlan) -> list[str]:
    """What is known of the threads of both sides; of which side, where they differ."""
    told = {
        side.name: thread_notes(side.threads, plan.cpus, neutral=side.neutral, variables=side.variables)
        for side in (plan.a, plan.b)
    }
    if told["A"] == told["B"]:
        return told["A"]
    return [f"{name}: {line}" for name, lines in told.items() for line in lines]


def _cell(pair: Pair, pass_: str, state: LiveState, verdicts: dict[Pair, tuple[Change, Verdict]]) -> CellComparison:
    known = state.pairs[pair]
    change, verdict = verdicts.get(pair, (None, None))
    timed = bool(known.turns) and not known.failures
    return CellComparison(
        case=pair.case,
        implementation=pair.name,
        device=pair.device,
        pass_=pass_,
        a_s=known.median_s("A") if timed else None,
        b_s=known.median_s("B") if timed else None,
        change=change if timed else None,
        verdict=verdict if timed else None,
        note="" if timed else _why_untimed(pair, state),
        complaints=tuple(_complaints(pair, state)),
    )


def _why_untimed(pair: Pair, state: LiveState) -> str:
    failures = state.pairs[pair].failures
    told = [f"{side} {failures[side][0]}: {failures[side][1]}" for side in SIDES if side in failures]
    return "; ".join(dict.fromkeys(told)) or "interrupted before it was measured"


def _complaints(pair: Pair, state: LiveState) -> list[Complaint]:
    known = state.pairs[pair]
    found = []
    ours, theirs = known.failures.get("B"), known.failures.get("A")
    if ours is not None and theirs is None:
        found.append(Complaint(Gate.STATUS, f"{ours[0]} in B: {ours[1]}"))
    elif ours is not None and ours[0] in FAILURES and theirs is not None and theirs[0] not in FAILURES:
        found.append(Complaint(Gate.STATUS, f"{theirs[0]} in A, {ours[0]} in B: {ours[1]}"))
    if pair.a == pair.b:  # two implementations err differently, and neither got worse
        found += accuracy(*(known.facts.get(side, {}).get("error_over_bound") for side in SIDES))
        found += memory(*(known.facts.get(side, {}).get("peak_memory_bytes") for side in SIDES))
    return found
