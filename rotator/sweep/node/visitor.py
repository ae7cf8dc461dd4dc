"""
Visitor: reads a page, decides, writes, settles; retries and follows redirects.

What changed meanwhile is read again and decided anew, at most `TRIES` times, because "changed" has
two meanings: the application wrote, or our own write was answered twice (redis-rules 2.2).

Where the server is busy with something else it is waited for. If that does not help, the visit ends
with an error and not with an outcome: it is the server that cannot be worked with, not the name.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field

from rotator.config.types import Address
from rotator.crypto.codec import Codec
from rotator.crypto.layout import FieldName
from rotator.errors import ServerError
from rotator.server.hash_fields import compare_and_delete, expiries, read, split, start_exchange
from rotator.server.replies import RETRY_SECONDS, ErrorKind, ErrorReply, NoValue
from rotator.server.routing import RedirectTargets
from rotator.server.scripts import NAMES_A_CALL, Way
from rotator.server.store import Store, Value
from rotator.server.transaction import Answers
from rotator.sweep.control import Stop
from rotator.sweep.node.field_reader import FieldReader, entries
from rotator.sweep.node.lanes import Lanes
from rotator.sweep.node.page import (
    RECORDS,
    Again,
    Page,
    PageDecision,
    PageTally,
    decide,
    look,
    settle,
)
from rotator.sweep.node.selector import Recorded, Selector, recorded_as
from rotator.tally.tally import SAMPLES, Outcome, Tally
from rotator.text import utc_now

_PAUSES = (0.01, 0.05, 0.2, 0.5)  # seconds before each of `page.TRIES` tries but the first
_UNDER_WAY = 3  # calls that the server has before it while others are made ready
_LONG = 500  # visits after which a page of large hashes need not be brought to its end


@dataclass(slots=True, eq=False)
class Visitor:
    """
    Visitor: brings the names of one node to their outcomes, page by page.

    *connect* reaches another node of the cluster, for a slot that is being moved there.
    *measure_latency* is called while the server is at work for us. *fields* reads those of hashes;
    None: they are not read. *rest* is told, between parts of a page with hashes, how many visits
    the last one had, and says whether to stop. *topology_error* is whether the node answered MOVED
    or READONLY in the last visit, *rewritten* are the names that it rewrote, *visits* how many
    `rest` was not told of, *broken_off* why it did not come to its end. *lanes* read and replace
    values in transactions, if there are any; *way_elsewhere* is how values are replaced at other
    nodes, whose replicas nobody has asked whether they know IFEQ.
    """

    store: Store
    codec: Codec
    selector: Selector
    connect: InitVar[Callable[[Address], Store]] = field(kw_only=True)
    measure_latency: Callable[[], None] = field(default=lambda: None, kw_only=True)
    fields: FieldReader | None = field(default=None, kw_only=True)
    rest: Callable[[int], Stop | None] = field(default=lambda _: None, kw_only=True)
    topology_error: bool = field(default=False, init=False)
    visits: int = field(default=0, init=False)
    broken_off: Stop | None = field(default=None, init=False)
    rewritten: set[bytes] = field(default_factory=set, init=False)
    lanes: Lanes | None = field(default=None, init=False)
    way_elsewhere: Way = field(default=Way.SCRIPT, init=False)
    _targets: RedirectTargets = field(init=False)
    # By database and name: something else may have come to a name since.
    _records: dict[tuple[int, bytes], Recorded] = field(default_factory=dict, init=False)

    def __post_init__(self, connect: Callable[[Address], Store]) -> None:
        self._targets = RedirectTargets(connect)

    def close(self) -> None:
        """Close the connections to other nodes, and the lanes."""
        self._targets.close()
        if self.lanes:
            self.lanes.close()

    def visit(
        self,
        names: Sequence[bytes],
        tally: Tally,
        values: Callable[[], list[Value]] | None = None,
        following: Sequence[bytes] = (),
    ) -> None:
        """
        Bring every name of a page to its outcome, in *tally*: all of them, or on an error none.

        *values* gives what was asked for beforehand; the names *following* come next. What purge
        and adopt have done counts in spite of an error: it is not met a second time. So does what
        was rotated, where a page may have large hashes; it may end early because `rest` says so.

        Raises:
            ServerError: The node, or one that a slot is being moved to, cannot be worked with.
            LostError: The connection broke.
        """
        page = PageTally(self.store.node, utc_now())
        self._targets.forget()  # a slot may be on the move no longer
        self.visits, self.broken_off = 0, None
        try:
            again = list[tuple[Store, Again]]()
            for some in split(names) if self.fields and not values else [names]:
                if self.lanes and not (some and type(some[0]) is FieldName):
                    again += self._try_in_lanes(self.lanes, page, some, tally, following)
                else:
                    found = values() if values else read(self.store, some) if some else []
                    again += self._try_parts(page, self.store, Page(some, found, names), tally)
            self._try_again(page, names, tally, again)
        except ServerError:
            if self.selector.movable is None or self.fields:
                tally.merge(page.tally.only_rotated())
            raise
        self.visits += max(page.tally.visits, len(names))
        tally.merge(page.tally.only_rotated() if self.broken_off else page.tally)
        for name, record in page.records.items():
            if len(self._records) < RECORDS:
                self._records[self.store.connection.db, name] = record
        self.topology_error, self.rewritten = page.topology_error, page.rewritten

    def not_current(self, names: Sequence[bytes], large: list[bytes] | None = None) -> list[bytes]:
        """
        Return those of *names* that hold something else than a value under the current key.

        Without those that the last visit has tallied as what they are; of hashes the fields that
        do, up to about `RECORDS`. With *large* the names of large hashes are put there instead.
        """
        db, found = self.store.connection.db, list[bytes]()
        for some in split(names) if names else ():
            for page in self._parts(self.store, Page(some, read(self.store, some)), large):
                for name, value in zip(page.names, page.values, strict=True):
                    record = recorded_as(name, value, self.codec)
                    if record is not None and record != self._records.get((db, name)):
                        found.append(name)
                if len(found) > RECORDS:
                    break
        return found

    def _try_again(
        self,
        page: PageTally,
        names: Sequence[bytes],
        tally: Tally,
        left: list[tuple[Store, Again]],
    ) -> None:
        """Try until every visit has ended; *left* are those that go on after the first try."""
        tries, waits = iter(_PAUSES), iter(RETRY_SECONDS)
        while left:
            todo: dict[Store, list[bytes]] = {}
            busy: ErrorReply | None = None
            for store, again in left:
                todo.setdefault(store, []).append(again.otherwise.name)
                if again.reply and again.reply.meaning is ErrorKind.RETRY:
                    busy = again.reply
            pause = next(waits if busy else tries, None)
            if pause is None:
                break
            time.sleep(pause)
            left = []
            for store, here in todo.items():
                for some in split(here):
                    held = Page(some, read(store, some), names, tried=page.tried)
                    left += self._try_parts(page, store, held, tally)
        if left and busy:
            raise ServerError(f"{self.store.node} refuses to work: {busy.message}")
        for _, again in left:
            page.keep(again.otherwise)
        self._commit(page, self.store)

    def _parts(self, store: Store, held: Page, large: list[bytes] | None = None) -> Iterator[Page]:
        """Yield a page with the fields of its hashes in their place, in parts, if they are read."""
        for names, values in entries(self.fields, store, held.names, held.values, large):
            others = held.others if names is held.names else [*held.others, *names]
            yield held._replace(names=names, values=values, others=others)

    def _try_parts(
        self, page: PageTally, store: Store, held: Page, tally: Tally
    ) -> list[tuple[Store, Again]]:
        """Try a page once, hashes part by part; return what goes on, and at which node."""
        again, visits = list[tuple[Store, Again]](), 0
        for part in self._parts(store, held):
            stop = self.rest(visits) if visits else None
            self.visits -= visits
            if stop and page.tally.visits > _LONG:
                self.broken_off = stop
                break
            visits = len(part.names)
            left = self._try(page, store, part, tally)
            if page.tried and part.names is not held.names:  # a hash may have any number of fields
                page.tried.difference_update(
                    {*part.names} - {one.otherwise.name for _, one in left}
                )
            again += left
        return again

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
        again = self._settle(page, store, decision, answers)
        if self.selector.movable is None:
            page.tried.update(swap.name for swap in decision.rewrites)
            page.tried.update(deletion.name for deletion in decision.deletions)
        return again

    def _try_in_lanes(
        self,
        lanes: Lanes,
        page: PageTally,
        names: Sequence[bytes],
        tally: Tally,
        following: Sequence[bytes],
    ) -> list[tuple[Store, Again]]:
        """Do the same the first time, group by group, each in a transaction."""
        looks = SAMPLES if tally.wants_sample(Outcome.UNDECRYPTABLE) else 0
        decision = PageDecision(self.codec.keyring.current, looks)
        calls: list[Callable[[], Answers]] = []
        sizes: list[int] = []
        hashes: list[bytes] = []
        for group in lanes.groups(names, following):
            here, values = group.entries()
            if self.fields and NoValue.NOT_STRING in values:
                hashes += [n for n, v in zip(here, values, strict=True) if v is NoValue.NOT_STRING]
                here = [n for n, v in zip(here, values, strict=True) if v is not NoValue.NOT_STRING]
                values = [value for value in values if value is not NoValue.NOT_STRING]
            part = Page(here, values, names, decision.closer_looks)
            decided = self._decide(part, tally, decision)
            calls.append(group.replace(decided.rewrites))
            sizes += [len(value) for value in values if type(value) is bytes]
            self.measure_latency()
        self.store.sizes = sizes
        answers = [answer for call in calls for answer in call()]
        again = self._settle(page, self.store, decision, answers)
        held = Page(hashes, [NoValue.NOT_STRING] * len(hashes), names)
        return again + self._try_parts(page, self.store, held, tally) if hashes else again

    def _settle(
        self, page: PageTally, store: Store, decision: PageDecision, answers: Answers
    ) -> list[tuple[Store, Again]]:
        """Count what is known of the visits; return what goes on, and at which node."""
        again = settle(decision, answers, page)
        self._commit(page, store)
        return [(self._next_store(page, store, one), one) for one in again]

    def _decide(self, part: Page, tally: Tally, decision: PageDecision) -> PageDecision:
        """Decide about a part of a page, and add that to the *decision* about all of it."""
        decided = decide(part, self.codec, self.selector)
        if decided.undecided:
            look(part, decided, self.selector)
        tally.encryptions += decided.encryptions  # nonces are used up whatever becomes of it
        tally.formats |= decided.formats
        decision.extend(decided)
        return decided

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
            self._decide(part, tally, decision)
            if len(decision.rewrites) - sent >= NAMES_A_CALL:
                some = decision.rewrites[sent : sent + NAMES_A_CALL]
                calls.append(start_exchange(store, some))
                sent += NAMES_A_CALL
                self.measure_latency()
                while len(calls) > _UNDER_WAY:
                    answers += calls.popleft()()
        if some := decision.rewrites[sent:]:
            calls.append(start_exchange(store, some))
        for call in calls:
            answers += call()
        if decision.deletions:
            found = [(one.name, one.old) for one in decision.deletions]
            answers += compare_and_delete(store, found)
        return answers

    def _commit(self, page: PageTally, store: Store) -> None:
        """Ask for the expiries of what remains, and count it."""
        if page.remaining:
            page.commit(expiries(store, [kept.name for kept in page.remaining]))

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
        asked = self._targets.asking(reply, self.store)
        asked.way, asked.field_way = self.way_elsewhere, self.store.field_way
        return asked
