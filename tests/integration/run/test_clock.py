"""Clocks that are wrong, or set while a run goes on: no key is called retirable too early."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from rotator.errors import Exit
from rotator.report.model import Report
from rotator.retirement.history import KeyHistory
from rotator.run.surroundings import TOLERANCE, ClockCheck
from rotator.sweep.control import StopSignal
from support.caches import READING, WRITING, Cache, Place, old_key, store_of, user
from support.commandline import run
from support.processes import job
from support.wrong_clock import Jumping

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
KEY = "9f2c41d07be3a655"
CLEAN = KeyHistory(
    first_looked_at=NOW - 40 * DAY,
    last_seen_at=NOW - 30 * DAY,
    clean_since=NOW - 30 * DAY,
    clean_sweeps=9,
    swept_at=NOW,
)


@pytest.fixture
def jumping(monkeypatch):
    """A clock that can be set, for everything that runs in this process."""
    return Jumping(monkeypatch)


class Hand:
    """Two clocks moved by hand."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)
        self.seconds = 100.0
        self.clock = ClockCheck(lambda: self.time, lambda: self.seconds)

    def go_on(self, time: timedelta, running: timedelta) -> None:
        """Let the time of day go on by *time*, and the clock that nobody sets by *running*."""
        self.time += time
        self.seconds += running.total_seconds()


class TestClock:
    """One clock beside another that nobody can set, and beside those of servers."""

    @pytest.mark.parametrize(
        ("time", "doubt"),
        [
            (HOUR, None),
            (HOUR + TOLERANCE, None),
            (HOUR - TOLERANCE, None),
            (HOUR + DAY, "the clock of this machine was set ahead by 1d during the run"),
            (HOUR - DAY, "the clock of this machine was set back by 1d during the run"),
            (HOUR + 26 * HOUR, "the clock of this machine was set ahead by 26h during the run"),
            (49 * MINUTE, "the clock of this machine was set back by 11m during the run"),
        ],
    )
    def test_a_jump(self, time, doubt):
        """Where the clocks went on by different times, one was set."""
        hand = Hand()
        begun = hand.time
        hand.go_on(time, HOUR)
        assert hand.clock.clock_warning == doubt
        assert hand.clock.latest() == begun + max(time, HOUR)

    @pytest.mark.parametrize(("off", "how"), [(DAY, "behind"), (-DAY, "ahead of")])
    def test_a_server_of_another_mind(self, server, off, how):
        """A server whose clock differs puts ours in doubt, and the later time counts."""
        hand = Hand()
        hand.go_on(off, off)
        store = store_of(server)
        hand.clock.compare(store)
        assert hand.clock.clock_warning == f"the clock of {store.node} is 1d {how} this machine's"
        real = datetime.now(UTC)
        assert abs(hand.clock.latest() - max(real, real + off)) < MINUTE

    def test_a_server_that_agrees(self, server):
        """Nothing is in doubt then, and the time is our own."""
        hand = Hand()
        hand.clock.compare(store_of(server))
        assert hand.clock.clock_warning is None
        assert hand.clock.latest() - hand.time < MINUTE

    def test_a_server_that_must_not_tell(self, server, redis):
        """Without the right to ask for the time nothing is known, and nothing is in doubt."""
        with user(redis, "~*", "+ping", "+hello", "+select") as (name, password):
            hand = Hand()
            hand.time += DAY
            hand.clock = ClockCheck(lambda: hand.time, lambda: hand.seconds)
            hand.clock.compare(store_of(server, name, password))
        assert hand.clock.clock_warning is None


@pytest.fixture
def scene(place, redis):
    """A configuration, and values under its first old key."""
    for index in range(60):
        place.cache.put(redis, f"app:{index}", key=1)
    return place


def verdict_in(report, place):
    """The verdict on the first old key, and its reasons as one text."""
    key = old_key(report, place.cache.ids[1])
    return key.verdict, "; ".join(key.reasons)


class TestRuns:
    """Runs whose clock jumps between them, or in the middle of one."""

    def test_ahead(self, scene, jumping):
        """A clock that runs a day ahead brings no key a day closer to its end."""
        assert verdict_in(scene.run(), scene)[0] == "verifying"
        jumping.by = DAY
        report = scene.run()
        verdict, reasons = verdict_in(report, scene)
        assert verdict == "verifying"
        assert "is 1d behind this machine's" in reasons
        assert report.exit_code == Exit.OK
        assert any("no key gets better than verifying" in one for one in report.caches[0].warnings)

    def test_back_and_right_again(self, scene, jumping):
        """What was met while the clock was a day behind was not met a day ago."""
        jumping.by = -DAY
        assert verdict_in(scene.run(), scene)[0] == "verifying"
        jumping.by = timedelta()
        verdict, reasons = verdict_in(scene.run(), scene)
        assert verdict == "verifying"
        assert " UTC; a sweep 1h later must confirm it" in reasons

    def test_ahead_and_right_again(self, scene, jumping):
        """Times of a clock that was ahead are not believed to be over before they come."""
        jumping.by = DAY
        scene.run()
        jumping.by = timedelta()
        verdict, reasons = verdict_in(scene.run(quiet=timedelta(0)), scene)
        assert verdict == "verifying"
        assert "which is later than now: a clock is wrong" in reasons

    @pytest.mark.parametrize("by", [DAY, -DAY])
    def test_in_the_middle(self, scene, redis, jumping, by):
        """A jump during the run is noticed without any other clock but one that nobody sets."""

        def jump(phase, page):
            if (phase, page) == ("rotating", 2):
                jumping.by = by

        with user(redis, "~*", *(f"+{one}" for one in (*READING, *WRITING))) as (name, password):
            cache = scene.cache
            cache.redis |= {"username": name, "password": password}
            scene.configure(cache)
            verdict, reasons = verdict_in(
                scene.run(on_page=jump, page=10, quiet=timedelta(0)), scene
            )
            assert verdict == "verifying"
            how = "ahead" if by > timedelta() else "back"
            assert f"the clock of this machine was set {how} by 1d during the run" in reasons
            jumping.by = timedelta()
            verdict, reasons = verdict_in(scene.run(), scene)
            assert verdict == "verifying"

    def test_other_caches_are_not_judged_by_it_either(self, server, redis, tmp_path, jumping):
        """A key of a cache that is not swept now is judged by the same wrong clock."""
        one = Cache(server.address, name="one", settings={"match": ["one:*"]})
        two = Cache(server.address, name="two", settings={"match": ["two:*"]}, keys=one.keys)
        place = Place(tmp_path, one, two)
        place.cache.put(redis, "one:1", key=1)
        two.put(redis, "two:1", key=1)
        place.run("two")
        place.run("one")
        place.run("two", quiet=timedelta(0))
        place.run("one")
        jumping.by = 2 * HOUR
        report = place.run("one")
        assert verdict_in(report, place)[0] == "verifying"

    def test_the_window_of_a_run_does_not_move(self, scene, jumping):
        """A limit on the time is kept by a clock that nobody sets."""

        def jump(_phase, page):
            jumping.by = DAY * page

        report = scene.run(on_page=jump, page=10, stopper=StopSignal(HOUR))
        assert report.exit_code == Exit.OK
        assert 0 < report.caches[0].sweep_seconds < MINUTE.total_seconds()

    def test_a_time_zone_changes_nothing(self, scene):
        """All times are UTC, wherever the machine is."""
        times = []
        for zone in ("UTC", "Pacific/Kiritimati", "America/Los_Angeles"):
            done = run([*job(scene), "--format", "json"], env={"TZ": zone})
            assert done.returncode == 0, done.stderr
            report = Report.model_validate(json.loads(done.stdout))
            times.append(report.finished_at)
            assert not report.caches[0].warnings or "clock" not in report.caches[0].warnings[-1]
        assert times == sorted(times)
        assert times[-1] - times[0] < MINUTE
