"""
Evidence recorder: brings sweeps and copies to `judge`, and keeps what came of it in the state.

A key that several caches list is judged by all of them: those of this run by what it found, the
others by their last complete sweep in the state.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rotator.crypto.keyring import Keyring
from rotator.errors import Exit
from rotator.retirement.forecast import RunRecord, unfinished_runs
from rotator.retirement.history import SweepRecord
from rotator.retirement.judge import Judgement, judge
from rotator.retirement.places import CacheRecord, Evidence, Hold, find_holds
from rotator.state.state import State
from rotator.sweep.results import CacheResult, SweepResult
from rotator.tally.tally import Mode, Outcome


@dataclass(slots=True)
class EvidenceRecorder:
    """
    Evidence recorder: takes the sweeps of one run into the state, and has its keys judged.

    *ends_at* is when the run's time is up, if it is limited. *records* is all that the state knows
    of each cache, by name, once `judge` was called.
    """

    state: State
    ends_at: datetime | None = None
    records: dict[str, CacheRecord] = field(default_factory=dict, init=False)
    _kept: dict[str, list[SweepRecord]] = field(default_factory=dict, init=False)
    _results: dict[str, CacheResult] = field(default_factory=dict, init=False)

    def keep(self, result: CacheResult) -> None:
        """Take the sweeps of one cache into the history of its keys, and count encryptions."""
        name, keyring = result.access.cache.name, result.access.keyring
        self._results[name] = result
        if result.sweep is None or keyring is None:
            return
        sweeps = [sweep for sweep in (result.sweep, result.verification) if sweep]
        self._kept[name] = [_sweep_record(result, sweep, keyring) for sweep in sweeps]
        known = self.state.last_sweep(name)
        if known and known.scope != self._kept[name][0].scope:
            known = None
        before = self.state.run_records(name)
        run = run_record_of(result, result.sweep, before=before, known=known, ends_at=self.ends_at)
        self.state.add_run_record(name, run)
        for sweep, record in zip(sweeps, self._kept[name], strict=True):
            self.state.record_sweep(record)
            self.state.add_encryptions(keyring.current.id, sweep.tally.encryptions)
            for key_id, key in sweep.tally.keys.items():
                self.state.note_seen(name, key_id, key.found)

    def judge(
        self, keyrings: Mapping[str, Keyring | None], *, now: datetime, quiet: timedelta
    ) -> dict[str, Judgement]:
        """
        Return the judgement on every old key, by key id.

        *keyrings* are those of all caches, by name; one that is None may list any key.
        """
        self._read(keyrings)
        rings = {name: ring for name, ring in keyrings.items() if ring is not None}
        unknown = [name for name, ring in keyrings.items() if ring is None]
        doubt = next((one.doubt for one in self._results.values() if one.doubt), None)
        judgements = {}
        for key_id in {key.id for ring in rings.values() for key in ring.old}:
            cases = [
                self._evidence(name, key_id, key.field)
                for name, ring in rings.items()
                for key in ring.old
                if key.id == key_id
            ]
            cases += [Evidence(key_id, name, "", sweep=None) for name in unknown]
            current_in = [r.current.field for r in rings.values() if r.current.id == key_id]
            judgements[key_id] = judge(
                key_id, cases, now=now, quiet=quiet, current_in=current_in, doubt=doubt
            )
            self._note_verdict(judgements[key_id], now)
        return judgements

    def _read(self, keyrings: Mapping[str, Keyring | None]) -> None:
        """Read all that the state knows of the caches, this run included."""
        own = {name: result.access.keyring for name, result in self._results.items()}
        for name, ring in {**keyrings, **own}.items():
            key_ids = [key.id for key in ring.all] if ring else []
            self.records[name] = self.state.cache_record(name, key_ids)

    def _evidence(self, cache: str, key_id: str, listed_at: str) -> Evidence:
        """Return what is known of an old key in a cache: by this run, or else by earlier ones."""
        earlier, sweeps = self.records[cache].evidence(key_id, listed_at), self._kept.get(cache)
        if not sweeps:
            return earlier
        if self._outlasts(earlier, cache):
            return replace(earlier, cut_short_at=sweeps[0].finished_at)
        holds = self._holds(self._results[cache], key_id, earlier.history.clean_since)
        self.state.save_holds(cache, key_id, holds)
        verification = sweeps[1] if len(sweeps) > 1 else None
        return replace(earlier, sweep=sweeps[0], verification=verification, holds=holds)

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

    def _holds(
        self, result: CacheResult, key_id: str, clean_since: datetime | None
    ) -> tuple[Hold, ...]:
        """Return what still holds a key that the live data no longer has; keep its baselines."""
        if clean_since is None:
            return ()
        last = result.verification or result.sweep
        nodes = last.nodes if last else []
        key = (result.access.cache.name, key_id, clean_since)
        now = {copy.node: copy.aof_baseline for copy in result.copies}
        self.state.set_aof_baselines(*key, now)
        return find_holds(
            result.copies,
            clean_since=clean_since,
            baselines=self.state.aof_baselines(*key),
            swept={node.node: node.identity.run_id for node in nodes if node.identity},
            retention=result.access.settings.backups.retention,
        )

    def _note_verdict(self, judgement: Judgement, now: datetime) -> None:
        """Write the verdict on a key down, in the state and in the records of its caches."""
        key_id = judgement.key_id
        verdicts = self.state.note_verdict(key_id, str(judgement.verdict), now)
        for record in self.records.values():
            if key_id in record.keys:
                record.keys[key_id] = replace(record.keys[key_id], verdicts=tuple(verdicts))


def run_record_of(
    result: CacheResult,
    sweep: SweepResult,
    *,
    before: Sequence[RunRecord],
    known: SweepRecord | None,
    ends_at: datetime | None,
) -> RunRecord:
    """
    Return what this run did of *sweep*.

    *before* are the records of earlier runs over the cache, *known* is the last complete sweep of
    an earlier run, if it was of the same scope. Time is up at *ends_at*.
    """
    last = result.verification or sweep
    complete = sweep.complete and last.complete
    looked_at = last if complete else sweep
    left = _remaining(looked_at) if looked_at.complete else _left(known, before, sweep)
    return RunRecord(
        mode=str(sweep.scope.mode),
        started_at=sweep.begun_at,
        finished_at=last.finished_at,
        begun_at=sweep.started_at,
        visits=sweep.visits_now,
        rotated=sweep.rotated_now,
        seconds=sweep.seconds,
        visited=last.tally.visits,
        rotated_in_all=sweep.tally.outcomes[Outcome.ROTATED],
        names=_names(result, sweep, known),
        complete=complete,
        stopped=None if last.stopped is None else str(last.stopped),
        timed=last.stopped is not None and last.stopped.exit_code is Exit.TIME_UP,
        ends_at=ends_at,
        verifying=sweep.complete and not complete,
        left=left,
        rate=result.plan.limits.rate,
        waited=_waited(sweep),
    )


def _names(result: CacheResult, sweep: SweepResult, known: SweepRecord | None) -> int | None:
    """Return how many names there are to visit; the server counts all, not those of a pattern."""
    settings = result.access.settings
    if "*" in settings.match and settings.databases == "all":
        return sweep.topology.names
    return None if known is None else known.visits


def _left(known: SweepRecord | None, before: Sequence[RunRecord], sweep: SweepResult) -> int | None:
    """Return the values under old keys when all was last looked at, less those moved since."""
    if known is None:
        return None
    there = sum(seen.remaining for seen in known.keys.values())
    runs = [run for run in unfinished_runs(before) if not run.complete and run.mode == Mode.RUN]
    return max(there - sum(run.rotated for run in runs) - sweep.rotated_now, _remaining(sweep))


def _remaining(sweep: SweepResult) -> int:
    """Return how many values a sweep left under old keys."""
    return sum(key.remaining for key in sweep.tally.keys.values())


def _waited(sweep: SweepResult) -> dict[str, float]:
    """Return the seconds waited, by reason; nodes that wait side by side count once."""
    worked = sum(node.seconds for node in sweep.nodes)
    waited: dict[str, float] = {}
    for node in sweep.nodes:
        for reason, length in node.waited.items():
            part = length / worked * sweep.seconds if worked else 0.0
            waited[reason] = waited.get(reason, 0.0) + part
    return waited


def _sweep_record(result: CacheResult, sweep: SweepResult, keyring: Keyring) -> SweepRecord:
    """Return what one sweep of this run leaves for the histories."""
    settings = result.access.settings
    formats = [str(result.access.formats[name]) for name in settings.formats]
    scope = [settings.match, settings.databases, formats]
    return SweepRecord.of(
        sweep.tally,
        cache=result.access.cache.name,
        mode=sweep.scope.mode,
        started_at=sweep.started_at,
        finished_at=max(sweep.finished_at, (result.doubt and result.latest) or sweep.finished_at),
        complete=sweep.complete,
        current=keyring.current.id,
        old=[key.id for key in keyring.old],
        scope=hashlib.sha256(json.dumps(scope).encode()).hexdigest(),
        verified=result.plan.verify,
        not_looked_at=tuple(sweep.not_looked_at),
        accepted=dict(result.plan.accept),
        doubt=result.doubt,
    )
