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

from rotator.config.types import Address
from rotator.crypto.codec import Codec
from rotator.errors import LostError, ServerError
from rotator.server.cluster_nodes import foreign_slots, myself
from rotator.server.node import NOTHING, TRACKED_COMMANDS, Identity
from rotator.server.store import Store
from rotator.sweep.control import Control, Stop
from rotator.sweep.node.session import NodeSession, Page, PageReader
from rotator.sweep.results import Checkpoint, NodeResult
from rotator.sweep.scope import RESTARTS, Scope
from rotator.tally.tally import Mode, Outcome, Tally

LOSSES = 5


# Pauses before each new connection. When they are over the sweep looks at the topology, with more
# patience than this, and lets the node go on where it was if it is still the one to ask.
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0)


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
        self._with = NodeSession(address, connect, codec, scope, control)

    def run(self) -> NodeResult:
        """
        Sweep the node to the end, to a stop, or until it cannot be done; what was done is kept.

        Raises:
            ServerError: The node could not be used at all.
        """
        begun = time.monotonic()
        self._with.open()
        self._position = self._resume() or self._begin(Tally())
        self._position.restarts = max(self._position.restarts, self._restarts)
        try:
            result = self._sweep()
        except ServerError as error:
            self._save(counted=True)
            self._position.reasons.append(str(error))
            result = self._result(complete=False)
        self._with.close()
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
            pages = PageReader(
                self._with.store, db, pattern, position.cursor, self._with.names_a_page
            )
            while page := pages.take():
                self._with.throttle.rest(visited)
                visited = len(page.names)
                if stop := self._control.stop():
                    return stop, []
                if changes := self._visit(page):
                    return None, changes
        return None, []

    def _visit(self, page: Page) -> list[str]:
        """Bring a page to its end; what made the scan worthless, if anything did."""
        position = self._position
        tally = position.tally
        rotated, left = tally.outcomes[Outcome.ROTATED], tally.remaining
        self._with.visitor.visit(page.names, tally, page.values)
        self._with.weigh()
        self._with.confirm()
        rotated = tally.outcomes[Outcome.ROTATED] - rotated
        self._control.page_done(
            str(self._address), len(page.names), rotated, tally.remaining - left
        )
        if self._with.visitor.topology_error and (changes := self._moved_on()):
            return changes
        position.cursor = page.cursor
        if page.cursor == 0 and position.scanning is not None:
            position.done.append(position.scanning)
        # Only now: were the connection lost here, the page must not count twice.
        self._with.watch.look(self._with.visitor, self._databases)
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self._save()
        return []

    def _finish(self) -> list[str]:
        """Look at what was written meanwhile; what happened that the scan may have missed."""
        self._with.confirm(last=True)
        self._with.watch.finish(self._with.visitor, self._databases, self._position.tally)
        self._orphans = self._count_orphans()
        now = self._with.store.identity()
        changes = self._position.identity.changes(
            now, TRACKED_COMMANDS if self._with.watch.complete else NOTHING
        )
        databases = list(self._with.store.databases())
        appeared = {db for db, _ in self._scope.scans(databases)} - set(self._databases)
        changes += [f"database {db} appeared" for db in sorted(appeared)]
        self._last_seen = now
        return changes

    def _moved_on(self) -> list[str]:
        """What became of the node, after it said that data is not its own."""
        return self._position.identity.changes(self._with.store.identity(), TRACKED_COMMANDS)

    def _count_orphans(self) -> int:
        """Names in slots that the node does not own; SCAN lists them, but nobody can read them."""
        if not self._with.store.clustered:
            return 0
        own = myself(self._with.store.members())
        count = 0
        for db in sorted({0, *self._databases}):
            self._with.store.select(db)
            count += self._with.store.names_in_slots(foreign_slots(own))
        return count

    def _reattach(self, lost: LostError) -> list[str]:
        """Connect again; what changed if it is not the process that it was."""
        log.warning("connection lost", node=self._with.store.node, error=str(lost))
        for pause in _RECONNECT_SECONDS:
            time.sleep(pause)
            self._with.close()
            try:
                self._with.open()
                self._with.watch.interrupted()
                now = self._with.store.identity()
            except ServerError as error:
                log.info("cannot connect again yet", node=self._with.store.node, error=str(error))
                continue
            if now.role == "master":
                return self._position.identity.changes(now)
            log.info("a replica answers now, not yet promoted", node=self._with.store.node)
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

    def _begin(self, tally: Tally, restarts: int = 0) -> Checkpoint:
        identity = self._with.store.identity()
        if identity.role != "master":
            raise ServerError(
                f"{self._with.store.node} is a replica, and only a primary can be rotated",
                hint="put the primary's address into redis.addresses",
            )
        digest = self._scope.digest(self._codec.digest)
        self._plan_rounds()
        return Checkpoint(digest, identity, datetime.now(UTC), tally, restarts=restarts)

    def _resume(self) -> Checkpoint | None:
        """The saved position, if it is one of this process, keyring, formats and scope."""
        if self._saved is None:
            return None
        position = Checkpoint.from_dict(self._saved)
        same = position.digest == self._scope.digest(self._codec.digest)
        same = same and position.started_at <= datetime.now(UTC)  # else a clock was wrong
        if not same or position.identity.changes(self._with.store.identity()):
            log.info("saved position not used", node=self._with.store.node)
            return None
        self._plan_rounds()
        self._with.watch.interrupted()  # nobody watched between the runs
        return position

    def _plan_rounds(self) -> None:
        self._rounds = self._scope.scans(sorted(self._with.store.databases()))
        self._databases = sorted({db for db, _ in self._rounds})

    def _restart(self) -> None:
        """Begin anew; only what was rotated is kept, because it cannot be met a second time."""
        before = self._position
        self._with.begin_watch()
        log.warning("scan begins again", node=self._with.store.node, reasons=before.reasons)
        self._position = self._begin(before.tally.only_rotated(), before.restarts + 1)
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
            no_touch=self._with.no_touch,
            tracked=self._with.watch.complete,
            waited=dict(self._with.waited),
        )
