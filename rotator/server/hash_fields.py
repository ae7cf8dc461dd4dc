"""
Hash fields: reads, exchanges and deletes values that are fields of hashes; keeps their TTLs.

- What names a field is a `FieldName`, which is the name of its hash besides. The functions here
  take names of both kinds, and leave what has no field to the store.
- A field is compared as a whole, by a script or in a transaction: no command does it alone.
- HSET takes the TTL of a field away (redis-rules 7): it is read and set again in the same script or
  transaction; whether there are such TTLs a server says itself. A field that is gone stays gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from redis.exceptions import ResponseError

from rotator.crypto.layout import FieldName
from rotator.server.connection import Connection
from rotator.server.replies import (
    WRONG_TYPE,
    ErrorKind,
    ErrorReply,
    NoValue,
    Read,
    SetResult,
    answer_of,
    error_reply,
    number_of,
    scan_page,
    understood,
    values_of,
)
from rotator.server.scripts import (
    FIELD_DELETE_SCRIPT,
    FIELD_SCRIPT,
    FIELD_TTL_SCRIPT,
    FieldChange,
    Replacement,
    Way,
    call_for_fields,
)
from rotator.server.store import GONE, NEVER, Store, Value
from rotator.server.transaction import Answers, Transaction, replace
from rotator.server.wire.pending import Command, Reply

# Answers that another one explains: what was refused is why nothing was changed.
_TELLS_LITTLE: dict[SetResult | ErrorReply, int] = {SetResult.CHANGED: 1, SetResult.DONE: 2}


def split(names: Sequence[bytes]) -> list[Sequence[bytes]]:
    """Return *names* without a field and those with one, as far as there are such."""
    if not (fields := [name for name in names if type(name) is FieldName]):
        return [names]
    return [part for part in ([one for one in names if type(one) is bytes], fields) if part]


def _by_hash(names: Sequence[FieldName]) -> dict[bytes, list[FieldName]]:
    """Return fields by the names of their hashes, each once."""
    found: dict[bytes, dict[FieldName, None]] = {}
    for name in names:
        found.setdefault(bytes(name), {})[name] = None
    return {name: list(fields) for name, fields in found.items()}


def held(
    store: Store, hashes: Sequence[bytes], fields: Sequence[bytes]
) -> list[list[bytes | None] | NoValue | ErrorReply]:
    """Return the values of *fields* in each of *hashes*, or why there are none; GONE: no hash."""
    return _asked(store, [("HMGET", name, *fields) for name in hashes], values_of, len(fields))


def lengths(store: Store, hashes: Sequence[bytes]) -> list[int | NoValue | ErrorReply]:
    """Return how many fields each of *hashes* has, or why that is not told; GONE: no hash."""
    return _asked(store, [("HLEN", name) for name in hashes], number_of)


def pages(
    store: Store, at: Sequence[tuple[bytes, bytes]], count: int
) -> list[tuple[bytes, list[tuple[bytes, bytes]]] | NoValue | ErrorReply]:
    """Return a page of HSCAN, for each hash at its cursor, or why there is none; GONE: no hash."""
    commands = [("HSCAN", name, cursor, "COUNT", count) for name, cursor in at]
    return _asked(store, commands, _pairs_of)


def _asked(
    store: Store, commands: Sequence[tuple[Any, ...]], read: Callable[..., Read], *more: Any
) -> list[Read | NoValue | ErrorReply]:
    """Return what *read* makes of the replies to *commands*, or why there are none."""
    return [
        without_value(reply)
        if isinstance(reply, ResponseError)
        else understood(store.node, str(commands[0][0]), read, reply, *more)
        for reply in store.each(commands)
    ]


def _pairs_of(reply: Reply) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Read a page of HSCAN."""
    cursor, found = scan_page(reply)
    return cursor, list(zip(found[::2], found[1::2], strict=True))


def read(store: Store, names: Sequence[bytes]) -> list[Value]:
    """Return the values of *names*, in their order: all of them are of fields, or none."""
    fields = [name for name in names if type(name) is FieldName]
    if not fields:
        return store.read(names)
    hashes = _by_hash(fields)
    commands = [_reading(name, these, has_ttls=False)[0] for name, these in hashes.items()]
    values: dict[bytes, Value] = {}
    for these, reply in zip(hashes.values(), store.each(commands), strict=True):
        if isinstance(reply, ResponseError):
            values |= dict.fromkeys(these, without_value(reply))
            continue
        found = understood(store.node, "HMGET", values_of, reply, len(these))
        for name, value in zip(these, found, strict=True):
            values[name] = NoValue.GONE if value is None else value
    return [values[name] for name in names]


def has_field_ttls(store: Store, name: FieldName) -> bool:
    """Return whether fields may have TTLs at this server, tried on *name*; it is asked once."""
    if store.has_field_ttls is None:
        # One may have been renamed. The latter two lack arguments, as one that knows them says.
        asked = [("HPEXPIRETIME", name, "FIELDS", 1, name.field), ("HPTTL",), ("HPEXPIREAT",)]
        store.has_field_ttls = not all("unknown command" in str(one) for one in store.each(asked))
    return store.has_field_ttls


def expiries(store: Store, names: Sequence[bytes]) -> list[int | None]:
    """Return what `Store.expiries` does; for a field the earlier of its own and its hash's."""
    fields = [name for name in names if type(name) is FieldName]
    if not fields:
        return store.expiries(names)
    hashes = _by_hash(fields)
    whole = dict(zip(hashes, store.expiries(list(hashes)), strict=True))
    own: dict[bytes, int | None] = dict.fromkeys(fields, NEVER)
    if has_field_ttls(store, fields[0]):
        commands = [_reading(name, these, has_ttls=True)[1] for name, these in hashes.items()]
        for these, reply in zip(hashes.values(), store.each(commands), strict=True):
            refused = isinstance(reply, ResponseError)
            times = (store.node, "HPEXPIRETIME", _numbers, reply, len(these))
            own.update(zip(these, repeat(None) if refused else understood(*times), strict=False))
    others = [name for name in names if type(name) is not FieldName]
    own.update(zip(others, store.expiries(others), strict=True))
    return [_earlier(own[name], whole.get(bytes(name), NEVER)) for name in names]


def _earlier(*times: int | None) -> int | None:
    """Return the earlier of expiries; one that is not known may be any later than the other."""
    if GONE in times:
        return GONE
    known = [at for at in times if at not in {None, NEVER}]
    return min(known, default=None if None in times else NEVER)


def start_exchange(store: Store, swaps: Sequence[Replacement]) -> Callable[[], Answers]:
    """Begin to replace values, all of them in fields or none; see `Store.start_compare_and_set`."""
    if type(swaps[0].name) is not FieldName:
        return store.start_compare_and_set(swaps)
    fields = [swap.name for swap in swaps if isinstance(swap.name, FieldName)]
    has_ttls = has_field_ttls(store, fields[0])
    store.exchanged_fields = True
    if store.field_way is Way.TRANSACTION:
        answers = replace(_Transactions(store, has_ttls=has_ttls), swaps)
        return lambda: answers
    script = FIELD_TTL_SCRIPT if has_ttls else FIELD_SCRIPT
    return _start(store, script, [(f, s.old, s.new) for f, s in zip(fields, swaps, strict=True)])


def compare_and_delete(store: Store, entries: Sequence[tuple[bytes, bytes]]) -> Answers:
    """Delete what still is the value given with it, all in fields or none; answer in order."""
    if type(entries[0][0]) is not FieldName:
        return store.compare_and_delete(entries)
    changes = [(name, old, b"") for name, old in entries if isinstance(name, FieldName)]
    return _start(store, FIELD_DELETE_SCRIPT, changes)()


def _start(store: Store, script: bytes, changes: Sequence[FieldChange]) -> Callable[[], Answers]:
    """Have one of the scripts for fields do *changes*."""
    return store.start_calls(
        script,
        [name for name, _, _ in changes],
        [len(old) + len(new) for _, old, new in changes],
        lambda batch: call_for_fields(script, [changes[index] for index in batch]),
    )


class FieldTransaction(Transaction):
    """
    Field transaction: does the same with fields of hashes, *names*; keeps TTLs, if it *has_ttls*.

    A field that expires after it was read need not touch its hash: HSET makes it anew then, and
    HPEXPIREAT takes it away at once, because that time has passed.
    """

    __slots__ = ("_expiries", "_has_ttls", "_hashes", "_sent")

    def __init__(
        self,
        connection: Connection,
        names: Sequence[bytes],
        *,
        asking: bool = False,
        has_ttls: bool,
    ) -> None:
        self._hashes = _by_hash([name for name in names if isinstance(name, FieldName)])
        self._has_ttls = has_ttls
        self._expiries: dict[bytes, int] = {}
        self._sent: list[int] = []  # commands for each value
        super().__init__(connection, names, asking=asking)

    def reads(self) -> list[Command]:
        """Return what asks for the values, and when they expire."""
        commands: list[Command] = []
        for name, these in self._hashes.items():
            commands += _reading(name, these, has_ttls=self._has_ttls)
        return commands

    def found(self, replies: Sequence[Reply]) -> list[bytes | None] | None:
        """Return the values; None also for one whose expiry is not told."""
        values: dict[bytes, bytes | None] = dict.fromkeys(self.names)
        step = 2 if self._has_ttls else 1
        for index, these in enumerate(self._hashes.values()):
            answers = replies[index * step : (index + 1) * step]
            if any(isinstance(answer, ResponseError) for answer in answers):
                continue
            found = understood(self.node, "HMGET", values_of, answers[0], len(these))
            values.update(zip(these, found, strict=True))
            if self._has_ttls:
                times = understood(self.node, "HPEXPIRETIME", _numbers, answers[1], len(these))
                self._expiries.update(zip(these, times, strict=True))
        return [None if self._expiries.get(name) == GONE else values[name] for name in self.names]

    def writes(self, swaps: Sequence[Replacement]) -> list[Command]:
        """Return what replaces values, and sets their TTLs again."""
        commands: list[Command] = []
        for name, _, new, _ in swaps:
            called = name.field if isinstance(name, FieldName) else b""
            commands.append(("HSET", name, called, new))
            at = self._expiries.get(name, NEVER)
            if at != NEVER:
                commands.append(("HPEXPIREAT", name, at, "FIELDS", 1, called))
            self._sent.append(1 if at == NEVER else 2)
        return commands

    def written(self, replies: Sequence[Reply]) -> Answers:
        """Return what became of each command."""
        return [understood(self.node, "HSET or HPEXPIREAT", _done, reply) for reply in replies]

    def answers(self, replies: Sequence[Reply]) -> Answers:
        """Return what became of each value: done if all that was sent for it was."""
        each = iter(super().answers(replies))
        found: Answers = []
        for number in self._sent:
            said = [next(each) for _ in range(number)]
            found.append(min(said, key=lambda one: _TELLS_LITTLE.get(one, 0)))
        return found


@dataclass(frozen=True, slots=True)
class _Transactions:
    """Transactions: begin those of fields; see `Transactional`."""

    store: Store
    has_ttls: bool = field(kw_only=True)

    def begin(self, names: Sequence[bytes]) -> Transaction:
        """Begin one."""
        connection, asking = self.store.connection, self.store.asks
        return FieldTransaction(connection, names, asking=asking, has_ttls=self.has_ttls)

    def groups(self, names: Sequence[bytes], most: int) -> list[list[int]]:
        """See `Store`."""
        return self.store.groups(names, most)

    def get(self, name: bytes) -> Reply:
        """Return the value of a field, None for none, or the error that there is instead."""
        fields = [name] if isinstance(name, FieldName) else []
        replies = self.store.each(_reading(bytes(name), fields, has_ttls=self.has_ttls))
        errors = [reply for reply in replies if isinstance(reply, ResponseError)]
        return errors[0] if errors else replies[0][0]


def _reading(name: bytes, fields: Sequence[FieldName], *, has_ttls: bool) -> list[Command]:
    """Return what asks for the values of *fields*, and when they expire."""
    these = [one.field for one in fields]
    times: Command = ("HPEXPIRETIME", name, "FIELDS", len(these), *these)
    return [("HMGET", name, *these), *([times] if has_ttls else [])]


def _done(reply: Reply) -> SetResult | ErrorReply:
    """Return what HSET or HPEXPIREAT says of one field."""
    if isinstance(reply, ResponseError):
        return answer_of(reply)
    if reply not in (0, 1, [-2], [0], [1], [2]):
        raise ValueError("not one of the possible answers")
    return SetResult.DONE if reply in (0, [1]) else SetResult.GONE


def _numbers(reply: Reply, count: int) -> list[int]:
    """Read a list of *count* numbers."""
    if type(reply) is not list or [type(one) for one in reply] != [int] * count:
        raise ValueError(f"no list of {count} numbers")
    return reply


def without_value(error: ResponseError) -> NoValue | ErrorReply:
    """Return what an error says of fields: they are gone if the name is no hash any more."""
    refused = error_reply(error)
    if refused.message.startswith(WRONG_TYPE):
        return NoValue.GONE
    return NoValue.DENIED if refused.meaning is ErrorKind.DENIED else refused
