"""
Worker: brings one node to its end: restarts, reconnects, resumes.

- SCAN returns every name that exists from the first page to the last, if the process stays the same
  and nothing moves (redis-rules 1.1). Else the scan starts anew, at most `RESTARTS` times.
- A lost connection is opened again; the same process goes on at the same cursor.
- The checkpoint moves when a page is finished; before, the values say what is done already.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog

from rotator.config.types import Address
from rotator.crypto.codec import Codec
from rotator.errors import InternalError, LostError, RotatorError, ServerError, UnmetFormatError
from rotator.retirement.looks import FLUSHING_COMMANDS, NOTHING, TRACKED_COMMANDS
from rotator.server.node import Identity
from rotator.server.replies import AnswerError
from rotator.server.store import START, Store
from rotator.sweep.control import AWAY, Control, Stop
from rotator.sweep.division import WHOLE, Part
from rotator.sweep.node.proof import OutsideTally, ProofBuilder, databases_with_names
from rotator.sweep.node.scan import BEGIN, NextPage, PageReader
from rotator.sweep.node.selector import Selector
from rotator.sweep.node.session import Losses, NodeSession
from rotator.sweep.results import Checkpoint, NodeResult
from rotator.sweep.scope import RESTARTS, Scope
from rotator.tally.tally import Mode, Tally
from rotator.text import utc_now

# Pauses before each new connection; then the sweep looks at the topology, with more patience.
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0)
_HOPELESS = (AnswerError, UnmetFormatError, InternalError)  # it would be the same again
_SAVE_SECONDS = 1.0  # how much finished work a kill -9 may make us look at again

log = structlog.get_logger(__name__)


class Worker:
    """
    Worker: sweeps one node.

    *connect* opens a new pinned connection to a node, again when one is lost. *saved* is a
    checkpoint of an earlier run, used only if it still means something. *restarts* is how often the
    node's scan was begun again already. With *selector* it is no rotation, and nothing is saved.
    *works*: it begins as work, which may be a *part* only.

    Raises:
        ServerError: The node cannot be reached, does not let us in, or is no primary.
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
        selector: Selector | None = None,
        neighbours: Sequence[Codec] = (),
        may_log_in: Callable[[Address], bool] = lambda _: True,
        works: bool = False,
        part: Part = WHOLE,
    ) -> None:
        self._begun_at = time.monotonic()
        self._address, self._part, self._scope, self._control = address, part, scope, control
        self._digest = scope.digest(codec.digest)
        codec.forbid(scope.forbidden)
        more = {"neighbours": neighbours, "may_log_in": may_log_in, "works": works}
        at: tuple[Any, ...] = (address, connect, codec, scope, control)
        self._connect = partial(NodeSession, *at, selector=selector, **more)  # type: ignore[arg-type]  # more is mixed
        self._rotates = selector is None
        # A verifying sweep is not resumed: the next run's own sweep looks at everything anyway.
        self._saves = self._rotates and scope.mode is not Mode.VERIFY
        self._saved_at, self._losses, self._resumed = 0.0, Losses(), False
        self._last_seen: Identity | None = None
        self._builder, self._doubts = ProofBuilder(scope, codec), list[str]()
        self._error: RotatorError | None = None
        self._session = self._connect()
        self._scans, self._databases = list[tuple[int, str | None]](), list[int]()
        self._checkpoint = self._resume(saved) or self._begin(Tally())
        self._checkpoint.restarts = max(self._checkpoint.restarts, restarts)
        met = self._checkpoint.tally
        control.begun(part.place(address), met.visits, met.done, met.remaining)

    def run(self) -> NodeResult:
        """Sweep the node to the end, to a stop, or until it cannot be done; keep what was done."""
        try:
            return self._sweep()
        except (ServerError, UnmetFormatError) as error:
            return self.broken_off(error)
        finally:
            self._session.close()

    def broken_off(self, error: RotatorError) -> NodeResult:
        """Keep what was done until something went wrong."""
        self._error = error
        self._save(counted=True)
        self._checkpoint.reasons.append(str(error))
        return self._result(complete=False)

    def _sweep(self) -> NodeResult:
        while True:
            try:
                stopped, changes = self._scan()
                if not stopped and not changes:
                    changes = self._finish()
            except LostError as error:
                stopped = self._control.stop()
                changes = [] if stopped else self._reattach(error)
                if not changes and not stopped:
                    self._losses.count(error, len(self._checkpoint.done), self._checkpoint.cursor)
                    continue  # the same process: its cursor still holds
            if stopped:
                self._save(counted=True)
                return self._result(complete=False, stopped=stopped)
            if not changes:
                self._checkpoint.reasons += self._doubts
                return self._result(complete=not self._doubts)
            self._checkpoint.reasons += changes
            if self._checkpoint.restarts >= RESTARTS:
                return self._result(complete=False)
            self._restart()

    def _scan(self) -> tuple[Stop | None, list[str]]:
        """Make the scans not done yet; return why to stop, or what made them worthless."""
        checkpoint, visited = self._checkpoint, 0
        for db, pattern in self._scans:
            if (db, pattern) in checkpoint.done:
                continue
            if checkpoint.scanning != (db, pattern):
                checkpoint.scanning, checkpoint.cursor = (db, pattern), BEGIN
            session, inside = self._session, self._scope.inside(db)
            at = (session.store, db, pattern, checkpoint.cursor)
            pages = PageReader(*at, session.names_a_page, inside, self._reads_ahead, self._part)
            while page := pages.take():
                session.throttle.rest(visited)
                if stop := self._control.stop():
                    return stop, []
                changes = self._visit(page)
                if changes or session.visitor.broken_off:
                    return session.visitor.broken_off, changes
                visited = session.visitor.visits + len(page.outside)
        return None, []

    def _reads_ahead(self) -> bool:
        """Return whether the values of the next page are asked for: lanes ask by themselves."""
        return self._session.visitor.lanes is None

    def _visit(self, page: NextPage) -> list[str]:
        """Bring a page to its end; return what made the scan worthless, if anything did."""
        checkpoint, session, tally = self._checkpoint, self._session, self._checkpoint.tally
        visits, done, left = tally.visits, tally.done, tally.remaining
        outside = session.outside.read(page.outside) if session.outside.tally is not None else None
        session.visitor.visit(page.names, tally, page.values, page.following)
        checkpoint.within = session.within()
        if session.visitor.broken_off:
            return []
        if not self._only_read:
            session.outside.tally = None  # it is work from here on, and the next sweep is the proof
            if not session.works and not self._scope.tracks:
                session.begin_work()
        if session.outside.tally is not None and outside is not None:  # now: else it counts twice
            session.outside.tally.add(outside)
        session.page_done(len(page.names))
        if checkpoint.scanning is not None:
            self._builder.shown[checkpoint.scanning[0]] += len(page.names) + len(page.outside)
        visits, done = max(len(page.names), tally.visits - visits), tally.done - done
        left = tally.remaining - left if self._rotates else 0
        self._control.page_done(str(self._address), visits, done, left)
        if session.visitor.topology_error:  # what became of the node?
            now = session.store.identity()
            if changes := checkpoint.identity.changes(now, TRACKED_COMMANDS):
                return changes
        checkpoint.cursor = page.cursor
        if page.cursor == START and checkpoint.scanning is not None:
            checkpoint.done.append(checkpoint.scanning)
        # Only now: were the connection lost here, the page must not count twice.
        session.tracker.look(session.visitor, session.outside, self._databases)
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self._save()
        return []

    @property
    def _only_read(self) -> bool:
        """True if it saw all names from the first on, and nothing that is to be rewritten."""
        return self._part == WHOLE and not (self._resumed or self._checkpoint.tally.encryptions)

    def _finish(self) -> list[str]:
        """Read what was written meanwhile; return what happened that the scan may have missed."""
        session, tally = self._session, self._checkpoint.tally
        session.finish()
        session.tracker.finish(session.visitor, session.outside, self._databases, tally)
        pages = session.store.pages
        self._builder.end(session.store, self._databases)
        now = session.store.identity()
        tracked, before = session.tracker.complete, self._checkpoint.identity
        # What was moved while it worked, the sweep after it finds.
        excused = TRACKED_COMMANDS if tracked or session.works else NOTHING
        changes = before.changes(now, excused)
        if changes and not before.changes(now, TRACKED_COMMANDS):
            changes[-1] += "; with the right +client|tracking rotator looks at what was moved"
        if tracked and session.tracker.flushed() > before.calls_between(now, FLUSHING_COMMANDS):
            changes.append("everything was reported as written, and no command explains it")
        there = session.store.databases()
        changes += self._builder.appeared(there, self._databases, every=self._only_read)
        self._last_seen = now
        partly = self._resumed or self._part.count > 1
        self._doubts = self._builder.doubts(before, now, pages, partly=partly)
        return changes

    def _reattach(self, lost: LostError) -> list[str]:
        """Connect again; return what changed if it is not the process that it was."""
        node = self._session.store.node
        log.warning("connection lost", node=node, error=str(lost))
        self._control.wait(node, AWAY)
        for pause in _RECONNECT_SECONDS:
            time.sleep(pause)
            self._session.close()
            try:
                self._session = self._connect(before=self._session)
                self._session.tracker.interrupted()
                now = self._session.store.identity()
            except ServerError:
                continue
            if now.role == "master":
                self._control.wait(node, None)
                log.info("connected again", node=node)
                return self._checkpoint.identity.changes(now)
            log.info("a replica answers now, not yet promoted", node=node)
        raise ServerError(f"{lost}, and it cannot be opened again") from None

    def _begin(self, tally: Tally, restarts: int = 0) -> Checkpoint:
        identity = self._session.store.identity()
        if identity.role != "master":
            self._session.close()
            raise ServerError(
                f"{self._session.store.node} is a replica, and only a primary can be rotated",
                hint="put the primary's address into redis.addresses",
            )
        self._plan_scans()
        self._resumed = False
        self._builder.begin(self._session.store)
        counts_outside = self._scope.counts_outside and not self._session.works
        self._session.outside.tally = OutsideTally() if counts_outside else None
        return Checkpoint(self._digest, identity, utc_now(), tally, restarts=restarts)

    def _resume(self, saved: dict[str, Any] | None) -> Checkpoint | None:
        """Return the *saved* checkpoint, if it is of this process, keyring, formats and scope."""
        if saved is None:
            return None
        checkpoint = Checkpoint.from_dict(saved)
        same = checkpoint.digest == self._digest and checkpoint.started_at <= utc_now()
        if not same or checkpoint.identity.changes(self._session.store.identity()):
            log.info("saved position not used", node=self._session.store.node)
            return None
        self._plan_scans()
        self._session.tracker.interrupted()  # nobody watched between the runs
        if fields := self._session.visitor.fields:
            fields.begin = checkpoint.within
        self._resumed = True
        return checkpoint

    def _plan_scans(self) -> None:
        self._scans = self._scope.scans(databases_with_names(self._session.store))
        self._databases = sorted({db for db, _ in self._scans})

    def _restart(self) -> None:
        """Begin anew; only what was rotated is kept, because it cannot be met a second time."""
        before = self._checkpoint
        self._session.track_writes()
        log.warning("scan starts again", node=self._session.store.node, reasons=before.reasons)
        self._checkpoint = self._begin(before.tally.only_rotated(), before.restarts + 1)
        self._checkpoint.reasons, self._checkpoint.started_at = before.reasons, before.started_at

    def _save(self, *, counted: bool = False) -> None:
        """Save the position; *counted* says that this run's result tells of the encryptions."""
        self._saved_at = time.monotonic()
        if self._saves:
            saved = self._checkpoint.to_dict()
            if counted:
                saved["tally"]["encryptions"] = 0
            self._control.save(self._part.place(self._address), saved)

    def _result(self, *, complete: bool, stopped: Stop | None = None) -> NodeResult:
        checkpoint, now = self._checkpoint, self._last_seen
        moved = now is None or checkpoint.identity.calls_between(now, TRACKED_COMMANDS) > 0
        seen = (self._address, checkpoint.tally, self._session.outside.tally)
        proves = complete and self._only_read
        return NodeResult(
            node=str(self._address),
            started_at=checkpoint.started_at,
            tally=checkpoint.tally,
            complete=complete,
            identity=(complete and self._last_seen) or checkpoint.identity,
            databases=tuple(self._databases),
            restarts=checkpoint.restarts,
            orphans=self._builder.orphans,
            reasons=tuple(checkpoint.reasons),
            stopped=stopped,
            seconds=time.monotonic() - self._begun_at,
            no_touch=self._session.no_touch,
            tracked=self._session.tracker.complete,
            moved=moved and self._session.works,
            exchange=self._session.ways if checkpoint.tally.encryptions else (),
            resumed=self._resumed,
            proof=self._builder.proof(*seen, moved=moved) if proves else None,
            unproven=tuple(self._doubts),
            hopeless=isinstance(self._error, _HOPELESS) or bool(self._doubts),
            waited=dict(self._session.waited),
            load=self._session.load,
            refused=isinstance(self._error, UnmetFormatError),
        )
