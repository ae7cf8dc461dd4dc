"""
Sweeps the nodes of a cache with the workers of a dask cluster, one node a worker at a time.

- A worker is an executor: `Client.get_executor`, bound to that one worker. Dask itself repeats
  nothing and moves nothing (retries=0, worker restrictions): when a worker is lost, its node is
  given to another one here, because only here it is known how far it was.
- Positions come in while workers work, and go to the state file of this machine.
- A worker that refuses an order is not asked again.
- If no worker is left, the nodes that were not done are incomplete; the others count.
"""

from __future__ import annotations

import json
import pickle
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import structlog
from distributed import Client, KilledWorker, Variable
from distributed.client import ClosedClientError

from rotator.access import Access
from rotator.address import Address
from rotator.config import load
from rotator.control import Control, Stop
from rotator.daskworker import TOPIC, Order, orders_of, perform
from rotator.engine import Results, failed
from rotator.errors import ConfigError, ServerError
from rotator.fingerprint import Fingerprint, own_version
from rotator.line import Line
from rotator.noderesult import NodeResult
from rotator.position import Position
from rotator.scope import Scope

CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
"""How long there may be no worker: at the start, and when the last one is lost."""
SILENCE_SECONDS = 30.0
"""How long a worker may hear nothing of this machine; then it counts as gone."""
_CLOSE_SECONDS = 5.0
_DEATHS = 4  # how many workers a node may cost
_POLL_SECONDS = 0.02
_LOOK_SECONDS = 0.25  # between two looks at who is there
_BEAT_SECONDS = 1.0

log = structlog.get_logger(__name__)


@contextmanager
def dask_machines(scheduler: str, hurry: Callable[[], object]) -> Iterator[DaskMachines]:
    """
    The workers of the dask cluster of *scheduler*, at least one, unless *hurry* says to go on.

    Raises:
        ConfigError: It is no address, or TLS is not set up.
        ServerError: No scheduler answers there, or it has no worker.
    """
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except OSError:
        raise ServerError(
            f"no dask scheduler answers at {scheduler}",
            hint="start it with `dask scheduler`, and let this machine reach it",
        ) from None
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {scheduler}: {str(error).lower().rstrip('.')}",
            hint="tcp://host:8786, or tls://host:8786 with distributed.comm.tls in dask's settings",
        ) from None
    try:
        machines = DaskMachines(client, scheduler)
        machines.wait(hurry)
        yield machines
    finally:
        with suppress(OSError):
            client.close(timeout=_CLOSE_SECONDS)


class DaskMachines:
    """The workers of a dask cluster; see `rotator.engine.Machines`."""

    def __init__(self, client: Client, scheduler: str) -> None:
        self.client = client
        self._scheduler = scheduler

    def present(self) -> list[str]:
        """
        The addresses of the workers that are there now.

        Raises:
            ServerError: The scheduler is gone.
        """
        if self.client.status == "running":
            with suppress(OSError, AttributeError, ClosedClientError):
                return sorted(self.client.nthreads(callback_timeout=CONNECT_SECONDS))
        raise self.lost()

    def lost(self) -> ServerError:
        """What to say when the scheduler is gone."""
        return ServerError(f"the connection to the dask scheduler {self._scheduler} was lost")

    def wait(self, hurry: Callable[[], object]) -> None:
        """
        Wait until there is a worker, or *hurry* says to go on without.

        Raises:
            ServerError: None has come, or the scheduler is gone.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.present() and not hurry():
            if time.monotonic() > until:
                raise ServerError(
                    f"the dask scheduler {self._scheduler} has no worker",
                    hint=f"start some, on any machine: dask worker {self._scheduler}",
                )
            time.sleep(_POLL_SECONDS)

    def count(self) -> int:
        """How many workers there are now, at least 1: that there are none, the sweep will say."""
        with suppress(ServerError):
            return max(1, len(self.present()))
        return 1

    def engine(self, files: tuple[Path, ...], access: Access, workers: int) -> DaskEngine:
        """What sweeps the nodes of the cache of *access* with so many *workers* at most."""
        config = load(files)
        places = tuple(path.absolute() for path in files)
        return DaskEngine(self, places, Fingerprint.of(config, access), workers)


class DaskEngine:
    """Sweeps the nodes of one cache; see `rotator.engine.Engine`."""

    def __init__(
        self,
        machines: DaskMachines,
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
        shift = _Shift(self, nodes, scope, control)
        try:
            yield from shift.results()
        except ServerError as error:  # the scheduler; those of nodes are results
            self.patience = 0
            yield from shift.give_up(str(error))
        finally:
            shift.end()

    def order(
        self, run: str, address: Address, scope: Scope, saved: dict[str, Any] | None, restarts: int
    ) -> bytes:
        """What a worker is told, ready to travel."""
        told = Order(
            run,
            self._files,
            address,
            scope,
            self._fingerprint,
            saved,
            restarts,
            silence=SILENCE_SECONDS,
        )
        return pickle.dumps(told)


class _Post(NamedTuple):
    """A node, and the worker that sweeps it."""

    address: Address
    worker: str


class _Shift:
    """One pass of a `DaskEngine` over nodes."""

    def __init__(
        self, engine: DaskEngine, nodes: Mapping[Address, int], scope: Scope, control: Control
    ) -> None:
        self._engine = engine
        self._machines = engine.machines
        self._client = engine.machines.client
        self._restarts = dict(nodes)
        self._waiting = list(nodes)
        self._posts: dict[Future[NodeResult | str], _Post] = {}
        self._scope = scope
        self._control = _Keeping(control)
        self._deaths: Counter[Address] = Counter()
        self._run = uuid.uuid4().hex
        self._inbox: SimpleQueue[tuple[str, list[Any]]] = SimpleQueue()
        self._orders = _Orders(Variable(orders_of(self._run), client=self._client))
        self._line = Line(self._inbox, self._orders)
        self._present: list[str] = []
        self._looked_at = 0.0
        self._met_at = time.monotonic()

    def results(self) -> Results:
        """
        The nodes, each as it is done.

        Raises:
            ServerError: The scheduler is gone.
        """
        self._look()
        self._orders.send()
        self._client.subscribe_topic(TOPIC, self._receive)
        while self._waiting or self._posts:
            self._look()
            stop = self._control.stop()
            if stop is not None:
                self._line.ask_to_stop(stop)
            elif self._waiting:
                self._give()
            self._orders.send()
            done, _ = wait(self._posts, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            self._line.deliver(self._control)
            yield from self._take(done)
            if not self._posts and (stop or self._nobody()):
                yield from self.give_up(self._why_nobody(), stop)
            elif not self._posts:
                time.sleep(_POLL_SECONDS)

    def give_up(self, reason: str, stop: Stop | None = None) -> Results:
        """What is known of the nodes that are not done."""
        self._line.deliver(self._control)
        left = [*self._waiting, *(post.address for post in self._posts.values())]
        self._waiting.clear()
        self._posts.clear()
        for address in left:
            yield address, self._unfinished(address, reason, stop)

    def end(self) -> None:
        """Let go of everything; workers that are still at work stop."""
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
            executor = self._client.get_executor(
                pure=False, retries=0, workers=[worker], allow_other_workers=False
            )
            self._posts[executor.submit(perform, own_version(), order)] = _Post(address, worker)

    def _take(self, done: set[Future[NodeResult | str]]) -> Results:
        for future in done:
            post = self._posts.pop(future)
            try:
                answer = future.result()
            except KilledWorker:
                self._lose(post)
                continue
            except CancelledError:
                self._waiting.append(post.address)
                raise self._machines.lost() from None
            except ImportError as error:
                answer = f"it cannot import {error.name}"
            if isinstance(answer, str):
                self._refuse(post, answer)
            elif answer.stopped and not self._orders.value:
                self._lose(post)  # it heard nothing of us for too long
            else:
                yield post.address, answer
        for address, deaths in self._deaths.items():
            if deaths >= _DEATHS and address in self._waiting:
                self._waiting.remove(address)
                reason = "its worker process died again and again"
                yield address, self._unfinished(address, reason)

    def _lose(self, post: _Post) -> None:
        log.warning("a worker is lost", worker=post.worker, node=str(post.address))
        self._deaths[post.address] += 1
        self._waiting.append(post.address)

    def _refuse(self, post: _Post, reason: str) -> None:
        log.warning("a worker cannot be used", worker=post.worker, reason=reason)
        self._engine.refused[post.worker] = reason
        self._waiting.append(post.address)

    def _nobody(self) -> bool:
        """Whether there has been no worker to give work to for so long that none is expected."""
        now = time.monotonic()
        if not self._waiting or self._usable():
            self._met_at = now
            return False
        patience = 0 if self._present else self._engine.patience
        if now - self._met_at < patience:
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
            position = Position.from_dict(saved)
            result.started_at, result.identity = position.started_at, position.identity
            result.tally = position.tally
            result.tally.encryptions = 0  # they are counted when the position is gone on from
        if stop is not None:
            result.stopped, result.reasons = stop, ()
        return result


class _Orders:
    """The wish to stop, as a `Line` knows it, and the sign that this machine is still there."""

    def __init__(self, variable: Variable) -> None:
        self.value = 0
        self._variable = variable
        self._beat = 0
        self._sent = (-1, 0.0)

    def send(self) -> None:
        """
        Tell the workers, if there is something new or it is time for a sign.

        Raises:
            ServerError: The scheduler is gone.
        """
        value, at = self._sent
        if value == self.value and time.monotonic() - at < _BEAT_SECONDS:
            return
        self._beat += 1
        self._sent = (self.value, time.monotonic())
        try:
            self._variable.set([self._beat, self.value], callback_timeout=CONNECT_SECONDS)
        except (OSError, AttributeError, ClosedClientError):
            raise ServerError("the connection to the dask scheduler was lost") from None

    def close(self) -> None:
        """Withdraw the orders: whoever still works stops."""
        with suppress(OSError, AttributeError, ClosedClientError):
            self._variable.delete()


class _Keeping:
    """A `Control` that knows the last position of every node."""

    def __init__(self, control: Control) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self._control = control
        self.stop = control.stop
        self.page_done = control.page_done
        self.wait = control.wait

    def save(self, node: str, position: dict[str, Any]) -> None:
        """Pass it on."""
        self.kept[node] = position
        self._control.save(node, position)

    def load(self, node: str) -> dict[str, Any] | None:
        """The last position, of this sweep or an earlier one."""
        return self.kept.get(node) or self._control.load(node)
