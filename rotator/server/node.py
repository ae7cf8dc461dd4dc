"""
One node: who it is, what it holds, what it allows.

Who a server process is, and what has moved data in it.

A cursor means something only in the process that gave it, and SCAN's promise is about names that
stay where they are. Both are checked by comparing an `Identity` taken before a scan with one taken
after it (redis-rules 1.3 and 1.4): any difference that `changes` reports makes the scan worthless
as evidence, and it is done again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from redis.exceptions import ResponseError

from rotator.errors import RightsError, ServerError
from rotator.server.cluster_nodes import Member, myself, parse_nodes
from rotator.server.connection import Connection
from rotator.server.replies import RETRY_SECONDS, ErrorKind, ErrorReply, error_reply

# Commands that put a value under a name the scan may have passed already, or that replace the data.
DATA_MOVING_COMMANDS = (
    "rename",
    "renamenx",
    "copy",
    "move",
    "restore",
    "restore-asking",
    "migrate",
    "swapdb",
    "flushdb",
    "flushall",
    "replicaof",
    "slaveof",
    "failover",
    "cluster|setslot",
    "cluster|syncslots",
    "cluster|migration",
    "cluster|migrateslots",
    "config|resetstat",
)


# Of those, the ones that CLIENT TRACKING reports by name (redis-rules 1.3): whoever reads again
# what was reported has missed nothing because of them.
TRACKED_COMMANDS = frozenset(
    ("rename", "renamenx", "copy", "move", "restore", "restore-asking", "migrate")
)


# And those that take values from one name or database of the node to another, or away: once every
# value of the node was seen they hide none, while RESTORE may bring one from another node.
NODE_LOCAL_COMMANDS = frozenset(
    ("rename", "renamenx", "copy", "move", "swapdb", "flushdb", "flushall")
)


NOTHING: frozenset[str] = frozenset()


def parse_info(text: bytes) -> dict[str, str]:
    """The fields of an INFO reply (https://redis.io/docs/latest/commands/info/)."""
    lines = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon and not name.startswith("#")}


def parse_fields(text: str) -> dict[str, str]:
    """The parts of a value such as `calls=3,usec=12`."""
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


@dataclass(frozen=True, slots=True)
class Identity:
    """
    One process at one moment.

    *calls* counts the commands that move data, by name, and *commands* all there were; *place* is
    the node's standing in its cluster (own id, epoch, slots, moves), empty without one; *version*
    and *evicted*, how many entries had to go for want of memory, are for the report only.
    """

    run_id: str
    role: str
    replication_id: str
    version: str
    calls: Mapping[str, int]
    place: str = ""
    commands: int = 0
    evicted: int = 0

    @classmethod
    def from_info(cls, info: Mapping[str, str], place: str = "") -> Self:
        """Read it from the sections server, replication, stats and commandstats together."""
        software = "valkey" if "valkey_version" in info else "redis"
        version = info.get("valkey_version") or info.get("redis_version", "?")
        calls = {
            mover: int(parse_fields(info[f"cmdstat_{mover}"]).get("calls", 0))
            for mover in DATA_MOVING_COMMANDS
            if f"cmdstat_{mover}" in info
        }
        return cls(
            run_id=info.get("run_id", ""),
            role=info.get("role", ""),
            replication_id=info.get("master_replid", ""),
            version=f"{software} {version}",
            calls=calls,
            place=place,
            commands=int(info.get("total_commands_processed", 0)),
            evicted=int(info.get("evicted_keys", 0)),
        )

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The identity that `to_dict` wrote down."""
        return cls(**saved)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "calls": dict(self.calls)}

    def evicted_since(self, before: Identity) -> int:
        """
        How many entries were evicted since *before*; what a lost counter held is not known.

        https://redis.io/docs/latest/commands/info/ (evicted_keys)
        """
        same = self.run_id == before.run_id and self.evicted >= before.evicted
        return self.evicted - before.evicted if same else self.evicted

    def changes(self, after: Identity, excused: Collection[str] = NOTHING) -> list[str]:
        """
        What happened between this moment and *after* that a scan may have missed, in words.

        Calls of the *excused* commands do not count: see `REPORTED` and `LOCAL`.
        """
        found = []
        if after.run_id != self.run_id:
            found.append("the server process was restarted or replaced")
        if after.role != self.role:
            found.append(f"its role changed from {self.role} to {after.role}")
        if after.replication_id != self.replication_id:
            found.append("its replication history changed")
        if after.place != self.place:
            found.append(f"its place in the cluster changed: {self.place} became {after.place}")
        # CONFIG RESETSTAT may hide what was called before it.
        reset = after.commands < self.commands
        for mover in DATA_MOVING_COMMANDS:
            more = after.calls.get(mover, 0) - self.calls.get(mover, 0)
            reset |= more < 0
            if more > 0 and mover not in excused:
                found.append(
                    f"{mover.upper()} was called {more} {'time' if more == 1 else 'times'}"
                )
        if reset and after.run_id == self.run_id:
            found.append("the command counters were reset")
        return found


class Node:
    """What may be asked of one node as a whole, over one pinned connection."""

    def __init__(self, connection: Connection, *, clustered: bool = False) -> None:
        self.connection = connection
        self.clustered = clustered

    @property
    def node(self) -> str:
        """The node's name in logs and reports: its address."""
        return str(self.connection.address)

    def info(self, *sections: str) -> dict[str, str]:
        """The fields of the INFO *sections*, merged (servers before 7.0 take one at a time)."""
        merged: dict[str, str] = {}
        replies = self.connection.pipeline([("INFO", section) for section in sections])
        for section, reply in zip(sections, replies, strict=True):
            if isinstance(reply, ResponseError):  # busy with something else, or really refused
                reply = self._ask("INFO", section)  # noqa: PLW2901 - the same, asked again
            merged.update(parse_info(reply))
        return merged

    def identity(self) -> Identity:
        """Who this process is now."""
        info = self.info("server", "replication", "stats", "commandstats", "cluster")
        self.clustered = info.get("cluster_enabled") == "1"
        place = myself(self.members()).place if self.clustered else ""
        return Identity.from_info(info, place)

    def members(self) -> list[Member]:
        """The nodes of the cluster, as this one sees them."""
        return parse_nodes(self._ask("CLUSTER", "NODES"), self.connection.address)

    def databases(self) -> dict[int, int]:
        """Database numbers that hold something, with their number of names (INFO keyspace)."""
        return {
            int(field[2:]): int(parse_fields(value).get("keys", 0))
            for field, value in self.info("keyspace").items()
            if field.startswith("db") and field[2:].isdigit()
        }

    def names_in_slots(self, slots: Sequence[int]) -> int:
        """
        How many names the node holds in *slots*, owned or not, in the selected database.

        https://redis.io/docs/latest/commands/cluster-countkeysinslot/
        """
        asked = [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots]
        count = 0
        for reply in self.connection.pipeline(asked):
            if isinstance(reply, ResponseError):
                raise self._failure("CLUSTER COUNTKEYSINSLOT", error_reply(reply))
            count += reply
        return count

    def select(self, db: int) -> None:
        """Work in database *db* from here on."""
        self.connection.select(db)

    def enable_no_touch(self) -> bool:
        """
        Ask the server not to take our reads for use (LRU, LFU); False where it had better not.

        Before 7.2 it does not know how. In a cluster most versions since 8.0 crash of it: they look
        for the connection's command at the first name in a slot that is being moved, and have none.
        https://redis.io/docs/latest/commands/client-no-touch/ (Redis 7.2, Valkey 7.2)
        """
        try:
            info = self.info("server", "cluster")
        except RightsError:
            return False
        if info.get("cluster_enabled") != "0" and not _spares_its_cluster(info):
            return False
        reply = self.connection.pipeline([("CLIENT", "NO-TOUCH", "ON")])[0]
        return not isinstance(reply, ResponseError)

    def largest_value(self) -> int:
        """The longest value the server takes, in bytes: `proto-max-bulk-len`, else its default."""
        reply = self.connection.pipeline([("CONFIG", "GET", "proto-max-bulk-len")])[0]
        if isinstance(reply, ResponseError) or len(reply) != 2:
            return 512 * 1024 * 1024
        return int(reply[1])

    def _ask(self, *command: Any) -> Any:
        """Send a command that concerns the node, not a name; wait while the server is busy."""
        for pause in (*RETRY_SECONDS, None):
            try:
                return self.connection.call(*command)
            except ResponseError as error:
                refused = error_reply(error)
            if refused.meaning is not ErrorKind.RETRY or pause is None:
                break
            time.sleep(pause)
        raise self._failure(str(command[0]), refused)

    def _failure(self, command: str, refused: ErrorReply) -> ServerError:
        kind = RightsError if refused.meaning is ErrorKind.DENIED else ServerError
        return kind(f"{self.node}: {command} failed: {refused.message}")


def _spares_its_cluster(info: Mapping[str, str]) -> bool:
    """Whether this version is one that was seen to survive CLIENT NO-TOUCH while slots move."""
    told = info.get("valkey_version") or info.get("redis_version", "")
    version = tuple(int(part) for part in told.split(".") if part.isdigit())
    if "valkey_version" in info:
        return (8, 1, 8) <= version < (8, 2) or version >= (9, 1, 2)
    return (7, 4, 1) <= version < (8,)


def find_replicas(node: Node) -> dict[str, dict[str, str]]:
    """The replicas that are connected to a node, by `ip:port`, with what INFO says of each."""
    return {
        f"{fields['ip']}:{fields['port']}": fields
        for name, value in node.info("replication").items()
        if name.removeprefix("slave").isdigit() and "ip" in (fields := parse_fields(value))
    }
