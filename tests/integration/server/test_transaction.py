"""Transactions: what is exchanged is what was read, or nothing is."""

from contextlib import contextmanager

import pytest

from cluster.expiries import expiry_of
from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.errors import LostError
from rotator.server.connection import Connection, Login
from rotator.server.replies import AnswerError, ErrorKind, SetResult
from rotator.server.scripts import Replacement, Way
from rotator.server.store import Store
from rotator.server.transaction import NAMES_A_TRANSACTION
from support.caches import FAR_MS, store_of, user
from support.respfront import RespFront

OLD, NEW = b"old", b"new"
TOUCHES = {
    "set": lambda redis: redis.set("b", OLD),
    "del": lambda redis: redis.delete("b"),
    "rename": lambda redis: redis.rename("b", "c"),
    "persist": lambda redis: redis.persist("b"),
    "append": lambda redis: redis.append("b", "x"),
    "expire": lambda redis: redis.pexpireat("b", 1),
    "flush": lambda redis: redis.flushdb(),
}


@pytest.fixture
def store(server, redis):  # noqa: ARG001 - redis empties the server first
    """A store that exchanges in transactions."""
    with store_of(server) as store:
        store.way = Way.TRANSACTION
        yield store


def swaps(*names):
    """Replacements of the old value by the new one."""
    return [Replacement(name, OLD, NEW) for name in names]


class TestCommit:
    """A transaction whose names are left alone, and one whose names are not."""

    def test_undisturbed(self, store, redis):
        """All values are replaced, and keep their expiries to the millisecond."""
        redis.mset({"expires": OLD, "stays": OLD})
        redis.pexpireat("expires", FAR_MS)
        begun = store.begin([b"expires", b"stays", b"gone"])
        assert begun.values() == [OLD, OLD, None]
        assert begun.commit(swaps(b"expires", b"stays"))() == [SetResult.DONE] * 2
        assert [redis.get("expires"), redis.get("stays")] == [NEW, NEW]
        assert [expiry_of(redis, "expires"), expiry_of(redis, "stays")] == [FAR_MS, -1]

    @pytest.mark.parametrize("touch", TOUCHES)
    def test_disturbed(self, store, redis, touch):
        """If a name was touched nothing is replaced, even if it holds what it held before."""
        redis.mset({"a": OLD, "b": OLD})
        redis.pexpireat("b", FAR_MS)
        begun = store.begin([b"a", b"b"])
        assert begun.values() == [OLD, OLD]
        TOUCHES[touch](redis)
        before = redis.get("a")
        assert begun.commit(swaps(b"a", b"b"))() == [SetResult.CHANGED] * 2
        assert redis.get("a") == before

    def test_the_next_one(self, store, redis):
        """One that was given up does not disturb the next on the same connection."""
        redis.mset({"a": OLD, "b": OLD})
        begun = store.begin([b"a"])
        begun.values()
        begun.discard()
        redis.set("a", "touched")
        begun = store.begin([b"b"])
        assert begun.values() == [OLD]
        assert begun.commit(swaps(b"b"))() == [SetResult.DONE]

    def test_what_had_expired_before(self, store, redis):
        """A name that is gone when it is watched is not made anew: no entry without an expiry."""
        redis.set("a", OLD, px=1)
        begun = store.begin([b"gone"])
        assert begun.values() == [None]
        assert begun.commit(swaps(b"gone"))() == [SetResult.GONE]
        assert redis.exists("gone") == 0

    def test_a_full_server(self, server, redis, store):
        """A refusal is the answer for each name, and the next transaction finds nothing open."""
        redis.mset({"a": OLD, "b": OLD})
        begun = store.begin([b"a", b"b"])
        begun.values()
        with server.client() as client:
            client.config_set("maxmemory", 1)
            try:
                answers = begun.commit(swaps(b"a", b"b"))()
            finally:
                client.config_set("maxmemory", 0)
        assert {answer.meaning for answer in answers} == {ErrorKind.FAILURE}
        assert all(answer.message.startswith("OOM") for answer in answers)
        assert store.compare_and_set([(b"a", OLD, NEW)]) == [SetResult.DONE]


class TestCompareAndSet:
    """The same for values that were read before, without WATCH."""

    def test_outcomes(self, store, redis):
        """Each name has an answer of its own, whatever becomes of the others."""
        redis.mset({"same": OLD, "other": b"another"})
        redis.rpush("list", "x")
        names = [b"same", b"other", b"gone", b"list"]
        done, changed, gone = SetResult.DONE, SetResult.CHANGED, SetResult.GONE
        assert store.compare_and_set(swaps(*names)) == [done, changed, gone, changed]
        assert redis.get("same") == NEW

    def test_one_denied_name(self, server, redis):
        """A name that may not be watched is denied, and its neighbours are replaced."""
        names = [b"app:%d" % number for number in range(2 * NAMES_A_TRANSACTION)]
        redis.mset(dict.fromkeys([*names, b"other:1"], OLD))
        with user(redis, "~app:*", "+@all") as login, store_of(server, *login) as store:
            store.way = Way.TRANSACTION
            answers = store.compare_and_set(swaps(*names, b"other:1"))
        assert answers == [SetResult.DONE] * len(names) + [SetResult.DENIED]

    def test_the_same_name_twice(self, store, redis):
        """The second replacement of a name finds it replaced."""
        redis.set("a", OLD)
        assert store.compare_and_set(swaps(b"a", b"a")) == [SetResult.DONE, SetResult.CHANGED]


@contextmanager
def behind(server, answer):
    """A store behind a front that answers some commands itself."""
    with RespFront(server.port, answer) as front:
        address = Address("127.0.0.1", front.port)
        with Store(Connection(address, Login()).open()) as store:
            yield store


class TestRefusals:
    """A front that refuses a part of it, for a server on which rights change meanwhile."""

    def test_multi(self, server, redis):
        """Where MULTI is refused no SET is sent: it would be carried out at once."""
        redis.set("a", OLD)
        sent = []

        def answer(words, _ask):
            sent.append(words[0])
            return b"-NOPERM no rights\r\n" if words[0] == b"MULTI" else None

        with behind(server, answer) as store:
            begun = store.begin([b"a"])
            assert begun.values() == [OLD]
            assert begun.commit(swaps(b"a"))() == [SetResult.DENIED]
            begun = store.begin([b"a", b"b"])
            begun.values()
            assert begun.commit(swaps(b"a"))() == [SetResult.CHANGED]
        assert b"SET" not in sent
        assert redis.get("a") == OLD

    def test_exec(self, server, redis):
        """Where EXEC is refused nobody knows what is open, so the connection is given up."""
        redis.set("a", OLD)
        refusal = b"-NOPERM no rights\r\n"
        with behind(server, lambda words, _: refusal if words == [b"EXEC"] else None) as store:
            begun = store.begin([b"a"])
            begun.values()
            with pytest.raises(LostError, match="what became of a transaction"):
                begun.commit(swaps(b"a"))()
        assert redis.get("a") == OLD

    def test_a_server_that_does_it_at_once(self, server, redis):
        """A SET that is answered as if there were no transaction is not understood."""
        redis.set("a", OLD)
        done = b"+OK\r\n"
        with behind(server, lambda words, _: done if words[0] == b"SET" else None) as store:
            begun = store.begin([b"a"])
            begun.values()
            with pytest.raises(AnswerError, match="not QUEUED"):
                begun.commit(swaps(b"a"))()


def test_databases():
    """Names are watched in the database that is selected, and in no other."""
    with LocalServer() as server, server.client(db=1) as other, store_of(server) as store:
        store.way = Way.TRANSACTION
        other.set("a", OLD)
        store.select(1)
        begun = store.begin([b"a"])
        assert begun.values() == [OLD]
        with server.client(db=0) as client:
            client.set("a", "elsewhere")
        assert begun.commit(swaps(b"a"))() == [SetResult.DONE]
        assert other.get("a") == NEW
