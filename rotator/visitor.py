"""
The names of a page in, one outcome each out.

For every name: read the value, find its key, re-encrypt what is under an old key, compare-and-set.
What changed meanwhile is read again and judged anew, at most `TRIES` times, because "changed" has
two meanings: the application wrote, or our own write was answered twice (redis-rules 2.2).

Where the server is busy with something else it is waited for. If that does not help, the visit ends
with an error and not with an outcome: it is the server that cannot be worked with, not the name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import compress

from rotator.address import Address
from rotator.answers import RETRY_SECONDS, Meaning, Refusal
from rotator.batch import renew
from rotator.codec import Codec, Opened, Refused
from rotator.errors import ServerError
from rotator.keyring import Key
from rotator.reader import Reason
from rotator.round import Left, Round
from rotator.script import NAMES_A_CALL, Swap
from rotator.store import GONE, Answer, Store, Unread, Value
from rotator.tally import Outcome, Problem, Tally

_PAUSES = (0.0, 0.01, 0.05, 0.2, 0.5)  # seconds before each try
TRIES = len(_PAUSES)
NOTED = 10_000
"""How many names are remembered of those that were not under the current key in the end."""

_Mark = Outcome | tuple[str, ...]  # what became of a value, or the ids of the keys it stays under


class Visitor:
    """
    Visits pages of one node and tallies what it meets.

    *connect* reaches another node of the cluster, for a slot that is being moved there.
    *misled* is whether a node said in the last visit that the data is not, or no longer, its own.
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
        self._connect = connect
        self._movers: dict[Address | None, Store] = {}
        self._codec = codec
        self._movable = frozenset(
            key for key in codec.keyring.all if writes and only_key in {None, key.id}
        )
        self._largest = largest
        self.misled = False
        # As what a name was tallied, by database, if not as current, rotated or gone: something
        # else may have come to the name since.
        self._noted: dict[tuple[int, bytes], _Mark] = {}
        self.rewritten: set[bytes] = set()

    def visit(
        self,
        names: Sequence[bytes],
        tally: Tally,
        values: Callable[[], list[Value]] | None = None,
    ) -> None:
        """
        Bring every name of a page to its outcome, in *tally*: all of them, or on an error none.

        *values* gives what was asked for beforehand. While values are decrypted and encrypted here,
        the server writes those that are ready.

        Raises:
            ServerError: The node, or one that a slot is being moved to, cannot be worked with.
            LostError: The connection broke.
        """
        self._whole = tally
        self._tally = Tally()  # a page that breaks off is visited anew, and must not count twice
        self._page = names
        self._now = datetime.now(UTC)
        self._left: list[Left] = []
        self._moved: set[bytes] = set()
        self.misled = False
        self.rewritten.clear()
        tries, waits = iter(_PAUSES), iter(RETRY_SECONDS)
        this = Round(self._store, again=list(names))
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
        self._settle()
        tally.merge(self._tally)

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
            if mark is not None and mark != self._noted.get((db, name))
        ]

    def _mark(self, name: bytes, value: Value) -> _Mark | None:
        """As what a value would be tallied; None: as current or gone."""
        if isinstance(value, Refusal):
            return Outcome.FAILED
        if isinstance(value, Unread):
            return None if value is Unread.GONE else Outcome(value.value)
        opened = self._codec.open(name, value)
        if isinstance(opened, Refused):
            return Outcome.UNDECRYPTABLE
        current = not opened.inner and not self._codec.needs_rewrite(opened)
        return None if current else tuple(key.id for key in (opened.key, *opened.inner))

    def _try(self, last: Round, values: Callable[[], list[Value]] | None) -> Round:
        """Visit what the last round left: here, or where the server said."""
        this = Round(self._store)
        places: dict[Store, list[bytes]] = {self._store: last.again} if last.again else {}
        for name, refusal in last.moved.items():
            places.setdefault(self._elsewhere(refusal), []).append(name)
        for store, names in places.items():
            here = Round(store)
            read = values() if values else store.read(names)
            # In pieces: the server writes one while the next one is made ready.
            for start in range(0, len(names), NAMES_A_CALL):
                piece = slice(start, start + NAMES_A_CALL)
                self._take(names[piece], read[piece], here)
                if here.send(least=NAMES_A_CALL):
                    self._feel()
            self._write(here)
            this.take(here)
        return this

    def _take(self, names: Sequence[bytes], values: Sequence[Value], this: Round) -> None:
        """Settle what most values are in one go, and the others one by one."""
        batch = renew(self._codec, names, values, self._movable, self._largest)
        self._whole.encryptions += len(batch.swaps)  # whatever becomes of the values
        this.swaps += batch.swaps
        this.keys += batch.keys
        if batch.current:
            current = self._codec.keyring.current.id
            self._tally.add(Outcome.CURRENT, count=batch.current)
            self._tally.met_many(current, batch.current, batch.current_size, self._now)
        for index, key, size in batch.kept:
            left = Left(names[index], Outcome.WOULD_ROTATE, (key,), size, this.store)
            self._left.append(left)
        for index in batch.rest:
            self._classify(names[index], values[index], this)

    def _elsewhere(self, refusal: Refusal) -> Store:
        """
        Who has a name of a slot on the move: the node that ASK names, or this one.

        SCAN lists what was moved here already, but GET says MOVED until ASKING comes before it.
        """
        address = refusal.elsewhere(self._store.connection.address)
        if address not in self._movers:
            store = self._store if address is None else self._connect(address)
            self._movers[address] = store.asking()
        self._movers[address].select(self._store.connection.db)
        return self._movers[address]

    def _classify(self, name: bytes, value: Value, this: Round) -> None:
        if isinstance(value, bytes):
            opened = self._codec.open(name, value)
            if isinstance(opened, Refused):
                self._undecryptable(name, value, opened.reason)
            else:
                self._opened(name, value, opened, this)
        elif isinstance(value, Refusal):
            self._refused(name, value, this)
        else:
            outcome = Outcome(value.value)
            self._tally.add(outcome)
            if value is not Unread.GONE:
                self._note(name, outcome)
                self._problem(name, outcome)

    def _opened(self, name: bytes, value: bytes, opened: Opened, this: Round) -> None:
        if opened.inner:
            keys = (opened.key, *opened.inner)
            self._left.append(Left(name, Outcome.NESTED, keys, len(value), this.store))
        elif not self._codec.needs_rewrite(opened):
            self._tally.add(Outcome.CURRENT)
            self._tally.met(opened.key.id, len(value), self._now)
        elif opened.key not in self._movable:
            keys = (opened.key,)
            self._left.append(Left(name, Outcome.WOULD_ROTATE, keys, len(value), this.store))
        else:
            new = self._codec.rewrite(name, opened)
            self._whole.encryptions += 1  # whatever becomes of the value, a nonce is used up
            if max(len(value), len(new)) > self._largest:  # both are sent, to compare and to set
                keys = (opened.key,)
                self._left.append(Left(name, Outcome.TOO_LARGE, keys, len(value), this.store))
            else:
                this.swaps.append(Swap(name, value, new, opened.format.telling_size))
                this.keys.append(opened.key)

    def _write(self, this: Round) -> None:
        answers = this.answers()
        done = [answer is Answer.DONE for answer in answers]
        for key in set(this.keys):
            moved = [k is key and one for k, one in zip(this.keys, done, strict=True)]
            self._rotated(key, list(compress(this.swaps, moved)))
        if not all(done):
            for swap, key, answer in zip(this.swaps, this.keys, answers, strict=True):
                self._answered(swap, key, answer, this)

    def _rotated(self, key: Key, swaps: Sequence[Swap]) -> None:
        if not swaps:
            return
        names = [swap.name for swap in swaps]
        size = sum([len(swap.old) for swap in swaps])
        self._tally.add(Outcome.ROTATED, count=len(swaps))
        self._tally.met_many(key.id, len(swaps), size, self._now, rotated=True, names=names)
        self.rewritten.update(names)

    def _answered(self, swap: Swap, key: Key, answer: Answer | Refusal, this: Round) -> None:
        """Take note of an answer that is not `Answer.DONE`."""
        name, size = swap.name, len(swap.old)
        if answer is Answer.GONE:
            self._tally.add(Outcome.GONE)
            self._tally.met(key.id, size, self._now)
        elif answer is Answer.CHANGED:
            this.again.append(name)
        elif answer is Answer.DENIED:
            self._left.append(Left(name, Outcome.DENIED, (key,), size, this.store))
        elif isinstance(answer, Refusal) and not self._put_off(name, answer, this):
            left = Left(name, Outcome.FAILED, (key,), size, this.store, answer.message)
            self._left.append(left)

    def _refused(self, name: bytes, refusal: Refusal, this: Round) -> None:
        if not self._put_off(name, refusal, this):
            self._tally.add(Outcome.FAILED)
            self._note(name, Outcome.FAILED)
            self._problem(name, Outcome.FAILED, detail=refusal.message)

    def _put_off(self, name: bytes, refusal: Refusal, this: Round) -> bool:
        """Whether another round may help: a little later, or at another node."""
        self.misled |= refusal.meaning is Meaning.TOPOLOGY
        if refusal.meaning is Meaning.RETRY:
            this.again.append(name)
        elif refusal.message.startswith("ASK ") or (
            # With ASKING before it there is no second chance: the slot is not on its way here.
            refusal.message.startswith("MOVED ") and name not in self._moved
        ):
            this.moved[name] = refusal
            self._moved |= {name} if refusal.message.startswith("MOVED ") else set()
        else:
            return False
        this.refused[name] = refusal
        return True

    def _undecryptable(self, name: bytes, value: bytes, reason: Reason) -> None:
        self._note(name, Outcome.UNDECRYPTABLE)
        if self._wants_sample(Outcome.UNDECRYPTABLE):
            others = (other for other in self._page if other != name)
            reason = self._codec.explain(name, value, reason, others)
            self._problem(name, Outcome.UNDECRYPTABLE, reason, f"{len(value)} bytes")
        self._tally.add(Outcome.UNDECRYPTABLE, reason=reason)

    def _give_up(self, last: Round) -> None:
        """Tally what was not settled after the last try."""
        known = {
            swap.name: ((key,), len(swap.old))
            for swap, key in zip(last.swaps, last.keys, strict=True)
        }
        for name in (*last.again, *last.moved):
            refusal = last.refused.get(name)
            outcome = Outcome.FAILED if refusal else Outcome.CONTENDED
            detail = refusal.message if refusal else f"changed at each of {TRIES} tries"
            if name in known:
                self._left.append(Left(name, outcome, *known[name], last.store, detail))
            else:
                self._tally.add(outcome)
                self._note(name, outcome)
                self._problem(name, outcome, detail=detail)

    def _settle(self) -> None:
        """Tally what stays as it is, now with its expiry: that decides when its keys drain."""
        places: dict[Store, list[Left]] = {}
        for left in self._left:
            places.setdefault(left.store, []).append(left)
        for store, here in places.items():
            expiries = store.expiries([left.name for left in here])
            for left, expires_at in zip(here, expiries, strict=True):
                self._stays(left, expires_at)

    def _stays(self, left: Left, expires_at: int | None) -> None:
        if expires_at == GONE:
            self._tally.add(Outcome.GONE)
            for key in left.keys:
                self._tally.met(key.id, left.size, self._now)
            return
        self._tally.add(left.outcome)
        for key in left.keys:
            self._tally.stays(
                key.id,
                left.size,
                self._now,
                left.name,
                expires_at,
                too_large=left.outcome is Outcome.TOO_LARGE,
            )
        self._note(left.name, tuple(key.id for key in left.keys))
        if left.outcome is not Outcome.WOULD_ROTATE:
            self._problem(left.name, left.outcome, detail=left.detail)

    def _wants_sample(self, outcome: Outcome) -> bool:
        return self._whole.wants_sample(outcome) and self._tally.wants_sample(outcome)

    def _note(self, name: bytes, mark: _Mark) -> None:
        if len(self._noted) < NOTED:
            self._noted[self._store.connection.db, name] = mark

    def _problem(self, name: bytes, outcome: Outcome, reason: str = "", detail: str = "") -> None:
        self._tally.problem(Problem(name, self._store.node, outcome, reason, detail))
