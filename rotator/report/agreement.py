"""
Agreement: puts together what several reports say of one key: the worst verdict counts.

What is assumed for one of the caches is assumed for the key.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from rotator.report import fields
from rotator.report.model import Cache, Key, KeyPlace
from rotator.retirement.places import SEVERITY, Kind, Status, Verdict
from rotator.state.state import State
from rotator.text import moment

_REASON = re.compile(
    r"(?:holds? (?:no value under it|none)|is always the same server|is gone|has no RDB file"
    r"|has no append-only file|has what its primary says it has|where it was saved earlier"
    r"|never used the key)(: .*)",
    re.DOTALL,
)
"""What the operator declares, and the reason that follows it."""
_ACCEPTED = re.compile(r" accepted$|it is right that no value of .* was ever opened$")
_SETTING = re.compile(r" \((?:replicas\.only|backups\.retention is not declared)\)$")
_LOOKED = re.compile(r", last looked at [-0-9]+ [0-9:]+ UTC$")
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


class Assumed(NamedTuple):
    """Assumption: says what is taken for granted, and what that rests on."""

    what: str
    basis: str


def assumed_of(said: str) -> Assumed:
    """Return an assumption, as a verdict has it, apart from what it rests on."""
    said = _LOOKED.sub("", fields.clause(said))
    what = _SETTING.sub("", said)
    if found := _REASON.search(said):
        return Assumed(said[: found.start(1)], f"declared in the configuration{found[1]}")
    if _ACCEPTED.search(said):
        return Assumed(said, "declared with `--accept`")
    if said.endswith("(replicas.only)"):
        return Assumed(what, "declared in the configuration: `replicas.only`")
    if "has encryption off, and holds nothing" in said:
        return Assumed(said, "declared in the configuration: encryption is off there")
    return Assumed(what, "not declared: nothing shows it")


def assumptions_of(listed: Iterable[tuple[str, Sequence[str]]]) -> list[Assumed]:
    """Return all that is assumed of a key, each thing once; *listed* is what each cache assumes."""
    known, found = list(listed), dict[tuple[str, str], Assumed]()
    names = dict.fromkeys(name for name, _ in known)
    for name, assumptions in known:
        for one in map(assumed_of, assumptions):
            named = next((each for each in names if one.what.startswith(f"{each}: ")), name)
            what = one.what.removeprefix(f"{named}: ")
            shown = f"{named}: {what}" if len(names) > 1 else what
            found.setdefault((named, what), Assumed(shown, one.basis))
    return list(found.values())


def taking(number: int) -> str:
    """Return that a key can be removed only under a *number* of assumptions, to end a sentence."""
    if not number:
        return ""
    hold = "assumption below holds" if number == 1 else f"{number:,} assumptions below hold"
    return f", if the {hold}"
