"""All the workers of a run: started together, frozen together, restarted one by one, never left behind."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.harness.process import START_LIMIT_S, Worker, WorkerFailed, receive_all, receive_any
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from benchmarks.harness.protocol import Message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a worker said when it started, or why it did not."""

    framework: str
    status: Status
    reason: str
    version: str = ""
    devices: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    import_s: float = 0.0


class Session:
    """A context: workers by framework while it lasts, none afterwards."""

    def __init__(
        self,
        frameworks: Iterable[str],
        *,
        log: Path | None = None,
        plugins: Mapping[str, tuple[str, ...]] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """`plugins`: framework -> plug-in files that its worker loads. `log`: folder of the workers' output."""
        self._scratch = tempfile.TemporaryDirectory(prefix="attnbench-")
        self.folder = Path(self._scratch.name)
        """For files shared between workers; removed at the end."""
        self._log = log or self.folder
        self._plugins = plugins or {}
        self._environment = environment
        self._frameworks = tuple(frameworks)
        self._workers: dict[str, Worker] = {}
        self._oracle: Worker | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._scratch.cleanup()

    def launch(self) -> None:
        """Start a fresh worker for each framework, all at once, and the oracle's; they import while the caller goes on."""
        self.stop()
        self._oracle = Worker("oracle", self._log / "oracle.log", environment=self._environment)
        for framework in self._frameworks:
            self._spawn(framework).send("hello")

    def greetings(self) -> dict[str, Greeting]:
        """What each launched worker said. Those that failed are gone again."""
        answers = receive_all(list(self._workers.values()), START_LIMIT_S)
        found = {framework: greet(framework, answers[framework]) for framework in self._frameworks}
        for framework, greeting in found.items():
            if greeting.status is not Status.OK:
                self._workers.pop(framework).stop()
        return found

    def _spawn(self, framework: str) -> Worker:
        worker = Worker(
            framework,
            self._log / f"{framework}.log",
            framework=framework,
            plugins=self._plugins.get(framework, ()),
            environment=self._environment,
        )
        self._workers[framework] = worker
        return worker

    def restart(self, framework: str) -> None:
        """Replace a worker that is gone. Raises WorkerFailed where it does not come back."""
        if framework in self._workers:
            self._workers.pop(framework).stop()
        answer = self._spawn(framework).ask("hello", START_LIMIT_S)
        if answer["status"] != Status.OK:
            self._workers.pop(framework).stop()
            raise WorkerFailed(Status(answer["status"]), str(answer["reason"]))

    def __contains__(self, framework: str) -> bool:
        return framework in self._workers

    def ask(self, framework: str, op: str, limit_s: float, /, **fields: Any) -> Message:
        """Ask one worker while all others are frozen."""
        self.freeze(but=framework)
        try:
            return self._workers[framework].ask(op, limit_s, **fields)
        except WorkerFailed:
            del self._workers[framework]
            raise

    def ask_side_by_side(
        self, queues: Mapping[str, Sequence[tuple[T, Message]]], op: str, limit_s: float
    ) -> Iterator[tuple[T, Message]]:
        """Ask several workers at once, each its queue of (token, fields) in order; tokens with their answers as they come.

        A worker that fails is gone afterwards, and the rest of its queue, with the request it failed on, stays unasked.
        """
        waiting = {framework: list(queue) for framework, queue in queues.items() if queue}
        for framework, queue in waiting.items():
            self._workers[framework].send(op, **queue[0][1])
        while waiting:
            answers = receive_any([self._workers[framework] for framework in waiting], limit_s)
            for framework, answer in answers.items():
                if isinstance(answer, WorkerFailed):
                    del self._workers[framework], waiting[framework]
                    continue
                token, _ = waiting[framework].pop(0)
                if waiting[framework]:
                    self._workers[framework].send(op, **waiting[framework][0][1])
                else:
                    del waiting[framework]
                yield token, answer

    def oracle(self, limit_s: float, /, **fields: Any) -> Message:
        """Ask the oracle's worker. Frameworks keep running: nothing is being timed then."""
        if self._oracle is None or not self._oracle.alive:
            self._oracle = Worker("oracle", self._log / "oracle.log", environment=self._environment)
        return self._oracle.ask("oracle", limit_s, **fields)

    def freeze(self, but: str | None = None) -> None:
        """Freeze every worker except one."""
        for name, worker in self._workers.items():
            if name != but:
                worker.freeze()
        if self._oracle is not None:
            self._oracle.freeze()

    def stop(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.stop()
        if self._oracle is not None:
            self._oracle.stop()
        self._workers, self._oracle = {}, None


def greet(framework: str, answer: Message | WorkerFailed) -> Greeting:
    """A worker's first answer, or its failure, as data."""
    if isinstance(answer, WorkerFailed):
        return Greeting(framework, answer.status, answer.reason)
    if answer["status"] != Status.OK:
        return Greeting(framework, Status(answer["status"]), str(answer["reason"]))
    return Greeting(
        framework,
        Status.OK,
        "",
        str(answer["version"]),
        tuple(answer["devices"]),
        tuple(answer["settings"].items()),
        float(answer["import_s"]),
    )
