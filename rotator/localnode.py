"""
One node of a private cluster: what it is asked, and how a slot moves from it to another.

A slot moves as `redis-cli --cluster reshard` moves it
(https://redis.io/docs/latest/commands/cluster-setslot/), or stops on the way, as that sometimes
does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.server.cluster_nodes import Member, myself, parse_nodes

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


def members(node: LocalServer) -> list[Member]:
    """The lines of CLUSTER NODES as *node* gives them."""
    return parse_nodes(ask(node, "CLUSTER", "NODES"), Address("127.0.0.1", node.port))


def member(node: LocalServer) -> Member:
    """What *node* says of itself."""
    return myself(members(node))


def ownership(node: LocalServer) -> dict[str, Any]:
    """Which slots belong to whom, and who follows whom, as *node* sees it."""
    return {one.id: (one.slots, one.primary_id) for one in members(node) if not one.failing}


def fault(node: LocalServer, running: Sequence[LocalServer]) -> str | None:
    """What is not in order for *node*, in a cluster whose other *running* nodes it should see."""
    known = {one.address: one for one in members(node)}
    there = [known.get(Address("127.0.0.1", other.port)) for other in running]
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
    mine = known[Address("127.0.0.1", node.port)].id
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
