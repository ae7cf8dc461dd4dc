"""
Planner: says how each node is swept: as work or as proof, in one go or in parts.

A sample of values decides. Where one is under a key that is to be moved, the sweep is work: it
proves nothing anyway, so its names may be divided among workers, and writes need not be tracked,
which costs the server as much as the writes. Where none is, the sweep begins as the proof.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from rotator.config.types import Address
from rotator.crypto.codec import Codec, Opened, Reason
from rotator.errors import ServerError
from rotator.server.cluster_nodes import myself
from rotator.server.context import CacheContext
from rotator.server.exchange import way_besides, way_of_fields
from rotator.server.hash_fields import start_exchange
from rotator.server.replies import SetResult
from rotator.server.scripts import Replacement
from rotator.server.store import START, Store
from rotator.server.topology import Topology
from rotator.state.state import State
from rotator.sweep.division import MOST, NodePlan, Nodes, divide
from rotator.sweep.engine import RemoteWorkers
from rotator.sweep.node.field_reader import FieldReader, entries
from rotator.sweep.node.proof import databases_with_names
from rotator.sweep.node.scan import NextPage, PageReader
from rotator.sweep.node.selector import Rotation
from rotator.sweep.results import Checkpoint
from rotator.sweep.scope import Limits, RunOptions, Scope
from rotator.tally.tally import Mode

_PAGE = 20  # names to ask for, and to look at: they may be large
_PAGES = 20  # so often, where few names match
_SAMPLE = 400  # names, where more than a hint is wanted
_NAMES_A_LANE = 250_000  # to start one process more pays from so many on

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan: holds how each of *nodes* is swept, by so many *workers*, each with its *limits*."""

    nodes: Nodes
    workers: int
    limits: Limits

    def node(self, address: Address, restarts: int) -> NodePlan:
        """Return how a node is swept whose scan was begun again so often; a new one as a whole."""
        return self.nodes.get(address, NodePlan())._replace(restarts=restarts)


@dataclass(frozen=True, slots=True)
class Planner:
    """Planner: plans the sweeps of one cache, by *machines*, if there are any, or this one."""

    access: CacheContext
    options: RunOptions
    state: State
    machines: RemoteWorkers | None = field(default=None)

    def plan(self, topology: Topology, scope: Scope) -> Plan:
        """Return the plan for a sweep."""
        nodes = {address: NodePlan() for address in topology.primaries}
        codec = self.access.codec
        if codec is not None and scope.mode is Mode.RUN and not scope.tracks:
            lanes = max(self._workers(len(nodes) * MOST) // len(nodes), 1)
            for address in nodes:
                # What is the matter with a node whoever sweeps it will say, or wait for.
                with suppress(ServerError), self.access.connect(address) as store:
                    store.enable_no_touch()
                    nodes[address] = self._plan_node(address, store, codec, scope, lanes)
        if (done := self._done_before(nodes, topology, scope)) and not self.options.fresh:
            said = f"goes on at {done:,} of about {topology.names:,} names"
            log.info(said, cache=self.access.cache.name)
        parts = [len(plan.parts) for plan in nodes.values()]
        workers = self._workers(sum(parts))
        limits = self.options.limits.share(workers, min(max(parts), workers))
        return Plan(nodes, workers, limits)

    def _done_before(self, nodes: Nodes, topology: Topology, scope: Scope) -> int:
        """Return how many names earlier runs have visited, of positions that still hold."""
        name, mode, done, codec = self.access.cache.name, self.options.mode, 0, self.access.codec
        if codec is None or scope.mode is not mode:
            return 0
        for address, place in [(a, p.place(a)) for a, plan in nodes.items() for p in plan.parts]:
            saved = self.state.load_position(name, mode, place)
            position = Checkpoint.from_dict(saved) if saved else None
            if position and position.digest == scope.digest(codec.digest):
                same = not position.identity.changes(topology.identities[address])
                done += position.tally.visits if same else 0
        return done

    def _workers(self, tasks: int) -> int:
        """Return how many workers there are for so many tasks; each gets its share of a rate."""
        if self.machines is None:
            return min(tasks, self.options.workers or os.cpu_count() or 1)
        # Workers may come at any time; but a rate is shared among those that are there.
        come = self.machines.count() if self.options.limits.rate else tasks
        return min(tasks, self.options.workers or come)

    def _plan_node(
        self, address: Address, store: Store, codec: Codec, scope: Scope, lanes: int
    ) -> NodePlan:
        """Return how one node is swept, by *lanes* at most; positions are gone on from as saved."""
        slots = myself(store.members()).slots if store.cluster_enabled() else ()
        info = store.info("server", "cluster")
        for count in (1, *range(MOST, 1, -1)):
            parts = divide(info, count, slots)
            if any(self._saved(part.place(address)) for part in parts):
                return NodePlan(works=True, parts=parts)
        if not meets_old_keys(store, codec, scope):
            return NodePlan()
        if not self.options.workers:
            lanes = min(lanes, sum(store.databases().values()) // _NAMES_A_LANE)
        return NodePlan(works=True, parts=divide(info, max(lanes, 1), slots))

    def _saved(self, place: str) -> bool:
        """Return whether an earlier run left a position there that this one goes on from."""
        name, mode = self.access.cache.name, self.options.mode
        return not self.options.fresh and self.state.load_position(name, mode, place) is not None


def meets_old_keys(store: Store, codec: Codec, scope: Scope) -> bool:
    """
    Return whether one of the first values of a scan is under a key that is to be moved.

    Raises:
        ServerError: The node does not answer.
    """
    movable = Rotation(codec, writes=True, only_key=scope.only_key).movable
    found = (found for _, _, found in first_values(store, codec, scope, _PAGE // 2))
    return any(
        codec.needs_rewrite(one) and one.key in movable for one in found if isinstance(one, Opened)
    )


def first_values(
    store: Store, codec: Codec, scope: Scope, names: int = _SAMPLE
) -> Iterator[tuple[bytes, bytes, Opened | Reason]]:
    """
    Yield the values of the first *names* of each scan, or a few more: name, value, what opens it.

    Raises:
        ServerError: The node does not answer.
    """
    for reader in _readers(store, scope):
        seen = 0
        for _ in range(max(_PAGES, names // _PAGE)):
            page = reader.take()
            yield from _values(store, page, codec, scope, []) if page else ()
            seen += len(page.names) if page else _PAGE
            if seen >= names:
                break


def write_one_anew(store: Store, codec: Codec, scope: Scope) -> bool:
    """
    Encrypt one current value anew, its TTL kept; False if none was found.

    Raises:
        ServerError: The node does not answer, or may not be written to.
    """
    store.way = way_besides(store, scope.match[0])
    store.field_way = way_of_fields(store, scope.match[0]) if scope.fields else store.way
    for reader in _readers(store, scope):
        while page := reader.take():
            for name, value, opened in _values(store, page, codec, scope):
                if isinstance(opened, Reason) or codec.needs_rewrite(opened) or opened.inner:
                    continue
                if opened.format.name in codec.forbidden:
                    continue
                swap = Replacement(name, value, codec.rewrite(name, opened))
                if start_exchange(store, [swap])() == [SetResult.DONE]:
                    return True
    return False


def _readers(store: Store, scope: Scope) -> Iterator[PageReader]:
    """Yield what reads each of the scans of *scope*."""
    for db, pattern in scope.scans(databases_with_names(store)):
        yield PageReader(store, db, pattern, START, lambda: _PAGE, scope.inside(db))


def _values(
    store: Store, page: NextPage, codec: Codec, scope: Scope, large: list[bytes] | None = None
) -> Iterator[tuple[bytes, bytes, Opened | Reason]]:
    """Yield the values of a page, each with its name and what opens it; *large* hashes go there."""
    fields = FieldReader.of(scope.fields)
    for names, values in entries(fields, store, page.names, page.values(), large):
        for name, value in zip(names, values, strict=True):
            if isinstance(value, bytes):
                yield name, value, codec.open(name, value)
