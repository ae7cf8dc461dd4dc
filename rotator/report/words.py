"""
The words of the report for people: what outcomes and verdicts mean, and how numbers are said.

What is known of a key or a cache beside its verdict: plain sentences, for every rendering.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from rotator.report.model import Attempt, Cache, Key, Past, Progress, Verification
from rotator.retirement.forecast import Schedule
from rotator.tally.tally import Outcome
from rotator.text import ago, many, when

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
    "until": "stopped by --until, position saved; the next run goes on from there",
}


ENDINGS = {
    0: "complete",
    1: "could not be done, or is not complete",
    2: "wrong usage or configuration",
    3: "complete, but some values could not be moved",
    4: "stopped by --max-duration or --until before the end",
    5: "complete, but not one encrypted value was found",
    7: "another run on the same cache was in progress",
    130: "interrupted, position saved",
    143: "terminated, position saved",
}
"""What the exit codes of a run mean."""


def forecast(key: Key) -> str | None:
    """What becomes of the values under a key if nothing moves them; None if there are none."""
    never = key.remaining_without_ttl
    expire = key.remaining - never
    if not key.remaining:
        return None
    if not expire:
        stay = "it has no TTL" if never == 1 else "none of them has a TTL"
        return f"{many(never, 'value')} would stay for good: {stay}"
    until = key.drains_at or (key.drain[-1][0] if key.drain else None)
    by = f" by {when(until)}" if until else ""
    if not never:
        what = "the only value expires" if expire == 1 else f"all {expire:,} values expire"
        return f"{what}{by}, and none would be left"
    stay = "has" if never == 1 else "have"
    expires = "expires" if expire == 1 else "expire"
    return f"{expire:,} of {many(key.remaining, 'value')} {expires}{by}; {never:,} {stay} no TTL"


def outlook(progress: Progress) -> str:
    """How far a sweep is that was stopped, and when it will be done."""
    names = "" if progress.names is None else f" of {many(progress.names, 'name')}"
    share = "" if progress.fraction is None else f" ({progress.fraction:.0%})"
    pace = progress.visits_per_second
    speed = f" at {pace:,.0f} a second" if pace else ""
    done = f"{progress.visited:,}{names} visited{share}{speed}"
    if progress.phase == "verification":
        done = f"all values moved; of the verifying sweep {done}"
    runs = f"{progress.rotated:,} rotated in {many(progress.runs, 'run')} so far"
    at = progress.done_by
    by = f"done by {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, " if at else ""
    return f"{done}; {runs}; {by}{progress.basis}"


def schedule(outlook: Schedule) -> str:
    """Whether a cache will be done by a time, and what would make it so."""
    left = []
    if outlook.names_left:
        left.append(many(outlook.names_left, "name to visit", "names to visit"))
    if outlook.values_left:
        left.append(many(outlook.values_left, "value under an old key", "values under old keys"))
    parts = [f"by {when(outlook.by)}: {outlook.advice}", *left]
    if outlook.visits_per_second:
        parts.append(f"{outlook.visits_per_second:,.0f} visits a second last")
    return "; ".join(parts)


def verified(verification: Verification) -> str:
    """How a run was verified, as far as that: the beginning of a sentence."""
    visits = many(verification.visits, "visit")
    if verification.method == "tracking":
        return f"a second sweep, {visits}, and every name written meanwhile"
    return f"a second sweep, {visits}"


def findings(verification: Verification) -> str:
    """What looking again came to, the end of that sentence."""
    found = verification.found_under_old_keys
    result = f"{found:,} under an old key" if found else "none under an old key"
    return result if verification.complete else f"{result}, but not complete"


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
