"""
The sweep of a node in a worker process of a dask cluster, mostly on another machine.

- What comes here is an `Order`: file names, the cache's name, a position. The configuration and the
  secrets are this machine's own. If they are not those of the machine that sent the order, it is
  refused before anything is done.
- Progress, log lines and positions go back as events of the dask cluster, pages together. The
  wish to stop is a dask variable, looked at now and then.
- A machine that sends orders and then is not heard of any more counts as gone: what nobody waits
  for is stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from operator import add
from pathlib import Path
from typing import Any, Self

import structlog
from distributed import Variable, get_client, get_worker

from rotator.config.load import load
from rotator.config.types import Address
from rotator.errors import RotatorError
from rotator.server.context import CacheContext, Fingerprint
from rotator.sweep.control import ChannelControl, Stop, WorkerChannel
from rotator.sweep.engine import sweep_node
from rotator.sweep.results import NodeResult
from rotator.sweep.scope import Scope

TOPIC = "rotator"
"""Of all events of all runs; each names its run. A topic stays for good, so there is only one."""

GONE = list(Stop).index(Stop.TERMINATED) + 1
"""What a worker stops for when that machine is gone; nobody will see it."""
_SEND_SECONDS = 0.1  # what happens meanwhile is told together
_ASK_SECONDS = 0.25  # how soon a wish to stop is heard
_REPLY_SECONDS = 5.0  # how long the scheduler may take to answer

_LINE: ContextVar[WorkerChannel | None] = ContextVar("rotator_line", default=None)


@dataclass(frozen=True, slots=True)
class Order:
    """
    What a worker is told; none of it is secret. The files are those of the worker's machine.

    *silence* is how many seconds nothing may be heard of whoever sent it.
    """

    run: str
    files: tuple[Path, ...]
    address: Address
    scope: Scope
    fingerprint: Fingerprint
    saved: dict[str, Any] | None = field(repr=False)
    restarts: int
    silence: float


def perform(told: Order) -> NodeResult | str:
    """Carry out an order, or say why this worker must not."""
    try:
        access = _open(told)
    except RotatorError as error:
        return str(error)
    if isinstance(access, str):
        return access
    try:
        courier = EventChannel(told.run, told.silence)
    except OSError as error:
        return f"it cannot reach its own scheduler: {error}"
    with courier:
        line = WorkerChannel(courier, courier)
        control = ChannelControl(
            line, partial(line.send, "save"), address=told.address, saved=told.saved
        )
        with _logging_to(line):
            return sweep_node(
                access,
                told.address,
                told.scope,
                control,
                saved=told.saved,
                restarts=told.restarts,
            )


def _open(told: Order) -> CacheContext | str:
    access = CacheContext.open(load(told.files), told.fingerprint.cache)
    if access.codec is None:
        return f"the cache {access.cache.name} is not encrypted there"
    return Fingerprint.of(access).difference(told.fingerprint) or access


class EventChannel:
    """
    Both ends of a `Line` between machines: messages go with `put`, `value` is the wish to stop.

    For the time of its block, in one thread of a dask worker.
    """

    def __init__(self, run: str, silence: float) -> None:
        self._run = run
        self._silence = silence
        self._worker = get_worker()
        self._orders = Variable(orders_of(run), client=get_client())
        self._pages: tuple[Any, ...] | None = None
        self._wait: tuple[Any, ...] | None = None
        self._sent_at = self._heard_at = time.monotonic()
        self._asked_at = 0.0
        self._beat = -1
        self._stop = 0

    def put(self, message: tuple[str, tuple[Any, ...]]) -> None:
        """Send a message; pages are put together, and of waits only the last one is told."""
        method, arguments = message
        if method == "page_done":
            node, *numbers = arguments
            before = self._pages[1:] if self._pages else (0, 0, 0)
            self._pages = node, *map(add, before, numbers)
        elif method == "wait":
            self._wait = arguments
        else:
            self._flush()
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

    def _ask(self, now: float) -> None:
        try:
            beat, self._stop = self._orders.get(
                timeout=_ASK_SECONDS, callback_timeout=_REPLY_SECONDS
            )
        except (OSError, RuntimeError, AttributeError):
            self._stop = GONE  # the orders were withdrawn, or there is no way to the scheduler
            return
        if beat != self._beat:
            self._beat, self._heard_at = beat, now
        elif now - self._heard_at > self._silence:
            self._stop = GONE

    def _flush_in_time(self) -> None:
        if time.monotonic() - self._sent_at > _SEND_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._pages:
            self._send("page_done", self._pages)
        if self._wait:
            self._send("wait", self._wait)
        self._pages = self._wait = None
        self._sent_at = time.monotonic()

    def _send(self, method: str, arguments: tuple[Any, ...]) -> None:
        # As JSON: a text of a server may hold what dask's own encoding does not take.
        self._worker.log_event(TOPIC, [self._run, json.dumps([method, arguments])])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()


def orders_of(run: str) -> str:
    """The name of the variable with which workers of a run are told to stop: [beat, stop]."""
    return f"rotator-{run}"


@contextmanager
def _logging_to(line: WorkerChannel) -> Iterator[None]:
    """Send what this thread logs through *line*; other threads may have lines of their own."""
    structlog.configure(processors=[_send_log], cache_logger_on_first_use=False)
    before = _LINE.set(line)
    try:
        yield
    finally:
        _LINE.reset(before)


def _send_log(
    logger: object, level: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    line = _LINE.get()
    if line is None:
        raise structlog.DropEvent
    return line.send_log(logger, level, event)
