"""One cell inside its worker: prepared, checked against the oracle, timed in blocks, and checked again on fresh inputs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from backends import execution
from backends.accuracy import Expected, Judgement, judge_all
from backends.framework import Framework
from backends.interface import Implementation, Prepared, Unsupported
from backends.problem import Inputs
from benchmarks.cases import Case
from benchmarks.harness import memory
from benchmarks.harness.canary import Canary
from benchmarks.harness.slowdown import ExtraWork
from benchmarks.work import ITEMSIZE, native_bytes

_ESTIMATE_S = 0.01
_DEVICE_CALLS, _FEWEST_DEVICE_CALLS, _DEVICE_S = 20, 3, 0.05
"""Calls that the device's own clock is asked about, warm and cold: so many, but no more than this time holds."""
LAP_S = 1e-4
"""Of a lap: long enough that reading the clock is nothing, short enough that most laps are disturbed by nobody."""


class Incorrect(Exception):
    """The output is not within the bound of the oracle; the message says what was got, expected and where."""


def time_calls(call: Callable[[], Any], barrier: Callable[[Any], None], calls: int) -> float:
    """Seconds that `calls` calls took, each ended by the framework's barrier."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        barrier(call())
    return (time.perf_counter_ns() - start) * 1e-9


def time_laps(
    call: Callable[[], Any],
    barrier: Callable[[Any], None],
    laps: list[int],
    extra: Callable[[int], None] | None = None,
) -> tuple[float, float]:
    """Seconds of all laps, each of so many calls, and seconds per call of the middle lap.

    What disturbs a call (an interrupt, a neighbour that takes the core for a moment) makes a few laps much longer and leaves
    the others alone: the middle one repeats several times better than the mean of the same calls. `extra` works for as many
    calls after each lap, on the clock.
    """
    clock = time.perf_counter_ns
    marks = [clock()]
    for lap in laps:
        for _ in range(lap):
            barrier(call())
        if extra is not None:
            extra(lap)
        marks.append(clock())
    per_call = [(end - start) / lap for start, end, lap in zip(marks[:-1], marks[1:], laps, strict=True)]
    return (marks[-1] - marks[0]) * 1e-9, statistics.median(per_call) * 1e-9


@dataclass(slots=True)
class Cell:
    """A prepared cell."""

    case: Case
    implementation: Implementation
    framework: Framework
    device: str
    prepared: Prepared
    first_call_s: float
    judgement: Judgement
    first_call_cache: str = ""
    """"hit" where the first call took compiled code from a cache on the disk."""
    kernel: str = ""
    per_call_s: float = 0.0
    peak_memory_bytes: int | None = None
    """Of a warm call, beyond inputs and output; None where it was not or cannot be measured."""
    device_s: float | None = None
    """That the device works for a call, warm, and cold: medians of some calls; None where it has no clock of its own."""
    device_cold_s: float | None = None
    device_clock: str = ""
    slowed: tuple[float, ExtraWork] | None = None
    """The share by which the last block was slowed down, and the work that does it."""

    @classmethod
    def prepare(
        cls,
        case: Case,
        implementation: Implementation,
        framework: Framework,
        device: str,
        inputs: Inputs,
        expected: Mapping[str, Expected],
        known: tuple[str, float] | None = None,
    ) -> Cell:
        """Set up, call once on the clock, judge, prove the kernel, weigh a warm call.

        `known`: kernel and seconds per call, where an earlier process has found them out, and the peak of memory with them.
        Raises Unsupported, Incorrect, KernelMismatch.
        """
        if implementation.untimed:
            raise Unsupported(f"never timed, only checked: {implementation.untimed}")
        prepared = execution.prepare(implementation, framework, inputs, case.semantics, device)
        taken: Callable[[], int] = getattr(framework, "taken_from_disk", int)
        before = taken()
        with implementation.context():
            start = time.perf_counter()
            output = prepared.call()
            framework.barrier(output)
            first_call_s = time.perf_counter() - start
        judgement = _judge(implementation, framework, device, prepared, output, inputs, expected)
        cell = cls(case, implementation, framework, device, prepared, first_call_s, judgement)
        cell.first_call_cache = "hit" if taken() > before else ""
        if known is not None:
            cell.kernel, cell.per_call_s = known
            return cell
        cell.kernel = "" if implementation.prove is None else implementation.prove(prepared)
        cell.peak_memory_bytes = cell._weigh(output, inputs)
        cell.per_call_s = cell.estimate()
        cell._ask_the_device()
        return cell

    def _weigh(self, earlier: Any, inputs: Inputs) -> int | None:
        """Bytes at the peak of a warm call: planned where a compiler tells, else watched; None where nobody can tell."""
        planned: Callable[[Prepared], int | None] | None = getattr(self.framework, "planned_bytes", None)
        if planned is not None and self.device != "cpu":
            told = planned(self.prepared)
            if told is not None:
                return told
        return memory.peak_bytes(
            lambda: execution.call(self.implementation, self.framework, self.prepared),
            self.framework,
            self.device,
            earlier,
            ITEMSIZE[self.case.dtype],
            native_bytes(inputs),
        )

    def _ask_the_device(self) -> None:
        times: Callable[..., tuple[str, list[float]] | None] | None = getattr(self.framework, "device_times", None)
        if times is None or self.device == "cpu":
            return
        calls = min(_DEVICE_CALLS, max(_FEWEST_DEVICE_CALLS, round(_DEVICE_S / self.per_call_s)))
        with self.implementation.context():
            warm, cold = (times(self.prepared.call, calls, self.device, is_cold=is_cold) for is_cold in (False, True))
        if warm is not None:
            self.device_clock, self.device_s = warm[0], statistics.median(warm[1])
            self.device_cold_s = None if cold is None else statistics.median(cold[1])

    def estimate(self) -> float:
        """Seconds per call from a few calls: only to size the blocks."""
        best, spent = float("inf"), 0.0
        with self.implementation.context():
            while spent < _ESTIMATE_S:
                seconds = time_calls(self.prepared.call, self.framework.barrier, 1)
                best, spent = min(best, seconds), spent + seconds
        return best

    def block(self, calls: int, slowdown: float = 0.0, canary: Canary | None = None) -> tuple[float, float]:
        """Seconds of one timed block, and seconds per call of its middle lap. One untimed call comes first: the caches were a
        neighbour's a moment ago; and on virtual machines, memory that was freed two seconds ago is the host's again: to take
        it back made numpy/naive three times slower (T=S=2048, 2 ms per MB).

        `slowdown` adds work that takes this share of a call's time: `audit` does that, to see whether it is found.
        """
        with self.implementation.context():
            extra = self._extra(slowdown) if slowdown else None
            time_calls(self.prepared.call, self.framework.barrier, 1)
            if canary is not None:
                canary.before()
            return time_laps(self.prepared.call, self.framework.barrier, self._laps(calls), extra)

    def _lap(self) -> int:
        """Calls in a lap."""
        return max(1, math.ceil(LAP_S / self.per_call_s)) if self.per_call_s else 1

    def _laps(self, calls: int) -> list[int]:
        """So many calls in laps; what is left over makes the last one longer."""
        whole, rest = divmod(calls, self._lap())
        return [*[self._lap()] * (whole - 1), self._lap() + rest] if whole else [calls]

    def _extra(self, slowdown: float) -> ExtraWork:
        if self.slowed is None or self.slowed[0] != slowdown:
            work = ExtraWork(lambda: self.framework.barrier(self.prepared.call()), slowdown, self._lap())
            self.slowed = (slowdown, work)
        return self.slowed[1]

    def recheck(
        self,
        inputs: Inputs,
        expected: Mapping[str, Expected],
        fresh: Inputs,
        fresh_expected: Mapping[str, Expected],
    ) -> None:
        """After the clock: still right on the same inputs (were they modified?) and on fresh ones (was a result kept?)."""
        self._hold(self.prepared, inputs, expected, "after timing: ")
        prepared = execution.prepare(
            self.implementation, self.framework, fresh, self.case.semantics, self.device, reuse=self.prepared
        )
        self._hold(prepared, fresh, fresh_expected, "after timing, on fresh inputs: ")

    def _hold(self, prepared: Prepared, inputs: Inputs, expected: Mapping[str, Expected], when: str) -> None:
        output = execution.call(self.implementation, self.framework, prepared)
        _judge(self.implementation, self.framework, self.device, prepared, output, inputs, expected, when)


def _judge(
    implementation: Implementation,
    framework: Framework,
    device: str,
    prepared: Prepared,
    output: Any,
    inputs: Inputs,
    expected: Mapping[str, Expected],
    when: str = "",
) -> Judgement:
    """Judge what a call returned; raise Incorrect with the reason."""
    found = execution.results(implementation, framework, prepared, output, inputs)
    judgement = judge_all(found, inputs.dtype, expected, implementation.claims(inputs.dtype, device))
    if not judgement.correct:
        raise Incorrect(when + judgement.reason)
    return judgement
