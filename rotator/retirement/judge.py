"""
Judge: turns places into verdict, reasons and next step.

Evidence in, a judgement out; nothing is read and no clock is asked. There is no other source of
reasons than the places (verdict 1):

- Every cache that lists the key has places of its own, and is a place for the others; the key is as
  far as the worst of them.
- All reasons that apply are given, the worst first. The worst one is the verdict, and the next step
  is about that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain

from rotator.retirement.lineage import Gone, gone_from, gone_since
from rotator.retirement.looks import Look, as_primary
from rotator.retirement.names import (
    CLOCKS,
    names_places,
    not_opened_places,
    outside_place,
    trusted_places,
    writers_place,
)
from rotator.retirement.persistence import aof_place, file_places, rdb_place
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
from rotator.retirement.replicas import (
    Server,
    caught_up,
    declared_place,
    is_ended,
    replica_place,
    seen_writable,
    servers,
)
from rotator.text import clock, listing, moment

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
    return {
        case.cache: _judgement(
            case,
            sorted([*own[case.cache], *shared, *_others(case, evidence, own)], key=_rank),
            verdict=verdict,
            step=step,
            evidence=evidence,
            everything=everything,
            now=now,
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
) -> Judgement:
    """Return the judgement on a key, with the places of one cache."""
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
        assumptions=tuple(
            dict.fromkeys(one.evidence for one in found if one.status is Status.ASSUMED)
        ),
    )


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
            f"by the complete sweep that ended {moment(case.sweep.finished_at)}; one that was"
            f" stopped {moment(case.cut_short_at)} had not met it up to there"
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


def copy_places(case: Evidence, gone: Mapping[str, Gone]) -> list[Place]:
    """Return the places that replicas and files of all servers are."""
    gone_at, found = gone_since(gone), list[Place]()
    if (only := case.declared.only) is not None:
        others = [one for one in only if one not in case.primaries]
        text = f"there are no replicas but {listing(others)}" if others else "there are no replicas"
        found.append(Place(Kind.REPLICA, "", Status.ASSUMED, f"{text} (replicas.only)"))
    primaries = {address: one.now for address, one in gone.items()}
    for known in servers(case.looks):
        address, looks = as_primary(known, primaries)
        if is_ended(looks, case):
            where = looks[-1].address
            reason = case.declared.decommissioned.get(where, "replicas.only does not list it")
            text = f"{where} is gone: {reason}"
            found.append(Place(Kind.REPLICA, where, Status.ASSUMED, text))
            continue
        if address is not None:
            server = _as_primary(looks, gone[address], gone_at)
        else:
            server = _as_replica(looks, gone, gone_at)
            primary = _primary_of(looks[-1], gone)
            offset = primary.offset if primary else None
            told = [one for one in primaries.values() if one]
            if assumed := declared_place(server, told, case.declared.replicas):
                found += [assumed, rdb_place(server, case.declared, gone_at)]
                if any(one.facts.get("aof_enabled") != "0" for one in told):
                    found.append(aof_place(server, case.declared, gone_at))
                continue
            place = replica_place(server, primary.now if primary else None, offset)
            found.append(place)
            if place.status is Status.UNKNOWN:  # its files are not known either
                continue
        found += file_places(server, case.declared, gone_at)
    return found


def _as_primary(looks: tuple[Look, ...], gone: Gone, gone_at: datetime | None) -> Server:
    """Return a primary, with the looks at its process from when the key was gone everywhere."""
    if gone_at is None or gone.first is None:
        return Server(looks)
    process = {(one.address, one.at) for one in gone.ancestry.process}
    good = [one for one in looks if (one.address, one.at) in process and one.at >= gone_at]
    earlier = [one for one in gone.ancestry.looks if (one.address, one.at) not in process]
    return Server(looks, tuple(good), any(one.at >= gone_at for one in earlier))


def _as_replica(
    looks: tuple[Look, ...], gone: Mapping[str, Gone], gone_at: datetime | None
) -> Server:
    """Return a server that is no primary now, with the looks at which it had caught up."""
    primary = _primary_of(looks[-1], gone)
    swept_at = [one.last.ended_at for one in gone.values() if one.last]
    late = looks[-1].at < max(swept_at, default=looks[-1].at)
    if primary is None or gone_at is None or late or seen_writable(looks):
        return Server(looks)
    after = [one for one in looks if one.at >= gone_at]
    return Server(looks, tuple(caught_up(after, primary.ancestry.looks, primary.offset)))


def _primary_of(look: Look, gone: Mapping[str, Gone]) -> Gone | None:
    """Return the primary whose history a replica follows."""
    history = look.facts.get("master_replid")
    for one in gone.values():
        if one.now and history and one.now.facts.get("master_replid") == history:
            return one
    return next(iter(gone.values())) if len(gone) == 1 else None


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
        return f"run again after {clock(until, now)}"
    steps = list(dict.fromkeys(one.remedy for one in worst if one.remedy))
    if len(steps) > 1 and all(one.kind in FILES and one.status is Status.HOLDING for one in worst):
        return "run again with --refresh-files, or do all that is said above by hand"
    return "; ".join(steps)


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
