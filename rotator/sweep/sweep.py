"""
Sweep: visits every node of a cache, and proves coverage.

A node's own scan proves that it saw every name of that node. The ledger proves that the nodes
together were the whole cache: when all are done, the topology is asked again, and a node that is
new, or no longer what it was when its scan began, is scanned once more.
"""

import time
from collections.abc import Callable

import structlog

from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.retirement.looks import NODE_LOCAL_COMMANDS
from rotator.server.cluster_nodes import ranges
from rotator.server.topology import Topology
from rotator.sweep.control import SweepControl
from rotator.sweep.division import NodePlan
from rotator.sweep.engine import Engine
from rotator.sweep.results import NodeResult, SweepResult
from rotator.sweep.scope import RESTARTS, Scope
from rotator.tally.tally import Outcome
from rotator.text import count, utc_now

log = structlog.get_logger(__name__)


def sweep_cache(
    discover: Callable[[], Topology],
    engine: Engine,
    scope: Scope,
    control: SweepControl,
    plan: Callable[[Address, int], NodePlan] = lambda _, restarts: NodePlan(restarts),
) -> SweepResult:
    """
    Sweep until every node that owns data has one whole scan behind it, or cannot have one.

    *discover* finds the topology as it is now; *plan* says how a node is swept, told how often its
    scan was begun again already.

    Raises:
        ServerError: The topology cannot be found out at all.
    """
    now, begun = utc_now(), time.monotonic()
    result = SweepResult(scope, now, now, now, discover())
    pending = dict.fromkeys(result.topology.primaries, 0)
    sizes = result.topology.names_of
    control.begin_nodes({str(one): sizes.get(one, 0) for one in result.topology.primaries})
    while pending and result.stopped is None:
        nodes = {address: plan(address, restarts) for address, restarts in pending.items()}
        for address, node in engine.sweep(nodes, scope, control):
            _put(result, address, node)
            if node.complete:
                control.end_node(node.node)
        if result.stopped is None:
            pending = _look_again(result, discover)
    known = {str(address) for address in result.topology.primaries}
    for node in result.nodes if not result.topology.problems else ():  # else nobody can tell
        if node.node not in known:
            node.reasons += ("it owns no data any more",)
    result.not_looked_at += _gaps(result)
    if result.not_looked_at:
        # A cluster that is given no time to settle is not at fault for what is missing.
        result.cut_short = control.stop()
    result.started_at = min([now, *(node.started_at for node in result.nodes)])
    result.finished_at = utc_now()
    result.seconds = time.monotonic() - begun
    return result


def _look_again(result: SweepResult, discover: Callable[[], Topology]) -> dict[Address, int]:
    """
    Return the nodes to scan (again): the topology is no longer what their scans saw.

    Each comes with how often its scan will then have been begun again.
    """
    before = result.topology
    try:
        now = result.topology = discover()
    except ServerError as error:
        result.not_looked_at.append(f"the topology could not be checked at the end: {error}")
        return {}
    result.topology_changed |= set(now.primaries) != set(before.primaries)
    result.topology_changed |= now.slots != before.slots
    again: dict[Address, int] = {}
    for address, identity in now.identities.items():
        node = result.node(address)
        if node is None:
            again[address] = 0
            continue
        changes = node.identity.changes(identity, NODE_LOCAL_COMMANDS) if node.identity else []
        result.topology_changed |= bool(changes)
        if node.complete and changes:
            node.complete = False
            node.reasons += tuple(changes)
        if not node.complete and not node.hopeless and node.restarts < RESTARTS:
            again[address] = node.restarts + 1
    if again:
        log.warning("nodes are swept again", nodes=[str(address) for address in again])
    return again


def _put(result: SweepResult, address: Address, new: NodeResult) -> None:
    """Put *new* in the place of an earlier scan of the node; what that one rotated stays."""
    old = result.node(address)
    if old is not None:
        result.nodes.remove(old)
        # One that went on where the earlier one ended has its sums already.
        if new.started_at != old.started_at:
            new.tally.merge(old.tally.only_rotated())
    result.nodes.append(new)
    log.info(
        "node swept" if new.complete else "node swept in part",
        node=new.node,
        complete=new.complete,
        visits=new.tally.visits,
        rotated=new.tally.outcomes[Outcome.ROTATED],
        **{"left" if new.complete else "left_at_least": new.tally.remaining},
        exchange=", ".join(new.exchange),
        lanes=new.lanes,
        seconds=round(new.seconds, 1),
        **({} if new.complete else {"why": new.stopped or "; ".join(new.reasons)}),
    )


def _gaps(result: SweepResult) -> list[str]:
    """Return what the sweep cannot vouch for, a sentence each."""
    if result.stopped is not None:
        return []
    gaps = [*result.topology.problems, *result.topology.moves]
    for address in result.topology.primaries:
        node = result.node(address)
        if node is not None and not node.complete:
            slots = result.topology.slots.get(address)
            where = f"{address} (slots {ranges(slots)})" if slots else str(address)
            gaps.append(f"{where} was not swept to the end: {'; '.join(node.reasons)}")
        if node is not None and node.orphans:
            gaps.append(
                f"{address} holds {count(node.orphans, 'name')} of slots that it does not own, "
                "left by a move that was broken off: no client can read them, and they may come"
                " back; finish the move (first `MIGRATE` what the owner still has of these slots,"
                " or it is lost; then `CLUSTER SETSLOT <slot> NODE <id>` on both nodes), or delete"
                " the names there"
            )
    return gaps
