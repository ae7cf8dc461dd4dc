"""From the result of a run to what it leaves for forecasts: one `Window` for each cache."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rotator.errors import Exit
from rotator.retirement.forecast import Window, begun_in
from rotator.retirement.history import SweepRecord
from rotator.sweep.results import RotationResult, SweepResult
from rotator.sweep.scope import Mode
from rotator.tally.tally import Outcome


def window_of(
    result: RotationResult,
    sweep: SweepResult,
    *,
    before: Sequence[Window],
    known: SweepRecord | None,
    ends_at: datetime | None,
) -> Window:
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
    return Window(
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


def _names(result: RotationResult, sweep: SweepResult, known: SweepRecord | None) -> int | None:
    """How many names there are to visit; the server counts all, not those of a pattern."""
    settings = result.access.settings
    if "*" in settings.match and settings.databases == "all":
        return sweep.topology.names
    return None if known is None else known.visits


def _left(known: SweepRecord | None, before: Sequence[Window], sweep: SweepResult) -> int | None:
    """How many values were under old keys when all was last looked at, less those moved since."""
    if known is None:
        return None
    there = sum(seen.remaining for seen in known.keys.values())
    runs = [run for run in begun_in(before) if not run.complete and run.mode == Mode.RUN]
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
