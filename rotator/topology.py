"""
Which nodes own the data: found from the configured addresses, asked of the nodes themselves.

One address may be a cluster's, several may be one server and its replicas; INFO tells. In a cluster
every node is asked for its view, nodes without slots included: they may be about to get some, and
RedisCluster would never visit them (redis-rules 0.2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import structlog

from rotator.address import Address
from rotator.clusternodes import SLOTS, Member, contested, myself, ranges, uncovered
from rotator.errors import ServerError
from rotator.identity import Identity
from rotator.store import Store

Connect = Callable[[Address], Store]

# How long a cluster may take to settle, a failover included: its node timeout is 15 s by default,
# and an election comes on top.
SETTLE_SECONDS = 40.0
_PAUSE_SECONDS = 0.5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Topology:
    """
    The nodes that own data, at one moment.

    *identities* of the primaries, by address; *replicas* by address; *names* is how many names the
    primaries hold, for the progress bar. *problems* says in sentences why this is not the whole
    cache; *unlisted* are primaries missing from `redis.addresses`.
    """

    mode: Literal["standalone", "cluster"]
    identities: dict[Address, Identity]
    names: int = 0
    replicas: tuple[Address, ...] = ()
    problems: tuple[str, ...] = ()
    slots_covered: int | None = None
    unlisted: tuple[Address, ...] = ()
    owned: dict[Address, str] = field(default_factory=dict)

    @property
    def primaries(self) -> list[Address]:
        """The addresses of the nodes that own data."""
        return list(self.identities)


@dataclass(slots=True)
class _View:
    """What one node said when it was asked."""

    address: Address
    identity: Identity
    names: int
    replica_of: str
    members: list[Member]


def discover(
    addresses: Sequence[Address], connect: Connect, *, patience: float = SETTLE_SECONDS
) -> Topology:
    """
    Ask every node who it is; a cluster that is just changing is given *patience* seconds to settle.

    Raises:
        ServerError: No configured address can be reached, or none of the servers is a primary.
    """
    deadline = time.monotonic() + patience
    while True:
        views, failures = _ask_all(addresses, connect)
        if any(view.members for view in views):
            topology = _cluster(views, addresses, connect)
        else:
            return _standalone(views, failures)
        unsettled = [p for p in topology.problems if "being moved" not in p]
        if not unsettled or time.monotonic() > deadline:
            return topology
        log.info("waiting for the cluster to settle", problems=list(topology.problems))
        time.sleep(_PAUSE_SECONDS)


def _ask_all(
    addresses: Sequence[Address], connect: Connect
) -> tuple[list[_View], dict[Address, ServerError]]:
    views: list[_View] = []
    failures: dict[Address, ServerError] = {}
    for address in addresses:
        try:
            views.append(_ask(address, connect))
        except ServerError as error:
            failures[address] = error
    if not views:
        raise next(iter(failures.values()))
    return views, failures


def _ask(address: Address, connect: Connect) -> _View:
    store = connect(address)
    with store.connection:
        info = store.info("replication", "cluster")
        members = store.members() if info.get("cluster_enabled") == "1" else []
        return _View(
            address=address,
            identity=store.identity(),
            names=sum(store.databases().values()),
            replica_of=f"{info.get('master_host')}:{info.get('master_port')}",
            members=members,
        )


def _standalone(views: list[_View], failures: dict[Address, ServerError]) -> Topology:
    """Servers that are no cluster: the primaries among them; replicas hold nothing of their own."""
    for error in failures.values():
        raise error
    primaries: dict[str, _View] = {}
    for view in views:
        if view.identity.role == "master":
            primaries.setdefault(view.identity.run_id, view)
    if not primaries:
        raise ServerError(
            f"{views[0].address} is a replica of {views[0].replica_of}",
            hint=f"put the primary into redis.addresses: {views[0].replica_of}",
        )
    return Topology(
        mode="standalone",
        identities={view.address: view.identity for view in primaries.values()},
        names=sum(view.names for view in primaries.values()),
        replicas=tuple(view.address for view in views if view.identity.role != "master"),
    )


def _cluster(views: list[_View], addresses: Sequence[Address], connect: Connect) -> Topology:
    """A cluster, from the views of all its nodes."""
    known = {myself(view.members).id: view for view in views if view.members}
    silent: dict[str, str] = {}
    for member in _everyone(known.values()):
        if member.id in known or member.id in silent:
            continue
        if member.address is None:
            silent[member.id] = "it does not say where it listens"
            continue
        try:
            known[member.id] = _ask(member.address, connect)
        except ServerError as error:
            silent[member.id] = str(error)
    primaries = [view for view in known.values() if myself(view.members).is_primary]
    owners = [myself(view.members) for view in primaries]
    lines = {member.id: member for member in _everyone(known.values())}
    problems = [*_silences(lines, silent), *_disputes(known), *_coverage(owners)]
    listed = set(addresses)
    return Topology(
        mode="cluster",
        identities={view.address: view.identity for view in primaries},
        names=sum(view.names for view in primaries),
        replicas=tuple(v.address for v in known.values() if not myself(v.members).is_primary),
        problems=tuple(problems),
        slots_covered=SLOTS - sum(last - first + 1 for first, last in uncovered(owners)),
        unlisted=tuple(view.address for view in primaries if view.address not in listed),
        owned={view.address: ranges(myself(view.members).slots) for view in primaries},
    )


def _everyone(views: Iterable[_View]) -> list[Member]:
    return [member for view in list(views) for member in view.members]


def _silences(lines: dict[str, Member], silent: dict[str, str]) -> list[str]:
    """Nodes that own data, by what others say of them, and did not answer."""
    return [
        f"the primary {lines[node].address or node} of slots {ranges(lines[node].slots)} "
        f"does not answer: {reason}"
        for node, reason in silent.items()
        if lines[node].is_primary and lines[node].slots
    ]


def _disputes(known: dict[str, _View]) -> list[str]:
    """Where a node's view of another is not what that one says of itself."""
    own = {node: myself(view.members) for node, view in known.items()}
    problems = []
    for view in known.values():
        for member in view.members:
            truth = own.get(member.id)
            if truth is None or member is truth:
                continue
            if member.is_primary != truth.is_primary or member.slots != truth.slots:
                problems.append(f"{view.address} and {truth.address} disagree about who owns what")
            elif member.failing:
                problems.append(f"{view.address} takes {truth.address} for failing")
    return list(dict.fromkeys(problems))


def _coverage(owners: list[Member]) -> list[str]:
    problems = []
    if gaps := uncovered(owners):
        problems.append(f"nobody owns the slots {ranges(gaps)}")
    if twice := contested(owners):
        problems.append(f"more than one node claims the slots {ranges(twice)}")
    problems += [
        f"slots are being moved at {owner.address}: {' '.join(owner.moving)}"
        for owner in owners
        if owner.moving
    ]
    return problems
