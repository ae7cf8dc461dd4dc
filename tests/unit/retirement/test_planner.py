"""Whether a rotation will be done by a time, and how fast it would have to be."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.retirement.forecast import DAY, RunRecord, names_to_visit, plan_until

NOW = datetime(2026, 11, 24, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def night(ago=0, **fields):
    """A window of three hours at 100 visits a second, so many nights ago, that time was up for."""
    end = NOW - ago * DAY
    usual = {
        "mode": "run",
        "started_at": end - 3 * HOUR,
        "finished_at": end,
        "begun_at": end - 3 * HOUR,
        "visits": 1_080_000,
        "rotated": 1_000_000,
        "seconds": 3 * 3600.0,
        "visited": 1_080_000,
        "rotated_in_all": 1_000_000,
        "names": 3_240_000,
        "stopped": "until",
        "timed": True,
        "ends_at": end,
    }
    return RunRecord(**usual | fields)


def whole(ago=0, **fields):
    """A run that came to its end."""
    usual = {"complete": True, "stopped": None, "timed": False, "ends_at": None, "left": 0}
    return night(ago, **usual | fields)


class TestWindows:
    """A rotation that has a window every night."""

    def test_in_time(self):
        """Two more nights are needed; by the third morning it is done."""
        found = plan_until(NOW + 2 * DAY, [night(1), night()], NOW)
        assert (found.by, found.in_time) == (NOW + 2 * DAY, True)
        assert (found.names_left, found.values_left) == (2_160_000, None)
        assert (found.visits_per_second, found.done_by) == (100.0, NOW + 2 * DAY)
        assert found.needed_per_second == 100.0
        assert found.advice == "in time, if windows go on like the last 2: 3 h every 24 h"

    def test_one_night_less(self):
        """With one night only it has to be twice as fast; how long it may take is not the limit."""
        found = plan_until(NOW + DAY, [night(1), night()], NOW)
        assert not found.in_time
        assert found.needed_per_second == 200.0
        assert found.advice == (
            "not in time: it needs 200 visits a second; started now and not stopped, it would be"
            " done by 2026-11-24 11:00 UTC"
        )

    def test_max_rate(self):
        """Where --max-rate was the limit, the least that would do is told."""
        last = night(rate=100.0, waited={"rate": 7200.0})
        found = plan_until(NOW + DAY, [night(1), last], NOW)
        assert found.advice == (
            "not in time: it needs 200 visits a second; run with --max-rate 200 or more, not 100"
        )

    def test_max_latency(self):
        """Where --max-latency was the limit as well, it is told what it was without both."""
        last = night(rate=100.0, waited={"rate": 3600.0, "latency": 3600.0})
        found = plan_until(NOW + DAY, [night(1), last], NOW)
        assert found.advice == (
            "not in time: it needs 200 visits a second; run without --max-rate and with"
            " --max-latency 0, which allows about 300"
        )

    def test_latency_alone(self):
        """Without a --max-rate nothing is said of one; what is left of waits is another's."""
        last = night(waited={"latency": 5400.0, "other": 5000.0})
        assert plan_until(NOW + DAY, [night(1), last], NOW).advice == (
            "not in time: it needs 200 visits a second; run with --max-latency 0, which allows"
            " about 200"
        )

    def test_no_way(self):
        """Where no limit is the reason, what was possible is told."""
        found = plan_until(NOW + DAY, [night(1), night(names=10**8)], NOW)
        assert found.advice == (
            f"not in time: it needs {(10**8 - 1_080_000) / 10800:,.0f} visits a second;"
            " the last run could have made about 100; there is too little time"
        )

    def test_before_the_next_night(self):
        """Before the next window there is no time at all, but for beginning now."""
        found = plan_until(NOW + 9 * HOUR, [night(1), night()], NOW)
        assert (found.in_time, found.needed_per_second) == (False, None)
        assert found.advice.startswith("not in time; started now and not stopped")

    def test_too_late(self):
        """What cannot be done in any way is told plainly."""
        found = plan_until(NOW + HOUR, [night(1), night()], NOW)
        assert found.advice == "not in time; there is too little time"

    def test_only_without_limits(self):
        """What can be done without limits and without windows only is told too."""
        last = night(rate=100.0, waited={"rate": 5400.0, "latency": 4500.0})
        found = plan_until(NOW + HOUR, [night(1), last], NOW)
        assert found.advice == (
            "not in time; start now, do not stop it, and lift --max-rate and --max-latency"
        )


class TestWhatIsLeft:
    """What is to be done."""

    def test_nothing(self):
        """A run that left nothing under old keys was the last one."""
        found = plan_until(NOW + HOUR, [night(1), whole()], NOW)
        assert (found.by, found.in_time) == (NOW + HOUR, True)
        assert (found.names_left, found.values_left) == (0, 0)
        assert found.advice == "done: no value is under an old key"

    @pytest.mark.parametrize("mode", ["run", "dry-run"])
    def test_begins_anew(self, mode):
        """After a complete sweep that left something all names are to be visited again."""
        found = plan_until(NOW + 10 * HOUR, [whole(mode=mode, left=5)], NOW)
        assert (found.in_time, found.names_left, found.values_left) == (True, 3_240_000, 5)
        assert found.done_by == NOW + 9 * HOUR
        dry = "; this is the pace of a dry run, and a run is slower" if mode == "dry-run" else ""
        assert found.advice == f"in time, if it is run again at once, and not stopped{dry}"

    def test_dry_run_in_between(self):
        """A dry run tells how many values are left, a run how fast it is and how far."""
        look = whole(mode="dry-run", seconds=60.0, left=9)
        found = plan_until(NOW + 2 * DAY, [night(1), look], NOW)
        assert (found.names_left, found.values_left) == (2_160_000, 9)
        assert found.visits_per_second == 100.0

    def test_nothing_known(self):
        """Without a run, its pace or the number of names nobody knows."""
        for windows, why, names, rate in (
            ([], "no run has looked at it yet", None, None),
            ([night(visits=0, left=5)], "how fast a run is", 2_160_000, None),
            ([night(names=None, left=5)], "how many names there are to visit", None, 100.0),
        ):
            found = plan_until(NOW + DAY, windows, NOW)
            assert (found.by, found.in_time) == (NOW + DAY, None)
            assert found.advice == f"not known: {why}; try with --dry-run"
            assert (found.names_left, found.visits_per_second) == (names, rate)
            assert found.values_left == (5 if windows else None)

    def test_names(self):
        """A complete run begins anew, one that was stopped goes on, a dry run changes neither."""
        assert names_to_visit([whole(names=7)]) == 7
        assert names_to_visit([whole(1, names=7), night()]) == 2_160_000
        assert names_to_visit([night(1), whole(mode="dry-run")]) == 2_160_000
        assert names_to_visit([]) is None


@given(
    st.lists(
        st.builds(
            night,
            st.integers(0, 9),
            visits=st.integers(0, 10**6),
            complete=st.booleans(),
            timed=st.booleans(),
            mode=st.sampled_from(["run", "dry-run"]),
            left=st.none() | st.integers(0, 9),
            rate=st.none() | st.floats(1, 1000),
            names=st.none() | st.integers(0, 10**8),
        ),
        max_size=5,
    ),
    st.timedeltas(timedelta(seconds=1), 30 * DAY),
    st.timedeltas(timedelta(), 30 * DAY),
)
def test_more_time_is_never_worse(windows, time, more):
    """What is in time by one moment is so by every later one, and needs no faster pace."""
    windows.sort(key=lambda window: window.started_at)
    sooner = plan_until(NOW + time, windows, NOW)
    later = plan_until(NOW + time + more, windows, NOW)
    assert sooner.advice
    assert (sooner.in_time is None) is (later.in_time is None)
    if sooner.in_time:
        assert later.in_time
    if sooner.needed_per_second is not None:
        assert later.needed_per_second <= sooner.needed_per_second
