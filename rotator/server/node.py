"""
Node: says who a server process is, what it holds and allows, and what has moved data in it.

A cursor means something only in the process that gave it, and SCAN's promise is about names that
stay where they are. So an `Identity` from before a scan is compared with one from after it: after a
difference that `changes` reports, it is done again (redis-rules 1.3 and 1.4).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Self

from redis.exceptions import ResponseError

from rotator.errors import RightsError, ServerError
from rotator.retirement.looks import DATA_MOVING_COMMANDS, NOTHING
from rotator.server.cluster_nodes import Member, myself, parse_nodes
from rotator.server.connection import Connection
from rotator.server.replies import (
    RETRY_SECONDS,
    ErrorKind,
    ErrorReply,
    Read,
    clock_of,
    counts,
    error_reply,
    mentions,
    names_besides,
    number,
    number_of,
    parse_fields,
    parse_info,
    setting_of,
    text_of,
    understood,
)
from rotator.server.wire.versions import role_of, software, survives_no_touch
from rotator.text import excerpt

_LARGEST_VALUE = 512 * 1024 * 1024  # bytes; the default of proto-max-bulk-len


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Identity: tells one process at one moment from all others.

    *calls* counts the commands that move data, by name, and *commands* all commands; *place* is the
    node's state in its cluster (own id, epoch, slots, moves), empty without one. *version* and
    *evicted*, the number of entries evicted for want of memory, are for the report only. *counted*
    is whether the server counts calls at all. All fields are stored under their names, in
    checkpoints.
    """

    run_id: str
    role: str
    replication_id: str
    version: str
    calls: Mapping[str, int]
    place: str = ""
    commands: int = 0
    evicted: int = 0
    counted: bool = True

    @classmethod
    def from_info(cls, info: Mapping[str, str], place: str = "") -> Self:
        """
        Return what INFO shows in the sections server, replication, stats and commandstats.

        Raises:
            ValueError: A count is no number, or the role is none.
        """
        name, version = software(info)
        called = {one.lower(): calls for one, calls in counts(info, "cmdstat_", "calls").items()}
        calls = {mover: called[mover] for mover in DATA_MOVING_COMMANDS if mover in called}
        return cls(
            run_id=info.get("run_id", ""),
            role=role_of(info),
            replication_id=info.get("master_replid", ""),
            version=f"{name} {excerpt(version)}",
            calls=calls,
            place=place,
            commands=number(info.get("total_commands_processed", "0"), "a count of commands"),
            evicted=number(info.get("evicted_keys", "0"), "evicted_keys"),
            counted=bool(called),
        )

    @property
    def unnamed(self) -> list[str]:
        """The names in INFO of what the server does not say and would be told by."""
        said = (self.run_id, self.replication_id, self.counted)
        names = ("run_id", "master_replid", "commandstats")
        return [name for name, value in zip(names, said, strict=True) if not value]

    def evicted_since(self, before: Identity) -> int:
        """Return the number of entries evicted since *before*; a lost counter tells of none."""
        same = self.run_id == before.run_id and self.evicted >= before.evicted
        return self.evicted - before.evicted if same else self.evicted

    def calls_between(self, after: Identity, commands: Collection[str]) -> int:
        """Return how often *commands* were called since, as far as they are counted."""
        return sum(after.calls.get(one, 0) - self.calls.get(one, 0) for one in commands)

    def changes(self, after: Identity, excused: Collection[str] = NOTHING) -> list[str]:
        """
        Return in words what a scan between this moment and *after* may have missed.

        Calls of the *excused* commands do not count: see `TRACKED_COMMANDS` and
        `NODE_LOCAL_COMMANDS`.
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
                times = "time" if more == 1 else "times"
                found.append(f"{mover.upper()} was called {more} {times}")
        if reset and after.run_id == self.run_id:
            found.append("the command counters were reset")
        return found


class Node:
    """
    Node: answers what may be asked of a server process as a whole, over one pinned connection.

    *clustered* is whether the server is a node of a cluster, None until it has said so.

    Raises (every method that asks):
        LostError: The connection broke.
        RightsError: The user may not ask.
        ServerError: The server refused, or is still busy after seconds of waiting.
    """

    def __init__(self, connection: Connection, *, clustered: bool | None = None) -> None:
        self.connection = connection
        self.clustered = clustered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @property
    def node(self) -> str:
        """The node's name in logs and reports: its address."""
        return str(self.connection.address)

    def info(self, *sections: str) -> dict[str, str]:
        """Return the fields of the INFO *sections*; servers before 7.0 take one at a time."""
        merged: dict[str, str] = {}
        replies = self.connection.pipeline([("INFO", section) for section in sections])
        for section, reply in zip(sections, replies, strict=True):
            if isinstance(reply, ResponseError):  # busy with something else, or really refused
                reply = self.ask("INFO", section)  # noqa: PLW2901 - the same, asked again
            text = understood(self.node, "INFO", text_of, reply)
            merged.update(parse_info(self.connection.hide(text)))
        return merged

    def cluster_enabled(self) -> bool | None:
        """Return whether the server is a node of a cluster; None if it does not say."""
        if self.clustered is None:  # no process changes that while it runs
            try:
                said = self.info("cluster").get("cluster_enabled")
            except RightsError:
                return None
            self.clustered = None if said is None else said == "1"
        return self.clustered

    def identity(self) -> Identity:
        """Return who this process is now."""
        info = self.info("server", "replication", "stats", "commandstats")
        place = myself(self.members()).place if self.cluster_enabled() else ""
        return understood(self.node, "INFO", Identity.from_info, info, place)

    def members(self) -> list[Member]:
        """Return the nodes of the cluster, as this one sees them; one is itself."""
        text = understood(self.node, "CLUSTER NODES", text_of, self.ask("CLUSTER", "NODES"))
        at = self.connection.address
        return understood(self.node, "CLUSTER NODES", parse_nodes, self.connection.hide(text), at)

    def replicas(self) -> dict[str, dict[str, str]]:
        """Return the replicas that are connected, by `ip:port`, with what INFO says of each."""
        return {
            f"{fields.get('ip', '?')}:{fields.get('port', '?')}": fields
            for name, value in self.info("replication").items()
            if name.removeprefix("slave").isdigit() and (fields := parse_fields(value))
        }

    def databases(self) -> dict[int, int]:
        """Return the databases that hold something, with their number of names (INFO keyspace)."""
        info = self.info("keyspace")
        held = {
            name: text for name, text in info.items() if name[2:].isdecimal() and len(name) < 12
        }
        found = understood(self.node, "INFO", counts, held, "db", "keys")
        return {int(db): names for db, names in found.items()}

    def size(self) -> int | None:
        """Return the number of names in the selected database; None for a user who may not ask."""
        return self._read_or_none(number_of, "DBSIZE")

    def names_in_slots(self, slots: Sequence[int]) -> int:
        """Return the number of names in *slots*, owned or not, in the selected database."""
        count = 0
        for reply in self.connection.pipeline([("CLUSTER", "COUNTKEYSINSLOT", s) for s in slots]):
            if isinstance(reply, ResponseError):
                raise self._failure("CLUSTER COUNTKEYSINSLOT", error_reply(reply))
            count += understood(self.node, "CLUSTER COUNTKEYSINSLOT", number_of, reply)
        return count

    def names_outside(self, slots: Sequence[int]) -> int | None:
        """
        Return the number of names in other slots than *slots*; None for a user who may not ask.

        Redis 8.4 and later show such names in INFO only: what is counted in *slots* is taken from
        that, at one moment. While slots are imported, or those that left are emptied, DBSIZE leaves
        all names of others out, also those of an earlier move (measured on 8.6.3).
        """
        asked = [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots]
        replies = self.connection.pipeline([("MULTI",), ("INFO", "keyspace"), *asked, ("EXEC",)])
        if isinstance(replies[-1], ResponseError):
            return None
        where = (self.connection.db, len(asked))
        return understood(self.node, "EXEC", names_besides, replies[-1], *where)

    def select(self, db: int) -> None:
        """Work in database *db* from here on; ServerError: we are not let there."""
        refused = self._try(partial(self.connection.select, db))
        if isinstance(refused, ErrorReply):
            raise ServerError(
                f"{self.node} refuses access to database {db}: {refused.message}",
                hint="a cluster has only database 0; other servers as many as `databases` says",
            )

    def time(self) -> datetime | None:
        """Return the server's clock, in UTC; None for a user who may not ask."""
        return self._read_or_none(clock_of, "TIME")

    def type(self, name: bytes) -> str | None:
        """Return Redis's word for what *name* holds; None for a user who may not ask."""
        word = self._read_or_none(text_of, "TYPE", name)
        return None if word is None else word.decode(errors="replace")

    def config(self, name: str) -> str | None:
        """Return one setting: empty if the server has none of that *name*, None if it refuses."""
        return self._read_or_none(setting_of, "CONFIG", "GET", name)

    def knows(self, command: str, token: str) -> bool:
        """Return whether the server documents the argument *token* (upper case) of *command*."""
        return mentions(self._reply_or_none("COMMAND", "DOCS", command), token.encode())

    def largest_value(self) -> int:
        """Return the size of the longest value that the server takes, in bytes."""
        most = self.config("proto-max-bulk-len") or str(_LARGEST_VALUE)
        return understood(self.node, "CONFIG", number, most, "proto-max-bulk-len")

    def enable_no_touch(self) -> bool:
        """
        Turn on CLIENT NO-TOUCH, so that reads do not count as use (LRU, LFU).

        False if the server lacks it (before 7.2) or may crash from it (redis-rules 8).
        """
        if self.cluster_enabled() is not False:
            try:
                if not survives_no_touch(self.info("server")):
                    return False
            except RightsError:
                return False
        return self._reply_or_none("CLIENT", "NO-TOUCH", "ON") is not None

    def _reply_or_none(self, *command: Any) -> Any:
        """Send a command that may be denied or unknown; None stands for any error reply."""
        reply = self.connection.pipeline([command])[0]
        return None if isinstance(reply, ResponseError) else reply

    def _read_or_none(self, read: Callable[[Any], Read], *command: Any) -> Read | None:
        """Do the same, and return what *read* makes of the reply."""
        reply = self._reply_or_none(*command)
        return None if reply is None else understood(self.node, command[0], read, reply)

    def ask(self, *command: Any) -> Any:
        """Send a command that concerns the node, not a name; wait while the server is busy."""
        if isinstance(reply := self._try(partial(self.connection.call, *command)), ErrorReply):
            raise self._failure(str(command[0]), reply)
        return reply

    def _try(self, call: Callable[[], Any]) -> Any:
        """Return what *call* gives, or why it is refused; wait while the server is busy."""
        for pause in (*RETRY_SECONDS, None):
            try:
                return call()
            except ResponseError as error:
                refused = error_reply(error)
            if refused.meaning is not ErrorKind.RETRY or pause is None:
                break
            time.sleep(pause)
        return refused

    def _failure(self, command: str, refused: ErrorReply) -> ServerError:
        error = RightsError if refused.meaning is ErrorKind.DENIED else ServerError
        return error(f"{self.node}: {command} failed: {refused.message}")
