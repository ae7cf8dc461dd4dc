"""
Names: say of the live data whether a key is gone from it, since when, and whether it stays so.

What was met is a fact, and is told first. That nothing is left is proven: each primary by a sweep
that only read, in the living lineage, again after the quiet time or the fence (verdict 1, 2, 5).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.retirement.lineage import Gone, gone_since
from rotator.retirement.looks import UNSEEN_RESET
from rotator.retirement.places import MOST_SAMPLES, Evidence, Kind, Place, Status, Verdict
from rotator.tally.tally import ACCEPTABLE, BLOCKING, Mode, Outcome
from rotator.text import add_clamped, begin_with, clock, count, duration, moment, rounded_up

CLOCKS = "set the clocks right (NTP), then run again"
"""What to do when a clock is wrong."""
_CLOCK = (
    "set the clock right, then run again; if it is right, an earlier run had a wrong one: move the"
    " state file away, then run again"
)
_REFUSED = "a run would be refused: do what the warning says, then run again"
_FIX = "fix that, then run again"
_EVERY_NIGHT = "run again; if this happens every night, use `run --wait` or `rotator fence`"
_GRANT = "grant +cluster|myid on {}, then run rotator twice"
_TWICE = {Outcome.NESTED: "have values that are encrypted twice rewritten or deleted; run again"}
_FIND = "find what still encrypts with it and give it the current key, then run again"
NOTHING_OPENS = "the keys may be right and the format wrong"
"""What comes to mind first where not one value opens: keys are checked sooner than layouts."""
_DETECT = "run `rotator detect`, correct the format or add the missing key, then run again"
_NONE = f"no value opened, so {NOTHING_OPENS}: {_DETECT}"
_SEE = "`rotator detect --samples {}`, and `rotator inspect NAME` for those under problems"
_OPEN_ITEMS = {
    Outcome.UNDECRYPTABLE: (
        "value opens under no known key and format, and may be under this one",
        "values open under no known key and format, and may be under this one",
        f"see what they are with {_SEE}",
    ),
    Outcome.NOT_STRING: (
        "entry is of another Redis type and was not looked into",
        "entries are of another Redis type and were not looked into",
        "the report's problems show what they are; for hashes, say in `fields` where values are",
    ),
    Outcome.TOO_LARGE: (
        "value would be too large for the server once it is re-encrypted",
        "values would be too large for the server once they are re-encrypted",
        "have them rewritten or deleted",
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


def names_places(
    case: Evidence, gone: Mapping[str, Gone], now: datetime, quiet: timedelta
) -> list[Place]:
    """Return what is known of the names in scope, the worst first."""
    against = [*_in_use(case, now, quiet), *_draining(case), *_unknown(case), *_hidden(gone)]
    if not case.remaining and not any(one.verdict is Verdict.UNKNOWN for one in against):
        against += _verifying(case, gone, now, quiet)
    return against or [_clean(case, gone)]


def _place(
    status: Status, verdict: Verdict, evidence: str, remedy: str, until: datetime | None = None
) -> Place:
    return Place(Kind.NAMES, "", status, evidence, verdict, None, remedy, until)


def _later(evidence: str, remedy: str = "run again", until: datetime | None = None) -> Place:
    """Return what another run makes better."""
    return replace(_place(Status.UNKNOWN, Verdict.VERIFYING, evidence, remedy, until), passes=True)


def _in_use(case: Evidence, now: datetime, quiet: timedelta) -> Iterator[Place]:
    """Yield what shows that values stay under the key, or that something writes with it."""
    names, holding = begin_with(case.prefixes), (Status.HOLDING, Verdict.IN_USE)
    if left := case.remaining_without_ttl:
        since = f", first seen {moment(case.first_seen_at)}" if case.first_seen_at else ""
        remain = "remains" if left == 1 else "remain"
        number = f"{case.at_least}{count(left, 'value')}"
        text = f"{number} without a TTL {remain} under it{since}{names}"
        yield _place(*holding, text, _moving(case))
    if met := case.met_again:
        text = f"the verifying sweep still met {count(met, 'value')} under it:"
        text += f" something still encrypts with it{names}"
        yield _place(*holding, text, _FIND)
    past = case.history
    if past.clean_before is None or past.returned_at is None:
        return
    met_at = case.last_seen_at or past.returned_at
    fenced = case.in_force is not None and case.in_force.at >= met_at  # it stands in for the quiet
    if past.clean_since is None or (now < add_clamped(met_at, quiet) and not fenced):
        were = f"{count(past.returned, 'value')} {'was' if past.returned == 1 else 'were'}"
        since = f"after it had been clean since {moment(past.clean_before)}"
        text = f"{were} encrypted with it {since}: something still writes with it"
        text += begin_with(past.prefixes)
        yield _place(*holding, text, _FIND)


def _draining(case: Evidence) -> Iterator[Place]:
    """Yield what will be gone by itself."""
    if not case.remaining or case.drains_at is None:
        return
    left, until = count(case.remaining, "value"), moment(case.drains_at)
    remain, last = ("remains", "it") if case.remaining == 1 else ("remain", "the last")
    text = f"{case.at_least}{left} with a TTL {remain} under it; {last} expires at {until}"
    remedy = f"{_moving(case)}, or wait until it has expired and run again"
    yield _place(Status.HOLDING, Verdict.DRAINING, text, remedy, case.drains_at)


def _unknown(case: Evidence) -> Iterator[Place]:
    """Yield what was not looked at, or proves nothing."""
    unknown = (Status.UNKNOWN, Verdict.UNKNOWN)
    if case.sweep is None:
        yield _place(*unknown, "never swept to the end", f"run rotator for {case.cache}")
        return
    missing = list(dict.fromkeys(one for sweep in case.sweeps for one in sweep.not_looked_at))
    for sentence in missing:
        yield _place(*unknown, sentence, _FIX)
    if not case.sweep.complete and not missing:
        yield _place(*unknown, "no complete sweep", "run again until one is complete")
    if case.sweep.complete and not case.ever_opened and not case.declared.empty:
        text = "no value of this cache was ever opened here; is it the right server?"
        remedy = "check redis.addresses, match, databases and formats; if right, --accept empty"
        yield _place(*unknown, text, remedy)


def _hidden(gone: Mapping[str, Gone]) -> Iterator[Place]:
    """Yield that names are in slots that are not their node's: they may come back (verdict 2.8)."""
    for address, one in gone.items():
        if one.last and one.last.hidden:
            text = f"{address} holds {count(one.last.hidden, 'name')} of slots that it does not own"
            remedy = (
                "finish the move (first MIGRATE what the owner still has of these slots, or it is"
                " lost; then CLUSTER SETSLOT <slot> NODE <id> on both nodes) or delete the names,"
                " then run again"
            )
            yield _place(Status.UNKNOWN, Verdict.UNKNOWN, text, remedy)


def _verifying(
    case: Evidence, gone: Mapping[str, Gone], now: datetime, quiet: timedelta
) -> Iterator[Place]:
    """Yield what is missing until it is certain that none is left."""
    still = (Status.UNKNOWN, Verdict.VERIFYING)
    if doubt := next((sweep.doubt for sweep in case.sweeps if sweep.doubt), None):
        yield _place(*still, doubt, CLOCKS)
    elif wrong := _from_the_future(case, now):
        yield _place(*still, wrong, _CLOCK)
    elif not all(sweep.verified for sweep in case.sweeps):
        text = "the sweep was not verified (--no-verify)"
        yield _place(*still, text, "run again without --no-verify")
    elif case.working_since is not None:
        since = moment(case.working_since)
        yield _later(f"a run or purge that began {since} has not ended: what it met is not known")
    elif not gone or any(one.first is None for one in gone.values()):
        yield from _not_proven(case, gone)
    elif not all(one.same_process for one in gone.values()):
        where = ", ".join(name for name, one in gone.items() if not one.same_process)
        yield _later(f"{where} failed over or restarted after the last sweep")
    elif case.in_force is None and not all(one.again for one in gone.values()):
        yield _too_early(gone, now, quiet)


def _from_the_future(case: Evidence, now: datetime) -> str | None:
    """Return that something was seen later than now, if that is so."""
    times = [case.history.swept_at, case.last_seen_at, *(one.ended_at for one in case.proofs)]
    newest = max((at for at in times if at), default=now)
    if newest <= now:
        return None
    return f"last looked at {moment(newest)}, which is later than now: a clock is wrong"


def _not_proven(case: Evidence, gone: Mapping[str, Gone]) -> Iterator[Place]:
    """Yield why there is no proof yet that the key is gone."""
    for sweep in case.sweeps:
        for sentence in sweep.unproven:
            if sweep.complete or sweep.not_looked_at:
                yield _place(Status.UNKNOWN, Verdict.UNKNOWN, sentence, _FIX)
            else:  # it was stopped
                yield _later(sentence)
    if any(sweep.unproven for sweep in case.sweeps):
        return
    if case.proofs and not case.basis:
        yield _later("its configuration has changed since it was last looked at")
        return
    for address, one in gone.items():
        ended = case.proofs and not any(one.ancestry.has(proof.after) for proof in case.proofs)
        if one.first is None and ended and one.ancestry.why:
            text = f"what was known of {address} no longer counts: {one.ancestry.why}"
            unseen = one.ancestry.why == UNSEEN_RESET
            yield _later(text, _GRANT.format(address) if unseen else _EVERY_NIGHT)
            return
    yield _later("no sweep that only reads has shown yet that none is left")


def _too_early(gone: Mapping[str, Gone], now: datetime, quiet: timedelta) -> Place:
    """Return when a sweep can confirm that none is left."""
    ends = max(one.first.ended_at for one in gone.values() if one.first)
    calm_at = add_clamped(ends, quiet)
    how = f"a sweep {duration(quiet)} later" if now < calm_at else "another sweep"
    text = f"no value left under it at {clock(ends, now)}; {how} must confirm it"
    remedy = f"run again after {clock(rounded_up(calm_at), now)}" if now < calm_at else "run again"
    return _later(text, remedy, max(now, calm_at))


def _clean(case: Evidence, gone: Mapping[str, Gone]) -> Place:
    """Return on what evidence the names are clean."""
    met = f"last met {moment(case.last_seen_at)}" if case.last_seen_at else "never met"
    proofs = [one.first.begun_at for one in gone.values() if one.first]
    text = f"{met}; no sweep since {moment(max(proofs))} met it" if proofs else met
    return Place(Kind.NAMES, "", Status.CLEAN, text, since=gone_since(gone))


def _moving(case: Evidence) -> str:
    """Return what moves what remains: a run, unless all of it is what the last one could not."""
    steps = _TWICE | {one: _OPEN_ITEMS[one][2] for one in (Outcome.TOO_LARGE, Outcome.DENIED)}
    met = {one: max(sweep.open_items.get(one, 0) for sweep in case.sweeps) for one in steps}
    if case.sweep and case.sweep.mode is Mode.DRY_RUN and met[Outcome.TOO_LARGE] < case.remaining:
        return _REFUSED if case.sweep.refused else "run without --dry-run to move what remains"
    if sum(met.values()) < case.remaining:
        return "run again to move what remains"
    return "; ".join(step for one, step in steps.items() if met[one])


def outside_place(case: Evidence, gone: Mapping[str, Gone]) -> Place:
    """Return what is known of names that `match` and `databases` leave out."""
    proofs = [
        next((p for p in reversed(case.proofs) if one.ancestry.has(p.after)), None)
        for one in gone.values()
    ]
    reason = case.declared.outside
    known = [one.outside for one in proofs if one and (reason or one.outside.visits is not None)]
    if not known or len(known) < len(proofs):
        text = "names outside `match` and `databases` were not yet looked at"
        return replace(_later(text), kind=Kind.OUTSIDE)
    if any(one.visits is None for one in known):
        number, where = sum(one.names for one in known), "outside `match` and `databases`"
        text = count(number, f"name {where} holds", f"names {where} hold")
        return Place(Kind.OUTSIDE, "", Status.ASSUMED, f"{text} no value under it: {reason}")
    if under := sum(one.under_old_keys.get(case.key_id, 0) for one in known):
        text = f"{count(under, 'value')} under it outside `match`, `databases` or `fields`"
        remedy = "widen match, databases or fields, then run again"
        return Place(Kind.OUTSIDE, "", Status.HOLDING, text, Verdict.IN_USE, None, remedy)
    shut = sum(one.not_opened + one.denied for one in known)
    since = gone_since(gone)
    if not shut:
        text = "no value outside `match` and `databases` is under it"
        return Place(Kind.OUTSIDE, "", Status.CLEAN, text, since=since)
    text = f"{count(shut, 'entry', 'entries')} outside `match` or `databases` not opened"
    if case.opens and shut <= (case.declared.outside_accepted or 0):
        return Place(Kind.OUTSIDE, "", Status.ASSUMED, f"{text}, and accepted", since=since)
    remedy = f"widen match or databases, declare assume.outside, or --accept outside={shut}"
    return Place(Kind.OUTSIDE, "", Status.UNKNOWN, text, Verdict.UNKNOWN, None, remedy)


def not_opened_places(case: Evidence) -> Iterator[Place]:
    """Yield what is known of entries in scope that could not be opened."""
    clean = True
    for outcome in BLOCKING:
        shown = max((sweep.open_items.get(outcome, 0) for sweep in case.sweeps), default=0)
        against = case.blocking(outcome) if case.opens else shown
        if against:
            one, many, step = _OPEN_ITEMS[outcome]
            none = outcome is Outcome.UNDECRYPTABLE and not (case.latest and case.latest.opened)
            number = min((case.latest and case.latest.visits) or MOST_SAMPLES, MOST_SAMPLES)
            step = _NONE if none else step.format(number)
            if outcome in ACCEPTABLE and case.opens:
                or_accept = "; only if you know what they are," if none else ", or"
                step = f"{step}{or_accept} accept them with --accept {outcome}={against}"
            text, clean = count(against, one, many), False
            yield Place(Kind.NOT_OPENED, "", Status.UNKNOWN, text, Verdict.UNKNOWN, None, step)
        elif shown:
            text, clean = f"{shown:,} {outcome} {'was' if shown == 1 else 'were'} accepted", False
            yield Place(Kind.NOT_OPENED, "", Status.ASSUMED, text)
    if clean:
        yield Place(Kind.NOT_OPENED, "", Status.CLEAN, "every entry in scope was opened")


def writers_place(case: Evidence, gone: Mapping[str, Gone], now: datetime) -> Place:
    """Return what is known of applications that may still encrypt with the key (verdict 5)."""
    fence, where = case.in_force, case.cache
    if fence and fence.at > now:
        text = f"applications use the current key from {moment(fence.at)} on (`rotator fence`)"
        remedy = f"run again after {moment(rounded_up(fence.at))}"
        later = (Verdict.VERIFYING, None, remedy, fence.at)
        return Place(Kind.WRITERS, "", Status.UNKNOWN, text, *later)
    if fence:
        text = f"no application has encrypted with it since {moment(fence.at)} (`rotator fence`)"
        return Place(Kind.WRITERS, "", Status.CLEAN, text, since=fence.at)
    begun = [one.first.begun_at for one in gone.values() if one.first]
    # The earliest: what was written to one primary later might be seen by no proof of that one.
    text = f"no application of {where} has written with it"
    text += f" since {moment(min(begun))}" if begun else ""
    return Place(Kind.WRITERS, "", Status.ASSUMED, text)


def trusted_places(case: Evidence, gone: Mapping[str, Gone]) -> Iterator[Place]:
    """Yield what is assumed of the names: declarations that stand in for what is missing."""
    declared, now = case.declared, [one.now for one in gone.values() if one.now]
    silent = any(
        not {"run_id", "master_replid"} <= set(one.facts) or one.calls is None for one in now
    )
    if declared.identity is not None and silent:
        text = f"{case.cache} is always the same server: {declared.identity}"
        yield Place(Kind.NAMES, "", Status.ASSUMED, text)
    if declared.empty and not case.ever_opened:
        text = f"it is right that no value of {case.cache} was ever opened"
        yield Place(Kind.NAMES, "", Status.ASSUMED, text)
