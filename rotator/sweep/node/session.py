"""
Node session: holds what lives with one connection: pages ahead, write tracking.

SCAN promises names, not values: what RENAME, COPY, RESTORE or MOVE puts under a name that the scan
has passed is never returned (redis-rules 0.5). But the server reports every name that is written.
So a value that exists at the end was either left alone since before the first page, and SCAN
returned it, or its name was reported, and it is read again here (redis-rules 1.6).

- Names are read again after each page, so that memory stays flat however much is written. Only
  *suspects* are kept: names that then hold something else than a value under the current key.
- At the end suspects are visited like any name, but for those that the scan has tallied already as
  what they are now.
- A value that is renamed while its name is read again would slip through, so the end is repeated
  until no command that moves values came in between.

Limits: a lost connection, too many suspects or a missing right end the tracking. Then only the
command counters tell whether something was moved, and the report names the method `scan`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from rotator.config.types import Address
from rotator.crypto.codec import Codec
from rotator.server.exchange import Exchange
from rotator.server.replies import AnswerError
from rotator.server.store import START, Store, Value
from rotator.sweep.control import Control
from rotator.sweep.node.selector import Rotation, Selector
from rotator.sweep.node.throttle import Throttle
from rotator.sweep.node.visitor import RECORDS, Visitor
from rotator.sweep.scope import Scope, matcher, prefixes
from rotator.tally.tally import Mode, Tally

_ROUNDS = 20
_ROUND_SECONDS = 0.05
_READ = 200  # names read again at a time
_FIRST_NAMES = 10  # of a page
_CALLS, _TIMES = 1_000, 20  # of SCAN: so many, and this often what the names take

log = structlog.get_logger(__name__)


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

    def look(self, visitor: Visitor, databases: Sequence[int]) -> None:
        """Read again what was written meanwhile, in every one of *databases*: no report has one."""
        # Our own writes are reported too, with this page's replies or the next page's.
        self._own = [self._own[1], set(visitor.rewritten)]
        written = set(self._store.connection.written()) - self._own[0] - self._own[1]
        names = [name for name in written if self.complete and self._matches(name)]
        outside = visitor.outside if self.complete else None
        others = set[bytes]() if outside is None else written.difference(names)
        for db in databases if names or others else ():
            self._store.select(db)
            visited = self._scope.visits(db)
            for start in range(0, len(names) if visited else 0, _READ):
                found = visitor.not_current(names[start : start + _READ])
                self._suspects.update((db, name) for name in found)
            if outside is not None:
                left_out = sorted(others if visited else {*others, *names})
                outside.add(visitor.read_outside(left_out, written=True))
        if len(self._suspects) > RECORDS:
            self.complete = False

    def flushed(self) -> int:
        """Return how often everything was reported as written since this began."""
        return self._store.connection.flushes - self._flushes

    def finish(self, visitor: Visitor, databases: Sequence[int], tally: Tally) -> None:
        """Look at everything that was written until now, and visit what is suspect."""
        for _ in range(_ROUNDS if self.complete else 0):
            before = self._store.identity().calls
            self._store.connection.barrier()
            self.look(visitor, databases)
            for db in databases:
                self._store.select(db)
                names = sorted(name for at, name in self._suspects if at == db)
                # The scan may have come to some of them since.
                visitor.visit(visitor.not_current(names), tally)
            self._suspects.clear()
            if self._store.identity().calls == before:
                return
            time.sleep(_ROUND_SECONDS)
        self.complete = False


class NodeSession:
    """
    Node session: connects to the node at *address*; *connect* opens a connection to any node.

    *no_touch* is whether reading leaves no trace in the order of evictions; *waited* are seconds by
    reason, those of the session *before* included. Without *selector* it is a rotation.

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
    ) -> None:
        writes, limits = scope.mode is Mode.RUN, scope.limits
        self.store = connect(address)
        self.no_touch = self.store.enable_no_touch()
        self.waited: dict[str, float] = before.waited if before else {}
        self._scope = scope
        self._control = control
        self.waited_for: str | None = before.waited_for if before else None
        self._weighed = False
        self._ping = connect(address).connection if limits.latency else None
        self.throttle = Throttle(
            limits,
            self.store,
            self._ping,
            page=scope.page,
            stopping=control.stop,
            waiting=self._wait,
            waited=self.waited,
        )
        self._tracks = selector is None
        selector = selector or Rotation(codec, writes=writes, only_key=scope.only_key)
        if not selector.deletes:
            selector.largest = self.store.largest_value()
        self.visitor = Visitor(
            self.store,
            codec,
            selector,
            connect=connect,
            measure_latency=self.throttle.measure_latency,
            neighbours=neighbours,
        )
        self.visitor.outside = before.visitor.outside if before else None
        self.tracker = self.track_writes()
        self.exchange: Exchange | None = before.exchange if before else None
        if self.exchange is not None:
            self.exchange.attach(self.store)
        elif writes and not selector.deletes:
            self.exchange = Exchange(self.store, connect, scope.match[0], may_log_in)

    def track_writes(self) -> WriteTracker:
        """Track what is written from now on; purge and adopt do not read again what was moved."""
        self.tracker = WriteTracker(self.store, self._scope, wanted=self._tracks)
        return self.tracker

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

    def page_done(self) -> None:
        """Note how large the values of a page are, and see that its writes reach all replicas."""
        self.throttle.weigh(self.store.sizes)
        self._weighed = True
        if self.exchange:
            self.exchange.look(self.visitor.rewritten)

    def finish(self) -> None:
        """See that the last writes reach all replicas, too."""
        if self.exchange:
            self.exchange.finish()

    def _wait(self, reason: str | None) -> None:
        """Say why nothing happens; in the log only when the reason is another one."""
        self._control.wait(self.store.node, reason)
        if reason and reason != self.waited_for:
            log.info("waiting", node=self.store.node, reason=reason)
            self.waited_for = reason


class NextPage(NamedTuple):
    """
    Next page: holds names, the cursor behind them, and their values, asked for already.

    *outside* are names that are not visited: what is left out.
    """

    cursor: bytes
    names: list[bytes]
    values: Callable[[], list[Value]]
    outside: list[bytes]


class PageReader:
    """
    Page reader: scans the database *db* from *cursor* on, for names that match *pattern*.

    *count* tells how many names the next page is to have. Without *inside* every name is visited,
    else those of which it is true.
    """

    def __init__(  # noqa: PLR0917 - what SCAN takes, and what is told apart here
        self,
        store: Store,
        db: int,
        pattern: str | None,
        cursor: bytes,
        count: Callable[[], int],
        inside: Callable[[bytes], object] | None = None,
    ) -> None:
        self._store = store
        self._db = db
        self._pattern = pattern
        self._count = count
        self._inside = inside
        self._ready: NextPage | None = None
        store.select(db)
        self._names = store.databases().get(db, 0)
        self._calls = self._asked = 0
        self._scan: Callable[[], tuple[bytes, list[bytes]]] | None = self._ask(cursor)

    def take(self) -> NextPage | None:
        """
        Return the next page, in its database; None when the scan is over.

        While it is worked on, the server gets ready the values of the one after it.

        Raises:
            AnswerError: The scan does not end.
        """
        self._store.select(self._db)  # whoever worked on the last page may have been elsewhere
        if self._ready is None:
            self._prepare()
        page = self._ready
        self._ready = None
        self._prepare()
        return page

    def _prepare(self) -> None:
        """Ask for the values of the next page, and for the names of the one after it."""
        if self._scan is None:
            return
        cursor, names = self._scan()
        outside: list[bytes] = []
        if self._inside is not None:
            outside = [name for name in names if not self._inside(name)]
            names = [name for name in names if self._inside(name)]
        self._ready = NextPage(cursor, names, self._store.start_read(names), outside)
        self._scan = self._ask(cursor) if cursor != START else None

    def _ask(self, cursor: bytes) -> Callable[[], tuple[bytes, list[bytes]]]:
        """Ask for a page, unless there were more than so many names can have (verdict 2.1)."""
        count = self._count()
        self._calls += 1
        self._asked += count
        if self._calls > _CALLS + _TIMES * self._names * self._calls / self._asked:
            raise AnswerError(
                f"{self._store.node}: the scan does not end: {self._calls:,} calls of SCAN for"
                f" {self._names:,} names"
            )
        return self._store.start_page(cursor, self._pattern, count)
