"""
Forecast: tells from run records when a rotation will be done.

It goes by what runs have left in the state, and by nothing else: how many names there were to
visit, how fast the last run was, when runs come and how long they last (a run in a window of time,
every night for example, is stopped when its time is up). Done means that every name was visited,
and so every value moved that can be; the verifying sweep comes after that.

What is not known is not made up: without a rate, or a number of names, there is no date. A date
always comes with what it assumes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Literal

from rotator.text import about, digits, moment

DAY = timedelta(days=1)
RECENT = 7
"""How many of the last windows tell how the next ones will be."""

_FARTHEST = timedelta(days=3650)
_ALMOST = 0.99  # what is not done is never shown as whole, however the number of names has changed
_RUN = "run"
_SHORTEST = 0.001  # seconds; what is left when nearly all the time was waited
_NOT_IN_SIGHT = "not in sight: it would take more than ten years at this pace"
_LIMITS = ("rate", "latency")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """
    Run record: holds what one run did of a sweep of one cache; times are UTC.

    *visits* and *rotated* are of this run, which took *seconds* for them; *visited* and
    *rotated_in_all* are of all runs that worked at the sweep, which was begun at *begun_at*.
    *names* is how many there were to visit, if that is known. *stopped* says why it was stopped, if
    it was, and *timed* that its time was up; *ends_at* is when it would have been. *verifying*: it
    was stopped when only the verifying sweep was left. *left* counts the values that are under old
    keys still, if that is known. *rate* is the limit that it kept to, in visits a second, and
    *waited* how many of the seconds it waited, for each reason. *fresh*: it was told to begin anew.
    It is stored under these names.
    """

    mode: str
    started_at: datetime
    finished_at: datetime
    begun_at: datetime
    visits: int
    rotated: int
    seconds: float
    visited: int
    rotated_in_all: int
    names: int | None = None
    complete: bool = False
    stopped: str | None = None
    timed: bool = False
    ends_at: datetime | None = None
    verifying: bool = False
    left: int | None = None
    rate: float | None = None
    waited: Mapping[str, float] = field(default_factory=dict)
    fresh: bool = False

    @property
    def pace(self) -> float | None:
        """Visits a second; None if there were none."""
        return self.visits / self.seconds if self.visits and self.seconds > 0 else None

    @property
    def fraction(self) -> float | None:
        """The part of the names that was visited, 0 to 1; None if nobody knows how many remain."""
        if self.complete:
            return 1.0
        if not self.names:
            return None
        return min(self.visited / self.names, _ALMOST)

    @property
    def names_left(self) -> int | None:
        """The number of names that are still to be visited, if it is known."""
        if self.complete:
            return 0
        if self.names is None:
            return None
        # A verifying sweep that was stopped is not taken up again: the next run looks at all.
        return max(self.names - (0 if self.verifying else self.visited), 1)


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress: tells how far a sweep is, and when it will be done. Reports hold it as it is."""

    phase: Literal["sweep", "verification"] = "sweep"
    names: int | None = None
    visited: int = 0
    fraction: float | None = None
    rotated: int = 0
    runs: int = 1
    visits_per_second: float | None = None
    done_by: datetime | None = None
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Schedule: tells whether a cache will be done by a time. Reports hold it as it is."""

    by: datetime
    in_time: bool | None = None
    names_left: int | None = None
    values_left: int | None = None
    visits_per_second: float | None = None
    done_by: datetime | None = None
    needed_per_second: float | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class WindowPattern:
    """Window pattern: windows of *length* that come *every* so often, the next at *start*."""

    start: datetime
    length: timedelta
    every: timedelta

    def completion(self, work: timedelta) -> datetime:
        """Return when so much work is done, if it is only done in windows."""
        whole = max(math.ceil(work / self.length) - 1, 0)
        return self.start + whole * self.every + (work - whole * self.length)

    def time_until(self, by: datetime) -> timedelta:
        """Return how much of the time until then lies in windows."""
        if by <= self.start:
            return timedelta()
        whole, rest = divmod(by - self.start, self.every)
        return whole * self.length + min(rest, self.length)


def rate_of(windows: Sequence[RunRecord]) -> float | None:
    """Return the visits a second of the last run that visited anything."""
    return next((window.pace for window in reversed(windows) if window.pace), None)


def unfinished_runs(windows: Sequence[RunRecord], *, so_far: bool = False) -> list[RunRecord]:
    """Return the runs that worked at what is not done yet; *so_far*: since one began it anew."""
    runs: list[RunRecord] = []
    for window in reversed(windows):
        anew = so_far and runs and runs[-1].fresh
        if anew or (runs and (window.complete or window.mode != runs[-1].mode)):
            break
        runs.append(window)
    return runs[::-1]


def window_pattern(windows: Sequence[RunRecord], now: datetime) -> tuple[WindowPattern, str] | None:
    """
    Return how the next windows will be, by the last ones, and in words what this goes by.

    None where no run was stopped because its time was up: then there are no windows.
    """
    timed = [window for window in windows if window.timed and window.seconds > 0][-RECENT:]
    if not timed:
        return None
    length = timedelta(seconds=median(window.seconds for window in timed))
    gaps = [
        (later.started_at - earlier.started_at).total_seconds()
        for earlier, later in pairwise(timed)
        if later.started_at > earlier.started_at
    ]
    every = max(length, timedelta(seconds=median(gaps)) if gaps else DAY)
    if gaps:
        said = f"if windows go on like the last {len(timed)}: {about(length)} every {about(every)}"
    else:
        said = f"if a window as long as this one ({about(length)}) follows every {about(every)}"
    start = timed[-1].started_at + every
    if start < now:
        start += math.ceil((now - start) / every) * every
    return WindowPattern(start, length, every), said


def forecast(windows: Sequence[RunRecord], now: datetime) -> Progress:
    """Return how far the sweep is that the last of *windows* worked at, and when it is done."""
    alike = [window for window in windows if window.mode == windows[-1].mode]
    last, rate, left = alike[-1], rate_of(alike), alike[-1].names_left
    if left == 0:
        done_by, basis = last.finished_at, "done"
    elif left is None:
        done_by, basis = None, "not known yet: the number of names to visit is not known"
    elif rate is None:
        done_by, basis = None, "not known yet: nothing was visited so far"
    else:
        done_by, basis = completion_time(alike, left / rate, now)
    runs = unfinished_runs(windows, so_far=True)
    return Progress(
        phase="verification" if last.verifying else "sweep",
        names=last.names,
        visited=last.visited,
        fraction=None if last.fraction is None else round(last.fraction, 4),
        rotated=rotated_by(runs),
        runs=len(runs),
        visits_per_second=_tenths(rate_of(runs)),
        done_by=_promised(done_by),
        basis=basis,
    )


def completion_time(
    windows: Sequence[RunRecord], seconds: float, now: datetime
) -> tuple[datetime | None, str]:
    """Return when so many seconds of work are done, if in sight, and what this assumes."""
    if seconds > _FARTHEST.total_seconds():
        return None, _NOT_IN_SIGHT
    last, work = windows[-1], timedelta(seconds=seconds)
    if last.ends_at and not last.timed and now + work <= last.ends_at:
        return now + work, "within this window, if it is run again at once"
    pattern = window_pattern(windows, now)
    if pattern is None:
        return now + work, "if it is run again at once, and not stopped"
    to_come, basis = pattern
    if work / to_come.length > _FARTHEST / to_come.every:  # or it may be beyond the calendar
        return None, _NOT_IN_SIGHT
    return to_come.completion(work), basis


def rotated_by(runs: Iterable[RunRecord]) -> int:
    """Return how many values these runs rotated, also where one could not go on from another."""
    runs = list(runs)
    return max(sum(run.rotated for run in runs), runs[-1].rotated_in_all if runs else 0)


def plan_until(by: datetime, windows: Sequence[RunRecord], now: datetime) -> Schedule:
    """Return whether all will be done *by* then, as the runs over a cache (*windows*) tell."""
    if not windows:
        return Schedule(by, advice="not known: no run has looked at it yet; try with --dry-run")
    values = next((one.left for one in reversed(windows) if one.left is not None), None)
    if windows[-1].complete and values == 0:
        return Schedule(by, True, 0, 0, advice="done: no value is under an old key")
    names = names_to_visit(windows)
    runs = [window for window in windows if window.mode == _RUN] or list(windows)
    rate = rate_of(runs)
    if names is None or rate is None:
        what = "how many names there are to visit" if names is None else "how fast a run is"
        advice = f"not known: {what}; try with --dry-run"
        return Schedule(by, None, names, values, _tenths(rate), advice=advice)
    done_by, basis = completion_time(runs, names / rate, now)
    pattern = window_pattern(runs, now)
    time = pattern[0].time_until(by) if pattern else by - now
    needed = names / time.total_seconds() if time > timedelta() else None
    in_time = done_by is not None and done_by <= by
    advice = f"in time, {basis}" if in_time else _advice(by, runs, names, needed, now)
    if runs[-1].mode != _RUN:
        advice += "; this is the pace of a dry run, and a run is slower"
    done_by = _promised(done_by)
    return Schedule(by, in_time, names, values, _tenths(rate), done_by, _tenths(needed), advice)


def _promised(at: datetime | None) -> datetime | None:
    """Return a time rounded up to a whole second, so that it is never a moment too early."""
    return at and (at + timedelta(seconds=1, microseconds=-1)).replace(microsecond=0)


def _tenths(rate: float | None) -> float | None:
    """Return a rate as reports give it, to a tenth."""
    return None if rate is None else round(rate, 1)


def names_to_visit(windows: Sequence[RunRecord]) -> int | None:
    """Return how many names the next run that is not a dry run has before it."""
    runs = [window for window in windows if window.mode == _RUN]
    if runs and not runs[-1].complete:
        return runs[-1].names_left
    # It begins anew; the last look at all of them says how many there are.
    return next((one.names for one in reversed(windows) if one.names is not None), None)


def _advice(
    by: datetime, runs: Sequence[RunRecord], names: int, needed: float | None, now: datetime
) -> str:
    """Return what would make it be in time."""
    last = next(run for run in reversed(runs) if run.pace)
    late = f"not in time: it needs {needed:,.0f} visits a second" if needed else "not in time"
    if needed and last.rate and _without(last, "rate") >= needed:
        return f"{late}; run with --max-rate {math.ceil(needed)} or more, not {digits(last.rate)}"
    free = _without(last, *_LIMITS)
    if needed and free >= needed:
        drop = "without --max-rate and " if last.rate else ""
        return f"{late}; run {drop}with --max-latency 0, which allows about {free:,.0f}"
    time = (by - now).total_seconds()
    if window_pattern(runs, now) and names / (last.pace or free) <= time:
        done = now + timedelta(seconds=names / (last.pace or free))
        return f"{late}; started now and not stopped, it would be done by {moment(done)}"
    if names / free <= time:
        return f"{late}; start now, do not stop it, and lift --max-rate and --max-latency"
    possible = f"; the last run could have made about {free:,.0f}" if needed else ""
    return f"{late}{possible}; there is too little time"


def _without(window: RunRecord, *reasons: str) -> float:
    """Return about how many visits a second it would have made without these waits."""
    waited = sum(window.waited.get(reason, 0.0) for reason in reasons)
    return window.visits / max(window.seconds - waited, _SHORTEST)
