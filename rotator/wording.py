"""How counts, times and durations are put into words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

_UNITS = (
    (timedelta(days=1), "day", "d"),
    (timedelta(hours=1), "hour", "h"),
    (timedelta(minutes=1), "minute", "m"),
)
_SHOWN = 3


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 value`, `3 values`, `2 entries`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def ago(at: datetime, now: datetime) -> str:
    """How long before *now* that was, in the largest unit that fits: `1 minute ago`."""
    for unit, noun, _ in _UNITS:
        if now - at >= unit:
            return f"{count((now - at) // unit, noun)} ago"
    return "less than a minute ago"


def duration(length: timedelta) -> str:
    """A duration as options take it, in the largest unit that fits exactly: `90s`, `1h`, `30d`."""
    for unit, _, letter in _UNITS:
        if length >= unit and not length % unit:
            return f"{length // unit}{letter}"
    return f"{length.total_seconds():g}s"


def moment(at: datetime) -> str:
    """A point in time, to the minute: `2026-11-20 10:00 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def clock(at: datetime, now: datetime) -> str:
    """A point in time without its date if that is today's: `11:02 UTC`."""
    if at.astimezone(UTC).date() == now.astimezone(UTC).date():
        return f"{at.astimezone(UTC):%H:%M} UTC"
    return moment(at)


def begin_with(prefixes: Iterable[str]) -> str:
    """Where names begin, for the end of a sentence: ` (names begin with /app/oidc)`, or nothing."""
    shown = [prefix for prefix in prefixes if prefix][:_SHOWN]
    return f" (names begin with {', '.join(shown)})" if shown else ""


def listing(parts: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
