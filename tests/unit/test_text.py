"""Text: numbers, durations and times that are written and read, and secrets that are masked."""

import json
import os
import secrets
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.text import (
    about,
    ago,
    ascii_json,
    clock,
    count,
    duration,
    elapsed,
    excerpt,
    listing,
    moment,
    parse_deadline,
    parse_duration,
    parse_past,
    percent,
    redact,
    rfc3339,
    rounded_up,
    short_id,
    size,
    stamp,
)

BERLIN = ZoneInfo("Europe/Berlin")  # UTC+2 from 2026-03-29 01:00 UTC to 2026-10-25 01:00 UTC


ZONES = [
    BERLIN,
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Kathmandu"),  # UTC+5:45
    ZoneInfo("Pacific/Apia"),  # UTC+13
    ZoneInfo("Pacific/Pago_Pago"),  # UTC-11
    ZoneInfo("Australia/Lord_Howe"),  # put forward by half an hour
]


def utc(text):
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class TestClock:
    """A time of the day."""

    @pytest.mark.parametrize(
        ("now", "text", "at"),
        [
            ("2026-11-24 02:00", "05:00", "2026-11-24 04:00"),
            ("2026-11-24 03:59", "05:00", "2026-11-24 04:00"),
            ("2026-11-24 04:00", "05:00", "2026-11-25 04:00"),
            ("2026-11-24 23:30", "00:45", "2026-11-24 23:45"),
            ("2026-11-24 22:30", " 00:00 ", "2026-11-24 23:00"),
            ("2026-12-31 22:30", "23:59", "2026-12-31 22:59"),
            # in the night in which the clock is put forward, and in that in which it is put back
            ("2026-03-28 22:00", "05:00", "2026-03-29 03:00"),
            ("2026-10-24 21:00", "05:00", "2026-10-25 04:00"),
            # a time that the clock skips
            ("2026-03-28 22:00", "02:30", "2026-03-29 01:30"),
            # one that it shows twice: the first, then the second, then that of the next day
            ("2026-10-24 22:00", "02:30", "2026-10-25 00:30"),
            ("2026-10-25 00:30", "02:30", "2026-10-25 01:30"),
            ("2026-10-25 01:30", "02:30", "2026-10-26 01:30"),
        ],
    )
    def test_next(self, now, text, at):
        """It is the next moment at which the wall clock shows that."""
        assert parse_deadline(text, utc(now), BERLIN) == utc(at)

    @given(
        st.integers(946_684_800, 2_114_380_800).map(lambda s: datetime.fromtimestamp(s, UTC)),
        st.times().map(lambda one: one.replace(second=0, microsecond=0)),
        st.sampled_from(ZONES),
    )
    def test_soon_and_right(self, now, clock, zone):
        """It is after now, within 25 hours, and the clock then shows it, unless it skips it."""
        at = parse_deadline(f"{clock:%H:%M}", now, zone)
        assert now < at <= now + timedelta(hours=25)
        shown = at.astimezone(zone)
        skipped = shown.utcoffset() != (at - timedelta(hours=2)).astimezone(zone).utcoffset()
        assert shown.time() == clock or skipped

    def test_the_system_knows_its_zone(self):
        """Without a zone it is that of the system: of TZ, with its own rules of summer time."""
        script = (
            "from datetime import *; from rotator.text import parse_deadline as parse\n"
            "for now in '2026-07-01', '2026-12-01':\n"
            "    print(parse('05:00', datetime.fromisoformat(now + 'T00:00Z')).isoformat())\n"
            "print(parse('2026-07-02T05:00', datetime(2026, 7, 1, tzinfo=UTC)).isoformat())"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "TZ": "CET-1CEST,M3.5.0,M10.5.0/3"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [
            "2026-07-01T03:00:00+00:00",
            "2026-12-01T04:00:00+00:00",
            "2026-07-02T03:00:00+00:00",
        ]


class TestPast:
    """A time that is past."""

    @pytest.mark.parametrize(
        ("now", "text", "at"),
        [
            ("2026-11-24 14:00", "14:30", "2026-11-24 13:30"),
            ("2026-11-24 13:30", " 14:30 ", "2026-11-24 13:30"),
            ("2026-11-24 13:29", "14:30", "2026-11-23 13:30"),
            ("2026-11-24 23:30", "00:15", "2026-11-24 23:15"),
            ("2026-12-31 23:05", "00:00", "2026-12-31 23:00"),
            # a time that the clock skipped
            ("2026-03-29 05:00", "02:30", "2026-03-29 01:30"),
            # one that it showed twice: the second, before it the first, then that of the day before
            ("2026-10-25 05:00", "02:30", "2026-10-25 01:30"),
            ("2026-10-25 01:29", "02:30", "2026-10-25 00:30"),
            ("2026-10-25 00:29", "02:30", "2026-10-24 00:30"),
        ],
    )
    def test_clock(self, now, text, at):
        """It is the last moment at which the wall clock showed that, now included."""
        assert parse_past(text, utc(now), BERLIN) == utc(at)

    @pytest.mark.parametrize(
        ("text", "at"),
        [
            ("2026-11-24T14:30Z", "2026-11-24 14:30"),
            ("2026-11-24T15:00Z", "2026-11-24 15:00"),
            ("2026-11-24T14:30+01:00", "2026-11-24 13:30"),
            ("2026-11-24 14:30:07", "2026-11-24 13:30:07"),
            ("2026-10-25T02:30", "2026-10-25 01:30"),
        ],
    )
    def test_date(self, text, at):
        """A date and time may be just now; the later counts where the clock showed it twice."""
        assert parse_past(text, utc("2026-11-24 15:00"), BERLIN) == utc(at)

    @pytest.mark.parametrize(
        "text", ["2026-11-24T15:01Z", "2026-11-24T16:00:01", "2027-01-01T00:00"]
    )
    def test_to_come(self, text):
        """What is still to come is refused."""
        with pytest.raises(ValueError, match="is in the future; expected a past time"):
            parse_past(text, utc("2026-11-24 15:00"), BERLIN)

    @pytest.mark.parametrize("text", ["", "now", "24:00", "2026-02-30T00:00Z", "2026-11-24", "1h"])
    def test_wrong(self, text):
        """What is no time is refused, with what is expected."""
        with pytest.raises(ValueError, match="expected a past time"):
            parse_past(text, utc("2026-11-24 15:00"), BERLIN)

    @given(
        st.integers(946_684_800, 2_114_380_800).map(lambda s: datetime.fromtimestamp(s, UTC)),
        st.times().map(lambda one: one.replace(second=0, microsecond=0)),
        st.sampled_from(ZONES),
    )
    def test_lately_and_right(self, now, clock, zone):
        """It is within the last 25 hours, and the clock showed it then, unless it skipped it."""
        at = parse_past(f"{clock:%H:%M}", now, zone)
        assert now - timedelta(hours=25) <= at <= now
        shown = at.astimezone(zone)
        skipped = shown.utcoffset() != (at - timedelta(hours=2)).astimezone(zone).utcoffset()
        assert shown.time() == clock or skipped


class TestDate:
    """A date and a time."""

    @pytest.mark.parametrize(
        ("text", "at"),
        [
            ("2026-11-24T05:00Z", "2026-11-24 05:00"),
            ("2026-11-24T05:00:30Z", "2026-11-24 05:00:30"),
            ("2026-11-24T05:00+01:00", "2026-11-24 04:00"),
            ("2026-11-24T05:00-05:30", "2026-11-24 10:30"),
            ("2026-11-24T05:00", "2026-11-24 04:00"),
            ("2026-11-24 05:00", "2026-11-24 04:00"),
            ("2026-10-25T02:30", "2026-10-25 00:30"),
        ],
    )
    def test_read(self, text, at):
        """Without a zone it is of the wall clock, and the first where that shows it twice."""
        assert parse_deadline(text, utc("2026-10-01 00:00"), BERLIN) == utc(at)

    def test_past(self):
        """What is past, or just now, is no time to stop at."""
        for text in ("2026-11-24T05:00Z", "2026-11-24T04:59Z"):
            with pytest.raises(ValueError, match="is in the past"):
                parse_deadline(text, utc("2026-11-24 05:00"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "5:00", "24:00", "05:60", "05:00:00", "05:00Z", "5pm", "noon", "2h", "-05:00"),
        *("2026-11-24", "20261124T0500Z", "2026-11-31T05:00Z", "2026-11-24T25:00Z"),
        *("0001-01-01T00:00+14:00", "2026-11-24T05:00+25:00", "\u0966\u096b:\u0966\u0966"),
    ],
)
def test_refused(text):
    """Whatever else is refused, with what is expected."""
    with pytest.raises(ValueError, match="such as 05:00 or 2026-11-24T05:00Z"):
        parse_deadline(text, utc("2026-11-01 00:00"), BERLIN)


def test_every_minute_of_the_day():
    """Every time of the day can be named."""
    now = utc("2026-11-24 12:00")
    for minute in range(24 * 60):
        clock = time(*divmod(minute, 60))
        assert parse_deadline(f"{clock:%H:%M}", now, UTC).time() == clock


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        (" 0s ", timedelta(0)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_whole_number_and_unit(text, expected):
    """A duration is a whole number and s, m, h or d."""
    assert expected == parse_duration(text)


@pytest.mark.parametrize("text", ["", "90", "s", "1.5h", "-1h", "1h30m", "2 h", "1w", "٣h", "2H"])
def test_anything_else_is_refused(text):
    """A duration without a unit, with a fraction, a sign or two parts is refused."""
    with pytest.raises(ValueError, match="such as 90s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36501d", "9999999999d", "9999999999s"])
def test_longer_than_a_century_is_refused(text):
    """A duration that could not be added to a date is refused."""
    with pytest.raises(ValueError, match="at most"):
        parse_duration(text)


MASKED = {
    "A key in hex is taken out.": (f"key {'ab' * 32}.", "key ***."),
    "A longer run of hex is taken out whole.": ("0F" * 40, "***"),
    "User and password are taken out of a URL.": (
        "connecting to rediss://rotator:s3cret@redis-0:6379/0 failed",
        "connecting to rediss://***@redis-0:6379/0 failed",
    ),
    "A password alone is taken out of a URL.": ("redis://:s3cret@h:1", "redis://***@h:1"),
    "A password that holds an @ is taken out whole.": ("redis://u:p@ss@h:1", "redis://***@h:1"),
    "A token is taken out of a URL.": (
        "hashivault://vault:8200/secret/data/maverics?token=hvs.abc",
        "hashivault://vault:8200/secret/data/maverics?token=***",
    ),
    "Only the secret parameters of a URL are taken out.": (
        "azurekeyvault://v?clientID=a&clientSecret=b&tenantID=c",
        "azurekeyvault://v?clientID=a&clientSecret=***&tenantID=c",
    ),
    "A parameter is recognised in any case.": (
        "delinea://h?username=a&Password=b c",
        "delinea://h?username=a&Password=*** c",
    ),
    "A key as Python shows bytes is taken out.": (f"bad {b'k' * 32!r}", "bad b'***'"),
}


KEPT = {
    "A key id stays.": "key 9f2c41d07be3a655 is old",
    "A run id stays.": "run id " + "a1" * 20,
    "An address stays.": "redis-0.internal:6379: connection refused",
    "A URL without credentials stays.": "see https://redis.io/commands/set#options",
    "A mail address stays.": "ask ops@example.org",
    "Short bytes stay.": "expected b'OK'",
}


@pytest.mark.parametrize(("text", "expected"), MASKED.values(), ids=MASKED.keys())
def test_masked(text, expected):
    """What looks like a secret is replaced, and nothing around it."""
    assert expected == redact(text)


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT.keys())
def test_kept(text):
    """What is needed to find a fault stays readable."""
    assert text == redact(text)


def test_bytes_of_any_key_are_taken_out():
    """The repr of random key material is masked whatever quotes and escapes it needs."""
    for _ in range(500):
        material = secrets.token_bytes(32)

        assert redact(f"{material.hex()} {material!r}") == "*** b'***'"


# Each makes a pattern that goes back, or begins anew at each character, look at all the rest of it.
@pytest.mark.parametrize(
    "part", ["x", "://", "a://", "token", "?token", "b'", 'b"\\', "f" * 63 + " "]
)
def test_long_text_is_masked(part):
    """A long text is masked in a moment, whatever it is made of: a square of it would not end."""
    text = f"?token{part * (200_000 // len(part))}"
    assert redact(text).endswith(part[-3:])


def test_json_is_ascii():
    """JSON is written in printable ASCII alone, and says the same."""
    said = {"Zürich \U0001f511": '\x1b[2J \x7f \x9b \u202e \u2028 \\ " \n'}
    told = ascii_json(json.dumps(said, ensure_ascii=False, indent=1))
    assert told.isascii()
    assert told.replace("\n", "").isprintable()
    assert json.loads(told) == said


@given(st.text("ab0://@?&=token'\\ \n"))
def test_masking_twice_changes_nothing(text):
    """A masked text is left alone."""
    assert redact(redact(text)) == redact(text)


class TestNumbers:
    """Counts, sizes, ids and lists as they are written."""

    @pytest.mark.parametrize(
        ("number", "noun", "plural", "expected"),
        [
            (0, "visit", None, "0 visits"),
            (1, "visit", None, "1 visit"),
            (2, "visit", None, "2 visits"),
            (16_631, "visit", None, "16,631 visits"),
            (1, "entry", "entries", "1 entry"),
            (2, "entry", "entries", "2 entries"),
        ],
    )
    def test_count(self, number, noun, plural, expected):
        """One is one and all others are many."""
        assert expected == count(number, noun, plural)

    @pytest.mark.parametrize(
        ("number", "expected"),
        [
            (0, "0 B"),
            (336, "336 B"),
            (1_000, "1.0 kB"),
            (287_000_000, "287 MB"),
            (999_600, "1.0 MB"),
            (12_300_000_000, "12 GB"),
            (2_500_000_000_000_000, "2,500.0 TB"),
        ],
    )
    def test_size(self, number, expected):
        """An amount of data is said in powers of ten."""
        assert expected == size(number)

    def test_short_id(self):
        """Eight characters of an id tell a key apart."""
        assert short_id("9f2c41d07be3a655") == "9f2c41d0"

    @pytest.mark.parametrize(
        ("parts", "said"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
    )
    def test_listing(self, parts, said):
        """The last two parts of a list are joined by a word."""
        assert listing(parts) == said


class TestDurations:
    """Durations as they are written, each for its purpose."""

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [
            (0, "0.0 s"),
            (0.44, "0.4 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (59.6, "1 min 00 s"),
            (192, "3 min 12 s"),
            (3599.7, "1 h 00 min"),
            (93_780, "26 h 03 min"),
        ],
    )
    def test_elapsed(self, seconds, expected):
        """A duration is said as people say it."""
        assert expected == elapsed(seconds)

    @pytest.mark.parametrize(
        ("seconds", "said"),
        [
            (0.5, "0.5 s"),
            (42, "42 s"),
            (90, "1.5 min"),
            (3600, "1 h"),
            (5400, "1.5 h"),
            (86_400, "24 h"),
            (172_800, "2 d"),
        ],
    )
    def test_about(self, seconds, said):
        """Lengths are said in the unit that fits."""
        assert about(timedelta(seconds=seconds)) == said

    @given(st.integers(1, 10**7))
    def test_an_option_can_be_read_again(self, seconds):
        """A duration in the form of options is read as the same duration."""
        length = timedelta(seconds=seconds)
        assert parse_duration(duration(length)) == length

    @pytest.mark.parametrize(
        ("seconds", "said"),
        [(90, "90s"), (3600, "1h"), (5400, "90m"), (86_400 * 30, "30d"), (0.5, "0.5s")],
    )
    def test_duration(self, seconds, said):
        """It has the largest unit that fits exactly."""
        assert duration(timedelta(seconds=seconds)) == said


class TestTimes:
    """Points in time as they are written: one for JSON, one for people."""

    AT = datetime(2026, 11, 23, 10, 3, 12, 999_999, tzinfo=UTC)

    def test_forms(self):
        """JSON and facts have the seconds, sentences the minute, and all are in UTC."""
        at = self.AT.astimezone(BERLIN)
        assert rfc3339(at) == "2026-11-23T10:03:12Z"
        assert moment(at) == "2026-11-23 10:03 UTC"
        assert stamp(at) == "2026-11-23 10:03:12 UTC"

    def test_clock(self):
        """The date is left out on the same day, by UTC."""
        assert clock(self.AT, self.AT + timedelta(hours=13)) == "10:03 UTC"
        assert clock(self.AT, self.AT + timedelta(hours=14)) == "2026-11-23 10:03 UTC"

    def test_rounded_up(self):
        """A time that is promised is a whole minute, the next one, to the end of the calendar."""
        whole = self.AT.replace(second=0, microsecond=0)
        for more in (timedelta(0), timedelta(microseconds=1), timedelta(seconds=58)):
            assert rounded_up(whole + more) == whole + timedelta(minutes=bool(more))
        assert rounded_up(datetime.max.replace(tzinfo=UTC)).year == 9999

    @pytest.mark.parametrize(
        ("passed", "said"),
        [
            (timedelta(seconds=-5), "less than a minute ago"),
            (timedelta(seconds=59), "less than a minute ago"),
            (timedelta(seconds=60), "1 minute ago"),
            (timedelta(hours=23), "23 hours ago"),
            (timedelta(days=1_200), "1,200 days ago"),
        ],
    )
    def test_ago(self, passed, said):
        """What has passed is said in the largest unit that fits."""
        assert ago(self.AT, self.AT + passed) == said


@pytest.mark.parametrize(
    ("text", "hidden", "shown"),
    [
        ("NOPERM this user has no permissions", (), "NOPERM this user has no permissions"),
        ("unknown command 'AUTH', with args beginning with: 'pw'", (), "unknown command 'AUTH'"),
        ("unknown command `A`, with args beginning with: `a`, ", (), "unknown command `A`"),
        ("no such name app:1, sorry", ["app:1"], "no such name ***"),
        ("first app:2 then app:1", ["app:1", "app:2"], "first ***"),
        ("a short one: abc", ["abc"], "a short one: abc"),
        ("two\nlines\x1b[31m", (), "two lines\\x1b[31m"),
        ("a" * 100_000, (), "a" * 197 + "..."),
        ("x " + "b" * 100_000, ["b" * 90_000], "x ***"),
        ("", ["anything"], ""),
    ],
)
def test_excerpt(text, hidden, shown):
    """A text from a server is cut, escaped, and ends before what it must not show."""
    assert excerpt(text, hidden) == shown


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at redis://user:p@ss@host:1/0 now", "at redis://***@host:1/0 now"),
        ("url=redis://u:p@h?token=abc&x=1", "url=redis://***@h?token=***&x=1"),
        ("redis://host:1 and a@b", "redis://host:1 and a@b"),
        ("?my.api_key=abc;sig=def", "?my.api_key=***;sig=***"),
        ("?page=3", "?page=3"),
    ],
)
def test_redacted_urls(text, masked):
    """Logins and secret parameters of URLs are masked, wherever they stand."""
    assert redact(text) == masked


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0%"),
        (0.0004, "under 0.1%"),
        (0.0316, "3.2%"),
        (0.0996, "10%"),
        (0.45, "45%"),
        (1, "100%"),
    ],
)
def test_percent(share, said):
    """A share is written in one way, with a digit more where it is small."""
    assert percent(share) == said
