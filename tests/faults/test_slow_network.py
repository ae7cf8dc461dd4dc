"""A slow network: what arrives late, in pieces, or not at all changes no value and no count."""

from random import Random

import pytest

from cluster.expiries import entries_of
from rotator.errors import Exit
from rotator.sweep.scope import Limits
from support.caches import Cache, Place, contents, counted, fill
from support.clusters import Rival, codec_of, judge, plain
from support.slowproxy import SlowProxy

NAMES = 600
DELAY = 0.02  # seconds, in each direction


@pytest.fixture
def scene(redis, tmp_path):
    """Values on the session's server, and what a cache behind an address holds at the end."""

    def behind(proxy):
        place = Place(tmp_path, Cache(proxy.address))
        entries = fill(redis, place.cache, NAMES)
        return place, {name: (entry[0], entry[3]) for name, entry in entries.items()}

    return behind


def check(redis, place, expected):
    """Every value is what it was, under the current key, until the same millisecond."""
    codec = codec_of(place.cache)
    found = contents(redis)
    assert set(found) == set(expected)
    for name, (value, at_ms) in found.items():
        opened = codec.open(name, value)
        assert (opened.plaintext, at_ms) == expected[name]
        assert opened.key.id == place.cache.ids[0]


def test_late(server, redis, scene):
    """Each page takes as long as the network does, and no longer."""
    with SlowProxy(server.port, delay=DELAY) as proxy:
        place, expected = scene(proxy)
        report = place.run(limits=Limits(latency=None))
    assert report.exit_code == Exit.OK
    assert counted(report) == {"rotated": NAMES}
    assert report.caches[0].verification.found_under_old_keys == 0
    assert report.caches[0].sweep_seconds < 5
    check(redis, place, expected)


def test_in_pieces(server, redis, scene):
    """Replies that arrive a few bytes at a time are put together."""
    with SlowProxy(server.port, most=60) as proxy:
        place, expected = scene(proxy)
        report = place.run(limits=Limits(latency=None), page=100)
    assert report.exit_code == Exit.OK
    assert counted(report) == {"rotated": NAMES}
    check(redis, place, expected)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cut_in_the_middle_of_replies(server, redis, scene, seed):
    """After each cut the scan goes on at the same cursor, and every name counts once."""
    random = Random(seed)
    with SlowProxy(server.port, delay=0.002, most=2000, seed=seed) as proxy:
        place, expected = scene(proxy)

        def cut(phase, page):
            if phase == "rotating" and page in {2, 5, 9}:
                proxy.cut_after(random.randrange(1, 20_000))

        report = place.run(on_page=cut, page=50, limits=Limits(latency=None))
        cuts = proxy.cuts
    assert cuts >= 2
    assert report.exit_code == Exit.OK
    cache = report.caches[0]
    assert cache.coverage.restarts == 0  # the same process: its cursor still holds
    assert cache.visits == NAMES
    assert sum(cache.outcomes.values()) == NAMES
    # What was written and never answered is met again, as current.
    assert set(counted(report)) <= {"rotated", "current"}
    check(redis, place, expected)


def test_cut_while_an_application_writes(server, redis, scene):
    """Nothing that the application wrote meanwhile is lost, or comes back."""
    random = Random(4)
    with SlowProxy(server.port, delay=0.002, most=5000) as proxy:
        place, expected = scene(proxy)

        def cut(phase, page):
            if phase == "rotating" and page % 4 == 0 and page < 20:
                proxy.cut_after(random.randrange(1, 20_000))

        with Rival(lambda: plain(server), place.cache, expected) as rival:
            place.run(on_page=cut, page=50, limits=Limits(latency=None))
        # What changed at every try is for this one.
        assert place.run(limits=Limits(latency=None)).exit_code == Exit.OK
    assert rival.writes > 100
    wanted = rival.expected
    judge(place.cache, dict(zip(wanted, entries_of(redis, wanted), strict=True)), wanted)


def test_cut_at_the_very_end(server, redis, scene):
    """A connection that breaks when all is read does not undo it."""
    with SlowProxy(server.port) as proxy:
        place, expected = scene(proxy)

        def cut(phase, page):
            if phase == "verifying" and page == 1:
                proxy.cut_after(1)

        report = place.run(on_page=cut, limits=Limits(latency=None), page=200)
        assert proxy.cuts == 1
    assert report.exit_code == Exit.OK
    assert report.caches[0].verification.found_under_old_keys == 0
    check(redis, place, expected)
