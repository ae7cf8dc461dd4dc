"""Durations as options and configuration write them: `90s`, `15m`, `2h`, `30d`."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"([0-9]{1,10})([smhd])")
_UNITS = {
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
    if int(number) > LONGEST / _UNITS[unit]:
        raise ValueError("expected a duration of at most 36500d")
    return int(number) * _UNITS[unit]
