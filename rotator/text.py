"""
Points in time as options write them: `05:00`, `2026-11-24T05:00Z`.

- `HH:MM` is the next moment at which a clock on the wall shows that. Where the clock is put back
  and shows it twice, the next of the two counts; a time that it skips counts as if it had not been
  put forward yet, so that 02:30 is then 03:30.
- A date and time without a zone is one of the wall clock; its first one, where it is shown twice.

`now` is passed in, and the zone too, as far as it is not the system's (`TZ`, else
/etc/localtime).

How counts, times and durations are put into words.

The last resort: what looks like a secret is taken out of a text before anyone can read it.

Nothing that is written relies on this. Secrets are kept out of messages where those are made; this
stands behind, for a library that puts the URL it was given into an exception, or for a mistake.

Taken out are: runs of 64 and more hex characters (keys; and so the SHA-256 in a hashed name too),
user and password in a URL, the values of URL parameters that are named like a secret, and long
literals of bytes, as `repr` writes them (keys, values, plaintexts).

Durations as options and configuration write them: `90s`, `15m`, `2h`, `30d`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_END = datetime(9999, 12, 31, tzinfo=UTC)


def rfc3339(at: datetime) -> str:
    """*at* as ``2026-11-23T10:00:00Z``."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def many(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 visit`, `1,204 visits`, `2 entries`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def span(seconds: float) -> str:
    """How long something took: `0.4 s`, `42 s`, `3 min 12 s`, `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minute:02d} min"
    return f"{minutes} min {second:02d} s" if minutes else f"{second} s"


def size(number: int) -> str:
    """An amount of data: `0 B`, `336 B`, `287 MB`, in powers of ten."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def when(at: datetime) -> str:
    """A point in time, to the second: `2026-11-23 10:00:00 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def add_clamped(at: datetime, length: timedelta) -> datetime:
    """A time *length* after *at*, or the end of the calendar."""
    return at + length if length < _END - at else _END


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


MASK = "***"


_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64,}")


# Up to the last @, because a password in a URL may hold one that nobody escaped.
_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)\S*@")


_PARAMETER = re.compile(
    r"([?&;][\w.-]*(?:token|secret|pass|pwd|key|credential|auth|sig)[\w.-]*=)[^&;#\s'\"]+",
    re.IGNORECASE,
)


_BYTES = re.compile(r"""\bb(?:'(?:[^'\\]|\\.){16,}'|"(?:[^"\\]|\\.){16,}")""")


def redact(text: str) -> str:
    """*text* with `***` in place of everything that looks like a secret."""
    text = _BYTES.sub(f"b'{MASK}'", text)
    text = _USER_INFO.sub(rf"\1{MASK}@", text)
    text = _PARAMETER.sub(rf"\1{MASK}", text)
    return _HEX_KEY.sub(MASK, text)


_DURATION = re.compile(r"([0-9]{1,10})([smhd])")


_SECONDS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


# Added to any date of today it stays a date; what is longer is a mistake.
LONGEST = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta:
    """
    Read one whole number and its unit: s, m, h or d.

    Raises:
        ValueError: It is not written like that, or is longer than a hundred years.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected a duration such as 90s, 15m, 2h or 30d")
    number, unit = match.groups()
    if int(number) > LONGEST / _SECONDS[unit]:
        raise ValueError("expected a duration of at most 36500d")
    return int(number) * _SECONDS[unit]


def escape(text: str) -> str:
    r"""*text* with every character that cannot be printed as `\x1b` or `\u200b`."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    """One character as Python would write it."""
    return ascii(character)[1:-1]
