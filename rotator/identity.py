"""
Who a server process is, and what has moved data in it.

A cursor means something only in the process that gave it, and SCAN's promise is about names that
stay where they are. Both are checked by comparing an `Identity` taken before a scan with one taken
after it (redis-rules 1.3 and 1.4): any difference that `changes` reports makes the scan worthless
as evidence, and it is done again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

# Commands that put a value under a name the scan may have passed already, or that replace the data.
MOVERS = (
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
REPORTED = frozenset(("rename", "renamenx", "copy", "move", "restore", "restore-asking", "migrate"))

# And those that take values from one name or database of the node to another, or away: once every
# value of the node was seen they hide none, while RESTORE may bring one from another node.
LOCAL = frozenset(("rename", "renamenx", "copy", "move", "swapdb", "flushdb", "flushall"))

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
            for mover in MOVERS
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
        for mover in MOVERS:
            more = after.calls.get(mover, 0) - self.calls.get(mover, 0)
            reset |= more < 0
            if more > 0 and mover not in excused:
                found.append(
                    f"{mover.upper()} was called {more} {'time' if more == 1 else 'times'}"
                )
        if reset and after.run_id == self.run_id:
            found.append("the command counters were reset")
        return found
