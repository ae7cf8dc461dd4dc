"""
The names of a page in, one outcome each out.

For every name: read the value, find its key, re-encrypt what is under an old key, compare-and-set.
What changed meanwhile is read again and judged anew, at most `TRIES` times, because "changed" has
two meanings: the application wrote, or our own write was answered twice (redis-rules 2.2).

Where the server is busy with something else it is waited for. If that does not help, the visit ends
with an error and not with an outcome: it is the server that cannot be worked with, not the name.

The names of a page in, one end each out: what a task picks is acted on.

For every name: read the value, have the task judge it, act on it if the task says so. What changed
meanwhile is read again and judged anew, at most `TRIES` times. Where the server is busy with
something else it is waited for; if that does not help, the page ends with an error: it is the
server that cannot be worked with, not the name.

What one try over the names of a page leads to.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Final, NamedTuple, Protocol

from rotator.config.types import Address
from rotator.crypto.codec import Codec, Opened, Reason, Refused
from rotator.crypto.keyring import Key
from rotator.errors import ServerError
from rotator.server.context import CacheContext
from rotator.server.replies import RETRY_SECONDS, ErrorKind, ErrorReply
from rotator.server.routing import RedirectTargets
from rotator.server.scripts import NAMES_A_CALL, Replacement
from rotator.server.store import NoValue, SetResult, Store, Value
from rotator.sweep.node.page import Left, Mark, Notes, Settlement, renew
from rotator.tally.tally import (
    CHANGED,
    CONTENDED,
    DENIED,
    DONE,
    FAILED,
    GONE,
    NOT_STRING,
    PICKED,
    Count,
    Decision,
    Outcome,
    Tally,
    Trouble,
)


class Sent(NamedTuple):
    """Swaps under way, the keys of the values before them, and what waits for the answers."""

    swaps: list[Replacement]
    keys: list[Key]
    answers: Callable[[], list[SetResult | ErrorReply]]


@dataclass(slots=True)
class Attempt:
    """What one try over some names, at one node, leads to."""

    store: Store
    swaps: list[Replacement] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)  # of the swaps, before them
    begun: int = 0  # of the swaps, how many are sent
    _sent: deque[Sent] = field(default_factory=deque)
    again: list[bytes] = field(default_factory=list)
    moved: dict[bytes, ErrorReply] = field(default_factory=dict)
    refused: dict[bytes, ErrorReply] = field(default_factory=dict)

    def take(self, other: Attempt) -> None:
        """Add what another place led to."""
        self.swaps += other.swaps
        self.keys += other.keys
        self.again += other.again
        self.moved |= other.moved
        self.refused |= other.refused

    def send(self, least: int = 1) -> bool:
        """Have the server begin with the swaps that it does not know of yet, if *least* are."""
        place = slice(self.begun, self.begun + NAMES_A_CALL)
        some = self.swaps[place]
        if len(some) < least:
            return False
        answers = self.store.start_compare_and_set(some)
        self._sent.append(Sent(some, self.keys[place], answers))
        self.begun += len(some)
        return True

    def answered(self, leave: int = 0) -> Iterator[Sent]:
        """The calls that were sent, but for the last *leave* of them, which go on."""
        while len(self._sent) > leave:
            yield self._sent.popleft()

    @property
    def busy(self) -> ErrorReply | None:
        """What a server said that is busy with something else, if one did."""
        every = self.refused.values()
        return next((one for one in every if one.meaning is ErrorKind.RETRY), None)


_PAUSES = (0.0, 0.01, 0.05, 0.2, 0.5)  # seconds before each try


TRIES = len(_PAUSES)


_UNDER_WAY = 3  # calls that the server has before it while others are made ready


@dataclass(slots=True)
class Visit:
    """A page under way."""

    names: Sequence[bytes]
    settlement: Settlement
    moved: set[bytes] = field(default_factory=set)
    topology_error: bool = False


class Visitor:
    """
    Visits pages of one node and tallies what it meets.

    *connect* reaches another node of the cluster, for a slot that is being moved there.
    *topology_error* is whether a node answered MOVED or READONLY in the last visit.
    *rewritten* are the names that the last visit rotated.

    *feel* is called while the server is at work for us, to measure what others feel of it.

    *writes* False makes it a reading sweep: values under an old key are only counted. *only_key* is
    the id of the one key whose values are moved; None moves those of every old key.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec,
        *,
        connect: Callable[[Address], Store],
        writes: bool,
        only_key: str | None,
        largest: int,
        feel: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._feel = feel
        self._movers = RedirectTargets(store, connect)
        self._codec = codec
        self._movable = frozenset(
            key for key in codec.keyring.all if writes and only_key in {None, key.id}
        )
        self._largest = largest
        self.topology_error = False
        self._notes: Notes = {}
        self.rewritten: set[bytes] = set()

    def visit(
        self,
        names: Sequence[bytes],
        tally: Tally,
        values: Callable[[], list[Value]] | None = None,
    ) -> None:
        """
        Bring every name of a page to its outcome, in *tally*: all of them, or on an error none.

        *values* gives what was asked for beforehand.

        Raises:
            ServerError: The node, or one that a slot is being moved to, cannot be worked with.
            LostError: The connection broke.
        """
        settlement = Settlement(tally, self._store, self._notes)
        self._visit = visit = Visit(names, settlement)
        tries, waits = iter(_PAUSES), iter(RETRY_SECONDS)
        this = Attempt(self._store, again=list(names))
        while this.again or this.moved:
            pause = next(waits if this.busy else tries, None)
            if pause is None:
                break
            if pause:
                time.sleep(pause)
            this, values = self._try(this, values), None
        if this.busy:
            raise ServerError(f"{self._store.node} refuses to work: {this.busy.message}")
        self._give_up(this)
        settlement.close()
        self.topology_error, self.rewritten = visit.topology_error, settlement.rewritten

    def suspects(self, names: Sequence[bytes]) -> list[bytes]:
        """
        Those of *names* that hold something else than a value under the current key.

        What would be tallied as it was already, by the last visit, is not among them.
        """
        db = self._store.connection.db
        values = self._store.read(names) if names else []
        marks = [self._mark(name, value) for name, value in zip(names, values, strict=True)]
        return [
            name
            for name, mark in zip(names, marks, strict=True)
            if mark is not None and mark != self._notes.get((db, name))
        ]

    def _mark(self, name: bytes, value: Value) -> Mark | None:
        """As what a value would be tallied; None: as current or gone."""
        if isinstance(value, ErrorReply):
            return Outcome.FAILED
        if isinstance(value, NoValue):
            return None if value is NoValue.GONE else Outcome(value.value)
        opened = self._codec.open(name, value)
        if isinstance(opened, Refused):
            return Outcome.UNDECRYPTABLE
        current = not opened.inner and not self._codec.needs_rewrite(opened)
        return None if current else tuple(key.id for key in (opened.key, *opened.inner))

    def _try(self, last: Attempt, values: Callable[[], list[Value]] | None) -> Attempt:
        """Visit what the last round left: here, or where the server said."""
        this = Attempt(self._store)
        places: dict[Store, list[bytes]] = {self._store: last.again} if last.again else {}
        for name, refusal in last.moved.items():
            places.setdefault(self._movers.reach(refusal), []).append(name)
        for store, names in places.items():
            here = Attempt(store)
            self._take_all(names, values() if values else store.read(names), here)
            this.take(here)
        return this

    def _take_all(self, names: Sequence[bytes], values: Sequence[Value], this: Attempt) -> None:
        """In pieces: the server writes some while others are made ready or settled."""
        for start in range(0, len(names), NAMES_A_CALL):
            piece = slice(start, start + NAMES_A_CALL)
            self._take(names[piece], values[piece], this)
            if this.send(least=NAMES_A_CALL):
                self._feel()
                self._write(this, leave=_UNDER_WAY)
        while this.send():
            pass
        self._write(this)

    def _take(self, names: Sequence[bytes], values: Sequence[Value], this: Attempt) -> None:
        """Settle what most values are in one go, and the others one by one."""
        batch = renew(self._codec, names, values, self._movable, self._largest)
        settlement = self._visit.settlement
        settlement.encrypted(len(batch.swaps))
        settlement.current(self._codec.keyring.current, batch.current, batch.current_size)
        this.swaps += batch.swaps
        this.keys += batch.keys
        for index, key, size in batch.kept:
            settlement.leave(Left(names[index], Outcome.WOULD_ROTATE, (key,), size, this.store))
        for index in batch.rest:
            self._classify(names[index], values[index], this)

    def _classify(self, name: bytes, value: Value, this: Attempt) -> None:
        if isinstance(value, bytes):
            opened = self._codec.open(name, value)
            if isinstance(opened, Refused):
                self._undecryptable(name, value, opened.reason)
            else:
                self._opened(name, value, opened, this)
        elif isinstance(value, ErrorReply):
            if not self._put_off(name, value, this):
                self._visit.settlement.failed(name, Outcome.FAILED, detail=value.message)
        elif value is NoValue.GONE:
            self._visit.settlement.gone()
        else:
            self._visit.settlement.failed(name, Outcome(value.value))

    def _opened(self, name: bytes, value: bytes, opened: Opened, this: Attempt) -> None:
        keys, size = (opened.key, *opened.inner), len(value)
        if opened.inner:
            self._visit.settlement.leave(Left(name, Outcome.NESTED, keys, size, this.store))
        elif not self._codec.needs_rewrite(opened):
            self._visit.settlement.current(opened.key, 1, size)
        elif opened.key not in self._movable:
            self._visit.settlement.leave(Left(name, Outcome.WOULD_ROTATE, keys, size, this.store))
        else:
            new = self._codec.rewrite(name, opened)
            self._visit.settlement.encrypted(1)
            if max(size, len(new)) > self._largest:  # both are sent, to compare and to set
                self._visit.settlement.leave(Left(name, Outcome.TOO_LARGE, keys, size, this.store))
            else:
                this.swaps.append(Replacement(name, value, new, opened.format.unique_prefix))
                this.keys.append(opened.key)

    def _write(self, this: Attempt, leave: int = 0) -> None:
        """Settle what was answered; the last *leave* calls may go on."""
        for sent in this.answered(leave):
            answers = sent.answers()
            done = [answer is SetResult.DONE for answer in answers]
            for key in set(sent.keys):
                moved = [k is key and one for k, one in zip(sent.keys, done, strict=True)]
                swaps = list(compress(sent.swaps, moved))
                size = sum([len(swap.old) for swap in swaps])
                self._visit.settlement.rotated(key, [swap.name for swap in swaps], size)
            if not all(done):
                for swap, key, answer in zip(sent.swaps, sent.keys, answers, strict=True):
                    self._answered(swap, key, answer, this)

    def _answered(
        self, swap: Replacement, key: Key, answer: SetResult | ErrorReply, this: Attempt
    ) -> None:
        """Take note of an answer that is not `Answer.DONE`."""
        name, size = swap.name, len(swap.old)
        if answer is SetResult.GONE:
            self._visit.settlement.gone(size, key)
        elif answer is SetResult.CHANGED:
            this.again.append(name)
        elif answer is SetResult.DENIED:
            self._visit.settlement.leave(Left(name, Outcome.DENIED, (key,), size, this.store))
        elif isinstance(answer, ErrorReply) and not self._put_off(name, answer, this):
            left = Left(name, Outcome.FAILED, (key,), size, this.store, answer.message)
            self._visit.settlement.leave(left)

    def _put_off(self, name: bytes, refusal: ErrorReply, this: Attempt) -> bool:
        """Whether another round may help: a little later, or at another node."""
        self._visit.topology_error |= refusal.meaning is ErrorKind.TOPOLOGY
        if refusal.meaning is ErrorKind.RETRY:
            this.again.append(name)
        elif refusal.message.startswith("ASK ") or (
            # With ASKING before it there is no second chance: the slot is not on its way here.
            refusal.message.startswith("MOVED ") and name not in self._visit.moved
        ):
            this.moved[name] = refusal
            self._visit.moved |= {name} if refusal.message.startswith("MOVED ") else set()
        else:
            return False
        this.refused[name] = refusal
        return True

    def _undecryptable(self, name: bytes, value: bytes, reason: Reason) -> None:
        shown = self._visit.settlement.wants_sample(Outcome.UNDECRYPTABLE)
        if shown:  # a closer look costs many decryptions
            others = (other for other in self._visit.names if other != name)
            reason = self._codec.explain(name, value, reason, others)
        detail = f"{len(value)} bytes"
        self._visit.settlement.failed(name, Outcome.UNDECRYPTABLE, reason, detail, shown=shown)

    def _give_up(self, last: Attempt) -> None:
        """Settle what was not settled after the last try."""
        if not (last.again or last.moved):
            return
        known = {
            swap.name: (key, len(swap.old)) for swap, key in zip(last.swaps, last.keys, strict=True)
        }
        for name in (*last.again, *last.moved):
            refusal = last.refused.get(name)
            outcome = Outcome.FAILED if refusal else Outcome.CONTENDED
            detail = refusal.message if refusal else f"changed at each of {TRIES} tries"
            if name in known:
                key, size = known[name]
                left = Left(name, outcome, (key,), size, last.store, detail)
                self._visit.settlement.leave(left)
            else:
                self._visit.settlement.failed(name, outcome, detail=detail)


_TRIES: Final = len(_PAUSES)


Entry = tuple[bytes, bytes]
"""A name, and the value that was read there."""


Act = Callable[[Sequence[Entry]], list[SetResult | ErrorReply]]
"""Acts on entries whose values still are what was read; the answers are in their order."""


class Selector(Protocol):
    """What a walk is for."""

    def judge(self, name: bytes, value: bytes, page: Sequence[bytes]) -> Decision:
        """What to make of *value*, stored as *name*, among the other names of its page."""

    def actor(self, store: Store) -> Act:
        """How to act on values of one node."""


class Picker:
    """
    Brings every name of a page to its end, counted in *count*; without *acts* it only looks.

    *heaviest* is the size of the largest value of the last page, in bytes.
    """

    def __init__(
        self, store: Store, access: CacheContext, task: Selector, count: Count, *, acts: bool
    ) -> None:
        self._store = store
        self._access = access
        self._task = task
        self._count = count
        self._acts = acts
        self.heaviest = 0
        self._actors: dict[Store, Act] = {store: task.actor(store)}
        self._movers: dict[Address | None, Store] = {}

    def visit(self, names: Sequence[bytes]) -> int:
        """
        Visit a page; how many values were acted on.

        Raises:
            ServerError: The node, or one that a slot is being moved to, cannot be worked with.
        """
        self._page = names
        self._done = self.heaviest = 0
        self._touched: set[bytes] = set()
        self._moved: set[bytes] = set()
        todo: dict[bytes, Store] = dict.fromkeys(names, self._store)
        tries, waits = iter(_PAUSES), iter(RETRY_SECONDS)
        self._busy: ErrorReply | None = None
        while todo:
            pause = next(waits if self._busy else tries, None)
            if pause is None:
                break
            time.sleep(pause)
            self._busy = None
            todo = self._try(todo)
        if self._busy:
            raise ServerError(f"{self._store.node} refuses to work: {self._busy.message}")
        for name in todo:
            self._trouble(name, CONTENDED, f"changed at each of {_TRIES} tries")
        return self._done

    def close(self) -> None:
        """Close the connections to other nodes."""
        for address, store in self._movers.items():
            if address is not None:
                store.connection.close()

    def _try(self, todo: Mapping[bytes, Store]) -> dict[bytes, Store]:
        """One try over names, each at the store that has it; those that need another one."""
        places: dict[Store, list[bytes]] = {}
        for name, store in todo.items():
            places.setdefault(store, []).append(name)
        again: dict[bytes, Store] = {}
        for store, names in places.items():
            picked: list[tuple[Entry, Decision]] = []
            for name, value in zip(names, store.read(names), strict=True):
                judged = self._judge(name, value, store, again)
                if judged is not None and isinstance(value, bytes):
                    picked.append(((name, value), judged))
            if picked:
                self._act(store, picked, again)
        return again

    def _judge(
        self, name: bytes, value: Value, store: Store, again: dict[bytes, Store]
    ) -> Decision | None:
        """What the task says of a value that is to be acted on now; else its visit ends here."""
        if isinstance(value, ErrorReply):
            self._refused(name, value, store, again)
            return None
        if isinstance(value, NoValue):
            if value is NoValue.DENIED:
                self._trouble(name, DENIED, "the user may not read it")
            else:
                self._count.end(Decision(GONE if value is NoValue.GONE else NOT_STRING))
            return None
        self.heaviest = max(self.heaviest, len(value))
        judged = self._task.judge(name, value, self._page)
        if judged.end == PICKED:
            if name not in self._touched:
                self._count.picked(name, len(value))
            if self._acts:
                return judged
        if name in self._touched and judged.end != PICKED:
            judged = Decision(CHANGED)
        trouble = Trouble(name, self._store.node, judged.end, judged.detail)
        self._count.end(judged, trouble if judged.problem else None)
        return None

    def _act(
        self, store: Store, picked: Sequence[tuple[Entry, Decision]], again: dict[bytes, Store]
    ) -> None:
        """Act on what was picked, and count what became of it."""
        answers = self._actors[store]([entry for entry, _ in picked])
        for ((name, _), judged), answer in zip(picked, answers, strict=True):
            self._touched.add(name)
            if answer is SetResult.DONE:
                self._done += 1
                self._count.end(Decision(DONE, judged.detail))
            elif answer is SetResult.GONE:
                self._count.end(Decision(GONE))
            elif answer is SetResult.CHANGED:
                again[name] = store
            elif answer is SetResult.DENIED:
                self._trouble(name, DENIED, "the user may not write it")
            else:
                self._refused(name, answer, store, again)

    def _refused(
        self, name: bytes, refusal: ErrorReply, store: Store, again: dict[bytes, Store]
    ) -> None:
        """Try a name again a little later, or where the server says; else it failed."""
        moved = refusal.message.startswith("MOVED ")
        if refusal.meaning is ErrorKind.RETRY:
            self._busy = refusal
            again[name] = store
        elif refusal.message.startswith("ASK ") or (moved and name not in self._moved):
            # With ASKING before it there is no second chance: the slot is not on its way here.
            self._moved |= {name} if moved else set()
            again[name] = self._elsewhere(refusal)
        else:
            self._trouble(name, FAILED, refusal.message)

    def _elsewhere(self, refusal: ErrorReply) -> Store:
        """Who has a name of a slot on the move: the node that ASK names, or this one, asking."""
        address = refusal.elsewhere(self._store.connection.address)
        if address not in self._movers:
            store = self._store if address is None else self._access.connect(address)
            mover = self._movers[address] = store.asking()
            self._actors[mover] = self._task.actor(mover)
        mover = self._movers[address]
        mover.select(self._store.connection.db)
        return mover

    def _trouble(self, name: bytes, end: str, detail: str) -> None:
        # Not counted by detail: that is the server's own words, of which there is no end.
        self._count.end(Decision(end), Trouble(name, self._store.node, end, detail))
