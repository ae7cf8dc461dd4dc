"""
When the values that stay under an old key will be gone by themselves.

A TTL may be anything up to 2^63 ms, and there may be a billion of them, so expiries are counted in
a histogram of full hours that never holds more than `BUCKETS` of them. When it would, the far ones
are rounded up to days, months, years and so on; rounding up is the careful side, because a value is
then said to be gone too late, never too early. What stays exact: the number of values, the latest
expiry, and every hour near the first expiry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

NEVER = -1
"""The expiry of a value without TTL, as PEXPIRETIME and PTTL answer it."""

BUCKETS = 1024
HOURS = 48
DAYS = 400

_HOUR_MS = 3_600_000
_NEAR = 256  # so many buckets stay hours when the far ones are rounded
_STEPS = (24, 720, 8_760, 87_600, 876_000)  # day, month, year, decade, century, in hours
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAR = datetime(9999, 12, 31, 23, tzinfo=UTC)
"""Stands for every expiry that no calendar knows."""
_FAR_HOUR = int((FAR - _EPOCH) / timedelta(hours=1))
_FAR_MS = _FAR_HOUR * _HOUR_MS


@dataclass(slots=True)
class Drain:
    """
    A bounded histogram of expiries.

    *never* counts the values that have no TTL, or whose TTL is not known; *hours* maps a full hour
    since 1970 to how many values are gone by then; *latest_ms* is the latest expiry in unix
    milliseconds, or None.
    """

    never: int = 0
    hours: dict[int, int] = field(default_factory=dict)
    latest_ms: int | None = None

    def add(self, expires_at_ms: int | None) -> None:
        """Count one value; None (not known) and `NEVER` count as without TTL."""
        if expires_at_ms is None or expires_at_ms < 0:
            self.never += 1
            return
        expires_at_ms = min(expires_at_ms, _FAR_MS)
        hour = -(-expires_at_ms // _HOUR_MS)
        self.hours[hour] = self.hours.get(hour, 0) + 1
        if self.latest_ms is None or expires_at_ms > self.latest_ms:
            self.latest_ms = expires_at_ms
        if len(self.hours) > BUCKETS:
            self._coarsen()

    @property
    def total(self) -> int:
        """How many values were counted."""
        return self.never + sum(self.hours.values())

    @property
    def latest(self) -> datetime | None:
        """The latest expiry (UTC); None when no value has a TTL."""
        if self.latest_ms is None:
            return None
        return _EPOCH + timedelta(milliseconds=self.latest_ms)

    def remaining(self, at: datetime) -> int:
        """How many values are still there at *at*, never fewer than there will be."""
        if self.latest is not None and at >= self.latest:
            return self.never
        hour = (at - _EPOCH) // timedelta(hours=1)
        return self.never + sum(count for gone_by, count in self.hours.items() if gone_by > hour)

    def curve(self, now: datetime) -> list[tuple[datetime, int]]:
        """
        How many values remain at each full hour after *now*, until it gets no less.

        Hours for two days, then days for 400; what is left then goes into one last point. At least
        one point, and never more than 449.
        """
        points: list[tuple[datetime, int]] = []
        for at in _full_hours(now):
            points.append((at, self.remaining(at)))
            if points[-1][1] == self.never:
                return points
        return [*points, (_next_hour(self.latest or FAR), self.never)]

    def merge(self, other: Drain) -> None:
        """Take in what *other* counted."""
        self.never += other.never
        for hour, count in other.hours.items():
            self.hours[hour] = self.hours.get(hour, 0) + count
        if other.latest_ms is not None:
            self.latest_ms = max(other.latest_ms, self.latest_ms or 0)
        if len(self.hours) > BUCKETS:
            self._coarsen()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "never": self.never,
            "hours": sorted(self.hours.items()),
            "latest_ms": self.latest_ms,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The histogram that `to_dict` wrote down."""
        return cls(saved["never"], dict(saved["hours"]), saved["latest_ms"])

    def _coarsen(self) -> None:
        """Round the far hours up until at most half of the buckets are in use."""
        for step in _STEPS:
            near = set(sorted(self.hours)[:_NEAR])
            rounded: dict[int, int] = {}
            for hour, count in self.hours.items():
                gone_by = hour if hour in near else min(-(-hour // step) * step, _FAR_HOUR)
                rounded[gone_by] = rounded.get(gone_by, 0) + count
            self.hours = rounded
            if len(rounded) <= BUCKETS // 2:
                return


def _next_hour(at: datetime) -> datetime:
    """The first full hour at or after *at*."""
    full = at.replace(minute=0, second=0, microsecond=0)
    return full if full in {at, FAR} else full + timedelta(hours=1)


def _full_hours(now: datetime) -> list[datetime]:
    """The points of a curve: `HOURS` full hours after *now*, then one each day for `DAYS`."""
    first = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    hours = [first + timedelta(hours=n) for n in range(HOURS)]
    return hours + [hours[-1] + timedelta(days=n) for n in range(1, DAYS + 1)]
