"""
Store: scans, reads, compares-and-sets, compares-and-deletes.

- All methods act on the selected database; call `select` first.
- Nothing here decides what a value is; it moves bytes.
- No answer is taken as "skip this name": what could not be read or written says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from redis.crc import key_slot
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from rotator.server.connection import Connection
from rotator.server.node import Node
from rotator.server.replies import (
    WRONG_TYPE,
    AnswerError,
    ErrorKind,
    ErrorReply,
    NoValue,
    SetResult,
    answer_of,
    error_reply,
    exchanged,
    scan_page,
    set_answers,
    text_of,
    understood,
    values_of,
)
from rotator.server.scripts import (
    DELETE_SCRIPT,
    DELETE_SCRIPT_SHA,
    SCRIPT,
    Replacement,
    Way,
    call,
    cut,
    set_if_equal,
)
from rotator.server.transaction import NAMES_A_TRANSACTION, Answers, Transaction, replace
from rotator.server.wire.pending import Command

NEVER = -1  # an expiry that is none, as PEXPIRETIME answers it
GONE = -2  # and that of a name that is not there
START = b"0"  # the cursor that begins a scan, and ends it
_BYTES_A_REPLY = 1 << 17


Value = bytes | NoValue | ErrorReply


class Store(Node):
    """Store: does what rotator does with the names and values of one node, over one connection."""

    def __init__(
        self, connection: Connection, *, clustered: bool | None = None, asking: bool = False
    ) -> None:
        super().__init__(connection, clustered=clustered)
        self.asks = asking  # before each command
        self._loaded: set[bytes] = set()  # scripts
        self.way = Way.SCRIPT  # how values are exchanged
        self.field_way = Way.SCRIPT  # how those in fields of hashes are
        self.exchanged_fields = False
        self.has_field_ttls: bool | None = None  # None: it was not asked yet
        self.sizes: list[int] = []  # of the values that were read last, in bytes
        self.pages = 0  # how often SCAN gave one
        self._has_expire_time = True

    def start_pages(
        self, cursors: Sequence[bytes], pattern: str | None, count: int, *more: str
    ) -> Callable[[], list[tuple[bytes, list[bytes]]]]:
        """
        Ask for a page of SCAN at each cursor; gives what waits for the next cursors and names.

        The cursor `START` ends a scan; pages may be empty, names come twice. *more* is asked, too.
        """
        more = more if pattern is None else ("MATCH", pattern, *more)
        commands = [("SCAN", cursor, "COUNT", count, *more) for cursor in cursors]
        replies = self.start(commands)
        return lambda: list(map(self._finish_page, commands, replies()))

    def _finish_page(self, command: Sequence[Any], reply: Any) -> tuple[bytes, list[bytes]]:
        if isinstance(reply, ResponseError):
            reply = self.ask(*command)
        cursor, names = understood(self.node, "SCAN", scan_page, reply)
        self.pages += 1
        if cursor == command[1] != START:
            raise AnswerError(f"{self.node}: the scan does not end: the same cursor came again")
        return cursor, names

    def page(self, cursor: bytes, *asked: Any) -> tuple[bytes, list[bytes]]:
        """Return the next cursor and names: one page of SCAN, *asked* for as by `start_pages`."""
        return self.start_pages([cursor], *asked)()[0]

    def read(self, names: Sequence[bytes]) -> list[Value]:
        """Return the values of *names*, in their order."""
        return self.start_read(names)()

    def start_read(self, names: Sequence[bytes]) -> Callable[[], list[Value]]:
        """
        Ask for the values of *names*; what is returned waits for them and gives them.

        MGET answers nil for what is gone and for what is no string, and nothing at all if one name
        is denied, so those are asked for one by one.
        """
        most = self._names_a_reply()
        groups = self.groups(names, most)
        replies = self.start([("MGET", *[names[i] for i in group]) for group in groups])
        return partial(self._finish_read, names, groups, replies)

    def _names_a_reply(self) -> int:
        """Return how many names a reply may have to stay small, going by the last values."""
        mean = sum(self.sizes) // len(self.sizes) if self.sizes else 0
        return max(_BYTES_A_REPLY // max(mean, 1), 1)

    def _finish_read(
        self, names: Sequence[bytes], groups: list[list[int]], replies: Callable[[], list[Any]]
    ) -> list[Value]:
        values: list[Value] = [NoValue.GONE] * len(names)
        alone: list[int] = []
        self.sizes = []
        for group, reply in zip(groups, replies(), strict=True):
            if isinstance(reply, ResponseError):
                found: list[bytes | None] = [None] * len(group)
            else:
                found = understood(self.node, "MGET", values_of, reply, len(group))
            self.sizes += map(len, filter(None, found))
            for index, held in zip(group, found, strict=True):
                if held is None:
                    alone.append(index)
                else:
                    values[index] = held
        singly = self.read_singly([names[index] for index in alone])
        for index, value in zip(alone, singly, strict=True):
            values[index] = value
        return values

    def read_singly(self, names: Sequence[bytes]) -> list[Value]:
        """Return the values of *names*, each asked for by itself, or why there is none."""
        return [self._value(reply) for reply in self.each([("GET", name) for name in names])]

    def _value(self, reply: Any) -> Value:
        if reply is None:
            return NoValue.GONE
        if not isinstance(reply, ResponseError):
            return understood(self.node, "GET", text_of, reply)
        refused = error_reply(reply)
        if refused.message.startswith(WRONG_TYPE):
            return NoValue.NOT_STRING
        return NoValue.DENIED if refused.meaning is ErrorKind.DENIED else refused

    def asking(self) -> Store:
        """
        Return the same node, asked to serve slots that are just being moved to it.

        https://redis.io/docs/latest/commands/asking/
        """
        return Store(self.connection, asking=True, clustered=True)

    def _groups(self, names: Sequence[bytes]) -> list[list[int]]:
        """Return indices of *names*, a list a command: in a cluster those of one slot."""
        if not self.clustered:
            return [list(range(len(names)))] if names else []
        slots: dict[int, list[int]] = {}
        for index, name in enumerate(names):
            # Multi-name commands fail while a slot is on the move, so nothing is grouped then.
            slots.setdefault(index if self.asks else key_slot(name), []).append(index)
        return list(slots.values())

    def start(self, commands: Sequence[Command]) -> Callable[[], list[Any]]:
        """Send *commands*, each preceded by ASKING where that is needed; gives their replies."""
        if not commands:
            return list
        if not self.asks:
            return self.connection.submit(commands).result
        preceded = [one for command in commands for one in (("ASKING",), command)]
        pending = self.connection.submit(preceded)
        return lambda: pending.result()[1::2]

    def each(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies to *commands*, each about one name; an error reply is one of them."""
        return self.start(commands)()

    def answer(self, *command: Any) -> Any:
        """Return the reply to one command about one name, or an `ErrorReply`."""
        reply = self.each([command])[0]
        return error_reply(reply) if isinstance(reply, ResponseError) else reply

    def expiries(self, names: Sequence[bytes]) -> list[int | None]:
        """
        Return when each of *names* expires: Unix ms, `NEVER`, `GONE`, or None if it is denied.

        PEXPIRETIME is exact; before Redis 7.0 it is this machine's clock plus PTTL.
        """
        if self._has_expire_time:
            replies = self.each([("PEXPIRETIME", name) for name in names])
            unknown = [r for r in replies if isinstance(r, ResponseError) and "unknown" in str(r)]
            # A missing right for the newer command is no reason to give up the older one.
            if not unknown and not any(isinstance(r, NoPermissionError) for r in replies):
                return [_expiry(reply, 0) for reply in replies]
            self._has_expire_time = False
        now = int(time.time() * 1000)
        return [_expiry(reply, now) for reply in self.each([("PTTL", name) for name in names])]

    def compare_and_set(self, swaps: Sequence[tuple[bytes, bytes, bytes]]) -> Answers:
        """
        Replace each value that is still the one that was read, keeping its TTL to the millisecond.

        *swaps* are names, old values and new values. Nothing is created: a name that is gone stays
        gone. The answers are in the order of *swaps*.
        """
        return self.start_compare_and_set([Replacement(*swap) for swap in swaps])()

    def start_compare_and_set(self, swaps: Sequence[Replacement]) -> Callable[[], Answers]:
        """Do the same, but return at once; what is returned waits for the answers."""
        if self.way is Way.IFEQ:
            commands = [set_if_equal(name, old, new) for name, old, new, _ in swaps]
            replies = self.start(commands)
            # Nil may be gone as well, which the next look shows.
            return lambda: set_answers(self.node, replies(), SetResult.CHANGED)
        if self.way is Way.TRANSACTION:
            answers = replace(self, swaps)
            return lambda: answers
        return self.start_calls(
            SCRIPT,
            [swap.name for swap in swaps],
            [len(swap.old) + len(swap.new) for swap in swaps],
            lambda batch: call([swaps[index] for index in batch]),
        )

    def begin(self, names: Sequence[bytes]) -> Transaction:
        """Begin a transaction of *names*, each there once, in a cluster all of one slot."""
        return Transaction(self.connection, names, asking=self.asks)

    def groups(self, names: Sequence[bytes], most: int = NAMES_A_TRANSACTION) -> list[list[int]]:
        """Return indices of *names* that one command may have, *most* of them or fewer."""
        return [
            group[start : start + most]
            for group in self._groups(names)
            for start in range(0, len(group), most)
        ]

    def get(self, name: bytes) -> Any:
        """Return the reply to GET; an error reply is returned, too."""
        return self.each([("GET", name)])[0]

    def compare_and_delete(self, entries: Sequence[tuple[bytes, bytes]]) -> Answers:
        """Delete each name whose value is still the one given with it; answer in their order."""
        names, values = [name for name, _ in entries], [value for _, value in entries]

        def command(batch: Sequence[int]) -> Command:
            some = [names[index] for index in batch], [values[index] for index in batch]
            return ("EVALSHA", DELETE_SCRIPT_SHA, len(batch), *some[0], *some[1])

        return self.start_calls(DELETE_SCRIPT, names, [*map(len, values)], command)()

    def start_calls(
        self,
        script: bytes,
        names: Sequence[bytes],
        sizes: Sequence[int],
        command: Callable[[Sequence[int]], Command],
    ) -> Callable[[], Answers]:
        """
        Have *script* answer for each of *names*; what is returned waits for the answers.

        *sizes* are what each takes of a call, in bytes; *command* calls it for some of the names,
        by their indices. It is loaded before the first call, and when the server has forgotten it.
        """
        if not names:
            return list
        if script not in self._loaded:
            self.ask("SCRIPT", "LOAD", script)
            self._loaded.add(script)
        batches = [batch for group in self._groups(names) for batch in cut(group, sizes)]
        replies = self.start([command(batch) for batch in batches])
        return partial(self._finish_calls, script, batches, replies, command)

    def _finish_calls(
        self,
        script: bytes,
        batches: list[list[int]],
        replies: Callable[[], list[Any]],
        command: Callable[[Sequence[int]], Command],
    ) -> Answers:
        said = replies()
        if len(said) == 1 and not isinstance(said[0], ResponseError):
            return self._answers(said[0], len(batches[0]))
        answers: dict[int, SetResult | ErrorReply] = {}
        alone: list[int] = []
        for batch, reply in zip(batches, said, strict=True):
            if isinstance(reply, ResponseError):
                # One name spoilt it, or the script was forgotten: each gets a call of its own.
                alone += batch
            else:
                answers.update(zip(batch, self._answers(reply, len(batch)), strict=True))
        if any(isinstance(reply, NoScriptError) for reply in said):
            self.ask("SCRIPT", "LOAD", script)
        for index, reply in zip(alone, self.each([command([one]) for one in alone]), strict=True):
            refused = isinstance(reply, ResponseError)
            answers[index] = answer_of(reply) if refused else self._answers(reply, 1)[0]
        return [answers[index] for index in range(len(answers))]

    def _answers(self, reply: Any, count: int) -> Answers:
        """Return what a script says of *count* names."""
        return [answer_of(one) for one in understood(self.node, "EVALSHA", exchanged, reply, count)]


def _expiry(reply: Any, now: int) -> int | None:
    """Return when a name expires; what is not told, or no answer at all, is not known."""
    if type(reply) is not int or reply < GONE:
        return None
    return reply if reply in {NEVER, GONE} else now + reply
