"""
Control: carries stop reasons, orders and progress between a sweep and whoever started it.

A sweep asks `stop` between two pages and reports after each one, so that a stop at any moment finds
every finished page recorded and no page half done. Orders change its limits while it goes on.
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

from rotator.console import WaitLog
from rotator.errors import Exit, LockedError
from rotator.progress import Progress

AWAY = "the server is away"
"""A reason to wait that stands in the log already, with the error."""

_SAME_SECONDS = 60.0  # a reason to wait is said once in that time, however often it comes back

log = structlog.get_logger(__name__)


class Stop(StrEnum):
    """Stop: says why a sweep ends before its last page."""

    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    TIME_UP = "max-duration"
    UNTIL = "until"
    HUNG_UP = "hung up"
    ORDERED = "tune --stop"

    @property
    def exit_code(self) -> Exit:
        """The exit code that says so."""
        planned = self in {Stop.UNTIL, Stop.ORDERED}
        return Exit.TIME_UP if planned else Exit[self.name]

    @property
    def is_time_up(self) -> bool:
        """True if the run had only so much time, as it may have the next time."""
        return self in {Stop.TIME_UP, Stop.UNTIL}


SIGNALS = {
    signal.SIGINT: Stop.INTERRUPTED,
    signal.SIGTERM: Stop.TERMINATED,
    signal.SIGHUP: Stop.HUNG_UP,
}
"""The signals that are a wish to stop."""


@dataclass(frozen=True, slots=True)
class Orders:
    """
    Orders: say what is changed in a run under way; None: as it began, 0: no limit.

    *rate*, *latency* and *lag* are those of `scope.Limits`, *rate* for all workers together. While
    it is *paused* nothing is done.
    """

    rate: float | None = None
    latency: float | None = None
    lag: float | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Change: says what was changed while a run went on, and by whom. Reports hold it as it is."""

    at: datetime
    what: str
    before: str
    after: str
    user: str
    host: str


class StopSignal:
    """
    Stop signal: collects the reasons to stop, a signal or that time is up, and gives the first.

    *max_duration* counts from now; *until* is a moment by the clock of this machine. It holds the
    *orders* in force and the *changes* that they made, too: both reach a sweep by the same way.
    """

    orders = Orders()
    changes: tuple[Change, ...] = ()

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

    @property
    def signalled(self) -> Stop | None:
        """The wish of a signal or an order; that time is up is no such thing."""
        return self._signalled

    def ask(self, stop: Stop) -> None:
        """Stop after the page in hand, unless there is a reason already."""
        self._signalled = self._signalled or stop

    def ordered(self) -> Orders:
        """Return the orders in force."""
        return self.orders

    @contextmanager
    def handling_signals(self, announce: Callable[[Stop], None]) -> Iterator[None]:
        """
        Take SIGINT, SIGTERM and SIGHUP as a wish to stop while the block runs.

        One that is ignored, as `nohup` has it with SIGHUP, stays so.

        The second SIGINT is not taken but raised as KeyboardInterrupt: whoever presses Ctrl-C twice
        does not want to wait for the page. *announce* is called by a thread: a signal may come
        while a line is being written, and whoever writes another one then would tear it.
        """
        noted: SimpleQueue[Stop | None] = SimpleQueue()

        def note(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGINT and self._signalled is not None:
                raise KeyboardInterrupt
            self._signalled = SIGNALS[signal.Signals(number)]
            noted.put(self._signalled)

        def announce_all() -> None:
            while (stop := noted.get()) is not None:
                announce(stop)

        announcer = Thread(target=announce_all, daemon=True)
        announcer.start()
        before = {one: signal.getsignal(one) for one in SIGNALS}
        for number, handler in before.items():
            if number != signal.SIGHUP or handler is not signal.SIG_IGN:
                signal.signal(number, note)
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

    def orders(self) -> Orders:
        """Return what is changed at the moment."""

    def begun(self, place: str, visits: int, rotated: int, left: int) -> None:
        """Note what an earlier run did of a *place*, a node or a part of it, that is swept now."""

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:
        """Note a finished page of *node*: its visits, and how many rotated or left as they were."""

    def wait(self, node: str, reason: str | None) -> None:
        """Note that the sweep of *node* waits, for *reason*; with None it goes on."""

    def save(self, node: str, position: dict[str, Any], /) -> None:
        """Keep *position*: everything before it is finished."""


class SweepControl(Control, Protocol):
    """Sweep control: knows positions and nodes too, for who starts the sweeps of the nodes."""

    def begin_nodes(self, names: Mapping[str, int], /) -> None:
        """Note which nodes there are, and how many names each has."""

    def end_node(self, node: str, /) -> None:
        """Note that a node is done: all of it was swept."""

    def load(self, node: str, /) -> dict[str, Any] | None:
        """Return the position that was kept last, or None to begin anew."""


@dataclass(slots=True)
class PositionSaver:
    """
    Position saver: gives positions to *put*, which keeps them in a file.

    While another process has it locked the sweep goes on: a kill costs more then, and nothing else.
    """

    put: Callable[[str, dict[str, Any]], None]
    _told: WaitLog = field(default_factory=WaitLog)

    def save(self, node: str, position: dict[str, Any]) -> None:
        """See `Control`."""
        try:
            self.put(node, position)
        except LockedError as error:
            self._told.waits("position not saved", node=node, error=str(error))
        else:
            self._told.ended(well=True)
            self._told = WaitLog()


@dataclass(slots=True)
class ProgressControl:
    """
    Progress control: shows one sweep on a bar, and adds up what it did.

    *stop*, *save*, *load* and *orders* are as in `SweepControl`; unless given, no position is kept,
    and nothing is changed. *visits* and *rotated* are of this run alone.
    """

    stop: Callable[[], Stop | None]
    bar: Progress
    save: Callable[[str, dict[str, Any]], None] = field(default=lambda *_: None)
    load: Callable[[str], dict[str, Any] | None] = field(default=lambda _: None)
    orders: Callable[[], Orders] = field(default=Orders)
    visits: int = field(default=0, init=False)
    rotated: int = field(default=0, init=False)
    _begun: set[str] = field(default_factory=set, init=False)
    _said: dict[tuple[str, str], float] = field(default_factory=dict, init=False)

    def begun(self, place: str, visits: int, rotated: int, left: int) -> None:
        """See `Control`; what this run has begun already was counted as it came."""
        if place not in self._begun and visits:
            self.bar.resume(visits, rotated, left, node=place.partition(" ")[0])
        self._begun.add(place)

    def begin_nodes(self, names: Mapping[str, int]) -> None:
        """See `SweepControl`."""
        self.bar.begin_nodes(names)

    def end_node(self, node: str) -> None:
        """See `SweepControl`."""
        self.bar.end_node(node)

    def page_done(self, node: str, visits: int, rotated: int, left: int) -> None:
        """See `Control`."""
        self.visits += visits
        self.rotated += rotated
        self.bar.advance(visits=visits, rotated=rotated, left=left, node=node)

    def wait(self, node: str, reason: str | None) -> None:
        """See `Control`; in the log a reason stands once, whoever waits for it."""
        self.bar.wait(reason, node=node)
        now = time.monotonic()
        if (
            reason
            and reason != AWAY
            and now - self._said.get((node, reason), -math.inf) > _SAME_SECONDS
        ):
            log.info("waiting", node=node, reason=reason, visits=self.visits, rotated=self.rotated)
        if reason:
            self._said[node, reason] = now
