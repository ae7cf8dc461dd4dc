"""Who a process is, and what has moved data in it."""

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.demo.local_server import LocalServer
from rotator.retirement.looks import DATA_MOVING_COMMANDS
from rotator.server.node import Identity, parse_fields, parse_info
from support.caches import store_of
from support.server_versions import knows, since

CALLS = st.dictionaries(st.sampled_from(DATA_MOVING_COMMANDS), st.integers(0, 10**12))
WORDS = st.text(max_size=20)
IDENTITIES = st.builds(Identity, WORDS, WORDS, WORDS, WORDS, CALLS, WORDS, st.integers(0, 10**12))
DEEDS = {
    "rename": lambda client: client.rename("a", "b"),
    "renamenx": lambda client: client.renamenx("a", "b"),
    "copy": lambda client: client.copy("a", "b"),
    "move": lambda client: client.move("a", 1),
    "restore": lambda client: client.restore("b", 0, client.dump("a")),
    "swapdb": lambda client: client.swapdb(0, 1),
    "flushdb": lambda client: client.flushdb(),
    "flushall": lambda client: client.flushall(),
    "replicaof": lambda client: client.execute_command("REPLICAOF", "NO", "ONE"),
}


@pytest.fixture
def store(server, redis):
    """A store of the session's server, which holds one entry."""
    redis.set("a", "x")
    store = store_of(server)
    with store.connection:
        yield store


class TestChanges:
    """What a scan may have missed."""

    def test_none(self, store, redis):
        """Ordinary commands change nothing about who a server is."""
        before = store.identity()
        redis.set("b", "x", ex=100)
        redis.delete("b")
        redis.config_get("*")
        assert before.changes(store.identity()) == []

    @pytest.mark.parametrize("mover", DEEDS)
    def test_movers(self, store, redis, mover):
        """Every command that moves data is noticed by its name."""
        before = store.identity()
        if not knows(redis, mover):
            assert (mover, since(redis, 6, 2)) == ("copy", False)
            return
        DEEDS[mover](redis)
        assert before.changes(store.identity()) == [f"{mover.upper()} was called 1 time"]

    def test_in_a_script(self, store, redis):
        """A command that moves data is noticed in a script, too, however often it was called."""
        before = store.identity()
        redis.eval("redis.call('RENAME', 'a', 'b') redis.call('RENAME', 'b', 'c')", 3, *"abc")
        assert before.changes(store.identity()) == ["RENAME was called 2 times"]

    def test_counters_reset(self, store, redis):
        """Counters that were reset are noticed, also if they had been reset before."""
        for _ in range(3):
            redis.mget("a", "b")
            before = store.identity()
            redis.rename("a", "a")
            redis.config_resetstat()
            assert "the command counters were reset" in before.changes(store.identity()) or (
                "CONFIG|RESETSTAT was called 1 time" in before.changes(store.identity())
            )

    def test_other_process(self, store):
        """Another server is another process with another history."""
        with LocalServer() as other:
            other_store = store_of(other)
            with other_store.connection:
                changes = store.identity().changes(other_store.identity())
        assert "the server process was restarted or replaced" in changes
        assert "its replication history changed" in changes

    @given(one=IDENTITIES, other=IDENTITIES)
    def test_any(self, one, other):
        """What is saved and loaded has not changed, and any difference that counts is told."""
        assert Identity(**asdict(one)) == one
        assert one.changes(one) == []
        same = (one.run_id, one.role, one.replication_id, one.place) == (
            *(other.run_id, other.role, other.replication_id, other.place),
        )
        if not same or any(
            one.calls.get(m, 0) != other.calls.get(m, 0) for m in DATA_MOVING_COMMANDS
        ):
            assert one.changes(other)


class TestParsing:
    """INFO's text."""

    def test_info(self):
        """Headings and empty lines are left out, and a value may hold colons."""
        text = b"# Server\r\nrun_id:abc\r\n\r\nexecutable:/a:b\r\nbroken\r\n"
        assert parse_info(text) == {"run_id": "abc", "executable": "/a:b"}

    def test_fields(self):
        """The parts of a value come by name, and what is no part is left out."""
        assert parse_fields("calls=3,usec=12,odd") == {"calls": "3", "usec": "12"}
        assert parse_fields("") == {}
