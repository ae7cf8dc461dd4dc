"""Values are exchanged by `SET ... IFEQ`, in transactions or by script: the best that may be."""

import pytest

from rotator.demo.local_server import LocalServer
from support.caches import FAR_MS, Cache, Place, meddled, wait_for
from support.expiries import expiry_of
from support.programs import exchanges, program

NAMES = [f"app:{number:04}" for number in range(600)]


def calls(client, command):
    """How often a server carried out a command; the probes of rights fail."""
    counters = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return counters["calls"] - counters.get("failed_calls", 0)


@pytest.fixture(scope="module")
def valkey():
    """A server that knows IFEQ."""
    with LocalServer("--repl-diskless-sync-delay", "0", binary=program("ifeq")) as server:
        yield server


def synchronise(client):
    """Wait until the one replica has everything."""
    wait_for(lambda: client.info("replication").get("slave0", {}).get("state") == "online")


@pytest.fixture
def held(valkey, tmp_path):
    """A cache on that server, with values under an old key, each with a TTL."""
    client = valkey.client()
    client.flushall()
    client.config_resetstat()
    place = Place(tmp_path, Cache(valkey.address))
    for name in NAMES:
        place.cache.put(client, name, name.encode(), at_ms=FAR_MS)
    return place, client


def assert_rotated(place, client):
    """Every value is under the current key, with its plaintext and its TTL."""
    for name in NAMES:
        opened = place.cache.open(name, client.get(name))
        assert (opened.plaintext, opened.key.id) == (name.encode(), place.cache.ids[0])
        assert expiry_of(client, name) == FAR_MS


def test_whatever_server_is_at_hand(place, redis):
    """A server that knows it is sent nothing else, another one transactions; the report says so."""
    redis.config_resetstat()
    for name in NAMES:
        place.cache.put(redis, name)
    report = place.run(verify=False)
    assert report.caches[0].outcomes["rotated"] == len(NAMES)
    knows = exchanges(redis)
    assert report.caches[0].coverage.nodes[0].exchange == ("ifeq" if knows else "transaction")
    assert calls(redis, "evalsha") == 0
    assert (calls(redis, "watch") < 5) is knows  # the rights are tried


def test_known(held):
    """Values and TTLs are right, and no script was needed."""
    place, client = held
    report = place.run()
    assert (report.exit_code, report.caches[0].outcomes["rotated"]) == (0, len(NAMES))
    assert calls(client, "evalsha") == 0
    assert_rotated(place, client)


def test_a_dry_run_does_not_even_try(held):
    """The probe is a writing command, so a reading sweep leaves it out."""
    place, client = held
    before = calls(client, "set")
    place.run(dry_run=True)
    assert calls(client, "set") == before


def test_others_write_meanwhile(held):
    """What changed or went away between reading and writing is not overwritten."""
    place, client = held
    newer = place.cache.seal(NAMES[0], b"newer", key=0)

    def meddle(_swaps):
        client.set(NAMES[0], newer)
        client.delete(NAMES[1])

    client.delete(*NAMES[2:])
    report = place.run(kind=meddled(before_write=meddle), verify=False)
    outcomes = {name: count for name, count in report.caches[0].outcomes.items() if count}
    assert outcomes == {"current": 1, "gone": 1}
    assert client.get(NAMES[0]) == newer
    assert calls(client, "evalsha") == 0


def test_replica_that_knows_it(held, valkey):
    """A replica says so itself when it is asked for the words of SET."""
    place, client = held
    with LocalServer("--replicaof", f"127.0.0.1 {valkey.port}", binary=program("ifeq")) as replica:
        synchronise(client)
        place.run(verify=False)
        assert calls(client, "evalsha") == 0
        client.wait(1, 5000)
        assert_rotated(place, replica.client())


def test_replica_that_does_not_say(held, valkey):
    """A replica that does not tell what it knows is taken for one that does not."""
    place, client = held
    options = ("--replicaof", f"127.0.0.1 {valkey.port}", "--rename-command", "COMMAND", "")
    with LocalServer(*options, binary=program("ifeq")) as replica:
        synchronise(client)
        report = place.run(verify=False)
        assert report.caches[0].coverage.nodes[0].exchange == "transaction"
        client.wait(1, 5000)
        assert_rotated(place, replica.client())


def test_replica_that_joins(held, valkey):
    """From then on transactions are used, and what was written just before is written again."""
    place, client = held
    with LocalServer(binary=program("ifeq")) as replica:

        def join(_phase, page):
            if page == 2:
                replica.client().replicaof("127.0.0.1", valkey.port)
                synchronise(client)

        report = place.run(on_page=join, page=100, verify=False)
        assert report.caches[0].outcomes["rotated"] == len(NAMES)
        # The first pages were written with it; transactions wrote the others, and those again.
        assert calls(client, "set") > len(NAMES)
        assert report.caches[0].coverage.nodes[0].exchange == "transaction"
        client.wait(1, 5000)
        assert_rotated(place, replica.client())
