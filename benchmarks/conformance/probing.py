"""Ask one implementation the probes, inside its worker."""

from __future__ import annotations

import dataclasses
import time
from enum import StrEnum
from typing import Any

import numpy as np

from backends import execution
from backends.accuracy import judge_all
from backends.backward import expect_all
from backends.interface import Framework, Implementation, Unsupported
from backends.problem import Inputs
from backends.visibility import visible
from benchmarks import inputs as seeded
from benchmarks.cases import Case
from benchmarks.conformance.probes import BY_NAME, Probe


class Verdict(StrEnum):
    """How an implementation answered a probe."""

    PASS = "pass"  # noqa: S105 - not a password
    REFUSED = "refused"
    """With a reason."""
    DEVIATES = "deviates"
    """Differs from the standard, as declared."""
    FAIL = "fail"
    """Wrong, or a deviation that is not declared, or one that is declared and does not occur."""
    ERROR = "error"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One cell of the matrix."""

    implementation: str
    probe: str
    verdict: Verdict
    reason: str = ""
    error_over_bound: float | None = None


def run(
    implementation: Implementation, framework: Framework, device: str, names: list[str], limit_s: float
) -> list[dict[str, Any]]:
    """Answers to the named probes, as plain data. Past `limit_s` the remaining ones are errors, told as such."""
    answers = []
    start = time.monotonic()
    for name in names:
        if time.monotonic() - start > limit_s:
            answers.append(Answer(implementation.id, name, Verdict.ERROR, f"not asked: {limit_s:g} s were over"))
            continue
        answers.append(ask(implementation, framework, device, BY_NAME[name]))
    return [dataclasses.asdict(answer) for answer in answers]


def ask(implementation: Implementation, framework: Framework, device: str, probe: Probe) -> Answer:
    """One answer. An exception of foreign code is an answer too: ERROR with its words."""
    wrong, refusals, worst = "", [], 0.0
    for case in probe.cases:
        try:
            reason, over = _try(implementation, framework, device, case, probe)
        except Unsupported as refusal:
            refusals.append(str(refusal))
            continue
        except Exception as error:  # noqa: BLE001 - recorded as a verdict with its reason
            return Answer(
                implementation.id, probe.name, Verdict.ERROR, f"{case.name}: {type(error).__name__}: {error}"[:400]
            )
        wrong = wrong or (reason and f"{case.name}: {reason}")
        worst = max(worst, over)
    if len(refusals) == len(probe.cases):
        return Answer(implementation.id, probe.name, Verdict.REFUSED, refusals[0])
    declared = implementation.deviation(probe.topic) if probe.topic else None
    if wrong and declared is not None:
        return Answer(implementation.id, probe.name, Verdict.DEVIATES, f"gives {declared.says}")
    if wrong:
        return Answer(implementation.id, probe.name, Verdict.FAIL, wrong, worst)
    if declared is not None:
        gone = f"declared to give {declared.says}, but conforms: remove the declaration"
        return Answer(implementation.id, probe.name, Verdict.FAIL, gone, worst)
    return Answer(implementation.id, probe.name, Verdict.PASS, "", worst)


def _try(
    implementation: Implementation, framework: Framework, device: str, case: Case, probe: Probe
) -> tuple[str, float]:
    """Why the output is wrong (empty if right), and its error over the bound."""
    inputs = seeded.make(case, seed=0)
    expected = expect_all(inputs, case.semantics)
    if probe.poison:
        inputs = _poisoned(inputs, case, probe.poison)
    if not probe.topic:
        execution.refuse(implementation, inputs, case.semantics, device)
    elif device not in implementation.devices or inputs.dtype not in implementation.dtypes:
        raise Unsupported(f"not on {device} in {inputs.dtype}")
    prepared = execution.prepare(
        implementation, framework, inputs, case.semantics, device, probe_deviations=bool(probe.topic)
    )
    found = execution.run(implementation, framework, prepared, inputs)
    judgement = judge_all(found, inputs.dtype, expected, implementation.roundoffs(inputs.dtype))
    return judgement.reason, judgement.error_over_bound


def _poisoned(inputs: Inputs, case: Case, which: str) -> Inputs:
    """The same inputs with NaN in every key or value that no query of its batch element sees."""
    seen = visible(inputs, case.semantics).any(axis=(1, 2))
    hidden = ~np.broadcast_to(seen, (inputs.shape.B, inputs.shape.S))
    array = getattr(inputs, which).copy()
    array[hidden] = np.nan
    return dataclasses.replace(inputs, **{which: array})
