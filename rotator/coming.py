"""What the state lets a report say of what is to come: when a rotation will be done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rotator.report.model import Outlook, Progress, Report
from rotator.retirement.forecast import Window, begun_in, foresee, pace_of, plan_until, rotated_by
from rotator.state.state import State

IN_TIME = "in-time"


def progress(windows: Sequence[Window], now: datetime) -> Progress | None:
    """How far a sweep is that was stopped; None if it was not begun."""
    if not windows or windows[-1].complete:
        return None
    last, runs = windows[-1], begun_in(windows)
    foreseen = foresee(windows, now)
    pace = pace_of(runs)
    return Progress(
        phase="verification" if last.verifying else "sweep",
        names=last.names,
        visited=last.visited,
        fraction=None if last.fraction is None else round(last.fraction, 4),
        rotated=rotated_by(runs),
        runs=len(runs),
        visits_per_second=None if pace is None else round(pace, 1),
        done_by=foreseen.done_by,
        basis=foreseen.basis,
    )


def with_outlook(report: Report, state: State, by: datetime, now: datetime) -> Report:
    """The report, with whether each cache will be done by then."""
    caches = []
    for cache in report.caches:
        found = plan_until(by, state.windows(cache.name), now)
        pace, needed = found.visits_per_second, found.needed_per_second
        outlook = Outlook(
            by=found.by,
            in_time=found.in_time,
            names_left=found.names_left,
            values_left=found.values_left,
            visits_per_second=None if pace is None else round(pace, 1),
            done_by=found.done_by,
            needed_per_second=None if needed is None else round(needed, 1),
            advice=found.advice,
        )
        caches.append(cache.model_copy(update={"outlook": outlook}))
    return report.model_copy(update={"caches": tuple(caches)})


def late(report: Report) -> list[str]:
    """Of which caches it is not known that they will be in time, and why, for `--require`."""
    return [
        f"{cache.name}: {cache.outlook.advice}"
        for cache in report.caches
        if cache.outlook and not cache.outlook.in_time
    ]
