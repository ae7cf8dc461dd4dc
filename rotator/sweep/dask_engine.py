"""
Dask engine: gives nodes to dask workers and takes them back from lost ones.

- A worker is an executor: `Client.get_executor`, bound to that one worker, for one node at a time.
  Dask itself repeats nothing and moves nothing (retries=0, worker restrictions): when a worker is
  lost, its node is given to another one here, because only here it is known how far it was.
- Positions come in while workers work, and go to the state file of this machine.
- A worker gets its first node when it has said that its rotator is the same version: one that
  cannot read a task would break. `Client.get_versions` would do, but it waits for all workers, one
  that hangs among them. A worker that refuses a task is not asked again.
- If no worker is left, the nodes that were not done are incomplete; the others count.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import structlog
from distributed import KilledWorker
from distributed.versions import get_versions

from rotator import DISTRIBUTION
from rotator.server.context import CacheContext
from rotator.sweep.channel import MESSAGES, WorkerChannel, write_orders
from rotator.sweep.control import Stop, SweepControl
from rotator.sweep.dask_cluster import (
    PATIENCE_SECONDS,
    POLL_SECONDS,
    TOPIC,
    DaskCluster,
    DaskStop,
    GoneError,
    open_cluster,
    other_version,
    run_dask_task,
)
from rotator.sweep.division import Nodes, NodeTask, Parts, Results, make_tasks
from rotator.sweep.engine import DIED
from rotator.sweep.results import Checkpoint, NodeResult
from rotator.sweep.scope import Fingerprint, Scope

SILENCE_SECONDS = 30.0
"""How long a worker may hear nothing of this machine; then it counts as gone."""

_DEATHS = 4  # how many workers a node may cost without getting on
_LOOK_SECONDS = 0.25  # between two looks at who is there

log = structlog.get_logger(__name__)


@contextmanager
def open_workers(scheduler: str, should_stop: Callable[[], object]) -> Iterator[DaskWorkers]:
    """Open the workers of the dask cluster of *scheduler*; see `open_cluster`."""
    with open_cluster(scheduler, should_stop) as cluster:
        yield DaskWorkers(cluster)


@dataclass(frozen=True, slots=True)
class DaskWorkers:
    """Dask workers: sweep nodes for this machine; see `RemoteWorkers`."""

    cluster: DaskCluster

    def count(self) -> int:
        """Return how many there are now, at least 1: that there are none, the sweep will say."""
        with suppress(GoneError):
            return max(1, len(self.cluster.present()))
        return 1

    def engine(self, files: tuple[Path, ...], access: CacheContext, workers: int) -> DaskEngine:
        """Return what sweeps the nodes of a cache, so many *workers* at once at most."""
        paths = tuple(path.absolute() for path in files)
        return DaskEngine(self.cluster, paths, Fingerprint.of(access), workers)


@dataclass(slots=True)
class DaskEngine:
    """
    Dask engine: sweeps the nodes of one cache, so many *workers* at once at most.

    *refused* are the workers that cannot be used, each with the reason; *tried* counts how often a
    part of a node was given to a worker; *patience* is how many seconds there may be none.
    """

    cluster: DaskCluster
    files: tuple[Path, ...]
    fingerprint: Fingerprint
    workers: int
    refused: dict[str, str] = field(default_factory=dict)
    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    patience: float = field(default_factory=lambda: PATIENCE_SECONDS)

    def sweep(self, nodes: Nodes, scope: Scope, control: SweepControl) -> Results:
        """See `Engine`."""
        sweep = _DaskSweep(self, nodes, scope, control)
        try:
            yield from sweep.results()
        except GoneError as error:
            self.patience = 0
            yield from sweep.give_up(str(error))
        finally:
            sweep.end()


class _Assignment(NamedTuple):
    """Assignment: a worker, and what it sweeps; None: it is asked for its version."""

    worker: str
    task: NodeTask | None


class _DaskSweep:
    """Dask sweep: one pass of an engine over *nodes*; what counts places is by their names."""

    def __init__(
        self, engine: DaskEngine, nodes: Nodes, scope: Scope, control: SweepControl
    ) -> None:
        self._engine = engine
        self._cluster = engine.cluster
        self._control = control
        self._parts = Parts(nodes)
        self._waiting = [
            replace(task, files=engine.files)
            for task in make_tasks(engine.fingerprint, nodes, scope, control)
        ]
        self._running: dict[Future[Any], _Assignment] = {}
        self._deaths: Counter[str] = Counter()
        self._reached: dict[str, Any] = {}  # the position when a worker died
        self._encrypted: Counter[str] = Counter()  # of results that do not count
        self._run = uuid.uuid4().hex
        self._inbox: SimpleQueue[tuple[str, list[Any]]] = SimpleQueue()
        self._stop = DaskStop(self._cluster.client, self._run)
        self._channel = WorkerChannel(self._inbox, self._stop)
        self._present: list[str] = []
        self._looked_at = 0.0
        self._seen_at = time.monotonic()

    def results(self) -> Results:
        """
        Yield the nodes, each as it is done.

        Raises:
            GoneError: The scheduler is gone.
        """
        with self._cluster.asking():
            self._cluster.client.subscribe_topic(TOPIC, self._receive)
        stop = None
        while self._waiting or self._running:
            stop = stop or self._control.stop()
            write_orders(self._stop, self._control.orders())
            if stop is not None:
                self._channel.ask_to_stop(stop)
            with self._cluster.asking():
                self._stop.send()
            self._look()
            if stop is None and self._waiting:
                self._assign()
            done, _ = wait(self._running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            self._channel.deliver(self._control, math.inf if done else MESSAGES)
            yield from self._collect(done)
            if self._running:
                continue
            reason = "" if stop else self._no_worker()
            if reason is None:
                time.sleep(POLL_SECONDS)
            else:
                yield from self.give_up(reason, stop)

    def give_up(self, reason: str, stop: Stop | None = None) -> Results:
        """Yield what is known of the nodes that are not done."""
        self._channel.deliver(self._control)
        left = self._waiting + [one.task for one in self._running.values() if one.task]
        self._waiting = []
        self._running.clear()
        for task in left:
            yield from self._parts.put(task.address, self._unfinished(task, reason, stop))

    def end(self) -> None:
        """Let go of everything; workers that are still at work stop."""
        with suppress(GoneError), self._cluster.asking():
            self._stop.close()
        for future in self._running:
            future.cancel()

    def _receive(self, event: tuple[float, Any]) -> None:
        """Take an event of the cluster, in the thread of the client."""
        run, text = event[1]
        if run == self._run:
            self._inbox.put(tuple(json.loads(text)))

    def _look(self) -> None:
        """See which workers are there; the nodes of those that are gone are for others."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._present = self._cluster.present()
        self._looked_at = time.monotonic()
        if self._usable():
            self._seen_at = self._looked_at
        for future, assignment in list(self._running.items()):
            if assignment.worker not in self._present and not future.done():
                del self._running[future]
                future.cancel()
                self._reassign(assignment)

    def _usable(self) -> list[str]:
        return [worker for worker in self._present if worker not in self._engine.refused]

    def _assign(self) -> None:
        """Give nodes to workers that have none, preferably those that did not have them before."""
        busy = {assignment.worker for assignment in self._running.values()}
        idle = [worker for worker in self._usable() if worker not in busy]
        for worker in set(idle) - self._cluster.checked:
            idle.remove(worker)
            self._submit(worker, None, get_versions, [DISTRIBUTION])
        tried = self._engine.tried
        while self._waiting and idle and len(self._running) < self._engine.workers:
            task = self._waiting.pop(0)
            worker = min(idle, key=lambda one: tried[task.place, one])
            idle.remove(worker)
            tried[task.place, worker] += 1
            reached = self._channel.positions.get(task.place)
            task = replace(task, saved=reached or self._control.load(task.place))
            self._submit(worker, task, run_dask_task, task, self._run, SILENCE_SECONDS)

    def _submit(self, worker: str, task: NodeTask | None, *call: Any) -> None:
        self._running[self._cluster.submit(worker, *call)] = _Assignment(worker, task)

    def _collect(self, done: set[Future[Any]]) -> Results:
        """Take what workers answered, and give up the nodes that cost too many of them."""
        for future in done:
            assignment = self._running.pop(future)
            try:
                answer = future.result()
            except KilledWorker:
                self._reassign(assignment)
            except CancelledError:
                self._running[future] = assignment
                raise self._cluster.gone() from None
            else:
                yield from self._take(assignment, answer)
        for task in [one for one in self._waiting if self._deaths[one.place] >= _DEATHS]:
            self._waiting.remove(task)
            yield from self._parts.put(task.address, self._unfinished(task, DIED))

    def _take(self, assignment: _Assignment, answer: Any) -> Results:
        """Take an answer: the result of a node, a refusal in words, or the versions of a worker."""
        worker, task = assignment
        if task is None:
            self._cluster.checked.add(worker)
            answer = other_version(answer)
        if isinstance(answer, str):
            log.warning("a worker cannot be used", worker=worker, reason=answer)
            self._engine.refused[worker] = answer
            self._waiting += [task] if task else []
        elif task and answer.stopped and not self._stop.value:
            # The worker stopped by itself; count its encryptions here.
            self._encrypted[task.place] += answer.tally.encryptions
            self._reassign(assignment)
        elif task:
            answer.tally.encryptions += self._encrypted[task.place]
            yield from self._parts.put(task.address, answer)

    def _reassign(self, assignment: _Assignment) -> None:
        """Have what a worker that is lost was given swept by another one."""
        task = assignment.task
        if task is None:
            return
        log.warning("a worker is lost", worker=assignment.worker, node=task.place)
        reached = self._channel.positions.get(task.place)
        if reached is not self._reached.get(task.place):
            self._reached[task.place], self._deaths[task.place] = reached, 0
        self._deaths[task.place] += 1
        self._waiting.append(task)

    def _no_worker(self) -> str | None:
        """Return why no worker is expected any more for nodes that wait, or None if one is."""
        if not self._waiting or self._usable():
            return None
        # Those that refuse will not change their minds; where there are none, some may come.
        if not self._present and time.monotonic() - self._seen_at < self._engine.patience:
            return None
        self._engine.patience = 0
        refusals = [f"{worker}: {reason}" for worker, reason in self._engine.refused.items()]
        if refusals:
            return f"no dask worker can be used ({'; '.join(refusals)})"
        return "no dask worker is left"

    def _unfinished(self, task: NodeTask, reason: str, stop: Stop | None = None) -> NodeResult:
        """Return what the last position says of names that nobody visits any more."""
        result = NodeResult.failed(task.address, reason, task.restarts)
        saved = self._channel.positions.get(task.place)
        if saved is not None:
            position = Checkpoint.from_dict(saved)
            result.started_at, result.identity = position.started_at, position.identity
            result.tally = position.tally
            result.tally.encryptions = 0  # they are counted when the position is gone on from
        if stop is not None:
            result.stopped, result.reasons = stop, ()
        return result
