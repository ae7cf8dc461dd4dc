"""
Routing: follows MOVED and ASK.

- A single server and its replicas: the primary holds everything. When it refuses to write because
  it no longer is one, or is gone, the primary is looked for again.
- A cluster: the node that owns the slot. Where it answers MOVED the nodes are asked again who owns
  what, by the names that they are configured or announced with: MOVED gives an IP address, which no
  certificate need have. Only if they do not know yet, the node that it points to is taken
  (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
- Nobody is followed to a stranger, who would get the password: MOVED has to point to a node that
  the one that was asked counts as one of the cluster, and ASK to the one that it moves the slot to.
- A slot that is just being moved: the node that ASK names is asked for this name alone. A scan
  lists what was moved to its node already, but GET says MOVED there until ASKING comes before it.
  So a sweep that meets MOVED asks the same node once more, with ASKING. What it means if that does
  not help is decided in `sweep.node`: the page says `topology_error`, and the worker looks what has
  changed.
"""

from collections.abc import Callable
from typing import TypeVar

from redis.crc import key_slot

from rotator.config.types import Address
from rotator.errors import LoginError, RightsError, ServerError
from rotator.server.cluster_nodes import Range, redirected
from rotator.server.context import CacheContext
from rotator.server.replies import ErrorKind, ErrorReply
from rotator.server.store import Store
from rotator.server.topology import discover

REDIRECTS = 5

Answer = TypeVar("Answer")


class RedirectTargets:
    """Redirect targets: hold the connections to the nodes that a name may be at."""

    def __init__(self, connect: Callable[[Address], Store]) -> None:
        self.stores: dict[Address, Store] = {}
        self._connect = connect
        self._asking: dict[Store, Store] = {}
        self._known: dict[tuple[Store, str], Address] = {}

    def at(self, address: Address, database: int) -> Store:
        """
        Return the node at *address*, connected to, in *database*.

        Raises:
            ServerError: It cannot be reached, or has no such database.
        """
        if address not in self.stores:
            self.stores[address] = self._connect(address)
        self.stores[address].select(database)
        return self.stores[address]

    def asking(self, reply: ErrorReply, asked: Store) -> Store:
        """
        Return the node that ASK names, else the one that was *asked*, to be asked with ASKING.

        Raises:
            ServerError: The slot is not on the move to there, as the node itself says, or the other
                node cannot be reached.
        """
        store = asked
        if reply.message.startswith("ASK "):
            known = (asked, reply.message)
            if known not in self._known:
                self._known[known] = follow(reply.message, asked)
            store = self.at(self._known[known], asked.connection.db)
        if store not in self._asking:
            self._asking[store] = store.asking()
        return self._asking[store]

    def forget(self) -> None:
        """Forget which slots are on the move where; it is asked anew."""
        self._known.clear()

    def close(self) -> None:
        """Close the connections that were opened here."""
        for store in self.stores.values():
            store.connection.close()
        self.stores.clear()
        self._asking.clear()
        self.forget()


def follow(message: str, asked: Store) -> Address:
    """
    Return where the node is that a MOVED or ASK of the node of *asked* points to.

    Raises:
        ServerError: It is none of the cluster, or the slot is not, or no longer, on the move to it.
    """
    address = redirected(asked.members(), message)
    if address is None:
        raise ServerError(
            f"{asked.node} redirects to a server that it does not list as a node of its cluster, or"
            f" not as the one that gets the slot: {message}"
        )
    return address


class ClusterRouter:
    """Cluster router: finds the node of each name of a cache, in one *database*."""

    def __init__(self, access: CacheContext, database: int) -> None:
        self._access = access
        self._database = database
        self._targets = RedirectTargets(access.connect)
        self._first: Address | None = None  # a primary
        self._slots: dict[Address, tuple[Range, ...]] = {}
        self._homes: dict[int, Address] = {}  # by slot, where a node said so in an answer

    def ask(self, name: bytes, call: Callable[[Store], Answer]) -> Answer:
        """
        Return what *call* gives on the node that holds *name*; it may be called on several.

        Raises:
            ServerError: The node cannot be reached, or there is none.
        """
        answer = self._try(name, call)
        for _ in range(REDIRECTS):
            if not isinstance(answer, ErrorReply) or answer.meaning is not ErrorKind.TOPOLOGY:
                break
            if answer.message.startswith("ASK "):
                self._targets.forget()
                answer = call(self._targets.asking(answer, self._store_for(name)))
            else:
                self._follow(name, answer.message)
                answer = self._try(name, call)
        return answer

    def close(self) -> None:
        """Close all connections and forget who holds what."""
        self._targets.close()
        self._slots = {}
        self._homes.clear()
        self._first = None

    def _try(self, name: bytes, call: Callable[[Store], Answer]) -> Answer:
        """Return what *call* gives, on a new connection if the one we had is gone."""
        known = bool(self._targets.stores)
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
        target = follow(message, self._store_for(name))
        self._homes.pop(slot, None)
        self._first = self._discovered()
        if self._address_for(name) == asked:
            self._homes[slot] = target

    def _store_for(self, name: bytes) -> Store:
        """Return the node to ask about *name*, connected to."""
        return self._targets.at(self._address_for(name), self._database)

    def _address_for(self, name: bytes) -> Address:
        """Return where to ask about *name*: at its slot's owner, else at the only primary."""
        if self._first is None:
            self._first = self._discovered()
        slot = key_slot(name)
        for address, slots in self._slots.items():
            if any(first <= slot <= last for first, last in slots):
                return self._homes.get(slot, address)
        return self._homes.get(slot, self._first)

    def _discovered(self) -> Address:
        """Find out who owns which slots; return a primary: the only one, or any of a cluster."""
        topology = discover(self._access.cache.addresses, self._access.connect, settle_timeout=0.0)
        first, *others = topology.primaries
        if others and topology.mode == "standalone":
            raise ServerError(
                f"{first} and {others[0]} both own data and are not a cluster",
                hint="give the addresses of one server and its replicas as one cache",
            )
        self._slots = topology.slots
        return first
