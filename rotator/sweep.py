"""
A sweep of every node of a cache, and the ledger of what it covers.

A node's own scan proves that it saw every name of that node. The ledger proves that the nodes
together were the whole cache: when all are done, the topology is asked again, and a node that is
new, or no longer what it was when its scan began, is scanned once more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rotator.address import Address
from rotator.control import Control, Stop
from rotator.engine import Engine
from rotator.errors import ServerError
from rotator.scope import Scope
from rotator.tally import Tally
from rotator.topology import Topology
from rotator.worker import RESTARTS, NodeResult


@dataclass(slots=True)
class SweepResult:
    """
    What a sweep came to.

    *complete* says that every name of the cache was visited; else *stopped* says why it ended, or
    *not_looked_at* what it cannot vouch for, in sentences. *begun_at* is when this run began it,
    *started_at* when an earlier run did, if this one went on from there.
    """

    scope: Scope
    begun_at: datetime
    started_at: datetime
    finished_at: datetime
    topology: Topology
    nodes: list[NodeResult] = field(default_factory=list)
    topology_changed: bool = False
    not_looked_at: list[str] = field(default_factory=list)

    @property
    def tally(self) -> Tally:
        """The sums over all nodes."""
        merged = Tally()
        for node in self.nodes:
            merged.merge(node.tally)
        return merged

    @property
    def stopped(self) -> Stop | None:
        """Why the sweep was stopped, or None if it was not."""
        return next((node.stopped for node in self.nodes if node.stopped), None)

    @property
    def complete(self) -> bool:
        """Whether every name was visited."""
        return not self.not_looked_at and self.stopped is None


class Sweep:
    """
    Runs the sweep of one cache.

    *discover* asks for the topology as it is now, *engine* sweeps nodes.
    """

    def __init__(
        self, discover: Callable[[], Topology], engine: Engine, scope: Scope, control: Control
    ) -> None:
        self._discover = discover
        self._engine = engine
        self._scope = scope
        self._control = control

    def run(self) -> SweepResult:
        """
        Sweep until every node that owns data has one whole scan behind it, or cannot have one.

        Raises:
            ServerError: The topology cannot be found out at all.
        """
        now = datetime.now(UTC)
        result = SweepResult(self._scope, now, now, now, self._discover())
        pending = result.topology.primaries
        while pending and result.stopped is None:
            for address, node in self._engine.sweep(pending, self._scope, self._control):
                self._replace(result, address, node)
            if result.stopped is None:
                pending = self._look_again(result)
        result.not_looked_at += _gaps(result)
        result.started_at = min([now, *(node.started_at for node in result.nodes)])
        result.finished_at = datetime.now(UTC)
        return result

    def _replace(self, result: SweepResult, address: Address, new: NodeResult) -> None:
        """Put *new* in the place of an earlier scan of the node; what that one rotated stays."""
        earlier = [node for node in result.nodes if node.node == str(address)]
        for node in earlier:
            new.tally.merge(node.tally.settled())
            new.restarts += node.restarts + 1
            result.nodes.remove(node)
        result.nodes.append(new)

    def _look_again(self, result: SweepResult) -> list[Address]:
        """The nodes to scan (again) because the topology is no longer what their scans saw."""
        try:
            now = self._discover()
        except ServerError as error:
            result.not_looked_at.append(f"the topology could not be checked at the end: {error}")
            return []
        if now.primaries != result.topology.primaries:
            result.topology_changed = True
        result.topology = now
        scanned = {node.node: node for node in result.nodes}
        again = []
        for address, identity in now.identities.items():
            node = scanned.get(str(address))
            if node is None:
                again.append(address)
            elif node.complete and node.identity and node.identity.changes(identity):
                result.topology_changed = True
                if node.restarts < RESTARTS:
                    again.append(address)
                else:
                    node.complete = False
                    node.reasons += tuple(node.identity.changes(identity))
        return again


def _gaps(result: SweepResult) -> list[str]:
    """What the sweep cannot vouch for, a sentence each."""
    return [
        f"{node.node} was not swept to the end: {'; '.join(node.reasons)}"
        for node in result.nodes
        if not node.complete and node.stopped is None
    ]
