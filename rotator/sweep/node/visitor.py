"""
Visitor: reads a page, decides, writes, settles; retries and follows redirects.

What changed meanwhile is read again and decided anew, at most `TRIES` times, because "changed" has
two meanings: the application wrote, or our own write was answered twice (redis-rules 2.2).

Where the server is busy with something else it is waited for. If that does not help, the visit ends
with an error and not with an outcome: it is the server that cannot be worked with, not the name.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field

from rotator.config.types import Address
from rotator.crypto.codec import Codec, Opened, Reason
from rotator.errors import ServerError
from rotator.retirement.looks import Outside
from rotator.server.replies import RETRY_SECONDS, ErrorKind, ErrorReply, NoValue
from rotator.server.routing import RedirectTargets
from rotator.server.scripts import NAMES_A_CALL
from rotator.server.store import Answers, Store, Value
from rotator.sweep.node.page import (
    Again,
    Page,
    PageDecision,
    PageTally,
    Recorded,
    decide,
    look,
    settle,
)
from rotator.sweep.node.selector import Selector
from rotator.tally.tally import SAMPLES, Outcome, Tally
from rotator.text import utc_now

RECORDS = 10_000
"""How many names are remembered of those that were not under the current key in the end."""

_PAUSES = (0.0, 0.01, 0.05, 0.2, 0.5)  # seconds before each of `page.TRIES` tries
_OUTSIDE = 100  # names that are left out, read at a time
_UNDER_WAY = 3  # calls that the server has before it while others are made ready


@dataclass(slots=True)
class OutsideTally:
    """
    Outside tally: counts names that `match` and `databases` leave out.

    *under_old_keys* counts values by the id of the key. *behind* counts names that were written
    during the sweep and do not open: the scan counts them, unless they came from elsewhere.
    """

    visits: int = 0
    under_old_keys: Counter[str] = field(default_factory=Counter)
    not_opened: int = 0
    denied: int = 0
    behind: int = 0

    def add(self, page: OutsideTally) -> None:
        """Add what was counted on a page."""
        self.visits += page.visits
        self.under_old_keys.update(page.under_old_keys)
        self.not_opened += page.not_opened
        self.denied += page.denied
        self.behind += page.behind

    def counted(self, *, moved: bool) -> Outside:
        """Return the counts, to be kept; *moved* is whether values may have come from elsewhere."""
        shut = self.not_opened + (self.behind if moved else 0)
        return Outside(self.visits, dict(self.under_old_keys), shut, self.denied)


@dataclass(slots=True, eq=False)
class Visitor:
    """
    Visitor: brings the names of one node to their outcomes, page by page.

    *connect* reaches another node of the cluster, for a slot that is being moved there.
    *measure_latency* is called while the server is at work for us. *topology_error* is whether the
    node answered MOVED or READONLY in the last visit, *rewritten* are the names that it rewrote.
    *outside* is where names are counted that are left out, None if they are not read; they may be
    of other caches, which *neighbours* open.
    """

    store: Store
    codec: Codec
    selector: Selector
    connect: InitVar[Callable[[Address], Store]] = field(kw_only=True)
    measure_latency: Callable[[], None] = field(default=lambda: None, kw_only=True)
    neighbours: Sequence[Codec] = field(default=(), kw_only=True)
    outside: OutsideTally | None = field(default=None, init=False)
    topology_error: bool = field(default=False, init=False)
    rewritten: set[bytes] = field(default_factory=set, init=False)
    _targets: RedirectTargets = field(init=False)
    # By database and name: something else may have come to a name since.
    _records: dict[tuple[int, bytes], Recorded] = field(default_factory=dict, init=False)

    def __post_init__(self, connect: Callable[[Address], Store]) -> None:
        self._targets = RedirectTargets(connect)

    def close(self) -> None:
        """Close the connections to other nodes."""
        self._targets.close()

    def visit(
        self,
        names: Sequence[bytes],
        tally: Tally,
        values: Callable[[], list[Value]] | None = None,
    ) -> None:
        """
        Bring every name of a page to its outcome, in *tally*: all of them, or on an error none.

        *values* gives what was asked for beforehand. What purge and adopt have done counts in spite
        of an error: it is not met a second time.

        Raises:
            ServerError: The node, or one that a slot is being moved to, cannot be worked with.
            LostError: The connection broke.
        """
        page = PageTally(self.store.node, utc_now())
        self._targets.forget()  # a slot may be on the move no longer
        try:
            self._visit(page, names, tally, values)
        except ServerError:
            if self.selector.movable is None:
                tally.merge(page.tally.only_rotated())
            raise
        tally.merge(page.tally)
        for name, record in page.records.items():
            if len(self._records) < RECORDS:
                self._records[self.store.connection.db, name] = record
        self.topology_error, self.rewritten = page.topology_error, page.rewritten

    def not_current(self, names: Sequence[bytes]) -> list[bytes]:
        """
        Return those of *names* that hold something else than a value under the current key.

        Without those that the last visit has tallied as what they are.
        """
        db = self.store.connection.db
        values = self.store.read(names) if names else []
        found = []
        for name, value in zip(names, values, strict=True):
            record = recorded_as(name, value, self.codec)
            if record is not None and record != self._records.get((db, name)):
                found.append(name)
        return found

    def read_outside(self, names: Sequence[bytes], *, written: bool = False) -> OutsideTally:
        """
        Return the counts of *names* that are left out, on a page, or *written* meanwhile.

        Raises:
            ServerError: The node cannot be worked with.
            LostError: The connection broke.
        """
        page = OutsideTally()
        for start in range(0, len(names), _OUTSIDE):
            some = names[start : start + _OUTSIDE]
            for name, value in zip(some, self._read_patiently(some), strict=True):
                if value is not NoValue.GONE:
                    self._count_outside(page, name, value, written=written)
        return page

    def _read_patiently(self, names: Sequence[bytes]) -> list[Value]:
        """Return the values of *names*, waited for while the server is busy."""
        for pause in (0.0, *RETRY_SECONDS):
            time.sleep(pause)
            values = self.store.read(names)
            errors = [value for value in values if isinstance(value, ErrorReply)]
            busy = [error.message for error in errors if error.meaning is ErrorKind.RETRY]
            if not busy:
                return values
        raise ServerError(f"{self.store.node} refuses to work: {busy[0]}")

    def _count_outside(
        self, page: OutsideTally, name: bytes, value: Value, *, written: bool
    ) -> None:
        """Count one name that is left out."""
        codecs = (self.codec, *self.neighbours)
        opened = [codec.open(name, value) for codec in codecs] if isinstance(value, bytes) else []
        keys = {key.id for one in opened if isinstance(one, Opened) for key in one.keys}
        old = {key.id for key in self.codec.keyring.old}
        page.under_old_keys.update(keys & old)
        if written:
            page.behind += not keys
        else:
            page.visits += 1
            page.denied += value is NoValue.DENIED
            page.not_opened += not keys and value is not NoValue.DENIED

    def _visit(
        self,
        page: PageTally,
        names: Sequence[bytes],
        tally: Tally,
        values: Callable[[], list[Value]] | None,
    ) -> None:
        """Try until every visit has ended."""
        tries, waits = iter(_PAUSES), iter(RETRY_SECONDS)
        todo = {self.store: list(names)} if names else {}
        left: list[tuple[Store, Again]] = []
        busy: ErrorReply | None = None
        while todo and (pause := next(waits if busy else tries, None)) is not None:
            if pause:
                time.sleep(pause)
            left = []
            for store, here in todo.items():
                found = values() if values else store.read(here)
                left += self._try(page, store, Page(here, found, names, tried=page.tried), tally)
            todo, values, busy = {}, None, None
            for store, again in left:
                todo.setdefault(store, []).append(again.otherwise.name)
                if again.reply and again.reply.meaning is ErrorKind.RETRY:
                    busy = again.reply
        if busy:
            raise ServerError(f"{self.store.node} refuses to work: {busy.message}")
        for _, again in left:
            page.keep(again.otherwise)
        self._commit(page, self.store)

    def _try(
        self, page: PageTally, store: Store, held: Page, tally: Tally
    ) -> list[tuple[Store, Again]]:
        """Decide, write and settle once, at one node; return what goes on, and at which node."""
        if self.selector.movable is None:  # purge and adopt act once on what SCAN gave twice
            once = dict(zip(held.names, held.values, strict=True))
            held = held._replace(names=list(once), values=list(once.values()))
        wanted = tally.wants_sample(Outcome.UNDECRYPTABLE)
        looks = SAMPLES - page.tally.outcomes[Outcome.UNDECRYPTABLE] if wanted else 0
        decision = PageDecision(self.codec.keyring.current, looks)
        answers = self._decide_and_write(store, held, tally, decision)
        again = settle(decision, answers, page)
        self._commit(page, store)
        if self.selector.movable is None:
            page.tried.update(swap.name for swap in decision.rewrites)
            page.tried.update(deletion.name for deletion in decision.deletions)
        return [(self._next_store(page, store, one), one) for one in again]

    def _decide_and_write(
        self, store: Store, page: Page, tally: Tally, decision: PageDecision
    ) -> Answers:
        """In parts: the server writes some values while others are made ready."""
        answers: Answers = []
        calls: deque[Callable[[], Answers]] = deque()
        sent = 0
        for start in range(0, len(page.names), NAMES_A_CALL):
            stop = start + NAMES_A_CALL
            names, values = page.names[start:stop], page.values[start:stop]
            part = Page(names, values, page.others, decision.closer_looks, page.tried)
            decided = decide(part, self.codec, self.selector)
            if decided.undecided:
                look(part, decided, self.selector)
            tally.encryptions += decided.encryptions  # nonces are used up whatever becomes of it
            decision.extend(decided)
            if len(decision.rewrites) - sent >= NAMES_A_CALL:
                some = decision.rewrites[sent : sent + NAMES_A_CALL]
                calls.append(store.start_compare_and_set(some))
                sent += NAMES_A_CALL
                self.measure_latency()
                while len(calls) > _UNDER_WAY:
                    answers += calls.popleft()()
        if some := decision.rewrites[sent:]:
            calls.append(store.start_compare_and_set(some))
        for call in calls:
            answers += call()
        if decision.deletions:
            answers += store.compare_and_delete([(one.name, one.old) for one in decision.deletions])
        return answers

    def _commit(self, page: PageTally, store: Store) -> None:
        """Ask for the expiries of what remains, and count it."""
        if page.remaining:
            page.commit(store.expiries([kept.name for kept in page.remaining]))

    def _next_store(self, page: PageTally, store: Store, again: Again) -> Store:
        """
        Return where a visit goes on: at the node that ASK names; else here.

        After MOVED it is here too, with ASKING: the slot may be on its way to this node.
        """
        reply = again.reply
        if reply is None or reply.meaning is ErrorKind.RETRY:
            return store
        if reply.message.startswith("MOVED "):
            page.moved.add(again.otherwise.name)
        return self._targets.asking(reply, self.store)


def recorded_as(name: bytes, value: Value, codec: Codec) -> Recorded | None:
    """Return what a value would be recorded as; None: it is current, or gone."""
    if isinstance(value, ErrorReply):
        return Outcome.FAILED
    if isinstance(value, NoValue):
        return None if value is NoValue.GONE else Outcome(value.value)
    opened = codec.open(name, value)
    if isinstance(opened, Reason):
        return Outcome.UNDECRYPTABLE
    current = not opened.inner and not codec.needs_rewrite(opened)
    return None if current else tuple(key.id for key in opened.keys)
