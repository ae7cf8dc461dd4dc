"""What a sweep met under one key, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from rotator.drain import Drain

NAMES = 10
"""How many names are kept for each key."""
PREFIXES = 20
"""How many name prefixes are told apart for each key; the others are counted under ``""``."""

_PREFIX_LENGTH = 64
_COUNTS = (
    "found",
    "rotated",
    "remaining",
    "remaining_without_ttl",
    "too_large",
    "too_large_without_ttl",
    "size",
)
_TIMES = ("first_seen_at", "last_seen_at", "last_too_large_at")


@dataclass(slots=True)
class KeyTally:
    """
    What was met under one key.

    *found* counts the visits that met it, *rotated* those that moved the value to the current key,
    *remaining* those that left a value under it; *remaining_without_ttl* and *too_large* are among
    the remaining, *too_large_without_ttl* among both. *size* is that of all values found, in bytes.
    *samples* and *drain* are of those that remain; *prefixes* also of those that were rotated.

    *last_seen_at* leaves out values that are too large to move (*last_too_large_at* is theirs):
    they are known, they stay, and they do not show that something still encrypts with the key.
    """

    found: int = 0
    rotated: int = 0
    remaining: int = 0
    remaining_without_ttl: int = 0
    too_large: int = 0
    too_large_without_ttl: int = 0
    size: int = 0
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    last_too_large_at: datetime | None = None
    prefixes: dict[str, int] = field(default_factory=dict)
    samples: list[bytes] = field(default_factory=list)
    drain: Drain = field(default_factory=Drain)

    def meet(self, size: int, at: datetime, count: int = 1) -> None:
        """Count values, of *size* bytes together, that were met and do not stay."""
        self.found += count
        self.size += size
        if self.last_seen_at is None or at > self.last_seen_at:
            self.last_seen_at = at
        if self.first_seen_at is None or at < self.first_seen_at:
            self.first_seen_at = at

    def stay(
        self, size: int, at: datetime, name: bytes, expires_at_ms: int | None, *, too_large: bool
    ) -> None:
        """Count a value that was met and stays until *expires_at_ms*."""
        without_ttl = expires_at_ms is None or expires_at_ms < 0
        if too_large:
            self.found += 1
            self.size += size
            self.too_large += 1
            self.too_large_without_ttl += without_ttl
            self.first_seen_at = min(_known(self.first_seen_at, at))
            self.last_too_large_at = max(_known(self.last_too_large_at, at))
        else:
            self.meet(size, at)
        self.remaining += 1
        self.remaining_without_ttl += without_ttl
        self.drain.add(expires_at_ms)
        self.count_prefixes([name])
        if len(self.samples) < NAMES and name not in self.samples:
            self.samples.append(name)

    def count_prefixes(self, names: Sequence[bytes]) -> None:
        """
        Count the parts of names before their first colon.

        What is after it may be a logical key in clear; without a colon the whole name may be.
        """
        if not names:
            return
        # Nearly always the first one's is everybody's; then there is little to do for each.
        head = names[0][: names[0].find(b":") + 1]
        others = [name for name in names if not (head and name.startswith(head))]
        heads = Counter([name[: name.find(b":") + 1] for name in others])
        if len(others) < len(names):
            heads[head] = len(names) - len(others)
        for head, count in heads.items():
            prefix = head[:-1].decode("utf-8", "replace")[:_PREFIX_LENGTH]
            if prefix not in self.prefixes and len(self.prefixes) >= PREFIXES - 1:
                prefix = ""
            self.prefixes[prefix] = self.prefixes.get(prefix, 0) + count

    def merge(self, other: KeyTally) -> None:
        """Take in what *other* counted; *other* stays as it is."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, choose in zip(_TIMES, (min, max, max), strict=True):
            setattr(
                self, name, choose(_known(getattr(self, name), getattr(other, name)), default=None)
            )
        for prefix, count in other.prefixes.items():
            self.prefixes[prefix] = self.prefixes.get(prefix, 0) + count
        self.prefixes = _most_frequent(self.prefixes)
        self.samples = list(dict.fromkeys(self.samples + other.samples))[:NAMES]
        self.drain.merge(other.drain)

    def settled(self) -> KeyTally:
        """Only what was rotated, and when the key was met."""
        return KeyTally(
            found=self.rotated,
            rotated=self.rotated,
            first_seen_at=self.first_seen_at,
            last_seen_at=self.last_seen_at,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; names as hex, times as ISO 8601."""
        saved: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS}
        for name in _TIMES:
            at = getattr(self, name)
            saved[name] = at and at.isoformat()
        saved["prefixes"] = dict(self.prefixes)
        saved["samples"] = [name.hex() for name in self.samples]
        saved["drain"] = self.drain.to_dict()
        return saved

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The counts that `to_dict` wrote down."""
        counts = {name: saved[name] for name in _COUNTS}
        times: dict[str, Any] = {
            name: saved[name] and datetime.fromisoformat(saved[name]) for name in _TIMES
        }
        return cls(
            **counts,
            **times,
            prefixes=dict(saved["prefixes"]),
            samples=[bytes.fromhex(name) for name in saved["samples"]],
            drain=Drain.from_dict(saved["drain"]),
        )


def _most_frequent(prefixes: dict[str, int]) -> dict[str, int]:
    """At most `PREFIXES` of them; the names of the others are counted under ``""``."""
    if len(prefixes) <= PREFIXES:
        return prefixes
    named = sorted(((count, prefix) for prefix, count in prefixes.items() if prefix), reverse=True)
    kept = {prefix: count for count, prefix in named[: PREFIXES - 1]}
    return {**kept, "": sum(prefixes.values()) - sum(kept.values())}


def _known(*times: datetime | None) -> list[datetime]:
    """Those of the times that are not None."""
    return [at for at in times if at is not None]
