"""
Lanes: read, decide and replace groups of names on several connections, each in step by itself.

A transaction holds its connection from WATCH to EXEC. So while one lane waits for the server, the
values that another one has got are decrypted and encrypted: group by group, in turn. The first
groups of the next page are asked for before the last answers of this one are in.

A large value is done by itself, after the others of its page: it takes long to decrypt and encrypt,
and whatever is written meanwhile to a name of its group would have all of it read once more.

What cannot be watched (a name is denied, or its slot is on the move) is read over the main
connection, and comes out as changed, like what was disturbed: the visitor tries it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress

from rotator.server.scripts import Replacement
from rotator.server.store import Store, Value
from rotator.server.transaction import Answers, Transaction

CONNECTIONS = 2
"""Lanes of a process: with more of them no value is done any sooner."""

_LARGE = 1 << 20  # bytes; the throttle, too, has what is larger come one at a time


@dataclass(slots=True)
class Group:
    """
    Group: some names of a page, watched, in one transaction.

    *entries* must be asked for before `replace`, and `replace` before the next group. *later* are
    the names that it leaves out: they come alone.
    """

    transaction: Transaction
    db: int
    _main: Store
    later: list[bytes] = field(default_factory=list, init=False)

    @property
    def names(self) -> Sequence[bytes]:
        """The names, each of them there once."""
        return self.transaction.names

    def entries(self) -> tuple[Sequence[bytes], list[Value]]:
        """Return names and their values, without large ones in company."""
        names, values = self.names, self._values()
        small = [type(one) is not bytes or len(one) <= _LARGE for one in values]
        if len(names) == 1 or all(small):
            return names, values
        self.later = [name for name, fits in zip(names, small, strict=True) if not fits]
        return list(compress(names, small)), list(compress(values, small))

    def _values(self) -> list[Value]:
        """Return the values; those that MGET does not give come over the main connection."""
        found = self.transaction.values()
        if found is None:
            return self._main.read(self.names)
        values: list[Value] = list(found)  # type: ignore[arg-type]  # what is None is replaced
        if None in found:
            left = [index for index, value in enumerate(found) if value is None]
            singly = self._main.read_singly([self.names[index] for index in left])
            for index, value in zip(left, singly, strict=True):
                values[index] = value
        return values

    def replace(self, swaps: Sequence[Replacement]) -> Callable[[], Answers]:
        """Begin to replace values, and end the transaction; gives the answers."""
        if not swaps:
            self.transaction.discard()
            return list
        return self.transaction.commit(swaps)


@dataclass(slots=True)
class Lanes:
    """Lanes: hold the connections *stores* to one node, besides its *main* one."""

    main: Store
    stores: Sequence[Store]
    _begun: deque[Group] = field(default_factory=deque)
    _turn: int = 0

    def close(self) -> None:
        """Close the connections; what is watched on them is forgotten."""
        for store in self.stores:
            store.connection.close()

    def groups(self, names: Sequence[bytes], following: Sequence[bytes]) -> Iterator[Group]:
        """
        Yield groups of *names*; each must be ended by `replace` before the next is taken.

        *following* are the names of the next page: the first of them are asked for at the end.
        """
        here = self._cut(names)
        wanted, later = deque([*here, *self._cut(following)[: len(self.stores)]]), list[bytes]()
        for group in self._begun:
            if not wanted or group.names != wanted[0] or group.db != self.main.connection.db:
                self._forget()
                break
            wanted.popleft()
        for _ in here:
            while wanted and len(self._begun) < len(self.stores):
                self._begun.append(self._begin(wanted.popleft()))
            group = self._begun.popleft()
            yield group
            later += group.later
        if later:
            self._forget()  # the connections are needed; the next page begins what it wants
        for name in later:
            yield self._begin([name])
        while wanted and not later and len(self._begun) < len(self.stores):
            self._begun.append(self._begin(wanted.popleft()))

    def _begin(self, names: Sequence[bytes]) -> Group:
        """Begin a group on the connection whose turn it is."""
        store = self.stores[self._turn % len(self.stores)]
        self._turn += 1
        store.select(self.main.connection.db)
        return Group(store.begin(names), store.connection.db, self.main)

    def _forget(self) -> None:
        """End the groups that were begun and are not wanted."""
        for group in self._begun:
            group.transaction.values()
            group.transaction.discard()
        self._begun.clear()

    def _cut(self, names: Sequence[bytes]) -> list[list[bytes]]:
        """Return groups of *names*; one that is there twice is in two of them."""
        groups: list[list[bytes]] = []
        for indices in self.main.groups(names):
            group = [names[index] for index in indices]
            once = list(dict.fromkeys(group)) if len({*group}) < len(group) else group
            groups.append(once)
            if once is not group:
                groups += [[name] for name in _repeated(group)]
        return groups


def _repeated(names: Sequence[bytes]) -> list[bytes]:
    """Return every name as often as it comes again."""
    seen: set[bytes] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
