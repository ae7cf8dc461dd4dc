"""
Archive: stores reports, judges them again, checks `--require` and `--by`.

Reports are kept for each cache, and may be of different days. Put together, a key has one verdict:
the worst that any of them gave it, or a later run over other caches. So nothing is ever said to be
better than it was judged.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from rotator.errors import StateError
from rotator.report.build import known_of_cache, known_of_key
from rotator.report.files import json_text
from rotator.report.model import VERDICTS, Attempt, Cache, Key, Report
from rotator.retirement.forecast import plan_until
from rotator.state.state import State
from rotator.text import ago, duration, moment

IN_TIME = "in-time"


RETIRABLE = "retirable"


_JUDGED = ("verdict", "reasons", "next_step", "ready_at", "held_until")


def save_reports(report: Report, state: State) -> None:
    """Store the report on a run, for each cache by itself."""
    for cache in report.caches:
        alone = report.model_copy(update={"caches": (cache,)})
        text = json_text(merged_with_stored(alone, state))
        state.save_report(cache.name, text, report.finished_at)


def merged_with_stored(report: Report, state: State) -> Report:
    """
    Return what the state is to hold on the only cache of *report*.

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


def load_reports(state: State, now: datetime) -> Report:
    """
    Return the last reports on all caches as one, each cache as it was last seen.

    When what is not done yet will be done is told as of *now*.

    Raises:
        StateError: There is none yet, or one is damaged.
    """
    reports = [_read(cache, text) for cache, (_, text) in state.last_reports().items()]
    if not reports:
        raise StateError(
            "the state holds no report yet", hint="`rotator run --dry-run` looks without writing"
        )
    newest = max(reports, key=lambda one: one.finished_at)
    caches = [_with_record(cache, state, now) for one in reports for cache in one.caches]
    return newest.model_copy(update={"caches": tuple(_agreed(caches, state))})


def add_schedule(report: Report, state: State, by: datetime, now: datetime) -> Report:
    """Return the report with whether each cache will be done *by* then."""
    caches = tuple(
        cache.model_copy(update={"outlook": plan_until(by, state.run_records(cache.name), now)})
        for cache in report.caches
    )
    return report.model_copy(update={"caches": caches})


def late_caches(report: Report) -> list[str]:
    """Return the caches that are not known to be in time, and why, for `--require`."""
    return [
        f"{cache.name}: {cache.outlook.advice}"
        for cache in report.caches
        if cache.outlook and not cache.outlook.in_time
    ]


def unmet_conditions(
    report: Report, keys: Iterable[str], *, now: datetime, max_age: timedelta
) -> list[tuple[str, str]]:
    """
    Return why not all keys with these ids are retirable, each reason with what to do about it.

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
    """Return what one cache has against the removal of one key."""
    if key.role == "current":
        return [(f"key {key.id} is the current key of {cache.name}", f"give {key.field} another")]
    if key.verdict != RETIRABLE:
        why = key.reasons[0] if key.reasons else "no reason is known"
        return [(f"key {key.id} is {key.verdict}: {why}", key.next_step or "run again")]
    return []


def _too_old(cache: Cache, now: datetime, max_age: timedelta) -> str | None:
    """Return why what is known of a cache is too old to rely on, or None."""
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
    """Return the report that was kept on a cache."""
    try:
        return Report.model_validate_json(text)
    except ValueError:
        raise StateError(
            f"the last report on {cache} in the state is damaged",
            hint="the next `rotator run` replaces it",
        ) from None


def _with_record(cache: Cache, state: State, now: datetime) -> Cache:
    """Return a cache with its age, progress and the history of its keys as they are now."""
    record = state.cache_record(cache.name, [key.id for key in cache.keys])
    keys = tuple(
        key.model_copy(update=known_of_key(record, key.id, key.role)) for key in cache.keys
    )
    known = known_of_cache(record, cache.stopped, now)
    return cache.model_copy(update={"keys": keys, **known})


def _agreed(caches: Sequence[Cache], state: State) -> Iterator[Cache]:
    """Yield the caches, each old key with the worst verdict that is known of it."""
    worst: dict[str, Key] = {}
    for key in (key for cache in caches for key in cache.keys if key.role == "old"):
        known = worst.get(key.id)
        if known is None or _rank(key.verdict) < _rank(known.verdict):
            worst[key.id] = key
    worst = {key_id: _judged_later(key, state) for key_id, key in worst.items()}
    for cache in caches:
        keys = (
            key.model_copy(update={name: getattr(worst[key.id], name) for name in _JUDGED})
            if key.role == "old"
            else key
            for key in cache.keys
        )
        yield cache.model_copy(update={"keys": tuple(keys)})


def _judged_later(key: Key, state: State) -> Key:
    """Return the key with the last verdict that was given, over other caches, if it is worse."""
    past = state.verdicts(key.id)
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
    """Return the place of a verdict, the worst first; what is none is the worst."""
    return VERDICTS.index(verdict) if verdict in VERDICTS else -1
