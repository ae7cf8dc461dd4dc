"""
What versions of servers differ in, and what comes of a run all the same.

Each test finds out what the server at hand can do and says what holds for that. More of it:
expiries and rights in test_store.py and test_acl.py, replicas in test_exchange.py, moved slots in
test_cluster_faults.py, databases of clusters in test_cluster_sweep.py, files in test_holds.py.
"""

from datetime import timedelta
from itertools import pairwise

import pytest
from redis.crc import key_slot
from redis.exceptions import ResponseError

from cluster.local_cluster import LocalCluster, Move
from rotator.demo.local_server import LocalServer, find_binary
from rotator.errors import Exit
from rotator.server.store import START
from support.caches import NO_FILES, Cache, Place, StopAfter, counted, store_of, wait_for
from support.clusters import (
    FAST,
    calls,
    check,
    fill,
    made,
    store,
    tagged,
)
from support.programs import VERSIONS, exchanges, program_of, version_of
from support.server_versions import acl, since

COUNT = 2_000
IDLE_SECONDS = 3


@pytest.fixture(scope="module")
def node():
    """A cluster of one node, so that all slots are its own."""
    with LocalCluster(1, 0) as cluster:
        yield cluster


@pytest.fixture
def filled(node, tmp_path):
    """The cluster with a cache of many values, and what is expected of them after a run."""
    with node.nodes[0].client() as client:
        client.flushall()
        client.config_resetstat()
    place = Place(tmp_path, Cache(*node.addresses))
    return place, fill(node, place.cache, COUNT)


def takes(client, *command):
    """Whether a server carries out a command, whatever its version says."""
    try:
        client.execute_command(*command)
    except ResponseError:
        return False
    return True


def has_table_for_each_slot():
    """Whether a cluster's node has one; Redis since 7.4, Valkey since 8.0, Redict since 7.3."""
    kind, version = version_of(find_binary())
    return version >= {"valkey": (8,), "redict": (7, 3)}.get(kind, (7, 4))


class TestVersion:
    """How a server is called."""

    def test_its_own(self, place, redis):
        """The report has a server's own name and version, not those it poses as."""
        place.cache.put(redis, "app:1")
        (node,) = place.run().caches[0].coverage.nodes
        kind, version = version_of(find_binary())
        assert node.version == f"{kind} {'.'.join(map(str, version))}"


class TestUse:
    """CLIENT NO-TOUCH, since Redis 7.2: what is visited does not count as just used."""

    def test_what_is_evicted_first(self, place, redis):
        """Where the server knows it the time of the last use stays; where not, that is said."""
        for number in range(20):
            place.cache.put(redis, f"app:{number}", key=number % 2)
        names = [f"app:{number}" for number in range(20)]
        wait_for(lambda: all(redis.object("idletime", name) >= IDLE_SECONDS for name in names))
        spared = takes(redis, "CLIENT", "NO-TOUCH", "OFF")
        report = place.run()
        assert counted(report) == {"rotated": 10, "current": 10}
        idle = [redis.object("idletime", name) for name in names]
        assert all((seconds >= IDLE_SECONDS) is spared for seconds in idle)
        assert any("CLIENT NO-TOUCH" in one for one in report.caches[0].warnings) is not spared

    def test_where_slots_are_moved(self, tmp_path):
        """In a cluster it is left alone where a server would crash of it, and none crashes."""
        with LocalCluster(2, 0) as cluster:
            place = Place(tmp_path, Cache(*cluster.addresses))
            source, target = cluster.primaries
            slot = cluster.member(source).slots[0][0]
            store(cluster, made(place.cache, tagged(slot, 40)))
            cluster.move_slots(source, target, [slot], Move.HALF)
            report = place.run(**FAST)
            assert counted(report) == {"rotated": 40}
            for node in cluster.nodes:
                assert node.running
                assert "BUG REPORT" not in node.log
            used = calls(source, "client|no-touch")
            assert any("CLIENT NO-TOUCH" in one for one in report.caches[0].warnings) is (used == 0)


class TestTransactions:
    """Slots on the move, for a user who may not use scripts."""

    @pytest.mark.parametrize("count", [40, 400])
    def test_where_slots_are_moved(self, tmp_path, count):
        """What ASK points to is replaced in a transaction there, with ASKING before it."""
        with LocalCluster(2, 0) as cluster:
            for node in cluster.nodes:
                with node.client() as client:
                    rules = acl(client, "~*", "&*", "+@all", "-evalsha")
                    rules = ["reset", "on", ">password", *rules]
                    client.execute_command("ACL", "SETUSER", "unscripted", *rules)
            login = {"username": "unscripted", "password": "password"}
            place = Place(tmp_path, Cache(*cluster.addresses, redis=login))
            source, target = cluster.primaries
            slot = cluster.member(source).slots[0][0]
            store(cluster, made(place.cache, tagged(slot, count)))
            cluster.move_slots(source, target, [slot], Move.HALF)
            report = place.run(**FAST)
            assert counted(report) == {"rotated": count}
            ways = {node.exchange for node in report.caches[0].coverage.nodes}
            assert ways <= {"ifeq", "transaction", None}


class TestCounters:
    """The counters of commands, in which moved data shows."""

    def test_set_back(self, redis, server):
        """Since 7.0 a part of a command has a counter of its own; without it a reset shows too."""
        reader = store_of(server)
        with reader.connection:
            redis.set("a", "x")
            redis.rename("a", "b")
            before = reader.identity()
            redis.config_resetstat()
            assert before.changes(reader.identity())
        apart = "cmdstat_config|resetstat" in redis.info("commandstats")
        assert apart is since(redis, 7, 0)


class TestScan:
    """The order of names and the cursors of a cluster's node."""

    def test_slot_by_slot(self, filled, node):
        """Names come slot by slot where each has a table of its own, and all come anyway."""
        _, expected = filled
        reader = store_of(node.nodes[0])
        with reader.connection:
            names, cursor = [], None
            while cursor != START:
                cursor, page = reader.page(cursor or START, "*", 50)
                names += page
        assert set(names) == set(expected)
        slots = [key_slot(name) for name in names]
        assert all(a <= b for a, b in pairwise(slots)) is has_table_for_each_slot()

    def test_goes_on_where_it_stopped(self, filled, node):
        """A saved cursor of a cluster's node is used, however large, and nothing is missed."""
        place, expected = filled
        first = place.run(page=50, stopper=StopAfter(20), verify=False, **FAST)
        assert first.exit_code == Exit.INTERRUPTED
        assert 0 < first.caches[0].visits < COUNT
        second = place.run(page=50, verify=False, **FAST)
        assert (second.exit_code, counted(second)) == (Exit.OK, {"rotated": COUNT})
        assert second.caches[0].visits_now == COUNT - first.caches[0].visits
        check(node, place.cache, expected)

    def test_round_trips(self, filled, node):
        """A value needs a script, or a part of one, where the server does not know IFEQ."""
        place, expected = filled
        with node.nodes[0].client() as client:
            place.run(verify=False, **FAST)
            check(node, place.cache, expected)
            assert (scripts(client) == 0) is exchanges(client)


class TestReplicas:
    """A primary of each kind there is here, with a replica of the version at hand."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_of_another_version(self, version, tmp_path):
        """A replica never keeps old values in silence: it has new ones, or cannot read any."""
        names = [f"app:{number}" for number in range(100)]
        with (
            LocalServer("--repl-diskless-sync", "yes", binary=program_of(version)) as primary,
            LocalServer() as replica,
            primary.client() as ours,
            replica.client() as theirs,
        ):
            place = Place(tmp_path, Cache(primary.address, keys=2, settings=NO_FILES))
            for name in names:
                place.cache.put(ours, name)
            way = "ifeq" if exchanges(ours) and exchanges(theirs) else "transaction"
            theirs.replicaof("127.0.0.1", primary.port)
            wait_for(lambda: follows(ours) or "handle RDB format" in replica.log)
            followed = follows(ours)
            report = place.run(quiet=timedelta(0))
            assert counted(report) == {"rotated": 100}
            used = report.caches[0].coverage.nodes[0].exchange
            report = place.run(quiet=timedelta(0))
            if not followed:
                assert theirs.dbsize() == 0
                return
            [key] = [key for key in report.caches[0].keys if key.role == "old"]
            assert key.verdict == "retirable"
            assert used == way
            held = {place.cache.open(name, theirs.get(name)).key.id for name in names}
            assert held == {place.cache.ids[0]}


def scripts(client):
    """How many scripts a server ran; the probes of rights fail."""
    counters = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})
    return counters["calls"] - counters.get("failed_calls", 0)


def follows(client):
    """Whether the only replica of a server has its data."""
    return client.info("replication").get("slave0", {}).get("state") == "online"
