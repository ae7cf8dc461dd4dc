"""Nodes that die or change places while they are swept: found again and swept anew, or missed."""

import socket
import threading
from contextlib import suppress

import pytest
from redis.crc import key_slot

from cluster.expiries import entries_of
from cluster.local_cluster import LocalCluster
from rotator.demo.local_server import LocalServer
from rotator.errors import Exit
from rotator.run import surroundings
from rotator.server.cluster_nodes import SLOTS
from support.caches import Cache, Place, wait_for
from support.clusters import FAST, at_page, check, fill, flush, grown, judge, once, owners, verdicts

NAMES = 600
SHORT = ["--cluster-node-timeout", "1000"]


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Replicas that are gone are not waited for at the end: that is tested elsewhere."""
    monkeypatch.setattr(surroundings, "_CATCH_UP_SECONDS", 0.2)


@pytest.fixture(scope="module")
def shared():
    """Three primaries with a replica each, quick to notice that one is gone."""
    with LocalCluster(3, 1, SHORT) as running:
        yield running


@pytest.fixture
def pairs(shared):
    """All of them, empty; nodes that a test has killed come back as replicas."""
    yield shared
    for node in shared.nodes:
        if not node.running:
            node.start()
    shared.settle()
    flush(shared)
    shared.settle()


@pytest.fixture
def scene(pairs, tmp_path):
    """A filled cluster, of which only the primaries are configured."""
    return Scene(pairs, tmp_path)


class Scene:
    """A cluster with values that its replicas have too, swept node by node in a known order."""

    def __init__(self, cluster, folder, *configured):
        self.cluster = cluster
        self.order = cluster.primaries
        addresses = [node.address for node in configured or self.order]
        self.place = Place(folder, Cache(*addresses))
        self.expected = fill(cluster, self.place.cache, NAMES)
        wait_for(lambda: all(in_step(node) for node in self.order))

    def replica_of(self, primary):
        """A replica of a primary."""
        wanted = self.cluster.member(primary).id
        return next(n for n in self.cluster.replicas if self.cluster.member(n).primary_id == wanted)

    def run(self, act, when, **settings):
        """A run during which something happens."""
        with once(when, act) as on_page:
            settings = {"workers": 1, "page": 40, **FAST, **settings}
            return self.place.run(on_page=on_page, **settings)

    def finish(self):
        """One more run: complete, and everything as it should be."""
        report = self.place.run(workers=1, **FAST)
        assert report.exit_code == Exit.OK
        check(self.cluster, self.place.cache, self.expected)
        return report


def in_step(node):
    """Whether every replica of a node has all that it wrote."""
    with node.client() as client:
        info = client.info("replication")
    replicas = [info[f"slave{index}"] for index in range(info["connected_slaves"])]
    return all(replica["offset"] >= info["master_repl_offset"] for replica in replicas)


class TestFailoverByHand:
    """`CLUSTER FAILOVER`: a replica and its primary change places."""

    @pytest.mark.parametrize("index", [0, 1, 2], ids=["done", "in hand", "not begun"])
    def test_in_mid_sweep(self, scene, index):
        """The new primary is swept, whenever it happens: its values count, nothing is missed."""
        old = scene.order[index]
        new = scene.replica_of(old)
        report = scene.run(lambda: scene.cluster.failover(new), grown(scene.order[1]))
        assert report.exit_code == Exit.OK
        coverage = report.caches[0].coverage
        assert coverage.topology_changed
        assert coverage.slots_covered == SLOTS
        assert new.address in {node.node for node in coverage.nodes if node.complete}
        check(scene.cluster, scene.place.cache, scene.expected)
        assert verdicts(report) <= {"verifying", "held"}

    def test_with_several_workers(self, scene):
        """The same with a process for each node."""
        old = scene.order[0]
        new = scene.replica_of(old)
        report = scene.run(
            lambda: scene.cluster.failover(new), lambda page: page > 2, workers=3, page=20
        )
        assert report.exit_code == Exit.OK
        check(scene.cluster, scene.place.cache, scene.expected)

    def test_and_back(self, scene):
        """Two failovers bring the same process back, and it is swept again all the same."""
        old = scene.order[0]
        new = scene.replica_of(old)

        def act():
            scene.cluster.failover(new)
            scene.cluster.failover(old)

        report = scene.run(act, grown(scene.order[1]))
        assert report.exit_code == Exit.OK
        assert report.caches[0].coverage.restarts >= 1
        check(scene.cluster, scene.place.cache, scene.expected)


class TestDeath:
    """kill -9 of a primary."""

    @pytest.mark.parametrize("index", [0, 1, 2], ids=["done", "in hand", "not begun"])
    def test_with_a_replica(self, scene, index):
        """The replica that takes over is found and swept anew; nothing is missed."""
        old = scene.order[index]
        new = scene.replica_of(old)
        report = scene.run(lambda: scene.cluster.kill(old), grown(scene.order[1]))
        assert report.exit_code == Exit.OK
        coverage = report.caches[0].coverage
        assert coverage.slots_covered == SLOTS
        assert coverage.not_looked_at == ()
        assert new.address in {node.node for node in coverage.nodes if node.complete}
        check(scene.cluster, scene.place.cache, scene.expected)

    def test_with_several_workers(self, scene):
        """The same with a process for each node."""
        report = scene.run(
            lambda: scene.cluster.kill(scene.order[0]),
            lambda page: page > 2,
            workers=3,
            page=20,
        )
        assert report.exit_code == Exit.OK
        check(scene.cluster, scene.place.cache, scene.expected)

    def test_of_the_only_node_that_is_configured(self, pairs, tmp_path):
        """The others, known from before, tell who took over."""
        scene = Scene(pairs, tmp_path, pairs.primaries[0])
        report = scene.run(lambda: pairs.kill(scene.order[0]), grown(scene.order[0]))
        assert report.exit_code == Exit.OK
        check(pairs, scene.place.cache, scene.expected)

    def test_without_a_replica(self, tmp_path):
        """All else is done, the sweep is incomplete, and the report says what is missing."""
        options = [*SHORT, "--cluster-require-full-coverage", "no", "--appendonly", "yes"]
        with LocalCluster(3, 0, options) as cluster:
            scene = Scene(cluster, tmp_path)
            lost = scene.order[1]
            [(first, last)] = cluster.member(lost).slots
            homes = owners(cluster)
            report = scene.run(lambda: cluster.kill(lost), grown(lost), patience=2.0)
            assert report.exit_code == Exit.FAILED
            found = report.caches[0]
            assert not found.complete
            assert verdicts(report) == {"unknown"}
            [missing] = found.coverage.not_looked_at
            assert lost.address in missing
            assert f"{first}-{last}" in missing
            assert found.coverage.slots_covered == SLOTS - (last - first + 1)
            reached = {
                name: entry
                for name, entry in scene.expected.items()
                if homes[key_slot(name)] is not lost
            }
            assert len(reached) > NAMES / 2
            check(cluster, scene.place.cache, reached)
            lost.start()
            cluster.settle()
            scene.finish()

    def test_before_the_run(self, tmp_path):
        """A cluster that is not whole to begin with is not touched."""
        with LocalCluster(3, 0, SHORT) as cluster:
            scene = Scene(cluster, tmp_path)
            cluster.kill(scene.order[1])
            before = stored(scene.order[0])
            with pytest.raises(Exception, match="the cluster is not whole") as caught:
                scene.place.run(patience=0.5)
            assert caught.value.exit_code == Exit.FAILED
            assert stored(scene.order[0]) == before


def stored(node):
    """All that a node holds."""
    with node.client() as client:
        return {name: client.get(name) for name in client.scan_iter(count=1000)}


class Forwarder:
    """One address in front of several servers, as a load balancer or a service name is."""

    def __init__(self, target):
        self.target = target
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self):
        """Where clients connect to."""
        return f"127.0.0.1:{self.port}"

    def lead_to(self, target, *, cut=True):
        """New connections go to another server; those that are open end, unless *cut* is False."""
        self.target = target
        if cut:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self):
        """End it."""
        self._listener.close()
        self.lead_to(None)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target.port))
            except (OSError, AttributeError):
                if self.target is None:
                    return
                client.close()
                continue
            self._open += [client, server]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass(source, target):
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class TestSingleServer:
    """A server and its replica behind one address; there is no cluster to ask."""

    @pytest.fixture
    def pair(self):
        """A primary and a replica."""
        with LocalServer() as primary, LocalServer(replica_of=primary) as replica:
            yield primary, replica

    @pytest.fixture
    def front(self, pair):
        """The address that leads to the primary."""
        forwarder = Forwarder(pair[0])
        yield forwarder
        forwarder.close()

    @pytest.fixture
    def scene(self, pair, front, tmp_path):
        """A configuration of the address, and values that both servers have."""
        place = Place(tmp_path, Cache(front.address))
        names = {f"app:{index:06d}": b"plain %d" % index for index in range(NAMES)}
        with pair[0].client() as client:
            for name, plaintext in names.items():
                place.cache.put(client, name, plaintext)
        wait_for(lambda: in_step(pair[0]))
        return place, {name.encode(): (plain, -1) for name, plain in names.items()}

    def check(self, server, place, expected):
        """All is on a server as it should be."""
        with server.client() as client:
            found = dict(zip(expected, entries_of(client, expected), strict=True))
        judge(place.cache, found, expected)

    def test_primary_dies(self, pair, front, scene):
        """The client reconnects to the promoted replica; the sweep begins again there."""
        primary, replica = pair
        place, expected = scene

        def act():
            primary.stop()
            promote(replica)
            front.lead_to(replica)

        with at_page(8, act) as on_page:
            report = place.run(on_page=on_page, page=20, patience=5.0)
        assert report.exit_code == Exit.OK
        coverage = report.caches[0].coverage
        assert coverage.restarts >= 1
        self.check(replica, place, expected)

    def test_promoted_a_moment_later(self, pair, front, scene):
        """A replica that is reached before it is promoted is waited for."""
        primary, replica = pair
        place, expected = scene
        later = threading.Timer(0.5, promote, [replica])

        def act():
            primary.stop()
            front.lead_to(replica)
            later.start()

        with at_page(8, act) as on_page:
            report = place.run(on_page=on_page, page=20, patience=5.0)
        later.join()
        assert report.exit_code == Exit.OK
        self.check(replica, place, expected)

    def test_never_promoted(self, pair, front, scene):
        """Without a primary the sweep is incomplete, and not a word is said of being done."""
        primary, replica = pair
        place, _ = scene

        def act():
            primary.stop()
            front.lead_to(replica)

        with at_page(8, act) as on_page:
            report = place.run(on_page=on_page, page=20, patience=1.0)
        assert report.exit_code == Exit.FAILED
        assert not report.caches[0].complete
        assert verdicts(report) == {"unknown"}
        assert any("is a replica of" in one for one in report.caches[0].coverage.not_looked_at)

    def test_demoted_on_the_same_connection(self, pair, front, scene):
        """A primary that is made a replica goes on answering SCAN; that is not believed."""
        primary, replica = pair
        place, expected = scene

        def act():
            promote(replica)
            with primary.client() as client:
                client.replicaof("127.0.0.1", replica.port)
            front.lead_to(replica, cut=False)

        with at_page(8, act) as on_page:
            report = place.run(on_page=on_page, page=20, patience=5.0)
        # What the new primary has was swept there, or the sweep says that it was not.
        if report.exit_code == Exit.OK:
            self.check(replica, place, expected)
        else:
            assert verdicts(report) == {"unknown"}
        report = place.run(patience=5.0)
        assert report.exit_code == Exit.OK
        self.check(replica, place, expected)

    def test_restart_of_the_same_server(self, tmp_path):
        """A server that comes back with its data is another process: its scan begins anew."""
        with LocalServer("--appendonly", "yes", "--appendfsync", "always") as server:
            place = Place(tmp_path, Cache(server.address))
            expected = {}
            with server.client() as client:
                for index in range(NAMES):
                    place.cache.put(client, f"app:{index}", b"x")
                    expected[f"app:{index}".encode()] = (b"x", -1)

            def act():
                server.stop()
                server.start()

            with at_page(8, act) as on_page:
                report = place.run(on_page=on_page, page=20, patience=5.0)
            assert report.exit_code == Exit.OK
            assert report.caches[0].coverage.restarts == 1
            self.check(server, place, expected)


def promote(replica):
    """Make a replica the primary."""
    with replica.client() as client:
        client.replicaof("NO", "ONE")
