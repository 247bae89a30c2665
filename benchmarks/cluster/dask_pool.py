"""A Dask cluster as a pool: Dask brings machines, transport and the notice that one is gone. Nothing else here knows it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from benchmarks.cluster import task
from benchmarks.cluster.dispatch import ClusterGone, Ended
from benchmarks.errors import UsageError
from benchmarks.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from benchmarks.cluster.dispatch import Part

LOCAL = "local"
_CONNECT_LIMIT_S = 15.0
_ANSWER_LIMIT_S = 60.0
_CONFIG = {
    # Stacks of a worker's threads, a hundred times a second: of no use here, and work beside the timing.
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


def resource(device: str) -> str:
    """What a worker offers, once per machine: `dask worker --resources attnbench-cpu=1`."""
    return f"attnbench-{device}"


@contextlib.contextmanager
def connected(address: str, device: str) -> Iterator[Any]:
    """A client of the cluster at an address, or of one that is started here for as long. UsageError where there is none."""
    try:
        import dask.config
        import distributed
    except ImportError:
        raise UsageError('--cluster needs dask.distributed; install it: pip install -e ".[cluster]"') from None
    with contextlib.ExitStack() as opened, dask.config.set(_CONFIG):
        target = opened.enter_context(_cluster_here(device)) if address == LOCAL else address
        try:
            client = distributed.Client(target, timeout=_CONNECT_LIMIT_S)
        except (OSError, ValueError, TimeoutError) as error:
            raise UsageError(f"--cluster {address}: no Dask scheduler answers there ({error})") from None
        yield opened.enter_context(client)


def _cluster_here(device: str) -> Any:
    """One worker in a process of its own, for nobody but this machine."""
    import distributed

    return distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # any port, with nothing behind it: see _CONFIG
        memory_limit=0,
        silence_logs="ERROR",
        resources={resource(device): 1},
    )


class DaskPool:
    """The workers of a client that offer the device."""

    def __init__(self, client: Any, run: str, plan: Plan, plugins: Mapping[str, str]) -> None:
        """`plugins`: path here -> text, for files of --plugin."""
        self._client, self._run, self._plan, self._plugins = client, run, plan, dict(plugins)
        self._resource = resource(plan.device)
        self._pending: dict[str, tuple[Any, bool]] = {}
        """Worker -> (future, whether its answer is packed)."""

    def workers(self) -> Collection[str]:
        """Those that are there and offer this device."""
        try:
            known = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            raise ClusterGone(f"the Dask scheduler is gone: {error}") from None
        return [worker for worker, told in known.items() if told["resources"].get(self._resource)]

    def discover(self, worker: str) -> None:
        """Ask for the conditions."""
        self._submit(worker, False, task.discover, list(self._plan.frameworks))

    def measure(self, worker: str, part: Part) -> None:
        """Ask for a part of the run."""
        plan = self._plan.to_dict()
        plan |= {"cases": [case.to_dict() for piece in part for case in piece], "asked": []}
        request = {"run": self._run, "plan": plan, "plugins": self._plugins}
        self._submit(worker, True, task.measure_part, json.dumps(request))

    def _submit(self, worker: str, packed: bool, function: Any, argument: object) -> None:
        future = self._client.submit(
            function, argument, workers=[worker], allow_other_workers=False, resources={self._resource: 1}, pure=False,
        )  # fmt: skip
        self._pending[worker] = (future, packed)

    def ended(self, limit_s: float) -> Sequence[Ended]:
        """What has ended, as soon as something has."""
        import distributed

        if not self._pending:
            import time

            time.sleep(limit_s)
            return []
        with contextlib.suppress(TimeoutError):
            distributed.wait([f for f, _ in self._pending.values()], timeout=limit_s, return_when="FIRST_COMPLETED")
        done = [worker for worker, (future, _) in self._pending.items() if future.done()]
        return [self._answer(worker) for worker in done]

    def _answer(self, worker: str) -> Ended:
        future, packed = self._pending.pop(worker)
        try:
            answer = future.result(timeout=_ANSWER_LIMIT_S)
            return Ended(worker, task.unpack(answer) if packed else answer)
        except Exception as error:  # noqa: BLE001 - whatever a foreign machine raised ends its part, not the run
            return Ended(worker, None, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")

    def forget(self, worker: str) -> None:
        """It is gone: what it was asked for is not waited for."""
        future, _ = self._pending.pop(worker, (None, False))
        if future is not None:
            future.cancel()

    def stop(self) -> None:
        """End what is being measured for this run, everywhere."""
        busy = list(self._pending)
        for worker in busy:
            self.forget(worker)
        if busy:
            with contextlib.suppress(Exception):  # a cluster that is gone has stopped already
                self._client.run(task.stop, self._run, workers=busy, on_error="ignore", wait=False)
