"""All that works on one node by one connection, and is made anew with the next one."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from rotator.config.types import Address
from rotator.crypto.codec import Codec
from rotator.server.connection import Connection
from rotator.server.exchange import Ifeq
from rotator.server.store import Store
from rotator.sweep.control import Control
from rotator.sweep.node.throttle import Throttle
from rotator.sweep.node.visitor import Visitor
from rotator.sweep.scope import Mode, Scope
from rotator.watch import Watch

_FIRST_NAMES = 10

log = structlog.get_logger(__name__)


class Attachment:
    """
    What a sweep of the node at *address* works with; *connect* opens a connection to a node.

    *no_touch* is whether reading leaves no trace in the order of evictions; *waited* are seconds by
    reason, over all connections.
    """

    store: Store
    throttle: Throttle
    visitor: Visitor
    watch: Watch
    no_touch: bool

    def __init__(
        self,
        address: Address,
        connect: Callable[[Address], Store],
        codec: Codec,
        scope: Scope,
        control: Control,
    ) -> None:
        self.waited: dict[str, float] = {}
        self._address = address
        self._connect = connect
        self._codec = codec
        self._scope = scope
        self._control = control
        self._ifeq = Ifeq(connect, scope.match[0]) if scope.mode is Mode.RUN else None
        self._ping: Connection | None = None
        self._waited_for: str | None = None
        self._weighed = False

    def open(self) -> None:
        """
        Connect; nothing of the last connection is used any more.

        Raises:
            ServerError: The node cannot be reached, or does not let us in.
        """
        self.store = self._connect(self._address)
        self.no_touch = self.store.no_touch()
        limits = self._scope.limits
        self._ping = self._connect(self._address).connection if limits.latency else None
        self.throttle = Throttle(
            limits,
            self.store,
            self._ping,
            page=self._scope.page,
            stopping=self._control.stop,
            waiting=self._wait,
            waited=self.waited,
        )
        self.visitor = Visitor(
            self.store,
            self._codec,
            connect=self._connect,
            writes=self._scope.mode is Mode.RUN,
            only_key=self._scope.only_key,
            largest=self.store.largest_value(),
            feel=self.throttle.feel,
        )
        self.begin_watch()
        if self._ifeq is not None:
            self._ifeq.attach(self.store)

    def begin_watch(self) -> None:
        """Watch what is written from now on."""
        self.watch = Watch(self.store, self._scope)

    def close(self) -> None:
        """Close the connections."""
        for connection in (self.store.connection, self._ping):
            if connection is not None:
                connection.close()

    def names_a_page(self) -> int:
        """Few until it is known how large the values are: two pages of them are held at a time."""
        page = self.throttle.page
        return page if self._weighed else min(page, _FIRST_NAMES)

    def weigh(self) -> None:
        """Take note of how large the values of a page are."""
        self.throttle.weigh(self.store.sizes)
        self._weighed = True

    def confirm(self, *, last: bool = False) -> None:
        """See that what was rewritten reaches all replicas, for the *last* time or not."""
        if self._ifeq is None:
            return
        if last:
            self._ifeq.finish()
        else:
            self._ifeq.look(self.visitor.rewritten)

    def _wait(self, reason: str | None) -> None:
        """Say why nothing happens; in the log only when the reason is another one."""
        self._control.wait(str(self._address), reason)
        if reason and reason != self._waited_for:
            log.info("waiting", node=str(self._address), reason=reason)
            self._waited_for = reason
