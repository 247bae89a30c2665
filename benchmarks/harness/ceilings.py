"""What each framework reaches at best on this device, in this run: matrix products, and reading memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.harness.process import WorkerFailed
from benchmarks.harness.threads import busier_than_asked
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.harness.protocol import Message
    from benchmarks.harness.session import Session
    from benchmarks.harness.state import Event
    from benchmarks.plan import Plan

_MEASURED_S = 0.15
"""For each limit of each framework."""
_MATMUL_SIZE = {
    "cpu": {"float64": 1024, "float32": 1024, "bfloat16": 512, "float16": 512},
    # Of 4096, an H200 reaches 0.9 of what it reaches of 8192 in bfloat16; of 1024, 0.07.
    "cuda": dict.fromkeys(("float64", "float32", "bfloat16", "float16"), 8192),
}
STREAM_ROWS = {"cpu": 1 << 16, "cuda": 1 << 18}
STREAM_WIDTH = 1024
"""256 MiB of float32, 1 GiB on CUDA: beyond a core's share of the last cache, and read in less than 0.1 s."""


def measure_ceilings(
    plan: Plan, session: Session, emit: Callable[[Event], None], revive: Callable[[str], None]
) -> None:
    """Emit a `matmul` event for each dtype and a `stream` event, of each framework that has the operation.

    float32 always: half precision may be widened, see benchmarks.limits. `revive`: what to do about a worker that died.
    """

    def ask(framework: str, op: str, **fields: Any) -> Message | None:
        if framework not in session:
            return None
        fields |= {"device": plan.device}
        try:
            answer = session.ask(framework, op, plan.time_limit_s, **fields)
        except WorkerFailed:
            revive(framework)
            return None
        return answer if answer["status"] == Status.OK else None

    for dtype in sorted({"float32", *(case.dtype for case in plan.cases)}):
        for framework in plan.frameworks:
            answer = ask(framework, "matmul", size=_MATMUL_SIZE[plan.device][dtype], dtype=dtype, seconds=_MEASURED_S)
            for event in () if answer is None else _told(plan, framework, dtype, answer):
                emit(event)
    for framework in plan.frameworks:
        answer = ask(framework, "overhead")
        if answer is not None:
            emit({"event": "overhead", "framework": framework, "call_s": answer["call_s"]})
        answer = ask(framework, "stream", rows=STREAM_ROWS[plan.device], width=STREAM_WIDTH, seconds=_MEASURED_S)
        if answer is not None:
            emit({"event": "stream", "framework": framework, "gb_per_s": answer["gb_per_s"]})


def _told(plan: Plan, framework: str, dtype: str, answer: Message) -> Iterator[Event]:
    told = {name: answer[name] for name in ("gflops", "threads_busy")}
    yield {"event": "matmul", "framework": framework, "dtype": dtype, **told}
    if dtype == "float32":  # half precision may be computed by one thread
        yield from busier_than_asked(framework, plan, answer["threads_busy"])
