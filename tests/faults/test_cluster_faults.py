"""
Clusters that change while they are swept: slots move, nodes join, moves are broken off.

In every case nothing is lost, no verdict is better than it may be, and one more run on the cluster
when it is at rest brings every value under the current key.
"""

import pytest

from cluster.local_cluster import LocalCluster, Move, ask
from rotator.demo.local_server import find_binary
from rotator.errors import Exit
from rotator.server.cluster_nodes import SLOTS
from rotator.server.context import CacheContext
from rotator.server.store import Store
from support.caches import Cache, Place, wait_for
from support.clusters import (
    FAST,
    Rival,
    Router,
    calls,
    check,
    fill,
    flush,
    grown,
    made,
    once,
    owners,
    remaining,
    store,
    tagged,
    verdicts,
)
from support.programs import version_of
from support.server_versions import hides, knows, since

NAMES = 600
MOVED = 4  # slots that change hands
TAGGED = 50  # names in each of them


@pytest.fixture(scope="module")
def shared():
    """Three primaries; tests that leave a move open close it again."""
    with LocalCluster(3, 0) as running:
        yield running


@pytest.fixture
def three(shared):
    """The three of them, empty and at rest."""
    yield shared
    for node in shared.primaries:
        for mark in shared.member(node).moving:
            ask(node, "CLUSTER", "SETSLOT", mark[1:].partition("-")[0], "STABLE")
    flush(shared)
    shared.settle()


class Scene:
    """
    A cluster with values, of which some are in slots that will move from the last node swept.

    *first* is swept first, *last* last; *moving* are slots of *last* that hold names.
    """

    def __init__(self, cluster, folder):
        self.cluster = cluster
        self.order = cluster.primaries[:3]
        self.first, self.middle, self.last = self.order
        self.place = Place(folder, Cache(*(node.address for node in self.order)))
        homes = owners(cluster)
        self.moving = [slot for slot in range(SLOTS) if homes[slot] is self.last][:MOVED]
        names = [name for slot in self.moving for name in tagged(slot, TAGGED)]
        self.expected = fill(cluster, self.place.cache, NAMES, prefix="all")
        self.expected |= store(cluster, made(self.place.cache, names, 2))

    def run(self, act, *, when=None, **settings):
        """A run in which something happens when the first node is done and the last not begun."""
        settings = {"workers": 1, "page": 40, **FAST, **settings}
        with once(when or grown(self.middle), act) as on_page:
            report = self.place.run(on_page=on_page, **settings)
        return self.judge(report)

    def judge(self, report):
        """What must hold of every report, whatever happened."""
        left = remaining(self.cluster, self.place.cache)
        if report.caches[0].complete:
            assert left == 0
        else:
            assert report.exit_code == Exit.FAILED
            assert verdicts(report) == {"unknown"}
            assert report.caches[0].coverage.not_looked_at
        return report

    def finish(self):
        """One more run, of a cluster at rest: it is complete, and everything is as it should be."""
        report = self.place.run(workers=1, **FAST)
        assert report.exit_code == Exit.OK
        assert report.caches[0].complete
        assert report.caches[0].coverage.slots_covered == SLOTS
        assert remaining(self.cluster, self.place.cache) == 0
        check(self.cluster, self.place.cache, self.expected, moved=self.moving)
        return report

    def move(self, how=Move.FINISHED, source=None, target=None, slots=None):
        """Move slots, from the last node to the first unless said otherwise."""
        ends = (source or self.last, target or self.first)
        self.moved = self.cluster.move_slots(*ends, slots or self.moving, how)

    def move_at_once(self):
        """Move the slots as Valkey 9 and Redis 8.4 do: all names and the ownership in one step."""
        target = self.cluster.member(self.first).id
        first, last = self.moving[0], self.moving[-1]
        with self.first.client() as client:
            imports = hides(client)
        if imports:
            ask(self.first, "CLUSTER", "MIGRATION", "IMPORT", first, last)
        else:
            ask(self.last, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", target)
        wait_for(lambda: owners(self.cluster).get(last) is self.first)  # for a moment nobody is
        self.cluster.settle()


@pytest.fixture
def scene(three, tmp_path):
    """Such a cluster."""
    return Scene(three, tmp_path)


def ways_to_move():
    """How slots can be moved on the server at hand; at once from Valkey 9 and Redis 8.4 on."""
    kind, version = version_of(find_binary())
    since = {"redis": (8, 4), "valkey": (9,)}.get(kind)
    return ["move", *(["move_at_once"] if since and version >= since else [])]


class TestMovedSlots:
    """Slots that move from a node not yet swept to one that was."""

    @pytest.mark.parametrize("way", ways_to_move())
    def test_are_swept_at_their_new_owner(self, scene, way):
        """The new owner and the old one are swept again, and no value is missed."""
        report = scene.run(getattr(scene, way))
        assert report.exit_code == Exit.OK
        coverage = report.caches[0].coverage
        assert coverage.topology_changed
        assert coverage.restarts >= 1
        assert owners(scene.cluster)[scene.moving[0]] is scene.first
        scene.finish()

    def test_there_and_back(self, scene):
        """Slots that come back are noticed too: every move leaves a trace."""

        def act():
            scene.move()
            scene.move(source=scene.first, target=scene.last)

        report = scene.run(act)
        assert report.exit_code == Exit.OK
        assert report.caches[0].coverage.restarts >= 1
        scene.finish()

    def test_while_an_application_writes(self, scene):
        """The same with a writer that follows the moves."""
        router = Router(scene.cluster)
        with Rival(lambda: router, scene.place.cache, scene.expected) as rival:
            scene.run(scene.move)
        scene.expected = rival.expected
        assert rival.failures == 0
        scene.finish()

    def test_without_end(self, scene):
        """Where slots never rest the sweep gives up, and says which node, slots and why."""
        ends = [(scene.last, scene.first), (scene.first, scene.last)]

        def on_page(_phase, page):
            if page % 5 == 0:
                source, target = ends[page // 5 % 2]
                if owners(scene.cluster).get(scene.moving[0]) is source:
                    scene.move(source=source, target=target, slots=scene.moving[:2])

        report = scene.place.run(on_page=on_page, workers=1, page=40, **FAST)
        assert report.exit_code == Exit.FAILED
        missing = report.caches[0].coverage.not_looked_at
        assert any("was not swept to the end" in one and "slots" in one for one in missing)
        assert any("its place in the cluster changed" in one for one in missing)
        assert max(node.restarts for node in report.caches[0].coverage.nodes) == 3
        assert verdicts(report) == {"unknown"}
        scene.cluster.settle()
        scene.finish()


class TestJoinedNode:
    """A node that was not there when the sweep began."""

    def test_with_slots(self, tmp_path):
        """It is found and swept, although it is not configured."""
        with LocalCluster(3, 0) as cluster:
            scene = Scene(cluster, tmp_path)

            def act():
                scene.new = cluster.add_node()
                scene.move(target=scene.new)

            report = scene.run(act)
            assert report.exit_code == Exit.OK
            assert scene.new.address in {n.node for n in report.caches[0].coverage.nodes}
            assert any(scene.new.address in one for one in report.caches[0].warnings)
            scene.finish()

    def test_with_names_before_slots(self, tmp_path):
        """Names on a node that owns no slot yet are rotated there, and the sweep is incomplete."""
        with LocalCluster(3, 0) as cluster:
            scene = Scene(cluster, tmp_path)

            def act():
                scene.new = cluster.add_node()
                scene.move(Move.OPEN, target=scene.new)

            report = scene.run(act)
            assert report.exit_code == Exit.FAILED
            assert remaining(cluster, scene.place.cache) == 0
            missing = report.caches[0].coverage.not_looked_at
            assert any(scene.new.address in one and "being moved" in one for one in missing)
            scene.move(target=scene.new)
            scene.finish()


class TestOpenMove:
    """Slots that are half here and half there."""

    def test_in_the_middle(self, scene):
        """Names on both sides are rotated; the sweep is incomplete until the move has ended."""
        report = scene.run(lambda: scene.move(Move.HALF))
        assert report.exit_code == Exit.FAILED
        missing = report.caches[0].coverage.not_looked_at
        assert any("slots are being moved" in one for one in missing)
        assert remaining(scene.cluster, scene.place.cache) == 0
        scene.move()
        scene.finish()

    @pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "run"])
    def test_from_the_start(self, scene, dry_run):
        """A move that was open before is no reason to do nothing: all that is there is visited."""
        scene.move(Move.HALF)
        report = scene.place.run(workers=1, page=40, dry_run=dry_run, **FAST)
        assert report.exit_code == Exit.FAILED
        assert verdicts(report) == {"in-use" if dry_run else "unknown"}
        outcomes = report.caches[0].outcomes
        assert outcomes["would_rotate" if dry_run else "rotated"] == len(scene.expected)
        assert outcomes["failed"] == 0
        # Their expiries were read with ASKING too.
        ttls = sum(at_ms != -1 for _, at_ms in scene.expected.values())
        keys = [key for key in report.caches[0].keys if key.role == "old"]
        assert sum(k.remaining for k in keys) == (len(scene.expected) if dry_run else 0)
        without = sum(key.remaining_without_ttl for key in keys)
        assert without == (len(scene.expected) - ttls if dry_run else 0)
        scene.move()
        scene.finish()

    def test_names_leave_while_they_are_visited(self, scene):
        """A name that was moved since SCAN gave it is followed by ASK, and rotated there."""
        moved = []

        class Late(Store):
            def start_read(self, names):
                if self.node == scene.last.address and not moved:
                    moved.extend(names)
                    scene.move(Move.OPEN)
                return super().start_read(names)

        class LateAccess(CacheContext):
            def connect(self, address):
                return Late(super().connect(address).connection)

        report = scene.judge(scene.place.run(workers=1, page=40, kind=LateAccess, **FAST))
        assert moved
        assert report.exit_code == Exit.FAILED
        assert remaining(scene.cluster, scene.place.cache) == 0
        scene.move()
        scene.finish()

    def test_dry_run_writes_nothing(self, scene):
        """Looking at names on the move sends nothing that writes."""
        scene.move(Move.HALF)
        before = [calls(node, "set") for node in scene.order]
        scene.place.run(dry_run=True, workers=1, **FAST)
        assert [calls(node, "set") for node in scene.order] == before
        assert not any(calls(node, "evalsha") for node in scene.order)


class TestBrokenOffMove:
    """A move that was called off halfway."""

    def test_orphans(self, scene):
        """Names on a node that does not own their slot are counted, and none is taken for done."""
        report = scene.run(lambda: scene.move(Move.ABORTED))
        assert report.exit_code == Exit.FAILED
        coverage = report.caches[0].coverage
        assert coverage.orphans == scene.moved
        [sentence] = [one for one in coverage.not_looked_at if "does not own" in one]
        assert scene.first.address in sentence
        assert f"{coverage.orphans} names" in sentence
        with scene.first.client() as client:
            seen = 0 if hides(client) else coverage.orphans
        assert remaining(scene.cluster, scene.place.cache) == seen
        scene.move()  # the operator ends what was begun
        scene.finish()

    def test_before_the_sweep(self, scene):
        """Orphans of long ago are found as well, though nothing else tells of them."""
        scene.move(Move.ABORTED)
        report = scene.place.run(workers=1, **FAST)
        assert report.exit_code == Exit.FAILED
        assert report.caches[0].coverage.orphans == scene.moved
        with scene.first.client() as client:
            seen = 0 if hides(client) else scene.moved
        assert report.caches[0].outcomes["failed"] == seen
        assert verdicts(report) == {"unknown"}
        scene.move()
        scene.finish()

    def test_brought_home(self, scene):
        """The way home that the documentation describes: import, migrate, stable."""
        scene.move(Move.ABORTED)
        owner, holder = scene.last, scene.first
        for slot in scene.moving:
            ask(holder, "CLUSTER", "SETSLOT", slot, "IMPORTING", scene.cluster.member(owner).id)
            names = ask(holder, "CLUSTER", "GETKEYSINSLOT", slot, 1000)
            ask(holder, "MIGRATE", "127.0.0.1", owner.port, "", 0, 5000, "KEYS", *names)
            ask(holder, "CLUSTER", "SETSLOT", slot, "STABLE")
        report = scene.finish()
        assert report.caches[0].coverage.orphans == 0


class TestMovedValues:
    """Values that take another name while the cluster is swept."""

    @pytest.fixture
    def tagged_names(self, scene):
        """Names of one slot of the first node, with values that are not bound to their names."""
        homes = owners(scene.cluster)
        slot = next(slot for slot in range(SLOTS) if homes[slot] is scene.first)
        names = tagged(slot, 60, prefix="here")
        scene.expected |= store(scene.cluster, made(scene.place.cache, names, 3, ["gcm"]))
        return names

    @pytest.mark.parametrize("command", ["rename", "copy"])
    def test_in_a_node_that_is_in_hand(self, scene, tagged_names, command):
        """What goes where the scan has been already is looked at again."""
        with scene.first.client() as client:
            if not knows(client, command):
                assert (command, since(client, 6, 2)) == ("copy", False)
                return

        def act():
            with scene.first.client() as client:
                for name in tagged_names:
                    other = name + b":moved"
                    getattr(client, command)(name, other)
                    scene.expected[other] = scene.expected[name]
                    if command == "rename":
                        scene.expected[name] = None

        report = scene.run(act, when=lambda page: page >= 3)
        assert report.exit_code == Exit.OK
        check(scene.cluster, scene.place.cache, scene.expected)

    def test_in_a_node_that_is_done(self, scene, tagged_names):
        """What a node did with values that were all seen is no reason to sweep it again."""

        def act():
            with scene.first.client() as client:
                for name in tagged_names:
                    client.rename(name, name + b":moved")
                    scene.expected[name + b":moved"] = scene.expected[name]
                    scene.expected[name] = None

        report = scene.run(act)
        assert report.exit_code == Exit.OK
        assert report.caches[0].coverage.restarts == 0
        check(scene.cluster, scene.place.cache, scene.expected)

    def test_restored_on_a_node_that_is_done(self, scene, tagged_names):
        """What RESTORE brings may come from anywhere: the node is swept again."""
        with scene.first.client() as client:
            dumped = {name: client.dump(name) for name in tagged_names}

        def act():
            with scene.first.client() as client:
                for name, dump in dumped.items():
                    client.restore(name + b":again", 0, dump)
                    scene.expected[name + b":again"] = (scene.expected[name][0], -1)

        report = scene.run(act)
        assert report.exit_code == Exit.OK
        assert report.caches[0].coverage.restarts >= 1
        check(scene.cluster, scene.place.cache, scene.expected)
