"""The process that measures: serves one framework (or, without one, the oracle) until its parent goes away.

Started by benchmarks.harness.process as `python -m benchmarks.harness.worker`, with a socket's file descriptor.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import backends
from backends import registry
from backends.framework import Framework
from backends.interface import Implementation, Unsupported
from benchmarks.cases import Case
from benchmarks.harness import oracle, protocol
from benchmarks.harness.busy_threads import threads_busy
from benchmarks.harness.canary import Canary
from benchmarks.harness.cell import Cell, time_calls
from benchmarks.harness.failures import status_of, told
from benchmarks.harness.protocol import Message
from benchmarks.harness.room import insist_on_room
from benchmarks.harness.steering import steering_variables
from benchmarks.harness.thread_pools import thread_pools
from benchmarks.records import Status
from benchmarks.work import ITEMSIZE

if TYPE_CHECKING:
    from backends.accuracy import Expected
    from backends.problem import Inputs

_EMPTY_CALLS = 1000
_REMEMBERED = 2
"""Inputs, and oracle's answers, that a worker keeps: those that are timed and the fresh ones."""


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, frozen or not. Elsewhere the closed socket ends it."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)


def die_first() -> None:
    """Ask Linux to end this process before any other when memory runs out: not its parent, and not the user's editor.

    No limit of address space besides: CUDA and XLA reserve far more of it than they ever touch.
    """
    with contextlib.suppress(OSError):  # no Linux, or a sandbox without this file
        Path("/proc/self/oom_score_adj").write_text("1000")


class Server:
    """Answers the parent's requests, one at a time. Every public method is an op and returns the fields of its answer."""

    def __init__(self, framework: str | None, plugins: list[str]) -> None:
        self._name = framework
        self._plugins = plugins
        self._framework: Framework | None = None
        self._cells: dict[str, Cell] = {}
        self._inputs: dict[tuple[str, int], Inputs] = {}
        self._expected: dict[str, dict[str, Expected]] = {}
        self._canary = Canary()
        self._modules = 0
        """As many as there were when the collector was last told to leave alone what is there."""
        self._variables = steering_variables()
        """As they were when the process started."""

    def hello(self, keep: str = "") -> Message:
        """Import the framework and the plug-ins; say what is here. `keep`: a folder for compiled code, which the processes of a
        run that come later find there.
        """
        start = time.perf_counter()
        if self._name is not None:
            self._framework = registry.load(self._name)
        import_s = time.perf_counter() - start
        self._set_aside()
        plugged = [id for path in self._plugins for id in backends.load_plugin(path)]
        if self._framework is None:
            return {"import_s": import_s, "plugins": plugged}
        settings = self._framework.settings()
        keep_compiled: Callable[[str], None] | None = getattr(self._framework, "keep_compiled", None)
        if keep and keep_compiled is not None:
            keep_compiled(keep)
        return {
            "import_s": import_s,
            "plugins": plugged,
            "version": self._framework.version(),
            "devices": list(self._framework.devices()),
            "settings": settings,
            "pools": thread_pools(),
            "variables": self._variables,
            "own_variables": {k: v for k, v in steering_variables().items() if self._variables.get(k) != v},
        }

    def oracle(self, case: dict[str, Any], seed: int, file: str, only_expected: bool) -> Message:
        """Compute the oracle's answer into a file."""
        return oracle.compute(Case.from_dict(case), seed, Path(file), only_expected=only_expected)

    def fetch(self, case: dict[str, Any], seed: int, expected: str) -> Message:
        """Make a case's inputs and read its oracle, so that the cells that come next find them."""
        self._inputs_of(Case.from_dict(case), seed)
        self._expected_of(expected)
        return {}

    def prepare(
        self,
        cell: str,
        case: dict[str, Any],
        implementation: str,
        device: str,
        seed: int,
        expected: str,
        known: list[Any] | None = None,
    ) -> Message:
        """Set up and check one cell. `known`: [kernel, seconds per call] from an earlier process."""
        problem = Case.from_dict(case)
        chosen = self._named(implementation)
        insist_on_room(problem, chosen, device, self._loaded())
        self._set_aside()
        inputs, oracle_says = self._inputs_of(problem, seed), self._expected_of(expected)
        earlier = None if known is None else (str(known[0]), float(known[1]))
        made = Cell.prepare(problem, chosen, self._loaded(), device, inputs, oracle_says, earlier)
        self._cells[cell] = made
        return {
            "first_call_s": made.first_call_s,
            "first_call_cache": made.first_call_cache,
            "per_call_s": made.per_call_s,
            "lowered": list(made.prepared.lowered),
            "kernel": made.kernel,
            "layout": chosen.layout,
            "jit": chosen.compile or "eager",
            "peak_memory_bytes": made.peak_memory_bytes,
            "device_s": made.device_s,
            "device_cold_s": made.device_cold_s,
            "device_clock": made.device_clock,
            "max_abs_error": made.judgement.max_abs_error,
            "error_over_bound": made.judgement.error_over_bound,
        }

    def block(self, cell: str, calls: int, slowdown: float = 0.0) -> Message:
        """Time one block, between two looks at the core's speed; `audit` slows it down by a known share."""
        seconds, per_call_s = self._cells[cell].block(calls, slowdown, self._canary)
        return {"seconds": seconds, "per_call_s": per_call_s, "canary_s": self._canary.after()}

    def estimate(self, cell: str) -> Message:
        """Seconds per call of a prepared cell, where it was prepared beside others."""
        return {"per_call_s": self._cells[cell].estimate()}

    def recheck(self, cell: str, seed: int, expected: str, fresh_seed: int, fresh_expected: str) -> Message:
        """Check a cell again after it was timed."""
        made = self._cells[cell]
        made.recheck(
            self._inputs_of(made.case, seed),
            self._expected_of(expected),
            self._inputs_of(made.case, fresh_seed),
            self._expected_of(fresh_expected),
        )
        return {}

    def release(self) -> Message:
        """Forget all cells and their arrays."""
        self._cells.clear()
        self._inputs.clear()
        self._expected.clear()
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        return {}

    def matmul(self, size: int, dtype: str, device: str, seconds: float) -> Message:
        """The framework's matmul rate: the best of several calls, in GFLOP/s; and how many threads work in such a call, where
        it is a short one of the CPU.
        """
        framework = self._loaded()
        call = framework.matmul(size, dtype, device)
        best = self._best(call, seconds)
        looked_at = device == "cpu" and best <= seconds
        busy = threads_busy(lambda: framework.barrier(call())) if looked_at else None
        return {"gflops": 2 * size**3 / best / 1e9, "threads_busy": busy}

    def stream(self, rows: int, width: int, device: str, seconds: float) -> Message:
        """How fast the framework reads a float32 matrix from memory: the best of several calls, in GB/s."""
        call = self._loaded().stream(rows, width, device)
        return {"gb_per_s": ITEMSIZE["float32"] * rows * width / self._best(call, seconds) / 1e9}

    def overhead(self, device: str) -> Message:
        """Seconds that a timed call costs of which nothing is attention: the loop, an empty call, the barrier."""
        import numpy as np

        framework = self._loaded()
        output = framework.to_native(np.zeros((1, 1, 1, 1), np.float32), "float32", device)
        return {
            "call_s": min(time_calls(lambda: output, framework.barrier, _EMPTY_CALLS) for _ in range(5)) / _EMPTY_CALLS
        }

    def _best(self, call: Callable[[], Any], seconds: float) -> float:
        """Seconds of the fastest of at least three calls after the first, unless one alone takes longer than `seconds`."""
        barrier, best, spent, calls = self._loaded().barrier, float("inf"), 0.0, 0
        time_calls(call, barrier, 1)
        while spent < seconds or calls < 3:
            took = time_calls(call, barrier, 1)
            best, spent, calls = min(best, took), spent + took, calls + 1
            if took > seconds:
                break
        return best

    def conformance(self, implementation: str, device: str, probes: list[str], limit_s: float) -> Message:
        """Run conformance probes on one implementation; see benchmarks.conformance."""
        from benchmarks.conformance import probing

        chosen = self._named(implementation)
        return {"results": probing.run(chosen, self._loaded(), device, probes, limit_s)}

    def _set_aside(self) -> None:
        """What has been imported since stays: looking through it took each collection 0.1 s, and inductor's 0.15 s more."""
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            gc.collect()
            gc.freeze()

    def _named(self, implementation: str) -> Implementation:
        known = registry.implementations(self._name)
        if implementation not in known:  # `ab` may start an older checkout
            raise Unsupported(f"there is no {implementation} in this version")
        return known[implementation]

    def _loaded(self) -> Framework:
        if self._framework is None:
            raise RuntimeError("this worker serves no framework")
        return self._framework

    def _inputs_of(self, case: Case, seed: int) -> Inputs:
        from benchmarks import inputs

        return _remember(self._inputs, (case.name, seed), lambda: inputs.make(case, seed))

    def _expected_of(self, file: str) -> dict[str, Expected]:
        return _remember(self._expected, file, lambda: oracle.read(Path(file)))


def _remember(known: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    """The value of a key, made where it is not known. The implementations of a case come one after the other and share
    its inputs and its oracle; older cases are forgotten, so that the memory does not grow with the suite.
    """
    if key not in known:
        if len(known) >= _REMEMBERED:
            known.pop(next(iter(known)))
        known[key] = make()
    return known[key]


OPS = (
    "hello",
    "oracle",
    "fetch",
    "prepare",
    "estimate",
    "block",
    "recheck",
    "release",
    "matmul",
    "stream",
    "overhead",
    "conformance",
)


def answer(server: Server, request: Message) -> Message:
    """Run one request; whatever goes wrong becomes a status with its reason, and the traceback goes to the log."""
    op = request.pop("op")
    method: Callable[..., Message] = getattr(server, op)
    # A cycle collection inside a block would be timed as attention.
    gc.disable()
    try:
        return {"status": Status.OK, "reason": "", **method(**request)}
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything: recorded as a status with its reason
        with contextlib.suppress(OSError):  # the log's disk may be full
            traceback.print_exc()
        return {"status": status_of(error), "reason": told(error)}
    finally:
        gc.enable()


def serve(connection: Connection, server: Server) -> None:
    """Answer until the parent closes the connection."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            request = protocol.receive(connection)
            numbered = {"number": request.pop("number")} if "number" in request else {}
            protocol.send(connection, {**answer(server, request), **numbered})
            with contextlib.suppress(OSError):  # the log's disk may be full
                sys.stderr.flush()


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--framework")
    parser.add_argument("--plugin", action="append", default=[])
    arguments = parser.parse_args()
    die_with_parent()
    die_first()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if arguments.framework is None:
        oracle.keep_freed_memory()
    serve(Connection(arguments.fd), Server(arguments.framework, arguments.plugin))


if __name__ == "__main__":
    main()
