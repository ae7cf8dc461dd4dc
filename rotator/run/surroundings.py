"""
Surroundings: look at every server of a cache, its clock and evictions, before and after the sweeps.

- Credentials go only where the configuration or the cluster's own table says: what an INFO names as
  a replica may be anybody (verdict 8).
- A server is looked at when it is quiet: whatever a save or a rewrite holds that has begun earlier
  is not known (verdict 3).

- Quiet times, snapshots and backups are counted from when a key was last met, by this machine's
  clock. One that is wrong, or is set while a run goes on, would make a key look as if it had been
  quiet for longer than it was. So the clock is compared with that of every server, and with one
  that nobody can set.
- A value may grow when it is rewritten, and in a server whose memory is full that pushes others out
  (redis-rules 2.5). Who had them evicted cannot be told: applications write meanwhile, too.
"""

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from rotator.config.fields import ReplicaSettings
from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.retirement.lineage import Look, number
from rotator.retirement.places import Declarations
from rotator.server.copies import missing_look, take_look, with_settings, write_file
from rotator.server.node import Identity
from rotator.server.store import Store
from rotator.server.topology import Topology
from rotator.text import duration, utc_now

TOLERANCE = timedelta(minutes=5)
"""How far clocks may differ: little against the quiet that is asked for, and much for NTP."""

# Replicas acknowledge once a second, so one that keeps up has done so within this time.
_CATCH_UP_SECONDS = 3.0
_LONGEST_WRITE_SECONDS, _SHORTEST_WRITE_SECONDS = 60.0, 5.0  # that a file is waited for
_POLL_SECONDS = 0.1
_COMMANDS = {"rdb": "BGSAVE", "aof": "BGREWRITEAOF"}

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

    *addresses* are those of the configuration, *known* looks are of servers seen earlier.
    *has_password*: it would be sent to whoever is connected to.
    """

    topology: Topology
    connect: Callable[[Address], Store]
    addresses: Sequence[Address]
    replicas: ReplicaSettings
    declared: Declarations
    known: Sequence[Look] = ()
    has_password: bool
    should_stop: Callable[[], object]
    _members: set[str] = field(default_factory=set, init=False)
    _looks: dict[str, Look] = field(default_factory=dict, init=False)

    def run(self) -> list[Look]:
        """Return a look at each server, in the order in which they were asked."""
        first = [*self.topology.nodes, *self.addresses, *self.replicas.listed]
        for address in dict.fromkeys(map(str, [*first, *(self.replicas.only or ())])):
            self._ask(address)
        named: dict[str, str] = {}
        for look in self.known:
            named.setdefault(look.address, "an earlier run")
            named |= {one.address: look.address for one in look.listed}
        seen: set[str] = set()
        while todo := {one: by for one, by in (named | self._named()).items() if one not in seen}:
            seen |= todo.keys()
            for address, by in todo.items():
                if self._is_new(address):
                    self._look_at_named(address, by)
        return self._settled()

    def _is_new(self, address: str) -> bool:
        return address not in self._looks and not self._is_ended(address)

    def _is_ended(self, address: str) -> bool:
        """Return whether the operator declares that there is no such server."""
        only = self.declared.only
        return only is not None and address not in {*only, *self._members}

    def _named(self) -> dict[str, str]:
        """Return the servers that others name and nobody asked yet, and who names them."""
        named = {one: "" for one in self._members if self._is_new(one)}
        for look in self._looks.values():
            for one in look.listed:
                if self._is_new(one.address):
                    named.setdefault(one.address, look.address)
        return named

    def _look_at_named(self, address: str, by: str) -> None:
        """Ask a server that is only named, if it may be asked; else say why it was not."""
        if address.endswith(":0"):
            why = "it is a reader of the stream, or a replica without a port"
            self._looks[address] = missing_look(address, why, by)
        elif self._may_ask(address):
            self._ask(address, by)
        elif not self._is_listed_one(address, by):
            why = f"{by} names it, but it is not listed"
            remedy = "add it to replicas, or `replicas: announced`"
            self._looks[address] = missing_look(address, f"{why}: {remedy}", by)

    def _may_ask(self, address: str) -> bool:
        """Return whether the password may be sent there, if there is one."""
        listed = {*self.addresses, *self.replicas.listed, *(self.replicas.only or ())}
        listed |= set(self.topology.nodes)
        known = {*map(str, listed), *self._members}
        return not self.has_password or self.replicas.announced or address in known

    def _is_listed_one(self, address: str, by: str) -> bool:
        """Return whether a named replica is one of those that were asked under another name."""
        if address in set(_resolved(self._looks)):
            return True
        primary = self._looks.get(by)
        if primary is None:
            return False
        lines = [one for one in primary.listed if one.type != "rdb-channel"]
        follow = [one for one in self._looks.values() if _follows(one, primary)]
        online = all(one.state == "online" for one in lines)
        return online and len(follow) >= (number(primary, "connected_slaves") or len(lines))

    def _ask(self, address: str, by: str = "") -> None:
        """Look at a server; one that does not answer gives a look that says why."""
        if address in self._looks:
            return
        try:
            with self.connect(Address.parse(address)) as store:
                self._looks[address] = take_look(store, canary=True)
                if store.cluster_enabled():
                    members = [one for one in store.members() if one.address]
                    self._members.update(str(one.address) for one in members)
        except ServerError as error:
            self._looks[address] = missing_look(address, str(error), by)

    def _settled(self) -> list[Look]:
        """Return the looks, once replicas have caught up and no file is being written."""
        goals = {
            look.facts["master_replid"]: number(look, "master_repl_offset") or 0
            for look in self._looks.values()
            if look.facts.get("role") == "master" and "master_replid" in look.facts
        }
        for address in list(self._looks):
            begun = time.monotonic()
            while (patience := _patience(self._looks[address], goals)) > time.monotonic() - begun:
                if self.should_stop():
                    break
                time.sleep(_POLL_SECONDS)
                try:
                    with self.connect(Address.parse(address)) as store:
                        self._looks[address] = take_look(store, settings=False)
                except ServerError as error:
                    self._looks[address] = missing_look(address, str(error))
            if patience:
                log.info("not waited for any longer", node=address, seconds=patience)
        return list(self._looks.values())


def _patience(look: Look, goals: dict[str, int]) -> float:
    """Return how many seconds, from the first look on, a server is worth waiting for; 0: none."""
    if look.missing:
        return 0.0
    if _is_writing(look):
        last = number(look, "rdb_last_bgsave_time_sec") or 0
        return min(_LONGEST_WRITE_SECONDS, max(2.0 * last, _SHORTEST_WRITE_SECONDS))
    if look.facts.get("role") != "slave":
        return 0.0
    linked = look.facts.get("master_link_status") == "up"
    return 0.0 if linked and not _is_behind(look, goals) else _CATCH_UP_SECONDS


def _is_writing(look: Look) -> bool:
    """Return whether a file is being written, or is to be."""
    names = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    return any(look.facts.get(name) not in {None, "0"} for name in names)


def _follows(replica: Look, primary: Look) -> bool:
    """Return whether a replica that was asked follows a primary."""
    facts, history = replica.facts, primary.facts.get("master_replid")
    up = facts.get("role") == "slave" and facts.get("master_link_status") == "up"
    return up and bool(history) and facts.get("master_replid") == history


def _resolved(addresses: Iterable[str]) -> Iterator[str]:
    """Yield the numeric addresses of names, as far as they can be resolved."""
    for text in addresses:
        address = Address.parse(text)
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError:
            continue
        for *_, place in found:
            yield str(Address(str(place[0]), address.port))


def refresh_files(
    tasks: Sequence[tuple[str, str]],
    connect: Callable[[Address], Store],
    *,
    touch: Callable[[], dict[str, int]],
    waiting: Callable[[str | None], None],
    should_stop: Callable[[], object],
) -> list[Look]:
    """
    Have servers write files anew, one at a time, replicas first; return looks before and after.

    *tasks* are addresses, each with `rdb` or `aof`. *touch* writes one value on each primary: a
    rewrite of unchanged data cannot be seen (info-facts B2); it returns how far their streams are
    then, by replication id, for replicas to reach that. *waiting* is told what for.
    """
    goals = touch() if any(kind == "aof" for _, kind in tasks) else {}
    looks: dict[tuple[str, str], list[Look]] = {}
    roles = {address: _role(address, connect) for address, _ in tasks}
    for address, kind in sorted(tasks, key=lambda task: (roles[task[0]] == "master", task)):
        if should_stop():
            break
        waiting(f"for {_COMMANDS[kind]} on {address}")
        try:
            with connect(Address.parse(address)) as store:
                looks[address, kind] = list(_refresh(store, kind, goals, should_stop))
        except ServerError as error:
            log.warning("a file was not written anew", node=address, error=str(error))
    waiting(None)
    return [look for both in looks.values() for look in both]


def _role(address: str, connect: Callable[[Address], Store]) -> str:
    """Return whether a server is a primary or a replica now; empty if it does not say."""
    try:
        with connect(Address.parse(address)) as store:
            return store.info("replication").get("role", "")
    except ServerError:
        return ""


def _refresh(
    store: Store, kind: str, goals: dict[str, int], should_stop: Callable[[], object]
) -> Iterator[Look]:
    """Yield a look at a server at rest, have it write a file, and yield another when it has."""
    before = _at_rest(store, should_stop)
    if kind == "aof" and before.facts.get("aof_enabled") != "1":
        return
    deadline = time.monotonic() + _LONGEST_WRITE_SECONDS
    while time.monotonic() < deadline and (
        (kind == "aof" and _is_behind(before, goals))
        or (kind == "rdb" and _server_second(store) == before.facts.get("rdb_last_save_time"))
    ):
        time.sleep(_POLL_SECONDS)
        before = _at_rest(store, should_stop)
    yield before
    write_file(store, _COMMANDS[kind])
    yield _at_rest(store, should_stop)


def _is_behind(look: Look, goals: dict[str, int]) -> bool:
    """Return whether a replica does not yet have what its primary had."""
    goal = goals.get(look.facts.get("master_replid", ""), 0)
    reached = number(look, "slave_repl_offset") or 0
    return look.facts.get("role") == "slave" and reached < goal


def _at_rest(store: Store, should_stop: Callable[[], object]) -> Look:
    """Return a look at a server once no file is being written."""
    while _is_writing(look := take_look(store, settings=False)) and not should_stop():
        time.sleep(_POLL_SECONDS)
    return with_settings(store, look)


def _server_second(store: Store) -> str:
    """Return the server's clock in whole seconds, as INFO has times."""
    return str(int((store.time() or utc_now()).timestamp()))
