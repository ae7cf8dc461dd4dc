"""
A private cluster of servers on loopback ports, for the tests, the benchmark and trying things out.

It is put together with the commands that `redis-cli --cluster` sends, so nothing but the server
program is needed (https://redis.io/docs/latest/operate/oss_and_stack/management/scaling/). A
primary takes no writes in its first 2 seconds, so neither does the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from rotator.demo.local_server import LocalServer, wait_until
from rotator.errors import ServerError
from rotator.localnode import Move, ask, fault, member, move_slot, ownership
from rotator.server.cluster_nodes import SLOTS, Member

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
        for node in self.nodes:
            self._introduce(node, self.nodes)
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
        self._introduce(node, others)
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
        node = LocalServer(*self._options, binary=self._binary)
        self.nodes.append(node)
        node.start()
        return node

    def _introduce(self, node: LocalServer, others: Iterable[LocalServer]) -> None:
        for other in others:
            if other is not node:
                ask(node, "CLUSTER", "MEET", "127.0.0.1", other.port)

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
        return None if all(view == views[0] for view in views) else "the nodes do not agree"

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
