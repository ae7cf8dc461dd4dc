"""
Who sweeps the nodes: this process, or one process a node.

- One node is swept right here. Several are given to a pool of processes, a `concurrent.futures`
  executor, so that another one can stand in its place.
- What travels to a worker is a `NodeTask`: file names and the cache's name. Each worker reads the
  configuration and resolves the secrets by itself; a key never leaves the process that uses it.
- What comes back while it works goes through one queue: pages done and log lines. Only the parent
  writes to the terminal.
- A worker process that dies takes the pool with it, but no work: the nodes that were not done are
  given to a new pool and go on at their last saved positions.
- A parent that dies, or is told to stop at once, takes its worker processes with it.

Other machines that sweep nodes for this one: those of a dask cluster.

The library is imported only when it is asked for: most users do not have it.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import structlog

from rotator.config.load import load
from rotator.config.types import Address
from rotator.errors import ConfigError, RotatorError, ServerError
from rotator.server.context import CacheContext
from rotator.state.state import State
from rotator.sweep.control import ChannelControl, Control, WorkerChannel
from rotator.sweep.node.worker import Worker
from rotator.sweep.results import NodeResult
from rotator.sweep.scope import Scope
from rotator.tally.tally import Tally

_POLL_SECONDS = 0.02


_POOLS = 4  # how often a pool that broke is replaced


_SPAWN = multiprocessing.get_context("spawn")  # a fork would copy keys, locks and connections


log = structlog.get_logger(__name__)


Results = Iterator[tuple[Address, NodeResult]]


class Engine(Protocol):
    """Sweeps nodes, and yields each as it is done."""

    def sweep(self, nodes: Mapping[Address, int], scope: Scope, control: Control) -> Results:
        """
        Sweep *nodes*, each with how often its scan was begun again already.

        A node that fails yields a result that says so.
        """


class RemoteWorkers(Protocol):
    """Other machines that sweep nodes for this one."""

    def count(self) -> int:
        """How many workers they have now, at least 1."""

    def engine(self, files: tuple[Path, ...], access: CacheContext, workers: int) -> Engine:
        """What sweeps the nodes of the cache of *access*, so many *workers* at once at most."""


@dataclass(frozen=True, slots=True)
class NodeTask:
    """What a worker is told; none of it is secret."""

    files: tuple[Path, ...]
    cache: str
    address: Address
    scope: Scope
    saved: dict[str, Any] | None
    state: Path
    restarts: int = 0


class InlineEngine:
    """Sweeps one node after the other in this process."""

    def __init__(self, access: CacheContext) -> None:
        self._access = access

    def sweep(self, nodes: Mapping[Address, int], scope: Scope, control: Control) -> Results:
        """See `Engine`."""
        for address, restarts in nodes.items():
            saved = control.load(str(address))
            yield (
                address,
                sweep_node(self._access, address, scope, control, saved=saved, restarts=restarts),
            )


class ProcessEngine:
    """
    Sweeps the nodes of a cache, so many *workers* at once; positions go to *state*.

    *start* gives the executor that carries out `perform`, for a number of workers and the `Line`
    to them; each worker has called `enter` with that line before.
    """

    def __init__(
        self,
        files: tuple[Path, ...],
        cache: str,
        state: Path,
        workers: int,
        start: Callable[[int, WorkerChannel], Executor] | None = None,
    ) -> None:
        self._files = files
        self._cache = cache
        self._state = state
        self._workers = workers
        self._start = start or start_processes

    def sweep(self, nodes: Mapping[Address, int], scope: Scope, control: Control) -> Results:
        """See `Engine`."""
        pending = dict(nodes)
        for _ in range(_POOLS):
            if not pending:
                return
            try:
                for address, result in self._run(pending, scope, control):
                    del pending[address]
                    yield address, result
            except BrokenProcessPool:
                log.warning("a worker process died", left=[str(address) for address in pending])
        for address, restarts in pending.items():
            yield address, failed(address, "its worker process died again and again", restarts)

    def _run(self, nodes: Mapping[Address, int], scope: Scope, control: Control) -> Results:
        line = WorkerChannel(_SPAWN.SimpleQueue(), _SPAWN.RawValue("i", 0))
        tasks = [self._task(address, scope, control, nodes[address]) for address in nodes]
        others = set(multiprocessing.active_children())
        with self._start(min(self._workers, len(tasks)), line) as executor:
            try:
                yield from _attend(executor, tasks, line, control)
            except BaseException:
                # Nobody will read the line any more, and leaving the block waits for the workers.
                for process in set(multiprocessing.active_children()) - others:
                    process.kill()
                raise

    def _task(self, address: Address, scope: Scope, control: Control, restarts: int) -> NodeTask:
        saved = control.load(str(address))
        return NodeTask(self._files, self._cache, address, scope, saved, self._state, restarts)


def start_processes(workers: int, line: WorkerChannel) -> Executor:
    """A pool of processes that share nothing but *line*."""
    return ProcessPoolExecutor(workers, _SPAWN, initializer=_enter_process, initargs=(line,))


def _attend(
    executor: Executor, tasks: Sequence[NodeTask], line: WorkerChannel, control: Control
) -> Results:
    """Pass on what workers send and the wish to stop, until every task is done."""
    futures = {executor.submit(run_node_task, task): task.address for task in tasks}
    while futures:
        done, _ = wait(futures, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        if reason := control.stop():
            line.ask_to_stop(reason)
        line.deliver(control)
        for future in done:
            yield futures.pop(future), future.result()


def sweep_node(
    access: CacheContext,
    address: Address,
    scope: Scope,
    control: Control,
    *,
    saved: dict[str, Any] | None,
    restarts: int,
) -> NodeResult:
    """Sweep one node; a node that cannot be swept at all gives a result that says so."""
    if access.codec is None:
        raise ValueError("a cache without encryption is not swept")
    worker = Worker(
        address,
        access.connect,
        codec=access.codec,
        scope=scope,
        control=control,
        saved=saved,
        restarts=restarts,
    )
    try:
        return worker.run()
    except ServerError as error:
        return failed(address, str(error), restarts)


def run_node_task(task: NodeTask) -> NodeResult:
    """Carry out a task in a worker process: open the cache from its references, then sweep."""
    try:
        access = CacheContext.open(load(task.files), task.cache)
    except RotatorError as error:
        return failed(task.address, str(error), task.restarts)
    with State(task.state) as state:
        control = ChannelControl(
            _HERE[0],
            partial(state.save_position, task.cache, task.scope.mode),
            address=task.address,
            saved=task.saved,
        )
        return sweep_node(
            access, task.address, task.scope, control, saved=task.saved, restarts=task.restarts
        )


def failed(address: Address, reason: str, restarts: int) -> NodeResult:
    """The result of a node that was not swept at all."""
    result = NodeResult(str(address), datetime.now(UTC), Tally(), complete=False)
    result.reasons, result.restarts = (reason,), restarts
    return result


_HERE: list[WorkerChannel] = []


def init_worker(line: WorkerChannel) -> None:
    """Set up a worker: what it has to tell goes through *line*."""
    _HERE[:] = [line]


def _enter_process(line: WorkerChannel) -> None:
    """Set up a worker process: signals are the parent's business, and so is the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    structlog.configure(processors=[line.send_log], cache_logger_on_first_use=False)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    init_worker(line)


def _end_with_parent() -> None:
    """End this process when its parent is no more: it would sweep on, unseen and unstoppable."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_ADDRESS = re.compile(r"(tcp|tls)://[^\s/@]+:[0-9]+")


# distributed would write to the terminal by itself, past the log and the progress bar. What goes
# wrong with it is said by whoever asks it for something.
_QUIET = {
    "version": 1,
    "disable_existing_loggers": False,
    "incremental": True,
    "loggers": {name: {"level": "CRITICAL"} for name in ("asyncio", "distributed", "tornado")},
}


def check_scheduler(engine: str, scheduler: str | None) -> None:
    """
    Check `--engine` and `--scheduler`, which go together.

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
    scheduler: str | None, hurry: Callable[[], object]
) -> AbstractContextManager[RemoteWorkers | None]:
    """
    The workers of the dask cluster of *scheduler*; without one this machine does it alone.

    Waiting for the first worker ends when *hurry* says so.

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
    machines: AbstractContextManager[RemoteWorkers] = library.dask_machines(scheduler, hurry)
    return machines
