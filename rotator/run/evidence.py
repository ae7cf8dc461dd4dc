"""
Evidence recorder: brings proofs, looks and sweeps to `judge`, and keeps them in the state.

A key that several caches list is judged by all of them: those of this run by what it found, the
others by what the state has of them. What is kept belongs to a lineage of the data, not to the name
of a cache: another server under the same name has a history of its own (verdict 4).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from rotator.crypto.keyring import Keyring
from rotator.retirement.history import SweepRecord
from rotator.retirement.judge import Judgement, judge
from rotator.retirement.lineage import ancestry, same_lineage
from rotator.retirement.looks import Look
from rotator.retirement.places import (
    CacheRecord,
    Declarations,
    Evidence,
    Kind,
    Place,
    Status,
    Verdict,
)
from rotator.retirement.retention import moments, thinned
from rotator.run.declared import Listing
from rotator.run.records import run_record_of, sweep_record_of
from rotator.state.state import State
from rotator.sweep.results import CacheResult, SweepResult
from rotator.tally.tally import Mode

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class EvidenceRecorder:
    """
    Evidence recorder: takes the sweeps of one run into the state, and has its keys judged.

    *ends_at* is when the run's time is up, if it is limited. *declared* is what the operator knows
    of each cache, by name; *listings* are caches that are never swept. *records* is all that the
    state knows of each cache, by name, once `judge` was called.
    """

    state: State
    ends_at: datetime | None = None
    declared: Mapping[str, Declarations] = field(default_factory=dict)
    listings: Mapping[str, Listing] = field(default_factory=dict)
    records: dict[str, CacheRecord] = field(default_factory=dict, init=False)
    _kept: dict[str, list[SweepRecord]] = field(default_factory=dict, init=False)
    _results: dict[str, CacheResult] = field(default_factory=dict, init=False)

    def keep(self, result: CacheResult) -> None:
        """Take the sweeps of one cache into the history of its keys, and count encryptions."""
        name, keyring = result.access.cache.name, result.access.keyring
        self._results[name] = result
        if result.sweep is None or keyring is None:
            self.add_looks(result, result.looks)  # a cache that was not swept may be another one
            return
        history, goes_on = result.history, self._goes_on(result)
        self.add_looks(result, result.looks)
        sweeps = [sweep for sweep in (result.sweep, result.verification) if sweep]
        self._kept[name] = [
            sweep_record_of(result, sweep, keyring, goes_on=goes_on or bool(number))
            for number, sweep in enumerate(sweeps)
        ]
        known = self.state.last_sweep(history)
        if known and known.scope != self._kept[name][0].scope:
            known = None
        before = self.state.run_records(history)
        run = run_record_of(result, result.sweep, before=before, known=known, ends_at=self.ends_at)
        self.state.add_run_record(history, run)
        for sweep, record in zip(sweeps, self._kept[name], strict=True):
            self._void_fence(name, keyring, record, sweep)
            self.state.record_sweep(record)
            self._add_proofs(history, sweep, result.doubt)
            self.state.add_encryptions(keyring.current.id, sweep.tally.encryptions)
            for key_id, key in sweep.tally.keys.items():
                self.state.note_seen(history, key_id, key.found)
        self._thin(name, history, keyring)
        if result.plan.mode is Mode.RUN:
            self.state.end_work(name, history)

    def add_looks(self, result: CacheResult, looks: Iterable[Look]) -> None:
        """Keep looks at the servers of a cache."""
        self.state.add_looks(result.history, looks)

    def _add_proofs(self, history: str, sweep: SweepResult, doubt: str | None) -> None:
        """Keep the proofs of a sweep."""
        proofs = [replace(node.proof, doubt=doubt) for node in sweep.nodes if node.proof]
        self.state.add_proofs(history, proofs)

    def _thin(self, name: str, history: str, keyring: Keyring) -> None:
        """Keep of all that is known only what adds something to what is known of the old keys."""
        known = self.state.cache_record(name, [one.id for one in keyring.old], history)
        seen = {key_id: one.history.last_seen_at for key_id, one in known.keys.items()}
        since = moments(known.proofs, seen, known.fence, known.lost_at)
        kept, few = thinned(known.proofs, known.looks, since)
        self.state.replace_proofs(history, kept)
        self.state.replace_looks(history, few)

    def _goes_on(self, result: CacheResult) -> bool:
        """Return whether the data is that of the last complete sweep, or later data."""
        earlier, swept = self.state.looks(result.history), self.state.last_sweep(result.history)
        known_at = swept.finished_at if swept else None
        one_server = result.access.settings.assume.identity is not None
        begin = [one for one in result.looks if one.facts.get("role") == "master"]
        for look in {one.address: one for one in reversed(begin)}.values():
            line = ancestry((*earlier, *result.looks), look, one_server=one_server)
            if earlier and line.looks[0].at > (known_at or earlier[-1].at):
                return False
        return True

    def _void_fence(
        self, name: str, keyring: Keyring, record: SweepRecord, sweep: SweepResult
    ) -> None:
        """
        Note that something still writes, if values came after a proof that there were none.

        With another current key there is no fence, also when the first one comes back: what
        applications have then is to be said anew.
        """
        fence = self.state.fence(name)
        if fence is not None and fence.current != keyring.current.id:
            log.warning("the fence ends: another key is the current one", cache=name)
            self.state.drop_fence(name)
            return
        if fence is None or fence.voided_at:
            return
        proofs = [one for one in self.state.proofs(record.cache) if one.begun_at >= fence.at]
        now = [node.proof for node in sweep.nodes if node.proof]
        for key_id in fence.old:
            clean = any(
                one.met.get(key_id) == 0 and not one.outside.under_old_keys.get(key_id)
                for one in proofs
            )
            outside = any(one.outside.under_old_keys.get(key_id) for one in now)
            if clean and record.goes_on and (record.seen(key_id).met or outside):
                log.warning("an application still writes with an old key", cache=name, key=key_id)
                self.state.set_fence(name, replace(fence, voided_at=record.finished_at))
                return

    def judge(
        self, keyrings: Mapping[str, Keyring | None], *, now: datetime, quiet: timedelta
    ) -> dict[tuple[str, str], Judgement]:
        """
        Return the judgement on every old key, by the names of the caches and key id.

        *keyrings* are those of all caches, by name; one that is None may list any key.
        """
        self._read(keyrings)
        rings = {name: ring for name, ring in keyrings.items() if ring is not None}
        unknown = [name for name, ring in keyrings.items() if ring is None]
        doubt = next((one.doubt for one in self._results.values() if one.doubt), None)
        judgements: dict[tuple[str, str], Judgement] = {}
        for key_id in {key.id for ring in rings.values() for key in ring.old}:
            cases = [
                self._evidence(name, ring, key_id, key.field)
                for name, ring in rings.items()
                for key in ring.old
                if key.id == key_id
            ]
            found = judge(
                cases,
                now=now,
                quiet=quiet,
                current_in=[r.current.field for r in rings.values() if r.current.id == key_id],
                elsewhere=[*self._listed(key_id, cases), *map(_keys_not_known, unknown)],
                doubt=doubt,
            )
            judgements |= {(name, key_id): one for name, one in found.items()}
            self._note_verdict(next(iter(found.values())), now)
        return judgements

    def _read(self, keyrings: Mapping[str, Keyring | None]) -> None:
        """Read all that the state knows of the caches, this run included."""
        own = {name: result.access.keyring for name, result in self._results.items()}
        for name, ring in {**keyrings, **own}.items():
            key_ids = [key.id for key in ring.all] if ring else []
            result = self._results.get(name)
            history = (result and result.history) or latest_history(self.state, name)
            self.records[name] = self.state.cache_record(name, key_ids, history)

    def _evidence(self, cache: str, ring: Keyring, key_id: str, listed_at: str) -> Evidence:
        """Return what is known of an old key in a cache: by this run, or else by earlier ones."""
        record, result = self.records[cache], self._results.get(cache)
        swept = record.sweep if record.sweep and key_id in record.sweep.keys else None
        fence = record.fence if record.fence and record.fence.current == ring.current.id else None
        declared = self.declared.get(cache, Declarations())
        same = swept is not None and swept.current == ring.current.id
        same = same and swept is not None and declared.scope in {"", swept.scope}
        same = same and set(declared.addresses) <= set(record.addresses)
        earlier = Evidence(
            key_id=key_id,
            cache=cache,
            field=listed_at,
            sweep=swept,
            history=record.keys[key_id].history,
            proofs=record.proofs,
            looks=record.looks,
            primaries=swept.primaries if swept else (),
            basis=record.proofs[-1].basis if record.proofs and same else "",
            declared=declared,
            fence=fence,
            lost_at=record.lost_at,
            working_since=record.working_since,
        )
        sweeps = self._kept.get(cache)
        if not sweeps or result is None or result.sweep is None:
            return earlier
        primaries = tuple(str(one) for one in result.primaries)
        earlier = replace(earlier, primaries=primaries, basis=result.basis)
        if self._outlasts(earlier, cache):
            return replace(earlier, cut_short_at=sweeps[0].finished_at)
        return replace(earlier, sweep=sweeps[0], verification=sweeps[1] if sweeps[1:] else None)

    def _outlasts(self, earlier: Evidence, cache: str) -> bool:
        """
        Return whether this run takes nothing away from what was known before.

        A sweep that was stopped saw less than the complete one before it. If it met neither the key
        nor anything that may hide it, that one still says more; it has its own age, and keeps it.
        """
        sweep, result = self._kept[cache][0], self._results[cache].sweep
        if sweep.complete or sweep.not_looked_at or result is None or result.stopped is None:
            return False
        same_scope = earlier.sweep is not None and earlier.sweep.scope == sweep.scope
        return same_scope and not sweep.hides_or_holds(earlier.key_id)

    def _listed(self, key_id: str, cases: Sequence[Evidence]) -> Iterable[Place]:
        """Yield the places that caches are which list the key, and are never swept."""
        for name, listing in self.listings.items():
            if listing.key_ids is not None and key_id not in listing.key_ids:
                continue
            reason = next((r for c in cases if (r := c.declared.caches.get(name))), None)
            if reason is not None:
                yield Place(
                    Kind.CACHES, name, Status.ASSUMED, f"{name} never used the key: {reason}"
                )
            elif listing.reason == "disabled" and listing.key_ids is not None:
                text = f"{name} has encryption off, and holds nothing under it"
                yield Place(Kind.CACHES, name, Status.ASSUMED, text)
            else:
                why = "is of type cluster" if listing.reason == "cluster" else "cannot be read"
                text = f"{name} lists the key, and {why}: it cannot be looked at"
                remedy = "declare assume.caches if the key was never used there"
                yield Place(Kind.CACHES, name, Status.UNKNOWN, text, Verdict.UNKNOWN, None, remedy)

    def _note_verdict(self, judgement: Judgement, now: datetime) -> None:
        """Write the verdict on a key down, in the state and in the records of its caches."""
        key_id = judgement.key_id
        verdicts = self.state.note_verdict(key_id, str(judgement.verdict), now)
        for record in self.records.values():
            if key_id in record.keys:
                record.keys[key_id] = replace(record.keys[key_id], verdicts=tuple(verdicts))


def _keys_not_known(name: str) -> Place:
    """Return the place that a cache is whose keys cannot be known now."""
    text, remedy = f"the keys of {name} are not known now", "fix its secrets, then run again"
    return Place(Kind.CACHES, name, Status.UNKNOWN, text, Verdict.UNKNOWN, None, remedy)


def latest_history(state: State, cache: str) -> str:
    """Return the id of the history of a cache that was worked on last."""
    known = state.lineages(cache)
    return max(known, key=lambda one: str(known[one].get("at", "")), default=cache)


def find_history(
    state: State,
    cache: str,
    addresses: Iterable[str],
    looks: Sequence[Look],
) -> str:
    """
    Return the id of the history that the data seen in *looks* at primaries goes on with.

    At the same *addresses* it is the same history, whatever answers there: what a new process loses
    are proofs, never places. Other data at other addresses has a history of its own (verdict 4).
    """
    known, here = state.lineages(cache), {*addresses, *(one.address for one in looks)}
    order = sorted(known, key=lambda one: str(known[one].get("at", "")), reverse=True)
    alike = [one for one in order if same_lineage(state.looks(one), looks)]
    alike += [one for one in order if here & set(known[one]["addresses"])]
    new = cache if not known else f"{cache}#{len(known) + 1}"
    history = alike[0] if alike else new
    before = known.get(history, {}).get("addresses", [])
    record = {"addresses": sorted(here | set(before)), "at": looks[-1].at.isoformat()}
    state.set_lineage(history, cache, {**known.get(history, {}), **record})
    return history
