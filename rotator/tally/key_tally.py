"""
Key tally: counts one key; its expiry histogram.

A TTL may be anything up to 2^63 ms, and there may be a billion of them, so expiries are counted in
a histogram of full hours that never holds more than `BUCKETS` of them. When it would, the far ones
are rounded up to days, months, years and so on; rounding up is the careful side, because a value is
then said to be gone too late, never too early. What stays exact: the number of values, the latest
expiry, and every hour near the first expiry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from rotator.crypto.layout import FieldName

NEVER = -1
"""The expiry of a value without TTL, as PEXPIRETIME and PTTL answer it."""
FAR = datetime(9999, 12, 31, 23, tzinfo=UTC)
"""Stands for every expiry that no calendar knows."""
BUCKETS = 1024
"""How many hours a histogram tells apart."""
HOURS = 48
"""How many points of a drain curve are an hour apart; `DAYS` more are a day apart."""
DAYS = 400
NAMES = 10
"""How many names are kept for each key."""
PREFIXES = 20
"""How many name prefixes are told apart for each key; the others are counted under ``""``."""

_HOUR_MS = 3_600_000
_NEAR = 256  # so many buckets stay hours when the far ones are rounded
_STEPS = (24, 720, 8_760, 87_600, 876_000)  # day, month, year, decade, century, in hours
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR_HOUR = int((FAR - _EPOCH) / timedelta(hours=1))
_FAR_MS = _FAR_HOUR * _HOUR_MS
_PREFIX_LENGTH = 64
_TIMES = ("first_seen_at", "last_seen_at", "last_too_large_at")


@dataclass(slots=True)
class ExpiryHistogram:
    """
    Expiry histogram: counts expiries in bounded memory.

    *without_ttl* counts the values that have no TTL, or whose TTL is not known; *buckets* maps a
    full hour since 1970 to how many values are gone by then; *latest_ms* is the latest expiry in
    unix milliseconds, or None.
    """

    without_ttl: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    latest_ms: int | None = None

    def add(self, expires_at_ms: int | None) -> None:
        """Count one value; None (not known) and `NEVER` count as without TTL."""
        if expires_at_ms is None or expires_at_ms < 0:
            self.without_ttl += 1
            return
        expires_at_ms = min(expires_at_ms, _FAR_MS)
        hour = -(-expires_at_ms // _HOUR_MS)
        self.buckets[hour] = self.buckets.get(hour, 0) + 1
        if self.latest_ms is None or expires_at_ms > self.latest_ms:
            self.latest_ms = expires_at_ms
        if len(self.buckets) > BUCKETS:
            self._coarsen()

    @property
    def latest(self) -> datetime | None:
        """The latest expiry (UTC); None when no value has a TTL."""
        if self.latest_ms is None:
            return None
        return _EPOCH + timedelta(milliseconds=self.latest_ms)

    def remaining(self, at: datetime) -> int:
        """Return how many values are still there at *at*, never fewer than there will be."""
        if self.latest is not None and at >= self.latest:
            return self.without_ttl
        hour = (at - _EPOCH) // timedelta(hours=1)
        return self.without_ttl + sum(
            count for gone_by, count in self.buckets.items() if gone_by > hour
        )

    def curve(self, now: datetime) -> list[tuple[datetime, int]]:
        """
        Return how many values remain at each full hour after *now*, until it gets no less.

        Hours for two days, then days for 400; what is left then goes into one last point. At least
        one point, and never more than 449.
        """
        points: list[tuple[datetime, int]] = []
        for at in _full_hours(now):
            points.append((at, self.remaining(at)))
            if points[-1][1] == self.without_ttl:
                return points
        return [*points, (_next_hour(self.latest or FAR), self.without_ttl)]

    def merge(self, other: ExpiryHistogram) -> None:
        """Take in what *other* counted."""
        self.without_ttl += other.without_ttl
        for hour, count in other.buckets.items():
            self.buckets[hour] = self.buckets.get(hour, 0) + count
        if other.latest_ms is not None:
            self.latest_ms = max(other.latest_ms, self.latest_ms or 0)
        if len(self.buckets) > BUCKETS:
            self._coarsen()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, under the names that files have had from the first."""
        hours = sorted(self.buckets.items())
        return {"never": self.without_ttl, "hours": hours, "latest_ms": self.latest_ms}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """Return the histogram that `to_dict` wrote down."""
        return cls(saved["never"], dict(saved["hours"]), saved["latest_ms"])

    def _coarsen(self) -> None:
        """Round the far hours up until at most half of the buckets are in use."""
        for step in _STEPS:
            near = set(sorted(self.buckets)[:_NEAR])
            rounded: dict[int, int] = {}
            for hour, count in self.buckets.items():
                gone_by = hour if hour in near else min(-(-hour // step) * step, _FAR_HOUR)
                rounded[gone_by] = rounded.get(gone_by, 0) + count
            self.buckets = rounded
            if len(rounded) <= BUCKETS // 2:
                return


def _next_hour(at: datetime) -> datetime:
    """Return the first full hour at or after *at*."""
    full = at.replace(minute=0, second=0, microsecond=0)
    return full if full in {at, FAR} else full + timedelta(hours=1)


def _full_hours(now: datetime) -> list[datetime]:
    """Return the points of a curve: `HOURS` full hours after *now*, then one each of `DAYS`."""
    first = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    hours = [first + timedelta(hours=n) for n in range(HOURS)]
    return hours + [hours[-1] + timedelta(days=n) for n in range(1, DAYS + 1)]


@dataclass(slots=True)
class KeyTally:
    """
    Key tally: counts what was met under one key.

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
    drain: ExpiryHistogram = field(default_factory=ExpiryHistogram)

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
            self.first_seen_at = min(_known(self.first_seen_at, at), default=None)
            self.last_too_large_at = max(_known(self.last_too_large_at, at), default=None)
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
        self.found += other.found
        self.rotated += other.rotated
        self.remaining += other.remaining
        self.remaining_without_ttl += other.remaining_without_ttl
        self.too_large += other.too_large
        self.too_large_without_ttl += other.too_large_without_ttl
        self.size += other.size
        self.first_seen_at = min(_known(self.first_seen_at, other.first_seen_at), default=None)
        self.last_seen_at = max(_known(self.last_seen_at, other.last_seen_at), default=None)
        self.last_too_large_at = max(
            _known(self.last_too_large_at, other.last_too_large_at), default=None
        )
        for prefix, count in other.prefixes.items():
            self.prefixes[prefix] = self.prefixes.get(prefix, 0) + count
        self.prefixes = _most_frequent(self.prefixes)
        self.samples = list(dict.fromkeys(self.samples + other.samples))[:NAMES]
        self.drain.merge(other.drain)

    def settled(self) -> KeyTally:
        """Return only what was rotated, its share of the size, and when the key was met."""
        return KeyTally(
            found=self.rotated,
            rotated=self.rotated,
            size=self.size * self.rotated // self.found if self.found else 0,
            first_seen_at=self.first_seen_at,
            last_seen_at=self.last_seen_at,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; names as hex, times as ISO 8601."""
        # By hand, as pydantic takes three times as long for it, once a second.
        saved = {name: getattr(self, name) for name in self.__slots__}
        saved |= {name: saved[name] and saved[name].isoformat() for name in _TIMES}
        saved["samples"] = [name_text(name) for name in self.samples]
        return saved | {"prefixes": dict(self.prefixes), "drain": self.drain.to_dict()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """Return the counts that `to_dict` wrote down."""
        known = {name: saved[name] for name in cls.__slots__}
        known |= {name: known[name] and datetime.fromisoformat(known[name]) for name in _TIMES}
        known["samples"] = [name_of(text) for text in saved["samples"]]
        known["drain"] = ExpiryHistogram.from_dict(saved["drain"])
        return cls(**known | {"prefixes": dict(saved["prefixes"])})


def _most_frequent(prefixes: dict[str, int]) -> dict[str, int]:
    """Return at most `PREFIXES` of them; the others are counted under ``""``."""
    if len(prefixes) <= PREFIXES:
        return prefixes
    named = sorted(((count, prefix) for prefix, count in prefixes.items() if prefix), reverse=True)
    kept = {prefix: count for count, prefix in named[: PREFIXES - 1]}
    return {**kept, "": sum(prefixes.values()) - sum(kept.values())}


def _known(*times: datetime | None) -> Iterator[datetime]:
    """Return those of the times that are not None."""
    return (at for at in times if at is not None)


def name_text(name: bytes) -> str:
    """Return a name as a text, hex; that of a field is the one of its hash, a dot and its own."""
    return f"{name.hex()}.{name.field.hex()}" if isinstance(name, FieldName) else name.hex()


def name_of(text: str) -> bytes:
    """Return the name that `name_text` made a text of."""
    name, dot, field = text.partition(".")
    return FieldName(bytes.fromhex(name), bytes.fromhex(field)) if dot else bytes.fromhex(name)
