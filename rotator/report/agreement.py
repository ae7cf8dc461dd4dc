"""Agreement: puts together what several reports say of one key: the worst verdict counts."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from rotator.report.model import Cache, Key, KeyPlace
from rotator.retirement.places import SEVERITY, Kind, Status, Verdict
from rotator.state.state import State
from rotator.text import moment

_JUDGED = ("verdict", "reasons", "next_step", "ready_at", "held_until")


def unended(key: Key, since: datetime) -> Key:
    """Return a key as it is to be seen while work goes on, or after it was killed."""
    if key.role != "old" or _rank(key.verdict) <= _rank(Verdict.VERIFYING):
        return key
    reason = f"a run or purge that began {moment(since)} has not ended: what it met is not known"
    place = KeyPlace(
        kind=Kind.NAMES,
        where="",
        status=Status.UNKNOWN,
        evidence=reason,
        remedy="run again",
        verdict=Verdict.VERIFYING,
    )
    return key.model_copy(
        update={
            "verdict": str(Verdict.VERIFYING),
            "reasons": (f"{reason}; run again", *key.reasons),
            "next_step": "run again",
            "places": (place, *key.places),
        }
    )


class _Worst(NamedTuple):
    """Worst: holds the key with the worst verdict, and the cache *where* it has it, if known."""

    where: str
    key: Key


def agreed(caches: Sequence[Cache], state: State) -> Iterator[Cache]:
    """Yield the caches, each old key with the worst verdict that is known of it."""
    worst: dict[str, _Worst] = {}
    living = [cache for cache in caches if not cache.superseded]
    for cache, key in [(one, key) for one in living for key in one.keys]:
        known = worst.get(key.id)
        worse = known is None or _rank(key.verdict) < _rank(known.key.verdict)
        if key.role == "old" and worse:
            worst[key.id] = _Worst(cache.name, key)
    worst = {key_id: _judged_later(one, state) for key_id, one in worst.items()}
    for cache in caches:
        keys = tuple(
            key if key.role != "old" or cache.superseded else _worsened(key, worst[key.id])
            for key in cache.keys
        )
        yield cache.model_copy(update={"keys": keys})


def _worsened(key: Key, worst: _Worst) -> Key:
    """Return the key with the worst verdict on it, and with the place that it is from."""
    own, other = _rank(key.verdict), _rank(worst.key.verdict)
    if own < other or (own == other and key.places):
        return key
    update = {name: getattr(worst.key, name) for name in _JUDGED}
    if key.places:
        verdict = Verdict(str(worst.key.verdict))
        place = KeyPlace(
            kind=Kind.CACHES,
            where=worst.where,
            status=Status.UNKNOWN if verdict is Verdict.UNKNOWN else Status.HOLDING,
            evidence=": ".join(filter(None, (worst.where, *worst.key.reasons[:1]))),
            remedy=worst.key.next_step or "run again",
            verdict=verdict,
        )
        others = (one for one in key.places if (one.kind, one.where) != (Kind.CACHES, worst.where))
        update["places"] = (place, *others)
    return key.model_copy(update=update)


def _judged_later(worst: _Worst, state: State) -> _Worst:
    """Return the key with the last verdict that was given, over other caches, if it is worse."""
    past = state.verdicts(worst.key.id)
    if not past or _rank(past[-1][1]) >= _rank(worst.key.verdict):
        return worst
    at, verdict = past[-1]
    reason = f"judged {verdict} at {moment(at)} by a run over other caches"
    update = {
        "verdict": verdict,
        "reasons": (reason, *worst.key.reasons),
        "next_step": "run again over all caches",
        "ready_at": None,
        "held_until": None,
    }
    return _Worst("", worst.key.model_copy(update=update))


def worst_verdict(keys: Iterable[Key]) -> str:
    """Return the worst verdict on a key; one that is current somewhere is in use."""
    found = {Verdict(key.verdict) if key.verdict else Verdict.IN_USE for key in keys}
    return str(min(found or {Verdict.UNKNOWN}, key=SEVERITY.index))


def _rank(verdict: str | None) -> int:
    """Return the place of a verdict, the worst first; what is none is the worst."""
    return SEVERITY.index(Verdict(verdict)) if verdict in set(Verdict) else -1
