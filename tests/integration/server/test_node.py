"""What one node says of itself: clock, types, settings, commands, replicas, databases."""

from datetime import UTC, datetime, timedelta

import pytest

from cluster.local_cluster import LocalCluster
from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.errors import ServerError
from rotator.server.connection import Connection, Login
from rotator.server.store import Store
from support.caches import store_of, user
from support.respfront import RespFront
from support.server_versions import since


@pytest.fixture
def store(server, redis):  # noqa: ARG001 - redis empties the server first
    """A store on a connection of its own to the session's empty server."""
    store = store_of(server)
    with store.connection:
        yield store


@pytest.fixture
def restricted(server, redis):
    """The same for a user who may do nothing but PING."""
    with user(redis, "~*", "+ping") as (name, password):
        store = store_of(server, name, password)
        with store.connection:
            yield store


def test_time(store):
    """The server's clock is told with its time zone, and is that of this machine here."""
    assert abs(store.time() - datetime.now(UTC)) < timedelta(seconds=5)


def test_type(store, redis):
    """The type of an entry is Redis's word for it; of a name that is not there it is none."""
    redis.rpush("list", "x")
    redis.set("text", "x")
    assert [store.type(name) for name in (b"list", b"text", b"gone")] == ["list", "string", "none"]


def test_config(store, configured):
    """A setting comes as text, and one that the server does not have as nothing."""
    configured("hz", 11)
    assert store.config("hz") == "11"
    assert store.config("no-such-setting") == ""


def test_knows(store, redis):
    """A server from 7.0 on documents the arguments of its commands, nested ones too."""
    assert store.knows("SET", "KEEPTTL") is since(redis, 7, 0)
    assert not store.knows("SET", "NOTHING-LIKE-IT")


def test_denied(restricted):
    """A user who may not ask learns nothing, and that is no error."""
    assert restricted.time() is None
    assert restricted.type(b"a") is None
    assert restricted.config("hz") is None
    assert not restricted.knows("SET", "KEEPTTL")
    assert restricted.cluster_enabled() is None
    assert not restricted.enable_no_touch()


def test_cluster_enabled(store):
    """A single server is no node of a cluster."""
    assert store.cluster_enabled() is False
    assert store.clustered is False


def test_cluster_enabled_of_a_cluster():
    """A node of a cluster says so, and remembers it."""
    with LocalCluster() as cluster:
        node = cluster.nodes[0]
        with Connection(Address("127.0.0.1", node.port), Login()) as connection:
            store = Store(connection)
            assert store.clustered is None
            assert store.cluster_enabled() is True
            assert store.clustered is True


def test_replicas():
    """A replica is listed by its address, with its state and offset."""
    with LocalServer() as primary, LocalServer(replica_of=primary) as replica:
        with Connection(Address("127.0.0.1", primary.port), Login()) as connection:
            (found,) = Store(connection).replicas().items()
        assert found[0] == replica.address
        assert {"state", "offset"} <= found[1].keys()


SELECTING = {
    b"-BUSY a script": None,
    b"-LOADING the dataset": None,
    b"-MASTERDOWN the link is down": None,
    b"-NOPERM no permissions": "NOPERM no permissions",
    b"-ERR DB index is out of range": "ERR DB index",
}
"""What a server may say to SELECT, and what is passed on of it; None: it is waited for."""


@pytest.mark.parametrize("said", SELECTING, ids=lambda said: said.decode().split()[0])
def test_select_goes_by_the_table(server, monkeypatch, said):
    """A server that is busy for a moment is asked again, one that refuses is not."""
    monkeypatch.setattr("rotator.server.node.RETRY_SECONDS", (0.0, 0.0))
    answers = [said + b"\r\n"] * 2

    def answer(words, _ask):
        return answers.pop() if words[0] == b"SELECT" and answers else None

    with (
        RespFront(server.port, answer) as front,
        Connection(Address.parse(front.address), Login()) as connection,
    ):
        if SELECTING[said] is None:
            Store(connection).select(1)
            assert (answers, connection.db) == ([], 1)
        else:
            with pytest.raises(ServerError, match=SELECTING[said]):
                Store(connection).select(1)
            assert (len(answers), connection.db) == (1, 0)


def test_select_refused(store):
    """A database that the server does not have is an error with a hint, whoever asks for it."""
    with pytest.raises(ServerError, match="refuses access to database 9999") as caught:
        store.select(9999)
    assert "databases" in caught.value.hint
