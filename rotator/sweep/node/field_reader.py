"""
Field reader: reads the fields of hashes that a page of names has, in parts that fit into memory.

HSCAN returns every field that exists from the first page to the last, and maybe others, and some of
them twice, as SCAN does names (https://redis.io/docs/latest/commands/scan/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rotator.crypto.layout import FieldName
from rotator.server.hash_fields import has_field_ttls, held, lengths, pages
from rotator.server.replies import AnswerError, ErrorReply, NoValue
from rotator.server.store import START, Store, Value

_MOST, _FIRST = 500, 10  # fields a reply; so many until their size is known
_BYTES_A_REPLY = 1 << 19
_OVER = b""  # in place of a cursor: the hash was gone through
_CALLS, _TIMES = 1_000, 20  # of HSCAN: so many, and this often what the fields take

Entries = tuple[Sequence[bytes], Sequence[Value]]
"""Names, of fields and others, and their values."""


def entries(
    fields: FieldReader | None,
    store: Store,
    names: Sequence[bytes],
    values: Sequence[Value],
    large: list[bytes] | None = None,
) -> Iterator[Entries]:
    """Yield *names* with their *values*, in the place of hashes the *fields*, if they are read."""
    if fields is None or NoValue.NOT_STRING not in values:
        yield names, values
    else:
        yield from fields.entries(store, names, values, large)


class Besides(Protocol):
    """Besides: takes an interest in fields that are not visited, as long as it *wants_fields*."""

    @property
    def wants_fields(self) -> bool:
        """True if such fields are to be shown."""

    def take_fields(self, found: Sequence[tuple[FieldName, bytes]]) -> None:
        """Look at fields with their values."""


@dataclass(slots=True)
class FieldReader:
    """
    Field reader: reads the fields of hashes, those called *wanted*; with None all of them.

    Never more than so many at a time, or so many bytes, as far as the last ones tell. *besides* is
    shown the other fields of hashes, as long as it wants any. *begin* says, by their names, where
    large hashes are begun the next time, and *reached* where they are now: cursors of HSCAN.
    """

    wanted: tuple[bytes, ...] | None
    besides: Besides | None = None
    begin: dict[bytes, bytes] = field(default_factory=dict)
    reached: dict[bytes, bytes] = field(default_factory=dict, init=False)
    _size: int | None = field(default=None, init=False)  # bytes, of a value

    @classmethod
    def of(cls, fields: Sequence[str] | None, besides: Besides | None = None) -> FieldReader | None:
        """Return what reads the *fields* of a configuration; None: hashes are not looked into."""
        if not fields:
            return None
        return cls(None if fields == "*" else tuple(name.encode() for name in fields), besides)

    @property
    def within(self) -> dict[bytes, bytes]:
        """Cursors of large hashes to go on at, if their page is read again."""
        return {**self.begin, **self.reached}

    def entries(
        self,
        store: Store,
        names: Sequence[bytes],
        values: Sequence[Value],
        large: list[bytes] | None = None,
    ) -> Iterator[Entries]:
        """
        Yield what *names* with their *values* come to, fields in the place of hashes, in parts.

        A part has fields and what has no value, or no field at all. A hash without a field to look
        at stays what it was: no string. With *large* the names of large hashes are put there.
        """
        found = list(zip(names, values, strict=True))
        plain = [(name, value) for name, value in found if value is not NoValue.NOT_STRING]
        if plain:
            yield [name for name, _ in plain], [value for _, value in plain]
        hashes = [name for name, value in found if value is NoValue.NOT_STRING]
        if hashes and self.wanted is not None:
            if self.besides is not None and self.besides.wants_fields:
                self._show_others(store, hashes, self.wanted, self.besides, large)
            yield from self._named(store, hashes, self.wanted)
        elif hashes:
            yield from self._all(store, hashes, large)

    def _named(
        self, store: Store, hashes: Sequence[bytes], wanted: Sequence[bytes]
    ) -> Iterator[Entries]:
        """Yield the fields called *wanted*; a hash that has none of them is asked for once more."""
        start, others = 0, list[bytes]()
        while start < len(hashes):
            some = hashes[start : start + max(self._most // len(wanted), 1)]
            start += len(some)
            part = _Part()
            for name, values in zip(some, held(store, some, wanted), strict=True):
                if isinstance(values, list):
                    part.add(name, zip(wanted, values, strict=True))
                else:
                    part.refuse(name, values)
            others += part.others
            self._weigh(part.values)
            if part.names:
                yield part.names, part.values
        if others and has_field_ttls(store, FieldName(others[0], wanted[0])):
            yield others, _without_expired(store, others)
        elif others:
            yield others, store.read_singly(others)

    def _show_others(
        self,
        store: Store,
        hashes: Sequence[bytes],
        wanted: Sequence[bytes],
        besides: Besides,
        large: list[bytes] | None,
    ) -> None:
        """Show fields that are not called *wanted*: what such a field holds may be a value yet."""
        for names, values in self._all(store, hashes, large):
            found = zip(names, values, strict=True)
            besides.take_fields(
                [
                    (name, value)
                    for name, value in found
                    if isinstance(name, FieldName)
                    and isinstance(value, bytes)
                    and name.field not in wanted
                ]
            )

    def _all(
        self, store: Store, hashes: Sequence[bytes], large: list[bytes] | None
    ) -> Iterator[Entries]:
        """Yield all fields, those of small hashes together, those of a large one in pages."""
        sizes: dict[bytes, int] = {}
        part = _Part()
        for name, length in zip(hashes, lengths(store, hashes), strict=True):
            if isinstance(length, int):
                sizes[name] = length
            else:
                part.refuse(name, length)
        others = part.others
        if part.names:
            yield part.names, part.values
        waiting = list(sizes)
        while waiting:
            some = [waiting.pop()]
            size = sizes[some[0]]
            while waiting and size + sizes[waiting[-1]] <= self._most:
                some.append(waiting.pop())
                size += sizes[some[-1]]
            if large is not None and size > _MOST:
                large += some
                continue
            yield from self._go_through(
                store, [_FieldScan(name, sizes[name]) for name in some], others
            )
        if others:
            yield others, store.read_singly(others)

    def _go_through(
        self, store: Store, scans: list[_FieldScan], others: list[bytes]
    ) -> Iterator[Entries]:
        """Yield the fields of some hashes, page by page; *others* are no hashes any more."""
        [first, *more] = scans
        large = not more and first.length > _MOST
        if large:
            first.cursor = self.begin.pop(first.name, START)
            first.over = first.cursor == _OVER
            self.reached[first.name] = first.cursor
        scans = [one for one in scans if not one.over]
        while scans:
            part = self._page(store, scans)
            others += part.others
            if part.names:
                yield part.names, part.values
            if large:  # only now: what was read has been dealt with
                self.reached[first.name] = _OVER if first.over else first.cursor
            scans = [one for one in scans if not one.over]

    def _page(self, store: Store, scans: Sequence[_FieldScan]) -> _Part:
        """Return the next fields of some hashes."""
        part, most = _Part(), self._most
        found = pages(store, [(scan.name, scan.cursor) for scan in scans], most)
        for scan, page in zip(scans, found, strict=True):
            if isinstance(page, tuple):
                scan.take(store.node, most, *page, part)
            else:
                scan.over = True
                part.refuse(scan.name, page)
        self._weigh(part.values)
        return part

    @property
    def _most(self) -> int:
        """So many fields are asked for at a time."""
        return _FIRST if self._size is None else min(max(_BYTES_A_REPLY // self._size, 1), _MOST)

    def _weigh(self, values: Sequence[Value]) -> None:
        """Note how large values are."""
        sizes = [len(value) for value in values if isinstance(value, bytes)]
        if sizes:
            self._size = max(sum(sizes) // len(sizes), 1)


def _without_expired(store: Store, names: Sequence[bytes]) -> list[Value]:
    """
    Return what *names* are that have no field to look at: gone, if all that they have has expired.

    Servers hold what has expired for a while, and count it (HLEN), but show it to nobody.
    """
    values = dict(zip(names, store.read_singly(names), strict=True))
    hashes = [name for name, value in values.items() if value is NoValue.NOT_STRING]
    for name, page in zip(hashes, pages(store, [(n, START) for n in hashes], 1), strict=True):
        if page == (START, []):
            values[name] = NoValue.GONE
    return [values[name] for name in names]


@dataclass(slots=True)
class _Part:
    """Part: collects names and values; *others* are names to be asked for once more."""

    names: list[bytes] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)

    def add(self, name: bytes, found: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take the fields of a hash, as pairs of names and values, None for one that is gone."""
        there = [(FieldName(name, called), value) for called, value in found if value is not None]
        self.names += [called for called, _ in there]
        self.values += [value for _, value in there]
        if not there:
            self.others.append(name)

    def refuse(self, name: bytes, value: NoValue | ErrorReply) -> None:
        """Take what came instead of a hash; what is none is asked for as what it may be."""
        if value is NoValue.GONE:
            self.others.append(name)
        else:
            self.names.append(name)
            self.values.append(value)


@dataclass(slots=True)
class _FieldScan:
    """Field scan: goes through one hash, which has about *length* fields."""

    name: bytes
    length: int
    cursor: bytes = START
    over: bool = False
    _asked: int = 0
    _calls: int = 0
    _empty: bool = True

    def take(
        self,
        node: str,
        count: int,
        cursor: bytes,
        found: Sequence[tuple[bytes, bytes]],
        part: _Part,
    ) -> None:
        """
        Take a page, of *count* fields or so, for *part*.

        Raises:
            AnswerError: The hash does not end.
        """
        self._calls += 1
        self._asked += count
        most = _CALLS + _TIMES * self.length * self._calls / self._asked
        if cursor == self.cursor != START or self._calls > most:
            raise AnswerError(f"{node}: a hash does not end: {self._calls:,} calls of HSCAN")
        self.cursor, self.over = cursor, cursor == START
        self._empty &= not found
        if found:
            part.add(self.name, found)
        elif self.over and self._empty:  # expired, or deleted, since its length was asked for
            part.names.append(self.name)
            part.values.append(NoValue.GONE)
