"""
Control: carries stop reasons and orders, to worker processes too.

A sweep asks `stop` between two pages and reports after each one, so that a stop at any moment finds
every finished page recorded and no page half done.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import Any, Protocol

import structlog

from rotator.errors import Exit
from rotator.progress import Progress

_LONGEST = 800  # characters of a text in a log line

log = structlog.get_logger(__name__)


class Stop(StrEnum):
    """Stop: says why a sweep ends before its last page."""

    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    TIME_UP = "max-duration"
    UNTIL = "until"

    @property
    def exit_code(self) -> Exit:
        """The exit code that says so."""
        return Exit.TIME_UP if self is Stop.UNTIL else Exit[self.name]


class StopSignal:
    """
    Stop signal: collects the reasons to stop, a signal or that time is up, and gives the first.

    *max_duration* counts from now; *until* is a moment by the clock of this machine.
    """

    def __init__(
        self, max_duration: timedelta | None = None, until: datetime | None = None
    ) -> None:
        seconds = math.inf if max_duration is None else max_duration.total_seconds()
        self._deadline = time.monotonic() + seconds
        self._until = math.inf if until is None else until.timestamp()
        self._signalled: Stop | None = None

    @property
    def ends_at(self) -> datetime | None:
        """The moment when time is up, as far as the clock can say now; None if it never is."""
        end = min(time.time() + self._deadline - time.monotonic(), self._until)
        return None if end == math.inf else datetime.fromtimestamp(end, UTC)

    def reason(self) -> Stop | None:
        """Return the reason to stop, or None."""
        if self._signalled is not None:
            return self._signalled
        if time.monotonic() >= self._deadline:
            return Stop.TIME_UP
        # By the wall clock: it may be set, and a machine that slept must not sweep on past it.
        return Stop.UNTIL if time.time() >= self._until else None

    @contextmanager
    def handling_signals(self, announce: Callable[[Stop], None]) -> Iterator[None]:
        """
        Take SIGINT and SIGTERM as a wish to stop while the block runs.

        The second SIGINT is not taken but raised as KeyboardInterrupt: whoever presses Ctrl-C twice
        does not want to wait for the page. *announce* is called by a thread: a signal may come
        while a line is being written, and whoever writes another one then would tear it.
        """
        noted: SimpleQueue[Stop | None] = SimpleQueue()

        def note(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGINT and self._signalled is not None:
                raise KeyboardInterrupt
            self._signalled = Stop.INTERRUPTED if number == signal.SIGINT else Stop.TERMINATED
            noted.put(self._signalled)

        def announce_all() -> None:
            while (stop := noted.get()) is not None:
                announce(stop)

        announcer = Thread(target=announce_all, daemon=True)
        announcer.start()
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            noted.put(None)
            announcer.join()


class Control(Protocol):
    """Control: connects the sweep of one node to whoever started it."""

    def stop(self) -> Stop | None:
        """Return the reason to stop after the page in hand, or None to go on."""

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:
        """Note a finished page of *node*: its visits, and how many rotated or left as they were."""

    def wait(self, node: str, reason: str | None) -> None:
        """Note that the sweep of *node* waits, for *reason*; with None it goes on."""

    def save(self, node: str, position: dict[str, Any], /) -> None:
        """Keep *position*: everything before it is finished."""


class SweepControl(Control, Protocol):
    """Sweep control: knows positions too, for the engine that starts the sweeps of the nodes."""

    def load(self, node: str, /) -> dict[str, Any] | None:
        """Return the position that was kept last, or None to begin anew."""


@dataclass(slots=True)
class ProgressControl:
    """
    Progress control: shows one sweep on a bar, and adds up what it did.

    *stop*, *save* and *load* are as in `SweepControl`; unless given, no position is kept.
    """

    stop: Callable[[], Stop | None]
    bar: Progress
    save: Callable[[str, dict[str, Any]], None] = field(default=lambda *_: None)
    load: Callable[[str], dict[str, Any] | None] = field(default=lambda _: None)
    visits: int = field(default=0, init=False)
    rotated: int = field(default=0, init=False)

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:  # noqa: ARG002 - one bar for all nodes
        """See `Control`."""
        self.visits += visits
        self.rotated += rotated
        self.bar.advance(visits=visits, rotated=rotated, left=left)

    def wait(self, node: str, reason: str | None) -> None:  # noqa: ARG002 - one bar for all nodes
        """See `Control`."""
        self.bar.wait(reason)


@dataclass(slots=True)
class WorkerChannel:
    """
    Worker channel: is the `Control` of workers, whose parent gets all that they tell it.

    *queue* carries (method, arguments) to the parent; *order* has as its value the number of a
    `Stop`, from 1, or 0. Neither leaves anybody stuck when a worker is killed: *order* has no lock
    that it could take with it, and messages are shorter than what a pipe takes in one piece
    (PIPE_BUF, 4096 bytes on Linux), so there is never half of one. Positions are longer: they come
    through it only where no pipe is used, else *keep* takes them. *positions* holds the last one of
    each node.
    """

    queue: Any
    order: Any
    positions: dict[str, dict[str, Any]] = field(default_factory=dict)
    keep: Callable[[str, dict[str, Any]], None] | None = None

    def ask_to_stop(self, reason: Stop) -> None:
        """Tell every worker to stop after its page."""
        self.order.value = list(Stop).index(reason) + 1

    def stop(self) -> Stop | None:
        """See `Control`; the reason is the one that the parent gave."""
        number = self.order.value
        return list(Stop)[number - 1] if number else None

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

    def deliver(self, control: Control) -> None:
        """Act on every message that has come."""
        while not self.queue.empty():
            method, arguments = self.queue.get()
            if method == "log":
                level, event = arguments
                getattr(log, level)(**event)
            elif method == "wait":
                control.wait(*arguments)
            elif method == "save":
                self.positions.update([arguments])
                control.save(*arguments)
            else:
                control.page_done(*arguments)


def _shortened(value: object) -> object:
    if isinstance(value, int | float | bool | None):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
