"""
One node: scan, read, compare-and-set; and what each error answer of a server means.

- Every method works in the database that the connection has selected, except `page`, `read`,
  `expiries` and `compare_and_set`, which are told nothing about databases either: `select` first.
- Nothing here decides what a value is; it moves bytes.
- No answer of a server is ever taken as "skip this name": what could not be read or written comes
  back as a value that says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import partial
from typing import Any

from redis.crc import key_slot
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from rotator.address import Address
from rotator.clusternodes import Member, myself, parse_nodes, redirection
from rotator.connection import Command, Connection
from rotator.errors import RightsError, ServerError
from rotator.identity import Identity, parse_fields, parse_info
from rotator.script import SCRIPT, Swap, call, cut

NEVER = -1  # an expiry that is none, as PEXPIRETIME answers it
GONE = -2  # and that of a name that is not there

# Waits before a command is sent again that met a server busy with something else: 6 seconds in all.
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0)


class Meaning(StrEnum):
    """What an error answer means for the work in progress."""

    RETRY = "retry"  # the same command, a little later
    TOPOLOGY = "topology"  # somebody else owns the data now
    DENIED = "denied"  # a right is missing
    FAILURE = "failure"  # nothing that waiting would mend


# https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors; redis-rules 4.
MEANINGS: dict[str, Meaning] = {
    "ASK": Meaning.TOPOLOGY,
    "BUSY": Meaning.RETRY,
    "CLUSTERDOWN": Meaning.RETRY,
    "LOADING": Meaning.RETRY,
    "MASTERDOWN": Meaning.RETRY,
    "MISCONF": Meaning.FAILURE,
    "MOVED": Meaning.TOPOLOGY,
    "NOPERM": Meaning.DENIED,
    "NOREPLICAS": Meaning.RETRY,
    "NOSCRIPT": Meaning.RETRY,
    "OOM": Meaning.FAILURE,
    "READONLY": Meaning.TOPOLOGY,
    "TRYAGAIN": Meaning.RETRY,
}


class Unread(Enum):
    """Why a name has no value to look at."""

    GONE = "gone"
    NOT_STRING = "not_string"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server's own words for not reading or writing one name, and what they mean."""

    message: str
    meaning: Meaning

    def elsewhere(self, asked: Address) -> Address | None:
        """The node that ASK, as the one at *asked* answered it, says to turn to."""
        return redirection(self.message, asked) if self.message.startswith("ASK ") else None


class Answer(Enum):
    """What compare-and-set says of one name."""

    DONE = 1
    CHANGED = 0
    GONE = -1
    DENIED = -2


Value = bytes | Unread | Refusal


# A script reports a missing right in words of its own, without the code.
_SCRIPT_DENIALS = ("can't run this command", "ACL failure in script")
_WRONG_TYPE = "WRONGTYPE"
# CLUSTERDOWN of one slot, while the others are served: waiting would be in vain.
_NOBODYS = "Hash slot not served"


def refusal(error: ResponseError | bytes) -> Refusal:
    """What an error answer says, and what it means; an unknown one is a failure."""
    if isinstance(error, ResponseError):
        text = f"{error.status_code} {error}" if error.status_code else str(error)
    else:
        text = error.decode(errors="replace")
    text = text.lstrip("-")
    meaning = MEANINGS.get(text.split(" ", 1)[0], Meaning.FAILURE)
    if any(words in text for words in _SCRIPT_DENIALS):
        meaning = Meaning.DENIED
    if _NOBODYS in text:
        meaning = Meaning.TOPOLOGY
    return Refusal(text, meaning)


class Store:
    """What rotator asks of one node, over one pinned connection."""

    def __init__(
        self, connection: Connection, *, clustered: bool = False, asking: bool = False
    ) -> None:
        self.connection = connection
        self.clustered = clustered
        self._asking = asking
        self._script_loaded = False
        self._has_expire_time = True

    @property
    def node(self) -> str:
        """The node's name in logs and reports: its address."""
        return str(self.connection.address)

    def info(self, *sections: str) -> dict[str, str]:
        """The fields of the INFO *sections*, merged (servers before 7.0 take one at a time)."""
        merged: dict[str, str] = {}
        for section in sections:
            merged.update(parse_info(self._ask("INFO", section)))
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
        Ask the server not to take our reads for use (LRU, LFU); False where it does not know how.

        https://redis.io/docs/latest/commands/client-no-touch/ (Redis 7.2, Valkey 7.2)
        """
        reply = self.connection.pipeline([("CLIENT", "NO-TOUCH", "ON")])[0]
        return not isinstance(reply, ResponseError)

    def largest_value(self) -> int:
        """The longest value the server takes, in bytes: `proto-max-bulk-len`, else its default."""
        reply = self.connection.pipeline([("CONFIG", "GET", "proto-max-bulk-len")])[0]
        if isinstance(reply, ResponseError) or len(reply) != 2:
            return 512 * 1024 * 1024
        return int(reply[1])

    def start_page(
        self, cursor: int, pattern: str | None, count: int
    ) -> Callable[[], tuple[int, list[bytes]]]:
        """
        Ask for one page of SCAN; what is returned waits for it and gives the next cursor and names.

        Cursor 0 ends the scan; a page may be empty, and a name may come twice.
        """
        command: tuple[Any, ...] = ("SCAN", str(cursor), "COUNT", count)
        if pattern is not None:
            command += ("MATCH", pattern)
        return partial(self._finish_page, command, self._start([command]))

    def _finish_page(
        self, command: Command, replies: Callable[[], list[Any]]
    ) -> tuple[int, list[bytes]]:
        (reply,) = replies()
        if isinstance(reply, ResponseError):
            reply = self._ask(*command)
        return int(reply[0]), reply[1]

    def page(self, cursor: int, pattern: str | None, count: int) -> tuple[int, list[bytes]]:
        """One page of SCAN: the next cursor and names."""
        return self.start_page(cursor, pattern, count)()

    def read(self, names: Sequence[bytes]) -> list[Value]:
        """The values of *names*, in their order."""
        return self.start_read(names)()

    def start_read(self, names: Sequence[bytes]) -> Callable[[], list[Value]]:
        """
        Ask for the values of *names*; what is returned waits for them and gives them.

        MGET answers nil for what is gone and for what is no string, and nothing at all if one name
        is denied, so those are asked for one by one.
        """
        groups = self._groups(names)
        replies = self._start([("MGET", *(names[i] for i in group)) for group in groups])
        return partial(self._finish_read, names, groups, replies)

    def _finish_read(
        self, names: Sequence[bytes], groups: list[list[int]], replies: Callable[[], list[Any]]
    ) -> list[Value]:
        values: list[Value] = [Unread.GONE] * len(names)
        alone: list[int] = []
        for group, reply in zip(groups, replies(), strict=True):
            found = [None] * len(group) if isinstance(reply, ResponseError) else reply
            for index, value in zip(group, found, strict=True):
                if value is None:
                    alone.append(index)
                else:
                    values[index] = value
        singly = self._each([("GET", names[index]) for index in alone])
        for index, reply in zip(alone, singly, strict=True):
            values[index] = _value(reply)
        return values

    def asking(self) -> Store:
        """
        The same node, asked to serve slots that are just being moved to it.

        https://redis.io/docs/latest/commands/asking/
        """
        return Store(self.connection, asking=True, clustered=True)

    def _groups(self, names: Sequence[bytes]) -> list[list[int]]:
        """Indices of *names* that one command may hold: in a cluster, those of one slot."""
        if not self.clustered:
            return [list(range(len(names)))] if names else []
        slots: dict[int, list[int]] = {}
        for index, name in enumerate(names):
            # Multi-name commands fail while a slot is on the move, so nothing is grouped then.
            slots.setdefault(index if self._asking else key_slot(name), []).append(index)
        return list(slots.values())

    def _start(self, commands: Sequence[Command]) -> Callable[[], list[Any]]:
        """Send *commands*, each preceded by ASKING where that is needed; gives their replies."""
        if not commands:
            return list
        if not self._asking:
            return self.connection.submit(commands).result
        preceded = [one for command in commands for one in (("ASKING",), command)]
        pending = self.connection.submit(preceded)
        return lambda: pending.result()[1::2]

    def _each(self, commands: Sequence[Command]) -> list[Any]:
        return self._start(commands)()

    def answer(self, *command: Any) -> Any:
        """The reply to one command about one name, or a `Refusal`."""
        reply = self._each([command])[0]
        return refusal(reply) if isinstance(reply, ResponseError) else reply

    def expiries(self, names: Sequence[bytes]) -> list[int | None]:
        """
        When each of *names* expires: Unix milliseconds, `NEVER`, `GONE`, or None if it is denied.

        PEXPIRETIME is exact; before Redis 7.0 it is this machine's clock plus PTTL.
        """
        if self._has_expire_time:
            replies = self._each([("PEXPIRETIME", name) for name in names])
            unknown = [r for r in replies if isinstance(r, ResponseError) and "unknown" in str(r)]
            # A missing right for the newer command is no reason to give up the older one.
            if not unknown and not any(isinstance(r, NoPermissionError) for r in replies):
                return [reply if isinstance(reply, int) else None for reply in replies]
            self._has_expire_time = False
        now = int(time.time() * 1000)
        replies = self._each([("PTTL", name) for name in names])
        return [_expiry(reply, now) for reply in replies]

    def compare_and_set(
        self, swaps: Sequence[tuple[bytes, bytes, bytes]]
    ) -> list[Answer | Refusal]:
        """
        Replace each value that is still the one that was read, keeping its TTL to the millisecond.

        *swaps* are names, old values and new values. Nothing is created: a name that is gone stays
        gone. The answers are in the order of *swaps*.
        """
        return self.start_compare_and_set([Swap.whole(*swap) for swap in swaps])()

    def start_compare_and_set(self, swaps: Sequence[Swap]) -> Callable[[], list[Answer | Refusal]]:
        """The same, but what is returned waits for the answers and gives them."""
        if not self._script_loaded:
            self._load_script()
        batches = [
            batch
            for group in self._groups([swap.name for swap in swaps])
            for batch in cut(group, swaps)
        ]
        replies = self._start([call([swaps[index] for index in batch]) for batch in batches])
        return partial(self._finish_swaps, swaps, batches, replies)

    def _finish_swaps(
        self,
        swaps: Sequence[Swap],
        batches: list[list[int]],
        replies: Callable[[], list[Any]],
    ) -> list[Answer | Refusal]:
        answers: list[Answer | Refusal] = [Answer.GONE] * len(swaps)
        alone: list[int] = []
        for batch, reply in zip(batches, replies(), strict=True):
            if isinstance(reply, ResponseError):
                # One name spoilt it, or the script was forgotten: each gets a call of its own.
                self._script_loaded &= not isinstance(reply, NoScriptError)
                alone += batch
                continue
            for index, one in zip(batch, reply, strict=True):
                answers[index] = _answer(one)
        if alone and not self._script_loaded:
            self._load_script()
        singly = self._each([call([swaps[index]]) for index in alone])
        for index, reply in zip(alone, singly, strict=True):
            answers[index] = _answer(reply if isinstance(reply, ResponseError) else reply[0])
        return answers

    def _load_script(self) -> None:
        self._ask("SCRIPT", "LOAD", SCRIPT)
        self._script_loaded = True

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


def _value(reply: Any) -> Value:
    if reply is None:
        return Unread.GONE
    if not isinstance(reply, ResponseError):
        return bytes(reply)
    refused = refusal(reply)
    if refused.message.startswith(_WRONG_TYPE):
        return Unread.NOT_STRING
    return Unread.DENIED if refused.meaning is Meaning.DENIED else refused


def _expiry(reply: Any, now: int) -> int | None:
    if not isinstance(reply, int):
        return None
    return reply if reply in {NEVER, GONE} else now + reply


def _answer(reply: int | bytes | ResponseError) -> Answer | Refusal:
    if isinstance(reply, int):
        return Answer(reply)
    refused = refusal(reply)
    if refused.message.startswith(_WRONG_TYPE):  # a list took the value's place since it was read
        return Answer.CHANGED
    return Answer.DENIED if refused.meaning is Meaning.DENIED else refused
