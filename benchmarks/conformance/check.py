"""Ask all implementations all probes, each framework in its own worker, and gather the matrix. Computes, never prints."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.conformance.probes import PROBES
from benchmarks.conformance.probing import Answer, Verdict
from benchmarks.errors import UsageError
from benchmarks.harness.process import WorkerFailed
from benchmarks.harness.session import Session, usual_workers
from benchmarks.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from benchmarks.harness.protocol import Message
    from benchmarks.harness.session import Greeting

BAD = (Verdict.FAIL, Verdict.ERROR)


@dataclass(slots=True)
class Matrix:
    """Implementations x probes."""

    implementations: tuple[str, ...]
    probes: tuple[str, ...]
    answers: dict[tuple[str, str], Answer]
    greetings: dict[str, Greeting]

    @property
    def asked(self) -> int:
        """How many answers there are to be."""
        return len(self.implementations) * len(self.probes)

    @property
    def is_whole(self) -> bool:
        """Else Ctrl-C came before everything was answered."""
        return len(self.answers) == self.asked

    @property
    def conforms(self) -> bool:
        """Whether nothing failed and something was asked at all."""
        return bool(self.answers) and not self.bad()

    def bad(self) -> list[Answer]:
        """What does not conform."""
        return [answer for answer in self.answers.values() if answer.verdict in BAD]


def check(
    implementations: Sequence[str],
    device: str,
    *,
    asked: Iterable[str] = (),
    plugins: Mapping[str, tuple[str, ...]] | None = None,
    limit_s: float = 600.0,
    show: Callable[[str, Answer | None], None] = lambda text, answer: None,
    neutral: bool = False,
    variables: tuple[tuple[str, str], ...] = (),
) -> Matrix:
    """Run every probe. `show` is told what comes next and each answer. UsageError where an asked framework is not there.
    After Ctrl-C: what has been answered by then.

    `neutral`, `variables`: the workers' environment; see usual_workers.
    """
    frameworks = tuple(dict.fromkeys(id.partition("/")[0] for id in implementations))
    names = tuple(probe.name for probe in PROBES)
    answers: dict[tuple[str, str], Answer] = {}
    with Session(usual_workers(frameworks, plugins, neutral=neutral, variables=variables)) as session:
        session.launch()
        show("starting " + ", ".join(frameworks), None)
        greetings = session.greetings()
        for greeting in greetings.values():
            if greeting.status is not Status.OK and greeting.framework in asked:
                raise UsageError(greeting.reason)
        with contextlib.suppress(KeyboardInterrupt):
            for answer in _answers(session, greetings, implementations, names, device, limit_s, show):
                answers[answer.implementation, answer.probe] = answer
                show(f"{answer.implementation} {answer.probe}", answer)
    places = ((id, name) for id in implementations for name in names)
    in_order = {place: answers[place] for place in places if place in answers}
    return Matrix(tuple(implementations), names, in_order, greetings)


def _answers(
    session: Session,
    greetings: Mapping[str, Greeting],
    implementations: Sequence[str],
    names: Sequence[str],
    device: str,
    limit_s: float,
    show: Callable[[str, Answer | None], None],
) -> Iterator[Answer]:
    """All workers at once, for nothing is timed; what ended a worker, and what came after it there, is asked one by one."""
    queues: dict[str, list[tuple[tuple[str, str], Message]]] = defaultdict(list)
    for id in implementations:
        told = greetings[id.partition("/")[0]]
        for name in names:
            if told.status is Status.OK:
                queues[told.framework].append(((id, name), _fields(id, name, device, limit_s)))
            else:
                verdict = Verdict.REFUSED if told.status is Status.NOT_INSTALLED else Verdict.ERROR
                yield Answer(id, name, verdict, told.reason)
    answered = set()

    def ended(asked: tuple[str, str], failure: WorkerFailed) -> None:
        why = f"{failure.status}: {failure.reason}".rstrip(": ")
        show(f"{' '.join(asked)} ended its worker ({why}); it is asked again, alone", None)

    for (id, name), reply in session.ask_side_by_side(queues, "conformance", limit_s, ended):
        answered.add((id, name))
        yield _answer(id, name, reply)
    for framework, queue in queues.items():
        for (id, name), _ in queue:
            if (id, name) not in answered:
                show(f"{id} {name}", None)
                yield _ask(session, framework, id, name, device, limit_s)


def _ask(session: Session, framework: str, implementation: str, probe: str, device: str, limit_s: float) -> Answer:
    try:
        if framework not in session:
            session.restart(framework)
        reply = session.ask(framework, "conformance", limit_s, **_fields(implementation, probe, device, limit_s))
    except WorkerFailed as failure:
        return Answer(implementation, probe, Verdict.ERROR, f"{failure.status}: {failure.reason}")
    return _answer(implementation, probe, reply)


def _fields(implementation: str, probe: str, device: str, limit_s: float) -> Message:
    return {"implementation": implementation, "device": device, "probes": [probe], "limit_s": limit_s}


def _answer(implementation: str, probe: str, reply: Message) -> Answer:
    if reply["status"] != Status.OK:
        return Answer(implementation, probe, Verdict.ERROR, str(reply["reason"]))
    found = reply["results"][0]
    try:
        return Answer(**{**found, "verdict": Verdict(found["verdict"])})
    except (TypeError, ValueError, KeyError):  # foreign code lives in the process that told so
        return Answer(implementation, probe, Verdict.ERROR, f"its worker answered what is no answer: {str(found)[:80]}")


def plugin_ids(paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Plug-in -> the ids that it defines, asked of a worker: the user's process never runs a plug-in."""
    from benchmarks.harness.process import START_LIMIT_S, Worker, WorkerSpec

    found: dict[str, tuple[str, ...]] = {}
    with Session(()) as session:
        for number, path in enumerate(paths):
            spec = WorkerSpec(name=f"plugin-{number}", plugins=(path,))
            worker = Worker(spec, session.folder / "plugin.log")
            try:
                answer = worker.ask("hello", START_LIMIT_S)
            except WorkerFailed as failure:
                raise UsageError(f"plug-in {path!r} ended the process that imports it: {failure.reason}") from None
            finally:
                worker.stop()
            if answer["status"] != Status.OK:
                raise UsageError(str(answer["reason"]))
            found[path] = tuple(answer["plugins"])
    return found
