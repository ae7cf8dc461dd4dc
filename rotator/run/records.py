"""Records: say what one run did of a sweep, for histories and for the forecasts of later ones."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rotator.crypto.keyring import Keyring
from rotator.retirement.forecast import RunRecord, unfinished_runs
from rotator.retirement.history import SweepRecord
from rotator.sweep.results import CacheResult, SweepResult
from rotator.tally.tally import Mode, Outcome
from rotator.text import about


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
        timed=last.stopped is not None and last.stopped.is_time_up,
        ends_at=ends_at,
        verifying=sweep.complete and not complete,
        left=left,
        rate=result.plan.limits.rate,
        waited=_waited(sweep),
        fresh=result.plan.fresh,
    )


def _names(result: CacheResult, sweep: SweepResult, known: SweepRecord | None) -> int | None:
    """Return how many visits there are; the server counts all names, no pattern's and no fields."""
    settings = result.access.settings
    if "*" in settings.match and settings.databases == "all" and not settings.fields:
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


def sweep_record_of(
    result: CacheResult, sweep: SweepResult, keyring: Keyring, *, goes_on: bool
) -> SweepRecord:
    """Return what one sweep of this run leaves for the histories."""
    return SweepRecord.of(
        sweep.tally,
        cache=result.history,
        mode=sweep.scope.mode,
        started_at=sweep.started_at,
        finished_at=max(sweep.finished_at, (result.doubt and result.latest) or sweep.finished_at),
        complete=sweep.complete,
        current=keyring.current.id,
        old=[key.id for key in keyring.old],
        scope=result.access.scope,
        verified=result.plan.verify,
        not_looked_at=tuple(sweep.not_looked_at),
        accepted=dict(result.plan.accept),
        doubt=result.doubt,
        proven=sweep.complete and all(node.proof for node in sweep.nodes),
        unproven=(
            *dict.fromkeys(one for node in sweep.nodes for one in node.unproven),
            *_too_long(sweep),
        ),
        resumed=sweep.resumed,
        goes_on=goes_on,
        primaries=tuple(str(address) for address in sweep.topology.primaries),
        refused=result.refusal is not None,
    )


def _too_long(sweep: SweepResult) -> Iterator[str]:
    """Yield that a proof, which is made in one go, takes longer than a run was given for it."""
    reads = sweep.scope.mode is not Mode.RUN
    if not reads or sweep.stopped is None or not sweep.stopped.is_time_up:
        return
    if sweep.visits_now and sweep.topology.names > sweep.visits_now:
        takes = timedelta(seconds=sweep.seconds * sweep.topology.names / sweep.visits_now)
        had = timedelta(seconds=sweep.seconds)
        yield (
            f"the proof takes about {about(takes)} without a break, and had {about(had)};"
            " `rotator run --dry-run` without a window proves as much and writes nothing"
        )
