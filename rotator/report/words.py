"""
Words: give outcomes, verdicts and stops their sentences, for every rendering.

Each sentence about a report is made here once, so that table, page and summary say the same.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from rotator.errors import ENDINGS
from rotator.report import fields
from rotator.report.fields import bore, cost_lines, is_work, longest, who
from rotator.report.model import Attempt, Cache, Key, Node, Outside, Past, Report, Verification
from rotator.retirement.names import NOTHING_OPENS
from rotator.retirement.places import Kind, Status
from rotator.sweep.control import Change
from rotator.tally.tally import GOOD, Outcome, not_moved
from rotator.text import ago, count, listing, minute, stamp

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

VERDICT_MEANINGS = {
    "unknown": "keep it; not everything was looked at",
    "in-use": "keep it; values need it",
    "draining": "keep it; values need it until they expire",
    "verifying": "keep it for now; none left, but that is not yet confirmed",
    "held": "keep it for now; none left, but old copies could come back",
    "retirable": "it can be removed",
}

KIND_NAMES = {
    Kind.NAMES: "the names in scope",
    Kind.OUTSIDE: "the names left out",
    Kind.NOT_OPENED: "the values not opened",
    Kind.WRITERS: "the applications that write",
    Kind.REPLICA: "the replicas",
    Kind.RDB: "the RDB files",
    Kind.AOF: "the append-only files",
    Kind.BACKUP_COMMAND: "the backups made by the server",
    Kind.CACHES: "the other caches that list the key",
    Kind.BACKUPS: "the copies outside Redis",
}

STATUS_MEANINGS = {
    Status.HOLDING: "values under the key are there, or may be there until it is looked at again",
    Status.UNKNOWN: "it is not known whether values under the key are there",
    Status.ASSUMED: "taken to be clean: the operator says so, or nothing can show it",
    Status.CLEAN: "looked at, and there is none",
}

OUTDATED = (
    "judged by an earlier version of rotator, which checked less; the next run judges it again"
)
SUPERSEDED = "another server answers at these addresses now; what is said here no longer counts"
STOPPED_SHORT = "the sweep was not finished: there may be more than was counted"
STOPPED = {
    "interrupted": "interrupted, position saved",
    "terminated": "terminated, position saved",
    "max-duration": "stopped by --max-duration, position saved; the next run goes on from there",
    "until": "stopped by --until, position saved; the next run goes on from there",
    "tune --stop": "stopped by tune --stop, position saved; the next run goes on from there",
    "hung up": "terminal closed, position saved",
}

Look = Literal["good", "doubtful", "bad"]
_OPENED = (
    *(Outcome.CURRENT, Outcome.ROTATED, Outcome.WOULD_ROTATE, Outcome.NESTED),
    Outcome.TOO_LARGE,
)
_DRAIN = 6
_NODES = 4  # that are told of
_VERDICTS = 6


def title(report: Report, cache: Cache) -> str:
    """Return the name of a cache, with its addresses where several servers have the same name."""
    same = sum(one.name == cache.name for one in report.caches)
    if same < 2 or not cache.addresses:
        return cache.name
    return f"{cache.name} ({', '.join(cache.addresses)})"


def run_facts(report: Report) -> Iterator[str]:
    """Yield how a run ended, who made it, where and how."""
    yield f"ended {stamp(report.finished_at)}, exit code {report.exit_code}: {report.exit_meaning}"
    yield from who(report.facts) if report.facts else ()


def remaining(key: Key) -> str:
    """Return how many values are left under a key, as far as the sweep came."""
    return fields.left(key.remaining, at_least=key.at_least)


def headline(cache: Cache) -> tuple[str, Look]:
    """Return whether all of a cache is done, and how good that is."""
    if cache.error:
        return f"failed: {cache.error}", "bad"
    if cache.stopped:
        return STOPPED.get(cache.stopped, cache.stopped), "doubtful"
    if not cache.complete:
        return "not complete", "bad"
    if but := [*_left(cache)]:
        return f"complete, but {listing(but)}", "doubtful"
    if cache.exit_code:
        known = ENDINGS.get(cache.exit_code)
        return known.short if known else "not as it should be", "doubtful"
    return "complete", "good"


def _left(cache: Cache) -> Iterator[str]:
    """Yield what a complete sweep left as it should not be."""
    if stuck := not_moved(cache.outcomes, cache.accepted):
        yield _stuck(cache, stuck)
    found = cache.verification.found_under_old_keys if cache.verification else 0
    large = min(cache.outcomes[Outcome.TOO_LARGE], cache.accepted.get(Outcome.TOO_LARGE, 0), found)
    if (found := found - large) > stuck:  # else they are those that were not moved
        yield f"{count(found, 'value')} still under old keys"
    if cache.outside and (under := sum(cache.outside.under_old_keys.values())):
        yield f"{count(under, 'value')} under old keys among those left out"


def _stuck(cache: Cache, number: int) -> str:
    """Return that a *number* of values did not move, or that nothing opens at all."""
    shut = cache.outcomes[Outcome.UNDECRYPTABLE]
    if shut and not any(cache.outcomes[one] for one in _OPENED):
        return f"none of {count(shut, 'value')} opens: {NOTHING_OPENS}, see `rotator detect`"
    return f"{count(number, 'value')} not moved"


def measures(cache: Cache) -> Iterator[tuple[str, list[str]]]:
    """Yield what a run costs and what its nodes bore: titles, and lines under them."""
    if cache.estimate and is_work(cache.estimate):
        yield f"cost, {cache.estimate.basis}", [*cost_lines(cache.estimate)]
    if lines := loads(cache):
        yield "how long other clients waited", lines


def loads(cache: Cache) -> list[str]:
    """Return what nodes bore, those first whose clients waited longest."""
    nodes = cache.coverage.nodes if cache.coverage else ()
    told = sorted((one for one in nodes if one.pages), key=lambda one: -longest(one.latency))
    lines = []
    for one in told[:_NODES]:
        load = (one.latency, one.pages, one.exchanged, one.waited_seconds, one.evictions)
        lines.append(f"{one.node}: {'; '.join(bore(*load))}")
    more = len(told) - _NODES
    return lines + [f"and {count(more, 'node')}; the JSON report has them"] * (more > 0)


class OutcomeRow(NamedTuple):
    """Row: tells of one outcome its number, its meaning, and how good that is."""

    outcome: Outcome
    number: int
    meaning: str
    look: Look


def outcome_rows(cache: Cache) -> Iterator[OutcomeRow]:
    """Yield a row for each outcome, also for one that did not occur."""
    for outcome, meaning in MEANINGS.items():
        number, accepted = cache.outcomes[outcome], cache.accepted.get(outcome)
        note = "" if accepted is None else f"; up to {accepted:,} are accepted"
        good = outcome in GOOD or number <= (accepted or 0)
        yield OutcomeRow(outcome, number, meaning + note, "good" if good else "bad")


def forecast(key: Key) -> str | None:
    """Return what becomes of the values under a key if nothing moves them; None without any."""
    expire = key.remaining - (never := key.remaining_without_ttl)
    if not key.remaining or key.at_least:  # what was not met may have any TTL
        return None
    if not expire:
        stay = "it has no TTL" if never == 1 else "none of them has a TTL"
        return f"{count(never, 'value')} would stay for good: {stay}"
    until = key.drains_at or (key.drain[-1][0] if key.drain else None)
    by = f" by {stamp(until)}" if until else ""
    if not never:
        what = "the only value expires" if expire == 1 else f"all {expire:,} values expire"
        return f"{what}{by}, and none would be left"
    stay = "has" if never == 1 else "have"
    expires = "expires" if expire == 1 else "expire"
    return f"{expire:,} of {count(key.remaining, 'value')} {expires}{by}; {never:,} {stay} no TTL"


def remarks(key: Key) -> list[str]:
    """Return the reasons of a verdict that are not those of a place that is not clean."""
    told = [place.evidence for place in key.places if place.status != Status.CLEAN]
    return [reason for reason in key.reasons if not any(said in reason for said in told)]


def assumption(key: Key) -> str:
    """Return all that the verdict on a key takes for granted, as one clause; or nothing."""
    parts = [f"that {fields.clause(one)}" for one in key.assumptions]
    return f"assuming {listing(parts)}" if parts else ""


def left_out(outside: Outside) -> str:
    """Return what lies outside of the names in scope, in one line."""
    if outside.visits is None:
        return f"{count(outside.names, 'name')}, not read, as declared"
    under = sum(outside.under_old_keys.values())
    parts = [count(outside.visits, "visit"), f"{under:,} under old keys"]
    parts += [f"{outside.not_opened:,} not opened"] if outside.not_opened else []
    parts += [f"{outside.denied:,} denied"] if outside.denied else []
    return ", ".join(parts)


def node_state(node: Node) -> str:
    """Return how far a node was swept, and why that proves nothing, if so."""
    state = "complete" if node.complete else "; ".join(("not complete", *node.reasons))
    if node.restarts:
        state += f"; scan restarted {count(node.restarts, 'time')}"
    why = [one for one in node.unproven if one not in node.reasons]
    return f"{state}; proves nothing: {'; '.join(why)}" if why else state


def verified(verification: Verification) -> str:
    """Return how a run was verified: the beginning of a sentence."""
    visits = count(verification.visits, "visit")
    if verification.method == "tracking":
        return f"a second sweep, {visits}, and every name written meanwhile"
    return f"a second sweep, {visits}"


def findings(verification: Verification) -> str:
    """Return what looking again came to: the end of that sentence."""
    found = verification.found_under_old_keys
    result = f"{found:,} under an old key" if found else "none under an old key"
    return result if verification.complete else f"{result}, but not complete"


def facts(key: Key) -> Iterator[str]:
    """Yield what the verdict makes worth knowing beside its reasons."""
    if key.verdict == "in-use":
        yield from _met(key)
        counted = sorted(key.prefixes.items(), key=lambda item: -item[1])
        if prefixes := [f"{prefix or '(others)'} {number:,}" for prefix, number in counted]:
            yield f"names begin with: {', '.join(prefixes)}"
        if key.samples:
            yield f"for example {', '.join(key.samples[:3])}"
    if wait := forecast(key):
        yield f"if you only wait: {wait}"


def deadlines(key: Key) -> Iterator[str]:
    """Yield how many are left until when, and when the verdict can get better."""
    if (
        not key.at_least
        and key.remaining > key.remaining_without_ttl
        and (points := fields.changes(key.drain))
    ):
        if len(points) > _DRAIN:
            step = (len(points) - 1) / (_DRAIN - 1)
            points = [points[round(number * step)] for number in range(_DRAIN)]
        steps = (f"{number:,} at {minute(at, year=False)}" for at, number in points)
        yield f"remaining: {'; '.join(steps)}"
    if key.ready_at:
        yield f"ready {stamp(key.ready_at)}"
    if key.held_until:
        yield f"held until {stamp(key.held_until)}"


def age(cache: Cache, now: datetime) -> str:
    """Return how old is what is known of a cache."""
    if cache.swept_at is None:
        return "no complete sweep yet"
    open_ = ", not verified" if cache.progress and cache.progress.phase == "verification" else ""
    return f"last complete sweep {ago(cache.swept_at, now)}{open_}: {stamp(cache.swept_at)}"


def waiting_nodes(cache: Cache) -> int:
    """Return how many nodes had to wait; reports of 1.0.0 do not tell."""
    return sum(bool(node.waited_seconds) for node in cache.coverage.nodes) if cache.coverage else 0


def change(made: Change) -> str:
    """Return what was changed while a run went on, and by whom."""
    what = f"{made.what} {made.before} -> {made.after}"
    return f"{stamp(made.at)}: {what}, {made.user} on {made.host}"


def missed(attempt: Attempt) -> str:
    """Return that a later run did not look at a cache, and why."""
    why = attempt.error or STOPPED.get(attempt.stopped or "", attempt.stopped or "not begun")
    return f"a later run, {stamp(attempt.at)}, did not look at it: {why}"


def history(past: Past) -> Iterator[str]:
    """Yield what earlier sweeps saw of a key, and what they led to."""
    yield from _met(past)
    if past.swept_at and not past.last_seen_at:
        yield "never met by any sweep"
    if past.clean_since:
        clean = count(past.clean_sweeps, "complete sweep")
        yield f"clean since {stamp(past.clean_since)}: {clean} did not meet it"
    if past.returned_at:
        yield f"met again {stamp(past.returned_at)}, after it had been clean"
    if past.verdicts:
        steps = (f"{verdict} from {minute(at)}" for at, verdict in past.verdicts[-_VERDICTS:])
        yield f"verdicts: {', '.join(steps)} UTC"


def _met(known: Key | Past) -> Iterator[str]:
    """Yield when values under a key were met, if any were."""
    if known.first_seen_at and known.last_seen_at:
        yield f"first met {stamp(known.first_seen_at)}, last {stamp(known.last_seen_at)}"
