"""
Channel: carries stop reasons and orders to workers, and what they tell to their parent.

It is between processes, and between machines: see `dask_cluster`.
"""

import ctypes
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from rotator.sweep.control import Control, Orders, Stop

_LONGEST = 800  # characters of a text in a log line
_SAME_SECONDS = 5.0  # what lanes say of one event stands in the log once in that time
_LIMITS = ("rate", "latency", "lag")

MESSAGES = 100
"""How many are acted on at a time: a wish to stop must not wait for all of them."""

log = structlog.get_logger(__name__)


class SharedOrder(ctypes.Structure):
    """Shared order: lies in memory that processes share; each field is written in one piece."""

    _fields_ = (
        ("value", ctypes.c_int),
        ("paused", ctypes.c_int),
        ("rate", ctypes.c_double),
        ("latency", ctypes.c_double),
        ("lag", ctypes.c_double),
    )


def write_orders(order: Any, orders: Orders) -> None:
    """Put *orders* into what a `WorkerChannel` has as its order; no number says: as it began."""
    order.paused = int(orders.paused)
    for name in _LIMITS:
        number = getattr(orders, name)
        setattr(order, name, math.nan if number is None else number)


def read_orders(order: Any) -> Orders:
    """Return what `write_orders` put there."""
    numbers = {name: getattr(order, name) for name in _LIMITS}
    given = {name: None if math.isnan(one) else one for name, one in numbers.items()}
    return Orders(**given, paused=bool(order.paused))


@dataclass(slots=True)
class WorkerChannel:
    """
    Worker channel: is the `Control` of workers, whose parent gets all that they tell it.

    *queue* carries (method, arguments) to the parent; *order* has the fields of a `SharedOrder`:
    as its value the number of a `Stop`, from 1, or 0. Neither leaves anybody stuck when a worker
    is killed: *order* has no lock that it could take with it, and messages are shorter than what a
    pipe takes in one piece (PIPE_BUF, 4096 bytes on Linux), so there is never half of one.
    Positions are longer: they come through it only where no pipe is used, else *keep* takes them.
    *positions* holds the last one of each node.
    """

    queue: Any
    order: Any
    positions: dict[str, dict[str, Any]] = field(default_factory=dict)
    keep: Callable[[str, dict[str, Any]], None] | None = None
    _said: dict[str, float] = field(default_factory=dict)

    def pass_on(self, control: Control) -> None:
        """Tell every worker the orders that *control* has, and to stop if it says so."""
        write_orders(self.order, control.orders())
        if reason := control.stop():
            self.ask_to_stop(reason)

    def ask_to_stop(self, reason: Stop) -> None:
        """Tell every worker to stop after its page."""
        self.order.value = list(Stop).index(reason) + 1

    def stop(self) -> Stop | None:
        """See `Control`; the reason is the one that the parent gave."""
        number = self.order.value
        return list(Stop)[number - 1] if number else None

    def orders(self) -> Orders:
        """See `Control`."""
        return read_orders(self.order)

    def begun(self, place: str, visits: int, rotated: int, left: int) -> None:
        """See `Control`."""
        self.send("begun", place, visits, rotated, left)

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:
        """See `Control`."""
        self.send("page_done", node, visits, rotated, left)

    def wait(self, node: str, reason: str | None) -> None:
        """See `Control`."""
        self.send("wait", node, reason)

    def save(self, node: str, position: dict[str, Any]) -> None:
        """See `Control`."""
        if self.keep:
            self.keep(node, position)
        else:
            self.send("save", node, position)

    def send(self, method: str, *arguments: Any) -> None:
        """Send a message to the parent."""
        self.queue.put((method, arguments))

    def send_log(self, level: str, event: Mapping[str, Any]) -> None:
        """Send a log line to the parent."""
        self.send("log", level, {name: _shortened(value) for name, value in event.items()})

    def deliver(self, control: Control, most: float = math.inf) -> None:
        """Act on messages that have come, at the *most* so many: more come meanwhile."""
        while not self.queue.empty() and most > 0:
            most -= 1
            method, arguments = self.queue.get()
            if method == "log":
                self._log(*arguments)
            elif method == "save":
                self.positions.update([arguments])
                control.save(*arguments)
            elif method == "wait":
                control.wait(*arguments)
            elif method == "begun":
                control.begun(*arguments)
            else:
                control.page_done(*arguments)

    def _log(self, level: str, event: Mapping[str, Any]) -> None:
        """Write a log line of a worker, unless another lane has just said the same."""
        said, now = repr(sorted(event.items())), time.monotonic()
        if now - self._said.get(said, -math.inf) > _SAME_SECONDS:
            self._said[said] = now
            getattr(log, level)(**event)


def _shortened(value: object) -> object:
    if isinstance(value, int | float | bool | None):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
