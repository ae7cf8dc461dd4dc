"""
The line between a sweep and whoever started it: progress and positions out, the wish to stop in.

A sweep asks `stop` between two pages and reports after each one, so that a stop at any moment finds
every finished page recorded and no page half done.

The line between a parent and the workers that sweep nodes for it: progress, waits and log lines.

Positions go through it only where a worker cannot write them to the state file by itself.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import Any, Protocol

import structlog

from rotator.config.types import Address
from rotator.errors import Exit


class Stop(StrEnum):
    """Why a sweep ends before its last page."""

    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    TIME_UP = "max-duration"
    UNTIL = "until"

    @property
    def exit_code(self) -> Exit:
        """The exit code that says so."""
        return {
            Stop.INTERRUPTED: Exit.INTERRUPTED,
            Stop.TERMINATED: Exit.TERMINATED,
            Stop.TIME_UP: Exit.TIME_UP,
            Stop.UNTIL: Exit.TIME_UP,
        }[self]


class Control(Protocol):
    """What a sweep of one node needs of the world around it."""

    def stop(self) -> Stop | None:
        """Why to stop after the page in hand, or None to go on."""

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:
        """A page of *node* is finished: so many visits, rotated and left under an old key."""

    def wait(self, node: str, reason: str | None) -> None:
        """The sweep of *node* waits, for *reason*; with None it goes on."""

    def save(self, node: str, position: dict[str, Any]) -> None:
        """Keep *position*: everything before it is finished."""

    def load(self, node: str) -> dict[str, Any] | None:
        """The position that an earlier run kept, or None to begin anew."""


class StopSignal:
    """
    Collects the reasons to stop: a signal, or that time is up, whatever comes first.

    *max_duration* counts from now; *until* is a moment by the clock of this machine.
    """

    def __init__(
        self, max_duration: timedelta | None = None, until: datetime | None = None
    ) -> None:
        seconds = None if max_duration is None else max_duration.total_seconds()
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._until = None if until is None else until.timestamp()
        self._signalled: Stop | None = None

    @property
    def ends_at(self) -> datetime | None:
        """When time is up, as far as the clock can say now; None if it never is."""
        now = time.time()
        left = None if self._deadline is None else now + self._deadline - time.monotonic()
        ends = [at for at in (left, self._until) if at is not None]
        return datetime.fromtimestamp(min(ends), UTC) if ends else None

    def reason(self) -> Stop | None:
        """Why to stop, or None."""
        if self._signalled is not None:
            return self._signalled
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return Stop.TIME_UP
        # By the wall clock: it may be set, and a machine that slept must not sweep on past it.
        return Stop.UNTIL if self._until is not None and time.time() >= self._until else None

    @contextmanager
    def handling_signals(self, announce: Callable[[Stop], None]) -> Iterator[None]:
        """
        Take SIGINT and SIGTERM as a wish to stop while the block runs.

        The second SIGINT is not taken but raised as KeyboardInterrupt: whoever presses Ctrl-C twice
        does not want to wait for the page. *announce* is called by a thread: a signal may come
        while a line is being written, and whoever writes another one then would tear it.
        """
        said: SimpleQueue[Stop | None] = SimpleQueue()

        def note(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGINT and self._signalled is not None:
                raise KeyboardInterrupt
            self._signalled = Stop.INTERRUPTED if number == signal.SIGINT else Stop.TERMINATED
            said.put(self._signalled)

        def say() -> None:
            while (stop := said.get()) is not None:
                announce(stop)

        herald = Thread(target=say, daemon=True)
        herald.start()
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            said.put(None)
            herald.join()


_LONGEST = 800  # characters of a text in a log line


log = structlog.get_logger(__name__)


class WorkerChannel:
    """
    The line between worker processes and their parent.

    *queue* carries (method, arguments) to the parent; *stop* holds the number of a `Stop`, from 1.
    Neither leaves anybody stuck when a worker is killed: *stop* has no lock that it could take with
    it, and messages are shorter than what a pipe takes in one piece (PIPE_BUF, 4096 bytes on
    Linux), so there is never half of one.
    """

    def __init__(self, queue: Any, stop: Any) -> None:
        self._queue = queue
        self._stop = stop

    def ask_to_stop(self, reason: Stop) -> None:
        """Tell every worker to stop after its page."""
        self._stop.value = list(Stop).index(reason) + 1

    def asked_to_stop(self) -> Stop | None:
        """What the parent said."""
        number = self._stop.value
        return list(Stop)[number - 1] if number else None

    def send(self, method: str, *arguments: Any) -> None:
        """Send a message to the parent."""
        self._queue.put((method, arguments))

    def send_log(
        self, _logger: object, level: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Send a log line to the parent, as structlog's last processor."""
        short = {name: _shortened(value) for name, value in event.items()}
        self.send("log", level, short)
        raise structlog.DropEvent

    def deliver(self, control: Control) -> None:
        """Act on every message that has come."""
        while not self._queue.empty():
            method, arguments = self._queue.get()
            if method == "log":
                level, event = arguments
                getattr(log, level)(**event)
            elif method == "wait":
                control.wait(*arguments)
            elif method == "save":
                control.save(*arguments)
            else:
                control.page_done(*arguments)


class ChannelControl:
    """
    The `Control` of a worker, for one node.

    Progress goes to *line*; *keep* takes the node and a position. *saved* is what the parent had
    found for the node.
    """

    def __init__(
        self,
        line: WorkerChannel,
        keep: Callable[[str, dict[str, Any]], None],
        *,
        address: Address,
        saved: dict[str, Any] | None,
    ) -> None:
        self._line = line
        self._keep = keep
        self._node = str(address)
        self._saved = saved

    def stop(self) -> Stop | None:
        """What the parent asked for."""
        return self._line.asked_to_stop()

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:
        """Tell the parent."""
        self._line.send("page_done", node, visits, rotated, left)

    def wait(self, node: str, reason: str | None) -> None:
        """Tell the parent."""
        self._line.send("wait", node, reason)

    def save(self, node: str, position: dict[str, Any]) -> None:
        """Keep it where positions are kept."""
        self._keep(node, position)

    def load(self, node: str) -> dict[str, Any] | None:
        """What the parent had found there."""
        return self._saved if node == self._node else None


def _shortened(value: object) -> object:
    if isinstance(value, int | float | bool | None):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
