"""
Selector: says of each value whether it is kept, rewritten, deleted or reported; pure.

A sweep, `purge` and `adopt` differ in nothing else.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import ClassVar, Literal, NamedTuple

from rotator.crypto.codec import Codec, Reason
from rotator.crypto.keyring import Key
from rotator.server.replies import ErrorReply, NoValue
from rotator.server.scripts import Replacement
from rotator.server.store import Value
from rotator.tally.tally import Outcome

_GROWTH = 4  # at most, of a value in another format: two hex digits a byte, and what is around them

Recorded = StrEnum | tuple[str, ...]
"""The outcome that a name was tallied with, or the ids of the keys that its value stays under."""


Fields = tuple[str, ...] | Literal["*"] | None
"""The names of fields of hashes, or all of them; None: of no hash."""


class Candidate(NamedTuple):
    """
    Candidate: one value to be judged.

    It may have been written under one of the *others*, names of its page, and moved; *closely* is
    whether that is worth the decryptions.
    """

    name: bytes
    value: bytes
    others: Sequence[bytes]
    closely: bool


class Kept(NamedTuple):
    """
    Kept: a value that stays as it is, or a name without one.

    *keys* are those that the value stays under, outermost first, if they are to be tallied; *size*
    is its own, in bytes. *reason* is counted, *detail* only shown. *listed* is whether the name is
    reported among the problems.
    """

    name: bytes
    outcome: StrEnum
    keys: tuple[Key, ...] = ()
    size: int = 0
    reason: str = ""
    detail: str = ""
    listed: bool = True


class Deletion(NamedTuple):
    """Deletion: takes a value away if it is still *old*; *reason* is counted when it is done."""

    name: bytes
    old: bytes
    reason: str = ""


class Selector(ABC):
    """
    Selector: says what becomes of each value.

    Values under a key of *movable* are rewritten at sight, the others only looked at; with None
    every value is judged. *largest* is the size, in bytes, of the longest value that the node
    takes. Outcomes in *lists* are problems even if nobody looked at the value. *only_named*: of
    hashes only fields that are named are visited.
    """

    deletes: ClassVar[bool] = False
    only_named: ClassVar[bool] = False
    lists: ClassVar[Collection[StrEnum]] = (Outcome.DENIED,)
    not_readable: ClassVar[str] = "the user may not read it"
    movable: Collection[Key] | None = None
    largest: int = 1 << 29
    writes: bool = False

    def fields(self, configured: Fields) -> Fields:
        """Return which fields of hashes are visited, of those that the configuration has."""
        return None if configured == "*" and self.only_named else configured

    @abstractmethod
    def judge(self, candidate: Candidate) -> Kept | Replacement | Deletion:
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

    def judge(self, candidate: Candidate) -> Kept | Replacement | Deletion:
        """Decide about one value."""
        name, value, others, closely = candidate
        opened, size = self._codec.open(name, value), len(value)
        if isinstance(opened, Reason):
            reason = self._codec.explain(name, value, opened, others) if closely else opened
            return Kept(name, Outcome.UNDECRYPTABLE, (), size, reason, f"{size} bytes")
        keys = opened.keys
        if opened.inner:
            return Kept(name, Outcome.NESTED, keys, size)
        if not self._codec.needs_rewrite(opened):
            return Kept(name, Outcome.CURRENT, keys, size, listed=False)
        stays = Kept(name, Outcome.WOULD_ROTATE, keys, size, listed=False)
        moves = opened.key in self.movable
        if not moves and size * _GROWTH <= self.largest:  # it fits in any format
            return stays
        new = self._codec.rewrite(name, opened)
        if max(size, len(new)) > self.largest:  # both are sent, to compare and to set
            return Kept(name, Outcome.TOO_LARGE, keys, size)
        return Replacement(name, value, new, opened.key) if moves else stays


def recorded_as(name: bytes, value: Value, codec: Codec) -> Recorded | None:
    """Return what a value would be recorded as; None: it is current, or gone."""
    if isinstance(value, ErrorReply):
        return Outcome.FAILED
    if isinstance(value, NoValue):
        return None if value is NoValue.GONE else Outcome(value.value)
    opened = codec.open(name, value)
    if isinstance(opened, Reason):
        return Outcome.UNDECRYPTABLE
    current = not opened.inner and not codec.needs_rewrite(opened)
    return None if current else tuple(key.id for key in opened.keys)
