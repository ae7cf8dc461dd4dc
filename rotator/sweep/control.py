"""
The line between a sweep and whoever started it: progress and positions out, the wish to stop in.

A sweep asks `stop` between two pages and reports after each one, so that a stop at any moment finds
every finished page recorded and no page half done.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import Any, Protocol

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


class Stopper:
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
    def listening(self, announce: Callable[[Stop], None]) -> Iterator[None]:
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
