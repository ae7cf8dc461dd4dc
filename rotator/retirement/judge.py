"""
Judge: turns places into verdict, reasons and next step.

Evidence in, a judgement out; nothing is read and no clock is asked. There is no other source of
reasons than the places (verdict 1):

- Every cache that lists the key has places of its own, and is a place for the others; the key is as
  far as the worst of them.
- All reasons that apply are given, the worst first. The worst one is the verdict, and the next step
  is about that.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain

from rotator.retirement.copies import copy_places
from rotator.retirement.lineage import gone_from
from rotator.retirement.names import (
    CLOCKS,
    names_places,
    not_opened_places,
    outside_place,
    trusted_places,
    writers_place,
)
from rotator.retirement.places import (
    FILES,
    Evidence,
    Kind,
    Place,
    Status,
    Verdict,
    backups_place,
    is_shut,
)
from rotator.text import clock, listing, moment, rounded_up

# The verdict of the places, the first that fits (verdict 1): facts, then what was not looked at.
_FIRST = (Kind.NAMES, Kind.OUTSIDE, Kind.NOT_OPENED)
_ORDER = (
    (Verdict.IN_USE, True),
    (Verdict.IN_USE, False),
    (Verdict.DRAINING, True),
    (Verdict.DRAINING, False),
    (Verdict.UNKNOWN, True),
    (Verdict.VERIFYING, True),
    (Verdict.VERIFYING, False),
    (Verdict.UNKNOWN, False),
    (Verdict.HELD, True),
    (Verdict.HELD, False),
)
_STATUSES = tuple(Status)
_AGAIN, _AFTER = "run again", "run again after"
_RUN = re.compile(r"\brun (again|rotator|without)\b")  # what includes to run again


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    Judgement: holds the verdict on a key, why, and what to do next; times are UTC.

    *drains_at* is set when all that remains has a TTL, *ready_at* when the verdict is `verifying`,
    *held_until* when it is `verifying` or `held` and a hold ends by itself. *first_seen_at* and
    *last_seen_at* are of all sweeps of all caches. *places* are those of one cache, the worst
    first; *assumptions* are sentences.
    """

    key_id: str
    verdict: Verdict
    reasons: tuple[str, ...]
    next_step: str
    drains_at: datetime | None = None
    ready_at: datetime | None = None
    held_until: datetime | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    places: tuple[Place, ...] = ()
    assumptions: tuple[str, ...] = ()


def judge(
    evidence: Sequence[Evidence],
    *,
    now: datetime,
    quiet: timedelta,
    current_in: Iterable[str] = (),
    elsewhere: Sequence[Place] = (),
    doubt: str | None = None,
) -> dict[str, Judgement]:
    """
    Return the judgement on an old key in each cache that lists it; the verdict is the same in all.

    *evidence* is that of every cache that lists it, whether it was swept in this run or not;
    *current_in* are the fields where it is the current key of a cache; *elsewhere* are the places
    that other caches are which cannot be swept. *doubt* says why *now* is not to be relied on.
    """
    own = {case.cache: places(case, now=now, quiet=quiet) for case in evidence}
    shared = [*elsewhere, *(_as_current(field) for field in current_in)]
    if doubt:
        shared.append(Place(Kind.NAMES, "", Status.UNKNOWN, doubt, Verdict.VERIFYING, None, CLOCKS))
    everything = sorted([*chain(*own.values()), *shared], key=_rank)
    verdict = everything[0].verdict if everything else Verdict.UNKNOWN
    fields = [case.field for case in evidence]
    step = _next_step([one for one in everything if one.verdict is verdict], fields, now)
    if verdict is Verdict.VERIFYING and step.startswith(_AFTER) and any(map(_is_held, everything)):
        step += ", with --refresh-files for the files that hold it"
    return {
        case.cache: _judgement(
            case,
            sorted([*own[case.cache], *shared, *_others(case, evidence, own)], key=_rank),
            verdict=verdict,
            step=step,
            evidence=evidence,
            everything=everything,
            now=now,
            assumed=[
                f"{other.cache}: {place.evidence}"
                for other in evidence
                for place in own[other.cache]
                if other.cache != case.cache and place.status is Status.ASSUMED
            ],
        )
        for case in evidence
    }


def _judgement(
    case: Evidence,
    found: Sequence[Place],
    *,
    verdict: Verdict,
    step: str,
    evidence: Sequence[Evidence],
    everything: Sequence[Place],
    now: datetime,
    assumed: Sequence[str],
) -> Judgement:
    """Return the judgement on a key, with the places of one cache; *assumed* is so of others."""
    against = [one for one in found if is_shut(one)]
    clean = [one for one in found if one.kind is Kind.NAMES and one.status is Status.CLEAN]
    grounds = against or clean
    return Judgement(
        key_id=case.key_id,
        verdict=verdict,
        reasons=tuple(dict.fromkeys([*map(sentence, grounds), *cut_short(case)])),
        next_step=step,
        drains_at=_drains_at(evidence),
        ready_at=_until(everything, Verdict.VERIFYING, now) if verdict == "verifying" else None,
        held_until=(
            _until(everything, Verdict.HELD, None) if verdict in {"verifying", "held"} else None
        ),
        first_seen_at=min(filter(None, (one.first_seen_at for one in evidence)), default=None),
        last_seen_at=max(filter(None, (one.last_seen_at for one in evidence)), default=None),
        places=tuple(found),
        assumptions=_assumptions(found, assumed),
    )


def _assumptions(found: Sequence[Place], assumed: Sequence[str]) -> tuple[str, ...]:
    """Return what is assumed of the places of one cache, and of others, each thing once."""
    own = [one.evidence for one in found if one.status is Status.ASSUMED]
    more = [text for text in assumed if not any(text in one for one in own)]
    return tuple(dict.fromkeys([*own, *more]))


def sentence(place: Place) -> str:
    """Return a place that is not clean as one sentence: what, since when, and what ends it."""
    return f"{place.evidence}; {place.remedy}" if place.remedy else place.evidence


def not_clean(judgement: Judgement) -> list[Place]:
    """Return the places that keep a key from being retirable, the worst first."""
    return [one for one in judgement.places if is_shut(one)]


def cut_short(case: Evidence) -> Iterable[str]:
    """Yield that the last sweep was stopped, and so the one before it counts."""
    if case.cut_short_at and case.sweep:
        yield (
            f"this is from the complete sweep that ended {moment(case.sweep.finished_at)}; the one"
            f" that was stopped {moment(case.cut_short_at)} had not met it until then"
        )


def places(case: Evidence, *, now: datetime, quiet: timedelta) -> list[Place]:
    """Return all places of a key in one cache, the backups last: they wait for all others."""
    gone = gone_from(case, quiet)
    found = [
        *names_places(case, gone, now, quiet),
        outside_place(case, gone),
        *not_opened_places(case),
        *trusted_places(case, gone),
        writers_place(case, gone, now),
        *copy_places(case, gone),
    ]
    return [*found, backups_place(case, found, now)]


def _as_current(field: str) -> Place:
    """Return the place that a cache is where the key is the current one."""
    text, remedy = f"it is the current key at {field}", f"give {field} another key"
    return Place(Kind.CACHES, field, Status.HOLDING, text, Verdict.IN_USE, None, remedy)


def _others(
    case: Evidence, evidence: Sequence[Evidence], own: Mapping[str, list[Place]]
) -> Iterable[Place]:
    """Yield the places that the other caches which list the key are: the worst of theirs each."""
    for other in evidence:
        if other.cache == case.cache:
            continue
        worst = min(own[other.cache], key=_rank)
        at = other.latest.finished_at if other.latest else None
        looked = f", last looked at {moment(at)}" if at else ""
        if worst.status is Status.CLEAN:
            text = f"{other.cache} is clean{looked}"
            yield Place(Kind.CACHES, other.cache, Status.CLEAN, text, since=worst.since)
        else:
            text = f"{other.cache}: {worst.evidence}{looked}"
            yield replace(worst, kind=Kind.CACHES, where=other.cache, evidence=text)


def _rank(place: Place) -> tuple[int, int, int]:
    """Return where a place stands among others, the worst first."""
    order = len(_ORDER)
    if is_shut(place):
        order = _ORDER.index((place.verdict, place.kind in _FIRST))
    waits = place.kind is Kind.BACKUPS
    return order, _STATUSES.index(place.status), waits


def _next_step(worst: Sequence[Place], fields: Sequence[str], now: datetime) -> str:
    """Return what to do about the worst places."""
    if not worst or worst[0].verdict is Verdict.RETIRABLE:
        return f"remove {listing(dict.fromkeys(fields))}" if fields and worst else "run again"
    until = max((one.until for one in worst if one.until), default=None)
    if worst[0].verdict is Verdict.VERIFYING and until and until > now:
        return f"{_AFTER} {clock(rounded_up(until), now)}"
    # Backups come last: they are waited for from when all else is clean.
    first = [one for one in worst if one.kind is not Kind.BACKUPS]
    steps = list(dict.fromkeys(one.remedy for one in first if one.remedy))
    if len(steps) > 1 and all(map(_is_held, first)):
        steps = ["run again with --refresh-files, or do all of the above by hand"]
    backups = [one.remedy for one in worst if one.kind is Kind.BACKUPS]
    return "; ".join(dict.fromkeys([*filter(None, [_together(steps)]), *backups]))


def _is_held(place: Place) -> bool:
    """Return whether it is a file that a server would have to write again, and can be asked to."""
    return place.kind in FILES and place.status is Status.HOLDING


def _together(steps: Sequence[str]) -> str:
    """Return several steps as one sentence, which says only once to run again."""
    if len(steps) < 2:
        return "".join(steps)
    others = [one for one in steps if one != _AGAIN]
    if len(others) < len(steps) and not any(_RUN.search(one) for one in others):
        others.append(_AGAIN)
    last = f", then {_AGAIN}"
    if len([one for one in others if one.endswith(last)]) > 1:
        others = [*(one.removesuffix(last) for one in others), f"then {_AGAIN}"]
    return "; ".join(others)


def _drains_at(evidence: Sequence[Evidence]) -> datetime | None:
    """Return when the last value expires, if every value that remains does."""
    if any(case.remaining_without_ttl for case in evidence):
        return None
    ends = (case.drains_at for case in evidence if case.remaining)
    return max((at for at in ends if at), default=None)


def _until(found: Iterable[Place], verdict: Verdict, otherwise: datetime | None) -> datetime | None:
    """Return when the last of the places with this verdict may get better by itself."""
    ends = [one.until for one in found if one.verdict is verdict and one.until]
    return max(ends, default=otherwise)
