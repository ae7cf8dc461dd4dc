"""What a server says of itself, as a look keeps it, on real servers and behind odd ones."""

import socket
import threading
from contextlib import contextmanager

import pytest

from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.errors import RightsError, ServerError
from rotator.retirement.looks import CANARY_CALLS, canary
from rotator.server.cluster_nodes import ranges
from rotator.server.connection import Connection, Login
from rotator.server.copies import take_look
from rotator.server.store import Store
from support.caches import store_of, user, wait_for
from support.server_versions import since


@contextmanager
def answering(reply):
    """A store on something that gives the same answer to everything."""

    def serve(listener):
        client, _ = listener.accept()
        with client:
            while asked := client.recv(65536):
                client.sendall(reply * asked.count(b"INFO"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        address = Address("127.0.0.1", listener.getsockname()[1])
        with Store(Connection(address, Login(), timeout=5)) as store:
            yield store


def bulk(text):
    """A text as a server sends it."""
    return b"$%d\r\n%s\r\n" % (len(text), text)


class TestFacts:
    """A look keeps what INFO says, and nothing that it does not."""

    def test_of_a_primary(self, server, redis):
        """Identity, counters and files are there, and the setting of where they are."""
        redis.set("a", 1)
        with store_of(server) as store:
            look = take_look(store)
        info = redis.info("server")
        assert look.facts["run_id"] == info["run_id"]
        assert (look.address, look.facts["role"]) == (server.address, "master")
        assert (look.settings["save"], look.settings["dbfilename"]) == ("", "dump.rdb")
        assert look.own_config == len(look.settings) == 6
        assert (look.node_id, look.slots, look.epoch, look.listed) == ("", "", None, ())
        assert look.backups is None or "valkey_version" not in info

    def test_of_a_replica(self, server):
        """A replica says whom it follows, and its primary lists it."""
        with LocalServer(replica_of=server) as replica:
            with store_of(replica) as store:
                look = take_look(store)
            with store_of(server) as store:
                wait_for(lambda: [one.state for one in take_look(store).listed] == ["online"])
                [listed] = take_look(store).listed
        assert look.facts["master_port"] == str(server.port)
        assert (look.facts["slave_read_only"], look.facts["master_link_status"]) == ("1", "up")
        assert (listed.address, listed.state) == (replica.address, "online")

    def test_of_a_node(self, cluster):
        """A node of a cluster says which slots it has."""
        node = cluster.primaries[0]
        with store_of(node) as store:
            look = take_look(store)
        assert look.node_id == cluster.member(node).id
        assert look.slots == ranges(cluster.member(node).slots)

    def test_without_rights(self, server, redis):
        """Who may only ask for INFO gets a look without settings, and no call of ours counts."""
        with user(redis, "+info") as login, store_of(server, *login) as store:
            look = take_look(store, canary=True)
            assert (look.settings, look.own_config, canary(look)) == ({}, 0, 0)
            assert canary(take_look(store)) == 0
        with (
            user(redis, "+ping") as login,
            store_of(server, *login) as store,
            pytest.raises(RightsError),
        ):
            take_look(store)


class TestCalls:
    """A look counts the calls of commands that matter."""

    def test_the_canary(self, server, redis):
        """It is called until it was called often enough, and a reset takes it away."""
        redis.config_resetstat()
        with store_of(server) as store:
            assert canary(take_look(store, canary=True)) == CANARY_CALLS
            assert canary(take_look(store, canary=True)) == CANARY_CALLS
            redis.config_resetstat()
            assert canary(take_look(store)) == 0

    def test_what_was_called(self, server, redis):
        """Calls are counted by name, a refused one is none, and CONFIG before 7.0 as a whole."""
        redis.set("a", 1)
        redis.rename("a", "b")
        redis.config_set("maxmemory", 0)
        with store_of(server) as store:
            calls = take_look(store, settings=False).calls
        assert calls["rename"] == 1
        assert calls["config|set" if since(redis, 7, 0) else "config"] >= 1
        assert "set" not in calls

    def test_of_our_own(self, server):
        """Where CONFIG is counted as a whole, a look says how many calls are its own."""
        with store_of(server) as store:
            first, second = take_look(store), take_look(store)
        if "config" in second.calls:
            assert second.calls["config"] - first.calls.get("config", 0) == first.own_config


class TestOdd:
    """What is not as documented is an error that names server and command."""

    @pytest.mark.parametrize(
        "reply",
        [
            b"$-1\r\n",
            b"*1\r\n$1\r\na\r\n",
            b":7\r\n",
            bulk(b"rdb_last_save_time:-5x\r\n"),
            bulk(b"cmdstat_rename:calls=xx,usec=1\r\n"),
            bulk(b"cmdstat_rename:usec=1\r\n"),
        ],
    )
    def test_it_is_an_error(self, reply):
        """An answer of another shape, or a number that is none, is refused."""
        with answering(reply) as store, pytest.raises(ServerError, match="INFO") as caught:
            take_look(store, settings=False)
        assert str(store.connection.address) in str(caught.value)

    def test_what_is_left_out(self):
        """Fields that are not there are left out, counters too."""
        with answering(bulk(b"role:master\r\nredis_version:7.0.15\r\nrun_id:\r\n")) as store:
            look = take_look(store, settings=False)
        assert look.facts == {"role": "master", "redis_version": "7.0.15"}
        assert look.calls is None

    def test_replicas_that_say_little(self):
        """A replica without a port has port 0, and none is left out."""
        lines = "redis_version:7.0.15", "slave0:ip=::1,port=6380", "slave1:ip=10.0.0.9,state=online"
        with answering(bulk("\r\n".join(lines).encode())) as store:
            look = take_look(store, settings=False)
        assert [one.address for one in look.listed] == ["[::1]:6380", "10.0.0.9:0"]


def test_a_save_shows(redis, server):
    """After a save the time of the last one is another."""
    with store_of(server) as store:
        before = take_look(store)
        saved = int(before.facts["rdb_last_save_time"])
        # The clock that a save asks is coarse, and may be some milliseconds behind.
        wait_for(lambda: redis.time() > (saved + 1, 50_000))
        redis.save()
        after = take_look(store)
    assert before.facts["rdb_last_save_time"] != after.facts["rdb_last_save_time"]
    (server.folder / "dump.rdb").unlink()
