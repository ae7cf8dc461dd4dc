"""A rotation that takes several nights, on a real server: how far it is, and when it is done."""

import json
from datetime import UTC, datetime, timedelta

import html5lib
from caches import Cache, Place, fill
from running import job, run_here

from rotator.control import Stop, Stopper
from rotator.state import State


class Pages(Stopper):
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
    return place.run(stopper=stopper, on_page=stopper.turn, page=10, **settings).caches[0]


class TestProgress:
    """What each run says until it is done."""

    def test_several_nights(self, place, redis):
        """Each night gets further, the sums are those of all nights, and at the end all is done."""
        fill(redis, place.cache, 100)
        seen = [night(place)]
        while seen[-1].stopped and len(seen) < 20:
            seen.append(night(place))
        *stopped, done = seen
        assert len(stopped) > 2
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
            windows = state.windows(place.cache.name)
        assert sum(window.rotated for window in windows) == 100
        assert [window.complete for window in windows] == [False] * len(stopped) + [True]

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
        second = night(place, pages=6, fresh=True)
        assert second.outcomes["rotated"] < second.progress.rotated == second.visits
        assert second.outcomes["current"] == first.progress.rotated

    def test_stopped_while_verifying(self, place, redis):
        """When only the verifying sweep was left, it says so."""
        fill(redis, place.cache, 100)
        progress = night(place, pages=12).progress
        assert (progress.phase, progress.rotated) == ("verification", 100)
        assert 0 < progress.fraction < 1

    def test_a_pattern(self, server, redis, tmp_path):
        """Of a pattern the last complete sweep tells how many names there are, else nobody."""
        place = Place(tmp_path, Cache(server.address, settings={"match": ["app:*"]}))
        fill(redis, place.cache, 100)
        redis.mset({f"other:{number}": "x" for number in range(100)})
        progress = night(place).progress
        assert (progress.names, progress.fraction, progress.done_by) == (None, None, None)
        assert "how many names" in progress.basis
        place.run(fresh=True)
        progress = night(place, pages=4).progress
        assert progress.names == 100
        assert progress.done_by

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
        more = ["--max-rate", "300", "--max-duration", "1s", "--page", "10"]
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
        again = run_here(["report", "--state", place.state])
        assert visited in again.stdout

        done = run_here(job(place, "--format", "json"))
        assert done.returncode == 0
        assert json.loads(done.stdout)["caches"][0]["progress"] is None
        assert "not done yet" not in done.stderr
