"""A rotation that takes several nights, on a real server: how far it is, and when it is done."""

import json
from datetime import UTC, datetime, timedelta

import html5lib
import pytest

from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from support.caches import NO_FILES, Cache, Place, fill
from support.clusters import FAST
from support.clusters import fill as fill_cluster
from support.processes import job, run_here


class Pages(StopSignal):
    """Time for so many pages, of the sweep and the verifying sweep together."""

    def __init__(self, pages, why):
        super().__init__()
        self.left = pages
        self._why = why

    def turn(self, _phase, _number):
        """Another page is done."""
        self.left -= 1

    def reason(self):
        """Time is up when they are done."""
        return None if self.left > 0 else self._why


def night(place, pages=3, why=Stop.UNTIL, **settings):
    """The only cache of a run that has time for so many pages of about ten names."""
    stopper = Pages(pages, why)
    settings = {"page": 10, **FAST, **settings}
    return place.run(stopper=stopper, on_page=stopper.turn, **settings).caches[0]


class TestProgress:
    """What each run says until it is done."""

    def test_several_nights(self, place, redis):
        """Each night gets further, the sums are those of all nights; a proof takes one go."""
        fill(redis, place.cache, 100)
        stopped = [night(place)]
        # A night may end with the last name of the sweep, so they get longer until one verifies.
        while (last := stopped[-1].progress).phase == "sweep" or not last.visited:
            stopped.append(night(place, pages=3 + len(stopped) // 3))
        [said, *_] = stopped[-1].keys[1].reasons
        assert "`rotator run --dry-run` without a window proves as much" in said
        assert len(stopped) > 2
        done = place.run().caches[0]
        sweeping = [one.progress for one in stopped if one.progress.phase == "sweep"]
        fractions = [one.fraction for one in sweeping if one.rotated < 100]
        assert fractions == sorted(fractions)
        assert 0 < fractions[0] < 1
        assert [one.runs for one in sweeping[:2]] == [1, 2]
        assert all(one.progress.done_by >= one.judged_at for one in stopped)
        for one in sweeping[:2]:
            assert one.rotated == one.visited
            assert one.fraction == round(one.visited / 100, 4)
            assert one.names == 100
        assert "follows every 24 h" in sweeping[0].basis
        assert "like the last 2" in sweeping[1].basis
        assert (done.complete, done.progress) == (True, None)
        with State(place.state) as state:
            windows = state.run_records(place.cache.name)
        assert sum(window.rotated for window in windows) == 100
        assert [window.complete for window in windows] == [False] * len(stopped) + [True]
        assert verdicts(done) == {"verifying"}

    def test_a_run_that_went_on_tells_its_own_pace(self, place, redis):
        """The visits of all nights are not those of the last one."""
        fill(redis, place.cache, 100)
        first = night(place)
        second = night(place)
        assert second.visits_now == second.visits - first.visits_now
        pace = second.visits_now / second.sweep_seconds
        assert abs(second.progress.visits_per_second - pace) < 0.06

    def test_interrupted(self, place, redis):
        """Ctrl-C says how far it is too; with no limit there is no window to wait for."""
        fill(redis, place.cache, 100)
        progress = night(place, why=Stop.INTERRUPTED).progress
        assert progress.basis == "if it is run again at once, and not stopped"
        assert progress.done_by < datetime.now(UTC) + timedelta(minutes=1)

    def test_a_lost_position(self, place, redis):
        """Where a run had to begin anew, what was rotated before it still counts."""
        fill(redis, place.cache, 100)
        first = night(place)
        with State(place.state) as state:
            state.drop_positions("shared-redis")
        second = night(place, pages=6)
        assert second.outcomes["rotated"] < second.progress.rotated == second.visits
        assert second.outcomes["current"] == first.progress.rotated

    def test_fresh(self, place, redis):
        """What a run discarded that began anew does not count as done so far."""
        fill(redis, place.cache, 100)
        night(place)
        second = night(place, pages=6, fresh=True)
        assert second.progress.rotated == second.outcomes["rotated"]
        assert second.progress.runs == 1

    def test_stopped_while_verifying(self, place, redis):
        """When only the verifying sweep was left, it says so."""
        fill(redis, place.cache, 100)
        progress = night(place, pages=12).progress
        assert (progress.phase, progress.rotated) == ("verification", 100)
        assert 0 < progress.fraction < 1

    def test_a_pattern(self, server, redis, tmp_path):
        """Of a pattern the last complete sweep tells how many names there are, else nobody."""
        place = Place(tmp_path, Cache(server.address, settings={**NO_FILES, "match": ["app:*"]}))
        fill(redis, place.cache, 100)
        redis.mset({f"other:{number}": "x" for number in range(100)})
        progress = night(place).progress
        assert (progress.names, progress.fraction, progress.done_by) == (None, None, None)
        assert "number of names" in progress.basis
        place.run(fresh=True)
        progress = night(place, pages=4).progress
        assert progress.names == 100
        assert progress.done_by

    @pytest.mark.parametrize("workers", [1, 3])
    def test_a_cluster(self, cluster, tmp_path, workers):
        """The sums are those of all nodes, swept one after the other or side by side."""
        place = Place(tmp_path, Cache(*(node.address for node in cluster.primaries)))
        fill_cluster(cluster, place.cache, 600)
        first = night(place, pages=12, workers=workers)
        assert first.progress.names == 600
        assert first.progress.visited == first.progress.rotated == first.visits == first.visits_now
        done = night(place, pages=999, workers=workers)
        assert (done.complete, done.visits) == (True, 600)
        with State(place.state) as state:
            windows = state.run_records(place.cache.name)
        assert sum(window.rotated for window in windows) == 600

    def test_before_the_first_page(self, place, redis):
        """A run without any time says how far the nights before it were."""
        fill(redis, place.cache, 100)
        assert night(place, pages=0).progress is None
        first = night(place).progress
        again = night(place, pages=0).progress
        assert (again.visited, again.rotated) == (first.visited, first.rotated)


class TestShown:
    """Where people and programs see it."""

    def test_everywhere(self, place, redis, tmp_path):
        """The log, the table, the JSON and the page of a run tell it, and `report` afterwards."""
        fill(redis, place.cache, 600)
        page, path = tmp_path / "page.html", tmp_path / "report.json"
        metrics = tmp_path / "rotator.prom"
        more = ["--max-rate", "300", "--max-duration", "1s", "--page", "10"]
        more += ["--metrics-file", metrics]
        done = run_here(job(place, *more, "--html", page, "--report", path))
        assert done.returncode == 4
        progress = json.loads(path.read_text())["caches"][0]["progress"]
        visited = f"{progress['visited']} of 600 names visited ("
        assert visited in done.stdout
        assert " rotated in 1 run so far; done by " in " ".join(done.stdout.split())
        assert "not done yet" in done.stderr
        assert f"visited={progress['visited']}" in done.stderr
        assert visited in page.read_text()
        html5lib.HTMLParser(strict=True).parse(page.read_text())
        gauge = f'rotator_sweep_visited_ratio{{cache="shared-redis"}} {progress["fraction"]}'
        assert gauge in metrics.read_text().splitlines()
        again = run_here(["report", "--state", place.state])
        assert visited in again.stdout

        done = run_here(job(place, "--format", "json"))
        assert done.returncode == 0
        assert json.loads(done.stdout)["caches"][0]["progress"] is None
        assert "not done yet" not in done.stderr


class TestEvidence:
    """A run that was stopped neither hides a complete one nor looks like it."""

    def retirable(self, place, redis):
        """A cache whose old keys were judged to be retirable."""
        fill(redis, place.cache, 60)
        for _ in range(2):
            report = place.run(quiet=timedelta(0))
        assert verdicts(report.caches[0]) == {"retirable"}

    def test_stopped_halfway(self, place, redis):
        """If it met no old key up to there, the complete sweep before it still counts."""
        self.retirable(place, redis)
        cache = night(place, quiet=timedelta(0))
        assert (cache.complete, cache.stopped) == (False, "until")
        assert verdicts(cache) == {"retirable"}
        assert "one that was stopped" in cache.keys[1].reasons[-1]
        assert required(place).returncode == 0
        assert required(place, "--max-age", "0s").returncode == 6
        assert "position saved" in required(place).stdout

    def test_stopped_after_it_met_the_key(self, place, redis):
        """If it met an old key, that one is not retirable any more, and the other one still is."""
        self.retirable(place, redis)
        for number in range(60):
            place.cache.put(redis, f"app:b{number}", key=1)
        cache = night(place, quiet=timedelta(0))
        assert cache.keys[1].verdict in {"in-use", "unknown"}
        assert cache.keys[2].verdict == "retirable"
        assert required(place).returncode == 6

    def test_stopped_after_it_met_something_else(self, place, redis):
        """If it met what may hide an old key, none is retirable."""
        self.retirable(place, redis)
        redis.mset({f"foreign:{number}": "?" for number in range(200)})
        assert verdicts(night(place, quiet=timedelta(0))) == {"unknown"}
        assert required(place).returncode == 6

    def test_other_names(self, server, redis, tmp_path):
        """A complete sweep of other names says nothing about these."""
        place = Place(tmp_path, Cache(server.address, settings={**NO_FILES, "match": ["app:*"]}))
        self.retirable(place, redis)
        place.cache.settings["match"] = ["*"]
        place.configure(place.cache)
        assert verdicts(night(place, quiet=timedelta(0))) == {"unknown"}

    def test_no_complete_sweep(self, place, redis):
        """Where there was no complete sweep, a run that was stopped is none."""
        fill(redis, place.cache, 60)
        assert verdicts(night(place)) == {"unknown"}
        assert required(place).returncode == 6

    def test_stopped_before_it_began(self, place, redis):
        """What the state knows of a cache stays when a run does not get to it, and says so."""
        self.retirable(place, redis)
        cache = place.run(stopper=StopSignal(timedelta(0)), quiet=timedelta(0)).caches[0]
        assert (cache.stopped, cache.keys) == ("max-duration", ())
        done = required(place)
        assert done.returncode == 0
        assert "did not look at it: stopped by --max-duration" in " ".join(done.stdout.split())
        page = page_of(place)
        assert "did not look at it: stopped by --max-duration" in page
        place.run(quiet=timedelta(0))
        assert "did not look at it" not in required(place).stdout

    def test_never_looked_at(self, place, redis):
        """A cache that no run ever got to is told as it is."""
        fill(redis, place.cache, 60)
        place.run(stopper=StopSignal(timedelta(0)))
        done = required(place)
        assert done.returncode == 6
        assert "stopped by --max-duration" in done.stdout


def verdicts(cache):
    """The verdicts on the old keys of a report's cache."""
    return {key.verdict for key in cache.keys if key.role == "old"}


def required(place, *more):
    """`rotator report --require retirable` on the state of *place*."""
    return run_here(["report", "--state", place.state, "--require", "retirable", *more])


def page_of(place):
    """The page that `rotator report` makes of the state of *place*."""
    page = place.folder / "page.html"
    run_here(["report", "--state", place.state, "--html", page])
    return page.read_text()


class TestBy:
    """`rotator report --by`."""

    def asked(self, place, *more):
        """`rotator report --by` some hours from now, and what it says of the only cache."""
        at = datetime.now(UTC) + timedelta(hours=5)
        by = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        done = run_here(["report", "--state", place.state, "--by", by, "--format", "json", *more])
        return done.returncode, json.loads(done.stdout)["caches"][0]["outlook"]

    def test_from_the_first_look_to_the_end(self, place, redis):
        """It knows what is left from a dry run, from nights that did not suffice, and when done."""
        fill(redis, place.cache, 100)
        place.run(dry_run=True)
        code, found = self.asked(place, "--require", "in-time")
        assert (code, found["in_time"]) == (0, True)
        assert (found["names_left"], found["values_left"]) == (100, 100)
        assert "dry run" in found["advice"]

        progress = night(place).progress
        code, found = self.asked(place, "--require", "in-time")
        assert (code, found["in_time"]) == (6, False)
        assert found["names_left"] == 100 - progress.visited
        assert found["values_left"] == 100 - progress.rotated
        assert "started now and not stopped" in found["advice"]

        place.run()
        code, found = self.asked(place, "--require", "in-time")
        assert (code, found["in_time"], found["names_left"]) == (0, True, 0)

    def test_shown(self, place, redis):
        """The table and the page say it too, and without --require the code is 0."""
        fill(redis, place.cache, 100)
        night(place)
        page = place.folder / "page.html"
        done = run_here(["report", "--state", place.state, "--by", "23:59", "--html", page])
        assert done.returncode == 0
        assert "names to visit; " in " ".join(done.stdout.split())
        assert "names to visit; " in page.read_text()
        html5lib.HTMLParser(strict=True).parse(page.read_text())

    def test_by_when(self, place, redis):
        """--require in-time without a time is a mistake."""
        fill(redis, place.cache, 10)
        place.run()
        done = run_here(["report", "--state", place.state, "--require", "in-time"])
        assert (done.returncode, done.stdout) == (2, "")
        assert "add a time: --by 05:00" in done.stderr
