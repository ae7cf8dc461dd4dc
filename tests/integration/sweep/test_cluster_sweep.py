"""A cluster in order, rotated: every slot, every database, every name, with the least rights."""

import pytest
from redis.crc import key_slot

from cluster.local_cluster import LocalCluster, Move, ask
from rotator.cache import Cache as CacheClient
from rotator.config.types import Address
from rotator.demo.local_server import find_binary
from rotator.errors import Exit
from rotator.server.cluster_nodes import SLOTS
from rotator.server.exchange import Exchange
from rotator.server.store import Store
from rotator.sweep.node.worker import Worker
from rotator.sweep.scope import Limits, Scope
from rotator.tally.tally import Mode
from support.caches import Cache, PageControl, Place, counted
from support.clusters import (
    FAST,
    Rival,
    Router,
    calls,
    check,
    fill,
    made,
    names_in,
    plain,
    read,
    store,
    tagged,
    verdicts,
)
from support.programs import VERSIONS, program_of, version_of

pytestmark = pytest.mark.faults


def test_many_values_and_a_writer(cluster, tmp_path):
    """30,000 values are rotated while an application writes: nothing is lost, no TTL changes."""
    place = Place(tmp_path, Cache(*cluster.addresses))
    expected = fill(cluster, place.cache, 30_000)
    with Rival(lambda: Router(cluster), place.cache, expected) as rival:
        report = place.run(**FAST)
    assert rival.writes > 1000
    assert rival.failures == 0
    check(cluster, place.cache, rival.expected)
    assert report.exit_code == Exit.OK
    [found] = report.caches
    assert found.complete
    assert found.coverage.slots_covered == SLOTS
    assert found.coverage.not_looked_at == ()
    assert found.outcomes["rotated"] > 15_000
    assert found.visits == sum(found.outcomes.values())
    assert found.verification.found_under_old_keys == 0
    assert verdicts(report) == {"verifying"}


def test_dry_run(cluster, tmp_path):
    """A dry run counts all of it, and nothing is changed on any node."""
    place = Place(tmp_path, Cache(*cluster.addresses))
    expected = fill(cluster, place.cache, 600)
    before = read(cluster, expected)
    report = place.run(dry_run=True, **FAST)
    assert counted(report) == {"would_rotate": 600}
    assert read(cluster, expected) == before
    for node in cluster.primaries:
        assert calls(node, "evalsha") == calls(node, "script|load") == 0


class TestGrouping:
    """Names of one slot go together, names of several never do."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_by_slot(self, version, tmp_path, monkeypatch):
        """Names of one slot share script calls; a page over many slots never meets CROSSSLOT."""
        monkeypatch.setattr(Exchange, "_known", lambda _: False)  # or no script would be needed
        with LocalCluster(1, 0, binary=program_of(version)) as cluster:
            place = Place(tmp_path, Cache(*cluster.addresses))
            names = tagged(7, 200) + tagged(8000, 200) + names_in(range(SLOTS), 200)
            expected = store(cluster, made(place.cache, names))
            report = place.run(**FAST)
            assert counted(report) == {"rotated": 600}
            assert report.exit_code == Exit.OK
            check(cluster, place.cache, expected)
            # 400 names in two slots need a few calls, the others one each.
            assert 200 < calls(cluster.nodes[0], "evalsha") < 300


class TestDatabases:
    """Databases of a cluster: more than one from Valkey 9 on, and only number 0 before."""

    HAS_MANY = version_of(find_binary())[0] == "valkey" and version_of(find_binary())[1] >= (9,)
    NUMBERS = (0, 1, 3) if HAS_MANY else (0,)

    def test_all_are_swept(self, tmp_path):
        """Every database that the server has is rotated."""
        options = ["--cluster-databases", "4"] if self.HAS_MANY else []
        with LocalCluster(2, 0, options) as cluster:
            place = Place(tmp_path, Cache(*cluster.addresses))
            for db in self.NUMBERS:
                for node in cluster.primaries:
                    slots = {s for a, b in cluster.member(node).slots for s in range(a, b + 1)}
                    with plain(node, db=db) as client:
                        for name in names_in(slots, 50, prefix=f"db{db}"):
                            place.cache.put(client, name)
            report = place.run(**FAST)
            assert report.exit_code == Exit.OK
            assert counted(report) == {"rotated": 100 * len(self.NUMBERS)}
            assert report.caches[0].coverage.databases == self.NUMBERS


class TestClient:
    """The cache client on slots that are being moved."""

    def test_names_on_both_sides(self, cluster, tmp_path):
        """Get, set and delete find what was moved, what was not, and what is new."""
        place = Place(tmp_path, Cache(*cluster.addresses))
        client = CacheClient(place.access(), "{slot}")
        slot = key_slot(client.stored_name("a"))
        source = cluster.owner_of(slot)
        target = next(node for node in cluster.primaries if node is not source)
        keys = [f"key {number}" for number in range(6)]
        for key in keys:
            client.set(key, key.encode())
        cluster.move_slots(source, target, [slot], Move.HALF)
        try:
            with client:
                assert [client.get(key) for key in keys] == [key.encode() for key in keys]
                for key in [*keys, "new"]:
                    client.set(key, b"written")
                assert all(client.delete(key) for key in [*keys, "new"])
                assert not client.delete("new")
        finally:
            cluster.move_slots(source, target, [slot])


def test_connections_to_other_nodes_are_closed(cluster, tmp_path):
    """A sweep that ASK has sent to another node closes the connection to that one, too."""
    place = Place(tmp_path, Cache(*cluster.addresses))
    source, target = cluster.primaries[:2]
    slot = cluster.member(source).slots[0][0]
    names = tagged(slot, 20)
    store(cluster, made(place.cache, names))
    cluster.move_slots(source, target, [slot], Move.HALF)  # and the other half later
    opened, access = [], place.access()

    class Late(Store):
        def start_read(self, here):
            ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)
            return super().start_read(here)

    def connect(address):
        opened.append(Late(access.connect(address).connection))
        return opened[-1]

    try:
        result = Worker(
            Address.parse(source.address),
            connect,
            codec=access.codec,
            scope=Scope(Mode.RUN, limits=Limits(latency=None)),
            control=PageControl(),
        ).run()
    finally:
        cluster.move_slots(source, target, [slot])
        cluster.move_slots(target, source, [slot])
    assert result.tally.outcomes["rotated"] == 10
    assert target.address in {one.node for one in opened}
    assert [one.node for one in opened if one.connection.is_open] == []


def test_only_a_replica_is_configured(cluster, tmp_path):
    """The address of one replica leads to the whole cluster."""
    [address, *_] = [node.address for node in cluster.replicas]
    place = Place(tmp_path, Cache(address))
    expected = fill(cluster, place.cache, 300)
    report = place.run(**FAST)
    assert report.exit_code == Exit.OK
    check(cluster, place.cache, expected)
    [warning] = [one for one in report.caches[0].warnings if "MOVED" in one]
    assert all(node.address in warning for node in cluster.primaries)


def test_nodes_one_after_the_other(cluster, tmp_path):
    """With one worker nodes are swept in the order of the configuration."""
    order = list(reversed(cluster.primaries))
    place = Place(tmp_path, Cache(*(node.address for node in order)))
    fill(cluster, place.cache, 300)
    report = place.run(workers=1, **FAST)
    nodes = [node.node for node in report.caches[0].coverage.nodes]
    assert nodes == [node.address for node in order]
