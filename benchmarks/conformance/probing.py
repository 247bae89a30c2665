"""Ask one implementation the probes, inside its worker."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, cast

import numpy as np

from backends import execution
from backends.accuracy import ILL_CONDITIONED, Expected, Judgement, Roundoffs, judge, judge_all
from backends.framework import Framework
from backends.interface import Implementation, Prepared, Unsupported
from backends.problem import Inputs
from benchmarks.cases import VALUES, Case
from benchmarks.conformance.probes import BY_NAME, Probe
from benchmarks.conformance.questions import Question, expect_log_sum_exp, poisoned, question

CALLS = 12
"""How often one problem is asked for where repeating is the question: what is wrong now and then should show."""


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
    """One cell of the matrix. The numbers are the largest over the cases that were answered, None where none is finite."""

    implementation: str
    probe: str
    verdict: Verdict
    reason: str = ""
    error_over_bound: float | None = None
    rmse_over_rms: float | None = None
    error_over_naive: float | None = None
    """Largest error over that of the textbook form in the same dtype (see accuracy.naive_error); of 16-bit outputs."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Outcome:
    """How one case came out."""

    reason: str
    """Why it is wrong; empty if right."""
    error_over_bound: float
    rmse_over_rms: float
    error_over_naive: float | None = None


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
    wrong, refusals, outcomes = "", [], []
    narrow: dict[str, str] = {}
    hold = _KINDS[probe.kind]
    for case in probe.cases:
        for asked in _forms(case, implementation):
            try:
                outcome = hold(implementation, framework, device, asked, probe)
            except Unsupported as refusal:
                refusals.append(str(refusal))
                continue
            except Exception as error:  # noqa: BLE001 - recorded as a verdict with its reason
                reason = f"{asked.name}: {type(error).__name__}: {error}"
                return Answer(implementation.id, probe.name, Verdict.ERROR, reason[:400])
            if asked.dtype != case.dtype:
                narrow[asked.dtype] = f"in {asked.dtype}, for {case.dtype} is refused"
            wrong = wrong or (outcome.reason and f"{asked.name}: {outcome.reason}")
            outcomes.append(outcome)
            break
    if not outcomes:
        return Answer(implementation.id, probe.name, Verdict.REFUSED, refusals[0])
    verdict, reason = _verdict(implementation, probe, wrong)
    if verdict is Verdict.DEVIATES:
        return Answer(implementation.id, probe.name, verdict, reason)
    return Answer(
        implementation.id,
        probe.name,
        verdict,
        reason or ", ".join(narrow.values()),
        _largest(outcome.error_over_bound for outcome in outcomes),
        _largest(outcome.rmse_over_rms for outcome in outcomes),
        _largest(outcome.error_over_naive for outcome in outcomes),
    )


def _forms(case: Case, implementation: Implementation) -> Iterator[Case]:
    """The case, and where that is in float32, the same in the formats of 16 bits: to be asked in until one is not refused.

    Fused kernels of accelerators take nothing else, and what they do with a mask or a window is what one wants to know.
    """
    yield case
    for dtype in ("bfloat16", "float16"):
        if case.dtype == "float32" and dtype in implementation.dtypes:
            yield dataclasses.replace(case, name=f"{case.name}-{dtype}", dtype=dtype)


def _verdict(implementation: Implementation, probe: Probe, wrong: str) -> tuple[Verdict, str]:
    """What is wrong, in the light of what is declared."""
    declared = implementation.deviation(probe.topic) if probe.topic else None
    if declared is None:
        return (Verdict.FAIL, wrong) if wrong else (Verdict.PASS, "")
    if wrong:
        return Verdict.DEVIATES, f"gives {declared.says}"
    return Verdict.FAIL, f"declared to give {declared.says}, but conforms: remove the declaration"


def _largest(numbers: Any) -> float | None:
    return max((number for number in numbers if number is not None and math.isfinite(number)), default=None)


class _Watched:
    """A framework that keeps an eye on the arrays it made for an implementation: nobody may write into them."""

    def __init__(self, framework: Framework) -> None:
        self._framework = framework
        self._made: list[tuple[Any, np.ndarray]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._framework, name)

    def to_native(self, array: np.ndarray, dtype: str, device: str) -> Any:
        native = self._framework.to_native(array, dtype, device)
        self._made.append((native, self._framework.to_numpy(native).copy()))
        return native

    def modified(self) -> str:
        """Which of them were written into, in words; empty if none was."""
        for native, before in self._made:
            if not np.array_equal(self._framework.to_numpy(native), before, equal_nan=before.dtype.kind == "f"):
                return f"the call modified its input of shape {before.shape}"
        return ""


def _output(implementation: Implementation, framework: Framework, device: str, case: Case, probe: Probe) -> _Outcome:
    """Hold one call to the oracle: its output, its gradients where they belong to the case, and that its inputs stay."""
    asked, watched = question(case, 0), _Watched(framework)
    inputs = poisoned(asked.inputs, case, probe.poison) if probe.poison else asked.inputs
    prepared = _prepare(implementation, watched, device, case, inputs, probe)
    found = execution.run(implementation, framework, prepared, inputs)
    claims = implementation.claims(inputs.dtype, device)
    _insist_on_bound(case, asked.expected["output"], claims)
    judgement = judge_all(found, inputs.dtype, asked.expected, claims)
    return _outcome(judgement, judgement.reason or watched.modified(), asked.naive)


def _insist_on_bound(case: Case, expected: Expected, claims: Roundoffs) -> None:
    """Numbers that are large on purpose can be too large for an arithmetic, as for TF32: nothing is to be learned then."""
    if case.values != VALUES[0] and expected.score_error(claims) > ILL_CONDITIONED:
        raise Unsupported(
            f"no useful bound: {case.name} is too large for the arithmetic that it claims in {case.dtype}"
        )


def _repeats(implementation: Implementation, framework: Framework, device: str, case: Case, probe: Probe) -> _Outcome:
    """Hold many calls to the oracle, on two problems of one shape, one after the other."""
    first, second = question(case, 0), question(case, 1)
    watched, claims = _Watched(framework), implementation.claims(case.dtype, device)

    def hold(returned: Any, prepared: Prepared, asked: Question) -> Judgement:
        found = execution.results(implementation, framework, prepared, returned, asked.inputs)
        return judge_all(found, case.dtype, asked.expected, claims)

    prepared = _prepare(implementation, watched, device, case, first.inputs, probe)
    other = _prepare(implementation, watched, device, case, second.inputs, probe, reuse=prepared)
    steps = (
        *((f"call {i + 1}", prepared, first) for i in range(CALLS)),
        ("another problem of the same shape", other, second),
        ("the first problem again", prepared, first),
    )
    kept = execution.call(implementation, framework, prepared)
    worst = hold(kept, prepared, first)
    for name, chosen, asked in steps:
        judgement = hold(execution.call(implementation, framework, chosen), chosen, asked)
        if not judgement.correct:
            return _outcome(judgement, f"{name}: {judgement.reason}")
        worst = max(worst, judgement, key=lambda j: j.error_over_bound)
    after = hold(kept, prepared, first)
    if not after.correct:
        return _outcome(after, f"the first answer, after other calls: {after.reason}")
    return _outcome(worst, worst.reason or watched.modified())


def _log_sum_exp(
    implementation: Implementation, framework: Framework, device: str, case: Case, probe: Probe
) -> _Outcome:
    """Hold the log-sum-exp that an implementation gives away to the oracle's."""
    inputs, watched = question(case, 0).inputs, _Watched(framework)
    found = execution.log_sum_exp(implementation, cast("Framework", watched), inputs, case.semantics, device)
    expected, claims = expect_log_sum_exp(inputs, case.semantics), implementation.claims(case.dtype, device)
    _insist_on_bound(case, expected, claims)
    judgement = judge(found, case.dtype, expected, claims)
    return _outcome(judgement, judgement.reason or watched.modified())


_KINDS: Mapping[str, Callable[..., _Outcome]] = {
    "output": _output,
    "repeats": _repeats,
    "log-sum-exp": _log_sum_exp,
}


def _outcome(judgement: Judgement, reason: str, naive: float | None = None) -> _Outcome:
    over_naive = judgement.max_abs_error / naive if naive else None
    return _Outcome(reason, judgement.error_over_bound, judgement.rmse_over_rms, over_naive)


def _prepare(
    implementation: Implementation,
    watched: _Watched,
    device: str,
    case: Case,
    inputs: Inputs,
    probe: Probe,
    reuse: Prepared | None = None,
) -> Prepared:
    """As execution.prepare; a probe about a deviation is asked where that deviation is declared, too."""
    return execution.prepare(
        implementation,
        cast("Framework", watched),
        inputs,
        case.semantics,
        device,
        probe_deviations=bool(probe.topic),
        reuse=reuse,
    )
