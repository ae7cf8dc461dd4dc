"""
Exchange: chooses SET IFEQ, transaction or script, the cheapest that all allow.

- `SET ... IFEQ` costs the server least. But it reaches the replicas as it is: one that does not
  know it keeps the old value, and nothing tells (redis-rules 0.3). So it is used only where the
  node knows it, and every replica says so too. When a replica joins later, another way takes over,
  and what was written since the last look is written once more, for the replica to have it.
- A transaction costs about half of what the script does, and reaches replicas as plain SETs. In a
  cluster it is of one slot, so it pays only where the scan goes slot by slot and slots are full.
- The script does it everywhere else.
"""

import secrets
import time
from collections.abc import Callable, Iterable

from redis.crc import key_slot

from rotator.config.types import Address
from rotator.errors import RightsError, ServerError
from rotator.server.acl import grant_hint, missing_for
from rotator.server.cluster_nodes import SLOTS, myself
from rotator.server.scripts import Way
from rotator.server.store import Store
from rotator.server.wire.versions import scans_by_slot

_LOOK_SECONDS = 0.25
_TRIES = 10_000  # random names, to find one in a slot of the node's own
_DEPTH = 3  # replicas of replicas
_AGAIN = 200  # names written once more at a time
_NAMES_A_SLOT = 20  # from so many on a transaction of one slot costs less than a script


class Exchange:
    """
    Exchange: chooses how the values of the node of *store* are replaced.

    *connect* reaches a replica by its address, and *may_log_in* says whether that may be asked at
    all; *pattern* is one that the names to visit match. *used* are the ways, in their order, and
    *otherwise* is the best besides IFEQ.

    Raises:
        RightsError: The user may neither use transactions nor scripts.
    """

    def __init__(
        self,
        store: Store,
        connect: Callable[[Address], Store],
        pattern: str,
        may_log_in: Callable[[Address], bool] = lambda _: True,
    ) -> None:
        self._store = store
        self._pattern = pattern
        self._written: set[tuple[int, bytes]] = set()
        self._looked_at = 0.0
        self._joined = self._joins()
        self.otherwise = way_besides(store, pattern)
        self._ifeq = self._known() and _replicas_know(store, connect, may_log_in, _DEPTH)
        self.used: list[Way] = []
        self.attach(store)

    @property
    def way(self) -> Way:
        """The way that is taken now."""
        return Way.IFEQ if self._ifeq else self.otherwise

    def attach(self, store: Store) -> None:
        """Go on with *store*, a new connection to the node."""
        self._store = store
        self._apply()

    def look(self, rewritten: Iterable[bytes]) -> None:
        """
        See whether a replica has joined since the last look; *rewritten* names were written since.

        Raises:
            ServerError: What has to be written once more cannot be.
        """
        if self._ifeq:
            db = self._store.connection.db
            self._written.update((db, name) for name in rewritten)
            if time.monotonic() - self._looked_at > _LOOK_SECONDS:
                self._look()

    def finish(self) -> None:
        """Look a last time; whatever is still to be written is left to another way."""
        if self._ifeq:
            self._look()
            self._ifeq = False
            self._store.way = self.otherwise

    def _apply(self) -> None:
        """Have the store do it in the way that is taken now."""
        self._store.way = self.way
        if self.way not in self.used:
            self.used.append(self.way)

    def _look(self) -> None:
        if self._joins() != self._joined:
            self._ifeq = False
            self._apply()
            self._write_again()
        self._written.clear()
        self._looked_at = time.monotonic()

    def _joins(self) -> tuple[str | None, ...]:
        """Return counters that change when a replica joins, or comes back."""
        info = self._store.info("stats")
        return tuple(info.get(name) for name in ("sync_full", "sync_partial_ok"))

    def _write_again(self) -> None:
        for db in sorted({db for db, _ in self._written}):
            self._store.select(db)
            names = sorted(name for at, name in self._written if at == db)
            for start in range(0, len(names), _AGAIN):
                some = names[start : start + _AGAIN]
                held = zip(some, self._store.read(some), strict=True)
                swaps = [(name, value, value) for name, value in held if type(value) is bytes]
                for answer in self._store.compare_and_set(swaps):
                    if message := getattr(answer, "message", None):
                        raise ServerError(f"{self._store.node}: a replica joined, and {message}")

    def _known(self) -> bool:
        """Return whether the node knows it, tried on a name that is not there: writes nothing."""
        name = self._unused()
        if name is None:
            return False
        command = ("SET", name, "", "IFEQ", "rotator", "KEEPTTL")
        return self._store.connection.pipeline([command])[0] is None

    def _unused(self) -> bytes | None:
        """Return a random name that the pattern matches, in a slot of the node's own."""
        if "*" not in self._pattern:
            return None
        clustered = self._store.cluster_enabled()
        slots = myself(self._store.members()).slots if clustered else ((0, SLOTS - 1),)
        for _ in range(_TRIES):
            name = self._pattern.replace("*", f"rotator-probe-{secrets.token_hex(8)}", 1).encode()
            if any(first <= key_slot(name) <= last for first, last in slots):
                return name
        return None


def way_besides(store: Store, pattern: str) -> Way:
    """
    Return the best way besides IFEQ that the user of *store* may take.

    Raises:
        RightsError: There is none.
    """
    likes_scripts = bool(store.cluster_enabled()) and not _full_slots(store)
    for way in (Way.SCRIPT, Way.TRANSACTION) if likes_scripts else (Way.TRANSACTION, Way.SCRIPT):
        if not missing_for(store, way, pattern):
            return way
    rules = missing_for(store, Way.TRANSACTION, pattern)
    raise RightsError(
        f"{store.node}: the user lacks rights: {' '.join(rules)}",
        hint=grant_hint(rules, store.connection.user),
    )


def way_of_fields(store: Store, pattern: str) -> Way:
    """Return how fields of hashes are exchanged: by a script, unless the user may not use any."""
    return Way.TRANSACTION if missing_for(store, Way.SCRIPT, pattern) else Way.SCRIPT


def _full_slots(store: Store) -> bool:
    """Return whether a page has many names of few slots."""
    slots = sum(last - first + 1 for first, last in myself(store.members()).slots)
    names = sum(store.databases().values())
    return scans_by_slot(store.info("server")) and names >= slots * _NAMES_A_SLOT


def _replicas_know(
    store: Store,
    connect: Callable[[Address], Store],
    may_log_in: Callable[[Address], bool],
    depth: int,
) -> bool:
    """Return whether each replica, and each of theirs, says that its SET has IFEQ."""
    members = {member.address for member in store.members()} if store.cluster_enabled() else set()
    for fields in store.replicas().values():
        host, port = fields.get("ip", ""), fields.get("port", "")
        if not host or not port.isdecimal() or len(port) > 5 or not int(port):
            return False  # nobody can ask it
        address = Address(host, int(port))
        if address not in members and not may_log_in(address):
            return False
        try:
            with connect(address) as replica:
                knows = replica.knows("SET", "IFEQ")
                deeper = depth and _replicas_know(replica, connect, may_log_in, depth - 1)
                if not knows or not deeper:
                    return False
        except ServerError:
            return False
    return True
