"""
What was written during a scan, looked at again.

SCAN promises names, not values: what RENAME, COPY, RESTORE or MOVE puts under a name that the scan
has passed is never returned (redis-rules 0.5). But the server reports every name that is written.
So a value that exists at the end was either left alone since before the first page, and SCAN
returned it, or its name was reported, and it is read again here (redis-rules 1.6).

- Names are read again after each page, so that memory stays flat however much is written. Only
  *suspects* are kept: names that then hold something else than a value under the current key.
- At the end suspects are visited like any name, but for those that the scan has tallied already as
  what they are now.
- A value that is renamed while its name is read again would slip through, so the end is repeated
  until no command that moves values came in between.

Limits: a lost connection, too many suspects or a missing right end the watch. Then only the command
counters tell whether something was moved, and the report names the method `scan`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rotator.glob import matcher, prefixes
from rotator.server.store import Store
from rotator.sweep.node.page import NOTED
from rotator.sweep.node.visitor import Visitor
from rotator.sweep.scope import Scope
from rotator.tally.tally import Tally

_ROUNDS = 20
_ROUND_SECONDS = 0.05
_READ = 200  # names read again at a time


class Watch:
    """
    Watches one node from now on.

    *whole* is whether every name that was written since then has been, or can still be, looked at.
    """

    def __init__(self, store: Store, scope: Scope) -> None:
        self._store = store
        self._matches = matcher(scope.match).fullmatch
        self._suspects: set[tuple[int, bytes]] = set()
        self._own: list[set[bytes]] = [set(), set()]
        self.whole = store.connection.track(prefixes(scope.match))

    def lose(self) -> None:
        """The connection was lost, and with it what was reported on it."""
        self.whole = False

    def look(self, visitor: Visitor, databases: Sequence[int]) -> None:
        """Read again what was written meanwhile, in every one of *databases*: no report has one."""
        # Our own writes are reported too, with this page's replies or the next page's.
        self._own = [self._own[1], set(visitor.rewritten)]
        written = set(self._store.connection.written()) - self._own[0] - self._own[1]
        names = [name for name in written if self.whole and self._matches(name)]
        for db in databases if names else ():
            self._store.select(db)
            for start in range(0, len(names), _READ):
                found = visitor.suspects(names[start : start + _READ])
                self._suspects.update((db, name) for name in found)
        if len(self._suspects) > NOTED:
            self.whole = False

    def finish(self, visitor: Visitor, databases: Sequence[int], tally: Tally) -> None:
        """Look at everything that was written until now, and visit what is suspect."""
        for _ in range(_ROUNDS if self.whole else 0):
            before = self._store.identity().calls
            self._store.connection.barrier()
            self.look(visitor, databases)
            for db in databases:
                self._store.select(db)
                names = sorted(name for at, name in self._suspects if at == db)
                # The scan may have come to some of them since.
                visitor.visit(visitor.suspects(names), tally)
            self._suspects.clear()
            if self._store.identity().calls == before:
                return
            time.sleep(_ROUND_SECONDS)
        self.whole = False
