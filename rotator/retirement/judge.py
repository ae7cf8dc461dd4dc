"""
Judge: turns places into findings, verdict and next step.

Evidence in, a judgement out; nothing is read and no clock is asked.

- Every cache that lists the key is a case of its own; the key is as far as the worst of them.
- All reasons that apply are given, the worst first. The worst one is the verdict, and the next step
  is about that.
- Not having looked is never a reason to remove a key: what is missing in the evidence makes the
  verdict worse, never better.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from rotator.retirement.places import Evidence, Place, Verdict
from rotator.tally.tally import ACCEPTABLE, BLOCKING, Mode, Outcome
from rotator.text import add_clamped, ago, begin_with, clock, count, duration, listing, moment

CLOCKS = "set the clocks right (NTP), then run again"
"""What to do when a clock is wrong."""
_CLOCK = (
    "set the clock right, then run again; if it is right an earlier run had a wrong one, and the"
    " state file is to be moved away"
)
_FIND = "find what still encrypts with it, give that the current key, then run again"
_OPEN_ITEMS = {
    Outcome.UNDECRYPTABLE: (
        "value opens under no known key and format, and may be under this one",
        "values open under no known key and format, and may be under this one",
        "see what they are with `rotator detect`",
    ),
    Outcome.NOT_STRING: (
        "entry is of another Redis type and was not looked into",
        "entries are of another Redis type and were not looked into",
        "see what they are in the report's problems",
    ),
    Outcome.TOO_LARGE: (
        "value would be too large for the server once it is re-encrypted",
        "values would be too large for the server once they are re-encrypted",
        "have them written anew or deleted",
    ),
    Outcome.DENIED: (
        "entry could not be read or written: the ACL forbids it",
        "entries could not be read or written: the ACL forbids it",
        "give the user the rights that `rotator check` names, then run again",
    ),
    Outcome.FAILED: (
        "entry could not be read or written: the server answered with an error",
        "entries could not be read or written: the server answered with an error",
        "see the errors in the report's problems, then run again",
    ),
}


class Finding(NamedTuple):
    """
    Finding: one reason, as a sentence, the verdict that it leads to, and what to do about it.

    Of several steps the one of the highest *rank* says most. *field* lists a key that can go.
    """

    verdict: Verdict
    reason: str
    step: str
    rank: int = 0
    field: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    Judgement: holds the verdict on a key, why, and what to do next; times are UTC.

    *drains_at* is set when all that remains has a TTL, *ready_at* when the verdict is `verifying`,
    *held_until* when it is `verifying` or `held` and a hold ends by itself. *first_seen_at* and
    *last_seen_at* are of all sweeps of all caches. *places* are the worst first.
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
    key_id: str,
    evidence: Sequence[Evidence],
    *,
    now: datetime,
    quiet: timedelta,
    current_in: Iterable[str] = (),
    doubt: str | None = None,
) -> Judgement:
    """
    Return the judgement on an old key.

    *evidence* is that of every cache that lists the key, whether it was swept in this run or not;
    *current_in* are the fields where it is the current key of a cache. *doubt* says why *now* is
    not to be relied on.
    """
    found = [
        Finding(Verdict.IN_USE, f"it is the current key at {field}", f"give {field} another key")
        for field in current_in
    ]
    for case in evidence:
        label = f"{case.cache}: " if len(evidence) > 1 else ""
        found += [one._replace(reason=f"{label}{one.reason}") for one in findings(case, now, quiet)]
    if doubt:
        found.append(Finding(Verdict.VERIFYING, doubt, CLOCKS, rank=2))
    if not evidence:
        found.append(Finding(Verdict.UNKNOWN, "no cache that lists it was swept", "run again"))
    order = list(Verdict).index
    verdict = min((one.verdict for one in found), key=order)
    against = [one for one in found if one.verdict is not Verdict.RETIRABLE] or found
    against.sort(key=lambda one: order(one.verdict))
    notes = [sentence for case in evidence for sentence in (*accepted(case), *cut_short(case))]
    ready_at = _ready_at(evidence, now, quiet) if verdict is Verdict.VERIFYING else None
    return Judgement(
        key_id=key_id,
        verdict=verdict,
        reasons=tuple(dict.fromkeys([*(one.reason for one in against), *notes])),
        next_step=_next_step([one for one in found if one.verdict is verdict], ready_at, now),
        drains_at=_drains_at(evidence),
        ready_at=ready_at,
        held_until=_held_until(evidence, verdict, now),
        first_seen_at=min(filter(None, (case.first_seen_at for case in evidence)), default=None),
        last_seen_at=max(filter(None, (case.last_seen_at for case in evidence)), default=None),
    )


def findings(case: Evidence, now: datetime, quiet: timedelta) -> list[Finding]:
    """Return all that speaks against removal, the worst first; or what speaks for it."""
    against = [
        *_unknown(case),
        *_in_use(case, now, quiet),
        *_draining(case),
        *_verifying(case, now, quiet),
    ]
    holds = [hold for hold in case.holds if hold.open(now)]
    against += [Finding(Verdict.HELD, hold.reason, hold.ends_by) for hold in holds]
    return against or [_retirable(case)]


def accepted(case: Evidence) -> Iterator[str]:
    """Yield what was accepted, a sentence each."""
    for outcome in ACCEPTABLE:
        number = max((sweep.open_items.get(outcome, 0) for sweep in case.sweeps), default=0)
        if number and not case.blocking(outcome):
            yield f"{number:,} {outcome} {'was' if number == 1 else 'were'} accepted"


def cut_short(case: Evidence) -> Iterator[str]:
    """Yield that the last sweep was stopped, and so the one before it counts."""
    if case.cut_short_at and case.sweep:
        yield (
            f"by the complete sweep that ended {moment(case.sweep.finished_at)}; one that was"
            f" stopped {moment(case.cut_short_at)} had not met it up to there"
        )


def _unknown(case: Evidence) -> Iterator[Finding]:
    """Yield what was not looked at."""
    if case.sweep is None:
        yield Finding(Verdict.UNKNOWN, "never swept to the end", f"run for {case.cache}")
        return
    missing = list(dict.fromkeys(one for sweep in case.sweeps for one in sweep.not_looked_at))
    for sentence in missing:
        yield Finding(Verdict.UNKNOWN, sentence, "see to what was not looked at, then run again")
    if not case.complete and not missing:
        yield Finding(Verdict.UNKNOWN, "no complete sweep", "run again until one is complete")
    for outcome in BLOCKING:
        if number := case.blocking(outcome):
            one, many, step = _OPEN_ITEMS[outcome]
            if outcome in ACCEPTABLE:
                step = f"{step}, or accept them with --accept {outcome}={number}"
            yield Finding(Verdict.UNKNOWN, count(number, one, many), step)


def _in_use(case: Evidence, now: datetime, quiet: timedelta) -> Iterator[Finding]:
    """Yield what shows that values stay under the key, or that something writes with it."""
    names = begin_with(case.prefixes)
    if number := case.remaining_without_ttl:
        since = f", first seen {moment(case.first_seen_at)}" if case.first_seen_at else ""
        remain = "remains" if number == 1 else "remain"
        yield Finding(
            Verdict.IN_USE,
            f"{count(number, 'value')} without a TTL {remain} under it{since}{names}",
            f"run {_anew(case)} to move what remains",
        )
    if number := case.met_again:
        yield Finding(
            Verdict.IN_USE,
            f"the verifying sweep still met {count(number, 'value')} under it: "
            f"something still encrypts with it{names}",
            _FIND,
        )
    past = case.history
    if past.clean_before is None or past.returned_at is None:
        return
    calm_at = add_clamped(case.last_seen_at or past.returned_at, quiet)
    if past.clean_since is None or now < calm_at:
        values = f"{count(past.returned, 'value')} {'was' if past.returned == 1 else 'were'}"
        yield Finding(
            Verdict.IN_USE,
            f"{values} encrypted with it after it had been clean since {moment(past.clean_before)}:"
            f" something still writes with it{begin_with(past.prefixes)}",
            _FIND,
        )


def _draining(case: Evidence) -> Iterator[Finding]:
    """Yield what will be gone by itself."""
    if not case.remaining or case.drains_at is None:
        return
    number, until = case.remaining, moment(case.drains_at)
    remain, last = ("remains", "it") if number == 1 else ("remain", "the last")
    yield Finding(
        Verdict.DRAINING,
        f"{count(number, 'value')} with a TTL {remain} under it; {last} expires at {until}",
        f"run {_anew(case)} to move what remains, or wait until {until} and run again",
    )


def _verifying(case: Evidence, now: datetime, quiet: timedelta) -> Iterator[Finding]:
    """Yield what is missing until it is certain that none is left."""
    latest, since = case.latest, case.quiet_since
    if not case.complete or latest is None or since is None or case.remaining:
        return
    again, rank = "run again", 0
    if not all(sweep.verified for sweep in case.sweeps):
        again, rank = "run again without --no-verify", 1
        yield Finding(Verdict.VERIFYING, "the sweep was not verified (--no-verify)", again, rank)
    elif not case.confirmed:
        yield Finding(Verdict.VERIFYING, "not yet confirmed by a later complete sweep", again, rank)
    newest = max(since, latest.finished_at, case.history.swept_at or since)
    if doubt := next((sweep.doubt for sweep in case.sweeps if sweep.doubt), None):
        yield Finding(Verdict.VERIFYING, doubt, CLOCKS, 2)
    if newest > now:
        reason = f"last looked at {moment(newest)}, which is later than now: a clock is wrong"
        yield Finding(Verdict.VERIFYING, reason, _CLOCK, 3)
    elif now < add_clamped(since, quiet):
        how = "last met" if case.last_seen_at else "first looked for"
        reason = f"{how} {ago(since, now)}; {duration(quiet)} of quiet is asked for"
        yield Finding(Verdict.VERIFYING, reason, again, rank)
    elif latest.finished_at < add_clamped(since, quiet):
        reason = f"last swept at {clock(latest.finished_at, now)}, when {duration(quiet)} of quiet"
        yield Finding(Verdict.VERIFYING, f"{reason} was not over", again, rank)


def _retirable(case: Evidence) -> Finding:
    """On what evidence the key can go."""
    past = case.history
    sweeps = count(past.clean_sweeps, "complete sweep")
    if case.last_seen_at:
        reason = f"last met {moment(case.last_seen_at)}; {sweeps} since then did not meet it"
    else:
        reason = f"{sweeps} did not meet it, and none ever did"
    return Finding(Verdict.RETIRABLE, reason, f"remove {case.field}", field=case.field)


def _anew(case: Evidence) -> str:
    """Return how the next run is to differ from this one."""
    dry_run = case.sweep is not None and case.sweep.mode is Mode.DRY_RUN
    return "without --dry-run" if dry_run else "again"


def _next_step(worst: Sequence[Finding], ready_at: datetime | None, now: datetime) -> str:
    """Return what to do about the worst findings."""
    if worst[0].verdict is Verdict.RETIRABLE:
        return f"remove {listing(dict.fromkeys(one.field for one in worst))}"
    if ready_at is None:
        return "; ".join(dict.fromkeys(one.step for one in worst))
    step = max(worst, key=lambda one: one.rank).step
    return f"{step} after {clock(ready_at, now)}" if ready_at > now else step


def _drains_at(evidence: Sequence[Evidence]) -> datetime | None:
    """Return when the last value expires, if every value that remains does."""
    if any(case.remaining_without_ttl for case in evidence):
        return None
    ends = (case.drains_at for case in evidence if case.remaining)
    return max((at for at in ends if at), default=None)


def _ready_at(evidence: Sequence[Evidence], now: datetime, quiet: timedelta) -> datetime:
    """Return when the next sweep can find that it was quiet for long enough."""
    return max(now, *(add_clamped(case.quiet_since or now, quiet) for case in evidence))


def _held_until(evidence: Sequence[Evidence], verdict: Verdict, now: datetime) -> datetime | None:
    """Return when the last of the holds that end by themselves does."""
    if verdict not in {Verdict.VERIFYING, Verdict.HELD}:
        return None
    holds = (hold for case in evidence for hold in case.holds if hold.open(now))
    return max((hold.until for hold in holds if hold.until), default=None)
