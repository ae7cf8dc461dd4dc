"""
Node session: holds what lives with one connection: exchange, lanes, write tracking.

SCAN promises names, not values: what RENAME, COPY, RESTORE or MOVE puts under a name that the scan
has passed is never returned (redis-rules 0.5). But the server reports every name that is written.
So a value that exists at the end was either left alone since before the first page, and SCAN
returned it, or its name was reported, and it is read again here (redis-rules 1.6).

- Names are read again after each page, so that memory stays flat however much is written. Only
  *suspects* are kept: names that then hold something else than a value under the current key.
- At the end suspects are visited like any name, but for those that the scan has tallied already as
  what they are now.
- A value that is renamed while its name is read again would slip through: the end is repeated.

A lost connection, too many suspects or a missing right end the tracking: then command counters tell
whether something was moved, and the report names the method `scan`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rotator.config.types import Address
from rotator.crypto.codec import Codec
from rotator.errors import LostError, ServerError
from rotator.server.connection import Connection
from rotator.server.exchange import Exchange, way_of_fields
from rotator.server.scripts import Way
from rotator.server.store import Store
from rotator.sweep.control import Control, Stop
from rotator.sweep.node.field_reader import FieldReader
from rotator.sweep.node.lanes import CONNECTIONS, Lanes
from rotator.sweep.node.page import RECORDS
from rotator.sweep.node.proof import OutsideReader
from rotator.sweep.node.selector import Rotation, Selector
from rotator.sweep.node.throttle import Throttle
from rotator.sweep.node.visitor import Visitor
from rotator.sweep.scope import Scope, matcher, prefixes
from rotator.tally.load import NodeLoad
from rotator.tally.tally import Mode, Tally

LOSSES = 5
"""How often the connection may break at the same page."""

_ROUNDS = 20
_ROUND_SECONDS = 0.05
_READ = 200  # names read again at a time
_FIRST_NAMES = 10  # of a page


class WriteTracker:
    """
    Write tracker: has the server report what is written from now on, if *wanted*.

    *complete* is whether every name that was written since then has been, or can still be, read.
    *flushes* is how often everything was reported as written before it began.
    """

    def __init__(self, store: Store, scope: Scope, *, wanted: bool = True) -> None:
        self._store = store
        self._scope = scope
        self._matches = matcher(scope.match).fullmatch
        self._flushes = store.connection.flushes
        self._suspects: set[tuple[int, bytes]] = set()
        self._own: list[set[bytes]] = [set(), set()]
        narrow = [] if scope.reads_outside else prefixes(scope.match)
        self.complete = wanted and store.connection.track(narrow)

    def interrupted(self) -> None:
        """Note that the connection was lost, and with it what was reported on it."""
        self.complete = False

    def end(self) -> None:
        """Have the server report nothing any more: each write costs it twice as much else."""
        if self.complete:
            self._store.connection.untrack()
        self.complete = False

    def look(self, visitor: Visitor, outside: OutsideReader, databases: Sequence[int]) -> None:
        """Read again what was written meanwhile, in every one of *databases*: no report has one."""
        # Our own writes are reported too, with this page's replies or the next page's.
        self._own = [self._own[1], set(visitor.rewritten)]
        written = set(self._store.connection.written()) - self._own[0] - self._own[1]
        names = [name for name in written if self.complete and self._matches(name)]
        counts = outside.tally if self.complete else None
        others = set[bytes]() if counts is None else written.difference(names)
        for db in databases if names or others else ():
            self._store.select(db)
            visited = self._scope.visits(db)
            for start in range(0, len(names) if visited else 0, _READ):
                large: list[bytes] = []  # hashes that are read once, in the end
                found = visitor.not_current(names[start : start + _READ], large)
                self._suspects.update((db, name) for name in (*found, *large))
            if counts is not None:
                left_out = sorted(others if visited else {*others, *names})
                counts.add(outside.read(left_out, written=True))
        if len(self._suspects) > RECORDS:
            self.complete = False

    def flushed(self) -> int:
        """Return how often everything was reported as written since this began."""
        return self._store.connection.flushes - self._flushes

    def finish(
        self, visitor: Visitor, outside: OutsideReader, databases: Sequence[int], tally: Tally
    ) -> None:
        """Look at everything that was written until now, and visit what is suspect."""
        for _ in range(_ROUNDS if self.complete else 0):
            before = self._store.identity().calls
            self._store.connection.barrier()
            self.look(visitor, outside, databases)
            for db in databases:
                self._store.select(db)
                names = sorted(name for at, name in self._suspects if at == db)
                # The scan may have come to some of them since.
                names = visitor.not_current(names)
                visitor.visit(names, tally)
                self.complete &= len(names) <= RECORDS and not visitor.broken_off
            self._suspects.clear()
            if self._store.identity().calls == before:
                return
            time.sleep(_ROUND_SECONDS)
        self.complete = False


@dataclass(slots=True)
class Losses:
    """Losses: count how often the connection broke at the same page."""

    times: int = 0
    _place: tuple[int, bytes] | None = None

    def count(self, lost: LostError, *place: Any) -> None:
        """
        Count one more at *place*.

        Raises:
            ServerError: It broke there again and again.
        """
        self.times = self.times + 1 if place == self._place else 1
        self._place = place
        if self.times >= LOSSES:
            raise ServerError(
                f"{lost}; {LOSSES} times at the same page, so a value there may be too large for "
                "the server (proto-max-bulk-len; with the right +config|get rotator asks for it)"
            )


class NodeSession:
    """
    Node session: connects to the node at *address*; *connect* opens a connection to any node.

    *no_touch* is whether reading leaves no trace in the order of evictions; *waited* are seconds by
    reason, those of the session *before* included. Without *selector* it is a rotation. *works* is
    whether values are rewritten, from now on at the latest: then writes are not tracked.

    Raises:
        ServerError: The node cannot be reached, or does not let us in.
    """

    def __init__(
        self,
        address: Address,
        connect: Callable[[Address], Store],
        codec: Codec,
        scope: Scope,
        control: Control,
        *,
        selector: Selector | None = None,
        neighbours: Sequence[Codec] = (),
        may_log_in: Callable[[Address], bool] = lambda _: True,
        before: NodeSession | None = None,
        works: bool = False,
    ) -> None:
        writes, limits = scope.mode is Mode.RUN, scope.limits
        self._open = partial(connect, address)
        self.store = self._open()
        self.no_touch = self.store.enable_no_touch()
        self.waited: dict[str, float] = before.waited if before else {}
        self.load: NodeLoad = before.load if before else NodeLoad()
        self.waited_for: str | None = None
        self.exchange: Exchange | None = None
        self._scope, self._control = scope, control
        self._weighed = False
        self._ping: Connection | None = None
        self.throttle = Throttle(
            *(limits, self.store, self._open_ping),
            page=scope.page,
            stopping=control.stop,
            waiting=self._wait,
            waited=self.waited,
            load=self.load,
            orders=control.orders,
        )
        self._tracks = selector is None
        selector = selector or Rotation(codec, writes=writes, only_key=scope.only_key)
        if not selector.deletes:
            selector.largest = self.store.largest_value()
        self.outside = OutsideReader(self.store, codec, neighbours)
        self.visitor = self._make_visitor(codec, selector, connect)
        self.works = works
        if before is not None:
            self._take_over(before)
        elif writes and not selector.deletes:
            self._use(Exchange(self.store, connect, scope.match[0], may_log_in))
        self.tracker = self.track_writes()
        if self.works:
            self.begin_work()

    def _open_ping(self) -> Connection:
        """Return a new connection that does nothing but PING; it is closed with the others."""
        self._ping = self._open().connection
        return self._ping

    def _make_visitor(
        self, codec: Codec, selector: Selector, connect: Callable[[Address], Store]
    ) -> Visitor:
        """Return what visits names, and fields of hashes in the way that the user may use."""
        store, scope = self.store, self._scope
        if scope.fields and scope.mode is Mode.RUN and not selector.deletes:
            store.field_way = way_of_fields(store, scope.match[0])
        return Visitor(
            store,
            codec,
            selector,
            connect=connect,
            measure_latency=self.throttle.measure_latency,
            fields=FieldReader.of(scope.fields, self.outside),
            rest=self._rest,
        )

    def within(self) -> dict[bytes, bytes]:
        """Return how far large hashes were gone through, if the last page was broken off."""
        if (fields := self.visitor.fields) is None:
            return {}
        found = fields.within if self.visitor.broken_off else {}
        fields.reached.clear()
        return found

    def _take_over(self, before: NodeSession) -> None:
        """Go on where the session *before* was, whose connection is lost."""
        self.outside.tally, self.works = before.outside.tally, before.works
        if before.exchange is not None:
            before.exchange.attach(self.store)
            self._use(before.exchange)

    def _use(self, exchange: Exchange) -> None:
        """Replace values as *exchange* says."""
        self.exchange, self.visitor.way_elsewhere = exchange, exchange.otherwise

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways in which values are replaced, in their order, that of fields last."""
        used = list(self.exchange.used) if self.exchange else []
        used += [self.store.field_way] if self.store.exchanged_fields else []
        return tuple(dict.fromkeys(used))

    def track_writes(self) -> WriteTracker:
        """Track what is written from now on; purge and adopt do not read again what was moved."""
        wanted = self._tracks and not self.works
        self.tracker = WriteTracker(self.store, self._scope, wanted=wanted)
        return self.tracker

    def begin_work(self) -> None:
        """Rewrite from now on, in lanes where transactions are used; it is no proof any more."""
        self.works = True
        self.outside.tally = None
        self.tracker.end()
        self._open_lanes()

    def _open_lanes(self) -> None:
        """Open the connections of lanes, where values are replaced in transactions from now on."""
        in_lanes = self.exchange is not None and self.exchange.way is Way.TRANSACTION
        if not (in_lanes and self.works and self._tracks) or self.visitor.lanes is not None:
            return
        stores = [self._open() for _ in range(CONNECTIONS)]
        for store in stores:
            self.no_touch &= store.enable_no_touch()
        self.visitor.lanes = Lanes(self.store, stores)

    def close(self) -> None:
        """Close the connections."""
        self.visitor.close()
        for connection in (self.store.connection, self._ping):
            if connection is not None:
                connection.close()

    def names_a_page(self) -> int:
        """Return few until values have been weighed: two pages of them are held at a time."""
        page = self.throttle.page
        return page if self._weighed else min(page, _FIRST_NAMES)

    def page_done(self, names: int) -> None:
        """Note how large a page of *names* was, and see that its writes reach all replicas."""
        self.load.add_page(names)
        self.throttle.weigh(self.store.sizes)
        self._weighed = True
        if self.exchange:
            self.load.exchanged[self.exchange.way] += len(self.visitor.rewritten)
            self.exchange.look(self.visitor.rewritten)
            self._open_lanes()  # a replica may have joined

    def finish(self) -> None:
        """See that the last writes reach all replicas, too."""
        if self.exchange:
            self.exchange.finish()

    def _rest(self, visits: int) -> Stop | None:
        """Rest between two parts of a page as between two pages; return the reason to stop."""
        self.throttle.rest(visits)
        return self._control.stop()

    def _wait(self, reason: str | None) -> None:
        """Say why nothing happens."""
        self._control.wait(self.store.node, reason)
