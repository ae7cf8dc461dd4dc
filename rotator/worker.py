"""
The sweep of one node: pages in, a tally out, and proof that no name was missed.

- SCAN returns every name that exists from the first page to the last, if the process stays the same
  and nothing moves (redis-rules 1.1). So the node's identity is taken before and after; a
  difference throws the scan away and starts it anew, at most `RESTARTS` times.
- What was written during the scan is looked at again, so that values that were moved about are
  not missed either (`watch`).
- A lost connection is opened again. The same process goes on at the same cursor; another one starts
  from the beginning.
- The position moves only when a page is finished, so a stop or a crash at any moment loses no work:
  the values themselves say what is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from rotator.address import Address
from rotator.clusternodes import foreign_slots, myself
from rotator.codec import Codec
from rotator.connection import Connection
from rotator.control import Control, Stop
from rotator.errors import LostError, ServerError
from rotator.identity import NOTHING, REPORTED, Identity
from rotator.ifeq import Ifeq
from rotator.noderesult import NodeResult
from rotator.pages import Page, Pages
from rotator.position import Position
from rotator.scope import Mode, Scope
from rotator.store import Store
from rotator.tally import Outcome, Tally
from rotator.throttle import Throttle
from rotator.visitor import Visitor
from rotator.watch import Watch

RESTARTS = 3
LOSSES = 5
# Pauses before each new connection. When they are over the sweep looks at the topology, with more
# patience than this, and lets the node go on where it was if it is still the one to ask.
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0)
_FIRST_NAMES = 5
_SAVE_SECONDS = 1.0  # how much finished work a kill -9 may make us look at again

log = structlog.get_logger(__name__)


class Worker:
    """
    Sweeps one node.

    *connect* opens a new pinned connection to a node and wraps it; it is called again when a
    connection is lost. *saved* is a position of an earlier run, used only if it still means
    something. *restarts* is how often the node's scan was begun again already.
    """

    def __init__(
        self,
        address: Address,
        connect: Callable[[Address], Store],
        *,
        codec: Codec,
        scope: Scope,
        control: Control,
        saved: dict[str, Any] | None = None,
        restarts: int = 0,
    ) -> None:
        self._address = address
        self._connect = connect
        self._codec = codec
        self._scope = scope
        self._control = control
        self._saved = saved
        self._restarts = restarts
        self._saved_at = 0.0
        self._orphans = 0
        self._losses = 0
        self._lost_at: tuple[int, int] | None = None
        self._last_seen: Identity | None = None
        self._waited_for: str | None = None
        self._waited: dict[str, float] = {}
        self._ifeq = Ifeq(connect, scope.match[0]) if scope.mode is Mode.RUN else None
        self._weighed = False
        self._ping: Connection | None = None

    def run(self) -> NodeResult:
        """
        Sweep the node to the end, to a stop, or until it cannot be done; what was done is kept.

        Raises:
            ServerError: The node could not be used at all.
        """
        begun = time.monotonic()
        self._attach()
        self._position = self._resume() or self._begin(Tally())
        self._position.restarts = max(self._position.restarts, self._restarts)
        try:
            result = self._sweep()
        except ServerError as error:
            self._save(counted=True)
            self._position.reasons.append(str(error))
            result = self._result(complete=False)
        self._detach()
        result.seconds = time.monotonic() - begun
        return result

    def _sweep(self) -> NodeResult:
        while True:
            try:
                stopped, changes = self._scan()
                if not stopped and not changes:
                    changes = self._finish()
            except LostError as error:
                changes = self._reattach(error)
                if not changes:
                    self._count_loss(error)
                    continue  # the same process: its cursor still holds
                stopped = None
            if stopped:
                self._save(counted=True)
                return self._result(complete=False, stopped=stopped)
            if not changes:
                return self._result(complete=True)
            self._position.reasons += changes
            if self._position.restarts >= RESTARTS:
                return self._result(complete=False)
            self._restart()

    def _scan(self) -> tuple[Stop | None, list[str]]:
        """Make every scan that is not done yet; the reason to stop, or what made it worthless."""
        position, visited = self._position, 0
        for db, pattern in self._rounds:
            if (db, pattern) in position.done:
                continue
            if position.scanning != (db, pattern):
                position.scanning, position.cursor = (db, pattern), 0
            pages = Pages(self._store, db, pattern, position.cursor, self._names_a_page)
            while page := pages.take():
                self._throttle.rest(visited)
                visited = len(page.names)
                if stop := self._control.stop():
                    return stop, []
                if changes := self._visit(page, pages):
                    return None, changes
        return None, []

    def _names_a_page(self) -> int:
        """Few until it is known how large the values are: two pages of them are held at a time."""
        return self._throttle.page if self._weighed else min(self._throttle.page, _FIRST_NAMES)

    def _visit(self, page: Page, pages: Pages) -> list[str]:
        """Bring a page to its end; what made the scan worthless, if anything did."""
        position = self._position
        tally = position.tally
        rotated, left = tally.outcomes[Outcome.ROTATED], tally.left
        visit = self._visitor.begin(page.names, tally, page.values, ahead=pages.prepare)
        self._throttle.weigh(self._store.sizes)
        self._weighed = True
        self._visitor.finish(visit)
        if self._ifeq is not None:
            self._ifeq.look(self._visitor.rewritten)
        rotated = tally.outcomes[Outcome.ROTATED] - rotated
        self._control.page_done(str(self._address), len(page.names), rotated, tally.left - left)
        if self._visitor.misled and (changes := self._moved_on()):
            return changes
        position.cursor = page.cursor
        if page.cursor == 0 and position.scanning is not None:
            position.done.append(position.scanning)
        # Only now: were the connection lost here, the page must not count twice.
        self._watch.look(self._visitor, self._databases)
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self._save()
        return []

    def _finish(self) -> list[str]:
        """Look at what was written meanwhile; what happened that the scan may have missed."""
        if self._ifeq is not None:
            self._ifeq.finish()
        self._watch.finish(self._visitor, self._databases, self._position.tally)
        self._orphans = self._count_orphans()
        now = self._store.identity()
        changes = self._position.identity.changes(now, REPORTED if self._watch.whole else NOTHING)
        databases = list(self._store.databases())
        appeared = {db for db, _ in self._scope.rounds(databases)} - set(self._databases)
        changes += [f"database {db} appeared" for db in sorted(appeared)]
        self._last_seen = now
        return changes

    def _moved_on(self) -> list[str]:
        """What became of the node, after it said that data is not its own."""
        return self._position.identity.changes(self._store.identity(), REPORTED)

    def _count_orphans(self) -> int:
        """Names in slots that the node does not own; SCAN lists them, but nobody can read them."""
        if not self._store.clustered:
            return 0
        own = myself(self._store.members())
        count = 0
        for db in sorted({0, *self._databases}):
            self._store.select(db)
            count += self._store.names_in_slots(foreign_slots(own))
        return count

    def _detach(self) -> None:
        for connection in (self._store.connection, self._ping):
            if connection is not None:
                connection.close()

    def _attach(self) -> None:
        self._store = self._connect(self._address)
        self._no_touch = self._store.no_touch()
        limits = self._scope.limits
        self._ping = self._connect(self._address).connection if limits.latency else None
        self._throttle = Throttle(
            limits,
            self._store,
            self._ping,
            page=self._scope.page,
            stopping=self._control.stop,
            waiting=self._wait,
            waited=self._waited,
        )
        self._visitor = Visitor(
            self._store,
            self._codec,
            connect=self._connect,
            writes=self._scope.mode is Mode.RUN,
            only_key=self._scope.only_key,
            largest=self._store.largest_value(),
            feel=self._throttle.feel,
        )
        self._watch = Watch(self._store, self._scope)
        if self._ifeq is not None:
            self._ifeq.attach(self._store)

    def _wait(self, reason: str | None) -> None:
        """Say why nothing happens; in the log only when the reason is another one."""
        self._control.wait(str(self._address), reason)
        if reason and reason != self._waited_for:
            log.info("waiting", node=str(self._address), reason=reason)
            self._waited_for = reason

    def _reattach(self, lost: LostError) -> list[str]:
        """Connect again; what changed if it is not the process that it was."""
        log.warning("connection lost", node=self._store.node, error=str(lost))
        for pause in _RECONNECT_SECONDS:
            time.sleep(pause)
            self._detach()
            try:
                self._attach()
                self._watch.lose()
                now = self._store.identity()
            except ServerError as error:
                log.info("cannot connect again yet", node=self._store.node, error=str(error))
                continue
            if now.role == "master":
                return self._position.identity.changes(now)
            log.info("a replica answers now, not yet promoted", node=self._store.node)
        raise ServerError(f"{lost}, and it cannot be opened again") from None

    def _count_loss(self, lost: LostError) -> None:
        """Raise when the connection breaks again and again at the same page."""
        here = (len(self._position.done), self._position.cursor)
        self._losses = self._losses + 1 if here == self._lost_at else 1
        self._lost_at = here
        if self._losses >= LOSSES:
            raise ServerError(
                f"{lost}; {LOSSES} times at the same page, so a value there may be too large for "
                "the server (proto-max-bulk-len; with the right +config|get it is asked for that)"
            )

    def _begin(self, tally: Tally, restarts: int = 0) -> Position:
        identity = self._store.identity()
        if identity.role != "master":
            raise ServerError(
                f"{self._store.node} is a replica, and only a primary can be rotated",
                hint="put the primary's address into redis.addresses",
            )
        digest = self._scope.digest(self._codec.digest)
        self._plan_rounds()
        return Position(digest, identity, datetime.now(UTC), tally, restarts=restarts)

    def _resume(self) -> Position | None:
        """The saved position, if it is one of this process, keyring, formats and scope."""
        if self._saved is None:
            return None
        position = Position.from_dict(self._saved)
        same = position.digest == self._scope.digest(self._codec.digest)
        if not same or position.identity.changes(self._store.identity()):
            log.info("saved position not used", node=self._store.node)
            return None
        self._plan_rounds()
        self._watch.lose()  # nobody watched between the runs
        return position

    def _plan_rounds(self) -> None:
        self._rounds = self._scope.rounds(sorted(self._store.databases()))
        self._databases = sorted({db for db, _ in self._rounds})

    def _restart(self) -> None:
        """Begin anew; only what was rotated is kept, because it cannot be met a second time."""
        before = self._position
        self._watch = Watch(self._store, self._scope)
        log.warning("scan begins again", node=self._store.node, reasons=before.reasons)
        self._position = self._begin(before.tally.settled(), before.restarts + 1)
        self._position.reasons = before.reasons
        self._position.started_at = before.started_at

    def _save(self, *, counted: bool = False) -> None:
        """Save the position; *counted* says that this run's result tells of the encryptions."""
        self._saved_at = time.monotonic()
        # A verifying sweep is not resumed: the next run's own sweep looks at everything anyway.
        if self._scope.mode is not Mode.VERIFY:
            saved = self._position.to_dict()
            if counted:
                saved["tally"]["encryptions"] = 0
            self._control.save(str(self._address), saved)

    def _result(self, *, complete: bool, stopped: Stop | None = None) -> NodeResult:
        position = self._position
        return NodeResult(
            node=str(self._address),
            started_at=position.started_at,
            tally=position.tally,
            complete=complete,
            identity=(complete and self._last_seen) or position.identity,
            databases=tuple(self._databases),
            restarts=position.restarts,
            orphans=self._orphans,
            reasons=tuple(position.reasons),
            stopped=stopped,
            no_touch=self._no_touch,
            tracked=self._watch.whole,
            waited=dict(self._waited),
        )
