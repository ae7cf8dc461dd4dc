"""
Points in time as options write them: `05:00`, `2026-11-24T05:00Z`.

- `HH:MM` is the next moment at which a clock on the wall shows that. Where the clock is put back
  and shows it twice, the next of the two counts; a time that it skips counts as if it had not been
  put forward yet, so that 02:30 is then 03:30.
- A date and time without a zone is one of the wall clock; its first one, where it is shown twice.

`now` is passed in, and the zone too, as far as it is not the system's (`TZ`, else
/etc/localtime).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DATED = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_DAYS = (-1, 0, 1, 2)  # around today in UTC; the wall clock's date may be another one
EXPECTED = "expected a time to come, such as 05:00 or 2026-11-24T05:00Z"


def parse_deadline(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """
    The point in time, in UTC, that *text* names; *zone* None is the system's.

    Raises:
        ValueError: It is not written like that, there is no such date, or it is not after *now*.
    """
    text = text.strip()
    if clock := _CLOCK.fullmatch(text):
        return _next(time(int(clock[1]), int(clock[2])), now, zone)
    if not _DATED.fullmatch(text):
        raise ValueError(EXPECTED)
    try:
        at = datetime.fromisoformat(text)
        at = at.astimezone(UTC) if at.tzinfo else _first(at, zone)
    except (ValueError, OverflowError, OSError):  # the last from a C library, of far years
        raise ValueError(f"{text} is no date and time; {EXPECTED}") from None
    if at <= now:
        raise ValueError(f"{text} is past; {EXPECTED}")
    return at


def _next(clock: time, now: datetime, zone: tzinfo | None) -> datetime:
    """The next moment after *now* at which the wall clock shows *clock*."""
    today = now.astimezone(UTC).date()
    return min(
        at
        for days in _DAYS
        for at in _moments(today + timedelta(days=days), clock, zone)
        if at > now
    )


def _first(at: datetime, zone: tzinfo | None) -> datetime:
    """The first moment at which the wall clock shows *at*."""
    return min(_moments(at.date(), at.time(), zone))


def _moments(day: date, clock: time, zone: tzinfo | None) -> set[datetime]:
    """The moments, in UTC, at which the wall clock shows this: one, or two when it is put back."""
    shown = datetime.combine(day, clock)
    both = [_utc(shown.replace(fold=fold), zone) for fold in (0, 1)]
    return {at for at in both if _wall(at, zone) == shown} or {both[0]}


def _utc(shown: datetime, zone: tzinfo | None) -> datetime:
    """What the wall clock shows, in UTC; without a zone it is taken for the system's."""
    return shown.replace(tzinfo=zone).astimezone(UTC)


def _wall(at: datetime, zone: tzinfo | None) -> datetime:
    """What the wall clock shows then."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)
