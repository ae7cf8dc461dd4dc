"""What is known of a key or a cache beside its verdict: plain sentences, for every rendering."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rotator.report.model import Attempt, Cache, Key, Past
from rotator.report.words import STOPPED, forecast, many, when
from rotator.wording import ago

_DRAIN = 6
_VERDICTS = 6


def facts(key: Key) -> Iterator[str]:
    """What the verdict makes worth knowing beside its reasons."""
    if key.verdict == "in-use":
        if key.first_seen_at and key.last_seen_at:
            yield f"first met {when(key.first_seen_at)}, last {when(key.last_seen_at)}"
        counted = sorted(key.prefixes.items(), key=lambda item: -item[1])
        if prefixes := [f"{prefix or '(others)'} {number:,}" for prefix, number in counted]:
            yield f"names begin with: {', '.join(prefixes)}"
        if key.samples:
            yield f"for example {', '.join(key.samples[:3])}"
    if wait := forecast(key):
        yield f"if you only wait: {wait}"


def deadlines(key: Key) -> Iterator[str]:
    """How many are left until when, and when the verdict can get better."""
    if key.remaining > key.remaining_without_ttl and (curve := _thinned(key)):
        yield f"remaining: {'; '.join(curve)}"
    if key.ready_at:
        yield f"ready {when(key.ready_at)}"
    if key.held_until:
        yield f"held until {when(key.held_until)}"


def age(cache: Cache, now: datetime) -> str:
    """How old is what is known of a cache."""
    if cache.swept_at is None:
        return "no complete sweep yet"
    return f"last complete sweep {ago(cache.swept_at, now)}: {when(cache.swept_at)}"


def missed(attempt: Attempt) -> str:
    """That a later run did not look at a cache, and why."""
    why = attempt.error or STOPPED.get(attempt.stopped or "", attempt.stopped or "not begun")
    return f"a later run, {when(attempt.at)}, did not look at it: {why}"


def history(past: Past) -> Iterator[str]:
    """What earlier sweeps saw of a key, and what they led to."""
    if past.first_seen_at and past.last_seen_at:
        yield f"first met {when(past.first_seen_at)}, last {when(past.last_seen_at)}"
    elif past.swept_at:
        yield "never met by any sweep"
    if past.clean_since:
        clean = many(past.clean_sweeps, "complete sweep")
        yield f"clean since {when(past.clean_since)}: {clean} did not meet it"
    if past.returned_at:
        yield f"met again {when(past.returned_at)}, after it had been clean"
    if past.verdicts:
        steps = (
            f"{verdict} from {at:%Y-%m-%d %H:%M}" for at, verdict in past.verdicts[-_VERDICTS:]
        )
        yield f"verdicts: {', '.join(steps)} UTC"


def _thinned(key: Key) -> list[str]:
    """A few points of the curve, always with the last one."""
    points = [
        point
        for before, point in zip((None, *key.drain), key.drain, strict=False)
        if before is None or before[1] != point[1]
    ]
    if len(points) > _DRAIN:
        step = (len(points) - 1) / (_DRAIN - 1)
        points = [points[round(number * step)] for number in range(_DRAIN)]
    return [f"{number:,} at {at:%m-%d %H:%M}" for at, number in points]
