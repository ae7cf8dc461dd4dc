"""
Build: makes the report from results and key records, once.

Names are shown as stored where they are hashes anyway, else as their SHA-256.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from rotator import __version__
from rotator.crypto import keyring
from rotator.errors import Exit, RotatorError
from rotator.report import model
from rotator.report.fields import Facts, latency_of, pages_of
from rotator.report.names import display_entry, outside_of, problems_of, shown_as_stored, sums_of
from rotator.retirement.estimate import Estimate
from rotator.retirement.forecast import forecast
from rotator.retirement.judge import Judgement
from rotator.retirement.places import CacheRecord
from rotator.tally.key_tally import KeyTally
from rotator.tally.tally import PROBLEMATIC, Mode
from rotator.text import count

if TYPE_CHECKING:  # the library for Redis comes with them, and stored reports need none
    from rotator.sweep.control import Change
    from rotator.sweep.results import CacheResult, NodeResult, SweepResult

Judgements = Mapping[tuple[str, str], Judgement]
"""The judgements on old keys, by the name of a cache and the id of a key that it lists."""
_NOTHING = KeyTally()


def known_of_cache(record: CacheRecord, stopped: str | None, now: datetime) -> dict[str, Any]:
    """Return the fields of a cache that come from the state: how old it is, and how far."""
    unfinished = stopped and record.runs and not record.runs[-1].complete
    return {
        "swept_at": record.sweep and record.sweep.finished_at.replace(microsecond=0),
        "progress": forecast(record.runs, now) if unfinished else None,
    }


def known_of_key(record: CacheRecord, key_id: str, role: str) -> dict[str, Any]:
    """Return the fields of a key that come from the state: its history and its nonce budget."""
    known = record.keys[key_id]
    past = {**asdict(known.history), "verdicts": known.verdicts}
    return {
        "encryptions": known.encryptions,
        "nonce_budget_used": keyring.used(known.encryptions, known.most_seen),
        "past": model.Past.model_validate(past) if role == "old" else None,
    }


def budget_warnings(record: CacheRecord, roles: Mapping[str, str]) -> Iterator[str]:
    """Yield what is to be said of the nonce budgets of keys; *roles* are theirs, by id."""
    for key_id, role in roles.items():
        known = record.keys[key_id]
        if said := keyring.warning(key_id, role, known.encryptions, known.most_seen):
            yield said


def build_report(
    results: Sequence[CacheResult],
    judgements: Judgements,
    records: Mapping[str, CacheRecord],
    *,
    mode: Mode,
    started_at: datetime,
    finished_at: datetime,
    exit_code: Exit,
    show_names: bool,
    facts: Facts | None = None,
    estimates: Mapping[str, Estimate] | None = None,
    changes: Sequence[Change] = (),
) -> model.Report:
    """
    Return the report on a run.

    *judgements* are by cache and key id; *records*, what the state knows, and *estimates* by cache;
    *changes* were made to the run while it went on.
    """
    assumed = (one for judgement in judgements.values() for one in judgement.assumptions)
    if facts is not None:
        facts = facts.model_copy(update={"assumptions": tuple(dict.fromkeys(assumed))})
    return model.Report(
        facts=facts,
        rotator=__version__,
        mode=str(mode),
        started_at=started_at,
        finished_at=finished_at,
        exit_code=int(exit_code),
        caches=tuple(
            _cache(
                result,
                judgements,
                records[result.access.cache.name],
                now=finished_at,
                show_names=show_names,
                estimate=(estimates or {}).get(result.access.cache.name),
            )
            for result in results
        ),
        changes=tuple(changes),
    )


def failed_report(
    error: RotatorError, mode: Mode, began: datetime, ended: datetime, facts: Facts | None = None
) -> model.Report:
    """Return the report on a run that did not get as far as its first cache."""
    return model.Report(
        rotator=__version__,
        mode=str(mode),
        started_at=began,
        finished_at=ended,
        exit_code=int(error.exit_code),
        error=str(error),
        facts=facts,
    )


def _cache(
    result: CacheResult,
    judgements: Judgements,
    record: CacheRecord,
    *,
    now: datetime,
    show_names: bool,
    estimate: Estimate | None,
) -> model.Cache:
    sweep, verification, cache = result.sweep, result.verification, result.access.cache
    known: dict[str, Any] = {
        "name": cache.name,
        "addresses": tuple(map(str, cache.addresses)),
        "redis_user": result.access.login.username or "default",
        "judged_at": now,
        "exit_code": int(result.exit_code()),
    }
    if sweep is None:
        stopped = _text(result.stopped)
        known |= known_of_cache(record, stopped, now)
        return model.Cache(stopped=stopped, error=result.error, **known)
    stopped = _text(sweep.stopped or (verification.stopped if verification else None))
    known |= known_of_cache(record, stopped, now)
    tally, keys = sweep.tally, result.access.keyring
    roles = {key.id: keys.role(key.id) for key in keys.all} if keys else {}
    plain = shown_as_stored(result.access, show_names=show_names)
    return model.Cache(
        complete=sweep.complete and (verification is None or verification.complete),
        stopped=stopped,
        visits=tally.visits,
        outcomes={str(outcome): number for outcome, number in tally.outcomes.items()},
        verification=_verification(verification) if verification else None,
        coverage=_coverage(result, sweep, verification),
        estimate=estimate,
        problem_sums=tuple(sums_of(tally)),
        keys=tuple(_keys(result, judgements, record, partial(display_entry, plain=plain), now)),
        problems=tuple(problems_of(tally, plain=plain)),
        problems_total=sum(tally.outcomes[outcome] for outcome in PROBLEMATIC),
        accepted={str(outcome): number for outcome, number in result.plan.accept.items()},
        sweep_seconds=sweep.seconds,
        visits_now=sweep.visits_now,
        waited_seconds=_waited(result),
        warnings=(*_warnings(result), *budget_warnings(record, roles)),
        outside=outside_of([node.proof for node in (verification or sweep).nodes if node.proof]),
        **known,
    )


def _text(word: object | None) -> str | None:
    return None if word is None else str(word)


def _verification(sweep: SweepResult) -> model.Verification:
    tally = sweep.tally
    return model.Verification(
        visits=tally.visits,
        found_under_old_keys=tally.remaining,
        complete=sweep.complete,
        method="tracking" if all(node.tracked for node in sweep.nodes) else "scan",
    )


def _coverage(
    result: CacheResult, sweep: SweepResult, verification: SweepResult | None
) -> model.Coverage:
    last = verification or sweep
    both = (sweep, verification) if verification else (sweep,)
    missing = [sentence for one in both for sentence in one.not_looked_at]
    return model.Coverage(
        mode=last.topology.mode,
        slots_covered=last.topology.slots_covered,
        topology_changed=any(one.topology_changed for one in both),
        restarts=sum(node.restarts for one in both for node in one.nodes),
        orphans=sum(node.orphans for node in last.nodes),
        databases=tuple(sorted({db for node in sweep.nodes for db in node.databases})),
        nodes=tuple(_node(node, result, last) for node in sweep.nodes),
        not_looked_at=tuple(dict.fromkeys(missing)),
    )


def _node(node: NodeResult, result: CacheResult, last: SweepResult) -> model.Node:
    """Return what was seen of a node, and whether the *last* sweep proves it."""
    proven = next((one for one in last.nodes if one.node == node.node), node)
    load, waited = deepcopy(node.load), Counter(node.waited)
    if proven is not node:
        load.merge(proven.load)
        waited.update(proven.waited)
    return model.Node(
        node=node.node,
        run_id=node.identity.run_id if node.identity else None,
        version=node.identity.version if node.identity else None,
        visits=node.tally.visits,
        complete=node.complete,
        restarts=node.restarts,
        reasons=node.reasons,
        evictions=result.evictions.get(node.node),
        exchange=node.exchange[-1] if node.exchange else None,
        proven=proven.proof is not None,
        unproven=proven.unproven,
        latency=latency_of(load, result.plan.limits.latency),
        pages=pages_of(load),
        waited_seconds={reason: round(seconds, 3) for reason, seconds in waited.items()},
        exchanged={str(way): number for way, number in load.exchanged.items() if number},
    )


def _keys(
    result: CacheResult,
    judgements: Judgements,
    record: CacheRecord,
    shown: Callable[[bytes], str],
    now: datetime,
) -> Iterator[model.Key]:
    keyring, sweep, verification = result.access.keyring, result.sweep, result.verification
    if keyring is None or sweep is None:
        return
    met = sweep.tally.keys
    left = verification.tally.keys if verification and verification.complete else met
    for key in keyring.all:
        found, remains = met.get(key.id, _NOTHING), left.get(key.id, _NOTHING)
        role = keyring.role(key.id)
        judged: dict[str, Any] = {
            "first_seen_at": found.first_seen_at,
            "last_seen_at": found.last_seen_at,
        }
        judgement = judgements.get((result.access.cache.name, key.id))
        if role == "old" and judgement:
            judged = asdict(judgement)
        yield model.Key(
            id=key.id,
            role=role,
            field=key.field,
            found=found.found,
            rotated=found.rotated,
            remaining=remains.remaining,
            remaining_without_ttl=remains.remaining_without_ttl,
            bytes=found.size,
            drain=tuple(remains.drain.curve(now)) if role == "old" else (),
            prefixes=dict(found.prefixes) or dict(remains.prefixes),
            samples=tuple(shown(name) for name in remains.samples),
            **judged,
            **known_of_key(record, key.id, role),
        )


def _waited(result: CacheResult) -> dict[str, float]:
    """Return the seconds that the sweeps of all nodes waited, by reason."""
    seconds: dict[str, float] = {}
    for sweep in (result.sweep, result.verification):
        for node in sweep.nodes if sweep else ():
            for reason, waited in node.waited.items():
                seconds[reason] = round(seconds.get(reason, 0.0) + waited, 3)
    return seconds


def _warnings(result: CacheResult) -> Iterator[str]:
    """Yield what an operator should know although nothing is wrong with it."""
    if result.refusal:
        yield result.refusal
    settings = result.access.settings
    if settings.match != ("*",):
        yield f"only names that match {', '.join(settings.match)} were visited"
    if settings.databases != "all":
        chosen = ", ".join(map(str, settings.databases))
        yield f"only the databases {chosen} were visited"
    unlisted = result.sweep.topology.unlisted if result.sweep else ()
    if unlisted:
        yield (
            f"redis.addresses does not list {', '.join(map(str, unlisted))}: the Orchestrator would"
            " answer with MOVED errors for what they own"
        )
    if result.sweep and any(one.identity and not one.no_touch for one in result.sweep.nodes):
        yield (
            "CLIENT NO-TOUCH could not be used on this server: every visited entry now counts as"
            " just used"
        )
    for node, number in result.evictions.items():
        if number:
            yield (
                f"{node} evicted {count(number, 'entry', 'entries')} during the run: its memory is"
                " full, and a value that grows pushes others out"
            )
    yield from result.not_written
    if result.doubt:
        yield f"{result.doubt}: no key gets better than verifying"
