"""Values that hide from SCAN are found all the same."""

import threading
from datetime import timedelta

import pytest

from support.caches import Cache, Place, user
from support.server_versions import knows, since

COUNT = 2_000


@pytest.fixture
def place(tmp_path, server, redis):
    """A cache in which everything is under the current key already, but for one value."""
    place = Place(tmp_path, Cache(server.address, keys=2))
    with redis.pipeline(transaction=False) as pipe:
        for number in range(COUNT):
            place.cache.put(pipe, f"app:{number:05}", key=0)
        pipe.execute()
    return place


def old_key(report):
    """What the report says of the only old key."""
    return next(key for key in report.caches[0].keys if key.role == "old")


def moving(client, moves, *, phase):
    """A hook that makes one *move* after each page of a phase."""
    left = iter(moves)

    def hook(at, _page):
        if at == phase and (move := next(left, None)) is not None:
            move(client)

    return hook


class TestMoved:
    """One value under the old key, moved about while everything else is looked at."""

    def test_renamed_after_every_page(self, place, redis):
        """A value that is renamed after every page is rotated, wherever it was at the time."""
        place.cache.put(redis, "move:0")
        moves = [
            lambda client, n=n: client.rename(f"move:{n}", f"move:{n + 1}") for n in range(10_000)
        ]
        report = place.run(page=10, on_page=moving(redis, moves, phase="rotating"))
        assert report.caches[0].outcomes["rotated"] == 1
        assert report.caches[0].complete
        assert report.caches[0].coverage.restarts == 0
        assert report.caches[0].verification.method == "tracking"

    @pytest.mark.parametrize("command", ["copy", "restore"])
    def test_put_back_during_the_verifying_sweep(self, place, redis, command):
        """An old value that COPY or RESTORE puts under a name during verification is found."""
        if not knows(redis, command):
            assert (command, since(redis, 6, 2)) == ("copy", False)
            return
        value = place.cache.put(redis, "other:1")
        redis.config_set("appendonly", "no")
        dumped = redis.dump("other:1")
        redis.delete("other:1")
        place.cache.put(redis, "app:rotated")

        def hook(phase, page):
            if (phase, page) != ("verifying", 20):
                return
            if command == "restore":
                redis.restore("app:00000:again", 0, dumped)
            else:
                redis.set("elsewhere", value)
                redis.copy("elsewhere", "app:00000:again")

        # `gcm` does not bind the name, so the value opens wherever it is.
        report = place.run(page=10, on_page=hook)
        verification = report.caches[0].verification
        assert (verification.method, verification.complete) == ("tracking", True)
        assert verification.found_under_old_keys >= 1
        assert old_key(report).verdict == "in-use"

    def test_two_thousand_renames_during_the_verifying_sweep(self, place, redis, server):
        """A value that is renamed 2,000 times while the verifying sweep looks is still found."""
        place.cache.put(redis, "app:first")
        begun, done = threading.Event(), threading.Event()

        def rename():
            with server.client() as client:
                begun.wait()
                place.cache.put(client, "move:0")
                for number in range(2_000):
                    client.rename(f"move:{number}", f"move:{number + 1}")
            done.set()

        def hook(phase, _page):
            if phase == "verifying":
                begun.set()

        mover = threading.Thread(target=rename)
        mover.start()
        report = place.run(page=10, on_page=hook)
        begun.set()
        mover.join()
        assert done.is_set()
        cache = report.caches[0]
        assert cache.verification.found_under_old_keys >= 1 or not cache.complete
        assert old_key(report).verdict in {"in-use", "unknown"}

    def test_a_sweep_that_rotates_nothing_is_watched_too(self, place, redis):
        """A run over a clean cache in which an old value is renamed finds and rotates it."""
        place.run(quiet=timedelta(0))
        place.cache.put(redis, "move:0")
        moves = [
            lambda client, n=n: client.rename(f"move:{n}", f"move:{n + 1}") for n in range(10_000)
        ]
        report = place.run(page=10, on_page=moving(redis, moves, phase="rotating"))
        assert report.caches[0].outcomes["rotated"] == 1


class TestCounts:
    """Names that are written meanwhile are looked at twice, and counted once."""

    def test_a_foreign_value_that_keeps_changing_counts_once(self, place, redis):
        """A counter that an application increments all the time is one undecryptable value."""
        redis.set("counter", 0)
        moves = [lambda client: client.incr("counter")] * 10_000
        report = place.run(page=10, on_page=moving(redis, moves, phase="rotating"))
        assert report.caches[0].outcomes["undecryptable"] == 1

    def test_names_out_of_scope_are_left_alone(self, tmp_path, server, redis):
        """What is written under a name that does not match is neither read nor rotated."""
        cache = Cache(server.address, keys=2, settings={"match": ["app:*", "b?g:[0-9]"]})
        place = Place(tmp_path, cache)
        for number in range(100):
            cache.put(redis, f"app:{number}")

        def hook(_phase, page):
            cache.put(redis, f"other:{page}")
            cache.put(redis, "bog:x")

        report = place.run(page=10, on_page=hook)
        assert report.caches[0].outcomes["rotated"] == 100
        assert report.caches[0].verification.found_under_old_keys == 0


@pytest.fixture
def blind(place, redis):
    """The same cache, used by somebody who may not track."""
    cache = place.cache
    with user(redis, "~*", "&*", "+@all", "-client|tracking") as (name, password):
        login = {"username": name, "password": password}
        place.configure(Cache(*cache.redis["addresses"], keys=cache.keys, redis=login))
        yield place


class TestWeaker:
    """Where nothing can be watched, the report says so."""

    def test_without_the_right(self, blind, redis):
        """A user who may not track gets a verification by scan alone."""
        blind.cache.put(redis, "app:old")
        report = blind.run()
        assert report.caches[0].verification.method == "scan"
        assert report.caches[0].complete

    def test_what_is_moved_past_the_work(self, blind, redis):
        """What is renamed past a sweep that rewrites is rewritten by another, and proven then."""
        for number in range(100):
            blind.cache.put(redis, f"old:{number}")
        moves = [lambda client: client.rename("old:7", "old:moved")]
        report = blind.run(page=10, on_page=moving(redis, moves, phase="rotating"))
        assert report.caches[0].outcomes["rotated"] >= 100
        assert report.caches[0].complete
        assert report.caches[0].verification.method == "scan"
        assert report.caches[0].verification.found_under_old_keys == 0
