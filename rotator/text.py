"""
Text: writes numbers, lists and times for people, reads durations and times, escapes, redacts.

One function for each, so that a report never says one thing in two ways. For people a number is
grouped (`16,631`, the format `:,`) and a time is in UTC; to the minute in a sentence, to the second
where a report lists facts. `now` is passed in, and the zone too, as far as it is not the system's
(`TZ`, else /etc/localtime).
"""

import json
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import partial

_LONGEST = timedelta(days=36_500)  # that is read: added to any date of today it stays a date
_EXPECTED = "expected a future time, such as 05:00 or 2026-11-24T05:00Z"
_EXPECTED_PAST = "expected a past time, such as 14:30 or 2026-11-24T14:30Z"
SHORT_ID = 8  # of a key id's 16 characters tell it apart for people
_MASK = "***"
_now = partial(datetime.now, UTC)
_END = datetime(9999, 12, 31, tzinfo=UTC)
_DAY, _HOUR, _MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
_UNITS = {"d": _DAY, "h": _HOUR, "m": _MINUTE, "s": timedelta(seconds=1)}
_NOUNS = {"d": "day", "h": "hour", "m": "minute"}
_DURATION = re.compile(r"([0-9]{1,10})([smhd])")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DATED = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_DAYS = range(-2, 3)  # around today in UTC; the wall clock's date may be another one
_PREFIXES = 3  # of names, in one sentence

# A server may send what is slow to look through: each pattern passes a character a few times at
# most, whatever stands around it. `++` gives nothing back.
_HEX_KEY = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64,}+")
_NOT_PLAIN = re.compile(r"[^\n\x20-\x7e]")
_WORD = re.compile(r"\S++")
_PARAMETER = re.compile(
    r"([?&;](?=[\w.-]*?(?:token|secret|pass|pwd|key|credential|auth|sig))[\w.-]++=)[^&;#\s'\"]++",
    re.IGNORECASE,
)
# https://github.com/redis/redis/blob/7.0/src/server.c, `rejectCommandFormat`: unknown commands
_REPEATED = re.compile(r",? with args beginning with.*", re.DOTALL)
_EXCERPT, _TELLS = 200, 64  # characters of what a server says, and of a name that is looked for
_SHORT = 4  # characters of one that is not looked for: it may be part of any word
_BYTES = re.compile(r"""\bb(?:'(?:[^'\\]|\\.){16,}'|"(?:[^"\\]|\\.){16,}")""")


# Counts, sizes, lists


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 value`, `16,631 values`, `2 entries`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def digits(number: float) -> str:
    """Return a number as options take it, never rounded or with an exponent: `0.5`, `1048577`."""
    return f"{number:.16g}"


def size(number: int) -> str:
    """Return an amount of data: `0 B`, `336 B`, `287 MB`, in powers of ten."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def percent(share: float) -> str:
    """Return a share of 1 as people read it: `0%`, `under 0.1%`, `3.2%`, `45%`."""
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"


def short_id(key_id: str) -> str:
    """Return as much of a key id as people need: `9f2c41d0`."""
    return key_id[:SHORT_ID]


def listing(parts: Iterable[str]) -> str:
    """Join at least one part: `a`, `a and b`, `a, b and c`."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def begin_with(prefixes: Iterable[str]) -> str:
    """Return how names begin, to end a sentence: ` (names begin with /app/oidc)`, or nothing."""
    shown = [prefix for prefix in prefixes if prefix][:_PREFIXES]
    return f" (names begin with {', '.join(shown)})" if shown else ""


# Durations


def duration(length: timedelta) -> str:
    """Return a duration as options take it, in the largest unit that fits exactly: `90s`, `30d`."""
    for letter, unit in _UNITS.items():
        if length >= unit and not length % unit:
            return f"{length // unit}{letter}"
    return f"{length.total_seconds():g}s"


def utc_now() -> datetime:
    """Return the time of day; nobody else asks the clock, so a test can set it in one place."""
    return _now()


def elapsed(seconds: float) -> str:
    """Return how long something took: `0.4 s`, `42 s`, `3 min 12 s`, `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minute:02d} min"
    return f"{minutes} min {second:02d} s" if minutes else f"{second} s"


def about(length: timedelta) -> str:
    """Return an estimated duration in one unit: `40 s`, `12 min`, `3 h`, `2.5 d`."""
    seconds = length.total_seconds()
    for unit, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit * (1.0 if unit < 86_400 else 1.5):
            return f"{f'{seconds / unit:.1f}'.removesuffix('.0')} {word}"
    return f"{seconds:.3g} s"


def parse_duration(text: str) -> timedelta:
    """
    Read one whole number and its unit, s, m, h or d: `90s`, `15m`, `2h`, `30d`.

    Raises:
        ValueError: It is not written like that, or is longer than a hundred years.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected a duration such as 90s, 15m, 2h or 30d")
    number, letter = match.groups()
    if int(number) > _LONGEST / _UNITS[letter]:
        raise ValueError("expected a duration of at most 36500d")
    return int(number) * _UNITS[letter]


# Points in time


def rfc3339(at: datetime) -> str:
    """Return a time as JSON has it, to the second: `2026-11-23T10:00:00Z`."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def minute(at: datetime, *, year: bool = True) -> str:
    """Return a time to the minute, for a list, in UTC: `2026-11-20 10:00`, `11-20 10:00`."""
    return f"{at.astimezone(UTC):{'%Y-' if year else ''}%m-%d %H:%M}"


def moment(at: datetime) -> str:
    """Return a time to the minute, for a sentence: `2026-11-20 10:00 UTC`."""
    return f"{minute(at)} UTC"


def stamp(at: datetime) -> str:
    """Return a time to the second, for a fact of a report: `2026-11-20 10:00:00 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(at: datetime, now: datetime) -> str:
    """Return a time, without its date if that is today's: `11:02 UTC`."""
    today = at.astimezone(UTC).date() == now.astimezone(UTC).date()
    return f"{at.astimezone(UTC):%H:%M} UTC" if today else moment(at)


def rounded_up(at: datetime) -> datetime:
    """Return a time rounded up to the minute: nothing is to be promised too early."""
    return add_clamped(at, (_END - at) % _MINUTE)


def ago(at: datetime, now: datetime) -> str:
    """Return how long before *now* that was, in the largest unit that fits: `1 minute ago`."""
    for letter, noun in _NOUNS.items():
        if now - at >= _UNITS[letter]:
            return f"{count((now - at) // _UNITS[letter], noun)} ago"
    return "less than a minute ago"


def add_clamped(at: datetime, length: timedelta) -> datetime:
    """Return the time *length* after *at*, or the end of the calendar."""
    return at + length if length < _END - at else _END


def parse_deadline(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """
    Read a point in time, `05:00` or `2026-11-24T05:00Z`; the result is in UTC.

    - `HH:MM` is the next moment at which a clock on the wall shows that. Where the clock is put
      back and shows it twice, the next of the two counts; a time that it skips counts as if it had
      not been put forward yet, so that 02:30 is then 03:30.
    - A date and time without a zone is one of the wall clock in *zone*, or in the system's; the
      first one, where it is shown twice.

    Raises:
        ValueError: It is not written like that, there is no such date, or it is not after *now*.
    """
    text = text.strip()
    clock, found = _read_time(text, now, zone, _EXPECTED)
    if clock:
        return min(at for at in found if at > now)
    at = min(found)
    if at <= now:
        raise ValueError(f"{text} is in the past; {_EXPECTED}")
    return at


def parse_past(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """
    Read a point in time that is past, or just now, as `parse_deadline` does; the result is in UTC.

    - `HH:MM` is the last moment at which a clock on the wall showed that.
    - Where the clock was put back and showed a time twice, the later of the two counts.

    Raises:
        ValueError: It is not written like that, there is no such date, or it is after *now*.
    """
    text = text.strip()
    _, found = _read_time(text, now, zone, _EXPECTED_PAST)
    past = [at for at in found if at <= now]
    if not past:
        raise ValueError(f"{text} is in the future; {_EXPECTED_PAST}")
    return max(past)


def _read_time(
    text: str, now: datetime, zone: tzinfo | None, expected: str
) -> tuple[bool, set[datetime]]:
    """Return whether *text* is a time of any day, and the moments around *now* that it may mean."""
    if shown := _CLOCK.fullmatch(text):
        at, today = time(int(shown[1]), int(shown[2])), now.astimezone(UTC).date()
        days = [today + timedelta(days=number) for number in _DAYS]
        return True, {moment for day in days for moment in _moments(day, at, zone)}
    if not _DATED.fullmatch(text):
        raise ValueError(expected)
    try:
        read = datetime.fromisoformat(text)
        moments = (
            {read.astimezone(UTC)} if read.tzinfo else _moments(read.date(), read.time(), zone)
        )
    except (ValueError, OverflowError, OSError):  # the last from a C library, of far years
        raise ValueError(f"{text} is not a date and time; {expected}") from None
    return False, moments


def _moments(day: date, shown: time, zone: tzinfo | None) -> set[datetime]:
    """Return when, in UTC, the wall clock shows this: once, or twice when it is put back."""
    wall = datetime.combine(day, shown)
    both = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    real = {at for at in both if at.astimezone(zone).replace(tzinfo=None, fold=0) == wall}
    return real or {both[0]}


# What others wrote


def escape(text: str) -> str:
    r"""Return *text* with every character that cannot be printed as `\x1b` or `\u200b`."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def ascii_json(text: str) -> str:
    """
    Return JSON with every character but printable ASCII and the ends of lines escaped.

    That is what `json` does by itself; other libraries leave more as it is, or DEL at least.
    """
    return _NOT_PLAIN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def redact(text: str) -> str:
    """
    Return *text* with `***` in place of everything that looks like a secret: the last resort.

    Nothing that is written relies on this. Secrets are kept out of messages where those are made;
    this stands behind, for a library that puts the URL it was given into an exception, or for a
    mistake. Taken out are: runs of 64 and more hex characters (keys; and so the SHA-256 in a hashed
    name too), user and password in a URL, the values of URL parameters that are named like a
    secret, and long literals of bytes, as `repr` writes them (keys, values, plaintexts).
    """
    text = _BYTES.sub(f"b'{_MASK}'", text)
    text = _WORD.sub(_without_user, text) if "://" in text else text
    text = _PARAMETER.sub(rf"\1{_MASK}", text)
    return _HEX_KEY.sub(_MASK, text)


def _without_user(word: re.Match[str]) -> str:
    """Return a word without user and password, if it is a URL."""
    scheme, mark, rest = word[0].partition("://")
    # Up to the last @, because a password may hold one that nobody escaped.
    _, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{_MASK}{at}{place}" if mark and at else word[0]


def excerpt(text: str, hidden: Iterable[str] = ()) -> str:
    """
    Return what may be shown of a text that came from a server: escaped, at most 200 characters.

    It ends where it begins to repeat arguments, and before the first of the *hidden* names, values
    or passwords that it repeats.
    """
    cut = _REPEATED.sub("", text[: _EXCERPT + _TELLS])
    for one in hidden:
        if len(one) >= _SHORT and (at := cut.find(one[:_TELLS])) >= 0:
            cut = f"{cut[:at]}{_MASK}"
    cut = escape(" ".join(cut.split()))
    return cut if len(cut) <= _EXCERPT else f"{cut[: _EXCERPT - 3]}..."
