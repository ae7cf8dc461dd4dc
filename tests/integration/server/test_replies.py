"""
Every error answer of the table in `store`, provoked on a real server.

What it is taken for, and what becomes of a run that meets it.
"""

import threading
from contextlib import contextmanager

import pytest
from redis.exceptions import ResponseError

from cluster.expiries import entries_of, put
from cluster.local_cluster import LocalCluster, Move, ask
from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.errors import Exit, LostError
from rotator.server.connection import Connection, Login
from rotator.server.replies import MEANINGS, ErrorKind, ErrorReply, NoValue, SetResult, error_reply
from rotator.server.routing import follow
from rotator.sweep.node import visitor
from support.caches import Cache, Place, counted, store_of, user, wait_for
from support.clusters import (
    FAST,
    at_page,
    check,
    fill,
    judge,
    lone_node,
    made,
    owners,
    tagged,
    verdicts,
)
from support.server_versions import since

pytestmark = pytest.mark.faults

NAMES = 400
ANSWERING = "loading-process-events-interval-bytes"
"""The setting for how often a server answers while it loads; every 2 MB before Redis 7.0."""


@contextmanager
def busy(server):
    """A server in the hands of a script, until the block ends or `SCRIPT KILL` is sent."""
    slow = "busy-reply-threshold" if knows(server, "busy-reply-threshold") else "lua-time-limit"
    with server.client() as client:
        client.config_set(slow, 20)
    runner = threading.Thread(target=endless, args=(server,))
    runner.start()
    with server.client() as client:
        wait_for(lambda: answers_busy(client))
        try:
            yield
        finally:
            if runner.is_alive():
                client.script_kill()
            runner.join()


def endless(server):
    """Run a script that ends only when it is killed."""
    with server.client() as client, pytest.raises(ResponseError, match=r"[Ss]cript killed"):
        client.eval("while true do end", 0)


def answers_busy(client):
    """Whether the server says that it is busy."""
    try:
        client.get("x")
    except ResponseError as error:
        return "BUSY" in str(error)
    return False


def knows(server, setting):
    """Whether the server has a setting."""
    with server.client() as client:
        return bool(client.config_get(setting))


@contextmanager
def loading(server):
    """A server that loads its data anew; it answers meanwhile, but not what is asked."""
    with server.client() as client:
        client.config_set("key-load-delay", 5000)  # microseconds a name
        if answering := knows(server, ANSWERING):
            client.config_set(ANSWERING, 1024)
    reloader = threading.Thread(target=reload, args=(server,))
    reloader.start()
    with server.client() as client:
        wait_for(lambda: client.info("persistence")["loading"] or not answering)
        try:
            yield
        finally:
            client.config_set("key-load-delay", 0)
            reloader.join()


def reload(server):
    """Have the server save and load everything; it answers when that is done."""
    with server.client() as client:
        client.execute_command("DEBUG", "RELOAD")


@contextmanager
def unable_to_save(server):
    """A server whose snapshots fail, so that it takes no writes."""
    blocker = server.folder / "dump.rdb"
    blocker.unlink(missing_ok=True)
    blocker.mkdir()
    with server.client() as client:
        client.config_set("save", "3600 100000")
        client.bgsave()
        wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        yield
        blocker.rmdir()
        client.bgsave()
        wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")


@contextmanager
def setting(server, **values):
    """A server with other settings."""
    with server.client() as client:
        before = {}
        for name, value in values.items():
            before |= client.config_get(name.replace("_", "-"))
            client.config_set(name.replace("_", "-"), value)
        yield
        for name, value in before.items():
            client.config_set(name, value)


@pytest.fixture(scope="module")
def own():
    """A server that these tests may break."""
    with LocalServer() as server:
        yield server


@pytest.fixture
def alone(own):
    """That server, empty."""
    with own.client() as client:
        client.flushall()
        client.mset({b"app:%d" % index: b"value" for index in range(NAMES)})
        # While it loads the server answers once every kilobyte.
        client.mset({b"big:%d" % index: bytes(2000) for index in range(100)})
    return own


def read_one(store, name=b"app:1"):
    """What a store answers about one name."""
    return store.read([name])[0]


def swap_one(store, name=b"app:1"):
    """What a store answers to a write of one name."""
    return store.compare_and_set([(name, b"value", b"new")])[0]


class TestStandalone:
    """What one server says."""

    def test_busy(self, alone):
        """BUSY: somebody's script is in the way."""
        with store_of(alone).connection:
            store = store_of(alone)
            with busy(alone):
                expect(read_one(store), "BUSY")

    def test_held_up_by_a_script(self, alone, monkeypatch):
        """An answer that does not come while a script runs is told by that script."""
        monkeypatch.setattr("rotator.server.connection._ASK_SECONDS", 0.4)
        address = Address.parse(alone.address)
        with Connection(address, Login(), timeout=0.5) as connection:
            pending = connection.submit([("BLPOP", "nothing", 0)])
            with alone.client() as client:
                wait_for(lambda: client.info("clients")["blocked_clients"])
            with (
                busy(alone),
                pytest.raises(LostError, match="a script of another client blocks the server"),
            ):
                pending.result()

    def test_loading(self, alone):
        """LOADING: the data is not there yet."""
        store = store_of(alone)
        answering = knows(alone, ANSWERING)
        with loading(alone):
            if answering:
                expect(read_one(store), "LOADING")
            else:  # so little is loaded without a word
                assert read_one(store) == b"value"

    def test_misconf(self, alone):
        """MISCONF: the server cannot save, so it takes no writes."""
        store = store_of(alone)
        with unable_to_save(alone):
            expect(swap_one(store), "MISCONF")

    def test_noperm(self, alone):
        """NOPERM: the user may not."""
        with alone.client() as client, user(client, "~other:*", "+@all") as (name, password):
            store = store_of(alone, name, password)
            assert read_one(store) is NoValue.DENIED
            [reply] = store.connection.pipeline([("GET", "app:1")])
            expect(error_reply(reply), "NOPERM")
            assert swap_one(store) is SetResult.DENIED

    def test_noreplicas(self, alone):
        """NOREPLICAS: there are fewer replicas than writes ask for."""
        store = store_of(alone)
        with setting(alone, min_replicas_to_write=1), alone.client() as client:
            if since(client, 6, 2):
                expect(swap_one(store), "NOREPLICAS")
            else:  # scripts are not held back
                assert swap_one(store) is SetResult.DONE

    def test_noscript(self, alone):
        """NOSCRIPT: the script is gone; it is loaded again, and nobody notices."""
        store = store_of(alone)
        assert swap_one(store) is SetResult.DONE
        [reply] = store.connection.pipeline([("EVALSHA", "0" * 40, 0)])
        expect(error_reply(reply), "NOSCRIPT")
        with alone.client() as client:
            client.script_flush()
        assert swap_one(store, b"app:2") is SetResult.DONE

    def test_oom(self, alone):
        """OOM: there is no memory left, and nothing may be evicted."""
        store = store_of(alone)
        with setting(alone, maxmemory_policy="noeviction", maxmemory=1):
            expect(swap_one(store), "OOM")

    def test_readonly(self, alone):
        """READONLY: it is a replica."""
        with LocalServer(replica_of=alone) as replica:
            expect(swap_one(store_of(replica)), "READONLY")

    def test_masterdown(self):
        """MASTERDOWN: a replica has lost its primary, and is not to say what it had."""
        with (
            LocalServer() as primary,
            LocalServer(replica_of=primary) as replica,
            setting(replica, replica_serve_stale_data="no"),
        ):
            store = store_of(replica)
            primary.stop()
            with replica.client() as client:
                wait_for(lambda: client.info("replication")["master_link_status"] == "down")
            expect(read_one(store), "MASTERDOWN")

    def test_lost(self, alone):
        """No answer at all is an error of its own: who comes after may be another process."""
        store = store_of(alone)
        with alone.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(LostError):
            read_one(store)


@pytest.fixture(scope="module")
def shared():
    """Two primaries."""
    with LocalCluster(2, 0) as running:
        yield running


class TestCluster:
    """What a node of a cluster says."""

    @pytest.fixture
    def ends(self, shared):
        """A slot's owner, the other node, and names of the slot, at the owner."""
        first, second = shared.nodes
        names = tagged(7, 6)
        with first.client() as client:
            client.flushall()
            for name in names:
                client.set(name, b"value")
        yield first, second, names
        for node in shared.nodes:
            ask(node, "CLUSTER", "SETSLOT", 7, "STABLE")
            ask(node, "FLUSHALL")

    def test_moved(self, ends):
        """MOVED: the slot belongs to another node."""
        _, second, names = ends
        store = store_of(second)
        store.identity()
        expect(read_one(store, names[0]), "MOVED")
        expect(swap_one(store, names[0]), "MOVED")

    def test_ask(self, shared, ends):
        """ASK: the name was moved already; ASKING gets it from where it is."""
        first, second, names = ends
        shared.move_slots(first, second, [7], Move.OPEN)
        store = store_of(first)
        store.identity()
        answer = expect(read_one(store, names[0]), "ASK")
        assert follow(answer.message, store).port == second.port
        there = store_of(second).asking()
        assert read_one(there, names[0]) == b"value"
        assert swap_one(there, names[0]) is SetResult.DONE

    def test_tryagain(self, shared, ends):
        """TRYAGAIN: several names, some of them moved; each for itself is answered."""
        first, second, names = ends
        shared.move_slots(first, second, [7], Move.HALF)
        store = store_of(first)
        store.identity()
        [reply] = store.connection.pipeline([("MGET", *names)])
        with first.client() as client:
            expect(error_reply(reply), "TRYAGAIN" if since(client, 7, 0) else "ASK")
        values = store.read(names)
        assert sum(value == b"value" for value in values) == 3
        assert sum(isinstance(value, ErrorReply) for value in values) == 3
        answers = store.compare_and_set([(name, b"value", b"new") for name in names])
        assert sum(answer is SetResult.DONE for answer in answers) == 3

    def test_clusterdown(self):
        """CLUSTERDOWN: not every slot has an owner, and the cluster is to be whole."""
        with lone_node() as node:
            ask(node, "CLUSTER", "ADDSLOTS", *range(100))
            expect(read_one(store_of(node), tagged(7, 1)[0]), "CLUSTERDOWN")

    def test_clusterdown_for_one_slot(self):
        """Where only the slot has no owner, waiting would be in vain."""
        with lone_node() as node:
            ask(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
            ask(node, "CLUSTER", "ADDSLOTS", 8)
            wait_for(lambda: b"cluster_state:ok" in ask(node, "CLUSTER", "INFO"))
            answer = read_one(store_of(node), tagged(7, 1)[0])
            assert "Hash slot not served" in answer.message
            assert answer.meaning is ErrorKind.TOPOLOGY


def expect(answer, code):
    """The answer, a refusal that begins with a code and means what the table says."""
    assert isinstance(answer, ErrorReply), answer
    assert answer.message.split()[0] == code
    assert answer.meaning is MEANINGS[code]
    return answer


def test_none_is_left_out():
    """Each code of the table has its test."""
    tests = {name for group in (TestStandalone, TestCluster) for name in vars(group)}
    assert {f"test_{code.lower()}" for code in MEANINGS} <= tests


class TestRuns:
    """What becomes of a run in which a server says so for a while."""

    @pytest.fixture
    def scene(self, own, tmp_path):
        """A server with values, and a run over them that is disturbed at a page."""
        with own.client() as client:
            client.flushall()
            client.config_resetstat()
            place = Place(tmp_path, Cache(own.address))
            entries = made(place.cache, [b"app:%04d" % index for index in range(NAMES)])
            for name, (_, value, at_ms) in entries.items():
                put(client, name, value, at_ms)
        return place, {name: (plain, at_ms) for name, (plain, _, at_ms) in entries.items()}

    @pytest.mark.parametrize("seconds", [0.6])
    @pytest.mark.parametrize(
        "trouble",
        {
            "BUSY": busy,
            "LOADING": loading,
            "NOREPLICAS": lambda server: setting(server, min_replicas_to_write=1),
        }.items(),
        ids=lambda pair: pair[0] if isinstance(pair, tuple) else "",
    )
    def test_waits(self, own, scene, trouble, seconds):
        """What passes is waited for: the run is complete, and nothing failed."""
        place, expected = scene
        with Trouble(own, trouble[1], seconds) as begun, at_page(4, begun.begin) as on_page:
            report = place.run(on_page=on_page, page=20)
        assert counted(report)["rotated"] == NAMES
        assert report.exit_code == Exit.OK
        with own.client() as client:
            found = dict(zip(expected, entries_of(client, expected), strict=True))
        judge(place.cache, found, expected)

    def test_lost(self, own, scene):
        """A connection that breaks is opened again, and the scan goes on where it was."""
        place, _ = scene

        def cut():
            with own.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)

        with at_page(4, cut) as on_page:
            report = place.run(on_page=on_page, page=20)
        assert report.exit_code == Exit.OK
        assert report.caches[0].coverage.restarts == 0
        assert report.caches[0].outcomes["rotated"] >= NAMES - 20

    def test_script_flush(self, own, scene):
        """A script that is gone in mid-sweep is loaded again; every value is rotated."""
        place, _ = scene

        def flush():
            with own.client() as client:
                client.script_flush()

        with at_page(4, flush) as on_page:
            report = place.run(on_page=on_page, page=20)
        assert report.exit_code == Exit.OK
        assert counted(report) == {"rotated": NAMES}

    def test_clusterdown(self, tmp_path):
        """A cluster that is down for a moment is waited for; no visit fails for it."""
        with LocalCluster(2, 0) as cluster:
            place = Place(tmp_path, Cache(*cluster.addresses))
            expected = fill(cluster, place.cache, NAMES)
            owner = owners(cluster)[16383]
            back = threading.Timer(1.0, ask, (owner, "CLUSTER", "ADDSLOTS", 16383))

            def down():
                ask(owner, "CLUSTER", "DELSLOTS", 16383)
                wait_for(lambda: b"cluster_state:fail" in ask(owner, "CLUSTER", "INFO"))
                back.start()

            with at_page(2, down) as on_page:
                report = place.run(on_page=on_page, workers=1, page=20, **FAST)
            back.join()
            assert report.caches[0].outcomes["failed"] == 0
            assert report.exit_code == Exit.OK
            check(cluster, place.cache, expected)

    def test_clusterdown_for_good(self, tmp_path, monkeypatch):
        """A cluster that stays down is given up: the sweep is incomplete."""
        monkeypatch.setattr(visitor, "RETRY_SECONDS", (0.05,))
        with LocalCluster(2, 0) as cluster:
            place = Place(tmp_path, Cache(*cluster.addresses))
            fill(cluster, place.cache, NAMES)
            owner = owners(cluster)[16383]
            with at_page(2, lambda: ask(owner, "CLUSTER", "DELSLOTS", 16383)) as on_page:
                report = place.run(on_page=on_page, workers=1, page=20, patience=0.5)
            assert report.exit_code == Exit.FAILED
            assert verdicts(report) == {"unknown"}
            missing = report.caches[0].coverage.not_looked_at
            assert "nobody owns the slots 16383" in missing


class Trouble:
    """Trouble on a server that begins when told, and is over a while later."""

    def __init__(self, server, make, seconds):
        self._trouble = make(server)
        self._seconds = seconds
        self._ender = None

    def begin(self):
        """Begin it."""
        self._trouble.__enter__()
        self._ender = threading.Timer(self._seconds, self._trouble.__exit__, (None, None, None))
        self._ender.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ender.join()
