"""
The way to the node that holds a name, followed when it moves.

- A single server and its replicas: the primary holds everything. When it refuses to write because
  it no longer is one, or is gone, the primary is looked for again.
- A cluster: the node that owns the slot. Where it answers MOVED the nodes are asked again who owns
  what, by the names that they are configured or announced with: MOVED gives an IP address, which no
  certificate need have. Only if they do not know yet, the address it gives is taken
  (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
- A slot that is just being moved: the node that ASK names is asked for this name alone.

Where the names are that a slot takes along while it moves to another node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from redis.crc import key_slot

from rotator.config.types import Address
from rotator.errors import LoginError, RightsError, ServerError
from rotator.server.cluster_nodes import Range, redirection
from rotator.server.context import CacheContext
from rotator.server.replies import ErrorKind, ErrorReply
from rotator.server.store import Store
from rotator.server.topology import discover

REDIRECTS = 5


Answer = TypeVar("Answer")


class ClusterRouter:
    """The nodes of one cache, connected to as names need them, in one *database*."""

    def __init__(self, access: CacheContext, database: int) -> None:
        self._access = access
        self._database = database
        self._stores: dict[Address, Store] = {}
        self._first: Address | None = None  # a primary
        self._slots: dict[Address, tuple[Range, ...]] = {}
        self._homes: dict[int, Address] = {}  # by slot, where a node said so in an answer

    def ask(self, name: bytes, call: Callable[[Store], Answer]) -> Answer:
        """
        What *call* gives on the node that holds *name*; called again where that was not the one.

        Raises:
            ServerError: The node cannot be reached, or there is none.
        """
        answer = self._try(name, call)
        for _ in range(REDIRECTS):
            if not isinstance(answer, ErrorReply) or answer.meaning is not ErrorKind.TOPOLOGY:
                break
            if answer.message.startswith("ASK "):
                answer = call(self._asking(name, answer))
            else:
                self._follow(name, answer.message)
                answer = self._try(name, call)
        return answer

    def close(self) -> None:
        """Close all connections and forget who holds what."""
        for store in self._stores.values():
            store.connection.close()
        self._stores.clear()
        self._slots = {}
        self._homes.clear()
        self._first = None

    def _try(self, name: bytes, call: Callable[[Store], Answer]) -> Answer:
        """What *call* gives, on a new connection if the one we had is gone."""
        known = bool(self._stores)
        try:
            return call(self._store_for(name))
        except (LoginError, RightsError):
            raise
        except ServerError:
            # Only what was found earlier can have gone meanwhile.
            if not known:
                raise
            self.close()
            return call(self._store_for(name))

    def _follow(self, name: bytes, message: str) -> None:
        """Make use of a refusal that says who holds the name, or at least who does not."""
        if not message.startswith("MOVED "):
            self.close()
            return
        asked, slot = self._address_for(name), key_slot(name)
        told = redirection(message, asked)
        self._homes.pop(slot, None)
        self._first = self._discovered()
        if told is not None and self._address_for(name) == asked:
            self._homes[slot] = told

    def _asking(self, name: bytes, refused: ErrorReply) -> Store:
        """The node that *refused* tells to ask, told that we were sent."""
        address = refused.elsewhere(self._address_for(name)) or self._address_for(name)
        return self._store_at(address).asking()

    def _store_for(self, name: bytes) -> Store:
        """The node to ask about *name*, connected to."""
        return self._store_at(self._address_for(name))

    def _store_at(self, address: Address) -> Store:
        if address not in self._stores:
            self._stores[address] = self._access.connect(address)
        store = self._stores[address]
        store.select(self._database)
        return store

    def _address_for(self, name: bytes) -> Address:
        """Where to ask about *name*: at its slot's owner, else at the only primary."""
        if self._first is None:
            self._first = self._discovered()
        slot = key_slot(name)
        for address, slots in self._slots.items():
            if any(first <= slot <= last for first, last in slots):
                return self._homes.get(slot, address)
        return self._homes.get(slot, self._first)

    def _discovered(self) -> Address:
        """A primary: the one of a single server, or any one of a cluster; who owns which slots."""
        topology = discover(self._access.cache.addresses, self._access.connect, settle_timeout=0.0)
        first, *others = topology.primaries
        if others and topology.mode == "standalone":
            raise ServerError(
                f"{first} and {others[0]} both own data and are no cluster",
                hint="give the addresses of one server and its replicas as one cache",
            )
        self._slots = topology.slots
        return first


class RedirectTargets:
    """Finds who serves a name that *store* would not; *connect* reaches another node."""

    def __init__(self, store: Store, connect: Callable[[Address], Store]) -> None:
        self._store = store
        self._connect = connect
        self._stores: dict[Address | None, Store] = {}

    def reach(self, refusal: ErrorReply) -> Store:
        """
        The node that ASK names, or this one.

        SCAN lists what was moved here already, but GET says MOVED until ASKING comes before it.

        Raises:
            ServerError: The other node cannot be reached.
        """
        address = refusal.elsewhere(self._store.connection.address)
        if address not in self._stores:
            store = self._store if address is None else self._connect(address)
            self._stores[address] = store.asking()
        self._stores[address].select(self._store.connection.db)
        return self._stores[address]
