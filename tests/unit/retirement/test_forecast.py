"""How far a sweep of several nights is, and when it will be done."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rotator.retirement.forecast import (
    DAY,
    RunRecord,
    WindowPattern,
    forecast,
    rate_of,
    rotated_by,
    unfinished_runs,
    window_pattern,
)

NOW = datetime(2026, 11, 24, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def night(ago=0, *, visits=1_000_000, hours=3.0, **fields):
    """A window from 02:00 to 05:00, so many nights ago, that time was up for."""
    end = NOW - ago * DAY
    usual = {
        "mode": "run",
        "started_at": end - hours * HOUR,
        "finished_at": end,
        "begun_at": end - hours * HOUR,
        "visits": visits,
        "rotated": visits,
        "seconds": hours * 3600,
        "visited": visits,
        "rotated_in_all": visits,
        "names": 3_500_000,
        "stopped": "until",
        "timed": True,
        "ends_at": end,
    }
    return RunRecord(**usual | fields)


class TestForesee:
    """When it will be done."""

    def test_after_the_first_night(self):
        """One window says how long one is; that one follows every night is an assumption."""
        found = forecast([night()], NOW)
        # A million a night: the last half million takes half of the third night from now.
        assert found.done_by == NOW - 3 * HOUR + 3 * DAY + 1.5 * HOUR
        assert found.basis == "if a window as long as this one (3 h) follows every 24 h"

    @pytest.mark.parametrize(("verifying", "phase"), [(False, "sweep"), (True, "verification")])
    def test_how_far_it_is(self, verifying, phase):
        """Names, visits and pace are those of the last run; shares are rounded."""
        found = forecast([night(verifying=verifying)], NOW)
        assert (found.phase, found.names, found.visited) == (phase, 3_500_000, 1_000_000)
        assert (found.fraction, found.visits_per_second) == (0.2857, 92.6)
        assert (found.runs, found.rotated) == (1, 1_000_000)

    def test_no_fraction(self):
        """Without a number of names there is no part of them, and no pace without time."""
        found = forecast([night(names=None, seconds=0.0)], NOW)
        assert (found.fraction, found.visits_per_second) == (None, None)
        assert night(visits=30, seconds=0.5).pace == 60
        assert night(visits=0, seconds=0.5).pace is None
        assert night(names=8, visited=2).fraction == 0.25
        assert night(names=5, visited=5).names_left == 1

    def test_whole_seconds(self):
        """A time is rounded up to a second, never down."""
        cut = {"timed": False, "stopped": "interrupted", "ends_at": None, "visits": 3600}
        found = forecast([night(**cut, visited=3600, names=3601, hours=1 / 1.5)], NOW)
        assert found.done_by == NOW + timedelta(seconds=1)

    def test_after_several_nights(self):
        """Several say how often they come: every second night here."""
        windows = [night(4), night(2, visited=2_000_000), night(0, visited=3_000_000)]
        found = forecast(windows, NOW)
        assert found.done_by == NOW - 3 * HOUR + 2 * DAY + 1.5 * HOUR
        assert found.basis == "if windows go on like the last 3: 3 h every 2 d"

    def test_a_run_that_began_anew(self):
        """What was done before a run with --fresh does not count as done so far; its work stays."""
        windows = [night(2), night(1, fresh=True, visits=500_000), night(0, visits=700_000)]
        found = forecast(windows, NOW)
        assert (found.runs, found.rotated) == (2, 1_200_000)
        assert unfinished_runs(windows) == windows

    def test_a_night_was_left_out(self):
        """Asked a few days later, the windows that did not come are not counted on."""
        found = forecast([night(1), night(0)], NOW + 2.5 * DAY)
        assert found.done_by == NOW - 3 * HOUR + 3 * DAY + 2 * DAY + 1.5 * HOUR

    def test_within_this_window(self):
        """Interrupted early, it can still be done before its time is up."""
        cut = night(timed=False, stopped="interrupted", names=1_100_000, ends_at=NOW + HOUR)
        found = forecast([cut], NOW)
        assert found.done_by == NOW + 0.3 * HOUR
        assert found.basis == "within this window, if it is run again at once"

    def test_without_windows(self):
        """A run without a limit that was interrupted needs the rest of the time, in one piece."""
        found = forecast([night(timed=False, stopped="interrupted", ends_at=None)], NOW)
        assert found.done_by == NOW + 7.5 * HOUR
        assert found.basis == "if it is run again at once, and not stopped"

    def test_no_pace(self):
        """Where nothing was visited there is no pace, and no date."""
        found = forecast([night(visits=0, visited=0, seconds=0.0)], NOW)
        assert (found.done_by, found.basis) == (
            None,
            "not known yet: nothing was visited so far",
        )

    def test_an_earlier_pace(self):
        """A night in which nothing could be visited has the pace of the one before it."""
        windows = [night(1), night(0, visits=0, visited=1_000_000, seconds=0.0)]
        assert forecast(windows, NOW).done_by == NOW - 3 * HOUR + 3 * DAY + 1.5 * HOUR

    def test_no_number_of_names(self):
        """Of a pattern nobody knows how many names there are, so there is no date."""
        found = forecast([night(names=None)], NOW)
        assert found.done_by is None
        assert found.basis == "not known yet: the number of names to visit is not known"

    @pytest.mark.parametrize("names", [10**13, 10**30])
    def test_not_in_sight(self, names):
        """What would take longer than ten years has no date."""
        found = forecast([night(names=names)], NOW)
        assert (found.done_by, found.basis[:12]) == (None, "not in sight")

    def test_more_visits_than_names(self):
        """Names expire while a sweep takes nights: then it is nearly done, but never whole."""
        last = night(names=900_000)
        assert last.fraction == 0.99
        assert NOW < forecast([last], NOW).done_by < NOW + DAY

    def test_verifying(self):
        """A verifying sweep that was stopped is not taken up: all names are to be visited again."""
        last = night(verifying=True, visited=3_000_000)
        assert last.names_left == 3_500_000

    def test_complete(self):
        """What is complete was done when it ended."""
        last = night(complete=True, stopped=None, timed=False)
        assert (last.fraction, last.names_left) == (1.0, 0)
        found = forecast([last], NOW + DAY)
        assert (found.done_by, found.basis) == (NOW, "done")

    def test_dry_runs_are_another_matter(self):
        """How fast a dry run was does not tell how fast a run will be."""
        quick = night(1, mode="dry-run", visits=3_500_000, seconds=60.0)
        assert forecast([quick, night()], NOW) == forecast([night()], NOW)

    @given(
        st.lists(
            st.builds(
                night,
                st.integers(0, 30),
                visits=st.integers(0, 10**7),
                hours=st.floats(0.001, 30),
                names=st.none() | st.integers(0, 10**9),
                timed=st.booleans(),
                verifying=st.booleans(),
                ends_at=st.none() | st.just(NOW + HOUR),
            ),
            min_size=1,
            max_size=9,
        ),
        st.timedeltas(timedelta(), 30 * DAY),
        st.integers(1, 10**7),
    )
    def test_never_in_the_past_and_never_sooner_for_more(self, windows, later, more):
        """A date is to come, and with more names it is not an earlier one."""
        windows.sort(key=lambda window: window.started_at)
        now = NOW + later
        found = forecast(windows, now)
        assert found.basis
        if found.done_by is None:
            return
        assert found.done_by >= now
        last = windows[-1]
        fuller = [*windows[:-1], replace(last, names=last.names + more)]
        after = forecast(fuller, now).done_by
        assert after is None or after >= found.done_by


LENGTHS = st.timedeltas(timedelta(seconds=1), 3 * DAY)


class TestRhythm:
    """Windows that come again and again."""

    @given(LENGTHS, LENGTHS, st.timedeltas(timedelta(seconds=1), 300 * DAY))
    def test_there_is_enough_time_until_then(self, length, pause, work):
        """What is done by then had as much time in windows as it takes, and not less before."""
        assume(work / length < 3650 * DAY / (length + pause))  # nobody looks further ahead
        rhythm = WindowPattern(NOW, length, length + pause)
        done = rhythm.completion(work)
        short = timedelta(milliseconds=1)
        assert abs(rhythm.time_until(done) - work) < short
        assert rhythm.time_until(done - short) < work

    def test_recent(self):
        """Only windows whose time was up count, and of those the last few."""
        windows = [night(n, hours=1.0) for n in range(30, 7, -1)]
        windows += [night(n) for n in range(7, 0, -1)]
        windows += [night(hours=0.01, timed=False, stopped="interrupted")]
        rhythm, said = window_pattern(windows, NOW)
        assert (rhythm.length, rhythm.every) == (3 * HOUR, DAY)
        assert said == "if windows go on like the last 7: 3 h every 24 h"

    def test_none(self):
        """Without such windows there is no rhythm."""
        assert window_pattern([night(timed=False)], NOW) is None


class TestRuns:
    """Which runs worked at it."""

    def test_since_it_was_complete(self):
        """Those after the last complete one, of the same mode."""
        old, done, look = night(5), night(4, complete=True), night(3, mode="dry-run")
        first, second = night(1), night(0)
        assert unfinished_runs([old, done, first, second]) == [first, second]
        assert unfinished_runs([old, done, look, first]) == [first]
        assert unfinished_runs([old, done]) == [old, done]
        assert unfinished_runs([]) == []

    def test_rotated(self):
        """They are added up; where a position was lost no run tells of those before it."""
        assert (
            rotated_by([night(rotated=3, rotated_in_all=3), night(rotated=4, rotated_in_all=4)])
            == 7
        )
        assert rotated_by([night(rotated=4, rotated_in_all=9)]) == 9
        assert rotated_by([]) == 0

    def test_pace(self):
        """The pace is that of the last run that visited anything."""
        assert rate_of([night(visits=3600, hours=1.0), night(visits=0)]) == 1.0
        assert rate_of([]) is None
