"""
A walk over every name of a cache, to delete or replace the values that a task picks.

It covers what a sweep covers: every database of every primary, slots that are just being moved
included. Who a node is, and what has moved data in it, is compared before and after its walk; a
difference has it walked again (`sweep` keeps that ledger). What a walk finds is no evidence for a
verdict: it does not read again what was renamed meanwhile. `rotator run` does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime

from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.server.cluster_nodes import foreign_slots, myself
from rotator.server.context import CacheContext
from rotator.server.store import Store
from rotator.sweep.control import Control, Stop
from rotator.sweep.node.throttle import Reason
from rotator.sweep.node.visitor import Picker, Selector
from rotator.sweep.results import NodeResult
from rotator.sweep.scope import Scope
from rotator.tally.tally import Count, Outcome, Tally

_PAGE_BYTES = 1 << 20  # at most, as far as the last pages tell: all of a page is in memory


_SLICE_SECONDS = 0.05  # how soon a wish to stop is heard while waiting


class WalkEngine:
    """
    Walks one node after the other in this process: an `engine.Engine` for `sweep.Sweep`.

    With *acts* False nothing is written. *counts* holds what was met at each node, by address.
    """

    def __init__(self, access: CacheContext, task: Selector, *, acts: bool) -> None:
        self.counts: dict[Address, Count] = {}
        self._access = access
        self._task = task
        self._acts = acts

    def sweep(
        self, nodes: Mapping[Address, int], scope: Scope, control: Control
    ) -> Iterator[tuple[Address, NodeResult]]:
        """See `engine.Engine`."""
        for address, restarts in nodes.items():
            before = self.counts.get(address)
            count = self.counts[address] = Count() if before is None else before.only_rotated()
            walk = _NodeWalk(address, self._access, self._task, scope, control, count)
            yield address, walk.run(acts=self._acts, restarts=restarts)

    def total(self, owners: Sequence[Address]) -> Count:
        """The sums; of nodes that are not among *owners*, only what was done there."""
        total = Count()
        for address, count in self.counts.items():
            total.merge(count if address in owners else count.only_rotated())
        return total


class _NodeWalk:
    """The walk over one node, counted in *count*."""

    def __init__(  # noqa: PLR0917 - one caller, which has all of them at hand
        self,
        address: Address,
        access: CacheContext,
        task: Selector,
        scope: Scope,
        control: Control,
        count: Count,
    ) -> None:
        self._address = address
        self._access = access
        self._task = task
        self._scope = scope
        self._control = control
        self._count = count

    def run(self, *, acts: bool, restarts: int) -> NodeResult:
        """Walk to the end, to a stop, or until it cannot be gone on with."""
        result = NodeResult(str(self._address), datetime.now(UTC), Tally(), complete=False)
        result.restarts = restarts
        begun = time.monotonic()
        try:
            store = self._access.connect(self._address)
            with store.connection:
                self._walk(store, acts, result)
        except ServerError as error:
            result.reasons = (*result.reasons, str(error))
        # What these visits came to is counted here, not in the words of a sweep.
        result.tally.add(Outcome.CURRENT, count=self._count.visits)
        result.seconds = time.monotonic() - begun
        return result

    def _walk(self, store: Store, acts: bool, result: NodeResult) -> None:
        result.no_touch = store.enable_no_touch()
        identity = result.identity = store.identity()
        rounds = self._scope.scans(sorted(store.databases()))
        result.databases = tuple(sorted({db for db, _ in rounds}))
        picker = Picker(store, self._access, self._task, self._count, acts=acts)
        with closing(picker):
            result.stopped = self._scan(store, picker, rounds)
        if result.stopped:
            return
        result.orphans = _orphans(store, result.databases)
        now = result.identity = store.identity()
        changes = identity.changes(now)
        appeared = {db for db, _ in self._scope.scans(list(store.databases()))}
        changes += [f"database {db} appeared" for db in sorted(appeared - set(result.databases))]
        if identity.role != "master":
            changes.append("it is a replica")
        result.reasons, result.complete = tuple(changes), not changes

    def _scan(
        self, store: Store, picker: Picker, rounds: Sequence[tuple[int, str | None]]
    ) -> Stop | None:
        """Visit every page of *rounds*; the reason to stop before the end, if there was one."""
        pace = _Pace(self._scope.limits.rate, str(self._address), self._control)
        heavy = 1
        for db, pattern in rounds:
            cursor = None
            while cursor != 0:
                if stop := self._control.stop():
                    return stop
                store.select(db)
                page = max(1, min(self._scope.page, _PAGE_BYTES // heavy))
                cursor, names = store.page(cursor or 0, pattern, page)
                done = picker.visit(names)
                heavy = max(picker.heaviest, heavy // 2, 1)
                self._control.page_done(str(self._address), len(names), done, 0)
                pace.rest(len(names))
        return None


class _Pace:
    """So many visits a second on *node*, at most."""

    def __init__(self, rate: float | None, node: str, control: Control) -> None:
        self._rate = rate
        self._node = node
        self._control = control
        self._begun_at = time.monotonic()
        self._visits = 0

    def rest(self, visits: int) -> None:
        """Wait after a page with *visits* until the next one is due."""
        self._visits += visits
        if not self._rate:
            return
        due = self._begun_at + self._visits / self._rate
        self._control.wait(self._node, Reason.RATE)
        while (left := due - time.monotonic()) > 0 and not self._control.stop():
            time.sleep(min(left, _SLICE_SECONDS))
        self._control.wait(self._node, None)


def _orphans(store: Store, databases: Sequence[int]) -> int:
    """How many names are in slots that the node does not own: no client can read them."""
    if not store.clustered:
        return 0
    own = myself(store.members())
    number = 0
    for db in sorted({0, *databases}):
        store.select(db)
        number += store.names_in_slots(foreign_slots(own))
    return number
