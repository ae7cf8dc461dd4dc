"""
Surroundings: ask every server about copies, evictions and clocks, before and after the sweeps.

- Quiet times, snapshots and backups are counted from when a key was last met, by this machine's
  clock. One that is wrong, or is set while a run goes on, would make a key look as if it had been
  quiet for longer than it was. So the clock is compared with that of every server, and with one
  that nobody can set.
- A value may grow when it is rewritten, and in a server whose memory is full that pushes others out
  (redis-rules 2.5). Who had them evicted cannot be told: applications write meanwhile, too.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.retirement.places import Copies
from rotator.server.copies import find_copies, lagging_replicas, replication_offset
from rotator.server.node import Identity
from rotator.server.store import Store
from rotator.server.topology import Topology
from rotator.text import duration, utc_now

TOLERANCE = timedelta(minutes=5)
"""How far clocks may differ: little against the quiet that is asked for, and much for NTP."""

# Replicas acknowledge once a second, so one that keeps up has done so within this time.
_CATCH_UP_SECONDS = 3.0
_POLL_SECONDS = 0.1

log = structlog.get_logger(__name__)


def _running() -> float:
    """Return seconds on a clock that is never set; it goes on in sleep, where it can."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(slots=True)
class ClockCheck:
    """
    Clock check: watches this machine's clock from the start of a run.

    *now* and *running* tell the time of day, and seconds on a clock that nobody can set.
    """

    now: Callable[[], datetime] = utc_now
    running: Callable[[], float] = _running
    _begun: tuple[datetime, float] = field(init=False)
    _ahead: timedelta = timedelta()  # of the server that is furthest from us
    _server: str = ""

    def __post_init__(self) -> None:
        self._begun = self.now(), self.running()

    def compare(self, store: Store) -> None:
        """Compare it with a server's; one that the user may not ask for the time tells nothing."""
        before, asked = self.now(), self.running()
        there = store.time()
        if there is None:
            return
        here = before + timedelta(seconds=(self.running() - asked) / 2)
        if abs(there - here) > abs(self._ahead):
            self._ahead, self._server = there - here, store.node

    @property
    def clock_warning(self) -> str | None:
        """The reason why times are not to be relied on, in a sentence; None: they are."""
        jump = self.now() - self._expected()
        if abs(jump) > TOLERANCE:
            how = "ahead" if jump > timedelta() else "back"
            return f"the clock of this machine was set {how} by {_rough(jump)} during the run"
        if abs(self._ahead) > TOLERANCE:
            how = "ahead of" if self._ahead > timedelta() else "behind"
            return f"the clock of {self._server} is {_rough(self._ahead)} {how} this machine's"
        return None

    def latest(self) -> datetime:
        """Return the latest time that it may be by any of the clocks."""
        here = max(self.now(), self._expected())
        return here + max(self._ahead, timedelta())

    def _expected(self) -> datetime:
        """Return what time it would be had nobody set the clock."""
        at, running = self._begun
        return at + timedelta(seconds=self.running() - running)


def _rough(length: timedelta) -> str:
    """Return a duration in whole minutes, or hours where there are several: `40m`, `26h`, `1d`."""
    unit = timedelta(hours=1) if abs(length) > timedelta(hours=2) else timedelta(minutes=1)
    return duration(round(abs(length) / unit) * unit)


@dataclass(slots=True)
class ServerObserver:
    """
    Server observer: looks at the primaries of one cache before and after the work on it.

    *evictions* is how many entries each has evicted, by node, as far as it could be asked.
    """

    clock: ClockCheck = field(default_factory=ClockCheck)
    evictions: dict[str, int] = field(default_factory=dict)
    _before: dict[Address, Identity] = field(default_factory=dict)
    _replicas: dict[Address, set[str]] = field(default_factory=dict)

    def note(self, topology: Topology) -> None:
        """Take the primaries that are new as they are now."""
        for address, identity in topology.identities.items():
            self._before.setdefault(address, identity)

    def look_ahead(self, topology: Topology, connect: Callable[[Address], Store]) -> None:
        """Ask every primary for its replicas and its clock, before anything is written."""
        for address in topology.primaries:
            with connect(address) as store:
                self._replicas[address] = set(store.replicas())
                self.clock.compare(store)

    def find_copies(self, topology: Topology, connect: Callable[[Address], Store]) -> list[Copies]:
        """Return the other copies of what the primaries hold, as they are when all is done."""
        found = []
        for address in topology.primaries:
            with connect(address) as store:
                store.identity()
                lagging = _wait_for_replicas(store, self._replicas.get(address, ()))
                found.append(find_copies(store, lagging))
        return found

    def look_back(self, connect: Callable[[Address], Store]) -> None:
        """Ask every primary again; one that is gone tells nothing."""
        for address, before in self._before.items():
            try:
                with connect(address) as store:
                    self.clock.compare(store)
                    self.evictions[str(address)] = store.identity().evicted_since(before)
            except ServerError as error:
                log.info("evictions not known", node=str(address), reason=str(error))


def _wait_for_replicas(store: Store, expected: Collection[str]) -> dict[str, str]:
    """Give replicas time to have all that was written until now; return those that lag, and why."""
    goal = replication_offset(store)
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while lagging := lagging_replicas(store, goal, expected):
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    return lagging
