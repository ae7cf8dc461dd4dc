"""
Sweeps the nodes of a cache with the workers of a dask cluster, one node a worker at a time.

- A worker is an executor: `Client.get_executor`, bound to that one worker. Dask itself repeats
  nothing and moves nothing (retries=0, worker restrictions): when a worker is lost, its node is
  given to another one here, because only here it is known how far it was.
- Positions come in while workers work, and go to the state file of this machine.
- A worker gets its first order when it has said that its rotator is the same version: one that
  cannot read an order would break. A worker that refuses an order is not asked again.
- If no worker is left, the nodes that were not done are incomplete; the others count.

The workers of a dask cluster, as a run gets them.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import structlog
from distributed import KilledWorker

from rotator import DISTRIBUTION
from rotator.config.types import Address
from rotator.server.context import CacheContext, Fingerprint
from rotator.sweep.control import Control, Stop, WorkerChannel
from rotator.sweep.dask_cluster import (
    PATIENCE_SECONDS,
    POLL_SECONDS,
    DaskCluster,
    GoneError,
    Keeping,
    Orders,
    connected,
    other_version,
)
from rotator.sweep.dask_worker import TOPIC, Order, perform
from rotator.sweep.engine import RemoteWorkers, Results, failed
from rotator.sweep.results import Checkpoint, NodeResult
from rotator.sweep.scope import Scope

SILENCE_SECONDS = 30.0
"""How long a worker may hear nothing of this machine; then it counts as gone."""


_DEATHS = 4  # how many workers a node may cost without getting on


_LOOK_SECONDS = 0.25  # between two looks at who is there


log = structlog.get_logger(__name__)


class DaskEngine:
    """Sweeps the nodes of one cache; see `rotator.engine.Engine`."""

    def __init__(
        self,
        machines: DaskCluster,
        files: tuple[Path, ...],
        fingerprint: Fingerprint,
        workers: int,
    ) -> None:
        self.machines = machines
        self.workers = workers
        self.refused: dict[str, str] = {}
        self.tried: Counter[tuple[Address, str]] = Counter()
        self.patience = PATIENCE_SECONDS
        self._files = files
        self._fingerprint = fingerprint

    def sweep(self, nodes: Mapping[Address, int], scope: Scope, control: Control) -> Results:
        """See `Engine`."""
        shift = _DaskSweep(self, nodes, scope, control)
        try:
            yield from shift.results()
        except GoneError as error:
            self.patience = 0
            yield from shift.give_up(str(error))
        finally:
            shift.end()

    def order(
        self, run: str, address: Address, scope: Scope, saved: dict[str, Any] | None, restarts: int
    ) -> Order:
        """What a worker is told."""
        return Order(
            run,
            self._files,
            address,
            scope,
            self._fingerprint,
            saved,
            restarts,
            silence=SILENCE_SECONDS,
        )


class _Assignment(NamedTuple):
    """A worker, and the node that it sweeps; None: it is asked for its version."""

    worker: str
    address: Address | None


class _DaskSweep:
    """One pass of a `DaskEngine` over nodes."""

    def __init__(
        self, engine: DaskEngine, nodes: Mapping[Address, int], scope: Scope, control: Control
    ) -> None:
        self._engine = engine
        self._machines = engine.machines
        self._client = engine.machines.client
        self._restarts = dict(nodes)
        self._waiting = list(nodes)
        self._posts: dict[Future[NodeResult | str], _Assignment] = {}
        self._scope = scope
        self._control = Keeping(control)
        self._deaths: Counter[Address] = Counter()
        self._reached: dict[Address, Any] = {}  # the position when a worker died
        self._encrypted: Counter[Address] = Counter()  # of results that do not count
        self._run = uuid.uuid4().hex
        self._inbox: SimpleQueue[tuple[str, list[Any]]] = SimpleQueue()
        self._orders = Orders(self._client, self._run)
        self._line = WorkerChannel(self._inbox, self._orders)
        self._present: list[str] = []
        self._looked_at = 0.0
        self._met_at = time.monotonic()

    def results(self) -> Results:
        """
        The nodes, each as it is done.

        Raises:
            GoneError: The scheduler is gone.
        """
        with self._machines.asking():
            self._client.subscribe_topic(TOPIC, self._receive)
        stop = None
        while self._waiting or self._posts:
            stop = stop or self._control.stop()
            if stop is not None:
                self._line.ask_to_stop(stop)
            with self._machines.asking():
                self._orders.send()
            self._look()
            if stop is None and self._waiting:
                self._give()
            done, _ = wait(self._posts, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            self._line.deliver(self._control)
            yield from self._take(done)
            if not self._posts and (stop or self._nobody()):
                yield from self.give_up(self._why_nobody(), stop)
            elif not self._posts:
                time.sleep(POLL_SECONDS)

    def give_up(self, reason: str, stop: Stop | None = None) -> Results:
        """What is known of the nodes that are not done."""
        self._line.deliver(self._control)
        left = [*self._waiting]
        left += [post.address for post in self._posts.values() if post.address is not None]
        self._waiting.clear()
        self._posts.clear()
        for address in left:
            yield address, self._unfinished(address, reason, stop)

    def end(self) -> None:
        """Let go of everything; workers that are still at work stop."""
        with suppress(GoneError), self._machines.asking():
            self._orders.close()
        for future in self._posts:
            future.cancel()

    def _receive(self, event: tuple[float, Any]) -> None:
        """Take an event of the cluster, in the thread of the client."""
        run, text = event[1]
        if run == self._run:
            self._inbox.put(tuple(json.loads(text)))

    def _look(self) -> None:
        """See who is there; the nodes of workers that are gone are to be swept by others."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._present = self._machines.present()
        self._looked_at = time.monotonic()
        if self._usable():
            self._met_at = self._looked_at
        for future, post in list(self._posts.items()):
            if post.worker not in self._present and not future.done():
                del self._posts[future]
                future.cancel()
                self._lose(post)

    def _usable(self) -> list[str]:
        return [worker for worker in self._present if worker not in self._engine.refused]

    def _give(self) -> None:
        """Give nodes to workers that have none, preferably those that did not have them before."""
        busy = {post.worker for post in self._posts.values()}
        idle = [worker for worker in self._usable() if worker not in busy]
        for worker in set(idle) - self._machines.checked:
            idle.remove(worker)
            self._submit(_Assignment(worker, None), version, DISTRIBUTION)
        tried = self._engine.tried
        while self._waiting and idle and len(self._posts) < self._engine.workers:
            address = self._waiting.pop(0)
            worker = min(idle, key=lambda one: tried[address, one])
            idle.remove(worker)
            tried[address, worker] += 1
            saved = self._control.load(str(address))
            order = self._engine.order(
                self._run, address, self._scope, saved, self._restarts[address]
            )
            self._submit(_Assignment(worker, address), perform, order)

    def _submit(self, post: _Assignment, function: Callable[..., Any], *arguments: Any) -> None:
        executor = self._client.get_executor(
            pure=False, retries=0, workers=[post.worker], allow_other_workers=False
        )
        with self._machines.asking():
            future = executor.submit(function, *arguments)
        self._posts[future] = post

    def _take(self, done: set[Future[NodeResult | str]]) -> Results:
        for future in done:
            post = self._posts.pop(future)
            try:
                answer = future.result()
            except KilledWorker:
                self._lose(post)
                continue
            except CancelledError:
                self._posts[future] = post
                raise self._machines.gone() from None
            except PackageNotFoundError:
                answer = ""
            if post.address is None:
                self._check(post, str(answer))
            elif isinstance(answer, str):
                self._refuse(post, answer)
            elif answer.stopped and not self._orders.value:
                # It heard nothing of us for too long; its position no longer tells of these.
                self._encrypted[post.address] += answer.tally.encryptions
                self._lose(post)
            else:
                answer.tally.encryptions += self._encrypted[post.address]
                yield post.address, answer
        for address, deaths in self._deaths.items():
            if deaths >= _DEATHS and address in self._waiting:
                self._waiting.remove(address)
                reason = "its worker process died again and again"
                yield address, self._unfinished(address, reason)

    def _lose(self, post: _Assignment) -> None:
        if post.address is None:
            return
        log.warning("a worker is lost", worker=post.worker, node=str(post.address))
        reached = self._control.kept.get(str(post.address))
        if reached is not self._reached.get(post.address):
            self._reached[post.address], self._deaths[post.address] = reached, 0
        self._deaths[post.address] += 1
        self._waiting.append(post.address)

    def _check(self, post: _Assignment, found: str) -> None:
        self._machines.checked.add(post.worker)
        if wrong := other_version(found):
            self._refuse(post, wrong)

    def _refuse(self, post: _Assignment, reason: str) -> None:
        log.warning("a worker cannot be used", worker=post.worker, reason=reason)
        self._engine.refused[post.worker] = reason
        if post.address is not None:
            self._waiting.append(post.address)

    def _nobody(self) -> bool:
        """Whether there has been no worker to give work to for so long that none is expected."""
        if not self._waiting or self._usable():
            return False
        # Those that refuse will not change their minds; where there are none, some may come.
        if not self._present and time.monotonic() - self._met_at < self._engine.patience:
            return False
        self._engine.patience = 0
        return True

    def _why_nobody(self) -> str:
        refusals = [f"{worker}: {why}" for worker, why in self._engine.refused.items()]
        if refusals:
            return f"no dask worker can be used ({'; '.join(refusals)})"
        return "no dask worker is left"

    def _unfinished(self, address: Address, reason: str, stop: Stop | None = None) -> NodeResult:
        """What is known of a node that nobody sweeps any more; its last position says what."""
        result = failed(address, reason, self._restarts[address])
        saved = self._control.kept.get(str(address))
        if saved is not None:
            position = Checkpoint.from_dict(saved)
            result.started_at, result.identity = position.started_at, position.identity
            result.tally = position.tally
            result.tally.encryptions = 0  # they are counted when the position is gone on from
        if stop is not None:
            result.stopped, result.reasons = stop, ()
        return result


@contextmanager
def dask_machines(scheduler: str, hurry: Callable[[], object]) -> Iterator[DaskMachines]:
    """
    The workers of the dask cluster of *scheduler*, at least one, unless *hurry* says to go on.

    Raises:
        ConfigError: It is no address, TLS is not set up, or it has another rotator.
        ServerError: No scheduler answers there, or it has no worker.
    """
    with connected(scheduler) as client:
        machines = DaskMachines(client, scheduler)
        machines.check_scheduler()
        machines.wait(hurry)
        yield machines


class DaskMachines(DaskCluster, RemoteWorkers):
    """The workers of a dask cluster; see `rotator.engine.Machines`."""

    def count(self) -> int:
        """How many workers there are now, at least 1: that there are none, the sweep will say."""
        with suppress(GoneError):
            return max(1, len(self.present()))
        return 1

    def engine(self, files: tuple[Path, ...], access: CacheContext, workers: int) -> DaskEngine:
        """What sweeps the nodes of the cache of *access* with so many *workers* at most."""
        places = tuple(path.absolute() for path in files)
        return DaskEngine(self, places, Fingerprint.of(access), workers)
