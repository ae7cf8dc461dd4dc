"""
Receipt: writes and checks the signed evidence of one retired key.

It is what an auditor files when a key is destroyed: the verdict on the key over all caches that
list it, each place with its evidence, what is assumed, the sweeps it rests on, and what was not
looked at. It says what the state knows, also where that is not enough to remove the key. It holds
no key, no password and no value.

Destroying a key is not rotator's business: no receipt says that one is destroyed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Group, RenderableType

from rotator import __version__
from rotator.errors import ReceiptError
from rotator.report import fields, words
from rotator.report.agreement import assumptions_of, taking, worst_verdict
from rotator.report.archive import PROVEN, RETIRABLE, unmet_conditions
from rotator.report.fields import Facts
from rotator.report.layout import bullets, grid, heading, indented, listed, text
from rotator.report.model import Cache, Key, Report
from rotator.report.receipt import envelope
from rotator.report.receipt.model import (
    DESTROYED,
    FOUND_NOTHING,
    CacheEvidence,
    Condition,
    Receipt,
    Run,
    Sweep,
)
from rotator.retirement.looks import Proof
from rotator.retirement.places import Kind, Status, Verdict
from rotator.state.state import State
from rotator.text import count, stamp

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

SHOWN = 5  # of the last runs

_OF_KEY = re.compile(r"^key [0-9a-f]{16}(?:: | is (?:retirable, but not proven: )?)")
"""The beginning of a reason, which a receipt needs not say: it is on one key."""
_SETTLED = {Status.CLEAN, Status.ASSUMED}
_PASSED = {Verdict.HELD, Verdict.RETIRABLE}


def build_receipt(
    report: Report, key_id: str, state: State, *, now: datetime, max_age: timedelta
) -> Receipt:
    """Return the receipt of a key that the *report* on all caches of a state knows."""
    living = [cache for cache in report.caches if not cache.superseded]
    listed = [(cache, key) for cache in living for key in cache.keys if key.id == key_id]
    verdict = worst_verdict(key for _, key in listed)
    role = "old" if all(key.role == "old" for _, key in listed) else "current"
    known = all(cache.keys for cache in living)
    word, basis = _state(verdict if known else Verdict.UNKNOWN, [key for _, key in listed])
    required = partial(_condition, report, key_id, now, max_age)
    return Receipt(
        rotator=__version__,
        made_at=now,
        key_id=key_id,
        role=role,
        state=word,
        state_basis=basis,
        verdict=verdict,
        meaning=words.VERDICT_MEANINGS[verdict],
        max_age_seconds=int(max_age.total_seconds()),
        retirable=required(proven=False),
        proven=required(proven=True),
        not_looked_at=tuple(_not_looked_at(report, key_id)),
        caches=tuple(
            _evidence(cache, key, state, cache.facts or report.facts) for cache, key in listed
        ),
    )


def seal(receipt: Receipt, signer: CryptoSigner | None) -> str:
    """Return a receipt as the text of a file; without a *signer* it is not signed."""
    data = receipt.model_dump(by_alias=True, mode="json")
    return envelope.seal(envelope.canonical(data), signer)


def open_receipt(path: Path, public: Path) -> tuple[Receipt, str]:
    """
    Return the receipt in a file and the id of the key that signed it; no state is looked at.

    Raises:
        ConfigError: A file cannot be read, or *public* holds no public ed25519 key.
        ReceiptError: It is none; it is not signed; another key signed it; or it was changed.
    """
    key = envelope.read_public(public)
    signed = envelope.unseal(path, key)
    try:
        return Receipt.model_validate_json(signed), key.keyid
    except ValueError:
        raise ReceiptError(
            f"{path} is signed and unchanged, but this version of rotator does not understand it",
            hint="use the version of rotator that wrote it, or a later one",
        ) from None


def render(receipt: Receipt) -> RenderableType:
    """Return what a receipt says, for `console.print_result`."""
    facts = grid("left", "left")
    assumed = assumptions_of((cache.name, cache.assumptions) for cache in receipt.caches)
    condition = taking(len(assumed)) if receipt.verdict == Verdict.RETIRABLE else ""
    for name, said in (
        ("verdict", f"{receipt.verdict}: {receipt.meaning}{condition}"),
        ("state", f"{receipt.state} (NIST SP 800-57): {receipt.state_basis}"),
        (RETIRABLE, _said(receipt.retirable)),
        (PROVEN, _said(receipt.proven) if receipt.retirable.holds else "no"),
        ("made", f"{stamp(receipt.made_at)} by rotator {receipt.rotator}"),
    ):
        facts.add_row(text(name, "dim"), text(said))
    parts: list[RenderableType] = [heading(f"key {receipt.key_id}", receipt.role), indented(facts)]
    if assumed:
        parts += [text(""), listed("assumed", (f"{one.what} ({one.basis})" for one in assumed))]
    for cache in receipt.caches:
        parts += [text(""), heading(cache.name, ", ".join(cache.addresses)), bullets(_lines(cache))]
    if receipt.not_looked_at:
        parts += [text(""), listed("not looked at", receipt.not_looked_at, "yellow")]
    parts += [text(""), listed("every verdict takes for granted", receipt.limits)]
    return Group(*parts, text(""), text(not_shown(receipt)))


def not_shown(receipt: Receipt) -> str:
    """Return what a receipt does not show, as a sentence."""
    found = f", {FOUND_NOTHING}" if receipt.verdict == Verdict.RETIRABLE else ""
    return f"{DESTROYED[:1].upper()}{DESTROYED[1:]}{found}."


def _said(condition: Condition) -> str:
    """Return whether a condition holds, and why not."""
    return "yes" if condition.holds else f"no: {'; '.join(condition.reasons)}"


def _lines(cache: CacheEvidence) -> Iterator[str]:
    """Yield what is known of the key in one cache, a line each."""
    swept = f"last complete sweep {stamp(cache.swept_at)}" if cache.swept_at else "never swept"
    remain = fields.left(cache.remaining, at_least=cache.at_least)
    yield f"{swept}; the last run found {cache.found:,}; remaining: {remain}"
    yield from (f"the last run: {line}" for line in fields.who(cache.facts)) if cache.facts else ()
    if quiet := fields.quiet_time(cache.facts):
        yield f"quiet time: {quiet}"
    yield from words.history(cache.past) if cache.past else ()
    for run in cache.runs[-SHOWN:]:
        state = "complete" if run.complete else "not complete"
        yield f"{run.mode} {stamp(run.started_at)}: {run.rotated:,} moved, {state}"
    latest = {sweep.node: sweep for sweep in cache.sweeps}
    for one in latest.values():
        met = "not looked for" if one.under_key is None else f"{one.under_key:,} under the key"
        server = f"{one.node}, run id {one.run_id}" if one.run_id else one.node
        yield f"proof {stamp(one.ended_at)}: {met}, {one.opened:,} opened, on {server}"
    if earlier := len(cache.sweeps) - len(latest):
        yield f"{count(earlier, 'earlier proof')}, which --format json lists"
    for place in cache.places:
        yield f"{place.status}: {place.kind}: {place.evidence}"
    yield from (f"not looked at: {said}" for said in cache.not_looked_at)


def _state(verdict: str, keys: Sequence[Key]) -> tuple[Literal["active", "deactivated"], str]:
    """Return the state of a key, and why: what is not known of writers counts for `active`."""
    writers = [
        [place for place in key.places if place.kind == Kind.WRITERS and place.status in _SETTLED]
        for key in keys
    ]
    if verdict not in _PASSED or not all(writers):
        return "active", "it is not shown that nothing is encrypted with it any more"
    said = dict.fromkeys(
        place.evidence if place.status == Status.CLEAN else f"assuming that {place.evidence}"
        for place in chain.from_iterable(writers)
    )
    return "deactivated", "; ".join(said)


def _condition(
    report: Report, key_id: str, now: datetime, max_age: timedelta, *, proven: bool
) -> Condition:
    """Return whether `--require` would hold for the key."""
    unmet = unmet_conditions(report, [key_id], now=now, max_age=max_age, proven=proven)
    reasons = tuple(dict.fromkeys(_OF_KEY.sub("", reason) for reason, _ in unmet))
    return Condition(holds=not unmet, reasons=reasons)


def _not_looked_at(report: Report, key_id: str) -> Iterator[str]:
    """Yield what no evidence is there of, beside what each cache says for itself."""
    for cache in report.caches:
        title = words.title(report, cache)
        if cache.superseded and any(key.id == key_id for key in cache.keys):
            yield f"{title}: {words.SUPERSEDED}"
        elif not cache.keys and not cache.superseded:
            why = cache.error or cache.stopped or "nothing was looked at"
            yield f"{title}: not known whether it lists the key ({why})"


def _evidence(cache: Cache, key: Key, state: State, facts: Facts | None) -> CacheEvidence:
    """Return what is known of a key in one cache, with the runs and sweeps of the state."""
    history = cache.history or cache.name
    known = state.cache_record(cache.name, [], history)
    missing = list(cache.coverage.not_looked_at) if cache.coverage else ["the cache"]
    missing += [words.missed(cache.attempt)] if cache.attempt else []
    missing += [words.OUTDATED] if cache.outdated else []
    same = (
        "role",
        "field",
        "verdict",
        "reasons",
        "next_step",
        "found",
        "rotated",
        "remaining",
        "at_least",
    )
    own = ("name", "addresses", "history", "judged_at", "swept_at", "accepted", "warnings")
    return CacheEvidence(
        **{name: getattr(cache, name) for name in own},
        **{name: getattr(key, name) for name in (*same, "past", "places", "assumptions")},
        facts=facts,
        not_looked_at=tuple(missing),
        runs=tuple(Run.model_validate(one, from_attributes=True) for one in known.runs),
        sweeps=tuple(_sweep(one, key.id) for one in known.proofs),
    )


def _sweep(proof: Proof, key_id: str) -> Sweep:
    """Return what a proof says of one key."""
    facts, outside = proof.after.facts, proof.outside
    return Sweep(
        node=proof.node,
        run_id=facts.get("run_id"),
        replication_id=facts.get("master_replid"),
        version=facts.get("valkey_version") or facts.get("redis_version"),
        begun_at=proof.begun_at,
        ended_at=proof.ended_at,
        under_key=proof.met.get(key_id),
        under_key_outside=None if outside.visits is None else outside.under_old_keys.get(key_id, 0),
        opened=proof.opened,
        not_opened=sum(proof.open_items.values()) + outside.not_opened + outside.denied,
        doubt=proof.doubt,
    )
