"""
Selector: says of each value whether it is kept, rewritten, deleted or reported; pure.

A sweep, `purge` and `adopt` differ in nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, NamedTuple

from rotator.crypto.codec import Codec, Refused
from rotator.crypto.keyring import Key
from rotator.tally.tally import Outcome


class Candidate(NamedTuple):
    """Candidate: one value to be judged, *closely* if it is worth the decryptions."""

    name: bytes
    value: bytes
    others: Sequence[bytes]
    closely: bool


class Action(StrEnum):
    """Action: says what is done with a value."""

    KEEP = "keep"
    REPORT = "report"  # kept, and listed among the problems
    REWRITE = "rewrite"
    DELETE = "delete"


@dataclass(slots=True)
class Decision:
    """
    Decision: says what becomes of one value, and why.

    *outcome* is what the visit counts as if nothing is written. *reason* is counted, *detail* only
    shown. *keys* are those that the value is under, outermost first, if they are to be tallied.
    *new* was encrypted for it, with a *prefix* that no other value has.
    """

    outcome: StrEnum
    action: Action = Action.KEEP
    reason: str = ""
    detail: str = ""
    keys: tuple[Key, ...] = ()
    new: bytes | None = field(default=None, repr=False)
    prefix: int | None = None


class Selector(ABC):
    """
    Selector: says of each value whether it is kept, rewritten, deleted or reported.

    Values under a key of *movable* are rewritten at sight, the others only looked at; with None
    every value is judged. *largest* is the size, in bytes, of the longest value that the node
    takes. Outcomes in *lists* are problems even if nobody looked at the value.
    """

    deletes: ClassVar[bool] = False
    lists: ClassVar[Collection[StrEnum]] = (Outcome.DENIED,)
    not_readable: ClassVar[str] = "the user may not read it"
    movable: Collection[Key] | None = None
    largest: int = 1 << 29
    writes: bool = False

    @abstractmethod
    def judge(self, candidate: Candidate) -> Decision:
        """Decide about one value."""


class Rotation(Selector):
    """Rotation: rewrites values under old keys, or under one, whose id is *only_key*."""

    lists = (Outcome.DENIED, Outcome.NOT_STRING)
    not_readable = ""

    def __init__(
        self, codec: Codec, *, writes: bool, only_key: str | None = None, largest: int = 1 << 29
    ) -> None:
        self.writes = writes
        self.largest = largest
        self.movable: Collection[Key] = frozenset(
            key for key in codec.keyring.all if writes and only_key in {None, key.id}
        )
        self._codec = codec

    def judge(self, candidate: Candidate) -> Decision:
        """Decide about one value."""
        name, value, others, closely = candidate
        opened = self._codec.open(name, value)
        if isinstance(opened, Refused):
            reason = opened.reason
            if closely:
                reason = self._codec.explain(name, value, reason, others)
            detail = f"{len(value)} bytes"
            return Decision(Outcome.UNDECRYPTABLE, Action.REPORT, reason, detail)
        keys = (opened.key, *opened.inner)
        if opened.inner:
            return Decision(Outcome.NESTED, Action.REPORT, keys=keys)
        if not self._codec.needs_rewrite(opened):
            return Decision(Outcome.CURRENT, keys=keys)
        if opened.key not in self.movable:
            return Decision(Outcome.WOULD_ROTATE, keys=keys)
        new, prefix = self._codec.rewrite(name, opened), opened.format.telling_size
        if max(len(value), len(new)) > self.largest:  # both are sent, to compare and to set
            return Decision(Outcome.TOO_LARGE, Action.REPORT, keys=keys, new=new)
        return Decision(Outcome.ROTATED, Action.REWRITE, keys=keys, new=new, prefix=prefix)
