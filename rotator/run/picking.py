"""
Picking: says which values purge and adopt are for.

- A purge deletes the values under one old key, or those that nothing opens. A value is under a key
  if authenticated decryption says so; no header is believed. One that holds another is deleted if
  its outer layer is under the key, unless the current key is inside; one that has the key inside
  only is left, and counted as nested. What opens under the current key is never picked.
- An adoption encrypts what is stored as it is: values that no configured format could have, by
  structure alone, and that do not look encrypted. Any other that does not open is left and listed:
  encrypted once more nobody could tell what it is.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from rotator.crypto.codec import Codec, Opened, Reason
from rotator.crypto.foreign import looks_encrypted
from rotator.crypto.format_search import search_formats
from rotator.crypto.keyring import Key
from rotator.crypto.layout import Format
from rotator.errors import ConfigError, EmptyError
from rotator.server.context import CacheContext
from rotator.server.scripts import Replacement
from rotator.sweep.node.selector import Candidate, Deletion, Kept, Selector
from rotator.sweep.scope import matcher
from rotator.tally.tally import BulkOutcome, Outcome, Tally
from rotator.text import count

REASONS: Final = (Reason.UNKNOWN_KEY_ID, Reason.WRONG_NAME, Reason.BAD_TAG)
"""The reasons to delete for, unless others are named: what looks encrypted and does not open."""
KEPT: Final = 100
"""How many of the picked values are looked at more closely."""
_LARGEST_KEPT = 1 << 14  # bytes


def _left(candidate: Candidate, outcome: StrEnum, why: str = "", *, listed: bool = False) -> Kept:
    """Leave a value, and count why."""
    reason = why and f"{outcome}.{why}"
    return Kept(candidate.name, outcome, (), len(candidate.value), reason, why, listed)


@dataclass(eq=False)
class PurgeKey(Selector):
    """Purge by key: picks the values under *key*, which must not be the current one."""

    deletes = True
    codec: Codec
    key: Key

    def __post_init__(self) -> None:
        if self.key is self.codec.keyring.current:
            raise ValueError("the current key is not purged")

    def judge(self, candidate: Candidate) -> Kept | Deletion:
        """Decide about one value."""
        opened = self.codec.open(candidate.name, candidate.value)
        if not isinstance(opened, Opened):
            return _left(candidate, Outcome.UNDECRYPTABLE, opened)
        current = self.codec.keyring.current
        if opened.key is self.key and current in opened.inner:
            return _left(candidate, Outcome.NESTED, "the current key is inside", listed=True)
        if opened.key is self.key and self.writes:
            return Deletion(candidate.name, candidate.value)
        if opened.key is self.key:
            return _left(candidate, BulkOutcome.PICKED)
        if self.key in opened.inner:
            why = f"the key is inside, under {opened.key.id}"
            return _left(candidate, Outcome.NESTED, why, listed=True)
        return _left(candidate, Outcome.CURRENT if opened.key is current else BulkOutcome.OTHER_KEY)


@dataclass(eq=False)
class PurgeUndecryptable(Selector):
    """
    Purge of what nothing opens: picks the values that do not open for some *reasons*.

    *others* are the codecs of other caches, which may share the server: what is theirs is left.
    Unless *allow_empty* at least one value must open. *kept* are some of the picked, by name.
    """

    deletes = True
    codec: Codec
    reasons: Collection[Reason] = REASONS
    others: Sequence[Codec] = ()
    allow_empty: bool = False
    kept: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    def judge(self, candidate: Candidate) -> Kept | Deletion:
        """Decide about one value; one that was moved here is known by the names of its page."""
        name, value = candidate.name, candidate.value
        opened = self.codec.open(name, value)
        if isinstance(opened, Opened):
            current = opened.key is self.codec.keyring.current
            return _left(candidate, Outcome.CURRENT if current else BulkOutcome.OTHER_KEY)
        reason = self.codec.explain(name, value, opened, candidate.others)
        if reason not in self.reasons:
            return _left(candidate, Outcome.UNDECRYPTABLE, reason)
        if any(isinstance(other.open(name, value), Opened) for other in self.others):
            return _left(candidate, BulkOutcome.OTHER_CACHE)
        if len(self.kept) < KEPT and len(value) <= _LARGEST_KEPT:
            self.kept[name] = value
        if self.writes:
            return Deletion(name, value, reason)
        return _left(candidate, BulkOutcome.PICKED, reason)

    def require_sound(self, context: CacheContext, found: Tally) -> None:
        """Raise ConfigError if picked values open in another format, EmptyError if none opens."""
        cache = context.cache.name
        kept = {(0, name): value for name, value in self.kept.items()}
        if others := search_formats(self.codec, context.formats, kept).guesses:
            raise ConfigError(
                f"{len(others):,} of {count(len(kept), 'value')} of {cache} that were tried"
                " open under a configured key, in a format that is not configured",
                hint="put what `rotator detect` prints into the configuration, then try again",
            )
        opened = found.outcomes[Outcome.CURRENT] + found.outcomes[BulkOutcome.OTHER_KEY]
        if not opened and not self.allow_empty:
            raise EmptyError(
                f"not one value of {cache} opens, so nothing was deleted",
                hint="are keys and formats right? `rotator detect` tells; --allow-empty goes on",
            )


@dataclass(eq=False)
class Adoption(Selector):
    """
    Adoption: picks plaintext with names that `rotator run` visits too, those that match *within*.

    It is encrypted as *form*. Values that look encrypted are left, unless *allow_random*.
    *encryptions* counts the values that were encrypted under the current key, stored or not.
    """

    only_named = True
    codec: Codec
    form: Format
    within: Sequence[str] = ("*",)
    allow_random: bool = False
    encryptions: int = 0

    def __post_init__(self) -> None:
        self._matches = matcher(self.within).fullmatch

    def judge(self, candidate: Candidate) -> Kept | Replacement:
        """Decide about one value."""
        name, value = candidate.name, candidate.value
        if not self._matches(name):
            return _left(candidate, BulkOutcome.OUTSIDE)
        opened = self.codec.open(name, value)
        if isinstance(opened, Opened):
            return _left(candidate, BulkOutcome.ENCRYPTED)
        no_format = opened is Reason.NOT_A_FORMAT
        if not no_format or (looks_encrypted(value) and not self.allow_random):
            why = "looks encrypted" if no_format else opened
            return _left(candidate, Outcome.UNDECRYPTABLE, why, listed=True)
        if not self.writes:
            return _left(candidate, BulkOutcome.PICKED)
        new = self.codec.seal(name, value, self.form)
        self.encryptions += 1
        if len(new) > self.largest:
            detail = f"{len(new)} bytes when encrypted, the server takes {self.largest}"
            return Kept(name, Outcome.FAILED, detail=detail)
        return Replacement(name, value, new)


def purge_key(
    contexts: Sequence[CacheContext], start: str, *, named: bool
) -> tuple[dict[CacheContext, Selector], str]:
    """
    Return what purges the key whose id has this *start*, for each cache that has it, and the id.

    ConfigError: no key or several begin so, it is current, or a *named* cache does not have it.
    """
    found = [
        (one, one.codec, key)
        for one in contexts
        for key in (one.codec.keyring.all if one.codec else ())
        if one.codec is not None and key.id.startswith(start.lower())
    ]
    ids = sorted({key.id for _, _, key in found})
    hint = "`rotator keys` lists the key ids"
    if not ids:
        raise ConfigError(f"--key {start}: no key id begins like that", hint=hint)
    if len(ids) > 1:
        more = f"give more of it: {', '.join(ids)}"
        raise ConfigError(f"--key {start}: several key ids begin like that", hint=more)
    for one, codec, key in found:
        if key is codec.keyring.current:
            raise ConfigError(
                f"--key {start}: it is the current key of the cache {one.cache.name},"
                " and that is never purged",
                hint="make another key current and rotate first; or name other caches with --cache",
            )
    selectors: dict[CacheContext, Selector] = {
        one: PurgeKey(codec, key) for one, codec, key in found
    }
    for one in contexts:
        if named and one not in selectors:
            name = one.cache.name
            raise ConfigError(f"--key {start}: the cache {name} does not have it", hint=hint)
    return selectors, ids[0]


def purge_undecryptable(
    contexts: Sequence[CacheContext],
    every: Sequence[CacheContext],
    reasons: Sequence[Reason],
    allow_empty: bool,
) -> dict[CacheContext, Selector]:
    """Return what purges values that no key of *every* cache opens, else raise ConfigError."""
    codecs = {one.cache.name: one.codec for one in every if one.codec is not None}
    selectors: dict[CacheContext, Selector] = {}
    for context in contexts:
        others = [other for name, other in codecs.items() if name != context.cache.name]
        if codec := context.codec:
            selectors[context] = PurgeUndecryptable(codec, reasons, others, allow_empty)
    if not selectors:
        raise ConfigError("the cache is not encrypted", hint="it has no undecryptable values")
    return selectors
