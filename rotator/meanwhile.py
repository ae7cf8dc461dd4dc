"""
What happens around the sweeps of a cache, and they do not tell: evictions, and wrong clocks.

A value may grow when it is rewritten, and in a server whose memory is full that pushes others out
(redis-rules 2.5). Who had them evicted cannot be told: applications write meanwhile, too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.run.surroundings import Clock
from rotator.server.node import Identity
from rotator.server.store import Store
from rotator.server.topology import Topology

log = structlog.get_logger(__name__)


class Meanwhile:
    """
    Looks at the primaries of one cache before and after the work on it.

    *evictions* is how many entries each has evicted, by node, as far as it could be asked.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.evictions: dict[str, int] = {}
        self._clock = clock or Clock()
        self._before: dict[Address, Identity] = {}

    @property
    def doubt(self) -> str | None:
        """Why times of the run are not to be relied on, in a sentence; None: they are."""
        return self._clock.doubt

    @property
    def latest(self) -> datetime:
        """The latest time that it may be by any clock."""
        return self._clock.latest()

    def note(self, topology: Topology) -> None:
        """Take the primaries that are new as they are now."""
        for address, identity in topology.identities.items():
            self._before.setdefault(address, identity)

    def compare(self, store: Store) -> None:
        """Compare clocks with one node."""
        self._clock.compare(store)

    def look_back(self, connect: Callable[[Address], Store]) -> None:
        """Ask every primary again; one that is gone tells nothing."""
        for address, before in self._before.items():
            try:
                store = connect(address)
                with store.connection:
                    self.compare(store)
                    self.evictions[str(address)] = store.identity().evicted_since(before)
            except ServerError as error:
                log.info("evictions not known", node=str(address), reason=str(error))
