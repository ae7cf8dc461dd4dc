"""One node, command by command: reading, expiries, compare-and-set, and what errors mean."""

import time
from random import randbytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from cluster.expiries import expiry_of, put
from rotator.demo.local_server import LocalServer
from rotator.errors import RightsError
from rotator.server.replies import MEANINGS, ErrorKind, ErrorReply, NoValue, SetResult, error_reply
from rotator.server.store import GONE, NEVER, START, Store
from support.caches import FAR_MS, now_ms, store_of, user, wait_for
from support.server_versions import since, without

MIB = 1 << 20
NAMES = st.binary(max_size=40)
VALUES = st.binary(max_size=200)
WITH_SERVER = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def store(server, redis):  # noqa: ARG001 - redis empties the server first
    """A store on a connection of its own to the session's empty server."""
    store = store_of(server)
    with store.connection:
        yield store


class TestRead:
    """Values, and why there is none."""

    def test_kinds(self, store, redis):
        """Strings come as bytes, what is gone as gone, and other types as no strings, in order."""
        redis.set("a", b"\x00\xff")
        redis.set("empty", b"")
        redis.set("number", 12)
        redis.rpush("list", "x")
        assert store.read([b"gone", b"a", b"list", b"empty", b"number"]) == [
            NoValue.GONE,
            b"\x00\xff",
            NoValue.NOT_STRING,
            b"",
            b"12",
        ]

    def test_nothing(self, store):
        """No names have no values."""
        assert store.read([]) == []

    def test_expired(self, store, redis):
        """What has expired is gone, even before the server has removed it."""
        redis.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        at_ms = now_ms() + 20
        put(redis, "a", "x", at_ms)
        wait_for(lambda: now_ms() > at_ms)
        assert store.read([b"a"]) == [NoValue.GONE]
        redis.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")

    def test_denied_spoils_only_itself(self, server, redis):
        """A denied name among others is denied, and the others are read."""
        redis.mset({"app:1": "x", "other:1": "y", "app:2": "z"})
        redis.rpush("app:3", "x")
        with user(redis, "~app:*", "+@all") as (name, password):
            store = store_of(server, name, password)
            with store.connection:
                names = [b"app:1", b"other:1", b"app:3", b"app:2", b"app:4"]
                assert store.read(names) == [
                    b"x",
                    NoValue.DENIED,
                    NoValue.NOT_STRING,
                    b"z",
                    NoValue.GONE,
                ]

    def test_large(self, store, redis):
        """Values of several megabytes come whole."""
        redis.set("a", bytes(5 * MIB))
        redis.set("b", b"\xff" * (3 * MIB))
        assert store.read([b"a", b"b"]) == [bytes(5 * MIB), b"\xff" * (3 * MIB)]

    @WITH_SERVER
    @given(entries=st.dictionaries(NAMES, VALUES, max_size=30))
    def test_any(self, store, redis, entries):
        """Any name, the empty one and those that are no text included, gives its own value."""
        redis.flushdb()
        for name, value in entries.items():
            redis.set(name, value)
        assert store.read(list(entries)) == list(entries.values())
        cursor, names = store.page(START, None, 1000)
        assert cursor == START
        assert set(names) == set(entries)


class TestExpiries:
    """When names expire."""

    def test_exact(self, store, redis):
        """An expiry is exact to the millisecond; none, gone and no string are told apart."""
        put(redis, "a", "x", FAR_MS + 123)
        redis.set("b", "x")
        redis.rpush("list", "x")
        redis.pexpireat("list", FAR_MS)
        names = [b"a", b"b", b"gone", b"list"]
        assert store.expiries(names) == [FAR_MS + 123, NEVER, GONE, FAR_MS]
        assert store.expiries([]) == []

    def test_without_expire_time(self, redis):
        """Before Redis 7.0 an expiry is this machine's clock plus what is left."""
        with (
            LocalServer(*without(redis, "pexpiretime")) as server,
            server.client() as client,
            store_of(server).connection as connection,
        ):
            store = Store(connection)
            put(client, "a", "x", FAR_MS)
            client.set("b", "x")
            for _ in range(2):
                before = time.time() * 1000
                at_ms, never, gone = store.expiries([b"a", b"b", b"gone"])
                late = time.time() * 1000 - before
                assert abs(at_ms - FAR_MS) <= late + 2
                assert (never, gone) == (NEVER, GONE)

    def test_right_only_for_the_older_command(self, server, redis):
        """Who may use PTTL but not PEXPIRETIME gets an expiry all the same."""
        put(redis, "a", "x", FAR_MS)
        with user(redis, "~*", "+pttl") as (name, password):
            store = store_of(server, name, password)
            with store.connection:
                [at_ms] = store.expiries([b"a"])
        assert abs(at_ms - FAR_MS) < 5000

    def test_denied(self, server, redis):
        """The expiry of a denied name is not known, and its neighbour's is."""
        redis.mset({"app:1": "x", "other:1": "y"})
        with user(redis, "~app:*", "+@all") as (name, password):
            store = store_of(server, name, password)
            with store.connection:
                assert store.expiries([b"app:1", b"other:1"]) == [NEVER, None]


class TestCompareAndSet:
    """A value is replaced only if it is still the one that was read."""

    def test_answers(self, store, redis):
        """Done, changed, gone, and changed for a list that took the value's place."""
        redis.set("same", "old")
        redis.set("differs", "newer")
        redis.rpush("list", "x")
        swaps = [
            (b"same", b"old", b"new"),
            (b"differs", b"old", b"new"),
            (b"gone", b"old", b"new"),
            (b"list", b"old", b"new"),
        ]
        assert store.compare_and_set(swaps) == [
            SetResult.DONE,
            SetResult.CHANGED,
            SetResult.GONE,
            SetResult.CHANGED,
        ]
        assert redis.mget("same", "differs", "gone") == [b"new", b"newer", None]
        assert redis.lrange("list", 0, -1) == [b"x"]
        assert not redis.exists("gone")

    def test_nothing(self, store):
        """No swaps have no answers."""
        assert store.compare_and_set([]) == []

    def test_ttl(self, store, redis):
        """A TTL is kept to the millisecond, and what had none gets none."""
        put(redis, "expires", "old", FAR_MS + 7)
        redis.set("stays", "old")
        store.compare_and_set([(b"expires", b"old", b"new"), (b"stays", b"old", b"new")])
        assert redis.mget("expires", "stays") == [b"new", b"new"]
        assert expiry_of(redis, "expires") == FAR_MS + 7
        assert redis.pttl("stays") == -1

    def test_twice(self, store, redis):
        """The same swap a second time finds the value changed: by ourselves."""
        redis.set("a", "old")
        swap = (b"a", b"old", b"new")
        assert store.compare_and_set([swap, swap]) == [SetResult.DONE, SetResult.CHANGED]
        assert redis.get("a") == b"new"

    def test_script_flushed(self, store, redis):
        """A server that lost the script is given it again, and nothing is done twice."""
        redis.mset({"a": "old", "b": "old"})
        assert store.compare_and_set([(b"a", b"old", b"new")]) == [SetResult.DONE]
        redis.script_flush()
        assert store.compare_and_set([(b"b", b"old", b"new")]) == [SetResult.DONE]
        assert redis.mget("a", "b") == [b"new", b"new"]

    def test_out_of_memory(self, store, redis, configured):
        """A server out of memory refuses in its own words, and only where it would write."""
        redis.mset({"a": "old", "b": "newer"})
        configured("maxmemory-policy", "noeviction")
        configured("maxmemory", 1)
        refused, changed = store.compare_and_set([(b"a", b"old", b"new"), (b"b", b"old", b"new")])
        assert isinstance(refused, ErrorReply)
        assert refused.meaning is ErrorKind.FAILURE
        assert refused.message.startswith("OOM")
        assert changed is SetResult.CHANGED
        assert redis.get("a") == b"old"

    @pytest.mark.parametrize("rule", ["~app:*", "~app:* %R~other:*"])
    def test_denied_spoils_only_itself(self, server, redis, rule):
        """A name that may not be written is denied, and its neighbours in the batch are written."""
        if "%R" in rule and not since(redis, 7, 0):
            with pytest.raises(ResponseError, match="%R"), user(redis, *rule.split()):
                pass  # there is no right to read only, so nothing to tell apart
            return
        redis.mset({"app:1": "old", "other:1": "old", "app:2": "old"})
        names = [b"app:1", b"other:1", b"app:2"]
        with user(redis, "+@all", *rule.split()) as (name, password):
            store = store_of(server, name, password)
            with store.connection:
                answers = store.compare_and_set([(name, b"old", b"new") for name in names])
        assert answers == [SetResult.DONE, SetResult.DENIED, SetResult.DONE]
        assert redis.mget(*names) == [b"new", b"old", b"new"]

    def test_without_the_right_to_set(self, server, redis):
        """A user who may run scripts but not SET is denied, and nothing is written."""
        redis.set("a", "old")
        with user(redis, "~*", "+@all", "-set") as (name, password):
            store = store_of(server, name, password)
            with store.connection:
                assert store.compare_and_set([(b"a", b"old", b"new")]) == [SetResult.DENIED]
        assert redis.get("a") == b"old"

    def test_without_the_right_to_load(self, server, redis):
        """A user who may not load the script is told which command is missing."""
        with user(redis, "~*", "+@all", "-script|load") as (name, password):
            store = store_of(server, name, password)
            with store.connection, pytest.raises(RightsError, match="SCRIPT failed"):
                store.compare_and_set([(b"a", b"old", b"new")])

    @pytest.mark.parametrize("size", [60, 3_000, MIB])
    def test_a_value_that_differs_in_its_last_byte(self, store, redis, size):
        """A value that begins like the one that was read, and is as long, is not replaced."""
        read, held = bytes(size) + b"1", bytes(size) + b"2"
        redis.set("app", held)

        assert store.compare_and_set([(b"app", read, b"new")]) == [SetResult.CHANGED]
        assert redis.get("app") == held

    def test_large(self, store, redis):
        """Values of several megabytes are compared and set among small ones."""
        sizes = [10, 3 * MIB, 20, MIB // 2, MIB // 2, 30, 5 * MIB]
        swaps = []
        for number, size in enumerate(sizes):
            name = b"app:%d" % number
            redis.set(name, bytes(size))
            swaps.append((name, bytes(size), b"\x01" * size))
        assert store.compare_and_set(swaps) == [SetResult.DONE] * len(sizes)
        assert [redis.get(name) for name, _, _ in swaps] == [new for _, _, new in swaps]

    def test_many(self, store, redis):
        """A page of a thousand names is done name by name, whatever happened to each."""
        swaps = [(b"app:%d" % number, b"old", b"new%d" % number) for number in range(1000)]
        redis.mset({name: b"old" for name, _, _ in swaps})
        redis.delete(*(name for name, _, _ in swaps[::7]))
        redis.mset({name: b"newer" for name, _, _ in swaps[::5]})
        expected = [
            SetResult.CHANGED
            if number % 5 == 0
            else SetResult.GONE
            if number % 7 == 0
            else SetResult.DONE
            for number in range(1000)
        ]
        assert store.compare_and_set(swaps) == expected
        assert redis.dbsize() == sum(answer is not SetResult.GONE for answer in expected)

    @WITH_SERVER
    @given(
        entries=st.dictionaries(NAMES, st.tuples(VALUES, VALUES, VALUES, st.booleans())),
    )
    def test_any(self, store, redis, entries):
        """Whatever the bytes are, only what is held as it was read changes, and no TTL does."""
        redis.flushdb()
        expected = {}
        for name, (held, read, new, ttl) in entries.items():
            put(redis, name, held, FAR_MS if ttl else None)
            expected[name] = new if held == read else held
        swaps = [(name, read, new) for name, (_, read, new, _) in entries.items()]
        answers = store.compare_and_set(swaps)
        for (name, (held, read, _, ttl)), answer in zip(entries.items(), answers, strict=True):
            assert answer is (SetResult.DONE if held == read else SetResult.CHANGED)
            assert redis.get(name) == expected[name]
            assert expiry_of(redis, name) == (FAR_MS if ttl else -1)


class TestNode:
    """What is asked about the node itself."""

    def test_databases(self, store, redis, server):
        """Only databases that hold something are reported, with their number of names."""
        redis.mset({"a": 1, "b": 2})
        with server.client(db=7) as other:
            other.set("c", 3)
        assert store.databases() == {0: 2, 7: 1}

    def test_select(self, store, redis, server):
        """What is read is of the database that was selected."""
        redis.set("a", "zero")
        with server.client(db=7) as other:
            other.set("a", "seven")
        store.select(7)
        assert store.read([b"a"]) == [b"seven"]
        store.select(0)
        assert store.read([b"a"]) == [b"zero"]

    def test_largest_value(self, store, configured):
        """The server's own limit is known where it may be asked for."""
        configured("proto-max-bulk-len", MIB)
        assert store.largest_value() == MIB

    def test_largest_value_unknown(self, server, redis, configured):
        """Without the right to ask for it, the limit is taken to be the default of 512 MB."""
        configured("proto-max-bulk-len", MIB)
        with user(redis, "~*", "+@all", "-config") as (name, password):
            store = store_of(server, name, password)
            with store.connection:
                assert store.largest_value() == 512 * MIB

    def test_no_touch(self, store):
        """A server before 7.2 does not know CLIENT NO-TOUCH, and that is no error."""
        version = tuple(map(int, store.info("server")["redis_version"].split(".")[:2]))
        assert store.enable_no_touch() is (version >= (7, 2))

    def test_identity(self, store, redis):
        """The identity says which process answers, in which role, and what it is."""
        identity = store.identity()
        assert identity.run_id == redis.info("server")["run_id"]
        assert identity.role == "master"
        assert identity.version.split()[0] in {"redis", "valkey", "redict"}
        assert identity.place == ""
        assert not store.clustered

    def test_pages(self, store, redis):
        """The pages of a scan together hold every name, and only those that match."""
        redis.mset({f"app:{number}": 1 for number in range(1000)})
        redis.mset({f"other:{number}": 1 for number in range(1000)})
        names, cursor = set(), START
        while True:
            cursor, page = store.page(cursor, "app:*", 100)
            names.update(page)
            if cursor == START:
                break
        assert names == {b"app:%d" % number for number in range(1000)}

    def test_refused_to_scan(self, server, redis):
        """A refusal that concerns the node is raised, with the server's words."""
        with user(redis, "~*", "+@all", "-scan") as (name, password):
            store = store_of(server, name, password)
            with store.connection, pytest.raises(RightsError, match="SCAN failed: NOPERM"):
                store.page(START, None, 10)

    def test_loading(self):
        """A server that is just loading its data is asked again until it has."""
        with LocalServer() as server, server.client() as client:
            # It answers every 2 MB while it loads, and before Redis 7.0 that is fixed.
            client.mset({f"app:{number}": randbytes(200_000) for number in range(60)})
            client.config_set("key-load-delay", 20_000)  # microseconds
            store = store_of(server)
            reloading = client.connection_pool.get_connection()
            with store.connection:
                reloading.send_command("DEBUG", "RELOAD")
                wait_for(lambda: store.info("persistence")["loading"] == "1")
                [refused] = store.connection.pipeline([("SCAN", "0")])
                assert error_reply(refused).message.startswith("LOADING")
                _, names = store.page(START, None, 10)
                assert len(names) >= 10
            assert reloading.read_response() == b"OK"


class TestRefusal:
    """What error answers mean."""

    @pytest.mark.parametrize("code", MEANINGS)
    def test_codes(self, code):
        """Every known code has its meaning, as a reply and as a script's text."""
        error = ResponseError("words of the server", status_code=code)
        assert error_reply(error).meaning is MEANINGS[code]
        assert error_reply(f"-{code} words".encode()).meaning is MEANINGS[code]
        assert error_reply(error).message == f"{code} words of the server"

    @pytest.mark.parametrize("code", MEANINGS)
    def test_codes_of_old_scripts(self, code):
        """A script's error on a server before 7.0 means the same, and reads the same."""
        found = error_reply(f"@user_script: 14: -{code} words of the server\r\n".encode())
        assert found == ErrorReply(f"{code} words of the server", MEANINGS[code])

    def test_unknown(self):
        """An unknown error is a failure, never something to be skipped."""
        assert error_reply(ResponseError("ERR whatever")).meaning is ErrorKind.FAILURE
