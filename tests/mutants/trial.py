"""Ask the probes about a mutant: which of them find it, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from backends.framework import Framework
from benchmarks.conformance.probes import PROBES, Probe
from benchmarks.conformance.probing import Verdict, ask
from tests.mutants import backward, memory, scores, seen, softmax, tiles
from tests.mutants.frame import Frame
from tests.mutants.mutant import Mutant

FAULTS = (*seen.FAULTS, *scores.FAULTS, *softmax.FAULTS, *tiles.FAULTS, *memory.FAULTS, *backward.FAULTS)
FRAME = cast("Framework", Frame())


def work(probe: Probe) -> int:
    """Scores that a probe asks for: the cheap ones first."""
    return sum(c.shape.B * c.shape.N * c.shape.T * c.shape.S for c in probe.cases)


CHEAP_FIRST = sorted(PROBES, key=work)


def accusations(mutant: Mutant, probes: Iterable[Probe] = PROBES) -> Mapping[str, str]:
    """Probe -> why it does not let the mutant pass."""
    implementation = mutant.implementation()
    answers = {probe.name: ask(implementation, FRAME, "cpu", probe) for probe in probes}
    return {name: f"{a.verdict}: {a.reason}" for name, a in answers.items() if a.verdict is not Verdict.PASS}


def caught_by(mutant: Mutant, probes: Iterable[Probe] = CHEAP_FIRST) -> str:
    """The first probe that finds it wrong, if any does. That it raises is not enough: a fault is silent."""
    implementation = mutant.implementation()
    for probe in probes:
        answer = ask(implementation, FRAME, "cpu", probe)
        if answer.verdict is Verdict.FAIL:
            return probe.name
        if answer.verdict is not Verdict.PASS:
            raise AssertionError(f"{mutant.family}: {mutant.name}: {answer}")
    return ""
