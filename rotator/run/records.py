"""Records: say what one run did of a sweep, for the forecasts of later ones."""

from collections.abc import Sequence
from datetime import datetime

from rotator.errors import Exit
from rotator.retirement.forecast import RunRecord, unfinished_runs
from rotator.retirement.history import SweepRecord
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
