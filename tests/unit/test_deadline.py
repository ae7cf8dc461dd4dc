"""Points in time as `--until` and `--by` take them."""

import os
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.text import parse_deadline

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
            with pytest.raises(ValueError, match="is past"):
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
