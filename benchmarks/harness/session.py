"""All the workers of a run: started together, frozen together, restarted one by one, never left behind."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.harness.process import (
    START_LIMIT_S,
    Worker,
    WorkerFailed,
    WorkerSpec,
    receive_all,
    receive_any,
)
from benchmarks.harness.steering import neutral_clears
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

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
    variables: tuple[tuple[str, str], ...] = ()
    """Those that steer, as the worker was started with them."""
    own_variables: tuple[tuple[str, str], ...] = ()
    """Those that the framework or a plug-in set while it was imported."""


def usual_workers(
    frameworks: Iterable[str],
    plugins: Mapping[str, tuple[str, ...]] | None = None,
    cpus: tuple[int, ...] = (),
    *,
    neutral: bool = False,
    variables: tuple[tuple[str, str], ...] = (),
) -> tuple[WorkerSpec, ...]:
    """One worker per framework, named after it, in this interpreter and checkout; `plugins` by framework.

    `neutral`: without the variables of this environment that steer. `variables`: (name, value) that are set.
    """
    offered = plugins or {}
    usual = WorkerSpec(name="", cpus=cpus, variables=variables, cleared=neutral_clears() if neutral else ())
    return tuple(replace(usual, name=name, framework=name, plugins=offered.get(name, ())) for name in frameworks)


class Session:
    """A context: workers by name while it lasts, none afterwards."""

    def __init__(self, specs: Iterable[WorkerSpec], *, log: Path | None = None) -> None:
        """`log`: folder of the workers' output."""
        self._scratch = tempfile.TemporaryDirectory(prefix="attnbench-")
        self.folder = Path(self._scratch.name)
        """For files shared between workers; removed at the end."""
        self._log = log or self.folder
        self._specs = {spec.name: spec for spec in specs}
        self._workers: dict[str, Worker] = {}
        self._stillborn: dict[str, WorkerFailed] = {}
        """Launched, and gone before they were asked anything."""
        self._oracle: Worker | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._scratch.cleanup()

    def launch(self, only: Collection[str] | None = None) -> None:
        """Start fresh workers, all or those named, all at once, and the oracle's; they import while the caller goes on."""
        self.stop()
        self._oracle = self._start_oracle()
        for name in self._specs if only is None else only:
            try:
                self._spawn(name).send("hello")
            except WorkerFailed as failure:
                self._workers.pop(name, None)
                self._stillborn[name] = failure

    def greetings(self) -> dict[str, Greeting]:
        """What each launched worker said. Those that failed are gone again."""
        answers = {**self._stillborn, **receive_all(list(self._workers.values()), START_LIMIT_S)}
        found = {
            name: greet(spec.framework or name, answers[name]) for name, spec in self._specs.items() if name in answers
        }
        for name, greeting in found.items():
            if greeting.status is not Status.OK and name in self._workers:
                self._workers.pop(name).stop()
        return found

    def _spawn(self, name: str) -> Worker:
        worker = Worker(self._specs[name], self._log / f"{name}.log")
        self._workers[name] = worker
        return worker

    def _start_oracle(self) -> Worker:
        return Worker(WorkerSpec(name="oracle"), self._log / "oracle.log")

    def restart(self, name: str) -> None:
        """Replace a worker that is gone. Raises WorkerFailed where it does not come back."""
        if name in self._workers:
            self._workers.pop(name).stop()
        answer = self._spawn(name).ask("hello", START_LIMIT_S)
        if answer["status"] != Status.OK:
            self._workers.pop(name).stop()
            raise WorkerFailed(Status(answer["status"]), str(answer["reason"]))

    def __contains__(self, name: str) -> bool:
        return name in self._workers

    def ask(self, name: str, op: str, limit_s: float, /, **fields: Any) -> Message:
        """Ask one worker while all others are frozen."""
        self.freeze(but=name)
        try:
            return self._workers[name].ask(op, limit_s, **fields)
        except WorkerFailed:
            del self._workers[name]
            raise

    def ask_side_by_side(
        self,
        queues: Mapping[str, Sequence[tuple[T, Message]]],
        op: str,
        limit_s: float,
        ended: Callable[[T, WorkerFailed], None] = lambda token, failure: None,
    ) -> Iterator[tuple[T, Message]]:
        """Ask several workers at once, each its queue of (token, fields) in order; tokens with their answers as they come.

        A worker that fails is gone afterwards, and the rest of its queue, with the request it failed on, stays unasked;
        `ended` is told of that request.
        """
        waiting = {name: list(queue) for name, queue in queues.items() if queue}
        for name, queue in waiting.items():
            self._workers[name].send(op, **queue[0][1])
        while waiting:
            answers = receive_any([self._workers[name] for name in waiting], limit_s)
            for name, answer in answers.items():
                token, _ = waiting[name].pop(0)
                if isinstance(answer, WorkerFailed):
                    del self._workers[name], waiting[name]
                    ended(token, answer)
                    continue
                if waiting[name]:
                    self._workers[name].send(op, **waiting[name][0][1])
                else:
                    del waiting[name]
                yield token, answer

    def oracle(self, limit_s: float, /, **fields: Any) -> Message:
        """Ask the oracle's worker. Frameworks keep running: nothing is being timed then."""
        if self._oracle is None or not self._oracle.alive:
            self._oracle = self._start_oracle()
        return self._oracle.ask("oracle", limit_s, **fields)

    def freeze(self, but: str | None = None) -> None:
        """Freeze every worker except one."""
        for name, worker in self._workers.items():
            if name != but:
                worker.freeze()
        if self._oracle is not None:
            self._oracle.freeze()

    def bind(self, cpus: tuple[int, ...]) -> None:
        """Move all workers to these CPUs."""
        for worker in self._workers.values():
            worker.bind(cpus)

    def stop(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.stop()
        if self._oracle is not None:
            self._oracle.stop()
        self._workers, self._stillborn, self._oracle = {}, {}, None


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
        tuple(answer.get("variables", {}).items()),  # `ab` may start a checkout that does not tell
        tuple(answer.get("own_variables", {}).items()),
    )
