"""
The names of a page in, one end each out: what a task picks is acted on.

For every name: read the value, have the task judge it, act on it if the task says so. What changed
meanwhile is read again and judged anew, at most `TRIES` times. Where the server is busy with
something else it is waited for; if that does not help, the page ends with an error: it is the
server that cannot be worked with, not the name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.server.context import Access
from rotator.server.replies import RETRY_SECONDS, Meaning, Refusal
from rotator.server.store import Answer, Store, Unread, Value
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
    Judged,
    Trouble,
)

_PAUSES = (0.0, 0.01, 0.05, 0.2, 0.5)  # seconds before each try
TRIES: Final = len(_PAUSES)

Entry = tuple[bytes, bytes]
"""A name, and the value that was read there."""
Act = Callable[[Sequence[Entry]], list[Answer | Refusal]]
"""Acts on entries whose values still are what was read; the answers are in their order."""


class Task(Protocol):
    """What a walk is for."""

    def judge(self, name: bytes, value: bytes, page: Sequence[bytes]) -> Judged:
        """What to make of *value*, stored as *name*, among the other names of its page."""

    def actor(self, store: Store) -> Act:
        """How to act on values of one node."""


class Picker:
    """
    Brings every name of a page to its end, counted in *count*; without *acts* it only looks.

    *heaviest* is the size of the largest value of the last page, in bytes.
    """

    def __init__(
        self, store: Store, access: Access, task: Task, count: Count, *, acts: bool
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
        self._busy: Refusal | None = None
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
            self._trouble(name, CONTENDED, f"changed at each of {TRIES} tries")
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
            picked: list[tuple[Entry, Judged]] = []
            for name, value in zip(names, store.read(names), strict=True):
                judged = self._judge(name, value, store, again)
                if judged is not None and isinstance(value, bytes):
                    picked.append(((name, value), judged))
            if picked:
                self._act(store, picked, again)
        return again

    def _judge(
        self, name: bytes, value: Value, store: Store, again: dict[bytes, Store]
    ) -> Judged | None:
        """What the task says of a value that is to be acted on now; else its visit ends here."""
        if isinstance(value, Refusal):
            self._refused(name, value, store, again)
            return None
        if isinstance(value, Unread):
            if value is Unread.DENIED:
                self._trouble(name, DENIED, "the user may not read it")
            else:
                self._count.end(Judged(GONE if value is Unread.GONE else NOT_STRING))
            return None
        self.heaviest = max(self.heaviest, len(value))
        judged = self._task.judge(name, value, self._page)
        if judged.end == PICKED:
            if name not in self._touched:
                self._count.picked(name, len(value))
            if self._acts:
                return judged
        if name in self._touched and judged.end != PICKED:
            judged = Judged(CHANGED)
        trouble = Trouble(name, self._store.node, judged.end, judged.detail)
        self._count.end(judged, trouble if judged.problem else None)
        return None

    def _act(
        self, store: Store, picked: Sequence[tuple[Entry, Judged]], again: dict[bytes, Store]
    ) -> None:
        """Act on what was picked, and count what became of it."""
        answers = self._actors[store]([entry for entry, _ in picked])
        for ((name, _), judged), answer in zip(picked, answers, strict=True):
            self._touched.add(name)
            if answer is Answer.DONE:
                self._done += 1
                self._count.end(Judged(DONE, judged.detail))
            elif answer is Answer.GONE:
                self._count.end(Judged(GONE))
            elif answer is Answer.CHANGED:
                again[name] = store
            elif answer is Answer.DENIED:
                self._trouble(name, DENIED, "the user may not write it")
            else:
                self._refused(name, answer, store, again)

    def _refused(
        self, name: bytes, refusal: Refusal, store: Store, again: dict[bytes, Store]
    ) -> None:
        """Try a name again a little later, or where the server says; else it failed."""
        moved = refusal.message.startswith("MOVED ")
        if refusal.meaning is Meaning.RETRY:
            self._busy = refusal
            again[name] = store
        elif refusal.message.startswith("ASK ") or (moved and name not in self._moved):
            # With ASKING before it there is no second chance: the slot is not on its way here.
            self._moved |= {name} if moved else set()
            again[name] = self._elsewhere(refusal)
        else:
            self._trouble(name, FAILED, refusal.message)

    def _elsewhere(self, refusal: Refusal) -> Store:
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
        self._count.end(Judged(end), Trouble(name, self._store.node, end, detail))
