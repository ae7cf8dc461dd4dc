"""
What the state adds to a report: the history of each key, its nonce budget, how old all of it is.

Reports are kept for each cache, and may be of different days. Put together, a key has one verdict:
the worst that any of them gave it, or a later run over other caches. So nothing is ever said to be
better than it was judged.

What the state lets a report say of what is to come: when a rotation will be done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from rotator.crypto import keyring
from rotator.errors import StateError
from rotator.report.model import VERDICTS, Attempt, Cache, Key, Outlook, Past, Progress, Report
from rotator.retirement.forecast import (
    RunRecord,
    forecast,
    plan_until,
    rate_of,
    rotated_by,
    unfinished_runs,
)
from rotator.state.state import Annals, State
from rotator.text import ago, duration, moment

IN_TIME = "in-time"


def sweep_progress(windows: Sequence[RunRecord], now: datetime) -> Progress | None:
    """How far a sweep is that was stopped; None if it was not begun."""
    if not windows or windows[-1].complete:
        return None
    last, runs = windows[-1], unfinished_runs(windows)
    foreseen = forecast(windows, now)
    pace = rate_of(runs)
    return Progress(
        phase="verification" if last.verifying else "sweep",
        names=last.names,
        visited=last.visited,
        fraction=None if last.fraction is None else round(last.fraction, 4),
        rotated=rotated_by(runs),
        runs=len(runs),
        visits_per_second=None if pace is None else round(pace, 1),
        done_by=foreseen.done_by,
        basis=foreseen.basis,
    )


def add_schedule(report: Report, state: State, by: datetime, now: datetime) -> Report:
    """The report, with whether each cache will be done by then."""
    caches = []
    for cache in report.caches:
        found = plan_until(by, state.windows(cache.name), now)
        pace, needed = found.visits_per_second, found.needed_per_second
        outlook = Outlook(
            by=found.by,
            in_time=found.in_time,
            names_left=found.names_left,
            values_left=found.values_left,
            visits_per_second=None if pace is None else round(pace, 1),
            done_by=found.done_by,
            needed_per_second=None if needed is None else round(needed, 1),
            advice=found.advice,
        )
        caches.append(cache.model_copy(update={"outlook": outlook}))
    return report.model_copy(update={"caches": tuple(caches)})


def late_caches(report: Report) -> list[str]:
    """Of which caches it is not known that they will be in time, and why, for `--require`."""
    return [
        f"{cache.name}: {cache.outlook.advice}"
        for cache in report.caches
        if cache.outlook and not cache.outlook.in_time
    ]


RETIRABLE = "retirable"


_JUDGED = ("verdict", "reasons", "next_step", "ready_at", "held_until")


def add_history(report: Report, state: State) -> Report:
    """The report on a run whose sweeps the state already knows, with what the state adds."""
    caches = (
        _aged(cache, state, report.finished_at).model_copy(
            update={
                "judged_at": report.finished_at,
                "warnings": (*cache.warnings, *_budget_warnings(cache.keys, state)),
            }
        )
        for cache in report.caches
    )
    return report.model_copy(update={"caches": tuple(caches)})


def merged_with_stored(report: Report, state: State) -> Report:
    """
    What the state is to hold on the only cache of *report*.

    Where the run did not look at it, what an earlier one found stays, and says so: not having
    looked makes nothing better, and nothing worse but older.
    """
    (cache,) = report.caches
    kept = state.last_reports().get(cache.name)
    if cache.coverage is not None or kept is None:
        return report
    try:
        earlier = Report.model_validate_json(kept[1])
    except ValueError:  # damaged: nothing is lost with it
        return report
    attempt = Attempt(at=report.finished_at, stopped=cache.stopped, error=cache.error)
    caches = tuple(one.model_copy(update={"attempt": attempt}) for one in earlier.caches)
    return earlier.model_copy(update={"caches": caches})


def load_reports(state: State, now: datetime | None = None) -> Report:
    """
    The last reports on all caches as one, each cache as it was last seen.

    When what is not done yet will be done is told as of *now*, else as its last run told it.

    Raises:
        StateError: There is none yet, or one is damaged.
    """
    reports = [_read(cache, text) for cache, (_, text) in state.last_reports().items()]
    if not reports:
        raise StateError(
            "the state holds no report yet", hint="`rotator run --dry-run` looks without writing"
        )
    newest = max(reports, key=lambda one: one.finished_at)
    caches = [_aged(cache, state, now) for one in reports for cache in one.caches]
    return newest.model_copy(update={"caches": tuple(_agreed(caches, state))})


def unmet_conditions(
    report: Report, keys: Iterable[str], *, now: datetime, max_age: timedelta
) -> list[tuple[str, str]]:
    """
    Why the old keys with these ids are not all retirable, each reason with what to do about it.

    *report* is that on all caches, because a key may be listed in several. Nothing speaks against
    it only if every one of them was looked at, not longer than *max_age* ago.
    """
    wanted = list(keys)
    if not wanted:
        return [("no cache has an old key, so none is retirable", "nothing is to be removed")]
    reasons = []
    for cache in report.caches:
        if not cache.keys:
            why = cache.error or cache.stopped or "nothing was looked at"
            reasons.append((f"the last run could not judge {cache.name}: {why}", "run again"))
        listed = [key for key in cache.keys if key.id in wanted]
        if listed and (old := _too_old(cache, now, max_age)):
            reasons.append((old, f"run again: rotator run --cache {cache.name}"))
        for key in listed:
            reasons += _against(cache, key)
    return list(dict.fromkeys(reasons))


def _against(cache: Cache, key: Key) -> list[tuple[str, str]]:
    """What one cache has against the removal of one key."""
    if key.role == "current":
        return [(f"key {key.id} is the current key of {cache.name}", f"give {key.field} another")]
    if key.verdict != RETIRABLE:
        why = key.reasons[0] if key.reasons else "no reason is known"
        return [(f"key {key.id} is {key.verdict}: {why}", key.next_step or "run again")]
    return []


def _too_old(cache: Cache, now: datetime, max_age: timedelta) -> str | None:
    """Why what is known of a cache is too old to rely on, or None."""
    if cache.swept_at is None:
        return f"there is no complete sweep of {cache.name}"
    if cache.swept_at > now:
        return (
            f"the last complete sweep of {cache.name} ended {moment(cache.swept_at)}, which is"
            " later than now: a clock is wrong"
        )
    if now - cache.swept_at > max_age:
        return (
            f"the last complete sweep of {cache.name} ended {ago(cache.swept_at, now)},"
            f" and --max-age is {duration(max_age)}"
        )
    return None


def _read(cache: str, text: str) -> Report:
    """The report that was kept on a cache."""
    try:
        return Report.model_validate_json(text)
    except ValueError:
        raise StateError(
            f"the last report on {cache} in the state is damaged",
            hint="the next `rotator run` replaces it",
        ) from None


def _aged(cache: Cache, state: State, now: datetime | None) -> Cache:
    """A cache with the history of its keys as it is now, when it was swept, and how far it is."""
    sweep = state.last_sweep(cache.name)
    known: dict[str, Any] = {
        "keys": tuple(_key(cache.name, key, state) for key in cache.keys),
        "swept_at": sweep.finished_at.replace(microsecond=0) if sweep else None,
    }
    if cache.stopped and now is not None:
        known["progress"] = sweep_progress(state.windows(cache.name), now)
    return cache.model_copy(update=known)


def _key(cache: str, key: Key, state: State) -> Key:
    """A key with its history and its nonce budget."""
    encryptions = state.encryptions(key.id)
    return key.model_copy(
        update={
            "encryptions": encryptions,
            "nonce_budget_used": keyring.used(encryptions, state.most_seen(key.id)),
            "past": _past(cache, key.id, state) if key.role == "old" else None,
        }
    )


def _past(cache: str, key_id: str, state: State) -> Past:
    """The history of an old key."""
    history = state.history(cache, key_id)
    return Past(
        first_seen_at=history.first_seen_at,
        last_seen_at=history.last_seen_at,
        swept_at=history.swept_at,
        clean_since=history.clean_since,
        clean_sweeps=history.clean_sweeps,
        returned_at=history.returned_at,
        verdicts=tuple(state.verdicts(key_id)),
    )


def _budget_warnings(keys: Iterable[Key], annals: Annals) -> Iterable[str]:
    """What is to be said of nonce budgets, as far as anything is."""
    for key in keys:
        said = keyring.warning(
            key.id, key.role, annals.encryptions(key.id), annals.most_seen(key.id)
        )
        if said:
            yield said


def _agreed(caches: Sequence[Cache], annals: Annals) -> Iterable[Cache]:
    """The caches, each old key with the worst verdict that is known of it."""
    worst: dict[str, Key] = {}
    for key in (key for cache in caches for key in cache.keys if key.role == "old"):
        known = worst.get(key.id)
        if known is None or _rank(key.verdict) < _rank(known.verdict):
            worst[key.id] = key
    worst = {key_id: _judged_later(key, annals) for key_id, key in worst.items()}
    for cache in caches:
        keys = (
            key.model_copy(update={name: getattr(worst[key.id], name) for name in _JUDGED})
            if key.role == "old"
            else key
            for key in cache.keys
        )
        yield cache.model_copy(update={"keys": tuple(keys)})


def _judged_later(key: Key, annals: Annals) -> Key:
    """The key with the last verdict that was given, if that is worse: over other caches."""
    past = annals.verdicts(key.id)
    if not past or _rank(past[-1][1]) >= _rank(key.verdict):
        return key
    at, verdict = past[-1]
    reason = f"judged {verdict} at {moment(at)} by a run over other caches"
    update = {
        "verdict": verdict,
        "reasons": (reason, *key.reasons),
        "next_step": "run again over all caches",
        "ready_at": None,
        "held_until": None,
    }
    return key.model_copy(update=update)


def _rank(verdict: str | None) -> int:
    """The place of a verdict, the worst first; what is none is the worst."""
    return VERDICTS.index(verdict) if verdict in VERDICTS else -1
