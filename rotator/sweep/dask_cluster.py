"""
Dask cluster: speaks with a scheduler, and sweeps a node on one of its workers.

- The scheduler may be gone at any moment. Then every call ends soon, with a `GoneError`.
- On a worker, configuration and secrets are that machine's own; see `NodeTask`. Progress, log lines
  and positions go back as events of the dask cluster, pages together. The wish to stop is a dask
  variable, looked at now and then.
- A machine that sends tasks and then is not heard of any more counts as gone: what nobody waits for
  is stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from operator import add
from typing import Any

import structlog
from distributed import Client, Variable, get_client, get_worker
from distributed.client import ClosedClientError
from distributed.versions import get_versions

from rotator import DISTRIBUTION, __version__
from rotator.errors import ConfigError, ServerError
from rotator.protection import disable_core_dumps
from rotator.sweep.channel import WorkerChannel, read_orders, write_orders
from rotator.sweep.control import Orders, Stop
from rotator.sweep.division import NodeTask
from rotator.sweep.engine import init_worker, run_node_task, send_log
from rotator.sweep.results import NodeResult

BEAT_SECONDS = 1.0
"""How often workers get a sign that this machine is still there."""

CONNECT_SECONDS = 10.0
"""How long the scheduler may take to answer."""

PATIENCE_SECONDS = 30.0
"""How long there may be no worker: at the start, and when the last one is lost."""

POLL_SECONDS = 0.02

_CLOSE_SECONDS = 5.0

TOPIC = "rotator"
"""The topic of all events of all runs; each names its run. A topic stays for good: one will do."""

GONE = list(Stop).index(Stop.TERMINATED) + 1
"""The number of the `Stop` of a worker whose run is gone; nobody will see it."""

_SEND_SECONDS = 0.1  # what happens meanwhile is told together
_ASK_SECONDS = 0.25  # how soon a wish to stop is heard
_REPLY_SECONDS = 5.0  # how long the scheduler may take to answer

# What distributed raises when the scheduler is gone, depending on how far it has noticed.
_GONE = (OSError, AttributeError, ClosedClientError)


class GoneError(ServerError):
    """Gone: the connection to the scheduler was lost."""


@contextmanager
def open_cluster(scheduler: str, should_stop: Callable[[], object]) -> Iterator[DaskCluster]:
    """
    Connect to *scheduler* for the time of the block, and wait for its first worker.

    Raises:
        ConfigError: It is no address, TLS is not set up, or it has another rotator.
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
        cluster = DaskCluster(client, scheduler)
        cluster.check_scheduler()
        cluster.wait(should_stop)
        yield cluster
    finally:
        with suppress(OSError):
            client.close(timeout=_CLOSE_SECONDS)


@dataclass(slots=True)
class DaskCluster:
    """Dask cluster: knows a scheduler and its workers; *checked* have said their versions."""

    client: Client
    scheduler: str
    checked: set[str] = field(default_factory=set)

    def check_scheduler(self) -> None:
        """
        Check that the scheduler can read what goes to workers through it.

        Raises:
            ConfigError: It has no rotator, or another version.
            GoneError: It is gone.
        """
        try:
            with self.asking():
                found = self.client.run_on_scheduler(get_versions, [DISTRIBUTION])
        except ValueError:
            return  # its owner does not let anybody ask (distributed.scheduler.blocked-handlers)
        if wrong := other_version(found):
            raise ConfigError(
                f"the dask scheduler {self.scheduler} cannot be used: {wrong}",
                hint="install the same redis-rotator[dask] on all machines, the scheduler's too",
            )

    def present(self) -> list[str]:
        """
        Return the addresses of the workers that are there now.

        Raises:
            GoneError: The scheduler is gone.
        """
        with self.asking():
            return sorted(self.client.nthreads(callback_timeout=CONNECT_SECONDS))

    @contextmanager
    def asking(self) -> Iterator[None]:
        """
        Run a block that asks the scheduler for something, and does nothing else.

        Raises:
            GoneError: It is gone.
        """
        if self.client.status != "running":  # it tries for a while to connect again
            raise self.gone()
        try:
            yield
        except _GONE:
            raise self.gone() from None

    def submit(self, worker: str, *call: Any) -> Future[Any]:
        """
        Have one worker make a *call*, a function and its arguments, at most once.

        Raises:
            GoneError: The scheduler is gone.
        """
        executor = self.client.get_executor(
            pure=False, retries=0, workers=[worker], allow_other_workers=False
        )
        with self.asking():
            future: Future[Any] = executor.submit(*call)
        return future

    def gone(self) -> GoneError:
        """Return the error that says that the scheduler is gone."""
        return GoneError(f"the connection to the dask scheduler {self.scheduler} was lost")

    def wait(self, should_stop: Callable[[], object]) -> None:
        """
        Wait until there is a worker, or *should_stop* says to go on without.

        Raises:
            ServerError: None has come.
            GoneError: The scheduler is gone.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.present() and not should_stop():
            if time.monotonic() > until:
                raise ServerError(
                    f"the dask scheduler {self.scheduler} has no worker",
                    hint=f"start some, on any machine: dask worker {self.scheduler}",
                )
            time.sleep(POLL_SECONDS)


class DaskStop:
    """
    Dask stop: tells the workers of a run to stop, and that this machine is still there.

    *value* is the number of the `Stop`, as a `WorkerChannel` wants it, and the others are orders.
    """

    def __init__(self, client: Client, run: str) -> None:
        self.value = 0
        write_orders(self, Orders())
        self._variable = Variable(stop_variable(run), client=client)
        self._beat = 0
        self._sent: tuple[list[Any], float] = [], 0.0

    def send(self) -> None:
        """Tell the workers, if there is something new or it is time for a sign."""
        (told, at), orders = self._sent, read_orders(self)
        now = [self.value, orders.rate, orders.latency, orders.lag, orders.paused]
        if told == now and time.monotonic() - at < BEAT_SECONDS:
            return
        self._beat += 1
        self._sent = (now, time.monotonic())
        self._variable.set([self._beat, *now], callback_timeout=CONNECT_SECONDS)

    def close(self) -> None:
        """Delete the variable: whoever still works stops."""
        self._variable.delete()


def other_version(found: dict[str, Any]) -> str | None:
    """Return how rotator elsewhere, where dask *found* its versions, is not this one; or None."""
    version = found["packages"].get(DISTRIBUTION)
    if version == __version__:
        return None
    return f"it has rotator {version}, not {__version__}" if version else "it has no rotator"


def run_dask_task(task: NodeTask, run: str, silence: float) -> NodeResult | str:
    """Sweep a node for a *run*, silent for so many seconds at most; a text says why it must not."""
    disable_core_dumps()
    try:
        events = EventChannel(run, silence)
    except OSError as error:
        return f"it cannot reach its own scheduler: {error}"
    init_worker(WorkerChannel(events, events))
    structlog.configure(processors=[send_log], cache_logger_on_first_use=False)
    try:
        return run_node_task(task)
    finally:
        events.flush()


def stop_variable(run: str) -> str:
    """Return the name of the variable that tells a run's workers to stop: [beat, stop, orders]."""
    return f"rotator-{run}"


class EventChannel:
    """
    Event channel: stands for both ends of a `WorkerChannel` between machines.

    Messages go with `put`, `value` is the wish to stop. It is for one thread of a dask worker.
    """

    def __init__(self, run: str, silence: float) -> None:
        self._run = run
        self._silence = silence
        self._worker = get_worker()
        self._variable = Variable(stop_variable(run), client=get_client())
        self._pages: list[Any] = []
        self._wait: tuple[Any, ...] = ()  # to be told
        self._waits: tuple[Any, ...] = ()
        self._sent_at = self._heard_at = time.monotonic()
        self._asked_at = 0.0
        self._beat = -1
        self._stop = 0
        write_orders(self, Orders())

    def put(self, message: tuple[str, tuple[Any, ...]]) -> None:
        """Send a message; pages are put together, of waits the last with a reason is told."""
        method, arguments = message
        if method == "page_done":
            node, *numbers = arguments
            self._pages = [node, *map(add, self._pages[1:] or (0, 0, 0), numbers)]
        elif method == "wait":
            self._waits = arguments
            self._wait = arguments if arguments[1] is not None or not self._wait else self._wait
        else:
            self.flush()
            self._send(method, arguments)
        self._flush_in_time()

    @property
    def value(self) -> int:
        """The number of a `Stop`, from 1; 0 to go on."""
        self._flush_in_time()
        now = time.monotonic()
        if not self._stop and now - self._asked_at > _ASK_SECONDS:
            self._asked_at = now
            self._ask(now)
        return self._stop

    def flush(self) -> None:
        """Send what was held back."""
        if self._pages:
            self._send("page_done", self._pages)
        if self._wait:
            self._send("wait", self._wait)
        # That a wait has ended is told the next time.
        self._pages, self._wait = [], () if self._wait == self._waits else self._waits
        self._sent_at = time.monotonic()

    def _flush_in_time(self) -> None:
        if time.monotonic() - self._sent_at > _SEND_SECONDS:
            self.flush()

    def _ask(self, now: float) -> None:
        try:
            beat, self._stop, *orders = self._variable.get(
                timeout=_ASK_SECONDS, callback_timeout=_REPLY_SECONDS
            )
        except (OSError, RuntimeError, AttributeError):
            self._stop = GONE  # the variable was deleted, or there is no way to the scheduler
            return
        write_orders(self, Orders(*orders))
        if beat != self._beat:
            self._beat, self._heard_at = beat, now
        elif now - self._heard_at > self._silence:
            self._stop = GONE

    def _send(self, method: str, arguments: object) -> None:
        # As JSON: a text of a server may hold what dask's own encoding does not take.
        self._worker.log_event(TOPIC, [self._run, json.dumps([method, arguments])])
