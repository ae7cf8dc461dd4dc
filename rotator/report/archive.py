"""
Archive: stores reports, judges them again, checks `--require` and `--by`.

Reports are kept for each cache, and may be of different days. Put together, a key has one verdict:
the worst that any of them gave it, or a later run over other caches. So nothing is ever said to be
better than it was judged.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from rotator.errors import ConfigError, StateError
from rotator.report import fields, words
from rotator.report.agreement import agreed, unended
from rotator.report.build import known_of_cache, known_of_key
from rotator.report.files import json_text
from rotator.report.model import SCHEMA, Attempt, Cache, Key, KeyPlace, Report
from rotator.retirement.forecast import plan_until
from rotator.retirement.places import Kind, Status
from rotator.state.state import State
from rotator.text import SHORT_ID, ago, duration, moment

IN_TIME = "in-time"
RETIRABLE = "retirable"
PROVEN = "proven"
_PROOFS: dict[str, str] = {
    Kind.WRITERS: "`rotator fence --at TIME` for the applications",
    Kind.BACKUPS: "declare backups.retention",
}
_LOOK = "remove what you declare in assume and replicas, and --accept"


def save_reports(
    report: Report,
    state: State,
    history: Mapping[str, str] | None = None,
    decommissioned: Mapping[str, Collection[str]] | None = None,
) -> None:
    """
    Store the report on a run, for each cache by itself.

    *history* maps the name of a cache to what the state calls the history of the server that
    answered, else it is the last one; *decommissioned* to the addresses that are declared gone.
    """
    for cache in report.caches:
        known = (history or {}).get(cache.name) or _latest_history(state, cache.name)
        own = cache.model_copy(update={"history": known})
        alone = report.model_copy(update={"caches": (own,)})
        state.save_report(known, json_text(merged_with_stored(alone, state)), report.finished_at)
        if cache.coverage is not None:
            _supersede(own, state, (decommissioned or {}).get(cache.name, ()))


def merged_with_stored(report: Report, state: State) -> Report:
    """
    Return what the state is to hold on the only cache of *report*.

    Where the run did not look at it, what an earlier one found stays, and says so: not having
    looked makes nothing better, and nothing worse but older.
    """
    (cache,) = report.caches
    kept = state.last_reports().get(cache.history or cache.name)
    if cache.coverage is not None or kept is None:
        return report
    try:
        earlier = Report.model_validate_json(kept[1])
    except ValueError:  # damaged: nothing is lost with it
        return report
    attempt = Attempt(at=report.finished_at, stopped=cache.stopped, error=cache.error)
    caches = tuple(one.model_copy(update={"attempt": attempt}) for one in earlier.caches)
    return earlier.model_copy(update={"caches": caches})


def _latest_history(state: State, cache: str) -> str:
    """Return what the state calls the history of a cache that was worked on last."""
    known = state.lineages(cache)
    return max(known, key=lambda one: str(known[one].get("at", "")), default=cache)


def _supersede(cache: Cache, state: State, gone: Collection[str]) -> None:
    """
    Mark the histories of other servers of this name that are not there any more.

    That is so where *cache* now answers at every one of their addresses that is not *gone*.
    """
    for history, (at, text) in state.last_reports().items():
        try:
            report = Report.model_validate_json(text)
        except ValueError:  # damaged: whoever reads it is told
            continue
        (other,) = report.caches or (cache,)
        left = set(other.addresses or _nodes(other)) - {*cache.addresses, *_nodes(cache)}
        known = bool(other.addresses or _nodes(other))
        if history == cache.history or other.name != cache.name or not known or left - set(gone):
            continue
        marked = other.model_copy(update={"superseded": True})
        state.save_report(history, json_text(report.model_copy(update={"caches": (marked,)})), at)


def _nodes(cache: Cache) -> list[str]:
    """Return the addresses of the nodes that were swept."""
    return [node.node for node in cache.coverage.nodes] if cache.coverage else []


def load_reports(state: State, now: datetime) -> Report:
    """
    Return the last reports on all caches as one, each cache as it was last seen.

    A name is there more than once if other servers answered to it. When what is not done yet will
    be done is told as of *now*.

    Raises:
        StateError: There is none yet, or one is damaged.
    """
    reports = {known: _read(known, text) for known, (_, text) in state.last_reports().items()}
    if not reports:
        raise StateError(
            "the state holds no report yet", hint="`rotator run --dry-run` looks without writing"
        )
    newest = max(reports.values(), key=lambda one: one.finished_at)
    caches = [
        _with_record(cache, known, state, now).model_copy(
            update={"facts": None if one.facts == newest.facts else one.facts}
        )
        for known, one in reports.items()
        for cache in one.caches
    ]
    update = {"schema_": SCHEMA, "caches": tuple(agreed(caches, state))}
    return newest.model_copy(update=update)


def add_schedule(report: Report, state: State, by: datetime, now: datetime) -> Report:
    """Return the report with whether each cache will be done *by* then."""
    caches = []
    for cache in report.caches:
        runs = state.run_records(cache.history or cache.name)
        caches.append(cache.model_copy(update={"outlook": plan_until(by, runs, now)}))
    return report.model_copy(update={"caches": tuple(caches)})


def late_caches(report: Report) -> list[str]:
    """Return the caches that are not known to be in time, and why, for `--require`."""
    return [
        f"{words.title(report, cache)}: {cache.outlook.advice}"
        for cache in report.caches
        if cache.outlook and not cache.outlook.in_time and not cache.superseded
    ]


def old_key_ids(report: Report) -> list[str]:
    """Return the ids of all old keys."""
    living = [one for one in report.caches if not one.superseded]
    return sorted({key.id for cache in living for key in cache.keys if key.role == "old"})


def find_key_id(asked: str, beginning: str, report: Report) -> str:
    """
    Return the id of the only key whose id begins so; *asked* is how errors begin.

    Raises:
        ConfigError: No key, or more than one, has such an id, or too little of it is given.
    """
    known = {key.id for cache in report.caches for key in cache.keys}
    found = [one for one in known if one.startswith(beginning.lower())]
    if len(found) == 1 and len(beginning) >= SHORT_ID:
        return found[0]
    what = "several keys begin with" if len(found) > 1 else "no key has"
    hint = f"the old keys are {', '.join(old_key_ids(report)) or '(none)'}"
    raise ConfigError(f"{asked}: {what} this id", hint=hint)


def unmet_conditions(
    report: Report,
    keys: Iterable[str],
    *,
    now: datetime,
    max_age: timedelta,
    proven: bool = False,
) -> list[tuple[str, str]]:
    """
    Return why not all keys with these ids are retirable, each reason with what to do about it.

    *report* is that on all caches, because a key may be listed in several. Nothing speaks against
    it only if every one of them was looked at, not longer than *max_age* ago; *proven* asks that
    nothing is assumed of any place, as well. A server that another one superseded is not asked for.
    """
    wanted, living = list(keys), [cache for cache in report.caches if not cache.superseded]
    if not wanted:
        return [("no cache has an old key, so none is retirable", "there is nothing to remove")]
    reasons = []
    for cache in living:
        title = words.title(report, cache)
        if not cache.keys:
            why = cache.error or cache.stopped or "nothing was looked at"
            reasons.append((f"the last run could not judge {title}: {why}", "run again"))
        listed = [key for key in cache.keys if key.id in wanted]
        if listed and (old := _too_old(title, cache.swept_at, now, max_age)):
            reasons.append((old, f"run again, for {cache.name}"))
        for key in listed:
            reasons += _against(title, cache, key) or (_assumed(key) if proven else [])
    for key_id in set(wanted) - {key.id for cache in living for key in cache.keys}:
        reasons.append((f"no server that still exists was searched for key {key_id}", "run again"))
    return list(dict.fromkeys(reasons))


def _against(title: str, cache: Cache, key: Key) -> list[tuple[str, str]]:
    """Return what one cache has against the removal of one key."""
    if key.role == "current":
        return [(f"key {key.id} is the current key of {title}", f"give {key.field} another")]
    if key.verdict != RETIRABLE:
        why = key.reasons[0] if key.reasons else "no reason is known"
        return [(f"key {key.id} is {key.verdict}: {why}", key.next_step or "run again")]
    if cache.outdated:
        return [(f"key {key.id} was judged by an earlier version of rotator", "run again")]
    return []


def _assumed(key: Key) -> list[tuple[str, str]]:
    """Return what is not proven of a retirable key, and so only assumed."""
    against = [
        (f"key {key.id} is {RETIRABLE}, but not {PROVEN}: {_only(place)}", place.remedy)
        for place in key.places
        if place.status != Status.CLEAN
    ]
    said = " ".join(place.evidence for place in key.places)
    proofs = {_PROOFS.get(one.kind, _LOOK) for one in key.places if one.status == Status.ASSUMED}
    for assumption in key.assumptions:
        if fields.clause(assumption) not in said:
            reason = f"key {key.id} is {RETIRABLE}, assuming that {fields.clause(assumption)}"
            against.append((reason, ""))
            proofs.add(_LOOK)
    for kind in (Kind.WRITERS, Kind.BACKUPS):
        if all(place.kind != kind for place in key.places):
            what = words.KIND_NAMES[kind]
            against.append((f"key {key.id}: nothing is known about {what}", "run again"))
    order = [one for one in (*_PROOFS.values(), _LOOK) if one in proofs]
    proof = "; ".join([*order, "then run again"]) if order else "run again"
    return [(reason, step or proof) for reason, step in against]


def _only(place: KeyPlace) -> str:
    """Return what is known of a place, said as what it is where it is only assumed."""
    assumed = place.status == Status.ASSUMED
    return f"it is only assumed that {fields.clause(place.evidence)}" if assumed else place.evidence


def _too_old(
    title: str, swept_at: datetime | None, now: datetime, max_age: timedelta
) -> str | None:
    """Return why what is known of a cache is too old to rely on, or None."""
    if swept_at is None:
        return f"there is no complete sweep of {title}"
    if swept_at > now:
        return (
            f"the last complete sweep of {title} ended {moment(swept_at)}, which is"
            " later than now: a clock is wrong"
        )
    if now - swept_at > max_age:
        return (
            f"the last complete sweep of {title} ended {ago(swept_at, now)},"
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


def _with_record(cache: Cache, history: str, state: State, now: datetime) -> Cache:
    """Return a cache with its age, progress and the history of its keys as they are now."""
    record = state.cache_record(cache.name, [key.id for key in cache.keys], history)
    keys = tuple(
        key.model_copy(update=known_of_key(record, key.id, key.role)) for key in cache.keys
    )
    if record.working_since is not None:
        keys = tuple(unended(key, record.working_since) for key in keys)
    known = known_of_cache(record, cache.stopped, now)
    return cache.model_copy(update={"keys": keys, "history": history, **known})


def select_caches(everything: Report, names: Sequence[str]) -> Report:
    """Return the report on the caches called *names*, or on all."""
    known = list(dict.fromkeys(one.name for one in everything.caches))
    for name in names:
        if name not in known:
            raise ConfigError(
                f"--cache {name}: the state holds no report on it",
                hint=f"it holds reports on {', '.join(known)}",
            )
    # Several servers may have answered to one name.
    wanted = dict.fromkeys(names or known)
    caches = tuple(one for name in wanted for one in everything.caches if one.name == name)
    return everything.model_copy(update={"caches": caches})


def required_keys(require: str, everything: Report, shown: Report) -> list[str]:
    """
    Return the ids of the old keys that are asked for: all that are shown, or the one named.

    Raises:
        ConfigError: It is not written like that, or no key, or more than one, has this id.
    """
    word, colon, ident = require.partition(":")
    if word not in {RETIRABLE, PROVEN} or (colon and len(ident) < SHORT_ID):
        raise ConfigError(
            f"--require {require[:80]}: expected retirable or proven, or one of them with :ID",
            hint="ID is a key id, or its first 8 characters; or with --by: --require in-time",
        )
    if not colon:
        return old_key_ids(shown)
    return [find_key_id(f"--require {require[:80]}", ident, everything)]
