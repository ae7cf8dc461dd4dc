"""Servers whose memory is full: those that refuse writes, and those that evict entries for them."""

from collections import Counter
from random import Random

import pytest

from rotator.config.types import Address
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import LocalServer
from rotator.errors import Exit, ServerError
from rotator.run.surroundings import ServerObserver
from rotator.server.topology import Topology
from rotator.sweep.scope import Limits
from support.caches import Cache, Place, contents, counted, meddled, store_of
from support.clusters import codec_of

pytestmark = pytest.mark.faults

NAMES = 800
SIZE = 3000  # bytes of a plaintext


@pytest.fixture
def full(tmp_path):
    """A server, a configuration with values that grow when they are rewritten, and a client."""
    with LocalServer() as server:
        cache = Cache(
            server.address, settings={"formats": ["gcm", "sealed"], "write": "sealed"}, keys=2
        )
        with server.client() as client:
            random = Random(1)
            codec = Codec(Keyring(Key.from_text(cache.keys[1], "test")), [BUILTIN["gcm"]])
            for name in (b"app:%04d" % index for index in range(NAMES)):
                client.set(name, codec.seal(name, random.randbytes(SIZE)))
            yield Place(tmp_path, cache), client


def limit(client, policy, percent):
    """Let the server have so much of the memory that it uses now."""
    client.config_set("maxmemory-policy", policy)
    client.config_set("maxmemory", client.info("memory")["used_memory"] * percent // 100)


def held(client, place):
    """What every name holds, and the number of the key that it is under."""
    codec, ids = codec_of(place.cache), place.cache.ids
    found = {}
    for name, (value, _) in contents(client).items():
        if value is not None:  # evicted just now
            opened = codec.open(name, value)
            found[name] = (opened.plaintext, ids.index(opened.key.id))
    return found


def plaintexts(found):
    """What every name holds."""
    return {name: plaintext for name, (plaintext, _) in found.items()}


def under(found):
    """How many values are under each key, by its number."""
    return Counter(number for _, number in found.values())


class TestRefused:
    """`noeviction`: what cannot be written stays as it is."""

    def test_full_from_the_middle_on(self, full):
        """What was not moved is counted and stays; with room again the next run moves it."""
        place, client = full
        before = plaintexts(held(client, place))

        def fill_up(phase, page):
            if (phase, page) == ("rotating", 5):
                limit(client, "noeviction", 10)

        report = place.run(on_page=fill_up, page=50)
        assert report.exit_code == Exit.NOT_MOVED
        found = counted(report)
        assert set(found) == {"rotated", "failed"}
        assert found["rotated"] + found["failed"] == NAMES
        assert all(one.detail.startswith("OOM") for one in report.caches[0].problems)
        after = held(client, place)
        assert plaintexts(after) == before
        assert under(after) == {0: found["rotated"], 1: found["failed"]}
        assert {key.verdict for key in report.caches[0].keys if key.role == "old"} <= {
            "unknown",
            "in-use",
        }
        assert [node.evictions for node in report.caches[0].coverage.nodes] == [0]
        client.config_set("maxmemory", 0)
        report = place.run()
        assert report.exit_code == Exit.OK
        after = held(client, place)
        assert plaintexts(after) == before
        assert under(after) == {0: NAMES}


class TestEvicted:
    """`allkeys-lru`: values that grow push others out, and that is said."""

    @pytest.mark.parametrize("limits", [{}, {"memory": 100.0}], ids=["", "max-memory"])
    def test_evictions_are_reported(self, full, limits):
        """The run goes on, evicted values are gone, and how many there were is reported."""
        place, client = full
        before = plaintexts(held(client, place))
        client.config_resetstat()
        limit(client, "allkeys-lru", 97)
        started_with = client.info("stats")["evicted_keys"]
        plan = {"limits": Limits(latency=None, **limits)} if limits else {}
        report = place.run(page=50, **plan)
        evicted = client.info("stats")["evicted_keys"] - started_with
        assert report.exit_code == Exit.OK
        cache = report.caches[0]
        (node,) = cache.coverage.nodes
        # Connecting takes memory, too, so some go before the run has begun to count.
        assert 0 < node.evictions <= evicted
        (said,) = [one for one in cache.warnings if "evicted" in one]
        assert said.startswith(f"{node.node} evicted {node.evictions} entries during the run")
        assert set(counted(report)) <= {"rotated", "gone", "current"}
        after = held(client, place)
        assert plaintexts(after).items() <= before.items()
        assert under(after) == {0: len(after)}

    def test_a_value_evicted_at_the_worst_moment_is_gone(self, full):
        """Between reading and writing it is as if it had expired: nothing brings it back."""
        place, client = full
        limit(client, "allkeys-lru", 110)

        def push_out(swaps):
            for swap in swaps:
                client.delete(swap.name)

        report = place.run(kind=meddled(before_write=push_out), page=50)
        assert counted(report)["gone"] > 0
        assert client.dbsize() == 0


def test_nothing_evicted_nothing_said(place, redis):
    """Where all has room there is no warning, and the number is zero."""
    place.cache.put(redis, "app:1", b"hello", key=1)
    report = place.run()
    assert [node.evictions for node in report.caches[0].coverage.nodes] == [0]
    assert not any("evicted" in one for one in report.caches[0].warnings)


def test_a_restart_loses_count(tmp_path):
    """After a restart only what the new process evicted is known."""
    with LocalServer("--appendonly", "yes", "--appendfsync", "always") as server:
        place = Place(tmp_path, Cache(server.address))
        with server.client() as client:
            for index in range(200):
                place.cache.put(client, f"app:{index}", b"x" * 500, key=1)
            client.config_set("maxmemory-policy", "allkeys-random")
            used = client.info("memory")["used_memory"]
            client.config_set("maxmemory", used - 20_000)
            client.set("pushes", "others out")
            assert client.info("stats")["evicted_keys"] > 0
            client.config_set("maxmemory", 0)
            client.delete("pushes")

        def restart(phase, page):
            if (phase, page) == ("rotating", 2):
                server.stop()
                server.start()

        report = place.run(on_page=restart, page=20, patience=5.0)
        assert report.exit_code == Exit.OK
        assert [node.evictions for node in report.caches[0].coverage.nodes] == [0]


def test_a_node_that_is_gone_tells_nothing(server):
    """What cannot be asked at the end is not known, and no reason to fail."""
    address, other = Address("127.0.0.1", server.port), Address("127.0.0.1", 1)
    identity = store_of(server).identity()
    meanwhile = ServerObserver()
    meanwhile.note(Topology("standalone", {other: identity, address: identity}, 0))

    def connect(asked):
        if asked == other:
            raise ServerError(f"{asked} cannot be reached")
        return store_of(server)

    meanwhile.look_back(connect)
    assert meanwhile.evictions == {str(address): 0}
