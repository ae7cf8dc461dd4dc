"""One node swept by several workers: the same comes out as with one, and the proof is undivided."""

import multiprocessing
import os
import signal
import time
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from rotator.errors import Exit
from rotator.server.replies import SetResult
from rotator.server.scripts import Replacement
from rotator.server.store import Store
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.division import WHOLE, divide
from rotator.sweep.node.lanes import Lanes
from rotator.sweep.scope import Limits
from support.caches import Cache, Place, StopAfter, contents, counted, fill, store_of

pytestmark = pytest.mark.faults

NAMES = 6_000
FULL = Limits(latency=None)


@pytest.fixture
def filled(server, redis, tmp_path):
    """A place with values on the session's empty server; the values, as `check` expects them."""
    place = Place(tmp_path, Cache(server.address))
    return place, fill(redis, place.cache, NAMES)


class OnDemand(StopSignal):
    """A wish to stop that comes when it is *wanted*."""

    wanted = False

    def reason(self):
        """The wish, or None."""
        return Stop.TERMINATED if self.wanted else None


def parts_of(redis, count):
    """The parts that a node of this kind has."""
    info = redis.info("server") | redis.info("cluster")
    return divide({name: str(value) for name, value in info.items()}, count, ())


def lanes_of(lines):
    """How many workers swept the node, as the log has it, sweep by sweep."""
    return [line["lanes"] for line in lines if line["event"] == "node swept"]


def check(redis, cache, entries):
    """Every value is under the current key, with its plaintext, its expiry and its format."""
    held = contents(redis)
    assert held.keys() == entries.keys()
    for name, (plaintext, _, form, at_ms) in entries.items():
        value, expires_at = held[name]
        opened = cache.open(name, value)
        assert (opened.plaintext, opened.format.name) == (plaintext, form)
        assert (opened.key.id, expires_at) == (cache.ids[0], at_ms)


@pytest.mark.usefixtures("cursors")
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_rotates_all(filled, redis, workers):
    """Everything is rotated once, whoever does it, and the verifying sweep is made in one go."""
    place, entries = filled
    lanes = len(parts_of(redis, workers))
    with capture_logs() as lines:
        report = place.run(workers=workers, limits=FULL, quiet=timedelta(0))
    [cache] = report.caches
    assert cache.outcomes["rotated"] == NAMES
    assert lanes_of(lines) == [lanes, 1]
    # The last page of a part reaches into the next one.
    assert NAMES <= cache.visits < 2 * NAMES
    assert (cache.complete, cache.coverage.nodes[0].complete) == (True, True)
    assert (cache.verification.visits, cache.verification.found_under_old_keys) == (NAMES, 0)
    assert cache.coverage.nodes[0].proven
    check(redis, place.cache, entries)


def test_nothing_to_do(filled):
    """Where no old key is met one sweep is enough: it is undivided, and the proof at once."""
    place, _ = filled
    place.run(workers=1, limits=FULL)
    with capture_logs() as lines:
        report = place.run(workers=4, limits=FULL)
    assert lanes_of(lines) == [1]
    assert report.caches[0].verification is None
    assert report.caches[0].coverage.nodes[0].proven


@pytest.mark.usefixtures("cursors")
@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1)])
def test_stopped_and_gone_on_from(filled, redis, before, after):
    """A stopped run is gone on from in the parts that it had, by however many workers."""
    place, entries = filled
    stopper = OnDemand()

    def on_page(_phase, page):
        stopper.wanted |= page == 5

    # At this rate it would take three seconds, so that the wish to stop comes in time.
    slow = Limits(rate=NAMES / 3, latency=None)
    first = place.run(workers=before, limits=slow, page=40, stopper=stopper, on_page=on_page)
    assert first.exit_code == Exit.TERMINATED
    done = first.caches[0].outcomes["rotated"]
    assert done < NAMES
    with capture_logs() as lines:
        report = place.run(workers=after, limits=FULL)
    assert lanes_of(lines)[0] == len(parts_of(redis, before))
    assert report.caches[0].complete
    assert counted(report)["rotated"] == NAMES
    check(redis, place.cache, entries)


def test_a_worker_is_killed(filled, redis):
    """A worker that dies takes nothing with it: its part is gone on with by another."""
    place, entries = filled
    killed = []

    def on_page(phase, page):
        if (phase, page) == ("rotating", 5):
            killed.extend(child.pid for child in multiprocessing.active_children()[:1])
            os.kill(killed[0], signal.SIGKILL)

    report = place.run(workers=4, limits=FULL, page=40, on_page=on_page)
    assert killed
    assert (report.exit_code, report.caches[0].complete) == (Exit.OK, True)
    check(redis, place.cache, entries)


def test_the_connections_of_a_worker_are_cut(filled, redis):
    """A lost connection is opened again in each lane; nothing is lost, or rotated twice."""
    place, entries = filled

    def on_page(phase, page):
        if phase == "rotating" and page in {5, 9}:
            redis.client_kill_filter(_type="normal", skipme=True)

    report = place.run(workers=2, limits=FULL, page=40, on_page=on_page)
    # What was rewritten, and the answer was lost with the connection, is current the second time.
    outcomes = counted(report)
    assert outcomes["rotated"] <= NAMES <= outcomes["rotated"] + outcomes.get("current", 0)
    assert report.caches[0].complete
    check(redis, place.cache, entries)


def test_one_rate_for_all(filled):
    """A rate is that of all workers of a node together."""
    place, _ = filled
    rate = 4_000.0
    began = time.monotonic()
    report = place.run(workers=4, limits=Limits(rate=rate, latency=None), page=40, verify=False)
    took = time.monotonic() - began
    visits = report.caches[0].visits
    assert visits / took < rate
    assert report.caches[0].waited_seconds["rate"] > 0


def test_a_pause_file_holds_all(filled):
    """While the pause file is there no worker does anything, and the wish to stop is heard."""
    place, _ = filled
    pause = place.folder / "pause"
    pause.touch()
    limits = Limits(latency=None, pause_file=str(pause))
    report = place.run(workers=4, limits=limits, stopper=StopAfter(20))
    assert report.exit_code == Exit.INTERRUPTED
    assert counted(report) == {}


def test_of_what_was_not_tried():
    """A server that nobody tried, or that does not say what it is, is not divided."""
    known = {"redis_version": "7.0.15", "cluster_enabled": "0"}
    assert len(divide(known, 4, ())) == 4
    for other in (
        {"redis_version": "99.0.0", "cluster_enabled": "0"},
        {"redis_version": "7.0.15", "valkey_version": "99.0.0", "cluster_enabled": "0"},
        {"redis_version": "7.0.15"},
        known | {"dragonfly_version": "1.30.0"},
        {"cluster_enabled": "0"},
        {"redis_version": "7.0.15", "cluster_enabled": "1"},
    ):
        assert divide(other, 4, ()) == (WHOLE,)


class TestGroups:
    """The groups that are watched in turn, on two connections."""

    @pytest.fixture
    def lanes(self, server, redis):
        """Two lanes and the main connection; ten entries."""
        redis.mset({f"name:{number}": number for number in range(10)})
        stores = [store_of(server) for _ in range(3)]
        for store in stores:
            store.clustered = False
        yield Lanes(stores[0], stores[1:])
        for store in stores:
            store.connection.close()

    def visit(self, lanes, names, following=()):
        """The names and values of the groups, none of which is written to."""
        found = []
        for group in lanes.groups(names, following):
            here, values = group.entries()
            found.append((list(here), values))
            group.replace([])
        return found

    def test_values(self, lanes, redis):
        """Every name comes once with its value, whatever it is."""
        redis.rpush("list", "x")
        names = [b"name:1", b"list", b"gone"]
        [(asked, values)] = self.visit(lanes, names)
        assert (asked, values) == (names, lanes.main.read(names))

    def test_the_same_name_twice(self, lanes):
        """A name that is there twice comes in two groups."""
        groups = self.visit(lanes, [b"name:1", b"name:2", b"name:1"])
        assert [names for names, _ in groups] == [[b"name:1", b"name:2"], [b"name:1"]]

    def test_another_page_than_was_announced(self, lanes):
        """Names that were asked for beforehand and do not come next are let go of."""
        self.visit(lanes, [b"name:1"], following=[b"name:2", b"name:3"])
        assert self.visit(lanes, [b"name:4"]) == [([b"name:4"], [b"4"])]
        assert self.visit(lanes, [b"name:2"]) == [([b"name:2"], [b"2"])]

    def test_the_next_page(self, lanes, monkeypatch):
        """The names of the next page are asked for once, before it is its turn."""
        begun = []
        begin = Store.begin
        monkeypatch.setattr(Store, "begin", lambda *args: begun.append(args[1]) or begin(*args))
        self.visit(lanes, [b"name:1"], following=[b"name:2"])
        assert begun == [[b"name:1"], [b"name:2"]]
        self.visit(lanes, [b"name:2"])
        assert begun == [[b"name:1"], [b"name:2"]]


def test_a_large_value_comes_alone(server, redis):
    """A large value follows its group by itself, and the next page is as it would be."""
    large = b"x" * (2 << 20)
    held = {b"a": b"1", b"b": large, b"c": b"3", b"d": large, b"e": b"5"}
    redis.mset(held)
    with store_of(server) as main, store_of(server) as one, store_of(server) as other:
        lanes = Lanes(main, [one, other])
        for names, expected in (
            ([b"a", b"b", b"c", b"d"], [[b"a", b"c"], [b"b"], [b"d"]]),
            ([b"e"], [[b"e"]]),
        ):
            seen = []
            for group in lanes.groups(names, [b"e"]):
                here, values = group.entries()
                assert values == [held[name] for name in here]
                redis.set(b"c", b"3")  # the group of another name is none of its business
                swaps = [Replacement(name, held[name], held[name]) for name in here]
                changed = SetResult.CHANGED if b"c" in here else SetResult.DONE
                assert group.replace(swaps)() == [changed] * len(here)
                seen.append([*here])
            assert seen == expected
