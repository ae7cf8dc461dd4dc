"""The words of the report for people: what outcomes and verdicts mean, and how numbers are said."""

from __future__ import annotations

from datetime import UTC, datetime

from rotator.tally import Outcome

MEANINGS = {
    Outcome.CURRENT: "already under the current key",
    Outcome.ROTATED: "were under an old key, now under the current one",
    Outcome.WOULD_ROTATE: "are under an old key; a run would move them to the current one",
    Outcome.GONE: "expired or deleted before they could be read or rewritten",
    Outcome.CONTENDED: "changed at every try; the next sweep sees them again",
    Outcome.UNDECRYPTABLE: "no configured format and key opens them",
    Outcome.NESTED: "encrypted twice: what is inside is itself an encrypted value",
    Outcome.NOT_STRING: "another Redis type, never touched",
    Outcome.TOO_LARGE: "would pass the server's limit when rewritten",
    Outcome.DENIED: "the ACL forbids reading or writing them",
    Outcome.FAILED: "anything else; the server's error is under problems",
}
GOOD = (Outcome.CURRENT, Outcome.ROTATED, Outcome.WOULD_ROTATE, Outcome.GONE)

STUCK = (
    Outcome.UNDECRYPTABLE,
    Outcome.NESTED,
    Outcome.TOO_LARGE,
    Outcome.DENIED,
    Outcome.FAILED,
)
"""The outcomes that leave a value where it was and that another run would not mend."""

VERDICT_MEANINGS = {
    "unknown": "keep it; not everything was looked at",
    "in-use": "keep it; values need it",
    "draining": "keep it; values need it until they expire",
    "verifying": "keep it for now; none left, but that is not yet confirmed",
    "held": "keep it for now; none left, but old copies could come back",
    "retirable": "it can be removed",
}

STOPPED = {
    "interrupted": "interrupted, position saved",
    "terminated": "terminated, position saved",
    "max-duration": "stopped by --max-duration, position saved; the next run goes on from there",
}


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
