"""All the workers of a run: started together, frozen together, restarted one by one, never left behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.errors import UsageError
from benchmarks.harness.janitor import Janitor
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
    from pathlib import Path

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
    pools: tuple[tuple[str, int], ...] = ()
    """(library, threads of its largest pool) of BLAS and OpenMP, after the import."""

    def to_event(self) -> dict[str, Any]:
        """For the journal; greet is the inverse."""
        return {
            "event": "greeting",
            "framework": self.framework,
            "status": self.status,
            "reason": self.reason,
            "version": self.version,
            "devices": list(self.devices),
            "settings": dict(self.settings),
            "variables": dict(self.variables),
            "own_variables": dict(self.own_variables),
            "pools": dict(self.pools),
            "import_s": self.import_s,
        }


def usual_workers(
    frameworks: Iterable[str],
    plugins: Mapping[str, tuple[str, ...]] | None = None,
    cpus: tuple[int, ...] = (),
    *,
    neutral: bool = False,
    variables: tuple[tuple[str, str], ...] = (),
    memory_limit_bytes: int | None = None,
) -> tuple[WorkerSpec, ...]:
    """One worker per framework, named after it, in this interpreter and checkout; `plugins` by framework.

    `neutral`: without the variables of this environment that steer. `variables`: (name, value) that are set.
    """
    offered = plugins or {}
    cleared = neutral_clears() if neutral else ()
    usual = WorkerSpec(name="", cpus=cpus, variables=variables, cleared=cleared, memory_limit_bytes=memory_limit_bytes)
    return tuple(replace(usual, name=name, framework=name, plugins=offered.get(name, ())) for name in frameworks)


class Session:
    """A context: workers by name while it lasts, none afterwards."""

    def __init__(self, specs: Iterable[WorkerSpec], *, log: Path | None = None, keeps: bool = False) -> None:
        """`log`: folder of the workers' output. `keeps`: each worker that is started in another's place, or again, finds what
        the one before has compiled; not where some run another checkout, which may not know how.
        """
        try:
            self._janitor = Janitor()
        except OSError as error:
            raise UsageError(
                f"cannot make a temporary folder: {error.strerror or error}; TMPDIR says where it is to be"
            ) from None
        self.folder = self._janitor.folder
        """For files shared between workers; removed at the end, whatever the end is."""
        self._log = log or self.folder
        self._specs = {spec.name: spec for spec in specs}
        self._keeps = keeps and all(spec.is_ours for spec in self._specs.values())
        self._workers: dict[str, Worker] = {}
        self._stillborn: dict[str, WorkerFailed] = {}
        """Launched, and gone before they were asked anything."""
        self._oracle: Worker | None = None
        limits = [spec.memory_limit_bytes for spec in self._specs.values()]
        self._oracle_spec = WorkerSpec(name="oracle", memory_limit_bytes=next(iter(limits), None))

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._janitor.close()

    def launch(self, only: Collection[str] | None = None) -> None:
        """Start fresh workers, all or those named, all at once, and the oracle's; they import while the caller goes on."""
        self.stop()
        self._oracle = self._start(self._oracle_spec)
        for name in self._specs if only is None else only:
            try:
                self._spawn(name).send("hello", **self._hello(name))
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
                self._end(self._workers.pop(name))
        return found

    def _hello(self, name: str) -> Message:
        # A folder each: what one side of `ab` has compiled, the other must not find.
        return {"keep": str(self.folder / "compiled" / name)} if self._keeps else {}

    def _spawn(self, name: str) -> Worker:
        worker = self._workers[name] = self._start(self._specs[name])
        return worker

    def _start(self, spec: WorkerSpec) -> Worker:
        worker = Worker(spec, self._log / f"{spec.name}.log")
        self._janitor.born(worker.pid)
        return worker

    def _end(self, worker: Worker) -> None:
        worker.stop()
        self._janitor.ended(worker.pid)

    def restart(self, name: str) -> None:
        """Replace a worker that is gone. Raises WorkerFailed where it does not come back."""
        if name in self._workers:
            self._end(self._workers.pop(name))
        self._spawn(name)
        answer = self.ask(name, "hello", START_LIMIT_S, **self._hello(name))
        if answer["status"] != Status.OK:
            self._end(self._workers.pop(name))
            raise WorkerFailed(Status(answer["status"]), str(answer["reason"]))

    def __contains__(self, name: str) -> bool:
        return name in self._workers

    def ask(self, name: str, op: str, limit_s: float, /, **fields: Any) -> Message:
        """Ask one worker while all others are frozen."""
        self.freeze(but=name)
        try:
            return self._workers[name].ask(op, limit_s, **fields)
        except WorkerFailed:
            self._end(self._workers.pop(name))
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
        answers: dict[str, Message | WorkerFailed] = {}
        for name, queue in waiting.items():
            answers |= self._send_next(name, op, queue)
        while waiting:
            answers |= {} if answers else receive_any([self._workers[name] for name in waiting], limit_s)
            taken, answers = answers, {}
            for name, answer in taken.items():
                token, _ = waiting[name].pop(0)
                if isinstance(answer, WorkerFailed):
                    self._end(self._workers.pop(name))
                    del waiting[name]
                    ended(token, answer)
                    continue
                if waiting[name]:
                    answers |= self._send_next(name, op, waiting[name])
                else:
                    del waiting[name]
                yield token, answer

    def _send_next(self, name: str, op: str, queue: Sequence[tuple[T, Message]]) -> dict[str, Message | WorkerFailed]:
        """Nothing, or that the worker was gone already."""
        try:
            self._workers[name].send(op, **queue[0][1])
        except WorkerFailed as failure:
            return {name: failure}
        return {}

    def oracle(self, limit_s: float, /, **fields: Any) -> Message:
        """Ask the oracle's worker. Frameworks keep running: nothing is being timed then."""
        if self._oracle is None or not self._oracle.alive:
            if self._oracle is not None:
                self._end(self._oracle)
            self._oracle = self._start(self._oracle_spec)
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
            self._end(worker)
        if self._oracle is not None:
            self._end(self._oracle)
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
        tuple(answer.get("pools", {}).items()),
    )
