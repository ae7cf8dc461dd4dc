"""
Whether a rotation will be done by a given time, and how fast it would have to be for that.

It goes by what runs have left in the state, and by nothing else: how many names there were to
visit, how fast the last run was, when runs come and how long they last. Done means that every name
was visited, and so every value moved that can be; the verifying sweep comes after that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.retirement.forecast import Window, pace_of, reached, rhythm_of
from rotator.wording import moment

_RUN = "run"
_WAITS = ("rate", "latency")
_SHORTEST = 0.001  # seconds; what is left when nearly all the time was waited


@dataclass(frozen=True, slots=True)
class Outlook:
    """
    Whether a cache will be done *by* a time; None is "nobody knows".

    *names_left* are to be visited, *values_left* are known to be under old keys. The last run made
    *visits_per_second*, at which it is done at *done_by*; *needed_per_second* would be fast enough.
    *advice* is what this assumes, or what to do.
    """

    by: datetime
    in_time: bool | None
    advice: str
    names_left: int | None = None
    values_left: int | None = None
    visits_per_second: float | None = None
    done_by: datetime | None = None
    needed_per_second: float | None = None


def plan_until(by: datetime, windows: Sequence[Window], now: datetime) -> Outlook:
    """Whether all will be done *by* then, as the runs over a cache (*windows*) tell."""
    if not windows:
        return Outlook(by, None, "not known: no run has looked at it yet; try with --dry-run")
    values = next((one.left for one in reversed(windows) if one.left is not None), None)
    if windows[-1].complete and values == 0:
        return Outlook(by, True, "done: no value is under an old key", 0, 0)
    names = names_to_visit(windows)
    runs = [window for window in windows if window.mode == _RUN] or list(windows)
    pace = pace_of(runs)
    if names is None or pace is None:
        what = "how many names there are to visit" if names is None else "how fast a run is"
        return Outlook(by, None, f"not known: {what}; try with --dry-run", names, values, pace)
    done_by, basis = reached(runs, names / pace, now)
    needed = _needed(by, runs, names, now)
    in_time = done_by is not None and done_by <= by
    advice = f"in time, {basis}" if in_time else _advice(by, runs, names, needed, now)
    if runs[-1].mode != _RUN:
        advice += "; this goes by a dry run, and a run is slower"
    return Outlook(by, in_time, advice, names, values, pace, done_by, needed)


def names_to_visit(windows: Sequence[Window]) -> int | None:
    """How many names the next run that is not a dry run has before it."""
    runs = [window for window in windows if window.mode == _RUN]
    if runs and not runs[-1].complete:
        return runs[-1].names_left
    # It begins anew; the last look at all of them says how many there are.
    return next((one.names for one in reversed(windows) if one.names is not None), None)


def _needed(by: datetime, runs: Sequence[Window], names: int, now: datetime) -> float | None:
    """The pace at which it is done by then, in the time that there is; None if there is none."""
    rhythm = rhythm_of(runs, now)
    time = rhythm[0].time_until(by) if rhythm else by - now
    return names / time.total_seconds() if time > timedelta() else None


def _advice(
    by: datetime, runs: Sequence[Window], names: int, needed: float | None, now: datetime
) -> str:
    """What would make it be in time."""
    last = next(run for run in reversed(runs) if run.pace)
    late = f"not in time: it needs {needed:,.0f} visits a second" if needed else "not in time"
    if needed and last.rate and _without(last, "rate") >= needed:
        return f"{late}; run with --max-rate {math.ceil(needed)} or more, not {last.rate:g}"
    free = _without(last, *_WAITS)
    if needed and free >= needed:
        drop = (
            "without --max-rate and with --max-latency 0" if last.rate else "with --max-latency 0"
        )
        return f"{late}; run {drop}: then it was about {free:,.0f}"
    time = (by - now).total_seconds()
    if rhythm_of(runs, now) and names / (last.pace or free) <= time:
        done = now + timedelta(seconds=names / (last.pace or free))
        return f"{late}; begun now and not stopped, it would be done by {moment(done)}"
    if names / free <= time:
        return f"{late}; begin now, do not stop it, and lift --max-rate and --max-latency"
    possible = f"; the last run could have made about {free:,.0f}" if needed else ""
    return f"{late}{possible}; there is too little time"


def _without(window: Window, *reasons: str) -> float:
    """About how many visits a second it would have made had it not waited for these reasons."""
    waited = sum(window.waited.get(reason, 0.0) for reason in reasons)
    return window.visits / max(window.seconds - waited, _SHORTEST)
