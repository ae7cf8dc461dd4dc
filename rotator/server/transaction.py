"""
Transaction: reads names under WATCH, and replaces values if nothing has touched any of them.

- WATCH, MGET and MULTI go together, the SETs and EXEC when it is known what to write. So MULTI is
  answered before the first SET leaves: were it refused, the SETs behind it would be carried out at
  once, over whatever is there by then.
- EXEC does nothing if a name was written, deleted or has expired since WATCH, whatever it holds now
  (https://redis.io/docs/latest/develop/using-commands/transactions/). A name that had expired
  before WATCH does not count, hence XX: KEEPTTL alone makes an immortal entry (redis-rules 2.3).
- WATCH belongs to a connection and EXEC ends all of it: one transaction at a time on each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Protocol

from redis.exceptions import ExecAbortError, ResponseError

from rotator.errors import LostError
from rotator.server.connection import Connection
from rotator.server.replies import (
    AnswerError,
    ErrorKind,
    ErrorReply,
    SetResult,
    answer_of,
    error_reply,
    set_answers,
    understood,
    values_of,
)
from rotator.server.scripts import Replacement
from rotator.server.wire.pending import Command, Reply

NAMES_A_TRANSACTION = 50
"""WATCH goes through all names that are watched for each one: 400 cost half as much again."""

_NAMES_READ_BEFORE = 10  # fewer, where a name has been read long before: it may have changed

_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_SET = b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$2\r\nXX\r\n$7\r\nKEEPTTL\r\n"
_REASON = "because of: "  # what EXECABORT says before the error of the server

Answers = list[SetResult | ErrorReply]


class Transactional(Protocol):
    """Transactional: a node that begins transactions; see `Store`."""

    def begin(self, names: Sequence[bytes]) -> Transaction:
        """Begin a transaction of *names*."""

    def groups(self, names: Sequence[bytes], most: int) -> list[list[int]]:
        """Return indices of *names* that one transaction may have."""

    def get(self, name: bytes) -> Reply:
        """Return the reply to GET."""


class Transaction:
    """
    Transaction: is begun for *names*, in a cluster of one slot; ends by `commit` or `discard`.

    *asking*: ASKING comes before each command; inside a transaction it holds on.

    Raises (every method that waits):
        LostError: The connection broke, or it is not told what became of the transaction.
        AnswerError: An answer is not understood.
    """

    __slots__ = ("_begun", "_connection", "_step", "names", "refusal")

    def __init__(
        self, connection: Connection, names: Sequence[bytes], *, asking: bool = False
    ) -> None:
        self.names = names
        self.refusal: ErrorReply | None = None
        self._connection = connection
        self._step = 2 if asking else 1
        commands: list[Command] = [("WATCH", *names), *self.reads(), ("MULTI",)]
        if asking:
            commands = [one for command in commands for one in (("ASKING",), command)]
        self._begun = connection.submit(commands)

    def values(self) -> list[bytes | None] | None:
        """
        Return the values, None for a name that has none or no string; None for all if refused.

        *refusal* is then why it was not begun, if it was not: a name is denied, or on the move.
        """
        watched, *read, begun = self._begun.result()[self._step - 1 :: self._step]
        for reply in (begun, watched):
            if isinstance(reply, ResponseError):
                self.refusal = error_reply(reply)
            elif reply != b"OK":
                raise AnswerError(f"{self.node} gave an answer to WATCH or MULTI that is not OK")
        if isinstance(begun, ResponseError):
            self._connection.pipeline([("UNWATCH",)])
        elif self.refusal is not None:
            self._connection.pipeline([("EXEC",)])
        return self.found(read)

    def reads(self) -> list[Command]:
        """Return what asks for the values."""
        return [("MGET", *self.names)]

    def found(self, replies: Sequence[Reply]) -> list[bytes | None] | None:
        """Return the values that the answers to that hold; None for all if they were refused."""
        [reply] = replies
        if isinstance(reply, ResponseError):
            return None
        return understood(self.node, "MGET", values_of, reply, len(self.names))

    def commit(self, swaps: Sequence[Replacement]) -> Callable[[], Answers]:
        """
        Replace values, all or none; what is returned waits for the answers, in their order.

        The values to replace are those that were read since the names are watched. CHANGED says
        that nothing was done, for whatever reason, and that the name may be tried again.
        """
        if self.refusal is not None:
            changed: Answers = [SetResult.CHANGED] * len(swaps)
            refused = [_refused(self.refusal)] if len(self.names) == 1 else changed
            return lambda: refused
        commands = self.writes(swaps)
        commands.append(_EXEC)
        pending = self._connection.submit(commands, hold=True)
        return lambda: self.answers(pending.result())

    def writes(self, swaps: Sequence[Replacement]) -> list[Command]:
        """Return what replaces values."""
        return [_SET % (len(name), name, len(new), new) for name, _, new, _ in swaps]

    def written(self, replies: Sequence[Reply]) -> Answers:
        """Return what the answers to that say when all of it was done."""
        return set_answers(self.node, replies, SetResult.GONE)

    def discard(self) -> None:
        """End it without a write; the answer comes before that of the next one."""
        if self.refusal is None:
            self._connection.submit([_EXEC], hold=True)  # DISCARD would be one more right

    @property
    def node(self) -> str:
        """The node's name in errors: its address."""
        return str(self._connection.address)

    def answers(self, replies: Sequence[Reply]) -> Answers:
        """Return what EXEC has done, or why it did nothing."""
        done, count = replies[-1], len(replies) - 1
        if type(done) is list and len(done) == count == replies.count(b"QUEUED"):
            return self.written(done)
        *queued, _ = replies
        if any(reply != b"QUEUED" and not isinstance(reply, ResponseError) for reply in queued):
            raise AnswerError(f"{self.node} gave an answer to SET that is not QUEUED")
        if done is None:
            return [SetResult.CHANGED] * len(queued)
        if isinstance(done, ExecAbortError):
            reason = str(done).partition(_REASON)[2]
            otherwise = answer_of(reason.encode()) if reason else SetResult.CHANGED
            errors = [isinstance(reply, ResponseError) for reply in queued]
            return [
                answer_of(reply) if error else otherwise
                for reply, error in zip(queued, errors, strict=True)
            ]
        if not isinstance(done, ResponseError):
            raise AnswerError(f"{self.node} gave an answer to EXEC that is not understood")
        self._connection.close()  # it may still be open there
        raise LostError(f"{self.node} does not say what became of a transaction: {done}")


def replace(
    node: Transactional, swaps: Sequence[Replacement], most: int = _NAMES_READ_BEFORE
) -> Answers:
    """Replace values that are still the old ones; a name that spoils that of others comes alone."""
    answers: dict[int, SetResult | ErrorReply] = {}
    for group in node.groups([swap.name for swap in swaps], most):
        first: dict[bytes, int] = {}
        for index in group:
            first.setdefault(swaps[index].name, index)
        done = _replace_group(node, [swaps[index] for index in first.values()])
        answers |= {i: one for i, one in zip(first.values(), done, strict=True) if one is not None}
        for index in group:
            if index in answers:
                continue
            if len(group) > 1:
                answers[index] = replace(node, [swaps[index]])[0]
            else:
                answers[index] = _why_not(node.get(swaps[index].name))
    return [answers[index] for index in range(len(swaps))]


def _replace_group(
    node: Transactional, swaps: Sequence[Replacement]
) -> list[SetResult | ErrorReply | None]:
    """Replace values in one transaction; None: not done, and it may have been for another name."""
    begun = node.begin([swap.name for swap in swaps])
    held = begun.values() or [None] * len(swaps)
    still = [value == swap.old for swap, value in zip(swaps, held, strict=True)]
    if begun.refusal is not None and len(swaps) == 1:
        return [_refused(begun.refusal)]
    if not any(still):
        begun.discard()
        return [None] * len(swaps)
    answers = iter(begun.commit(list(compress(swaps, still)))())
    found = [next(answers) if same else None for same in still]
    return [None if answer is SetResult.CHANGED else answer for answer in found]


def _why_not(reply: Reply) -> SetResult | ErrorReply:
    """Return why a value was not replaced, by what GET says of it."""
    if isinstance(reply, ResponseError):
        return answer_of(reply)
    return SetResult.GONE if reply is None else SetResult.CHANGED


def _refused(refusal: ErrorReply) -> SetResult | ErrorReply:
    return SetResult.DENIED if refusal.meaning is ErrorKind.DENIED else refusal
