"""
Engine: sweeps nodes inline, in processes, or on other machines.

- A `NodeTask` travels to a worker: names of files and of the cache. Each worker reads the
  configuration and resolves the secrets by itself, and refuses the task if they are not those that
  the run began with; a key never leaves the process that uses it.
- Pages done and log lines come back through one queue. Only the parent writes to the terminal.
- Processes come from a `concurrent.futures` executor, so that another one can stand in its place.
  One that dies takes the pool with it, but no work: the nodes that were not done are given to a new
  pool and go on at their last checkpoints.
- A parent that dies, or is told to stop at once, takes its worker processes with it.
- A node may be divided among several workers (`division`): a task is a part of it, and its result
  is there when that of every part is.
- Other machines are those of a dask cluster. The library is imported only when it is asked for:
  most users do not have it.
"""

import math
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import structlog

from rotator.config.load import load
from rotator.console import internal_error
from rotator.errors import ConfigError, RotatorError, ServerError
from rotator.protection import disable_core_dumps
from rotator.server.context import CacheContext
from rotator.server.replies import AnswerError
from rotator.server.wire.stream import Patience
from rotator.state.state import State
from rotator.sweep.channel import MESSAGES, SharedOrder, WorkerChannel
from rotator.sweep.control import Control, PositionSaver, SweepControl
from rotator.sweep.division import Nodes, NodeTask, Parts, Results, make_tasks
from rotator.sweep.node.selector import Selector
from rotator.sweep.node.worker import Worker
from rotator.sweep.results import NodeResult
from rotator.sweep.scope import Fingerprint, Scope

DIED = "its worker process died again and again"

_POLL_SECONDS = 0.02
_POOLS = 4  # how often a pool that broke is replaced
_SPAWN = multiprocessing.get_context("spawn")  # a fork would copy keys, locks and connections

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/@]+:[0-9]+")
# distributed would write to the terminal by itself, past the log and the progress bar. What goes
# wrong with it is said by whoever asks it for something.
_QUIET = {
    "version": 1,
    "disable_existing_loggers": False,
    "incremental": True,
    "loggers": {name: {"level": "CRITICAL"} for name in ("asyncio", "distributed", "tornado")},
}

_channel: ContextVar[WorkerChannel | None] = ContextVar("rotator_channel", default=None)
"""The channel to the parent, in a thread that is a worker."""

log = structlog.get_logger(__name__)


class Engine(Protocol):
    """Engine: sweeps nodes, and yields each as it is done."""

    def sweep(self, nodes: Nodes, scope: Scope, control: SweepControl) -> Results:
        """
        Sweep *nodes*, each as it is planned; its result comes when all of its parts are done.

        A node that fails yields a result that says so.
        """


class RemoteWorkers(Protocol):
    """Remote workers: sweep nodes on other machines."""

    def count(self) -> int:
        """Return how many there are now, at least 1."""

    def engine(self, files: tuple[Path, ...], access: CacheContext, workers: int) -> Engine:
        """Return what sweeps the nodes of a cache, so many *workers* at once at most."""


@dataclass(frozen=True, slots=True)
class InlineEngine:
    """Inline engine: sweeps one node after the other here; without *selector* it rotates."""

    access: CacheContext
    selector: Selector | None = None

    def sweep(self, nodes: Nodes, scope: Scope, control: SweepControl) -> Results:
        """See `Engine`."""
        parts = Parts(nodes)
        for task in make_tasks(Fingerprint.of(self.access), nodes, scope, control):
            yield from parts.put(
                task.address, _sweep_node(self.access, task, control, self.selector)
            )


@dataclass(frozen=True, slots=True)
class ProcessEngine:
    """Process engine: sweeps parts of nodes, so many *workers* at once; positions go to *state*."""

    files: tuple[Path, ...]
    access: CacheContext
    state: Path
    workers: int

    def sweep(self, nodes: Nodes, scope: Scope, control: SweepControl) -> Results:
        """See `Engine`."""
        parts = Parts(nodes)
        pending = {task.place: task for task in self._tasks(nodes, scope, control)}
        for _ in range(_POOLS):
            if not pending:
                return
            try:
                for task, result in self._run(list(pending.values()), control):
                    del pending[task.place]
                    yield from parts.put(task.address, result)
            except BrokenProcessPool:
                log.warning("a worker process died", left=list(pending))
                again = {task.place: task for task in self._tasks(nodes, scope, control)}
                pending = {place: again[place] for place in pending}
        for task in pending.values():
            failed = NodeResult.failed(task.address, DIED, task.restarts)
            yield from parts.put(task.address, failed)

    def _tasks(self, nodes: Nodes, scope: Scope, control: SweepControl) -> Iterator[NodeTask]:
        for task in make_tasks(Fingerprint.of(self.access), nodes, scope, control):
            yield replace(task, files=self.files, state=self.state)

    def _run(
        self, tasks: Sequence[NodeTask], control: SweepControl
    ) -> Iterator[tuple[NodeTask, NodeResult]]:
        channel = WorkerChannel(_SPAWN.SimpleQueue(), _SPAWN.RawValue(SharedOrder))
        channel.pass_on(control)
        others = set(multiprocessing.active_children())
        with start_processes(min(self.workers, len(tasks)), channel) as executor:
            try:
                yield from _attend(executor, tasks, channel, control)
            except BaseException:
                # Nobody will read the queue any more, and leaving the block waits for the workers.
                for process in set(multiprocessing.active_children()) - others:
                    process.kill()
                raise


def start_processes(workers: int, channel: WorkerChannel) -> Executor:
    """Start a pool of processes that share nothing but *channel*."""
    return ProcessPoolExecutor(workers, _SPAWN, initializer=_init_process, initargs=(channel,))


def _attend(
    executor: Executor, tasks: Sequence[NodeTask], channel: WorkerChannel, control: Control
) -> Iterator[tuple[NodeTask, NodeResult]]:
    """Pass on what workers send and the wish to stop, until every task is done."""
    futures = {executor.submit(run_node_task, task): task for task in tasks}
    while futures:
        done, _ = wait(futures, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        channel.pass_on(control)
        channel.deliver(control, math.inf if done else MESSAGES)
        for future in done:
            task, result = futures.pop(future), future.result()
            if isinstance(result, str):
                result = NodeResult.failed(task.address, result, task.restarts)
            yield task, result


def run_node_task(task: NodeTask) -> NodeResult | str:
    """Open the cache in a worker and sweep a node; a text says why this worker must not."""
    channel = _channel.get()
    if channel is None:
        raise ValueError("a worker needs a channel to its parent")
    name = task.fingerprint.cache
    try:
        access = CacheContext.open(load(task.files), name)
    except RotatorError as error:
        return str(error)
    access.patience = Patience(channel.stop)
    if access.codec is None:
        return f"the cache {name} is not encrypted there"
    whose = ("its", "this machine") if task.state is None else ("its worker's", "the run")
    if differs := Fingerprint.of(access).difference(task.fingerprint, *whose):
        return differs
    # Its run is under way: there is something to lose.
    with nullcontext() if task.state is None else State(task.state, opening=60.0) as state:
        if state:
            put = partial(state.save_position, name, task.scope.mode)
            channel = replace(channel, keep=PositionSaver(put).save)
        return _sweep_node(access, task, channel)


def _sweep_node(
    access: CacheContext, task: NodeTask, control: Control, selector: Selector | None = None
) -> NodeResult:
    """Sweep one node; a node that cannot be swept at all gives a result that says so."""
    if access.codec is None:
        raise ValueError("a cache without encryption is not swept")
    worker = None
    try:
        worker = Worker(
            task.address,
            access.connect,
            codec=access.codec,
            scope=task.scope,
            control=control,
            saved=task.saved,
            restarts=task.restarts,
            selector=selector,
            neighbours=access.neighbours if task.scope.reads_outside else (),
            may_log_in=access.may_log_in,
            works=task.works,
            part=task.part,
        )
        return worker.run()
    except ServerError as error:
        hopeless = isinstance(error, AnswerError)
        return NodeResult.failed(task.address, str(error), task.restarts, hopeless=hopeless)
    except RotatorError:  # of the state, or of a self-check: not of this node
        raise
    except Exception as error:  # noqa: BLE001 - what nobody expected at one node leaves the others
        failure = internal_error(error, node=str(task.address))
        if worker is not None:
            return worker.broken_off(failure)
        return NodeResult.failed(task.address, str(failure), task.restarts, hopeless=True)


def init_worker(channel: WorkerChannel) -> None:
    """Have what this thread has to tell go through *channel*."""
    _channel.set(channel)


def send_log(
    _logger: object, level: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Send a log line to the parent of the worker that this thread is, as the last processor."""
    if channel := _channel.get():
        channel.send_log(level, event)
    raise structlog.DropEvent


def _init_process(channel: WorkerChannel) -> None:
    """Set up a worker process: signals are the parent's business, and so is the terminal."""
    disable_core_dumps()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):  # a terminal tells all of a group
        signal.signal(number, signal.SIG_IGN)
    structlog.configure(processors=[send_log], cache_logger_on_first_use=False)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    init_worker(channel)


def _end_with_parent() -> None:
    """End this process when its parent is no more: it would sweep on, unseen and unstoppable."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def check_scheduler(engine: str, scheduler: str | None) -> None:
    """
    Raise unless `--engine` and `--scheduler` go together.

    Raises:
        ConfigError: One is there without the other, or the address is none.
    """
    if engine == "dask" and scheduler is None:
        raise ConfigError(
            "--engine dask: the address of the scheduler is missing",
            hint="add --scheduler tcp://host:8786",
        )
    if engine != "dask" and scheduler is not None:
        raise ConfigError("--scheduler is for --engine dask", hint="add --engine dask")
    if scheduler is not None and not _ADDRESS.fullmatch(scheduler):
        raise ConfigError(
            "--scheduler: is no address of a dask scheduler",
            hint="write tcp://host:8786 or tls://host:8786",
        )


def open_remote_workers(
    scheduler: str | None, should_stop: Callable[[], object]
) -> AbstractContextManager[RemoteWorkers | None]:
    """
    Open the workers of the dask cluster of *scheduler*; None without one: this machine does it.

    Waiting for the first worker ends when *should_stop* gives something true.

    Raises:
        ConfigError: The extra `dask` is not installed, or TLS is not set up.
        ServerError: No scheduler answers there, or it has no worker.
    """
    if scheduler is None:
        return nullcontext()
    try:
        import_module("dask").config.set(logging=_QUIET)
        library = import_module("rotator.sweep.dask_engine")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rotator"):
            raise
        raise ConfigError(
            f"--engine dask needs {error.name}, which is not installed",
            hint="pip install 'redis-rotator[dask]'",
        ) from None
    opened: AbstractContextManager[RemoteWorkers] = library.open_workers(scheduler, should_stop)
    return opened
