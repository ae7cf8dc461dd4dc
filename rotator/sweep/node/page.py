"""
What became of the names of one page, until all of them are settled.

A page that breaks off is visited anew and must not count twice, so nothing goes into the sweep's
tally before the end. What stays under an old key is tallied last, with its expiry: that decides
when its keys drain.

Some values opened, and those to be moved re-encrypted, in one go.

What a sweep meets is nearly always a value that opens and is not nested. Those are settled here,
with little work for each. Whatever is different is left to be looked at one by one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key
from rotator.server.scripts import Replacement
from rotator.server.store import GONE, Store
from rotator.tally.tally import Outcome, Problem, Tally

NOTED = 10_000
"""How many names are remembered of those that were not under the current key in the end."""


Mark = Outcome | tuple[str, ...]
"""What became of a value, or the ids of the keys it stays under."""


Notes = MutableMapping[tuple[int, bytes], Mark]
"""
As what a name was tallied, by database, if not as current, rotated or gone: something else may have
come to the name since.
"""


@dataclass(slots=True)
class Left:
    """A value that stays under *keys*, outermost first, until its expiry is known for the tally."""

    name: bytes
    outcome: Outcome
    keys: tuple[Key, ...]
    size: int
    store: Store
    detail: str = ""


class Settlement:
    """
    The outcomes of one page, to go into *whole*; problems and *notes* are of the node of *store*.

    *rewritten* are the names that were rotated.
    """

    def __init__(self, whole: Tally, store: Store, notes: Notes) -> None:
        self.rewritten: set[bytes] = set()
        self._whole = whole
        self._store = store
        self._notes = notes
        self._tally = Tally()
        self._now = datetime.now(UTC)
        self._left: list[Left] = []

    def encrypted(self, count: int) -> None:
        """Nonces are used up, whatever becomes of the values and of the page."""
        self._whole.encryptions += count

    def current(self, key: Key, count: int, size: int) -> None:
        """So many values, of *size* bytes together, are as they should be."""
        if count:
            self._tally.add(Outcome.CURRENT, count=count)
            self._tally.count_many_moved(key.id, count, size, self._now)

    def rotated(self, key: Key, names: Sequence[bytes], size: int) -> None:
        """Values that were under *key* are under the current one."""
        if names:
            count = len(names)
            self._tally.add(Outcome.ROTATED, count=count)
            self._tally.count_many_moved(key.id, count, size, self._now, rotated=True, names=names)
            self.rewritten.update(names)

    def gone(self, size: int = 0, *keys: Key) -> None:
        """A name is not there any more; its value was met under *keys*, if it was."""
        self._tally.add(Outcome.GONE)
        for key in keys:
            self._tally.count_moved(key.id, size, self._now)

    def failed(
        self,
        name: bytes,
        outcome: Outcome,
        reason: str = "",
        detail: str = "",
        *,
        shown: bool = True,
    ) -> None:
        """A value whose key is not known did not come to a good end; *shown* as a sample."""
        self._tally.add(outcome, reason=reason)
        self._note(name, outcome)
        if shown:
            self._problem(name, outcome, reason, detail)

    def leave(self, left: Left) -> None:
        """A value stays as it is."""
        self._left.append(left)

    def wants_sample(self, outcome: Outcome) -> bool:
        """Whether one more problem of this outcome would be shown."""
        return self._whole.wants_sample(outcome) and self._tally.wants_sample(outcome)

    def close(self) -> None:
        """
        Tally what stays, and hand everything over.

        Raises:
            LostError: The connection broke.
        """
        places: dict[Store, list[Left]] = {}
        for left in self._left:
            places.setdefault(left.store, []).append(left)
        for store, here in places.items():
            expiries = store.expiries([left.name for left in here])
            for left, expires_at in zip(here, expiries, strict=True):
                self._stays(left, expires_at)
        self._whole.merge(self._tally)

    def _stays(self, left: Left, expires_at: int | None) -> None:
        if expires_at == GONE:
            self.gone(left.size, *left.keys)
            return
        self._tally.add(left.outcome)
        for key in left.keys:
            self._tally.count_remaining(
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

    def _note(self, name: bytes, mark: Mark) -> None:
        if len(self._notes) < NOTED:
            self._notes[self._store.connection.db, name] = mark

    def _problem(self, name: bytes, outcome: Outcome, reason: str = "", detail: str = "") -> None:
        self._tally.problem(Problem(name, self._store.node, outcome, reason, detail))


@dataclass(slots=True)
class Batch:
    """
    What was found.

    *current* values, of *current_size* bytes together, are as they should be. *swaps* are what is
    to be written, each value having been under the key at the same place of *keys*. The indices in
    *kept* are of values that stay under the key beside them, with their sizes, those in *rest* of
    all others.
    """

    current: int = 0
    current_size: int = 0
    swaps: list[Replacement] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    kept: list[tuple[int, Key, int]] = field(default_factory=list)
    rest: list[int] = field(default_factory=list)


def renew(
    codec: Codec,
    names: Sequence[bytes],
    values: Sequence[Any],
    movable: Collection[Key],
    largest: int,
) -> Batch:
    """
    Open *values*, stored as *names*, and re-encrypt those under one of the keys *movable*.

    What is no bytes, or more than *largest* of them, is left to be looked at.

    Raises:
        SelfCheckError: What was made does not open to the same plaintext.
    """
    batch = Batch()
    current, write = codec.keyring.current, codec.write
    likely, plain, inside = codec.fast_path, codec.is_plain_text, codec.nested_keys
    # Asked for at once: a call to the operating system costs as much as half an encryption.
    nonces = os.urandom(len(names) * codec.nonce_size) if movable else b""
    used = 0
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        read = likely.get(value[:1]) if isinstance(value, bytes) else None
        found = read(name, value) if read is not None else None
        if read is not None and not isinstance(found, tuple):
            found = codec.read(name, value)
        if not isinstance(found, tuple):
            batch.rest.append(index)
            continue
        plaintext, key, reader = found
        if (
            (not plain(plaintext) and inside(name, plaintext))
            or (write is not None and write is not reader.format)
            or not reader.is_canonical(value)
            or len(value) > largest
        ):
            batch.rest.append(index)
        elif key is current:
            batch.current += 1
            batch.current_size += len(value)
        elif key in movable:
            end = used + reader.nonce_size
            new = reader.seal(name, plaintext, nonces[used:end])
            used = end
            batch.swaps.append(Replacement(name, value, new, reader.unique_prefix))
            batch.keys.append(key)
        else:
            batch.kept.append((index, key, len(value)))
    return batch
