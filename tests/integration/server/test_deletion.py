"""Compare-and-delete against a real server: every answer, for one name and for many."""

import pytest
from redis import Redis

from rotator.config.types import Address
from rotator.errors import ServerError
from rotator.server.connection import Connection, Login
from rotator.server.replies import ErrorKind, ErrorReply, SetResult
from rotator.server.scripts import NAMES_A_CALL
from rotator.server.store import Store
from support.caches import store_of, user
from support.clusters import names_in


@pytest.fixture
def deletion(server):
    """Deletes on the session's server."""
    store = store_of(server)
    yield store
    store.connection.close()


def deletion_as(server, login):
    """The same for an ACL user."""
    return store_of(server, *login)


def test_every_answer(deletion, redis):
    """What was read goes; what differs, is gone or is of another type is left alone."""
    redis.mset({"same": b"\x00\xff", "other": "b", "longer": "aa", "empty": ""})
    redis.rpush("list", "a")
    entries = [
        (b"same", b"\x00\xff"),
        (b"other", b"a"),
        (b"longer", b"a"),
        (b"empty", b""),
        (b"none", b"a"),
        (b"list", b"a"),
    ]
    assert deletion.compare_and_delete(entries) == [
        SetResult.DONE,
        SetResult.CHANGED,
        SetResult.CHANGED,
        SetResult.DONE,
        SetResult.GONE,
        SetResult.CHANGED,
    ]
    assert set(redis.keys()) == {b"other", b"longer", b"list"}


def test_nothing_to_delete(deletion):
    """Without entries nothing is asked."""
    assert deletion.compare_and_delete([]) == []


def test_it_is_freed_aside(deletion, redis):
    """UNLINK is used where it is allowed, and DEL is not."""
    redis.set("name", "value")
    deletion.compare_and_delete([(b"name", b"value")])
    stats = redis.info("commandstats")
    assert stats["cmdstat_unlink"]["calls"] == 1
    assert "cmdstat_del" not in stats


def test_calls_are_short(deletion, redis):
    """Many names, or large values, are cut into calls that do not hold the server for long."""
    entries = [(b"n%d" % index, b"v") for index in range(NAMES_A_CALL * 3)]
    entries += [(b"large%d" % index, bytes(400_000)) for index in range(3)]
    redis.mset(dict(entries))
    assert set(deletion.compare_and_delete(entries)) == {SetResult.DONE}
    assert redis.dbsize() == 0
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 6


def test_a_forgotten_script(deletion, redis):
    """A server that forgot the script is given it again."""
    redis.mset({"one": "a", "two": "b"})
    assert deletion.compare_and_delete([(b"one", b"a")]) == [SetResult.DONE]
    redis.script_flush()
    assert deletion.compare_and_delete([(b"two", b"b")]) == [SetResult.DONE]


class TestRights:
    """What a user may not do is an answer, name by name."""

    COMMON = ("+get", "+evalsha", "+script|load")

    def test_without_unlink(self, server, redis):
        """Who has DEL alone deletes with that."""
        redis.set("name", "value")
        with user(redis, "~*", *self.COMMON, "+del") as login:
            assert deletion_as(server, login).compare_and_delete([(b"name", b"value")]) == [
                SetResult.DONE
            ]

    def test_without_either(self, server, redis):
        """Who has neither is denied."""
        redis.set("name", "value")
        with user(redis, "~*", *self.COMMON) as login:
            assert deletion_as(server, login).compare_and_delete([(b"name", b"value")]) == [
                SetResult.DENIED
            ]
        assert redis.get("name") == b"value"

    def test_some_names(self, server, redis):
        """A name out of reach does not keep those of the same call from being deleted."""
        redis.mset({"app:1": "a", "other": "b", "app:2": "c"})
        with user(redis, "~app:*", *self.COMMON, "+unlink") as login:
            entries = [(b"app:1", b"a"), (b"other", b"b"), (b"app:2", b"c")]
            assert deletion_as(server, login).compare_and_delete(entries) == [
                SetResult.DONE,
                SetResult.DENIED,
                SetResult.DONE,
            ]
        assert redis.keys() == [b"other"]

    def test_without_scripts(self, server, redis):
        """Who may not load the script gets an error that says so."""
        with (
            user(redis, "~*", "+get", "+unlink") as login,
            pytest.raises(ServerError, match="SCRIPT failed: NOPERM"),
        ):
            deletion_as(server, login).compare_and_delete([(b"name", b"value")])


def test_a_cluster(cluster):
    """In a cluster each slot gets its own call; a name of another node is refused, not skipped."""
    node, other = cluster.primaries[:2]
    slots = {slot for first, last in cluster.member(node).slots for slot in range(first, last + 1)}
    names = names_in(slots, 40)
    with node.client() as client:
        for name in names:
            client.set(name, "v")
    store = Store(Connection(Address("127.0.0.1", node.port), Login()).open(), clustered=True)
    entries = [(name, b"v") for name in names]
    with store.connection:
        assert set(store.compare_and_delete(entries)) == {SetResult.DONE}
    store = Store(Connection(Address("127.0.0.1", other.port), Login()).open(), clustered=True)
    with store.connection:
        [answer] = store.compare_and_delete(entries[:1])
        assert isinstance(answer, ErrorReply)
        assert answer.meaning is ErrorKind.TOPOLOGY
        [answer] = store.asking().compare_and_delete(entries[:1])
        assert answer.message.startswith("MOVED")
    with Redis(port=node.port) as client:
        assert client.dbsize() == 0
