"""
Topology: finds the nodes that own the data, from the configured addresses and the nodes themselves.

One address may be a cluster's, several may be one server and its replicas; INFO tells. In a cluster
every node is asked for its view, nodes without slots included: they may be about to get some, and
RedisCluster would never visit them (redis-rules 0.2).
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from rotator.config.types import Address
from rotator.console import WaitLog
from rotator.errors import LoginError, RightsError, ServerError
from rotator.server.cluster_nodes import (
    SLOTS,
    Member,
    Range,
    disputes,
    gaps,
    moves,
    myself,
    silences,
    uncovered,
)
from rotator.server.node import Identity
from rotator.server.replies import parse_fields, primary_of
from rotator.server.store import Store
from rotator.server.wire.addresses import AddressBook
from rotator.server.wire.versions import is_sentinel
from rotator.text import excerpt, listing

Connect = Callable[[Address], Store]

# How long a cluster may take to settle, a failover included: its node timeout is 15 s by default,
# and an election comes on top.
SETTLE_SECONDS = 40.0
_PAUSE_SECONDS = 0.5
_UNSEEN = "nothing looks at what it holds"


@dataclass(frozen=True, slots=True)
class Topology:
    """
    Topology: names the nodes that own data at one moment.

    *identities* of the primaries, by address; *replicas* by address; *names* is how many names the
    primaries hold, for the progress bar. *problems* says in sentences why this is not the whole
    cache, *moves* which slots are just being moved; *unlisted* are primaries that no address of the
    configuration led to, *slots* what each primary of a cluster owns. *seeds* are the addresses of
    the configuration at which some node of the cluster answered, *names_of* counts the names of
    each primary.
    """

    mode: Literal["standalone", "cluster"]
    identities: dict[Address, Identity]
    names: int = 0
    replicas: tuple[Address, ...] = ()
    problems: tuple[str, ...] = ()
    moves: tuple[str, ...] = ()
    slots_covered: int | None = None
    unlisted: tuple[Address, ...] = ()
    slots: dict[Address, tuple[Range, ...]] = field(default_factory=dict)
    seeds: tuple[Address, ...] = ()
    names_of: dict[Address, int] = field(default_factory=dict)

    @property
    def primaries(self) -> list[Address]:
        """The addresses of the nodes that own data, or may be given some."""
        return list(self.identities)

    @property
    def nodes(self) -> list[Address]:
        """The addresses of all nodes."""
        return [*self.primaries, *self.replicas]


@dataclass(slots=True)
class _View:
    """View: what one node said when it was asked."""

    address: Address
    identity: Identity
    names: int
    replica_of: str
    members: list[Member]
    replicas: Collection[str]


def discover(
    addresses: Sequence[Address],
    connect: Connect,
    *,
    settle_timeout: float = SETTLE_SECONDS,
    known: Topology | None = None,
    should_stop: Callable[[], object] = lambda: None,
    replicas: Collection[str] = (),
    waiting: Callable[[str | None], object] = lambda _: None,
) -> Topology:
    """
    Ask every node who it is, again and again while the cluster is just changing.

    After *settle_timeout* seconds it is taken as it is. *known* is what it was a moment ago: a
    cluster is then found although the configured nodes are gone, and a server that does not answer
    is given the same time. Waiting ends as soon as *should_stop* gives something true. *replicas*
    are the addresses of replicas and former primaries that earlier runs met: these may be silent.
    *waiting* is given what is waited for, then None.

    Raises:
        ServerError: No configured address can be reached, or none of the servers is a primary.
    """
    deadline = time.monotonic() + settle_timeout
    seeds = known.nodes if known and known.mode == "cluster" else []
    told = WaitLog(waiting)
    while True:
        over = bool(should_stop()) or time.monotonic() > deadline
        try:
            topology = _look(addresses, connect, seeds, replicas)
        except ServerError as error:
            if known is None or over or isinstance(error, LoginError | RightsError):
                told.ended(well=False)
                raise
            told.waits("waiting for the server", error=str(error))
        else:
            if over or not topology.problems:
                told.ended(well=not topology.problems)
                return topology
            told.waits("waiting for the cluster to settle", problems=list(topology.problems))
        time.sleep(_PAUSE_SECONDS)


def _look(
    addresses: Sequence[Address],
    connect: Connect,
    seeds: Sequence[Address],
    replicas: Collection[str],
) -> Topology:
    views, failures = _ask_all(addresses, connect)
    if not any(view.members for view in views):
        # Where the nodes of a cluster are gone, whoever else was in it knows what became of them.
        views += _ask_all(seeds, connect)[0]
    if any(view.members for view in views):
        return _cluster(views, addresses, connect)
    named = {name for view in views if view.identity.role == "master" for name in view.replicas}
    for address, failure in failures.items():
        silent = not isinstance(failure, LoginError | RightsError)
        # Of one that does not answer, and was never met, nobody knows what it holds.
        if not (views and silent and str(address) in {*replicas, *named}):
            raise failure
    return _standalone(views)


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
    return views, failures


def _ask(address: Address, connect: Connect) -> _View:
    with connect(address) as store:
        refuse_sentinel(store)
        info = store.info("replication")
        members = store.members() if store.cluster_enabled() else []
        return _View(
            address=address,
            identity=store.identity(),
            names=sum(store.databases().values()),
            replica_of=primary_of(info),
            members=members,
            replicas=store.replicas(),
        )


def refuse_sentinel(store: Store) -> None:
    """
    Raise for a Sentinel: it holds nothing, and knows where the primary is.

    Raises:
        ServerError: It is one.
    """
    try:
        if not is_sentinel(store.info("server")):
            return
        told = parse_fields(store.info("sentinel").get("master0", "")).get("address")
    except RightsError:  # what may not be asked says who it is by that
        return
    says = f" (it says that the primary is {excerpt(told)})" if told else ""
    raise ServerError(
        f"{store.node} is a Sentinel; give the servers' addresses{says}",
        hint="put the addresses of the primary and its replicas into redis.addresses",
    )


def _standalone(views: list[_View]) -> Topology:
    """Find the primaries among servers that are no cluster; replicas hold nothing of their own."""
    primaries: dict[str, _View] = {}
    for view in views:
        if not view.identity.role:
            raise ServerError(f"{view.address} does not say who it is (no role)")
        if view.identity.role == "master":
            # Of two that do not say who they are nobody knows that they are one.
            primaries.setdefault(view.identity.run_id or str(view.address), view)
    known = {view.identity.replication_id for view in primaries.values()}
    listed, names = [str(view.address) for view in views], AddressBook()
    replicas = [view for view in views if view.identity.role != "master"]
    for view in replicas:
        # One that has no link yet has a history of its own; it may follow another replica.
        if view.identity.replication_id not in known and not names.same(view.replica_of, listed):
            raise ServerError(
                f"{view.address} is a replica of {view.replica_of}",
                hint=f"put the primary into redis.addresses: {view.replica_of}",
            )
    if not primaries:
        raise ServerError(
            f"{listing(listed)} follow each other: none is a primary",
            hint="find out which has the latest data and make it the primary: REPLICAOF NO ONE",
        )
    return Topology(
        mode="standalone",
        identities={view.address: view.identity for view in primaries.values()},
        names=sum(view.names for view in primaries.values()),
        replicas=tuple(view.address for view in replicas),
        names_of={view.address: view.names for view in primaries.values()},
    )


def _cluster(views: list[_View], addresses: Sequence[Address], connect: Connect) -> Topology:
    """Put a cluster together from the views of all its nodes."""
    known: dict[str, _View] = {}
    for view in views:
        if view.members:
            known.setdefault(myself(view.members).id, view)
    led_to, seeds = set(known), [view.address for view in views if view.members]
    known = _at_home(known, connect)
    absent, reasons = _ask_members(known, connect)
    said = {view.address: view.members for view in known.values()}
    own = {address: myself(members) for address, members in said.items()}
    owners = {address: member for address, member in own.items() if member.is_primary}
    strangers = [view.address for view in views if not view.members]
    return Topology(
        mode="cluster",
        identities={v.address: v.identity for v in known.values() if v.address in owners},
        names=sum(view.names for view in known.values() if view.address in owners),
        replicas=tuple(address for address in own if address not in owners),
        problems=(
            *(f"{one} is not a node of the cluster: {_UNSEEN}" for one in strangers),
            *silences(absent, reasons),
            *disputes(said),
            *gaps(list(owners.values()), absent),
        ),
        moves=tuple(moves(owners)),
        slots_covered=SLOTS - sum(b - a + 1 for a, b in uncovered(owners.values())),
        unlisted=tuple(at for at, member in owners.items() if member.id not in led_to),
        seeds=tuple(address for address in seeds if address in addresses),
        slots={address: member.slots for address, member in owners.items()},
        names_of={v.address: v.names for v in known.values() if v.address in owners},
    )


def _at_home(known: dict[str, _View], connect: Connect) -> dict[str, _View]:
    """
    Return the nodes of a cluster as seen at addresses that are theirs.

    An address of the configuration may be that of all nodes, behind a balancer or a name with many
    addresses: each connection may reach another one. It is a node's own where each node that owns
    slots has one, or where the node announces the same. Else the node is asked where it announces
    itself; one that does not answer there is taken as it was found.
    """
    owners = {one.id for view in known.values() for one in view.members if one.slots}
    if owners <= set(known):
        return known
    names, found = AddressBook(), dict[str, _View]()
    for node_id, view in known.items():
        own = myself(view.members).address
        found[node_id] = view
        if own is None or own == view.address or names.alone(str(own), str(view.address)):
            continue
        with suppress(ServerError):
            there = _ask(own, connect)
            if there.members and myself(there.members).id == node_id:
                found[node_id] = there
    return found


def _ask_members(known: dict[str, _View], connect: Connect) -> tuple[list[Member], dict[str, str]]:
    """
    Ask every node that somebody tells of, until there are no more; they are added to *known*.

    Return those that own slots, by what is said of them, and do not answer, and why, by id.
    """
    absent: dict[str, Member] = {}
    reasons: dict[str, str] = {}
    told = [member for view in known.values() for member in view.members]
    while told:
        member = told.pop(0)
        if member.id not in known and member.id not in reasons:
            try:
                known[member.id] = _ask_member(member, connect)
                told += known[member.id].members
            except ServerError as error:
                reasons[member.id] = str(error)
        if member.id in reasons and member.is_primary and member.slots:
            absent[member.id] = member
    return list(absent.values()), reasons


def _ask_member(member: Member, connect: Connect) -> _View:
    if member.address is None:
        raise ServerError("it does not say where it listens")
    return _ask(member.address, connect)
