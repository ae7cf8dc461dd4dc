"""What was met and no record tells of, and configurations that changed since a cache was proven."""

from datetime import timedelta

import pytest

from rotator.demo.local_server import LocalServer
from rotator.errors import Exit
from rotator.report.archive import load_reports, unmet_conditions
from rotator.retirement.places import Fence
from rotator.state.state import State
from rotator.tally.tally import Outcome
from rotator.text import utc_now
from support.caches import Cache, Place, StopAfter, wait_for
from support.processes import run_here
from support.respfront import RespFront, bulk, text_in

NOW = timedelta(0)
DISK = {"assume": {"aof": {"is": "none", "reason": "never switched on"}}}
NO_FILES = {
    "assume": {name: {"is": "none", "reason": "no disk is attached"} for name in ("rdb", "aof")}
}


class KilledError(BaseException):
    """Killed: stands for the end of a process that has no time to write anything down."""


def killed(_phase, _page):
    """The end of a process after a page."""
    raise KilledError


def verdict(report, name=None):
    """The verdict on the only old key, in a cache."""
    caches = [one for one in report.caches if name in {None, one.name}]
    [key] = [key for key in caches[0].keys if key.role == "old"]
    return key.verdict


def save(client):
    """Have an RDB file written in another second than the last one."""
    last = client.info("persistence")["rdb_last_save_time"]
    # Its clock for files is a few milliseconds behind the one that TIME asks.
    wait_for(lambda: client.time() > (last + 1, 50_000))
    client.save()


@pytest.fixture
def saved(tmp_path):
    """A server whose key was gone once, and then a value under it was in a file that was saved."""
    with LocalServer() as server, server.client() as client:
        place = Place(tmp_path, Cache(server.address, keys=2, settings=DISK))
        place.cache.put(client, "app:1")
        save(client)
        place.run(quiet=NOW)
        place.cache.put(client, "app:2")
        save(client)
        yield place, client


class TestMetAndLost:
    """Work that met the key and could not say so."""

    @pytest.mark.parametrize("fresh", [False, True])
    def test_killed(self, saved, fresh):
        """What a run moved that was killed is in files saved meanwhile: they are saved anew."""
        place, client = saved
        with pytest.raises(KilledError):
            place.run(quiet=NOW, on_page=killed)
        report = place.run(quiet=NOW, fresh=fresh)
        assert verdict(report) != "retirable"
        place.run(quiet=NOW)
        assert verdict(place.run(quiet=NOW)) == "held"
        save(client)
        assert verdict(place.run(quiet=NOW)) == "retirable"

    def test_report_after_that(self, saved):
        """Until the next run nobody is told that the key can go, and a dry run does not help."""
        place, client = saved
        client.delete("app:2")
        save(client)
        place.run(quiet=NOW)
        save(client)
        assert verdict(place.run(quiet=NOW)) == "retirable"
        with pytest.raises(KilledError):
            place.run(quiet=NOW, on_page=killed)
        with State(place.state) as state:
            report = load_reports(state, utc_now())
        [(reason, _)] = unmet_conditions(
            report, [place.cache.ids[1]], now=utc_now(), max_age=timedelta(days=1)
        )
        assert "has not ended: what it met is not known" in reason
        assert verdict(place.run(quiet=NOW, dry_run=True)) == "verifying"

    def test_purged(self, saved):
        """What was purged is in files saved meanwhile, too."""
        place, client = saved
        options = ["--config", place.file, "--state", place.state, "--key", place.cache.ids[1]]
        done = run_here(["purge", *options, "--yes"])
        assert done.returncode == 0, done.stderr
        place.run(quiet=NOW)
        assert verdict(place.run(quiet=NOW)) == "held"
        save(client)
        assert verdict(place.run(quiet=NOW)) == "retirable"


class TestOtherCaches:
    """Another cache that lists the key and is not in this run."""

    def test_configured_anew(self, tmp_path):
        """What was proven at other addresses, or of other names, does not count for it."""
        with LocalServer() as one, LocalServer() as two, LocalServer() as three:
            first = Cache(one.address, name="first", keys=2, settings=NO_FILES)
            second = Cache(two.address, name="second", keys=first.keys, settings=NO_FILES)
            place = Place(tmp_path, first, second)
            for server, cache in ((one, first), (two, second), (three, second)):
                with server.client() as client:
                    cache.put(client, "app:1")
            place.run(quiet=NOW)
            assert verdict(place.run(quiet=NOW)) == "retirable"
            elsewhere = Cache(three.address, name="second", keys=first.keys, settings=NO_FILES)
            narrow = {**NO_FILES, "match": ["other:*"]}
            changed = Cache(two.address, name="second", keys=first.keys, settings=narrow)
            for now, said in (
                (elsewhere, "verifying"),
                (changed, "verifying"),
                (second, "retirable"),
            ):
                place.configure(first, now)
                assert verdict(place.run("first", quiet=NOW), "first") == said

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_another_server(self, tmp_path, dry_run):
        """A run that had no time to sweep has seen that another server answers for it."""
        with LocalServer() as one, LocalServer() as two:
            first = Cache(one.address, name="first", keys=2, settings=NO_FILES)
            second = Cache(two.address, name="second", keys=first.keys, settings=NO_FILES)
            place = Place(tmp_path, first, second)
            for server, cache in ((one, first), (two, second)):
                with server.client() as client:
                    cache.put(client, "app:1")
            place.run(quiet=NOW)
            assert verdict(place.run(quiet=NOW)) == "retirable"
            two.stop()
            two.start()
            with two.client() as client:
                second.put(client, "app:1")
            place.run("second", quiet=NOW, dry_run=dry_run, stopper=StopAfter(-1))
            assert verdict(place.run("first", quiet=NOW), "first") == "verifying"
            [key] = [key for key in place.run("second", quiet=NOW).caches[0].keys if key.verdict]
            assert "encrypted with it after" not in " ".join(key.reasons)
            assert verdict(place.run(quiet=NOW)) == "retirable"


class TestFences:
    """Fences that no longer hold."""

    @pytest.fixture
    def fenced(self, tmp_path):
        """A server with a fence of just now."""
        with LocalServer() as server, server.client() as client:
            settings = {**NO_FILES, "match": ["app:*"]}
            place = Place(tmp_path, Cache(server.address, keys=2, settings=settings))
            place.cache.put(client, "app:1")
            current, old = place.cache.ids
            with State(place.state) as state:
                state.set_fence(place.cache.name, Fence(utc_now(), current, (old,), utc_now()))
            yield place, client

    def test_taken_back(self, fenced):
        """When the key is the current one for a while, its fence is over for good."""
        place, _ = fenced
        forward = place.cache
        back = Cache(keys=forward.keys[::-1], settings=forward.settings, redis=forward.redis)
        place.configure(back)
        place.run(quiet=NOW)
        place.configure(forward)
        assert verdict(place.run(quiet=timedelta(hours=1))) == "verifying"
        with State(place.state) as state:
            assert state.fence(forward.name) is None

    def test_met_outside(self, fenced):
        """A value under the key that is left out shows as well that somebody writes."""
        place, client = fenced
        assert verdict(place.run(quiet=NOW)) == "retirable"
        place.cache.put(client, "other:1")
        assert verdict(place.run(quiet=NOW)) == "in-use"
        client.delete("other:1")
        assert verdict(place.run(quiet=timedelta(hours=1))) == "verifying"


class TestWhatIsOpened:
    """What may be accepted."""

    def test_by_other_formats(self, tmp_path):
        """That values once opened in other formats does not make these acceptable."""
        with LocalServer() as server, server.client() as client:
            place = Place(tmp_path, Cache(server.address, keys=2, settings=NO_FILES))
            place.cache.put(client, "app:1")
            place.run(quiet=NOW, dry_run=True)
            place.cache.settings = {**NO_FILES, "formats": ["sealed"]}
            place.configure(place.cache)
            for _ in range(2):
                report = place.run(quiet=NOW, accept={Outcome.UNDECRYPTABLE: 1}, allow_empty=True)
        assert verdict(report) == "unknown"

    def test_nothing_opens_any_more(self, tmp_path):
        """Where values opened once and none does now, the format comes before any is accepted."""
        with LocalServer() as server, server.client() as client:
            place = Place(tmp_path, Cache(server.address, keys=2, settings=NO_FILES))
            place.cache.put(client, "app:1")
            for _ in range(2):
                place.run(quiet=NOW)
            client.set("app:1", Cache(keys=1).seal("app:1", b"hello", key=0))
            report = place.run(quiet=NOW)
            [key] = [key for key in report.caches[0].keys if key.role == "old"]
        assert (report.exit_code, key.verdict) == (Exit.EMPTY, "unknown")
        first, last = key.next_step.split("; only if you know what they are, ")
        assert first.endswith("run `rotator detect`, correct the format or add the missing key, "
                              "then run again")  # fmt: skip
        assert last == "accept them with --accept undecryptable=1"

    def test_keyspace_not_shown(self, tmp_path):
        """A front that leaves out which databases there are hides no value."""

        def answer(words, ask):
            if words[0].upper() != b"INFO":
                return None
            lines = text_in(ask(words)).split(b"\r\n")
            return bulk(b"\r\n".join(line for line in lines if not line.startswith(b"db")))

        with LocalServer() as server, server.client() as client:
            place = Place(tmp_path, Cache(server.address, keys=2, settings=NO_FILES))
            place.cache.put(client, "app:1")
            with RespFront(server.port, answer) as front:
                place.configure(
                    Cache(front.address, keys=place.cache.keys, settings=place.cache.settings)
                )
                report = place.run(quiet=NOW)
        assert not report.caches[0].complete
        said = " ".join(one for key in report.caches[0].keys for one in key.reasons)
        assert "INFO shows none (keyspace)" in said
        assert report.caches[0].outcomes["rotated"] == 1
