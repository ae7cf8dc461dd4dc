"""One node: who it is, what it holds, what it allows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from rotator.errors import RightsError, ServerError
from rotator.identity import Identity, parse_fields, parse_info
from rotator.server.cluster_nodes import Member, myself, parse_nodes
from rotator.server.connection import Connection
from rotator.server.replies import RETRY_SECONDS, Meaning, Refusal, refusal


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
                raise self._failure("CLUSTER COUNTKEYSINSLOT", refusal(reply))
            count += reply
        return count

    def select(self, db: int) -> None:
        """Work in database *db* from here on."""
        self.connection.select(db)

    def no_touch(self) -> bool:
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
                refused = refusal(error)
            if refused.meaning is not Meaning.RETRY or pause is None:
                break
            time.sleep(pause)
        raise self._failure(str(command[0]), refused)

    def _failure(self, command: str, refused: Refusal) -> ServerError:
        kind = RightsError if refused.meaning is Meaning.DENIED else ServerError
        return kind(f"{self.node}: {command} failed: {refused.message}")


def _spares_its_cluster(info: Mapping[str, str]) -> bool:
    """Whether this version is one that was seen to survive CLIENT NO-TOUCH while slots move."""
    told = info.get("valkey_version") or info.get("redis_version", "")
    version = tuple(int(part) for part in told.split(".") if part.isdigit())
    if "valkey_version" in info:
        return (8, 1, 8) <= version < (8, 2) or version >= (9, 1, 2)
    return (7, 4, 1) <= version < (8,)
