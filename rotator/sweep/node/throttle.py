"""
Throttle: waits, always for a named reason: rate, latency, lag, memory, pause file.

- *latency*: a PING on a connection of its own tells what other clients feel while our commands run;
  what the quickest one took is the way there and back, and is not held against the server. The page
  grows by a little as long as that stays below the goal, and is halved when it does not; a page
  that cannot shrink further, as that of a single large value, is followed by a rest: as long as
  others had to wait, beyond what they wait anyway, so that half of the time is theirs.
- *rate*: so many visits a second, at most: a token bucket that holds a twenty-fifth of a second's.
  Pages are no larger than that, and whoever waited for something else does not catch up.
- *lag*: replicas that are further behind than allowed are given time to catch up.
- *memory*: above a share of maxmemory every value that grows may evict another one.
- *paused*: while a file exists, or `rotator tune --pause` is in force, nothing is done.

No limit but the pause file and the rate holds a page up for more than `LONGEST_SECONDS`: a sweep
that only waited would not be done before entries expire.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from statistics import median

from rotator.errors import ServerError
from rotator.server.connection import Connection
from rotator.server.replies import info_number
from rotator.server.store import Store
from rotator.sweep.control import Orders
from rotator.sweep.scope import Limits
from rotator.tally.load import NodeLoad

SMALLEST_PAGE = 10
LONGEST_SECONDS = 5.0
_FIRST_PAGE = 100
_PAGE_BYTES = 1 << 22  # at most, as far as the last pages tell; two pages are under way at a time
_SINGLE_BYTES = 1 << 20  # values above that come one at a time
_STEP = 20  # names by which a page grows
_CHECK_SECONDS = 0.25  # between two looks at replicas, memory or the pause file
_PING_SECONDS = 0.02  # between two PINGs
_IDLE_PING_SECONDS = 0.1  # the same where nothing is rewritten, so that pages are not fitted
_NETWORK_SHARE = 0.995  # as much of the quickest PING as is taken for the network
_SHORTEST_SECONDS = 0.001
_PINGS_BEFORE, _BEFORE_SECONDS = 50, 0.05  # at most, before the first page
_LONGEST_GAP = 1.0  # seconds between two PINGs that count as above the goal
_MEMORY = ("maxmemory", "used_memory")
_SLICE_SECONDS = 0.05  # how soon a wish to stop is heard while waiting
_BURST_SECONDS = 0.04  # so much of a second's visits may come at once


class Reason(StrEnum):
    """Reason: says why a sweep waits."""

    LATENCY = "latency"
    RATE = "rate"
    LAG = "lag"
    MEMORY = "memory"
    PAUSED = "paused"


class Throttle:
    """
    Throttle: keeps the limits on one node.

    *page* is the most names that a page may have. *open_ping* gives a connection for PING only.
    *stopping* tells that waiting is over because the run is; *waiting* is told the reason of a
    wait, and None when it ends; *waited* takes the seconds that were waited for each reason, *load*
    the latencies. *orders* says what of the limits is changed.
    """

    def __init__(
        self,
        limits: Limits,
        store: Store,
        open_ping: Callable[[], Connection],
        *,
        page: int,
        stopping: Callable[[], object],
        waiting: Callable[[str | None], None],
        waited: dict[str, float],
        load: NodeLoad | None = None,
        orders: Callable[[], Orders] = Orders,
    ) -> None:
        self._begun_with, self._limits = limits, limits
        self._orders, self._in_force = orders, Orders()
        self._store = store
        self._open_ping, self._ping = open_ping, open_ping() if limits.latency else None
        self._stopping = stopping
        self._waiting = waiting
        # What lanes do together is no more than one of them would do alone.
        self._largest = max(page // limits.lanes, 1)
        self._smallest = min(max(SMALLEST_PAGE // limits.lanes, 1), self._largest)
        first = _FIRST_PAGE // limits.lanes
        self._page = float(min(self._largest, first) if limits.latency else self._largest)
        self._fitting = self._largest  # names, going by the size of their values
        self._owed = 0.0  # seconds of rest
        self._checked_at = 0.0
        self._load = NodeLoad() if load is None else load
        self._fastest = self._measure_before()
        self._due = self._rested_at = time.monotonic()
        self._waited = waited
        self._hear()

    @property
    def page(self) -> int:
        """The number of names that the next page is to have."""
        fitting = self._fitting
        if self._limits.rate:
            fitting = min(fitting, max(int(self._limits.rate * _BURST_SECONDS), 1))
        return min(int(self._page), fitting)

    def weigh(self, sizes: Sequence[int]) -> None:
        """Take note of how large values were, in bytes: large ones make the next page short."""
        fitting = self._largest
        if sizes:
            mean = max(sum(sizes) // len(sizes), 1)
            fitting = (
                1
                if max(sizes) > _SINGLE_BYTES
                else max(_PAGE_BYTES // self._limits.lanes // mean, 1)
            )
        self._fitting = min(fitting, 2 * self._fitting)

    def measure_latency(self) -> None:
        """Measure how long another client waits for the server now, and fit the page to that."""
        if (milliseconds := self._measure(_PING_SECONDS)) is not None and self._limits.latency:
            self._fit(milliseconds, self._limits.latency)

    def _measure(self, gap: float) -> float | None:
        """Return how long other clients wait, in ms, if the last PING was *gap* seconds ago."""
        goal, last = self._limits.latency, self._pinged_at
        if not goal or self._ping is None or time.monotonic() - last < gap:
            return None
        took = self._time_ping()
        if self._ping is None:
            return None
        self._fastest = min(self._fastest, took)
        self._load.during.add(took)
        milliseconds = (took - _NETWORK_SHARE * self._fastest) * 1000
        if milliseconds > goal and last:
            self._load.above += min(self._pinged_at - last, _LONGEST_GAP)
        return milliseconds

    def _measure_before(self) -> float:
        """Note what other clients wait for the server before there is any load; the quickest."""
        begun, fastest = time.monotonic(), self._time_ping()
        taken = [fastest]
        while self._ping is not None and len(taken) < _PINGS_BEFORE:
            if time.monotonic() - begun > _BEFORE_SECONDS:
                break
            taken.append(self._time_ping())
        # A connection that was opened anew finds a server that is at work.
        if self._ping is not None and not self._load.during.buckets:
            for seconds in taken:
                self._load.before.add(seconds)
        self._pinged_at = 0.0
        self._usual = median(taken)
        return min(taken)

    def _time_ping(self) -> float:
        """Return how long a PING takes, in seconds."""
        begun = time.monotonic()
        try:
            if self._ping is not None:
                self._ping.pipeline([("PING",)])  # a refusal takes as long as an answer
        except ServerError:
            # The sweep's own connection will tell what is the matter with the server.
            self._ping = None
        self._pinged_at = time.monotonic()
        return self._pinged_at - begun

    def _fit(self, milliseconds: float, goal: float) -> None:
        """Additive up, multiplicative down."""
        if milliseconds <= goal:
            self._owed = 0.0
            self._page = min(self._page + _STEP / self._limits.lanes, self._largest)
        else:
            late = milliseconds / 1000 - self._usual
            pause = max(self._limits.lanes * goal / 1000, late)
            self._owed = max(pause, _SHORTEST_SECONDS) if self.page <= self._smallest else 0.0
            self._page = max(self._page / 2, self._smallest)

    def rest(self, visits: int) -> None:
        """Wait before the next page as long as the limits demand; the last one had *visits*."""
        self._hear()
        self._measure(_IDLE_PING_SECONDS)
        if self._limits.rate:
            earliest = max(self._due, self._rested_at - _BURST_SECONDS)
            self._due = earliest + visits / self._limits.rate
        self._wait(Reason.PAUSED, self._paused, longest=None)
        if self._owed and self._limits.latency:
            until = time.monotonic() + self._owed
            self._wait(Reason.LATENCY, lambda: until - time.monotonic())
        self._wait(Reason.RATE, self._ahead, longest=None)
        if time.monotonic() - self._checked_at > _CHECK_SECONDS:
            self._checked_at = time.monotonic()
            self._wait(Reason.LAG, self._lagging)
            self._wait(Reason.MEMORY, self._full)
        if self._paused() and not self._stopping():  # that came while it waited for something else
            self._wait(Reason.PAUSED, self._paused, longest=None)
        self._rested_at = time.monotonic()

    def _wait(
        self, reason: Reason, demanded: Callable[[], float], longest: float | None = LONGEST_SECONDS
    ) -> None:
        """
        Wait while *demanded* gives a number of seconds above 0, and note how long it was.

        It is asked again after so many, or earlier; *longest* is the end in any case.
        """
        seconds = demanded()
        if seconds <= 0:
            return
        begun = time.monotonic()
        self._waiting(reason)
        while not self._stopping() and (longest is None or time.monotonic() - begun < longest):
            time.sleep(min(seconds, _SLICE_SECONDS))
            self._hear()
            seconds = demanded()
            if seconds <= 0:
                break
        self._waiting(None)
        self._waited[reason] = self._waited.get(reason, 0.0) + time.monotonic() - begun

    def _hear(self) -> None:
        """Take the orders that are new; a wait for the old rate becomes one for the new rate."""
        orders = self._orders()
        if orders == self._in_force:
            return
        before, self._limits = self._limits, self._begun_with.tuned(orders)
        self._in_force = orders
        if before.rate != self._limits.rate:
            now = time.monotonic()
            owed = max(self._due - now, 0.0) * (before.rate or 0.0)
            self._due = now + owed / self._limits.rate if self._limits.rate else now
        if not self._limits.latency:
            self._page, self._owed = float(self._largest), 0.0
        elif not before.latency and self._ping is None:
            with suppress(ServerError):  # then nothing is measured, as where it is lost later
                self._ping = self._open_ping()
            self._fastest = self._time_ping()

    def _paused(self) -> float:
        path = self._limits.pause_file
        there = self._in_force.paused or (path is not None and Path(path).exists())
        return _SLICE_SECONDS if there else 0.0

    def _ahead(self) -> float:
        """Return how long it is until as many visits were allowed as were made."""
        return self._due - time.monotonic() if self._limits.rate else 0.0

    def _lagging(self) -> float:
        if self._limits.lag is None:
            return 0.0
        node = self._store.node
        written = info_number(node, self._store.info("replication"), "master_repl_offset")
        offsets = [info_number(node, one, "offset") for one in self._store.replicas().values()]
        behind = written - min(offsets, default=0)
        return _SLICE_SECONDS if offsets and behind > self._limits.lag else 0.0

    def _full(self) -> float:
        if self._limits.memory is None:
            return 0.0
        info = self._store.info("memory")
        most, used = (info_number(self._store.node, info, one) for one in _MEMORY)
        above = most > 0 and used * 100 > most * self._limits.memory
        return _SLICE_SECONDS if above else 0.0
