"""
Whether values may be exchanged with `SET ... IFEQ`, and staying sure of it.

It costs the server a tenth of a script. But it reaches the replicas as it is: one that does not
know it keeps the old value, and nothing tells (redis-rules 0.3). So it is used only where the node
knows it, and every replica says so too. When a replica joins later, the script takes over, and what
was written since the last look is written once more, by the script, for the replica to have it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable

from redis.crc import key_slot

from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.server.cluster_nodes import SLOTS, myself
from rotator.server.scripts import Replacement
from rotator.server.store import Store

_LOOK_SECONDS = 0.25
_TRIES = 10_000  # random names, to find one in a slot of the node's own
_DEPTH = 3  # replicas of replicas
_AGAIN = 200  # names written once more at a time


class Ifeq:
    """
    Decides how one node's values are exchanged.

    *connect* reaches a replica by its address; *pattern* is one that the names to visit match.
    """

    def __init__(self, connect: Callable[[Address], Store], pattern: str) -> None:
        self._connect = connect
        self._pattern = pattern
        self._allowed: bool | None = None
        self._joined: tuple[str | None, ...] = ()
        self._written: set[tuple[int, bytes]] = set()
        self._looked_at = 0.0

    def attach(self, store: Store) -> None:
        """Have *store*, a new connection to the node, use what it and its replicas know."""
        self._store = store
        if self._allowed is None:
            self._joined = self._joins()
            self._allowed = self._known() and _replicas_know(store, self._connect, _DEPTH)
        store.ifeq = self._allowed

    def look(self, rewritten: Iterable[bytes]) -> None:
        """
        See whether a replica has joined since the last look; *rewritten* are names written since.

        Raises:
            ServerError: What has to be written once more cannot be.
        """
        if self._allowed:
            db = self._store.connection.db
            self._written.update((db, name) for name in rewritten)
            if time.monotonic() - self._looked_at > _LOOK_SECONDS:
                self._look()

    def finish(self) -> None:
        """Look a last time; whatever is still to be written is left to the script."""
        if self._allowed:
            self._look()
            self._allowed = self._store.ifeq = False

    def _look(self) -> None:
        if self._joins() != self._joined:
            self._allowed = self._store.ifeq = False
            self._write_again()
        self._written.clear()
        self._looked_at = time.monotonic()

    def _joins(self) -> tuple[str | None, ...]:
        """Changes when a replica joins, or comes back."""
        info = self._store.info("stats")
        return tuple(info.get(name) for name in ("sync_full", "sync_partial_ok"))

    def _write_again(self) -> None:
        for db in sorted({db for db, _ in self._written}):
            self._store.select(db)
            names = sorted(name for at, name in self._written if at == db)
            for start in range(0, len(names), _AGAIN):
                some = names[start : start + _AGAIN]
                held = zip(some, self._store.read(some), strict=True)
                swaps = [
                    Replacement(name, value, value) for name, value in held if type(value) is bytes
                ]
                for answer in self._store.start_compare_and_set(swaps)():
                    if message := getattr(answer, "message", None):
                        raise ServerError(f"{self._store.node}: a replica joined, and {message}")

    def _known(self) -> bool:
        """Try it on a name that does not exist: that writes nothing."""
        name = self._unused()
        if name is None:
            return False
        command = ("SET", name, "", "IFEQ", "rotator", "KEEPTTL")
        return self._store.connection.pipeline([command])[0] is None

    def _unused(self) -> bytes | None:
        """A random name that the pattern matches, in a slot of the node's own."""
        if "*" not in self._pattern:
            return None
        clustered = self._store.cluster_enabled()
        slots = myself(self._store.members()).slots if clustered else ((0, SLOTS - 1),)
        for _ in range(_TRIES):
            name = self._pattern.replace("*", f"rotator-probe-{secrets.token_hex(8)}", 1).encode()
            if any(first <= key_slot(name) <= last for first, last in slots):
                return name
        return None


def _replicas_know(store: Store, connect: Callable[[Address], Store], depth: int) -> bool:
    """Whether each replica, and each of theirs, says that its SET has IFEQ."""
    for fields in store.replicas().values():
        try:
            replica = connect(Address(fields["ip"], int(fields["port"])))
            with replica.connection:
                knows = replica.knows("SET", "IFEQ")
                if not knows or depth == 0 or not _replicas_know(replica, connect, depth - 1):
                    return False
        except ServerError:
            return False
    return True
