"""
A private cluster of servers on loopback ports, for the tests, the benchmark and trying things out.

It is put together with the commands that `redis-cli --cluster` sends, so nothing but the server
program is needed (https://redis.io/docs/latest/operate/oss_and_stack/management/scaling/). A
primary takes no writes in its first 2 seconds, so neither does the cluster.

One node of a private cluster: what it is asked, and how a slot moves from it to another.

A slot moves as `redis-cli --cluster reshard` moves it
(https://redis.io/docs/latest/commands/cluster-setslot/), or stops on the way, as that sometimes
does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from rotator.config.types import Address
from rotator.demo.local_server import LocalServer, wait_until
from rotator.errors import ServerError
from rotator.server.cluster_nodes import SLOTS, Member, myself, parse_nodes

_BATCH = 100  # names in one MIGRATE


_TIMEOUT_MS = 5000


class Move(StrEnum):
    """How far a move of slots goes."""

    FINISHED = "finished"
    OPEN = "open"  # every name is moved, but the new owner is not announced
    HALF = "half"  # every second name is moved, and the slot still open on both sides
    ABORTED = "aborted"  # every second name is moved, and the move called off: they are orphans


def client(node: LocalServer) -> Redis:
    """A client that asks once and does not wait for long."""
    return node.client(retry=Retry(NoBackoff(), 0), socket_timeout=5)


def ask(node: LocalServer, *command: Any) -> Any:
    """The raw reply of *node* to one command."""
    with client(node) as asked:
        return asked.execute_command(*command)


def known_by(node: LocalServer) -> Address:
    """The address by which others know *node*."""
    host, _, port = node.address.rpartition(":")
    return Address(host, int(port))


def members(node: LocalServer) -> list[Member]:
    """The lines of CLUSTER NODES as *node* gives them."""
    return parse_nodes(ask(node, "CLUSTER", "NODES"), known_by(node))


def member(node: LocalServer) -> Member:
    """What *node* says of itself."""
    return myself(members(node))


def ownership(node: LocalServer) -> dict[str, Any]:
    """Which slots belong to whom, and who follows whom, as *node* sees it."""
    return {one.id: (one.slots, one.primary_id) for one in members(node) if not one.failing}


def fault(node: LocalServer, running: Sequence[LocalServer]) -> str | None:
    """What is not in order for *node*, in a cluster whose other *running* nodes it should see."""
    known = {one.address: one for one in members(node)}
    there = [known.get(known_by(other)) for other in running]
    for other, seen in zip(running, there, strict=True):
        if seen is None or seen.failing or not seen.connected:
            return f"{node} has no contact with {other}"
    if b"cluster_state:ok" not in ask(node, "CLUSTER", "INFO"):
        return f"{node} does not find the cluster in order"
    with client(node) as asked:
        info = asked.info("replication")
    if info["role"] == "slave":
        up = info["master_link_status"] == "up"
        return None if up else f"{node} is not in step with its primary"
    mine = known[known_by(node)].id
    expected = sum(seen is not None and seen.primary_id == mine for seen in there)
    replicas = [value for value in info.values() if isinstance(value, dict)]
    online = sum(replica.get("state") == "online" for replica in replicas)
    return None if online >= expected else f"{node} has {online} of {expected} replicas online"


def move_slot(
    source: LocalServer,
    target: LocalServer,
    slot: int,
    move: Move,
    others: Iterable[LocalServer],
) -> int:
    """Move one slot and tell the *others*, as far as *move* says; how many names were moved."""
    source_id, target_id = member(source).id, member(target).id
    ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    names = ask(source, "CLUSTER", "GETKEYSINSLOT", slot, _count(source, slot))
    if move in {Move.HALF, Move.ABORTED}:
        names = names[::2]
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, _TIMEOUT_MS, "KEYS", *batch)
    if move is Move.FINISHED:
        # The new owner first: were it the last, a crash could leave the slot to nobody.
        for node in (target, source, *others):
            ask(node, "CLUSTER", "SETSLOT", slot, "NODE", target_id)
    elif move is Move.ABORTED:
        for node in (target, source):
            ask(node, "CLUSTER", "SETSLOT", slot, "STABLE")
    return len(names)


def _count(node: LocalServer, slot: int) -> int:
    return int(ask(node, "CLUSTER", "COUNTKEYSINSLOT", slot))


NODE_TIMEOUT_MS = 2000


class LocalCluster:
    """
    *primaries* nodes with *replicas* each, joined and in step; all are gone after the `with` block.

    *options* are server settings for every node, as on the command line; *binary* is another server
    program than `find_binary` gives.
    """

    def __init__(
        self,
        primaries: int = 3,
        replicas: int = 1,
        options: Sequence[str] = (),
        binary: Path | None = None,
    ) -> None:
        self.nodes: list[LocalServer] = []
        own = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS))
        self._options = (*own, *options)
        self._size = (primaries, replicas)
        self._binary = binary

    @property
    def running(self) -> list[LocalServer]:
        """The nodes that have a process."""
        return [node for node in self.nodes if node.running]

    @property
    def primaries(self) -> list[LocalServer]:
        """The running nodes that say they are primaries, also without slots."""
        return [node for node in self.running if self.member(node).is_primary]

    @property
    def replicas(self) -> list[LocalServer]:
        """The running nodes that say they are replicas."""
        return [node for node in self.running if not self.member(node).is_primary]

    @property
    def addresses(self) -> list[str]:
        """Host and port of every running node, as `redis.addresses` has them."""
        return [node.address for node in self.running]

    def start(self) -> None:
        """
        Start the nodes, join them, share out the slots and wait until all is well.

        Raises:
            ServerError: A node did not start, or the cluster did not come to be in time.
        """
        primaries, replicas = self._size
        for _ in range(primaries * (1 + replicas)):
            self._start_node()
        owners = self.nodes[:primaries]
        for index, owner in enumerate(owners):
            share = range(index * SLOTS // primaries, (index + 1) * SLOTS // primaries)
            ask(owner, "CLUSTER", "ADDSLOTS", *share)
            ask(owner, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        # Each meets each: waiting for gossip takes longer.
        wait_until(lambda: self._stranger(self.nodes))
        for index, node in enumerate(self.nodes[primaries:]):
            self._follow(node, owners[index % primaries])
        self.settle()

    def settle(self) -> None:
        """
        Wait until all running nodes agree, every slot is served and the replicas are in step.

        Raises:
            ServerError: That did not happen in time; the message says what is not as it should be.
        """
        wait_until(self._obstacle)

    def member(self, node: LocalServer) -> Member:
        """What *node* says of itself in CLUSTER NODES."""
        return member(node)

    def owner_of(self, place: int | bytes | str) -> LocalServer:
        """
        The node that says it owns a slot, or the slot of a name.

        Raises:
            ServerError: None does.
        """
        slot = place if isinstance(place, int) else key_slot(_bytes(place))
        for node in self.running:
            if any(first <= slot <= last for first, last in self.member(node).slots):
                return node
        raise ServerError(f"no node of the private cluster owns slot {slot}")

    def client_for(self, place: int | bytes | str) -> Redis:
        """A plain client of the node that owns a slot, or the slot of a name."""
        return self.owner_of(place).client()

    def kill(self, node: LocalServer) -> None:
        """End a node without warning; `node.start()` brings it back."""
        node.stop()

    def add_node(self, replica_of: LocalServer | None = None) -> LocalServer:
        """Start one more node and let it join: a primary without slots, or a replica."""
        others = self.running
        node = self._start_node()
        wait_until(lambda: self._stranger([node, *others]))
        if replica_of is not None:
            self._follow(node, replica_of)
        self.settle()
        return node

    def failover(self, replica: LocalServer, *, settle: bool = True) -> None:
        """
        Let *replica* and its primary change places, without loss.

        With slots open for a move nothing settles: the importing node then knows no owner for them.
        """
        ask(replica, "CLUSTER", "FAILOVER")
        wait_until(
            lambda: None if self.member(replica).is_primary else f"{replica} is still a replica"
        )
        if settle:
            self.settle()

    def move_slots(
        self,
        source: LocalServer,
        target: LocalServer,
        slots: Iterable[int],
        move: Move = Move.FINISHED,
    ) -> int:
        """Move slots and the names in them as `redis-cli --cluster reshard` does; names moved."""
        others = [node for node in self.primaries if node not in {source, target}]
        moved = sum(move_slot(source, target, slot, move, others) for slot in slots)
        if move is Move.FINISHED:
            self.settle()
        return moved

    def remove(self) -> None:
        """End every node and remove its folder."""
        for node in self.nodes:
            node.remove()

    def _start_node(self) -> LocalServer:
        return self._launch()

    def _launch(self, *more: str) -> LocalServer:
        """Start a node with *more* settings than all have."""
        node = LocalServer(*self._options, *more, binary=self._binary)
        self.nodes.append(node)
        node.start()
        return node

    def _meeting_port(self, node: LocalServer) -> int:
        """The port by which other nodes are told to meet *node*."""
        return known_by(node).port

    def _stranger(self, nodes: Sequence[LocalServer]) -> str | None:
        """Introduce *nodes* to each other, once more where that was lost; who is not known yet."""
        stranger = None
        for node in nodes:
            known = {one.address: one for one in members(node)}
            for other in nodes:
                ports = (self._meeting_port(other), other.port)
                seen = next(
                    filter(None, (known.get(Address("127.0.0.1", one)) for one in ports)), None
                )
                if seen is None:
                    ask(node, "CLUSTER", "MEET", "127.0.0.1", ports[0])
                if seen is None or "handshake" in seen.flags:
                    stranger = f"{node} does not know {other}"
        return stranger

    def _follow(self, replica: LocalServer, primary: LocalServer) -> None:
        """Make *replica* a replica, as soon as it knows its primary."""
        primary_id = self.member(primary).id

        def obstacle() -> str | None:
            try:
                ask(replica, "CLUSTER", "REPLICATE", primary_id)
            except ResponseError as error:
                return f"{replica} cannot follow {primary}: {error}"
            return None

        wait_until(obstacle)

    def _obstacle(self) -> str | None:
        """What is not as it should be, the first of it."""
        views = []
        for node in self.running:
            try:
                found = fault(node, self.running)
                views.append(ownership(node))
            except (RedisConnectionError, RedisTimeoutError) as error:
                found = f"{node} does not answer: {error}"
            if found is not None:
                return found
        for node, view in zip(self.running, views, strict=True):
            if view != views[0]:
                apart = {**view, **views[0]}.items() - (view.items() & views[0].items())
                return f"{node} does not agree with {self.running[0]} on {sorted(apart)}"
        return None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _bytes(name: bytes | str) -> bytes:
    return name.encode() if isinstance(name, str) else name
