"""Where the names are that a slot takes along while it moves to another node."""

from __future__ import annotations

from collections.abc import Callable

from rotator.config.types import Address
from rotator.server.replies import Refusal
from rotator.server.store import Store


class Movers:
    """Finds who serves a name that *store* would not; *connect* reaches another node."""

    def __init__(self, store: Store, connect: Callable[[Address], Store]) -> None:
        self._store = store
        self._connect = connect
        self._stores: dict[Address | None, Store] = {}

    def reach(self, refusal: Refusal) -> Store:
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
