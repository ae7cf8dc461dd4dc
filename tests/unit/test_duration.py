"""Durations in options and configuration."""

from datetime import timedelta

import pytest

from rotator.text import parse_duration


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
