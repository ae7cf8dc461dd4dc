"""
From what sweeps met to what is known of each key: kept in the state, judged together.

A key that several caches list is judged by all of them: those of this run by what it found, the
others by their last complete sweep in the state.

From the result of a run to what it leaves for forecasts: one `Window` for each cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.crypto.keyring import Keyring
from rotator.errors import Exit
from rotator.retirement.forecast import RunRecord, unfinished_runs
from rotator.retirement.history import SweepRecord
from rotator.retirement.judge import Judgement, judge
from rotator.retirement.places import Evidence, Hold, find_holds
from rotator.state.state import State
from rotator.sweep.results import CacheResult, SweepResult
from rotator.tally.tally import Mode, Outcome


def run_record_of(
    result: CacheResult,
    sweep: SweepResult,
    *,
    before: Sequence[RunRecord],
    known: SweepRecord | None,
    ends_at: datetime | None,
) -> RunRecord:
    """
    What this run did of *sweep*.

    *before* are the windows of earlier runs over the cache. *known* is the last complete sweep of
    an earlier run, if it was of the same scope. *ends_at* is when time is up.
    """
    last = result.verification or sweep
    complete = sweep.complete and last.complete
    seconds = sweep.lasted
    looked_at = last if complete else sweep
    left = _remaining(looked_at) if looked_at.complete else _left(known, before, sweep)
    return RunRecord(
        mode=str(sweep.scope.mode),
        started_at=sweep.begun_at,
        finished_at=last.finished_at,
        begun_at=sweep.started_at,
        visits=sweep.visits_now,
        rotated=sweep.rotated_now,
        seconds=seconds,
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
        waited=_waited(sweep, seconds),
    )


def _names(result: CacheResult, sweep: SweepResult, known: SweepRecord | None) -> int | None:
    """How many names there are to visit; the server counts all, not those of a pattern."""
    settings = result.access.settings
    if "*" in settings.match and settings.databases == "all":
        return sweep.topology.names
    return None if known is None else known.visits


def _left(known: SweepRecord | None, before: Sequence[RunRecord], sweep: SweepResult) -> int | None:
    """How many values were under old keys when all was last looked at, less those moved since."""
    if known is None:
        return None
    there = sum(seen.remaining for seen in known.keys.values())
    runs = [run for run in unfinished_runs(before) if not run.complete and run.mode == Mode.RUN]
    return max(there - sum(run.rotated for run in runs) - sweep.rotated_now, _remaining(sweep))


def _remaining(sweep: SweepResult) -> int:
    """How many values a sweep left under old keys."""
    return sum(key.remaining for key in sweep.tally.keys.values())


def _waited(sweep: SweepResult, seconds: float) -> dict[str, float]:
    """How many of the seconds were waited, by reason; nodes that wait side by side count once."""
    worked = sum(node.seconds for node in sweep.nodes)
    waited: dict[str, float] = {}
    for node in sweep.nodes:
        for reason, length in node.waited.items():
            part = length / worked * seconds if worked else 0.0
            waited[reason] = waited.get(reason, 0.0) + part
    return waited


class EvidenceRecorder:
    """
    What the sweeps of one run leave in the state, and the judgement on it.

    *ends_at* is when the run's time is up, if it is limited.
    """

    def __init__(self, state: State, ends_at: datetime | None = None) -> None:
        self._state = state
        self._ends_at = ends_at
        self._kept: dict[str, list[SweepRecord]] = {}
        self._results: dict[str, CacheResult] = {}

    def keep(self, result: CacheResult) -> None:
        """Take the sweeps of one cache into the history of its keys, and count encryptions."""
        name, keyring = result.access.cache.name, result.access.keyring
        self._kept[name] = []
        self._results[name] = result
        if result.sweep is not None and keyring is not None:
            self._note_window(result, result.sweep, keyring)
        for sweep in (result.sweep, result.verification):
            if sweep is None or keyring is None:
                continue
            record = _record(result, sweep, keyring)
            self._state.record_sweep(record)
            self._state.add_encryptions(keyring.current.id, sweep.tally.encryptions)
            for key_id, key in sweep.tally.keys.items():
                self._state.note_seen(name, key_id, key.found)
            self._kept[name].append(record)

    def _note_window(self, result: CacheResult, sweep: SweepResult, keyring: Keyring) -> None:
        """Write down what the run did, compared with what was known before it."""
        name = result.access.cache.name
        known = self._state.last_sweep(name)
        if known and known.scope != _record(result, sweep, keyring).scope:
            known = None
        window = run_record_of(
            result,
            sweep,
            before=self._state.windows(name),
            known=known,
            ends_at=self._ends_at,
        )
        self._state.note_window(name, window)

    def judge(
        self, keyrings: Mapping[str, Keyring | None], *, now: datetime, quiet: timedelta
    ) -> dict[str, Judgement]:
        """
        The judgement on every old key, by key id.

        *keyrings* are those of all caches, by name; one that is None may list any key.
        """
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
            self._state.note_verdict(key_id, str(judgements[key_id].verdict), now)
        return judgements

    def _evidence(self, cache: str, key_id: str, field: str) -> Evidence:
        sweeps = self._kept.get(cache, [])
        if not sweeps:
            return self._state.evidence(cache, key_id, field)
        if earlier := self._outlasting(cache, key_id, field):
            return earlier
        history = self._state.history(cache, key_id)
        holds = self._holds(self._results[cache], key_id, history.clean_since)
        self._state.save_holds(cache, key_id, holds)
        return Evidence(
            key_id=key_id,
            cache=cache,
            field=field,
            sweep=sweeps[0],
            verification=sweeps[1] if len(sweeps) > 1 else None,
            history=history,
            holds=holds,
        )

    def _outlasting(self, cache: str, key_id: str, field: str) -> Evidence | None:
        """
        What was known before, if this run takes nothing away from it.

        A sweep that was stopped saw less than the complete one before it. If it met neither the key
        nor anything that may hide it, that one still says more; it has its own age, and keeps it.
        """
        sweep = self._kept[cache][0]
        if sweep.complete or sweep.not_looked_at or not self._stopped(cache):
            return None
        if sweep.hides_or_holds(key_id):
            return None
        earlier = self._state.evidence(cache, key_id, field)
        if earlier.sweep is None or earlier.sweep.scope != sweep.scope:
            return None
        return replace(earlier, cut_short_at=sweep.finished_at)

    def _stopped(self, cache: str) -> bool:
        sweep = self._results[cache].sweep
        return sweep is not None and sweep.stopped is not None

    def _holds(
        self, result: CacheResult, key_id: str, clean_since: datetime | None
    ) -> tuple[Hold, ...]:
        """What still holds a key that the live data no longer has."""
        if clean_since is None:
            return ()
        name, last = result.access.cache.name, result.verification or result.sweep
        now = {copy.node: copy.aof_baseline for copy in result.copies}
        nodes = last.nodes if last else []
        return find_holds(
            result.copies,
            clean_since=clean_since,
            marks=self._state.marks(name, key_id, clean_since, now),
            swept={node.node: node.identity.run_id for node in nodes if node.identity},
            retention=result.access.settings.backups.retention,
        )


def _record(result: CacheResult, sweep: SweepResult, keyring: Keyring) -> SweepRecord:
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
        not_looked_at=sweep.not_looked_at,
        accepted=dict(result.plan.accept),
        doubt=result.doubt,
    )
