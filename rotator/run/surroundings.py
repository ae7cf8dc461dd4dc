"""
Surroundings: look at every server of a cache, its clock and evictions, before and after the sweeps.

- Credentials go only where the configuration or the cluster's own table says: what an INFO names as
  a replica may be anybody (verdict 8).
- A server is looked at when it is quiet: whatever a save or a rewrite holds that has begun earlier
  is not known (verdict 3).
- Quiet times and backups are counted by this machine's clock. One that is wrong, or is set while a
  run goes on, would make a key look as if it had been quiet for longer than it was. So the clock is
  compared with that of every server, and with one that nobody can set.
- A value may grow when it is rewritten, and in a full server that pushes others out (redis-rules
  2.5). Who had them evicted cannot be told: applications write meanwhile, too.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from rotator.config.fields import ReplicaSettings
from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.retirement.looks import Look, is_writing, longest_write
from rotator.retirement.places import Declarations
from rotator.retirement.replicas import has_caught_up, offsets, stand_in, strangers
from rotator.server.copies import missing_look, not_listed_look, take_look, with_settings
from rotator.server.node import Identity
from rotator.server.store import Store
from rotator.server.topology import Topology
from rotator.server.wire.addresses import AddressBook
from rotator.text import duration, utc_now

TOLERANCE = timedelta(minutes=5)
"""How far clocks may differ: little against the quiet that is asked for, and much for NTP."""

_CATCH_UP_SECONDS = 3.0  # replicas acknowledge once a second
_POLL_SECONDS, _QUIET_POLL_SECONDS = 0.1, 1.0

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
    Server observer: looks at the servers of one cache before and after the work on it.

    *evictions* is how many entries each primary has evicted, by node, as far as it could be asked.
    """

    clock: ClockCheck = field(default_factory=ClockCheck)
    evictions: dict[str, int] = field(default_factory=dict)
    _before: dict[Address, Identity] = field(default_factory=dict)

    def note(self, topology: Topology) -> None:
        """Take the primaries that are new as they are now."""
        for address, identity in topology.identities.items():
            self._before.setdefault(address, identity)

    def look_ahead(self, topology: Topology, connect: Callable[[Address], Store]) -> list[Look]:
        """Return looks at all primaries, and compare clocks, before anything is written."""
        looks = []
        for address in topology.primaries:
            with connect(address) as store:
                looks.append(take_look(store, canary=True))
                self.clock.compare(store)
        return looks

    def look_back(self, connect: Callable[[Address], Store]) -> None:
        """Ask every primary again; one that is gone tells nothing."""
        for address, before in self._before.items():
            try:
                with connect(address) as store:
                    self.clock.compare(store)
                    self.evictions[str(address)] = store.identity().evicted_since(before)
            except ServerError as error:
                log.info("evictions not known", node=str(address), reason=str(error))


@dataclass(slots=True, kw_only=True)
class Observation:
    """
    Observation: looks at every server of a cache once, when it is quiet.

    *addresses* are those of the configuration. *known* looks are of servers seen earlier, *recent*
    ones are those of this run: a replica that the work has made fall behind is named there only.
    *has_password*: it would be sent to whoever is connected to.
    """

    topology: Topology
    connect: Callable[[Address], Store]
    addresses: Sequence[Address]
    replicas: ReplicaSettings
    declared: Declarations
    known: Sequence[Look] = ()
    recent: Sequence[Look] = ()
    has_password: bool
    should_stop: Callable[[], object]
    _looks: dict[str, Look] = field(default_factory=dict, init=False)
    _stores: dict[str, Store] = field(default_factory=dict, init=False)
    _listed: set[str] = field(default_factory=set, init=False)  # where the password may be sent
    _names: AddressBook = field(default_factory=AddressBook, init=False)
    _goals: dict[str, int] = field(default_factory=dict, init=False)  # offsets, by replication id

    def run(self) -> list[Look]:
        """Return a look at each server, in the order in which they were asked."""
        try:
            self._ask_listed()
            earlier = self._met_earlier()
            for address, by in earlier.items():
                if self._may_ask(address) and not self._is_ended(address):
                    self._ask(address, by)
            self._settle()
            for address, by in earlier.items():
                if address not in self._looks and not self._is_ended(address):
                    found = stand_in(address, self._looks, self._names)
                    self._looks[address] = found or not_listed_look(address, by)
            self._wait_until_quiet()
            # Other looks at a server are not kept: its calls of CONFIG are not to be among theirs.
            for address, store in self._stores.items():
                with suppress(ServerError):  # they are unknown then
                    if not self._looks[address].missing:
                        self._looks[address] = with_settings(store, self._looks[address])
        finally:
            for store in self._stores.values():
                store.connection.close()
        return list(self._looks.values())

    def _ask_listed(self) -> None:
        """Look at the servers of the configuration, and at all members of the cluster."""
        # What is the address of all nodes of a cluster is that of none.
        own = [address for address in self.addresses if address not in self.topology.seeds]
        listed = [*own, *self.replicas.listed, *(self.replicas.only or ())]
        for address in dict.fromkeys(map(str, [*self.topology.nodes, *listed])):
            self._listed.add(address)
            self._ask(address)
        for asked in list(self._stores):
            try:
                if self._looks[asked].node_id:
                    self._ask_members(asked)
            except ServerError as error:
                self._looks[asked] = missing_look(asked, str(error))

    def _ask_members(self, asked: str) -> None:
        """Look at those members of the cluster that nobody has looked at, failing ones too."""
        for member in self._stores[asked].members():
            address = str(member.address or member.id)
            if member.id in {look.node_id for look in self._looks.values()}:
                continue
            self._listed.add(address)
            if member.address is None and address not in self._looks:
                why = "the cluster does not know where it listens"
                self._looks[address] = missing_look(address, why)
            self._ask(address)

    def _met_earlier(self) -> dict[str, str]:
        """Return the servers of earlier looks, and those that they named in this run, by whom."""
        met = {look.address: look.named_by or "an earlier run" for look in self.known}
        for look in self.recent:
            met.setdefault(look.address, "this run")
            for line in look.listed:
                met.setdefault(line.address, look.address)
        # A reader of the stream without a port counts only while it is there.
        return {address: by for address, by in met.items() if not address.endswith(":0")}

    def _is_ended(self, address: str) -> bool:
        """Return whether the operator declares that there is no such server."""
        return self.declared.only is not None and address not in self._listed

    def _may_ask(self, address: str) -> bool:
        """Return whether the password may be sent there, if there is one."""
        free = not self.has_password or self.replicas.announced
        return free or address in self._listed or self._names.same(address, self._listed)

    def _ask(self, address: str, by: str = "") -> None:
        """Look at a server; one that does not answer gives a look that says why."""
        if address in self._looks:
            return
        try:
            store = self._stores[address] = self.connect(Address.parse(address))
            look = take_look(store, canary=True, settings=False)
        except (ServerError, ValueError) as error:  # or it is no address
            look = missing_look(address, str(error))
        self._note(address, look, by)

    def _ask_again(self, address: str) -> None:
        """Take another look at a server that has answered; that it was reset is not forgotten."""
        try:
            look = take_look(self._stores[address], settings=False)
            look = replace(look, canary_found=self._looks[address].canary_found)
        except ServerError as error:
            look = missing_look(address, str(error))
        self._note(address, look, self._looks[address].named_by)

    def _note(self, address: str, look: Look, by: str) -> None:
        self._looks[address] = replace(look, address=address, named_by=by)
        self._goals = offsets([look]) | self._goals  # how far they were at first

    def _settle(self) -> None:
        """
        Look at what servers name, and wait for replicas that have not caught up.

        What is named, and is none of the listed servers, has a look that says so, in the end.
        """
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        while True:
            self._ask_named()
            waiting = [one for one, look in self._looks.items() if not self._is_settled(look)]
            if not waiting or time.monotonic() > deadline or self.should_stop():
                break
            time.sleep(_POLL_SECONDS)
            for address in waiting:
                self._ask_again(address)
        for look in list(self._looks.values()):
            for address in self._strangers(look):
                self._looks[address] = not_listed_look(address, look.address)

    def _ask_named(self) -> None:
        """Look at the servers that others name, as far as they may be asked, and at theirs."""
        while todo := [
            (line.address, look.address)
            for look in self._looks.values()
            for line in look.listed
            if line.address not in self._looks
            if not line.address.endswith(":0") and not self._is_ended(line.address)
            if self._may_ask(line.address)
            if not self._names.same(line.address, self._looks)
        ]:
            self._ask(*todo[0])

    def _is_settled(self, look: Look) -> bool:
        """Return whether waiting would not make a look better."""
        behind = look.facts.get("role") == "slave" and not has_caught_up(look, self._goals)
        return bool(look.missing) or not (behind or self._strangers(look))

    def _strangers(self, look: Look) -> list[str]:
        """Return the replicas that a server names and that nobody looked at."""
        those = strangers(look, self._looks, self._names)
        return [line.address for line in those if not self._is_ended(line.address)]

    def _wait_until_quiet(self) -> None:
        """Look again each second until no file is being written, as far as it takes long."""
        begun = time.monotonic()
        while busy := [
            address
            for address, look in self._looks.items()
            if is_writing(look) and time.monotonic() - begun < longest_write(look)
        ]:
            if self.should_stop():
                return
            time.sleep(_QUIET_POLL_SECONDS)
            for address in busy:
                self._ask_again(address)
