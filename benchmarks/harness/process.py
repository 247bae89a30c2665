"""A worker as its parent sees it: started, asked with a deadline, frozen while others measure, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.files import append_to_own
from benchmarks.harness import protocol
from benchmarks.harness.answers import check
from benchmarks.harness.guard import LOOK_S, Guard, oom_kills
from benchmarks.harness.steering import worker_environment
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 180.0
"""Importing TensorFlow took 5 to 12 s on two shared cores; ten times that is a hang."""
HALF_LIMIT_S = 10
"""For the rest of an answer that has begun to arrive; whole seconds."""


class WorkerFailed(Exception):
    """A worker died, hung or answered garbage. It has been ended; `status` and the message make the row."""

    def __init__(self, status: Status, reason: str, *, idle: bool = False) -> None:
        """`idle`: it was gone, or spoke unasked, before it was asked: not what it was asked for is to blame."""
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.idle = idle


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """What a worker is started from."""

    name: str
    framework: str | None = None
    """None: it serves the oracle, or only tells what its plug-ins define."""
    plugins: tuple[str, ...] = ()
    """Absolute paths, or module:NAME; see backends.plugins."""
    python: str = sys.executable
    root: Path = ROOT
    """The checkout whose code it runs."""
    variables: tuple[tuple[str, str], ...] = ()
    """Added to the environment."""
    cleared: tuple[str, ...] = ()
    """Names taken out of it before."""
    cpus: tuple[int, ...] = ()
    """Those it may run on; none named: all that this process may."""
    memory_limit_bytes: int | None = None
    """What it may hold; None: what the machine has, less a reserve."""

    @property
    def is_ours(self) -> bool:
        """Whether it runs the code of this checkout; another revision, in `ab`, may know less."""
        return self.root == ROOT


class Worker:
    """One child process. Its output goes to a log file, so that nothing a framework prints reaches the user's table."""

    def __init__(self, spec: WorkerSpec, log: Path) -> None:
        self.name = spec.name
        self.log = log
        self.frozen = False
        self._spec, self._op = spec, ""
        self._asked = 0
        """Number of the last request: an answer that comes late, after another was taken for it, must not answer the next."""
        self._oom_kills = oom_kills()
        self.connection, theirs = Pipe()
        _limit_waiting(self.connection)
        # All command lines are equally long: their length moves the stack, and with it what falls into one line of a cache.
        command = [spec.python, "-m", "benchmarks.harness.worker", "--fd", f"{theirs.fileno():06d}"]
        command += ["--framework", spec.framework] if spec.framework else []
        for plugin in spec.plugins:
            command += ["--plugin", plugin]
        try:
            with append_to_own(log) as output, bound_to(spec.cpus):
                self._process = subprocess.Popen(
                    command,
                    cwd=spec.root,
                    env=worker_environment(spec.cleared, spec.variables),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is the parent's to handle, and freezing reaches helpers of the worker
                )
        except OSError as error:
            self.connection.close()
            raise WorkerFailed(Status.ERROR, f"{spec.python} does not start: {error.strerror or error}") from None
        finally:
            theirs.close()
        self.guard = Guard(self.pid, log, spec.memory_limit_bytes)

    @property
    def pid(self) -> int:
        """Process id, and that of the process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def send(self, op: str, /, **fields: Any) -> None:
        """Send a request without waiting for the answer."""
        self.guard.shorten_log()
        self.thaw()
        self._op = op
        self._asked += 1
        numbered = {"number": self._asked} if self._spec.is_ours else {}
        try:
            if self.connection.poll() and self.alive:
                raise self._unasked()
            protocol.send(self.connection, {"op": op, **fields, **numbered})
        except OSError:
            raise self._gone(idle=True) from None

    def receive(self, limit_s: float, *, waited_s: float = 0.0) -> protocol.Message:
        """The answer to the request that was sent. Raises WorkerFailed, and the worker is gone then.

        `waited_s`: how long the caller has waited already; only told.
        """
        deadline = time.monotonic() + limit_s
        try:
            while not self.connection.poll(max(0.0, min(LOOK_S, deadline - time.monotonic()))):
                self.look()
                if time.monotonic() >= deadline:
                    raise self._failed(Status.TIMEOUT, f"no answer within {limit_s + waited_s:g} s")
            message = protocol.receive(self.connection)
            if message.pop("number", self._asked) != self._asked:
                raise self._unasked()
            check(message, self._op, framework=self._spec.framework is not None, ours=self._spec.is_ours)
        except protocol.Garbled as error:
            raise self._failed(Status.CRASHED, f"worker answered {error}") from None
        except BlockingIOError:
            raise self._failed(Status.CRASHED, "worker answered half a message") from None
        except (EOFError, OSError):
            raise self._gone() from None
        return message

    def look(self) -> None:
        """Raise WorkerFailed where it takes more memory than it may."""
        complaint = self.guard.complaint()
        if complaint is not None:
            raise self._failed(Status.OUT_OF_MEMORY, complaint)

    def ask(self, op: str, limit_s: float, /, **fields: Any) -> protocol.Message:
        """Send a request and wait for its answer."""
        self.send(op, **fields)
        return self.receive(limit_s)

    def freeze(self) -> None:
        """Stop the process: waiting BLAS and OpenMP threads spin and would slow down whoever measures."""
        if not self.frozen and self._signal(signal.SIGSTOP):
            self.frozen = True

    def thaw(self) -> None:
        """Let the process run again."""
        if self.frozen and self._signal(signal.SIGCONT):
            self.frozen = False

    def bind(self, cpus: tuple[int, ...]) -> None:
        """Move all its threads to other CPUs. Their number stays: frameworks have sized their pools when they started."""
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has ended meanwhile
                os.sched_setaffinity(int(thread.name), cpus)

    def stop(self) -> None:
        """End the process, and whatever it started, for good."""
        self.connection.close()
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)

    def _signal(self, number: int) -> bool:
        if self._process.returncode is not None:
            return False
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _failed(self, status: Status, reason: str, *, idle: bool = False) -> WorkerFailed:
        self.stop()
        return WorkerFailed(status, reason, idle=idle)

    def _unasked(self) -> WorkerFailed:
        return self._failed(Status.CRASHED, "worker answered without being asked", idle=True)

    def _gone(self, *, idle: bool = False) -> WorkerFailed:
        """How the process ended, and the last thing it said."""
        status, how = Status.CRASHED, "worker closed its connection, or wrote into it what is no message"
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(5)
            how = f"worker exited with code {code}" if code >= 0 else f"worker was killed by {_signal_name(-code)}"
            if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
                status, how = Status.OUT_OF_MEMORY, "the kernel ended the worker: memory ran out"
        last = self.last_words()
        return self._failed(status, f"{how}; it said: {last}" if last else how, idle=idle)

    def last_words(self) -> str:
        """The last line of the log that says something."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 4096))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return next((" ".join(line.split())[:200] for line in reversed(lines) if line.strip()), "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


def _limit_waiting(connection: Connection) -> None:
    """A message that has begun has to go on: nobody waits for the other half of one for ever."""
    half = socket.socket(fileno=os.dup(connection.fileno()))
    with half:
        half.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", HALF_LIMIT_S, 0))


@contextlib.contextmanager
def bound_to(cpus: tuple[int, ...]) -> Iterator[None]:
    """What is started meanwhile inherits the CPUs: frameworks size their thread pools by them when they are imported."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def receive_any(workers: Sequence[Worker], limit_s: float) -> dict[str, protocol.Message | WorkerFailed]:
    """The answers of those workers that answer first; a failure is an answer too. Past the limit, all have failed."""
    answers: dict[str, protocol.Message | WorkerFailed] = {}
    by_connection = {worker.connection: worker for worker in workers}
    deadline = time.monotonic() + limit_s
    ready: list[Any] = []
    while not ready and not answers:
        left_s = max(0.0, deadline - time.monotonic())
        ready = list(wait(list(by_connection), min(LOOK_S, left_s)))
        for worker in () if ready else workers:
            try:
                worker.look()
            except WorkerFailed as failure:
                answers[worker.name] = failure
        if not ready and left_s <= 0:
            ready = [worker.connection for worker in workers if worker.name not in answers]
    for connection in ready:
        worker = by_connection[cast("Connection", connection)]
        try:
            answers[worker.name] = worker.receive(0.0, waited_s=limit_s)
        except WorkerFailed as failure:
            answers[worker.name] = failure
    return answers


def receive_all(workers: Sequence[Worker], limit_s: float) -> dict[str, protocol.Message | WorkerFailed]:
    """One answer of each worker, or its failure."""
    answers: dict[str, protocol.Message | WorkerFailed] = {}
    deadline = time.monotonic() + limit_s
    while waiting := [worker for worker in workers if worker.name not in answers]:
        answers |= receive_any(waiting, max(0.0, deadline - time.monotonic()))
    return answers
