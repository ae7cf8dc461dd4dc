"""Fields of hashes: visited, rewritten and counted as strings are, with the TTLs that they have."""

import threading
from dataclasses import dataclass
from datetime import timedelta
from random import Random

import pytest
from redis.exceptions import ResponseError

from cluster.local_cluster import Move
from rotator.config.types import Address
from rotator.crypto.layout import FieldName
from rotator.demo.local_server import LocalServer
from rotator.errors import RightsError
from rotator.server import hash_fields
from rotator.server.acl import READING, WRITING, with_fields
from rotator.server.scripts import Replacement, Way
from rotator.state.state import State
from rotator.sweep.control import Stop, StopSignal
from rotator.sweep.node import field_reader, visitor
from rotator.sweep.node.worker import Worker
from rotator.sweep.scope import Limits, Scope
from rotator.tally.tally import Mode
from support.caches import (
    FAR_MS,
    NO_FILES,
    Cache,
    PageControl,
    Place,
    StopAfter,
    counted,
    meddled,
    now_ms,
    old_key,
    store_of,
    user,
    wait_for,
)
from support.clusters import FAST, names_in, tagged
from support.hashes import PLAIN, check, expire, expiry_of, fill, has_ttls, put
from support.programs import program

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
SCRIPTS = ("+evalsha", "+script|load")
LOGIN = ("+ping", "+hello", "+select")


def cache_with(fields, *addresses, **settings):
    """A cache whose fields of hashes are visited."""
    return Cache(*addresses, settings={**NO_FILES, "fields": fields, **settings})


@pytest.fixture
def named(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """A cache of the session's server that has its values in the field `data`."""
    return Place(tmp_path, cache_with(["data"], server.address))


@pytest.fixture
def whole(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """A cache of the session's server that has values in any field."""
    return Place(tmp_path, cache_with("*", server.address))


@pytest.fixture(scope="module", params=["field-ttls", "no-field-ttls"])
def either(request):
    """A server on which fields have TTLs, and one on which they have none."""
    with LocalServer(binary=program(request.param)) as running:
        yield running


@pytest.fixture
def client(either):
    """A client of that server, which is empty."""
    with either.client() as client:
        client.flushall()
        yield client


def fill_large(client, cache, size=100):
    """Put a hash of 3,000 fields, each with a value of *size* bytes, into a cache."""
    for number in range(3_000):
        put(client, cache, "large", f"{number}", b"x" * size)


def test_without_the_setting_nothing_is_looked_into(place, redis):
    """Without `fields` a hash is no string, and not one command for hashes is sent."""
    put(redis, place.cache, "app:1")
    redis.config_resetstat()
    report = place.run()
    assert counted(report) == {"not_string": 1}
    sent = {name for name in redis.info("commandstats") if name.startswith("cmdstat_h")}
    assert sent <= {"cmdstat_hello"}


def test_what_a_sweep_is_bound_to(place):
    """A position, a proof and a history are of no use with other fields than theirs."""
    access = place.access()
    scopes = [Scope(Mode.RUN, fields=fields) for fields in (None, ("data",), ("more",), "*")]
    assert len({scope.digest("codec") for scope in scopes}) == 4
    assert len({scope.basis(access.codec) for scope in scopes}) == 4
    settings = [{**NO_FILES, "fields": fields} for fields in (None, ["data"], ["more"], "*")]
    digests = set()
    for some in settings:
        place.cache.settings = some
        place.configure(place.cache)
        digests.add(place.access().scope)
    assert len(digests) == 4


class TestNamed:
    """`fields: [data]`."""

    def test_all_of_it(self, named, redis):
        """Every field called so is rotated with its TTLs kept; others are left byte for byte."""
        entries = fill(redis, named.cache, 300)
        report = named.run(page=40)
        assert counted(report) == {"rotated": 300}
        assert report.exit_code == 0
        check(redis, named.cache, entries)
        again = named.run(page=40)
        assert counted(again) == {"current": 300}

    def test_what_is_none_of_them(self, named, redis):
        """A hash without such a field, a list and a set are no strings; a string is visited."""
        put(redis, named.cache, "hash", "other")
        redis.rpush("list", "x")
        redis.sadd("set", "x")
        named.cache.put(redis, "string")
        put(redis, named.cache, "app")
        report = named.run()
        assert counted(report) == {"not_string": 3, "rotated": 2}
        assert {one.name for one in report.caches[0].problems} == {"hash", "list", "set"}

    def test_several_fields(self, server, redis, tmp_path):
        """Each of the fields is a visit; those that a hash does not have are none."""
        place = Place(tmp_path, cache_with(["data", "more"], server.address))
        entries = fill(redis, place.cache, 100, fields=("data", "more"))
        put(redis, place.cache, "half", "more")
        assert counted(place.run(page=30)) == {"rotated": 201}
        check(redis, place.cache, entries)

    def test_outcomes(self, named, redis):
        """Undecryptable and nested values are reported by the name of the hash and of the field."""
        redis.hset("plain", "data", "not a value at all")
        inner = named.cache.seal("nested", b"hello", key=1)
        put(redis, named.cache, "nested", plaintext=inner, key=2)
        report = named.run()
        assert counted(report) == {"undecryptable": 1, "nested": 1}
        told = {(one.name, one.field, one.outcome) for one in report.caches[0].problems}
        assert told == {("plain", "data", "undecryptable"), ("nested", "data", "nested")}

    def test_dry_run(self, named, redis):
        """A dry run counts what remains until the earlier of both expiries, and writes nothing."""
        hour = 3_600_000
        put(redis, named.cache, "a")
        put(redis, named.cache, "b")
        redis.pexpireat("b", FAR_MS)
        put(redis, named.cache, "c")
        redis.pexpireat("c", FAR_MS)
        if has_ttls(redis):
            expire(redis, "c", "data", FAR_MS - 2 * hour)
        before = {name: redis.dump(name) for name in "abc"}
        report = named.run(dry_run=True)
        assert counted(report) == {"would_rotate": 3}
        key = old_key(report, named.cache.ids[1])
        assert (key.remaining, key.remaining_without_ttl) == (3, 1)
        assert {name: redis.dump(name) for name in "abc"} == before

    def test_verdict(self, named, redis):
        """After a rotation and a quiet while a key is retirable: a proof looks into fields, too."""
        fill(redis, named.cache, 50)
        quiet = timedelta(0)
        named.run(quiet=quiet)
        report = named.run(quiet=quiet)
        assert old_key(report, named.cache.ids[1]).verdict == "retirable"
        put(redis, named.cache, "late")
        report = named.run(dry_run=True, quiet=quiet)
        assert old_key(report, named.cache.ids[1]).verdict == "in-use"

    def test_another_scope(self, named, redis):
        """What was proven without `fields` counts for nothing with it."""
        bare = Cache(*named.cache.redis["addresses"], keys=named.cache.keys, settings=NO_FILES)
        bare.put(redis, "app:1", key=0)
        place = Place(named.folder, bare)
        place.run(quiet=timedelta(0))
        assert old_key(place.run(quiet=timedelta(0)), bare.ids[1]).verdict == "retirable"
        place.configure(named.cache)
        report = place.run(quiet=timedelta(hours=1))
        assert old_key(report, bare.ids[1]).verdict != "retirable"

    def test_an_old_value_in_another_field(self, named, redis):
        """A value under an old key in a field that is not named keeps the key, and is counted."""
        put(redis, named.cache, "app:1", key=0)
        redis.hset("app:1", mapping=PLAIN)
        quiet = timedelta(0)
        named.run(quiet=quiet)
        assert old_key(named.run(quiet=quiet), named.cache.ids[1]).verdict == "retirable"
        put(redis, named.cache, "app:1", "forgotten", key=1)
        report = named.run(quiet=quiet)
        key = old_key(report, named.cache.ids[1])
        assert (report.exit_code, key.verdict) == (3, "in-use")
        assert report.caches[0].outside.under_old_keys == {named.cache.ids[1]: 1}
        assert any("outside `match`, `databases` or `fields`" in reason for reason in key.reasons)
        assert old_key(report, named.cache.ids[2]).verdict == "retirable"
        redis.hdel("app:1", "forgotten")
        named.run(quiet=quiet)
        assert old_key(named.run(quiet=quiet), named.cache.ids[1]).verdict == "retirable"

    def test_an_old_value_in_a_large_hash(self, named, redis):
        """The same holds however many fields the hash has."""
        put(redis, named.cache, "app:1", key=0)
        redis.hset("app:1", mapping={f"plain{number}": "-1" for number in range(1_200)})
        put(redis, named.cache, "app:1", "forgotten", key=1)
        quiet = timedelta(0)
        named.run(quiet=quiet)
        report = named.run(quiet=quiet)
        assert old_key(report, named.cache.ids[1]).verdict == "in-use"
        assert old_key(report, named.cache.ids[2]).verdict == "retirable"

    def test_only_one_key(self, named, redis):
        """With `--only-key` the fields under another key stay."""
        put(redis, named.cache, "a", key=1)
        put(redis, named.cache, "b", key=2)
        report = named.run(only_key=named.cache.ids[1])
        assert counted(report) == {"rotated": 1, "would_rotate": 1}

    def test_another_format(self, server, redis, tmp_path):
        """`write` is the format of fields, too, and the name of the hash is authenticated."""
        place = Place(tmp_path, cache_with(["data"], server.address, write="sealed"))
        put(redis, place.cache, "a", form="gcm", key=0)
        assert counted(place.run()) == {"rotated": 1}
        assert place.cache.open("a", redis.hget("a", "data"), form="sealed").plaintext == b"hello"

    def test_too_large(self, server, redis, tmp_path, configured):
        """A value that would pass the server's limit stays, and is said to."""
        place = Place(tmp_path, cache_with(["data"], server.address, write="gcm-base64"))
        put(redis, place.cache, "a", plaintext=b"x" * 1_000_000)
        configured("proto-max-bulk-len", 1_048_576)
        assert counted(place.run()) == {"too_large": 1}

    @pytest.mark.parametrize("workers", [1, 3])
    def test_several_workers(self, named, redis, workers):
        """Several workers and cursors on a node visit each field, some of them twice."""
        entries = fill(redis, named.cache, 400)
        redis.hset("plain", "data", "no value")
        report = named.run(page=30, workers=workers)
        found = counted(report)
        assert found["rotated"] == 400
        assert found.keys() <= {"rotated", "current", "undecryptable"}
        assert {(one.name, one.field) for one in report.caches[0].problems} == {("plain", "data")}
        check(redis, named.cache, entries)

    def test_problems_are_kept(self, named, redis):
        """What a stopped run had to tell of fields the next one tells, too."""
        for number in range(200):
            redis.hset(f"app:{number}", "data", "no value")
        named.run(page=20, dry_run=True, workers=1, stopper=StopAfter(5))
        report = named.run(page=20, dry_run=True, workers=1)
        assert counted(report) == {"undecryptable": 200}
        assert {one.field for one in report.caches[0].problems} == {"data"}

    def test_resumed(self, named, redis):
        """A run that was stopped goes on where it was, and the sums are those of one run."""
        entries = fill(redis, named.cache, 300)
        first = named.run(page=40, workers=1, stopper=StopAfter(4))
        assert first.exit_code == 130
        report = named.run(page=40, workers=1)
        assert counted(report)["rotated"] == 300
        check(redis, named.cache, entries)

    def test_a_rate(self, named, redis):
        """A limit on visits counts fields."""
        fill(redis, named.cache, 60)
        report = named.run(workers=1, page=10, limits=Limits(rate=100), verify=False)
        assert report.caches[0].waited_seconds["rate"] > 0.3


class TestExpired:
    """Hashes all of whose fields have expired, and are still there."""

    @pytest.mark.parametrize("fields", [["data"], "*"])
    def test_gone(self, either, client, tmp_path, fields):
        """They are gone, not something that nobody has looked into."""
        place = Place(tmp_path, cache_with(fields, either.address))
        for number in range(200):
            put(client, place.cache, f"app:{number}")
            if has_ttls(client):
                expire(client, f"app:{number}", "data", now_ms() + 3)
        wait_for(lambda: not has_ttls(client) or not client.hexists("app:199", "data"))
        report = place.run()
        assert set(counted(report)) <= ({"gone"} if has_ttls(client) else {"rotated"})


class TestAll:
    """`fields: "*"`."""

    def test_small_hashes(self, whole, redis):
        """All fields are visited, whatever they hold; a list is no string."""
        entries = fill(redis, whole.cache, 60, fields=("a", "b", "c"))
        redis.rpush("list", "x")
        report = whole.run(page=25)
        plain = 60 * len(PLAIN)
        assert counted(report) == {"rotated": 180, "undecryptable": plain, "not_string": 1}
        check(redis, whole.cache, entries)

    @pytest.mark.parametrize("size", [1, 300])
    def test_a_large_hash(self, whole, redis, size):
        """Every field of a large hash is visited, in pages, and only once."""
        fill_large(redis, whole.cache, size)
        redis.config_resetstat()
        assert counted(whole.run(verify=False)) == {"rotated": 3_000}
        assert redis.info("commandstats")["cmdstat_hscan"]["calls"] > 5
        assert counted(whole.run(dry_run=True)) == {"current": 3_000}

    def test_it_shrinks_and_grows_meanwhile(self, whole, redis):
        """A field that is there from the first page to the last is visited, whatever others do."""
        fill_large(redis, whole.cache)
        calls = []

        def change(swaps):
            calls.append(len(swaps))
            redis.hdel("large", *[f"more{number}" for number in range(4_000)])
            if len(calls) % 2:
                redis.hset("large", mapping={f"more{n}": "" for n in range(4_000)})

        whole.run(verify=False, kind=meddled(before_write=change), workers=1)
        assert len(calls) > 20
        ids = {whole.cache.open("large", redis.hget("large", f"{n}")).key.id for n in range(3_000)}
        assert ids == {whole.cache.ids[0]}

    def test_a_lost_connection(self, whole, redis):
        """A connection that breaks within a large hash is opened again, and all of it is done."""
        fill_large(redis, whole.cache)
        calls = []

        def cut(swaps):
            calls.append(len(swaps))
            if len(calls) in {5, 40}:
                redis.client_kill_filter(_type="normal", skipme=True)

        report = whole.run(kind=meddled(before_write=cut), workers=1)
        found = counted(report)
        assert report.exit_code == 0
        assert 2_500 < found["rotated"] <= 3_000
        assert counted(whole.run(dry_run=True)) == {"current": 3_000}

    def test_stopped_in_a_large_hash(self, whole, redis, monkeypatch):
        """A run stops in the middle of a large hash, keeps what it did, and the next ends it."""
        monkeypatch.setattr(visitor, "_LONG", 500)
        for number in range(4_000):
            put(redis, whole.cache, "large", f"{number}", b"x" * 100)
        first = whole.run(stopper=StopAfter(6), workers=1)
        done = counted(first)["rotated"]
        assert first.exit_code == 130
        assert 500 < done < 4_000
        report = whole.run(workers=1)
        assert counted(report)["rotated"] == 4_000
        assert report.exit_code == 0

    def test_short_windows(self, whole, redis):
        """Runs too short for a large hash go on in it where the one before was stopped."""
        for number in range(8_000):
            put(redis, whole.cache, "large", f"{number}", b"x" * 50)
        done = []
        while not done or done[-1] < 8_000:
            done.append(counted(whole.run(stopper=StopAfter(4), workers=1))["rotated"])
            assert len(done) < 25
        assert len(done) > 5
        ids = {whole.cache.open("large", redis.hget("large", f"{n}")).key.id for n in range(8_000)}
        assert ids == {whole.cache.ids[0]}

    def test_gone_meanwhile(self, whole):
        """A hash that is deleted before its fields are read is gone, and stays so."""
        store = store_of_place(whole)
        reader = field_reader.FieldReader.of("*")
        found = list(reader.entries(store, [b"gone"], [hash_fields.NoValue.NOT_STRING]))
        assert found == [([b"gone"], [hash_fields.NoValue.GONE])]


def store_of_place(place):
    """A store on the server of a place."""
    address = place.access().cache.addresses[0]
    return place.access().connect(address)


class TestWritten:
    """What is written meanwhile is read again, fields too."""

    def test_tracked(self, named, redis):
        """A field that gets an old value behind the scan is found by the proof."""
        for number in range(500):
            put(redis, named.cache, f"app:{number}", key=0)
        value = named.cache.seal("x", b"hello", key=1)

        def late(_phase, page):
            if page == 20:
                redis.hset("late", mapping={"data": value})
                for number in range(500):
                    redis.hset(f"app:{number}", "data", value)

        report = named.run(dry_run=True, page=10, on_page=late)
        [found] = report.caches
        assert found.outcomes["would_rotate"] >= 500
        assert old_key(report, named.cache.ids[1]).verdict == "in-use"

    def test_a_large_one(self, whole, redis):
        """Of a large hash that is renamed past the scan every field is found, in the end."""
        for number in range(300):
            put(redis, whole.cache, f"app:{number}", key=0)
        for number in range(1_200):
            put(redis, whole.cache, "move:0", f"{number}", key=1)
        at = [0]

        def move(_phase, _page):
            redis.rename(f"move:{at[0]}", f"move:{at[0] + 1}")
            at[0] += 1

        report = whole.run(dry_run=True, page=10, on_page=move)
        assert report.caches[0].outcomes["would_rotate"] >= 1_200


class TestExchange:
    """Compare and set, by a script and in a transaction."""

    @pytest.fixture(params=[Way.SCRIPT, Way.TRANSACTION])
    def store(self, request, either, client):  # noqa: ARG002 - client empties the server first
        """A store on either server, in either way."""
        store = store_of(either)
        store.field_way = request.param
        yield store
        store.connection.close()

    def exchange(self, store, *swaps):
        """What is said of fields of the hash `h`, given with old and new values."""
        made = [Replacement(FieldName(b"h", field), old, new) for field, old, new in swaps]
        return [one.name for one in hash_fields.start_exchange(store, made)()]

    def test_outcomes(self, store, client):
        """What is as it was is replaced with its TTLs; what is not is left; nothing is created."""
        client.hset("h", mapping={"a": "1", "b": "2", "c": "3"})
        client.pexpireat("h", FAR_MS + 7)
        if has_ttls(client):
            expire(client, "h", "a", FAR_MS + 1)
        swaps = [(b"a", b"1", b"x"), (b"b", b"2", b"y"), (b"c", b"?", b"z"), (b"d", b"", b"z")]
        assert self.exchange(store, *swaps) == ["DONE", "DONE", "CHANGED", "GONE"]
        assert client.hgetall("h") == {b"a": b"x", b"b": b"y", b"c": b"3"}
        assert expiry_of(client, "h", "a") == (FAR_MS + 1 if has_ttls(client) else -1)
        assert expiry_of(client, "h", "b") == -1
        assert client.pttl("h") > 0

    def test_the_same_field_twice(self, store, client):
        """The second time it is another value."""
        client.hset("h", "a", "1")
        assert self.exchange(store, (b"a", b"1", b"x"), (b"a", b"1", b"y")) == ["DONE", "CHANGED"]

    @pytest.mark.parametrize("other", ["string", "list", "nothing"])
    def test_something_else_in_its_place(self, store, client, other):
        """What is no hash any more is left as it is."""
        client.hset("h", "a", "1")
        client.delete("h")
        if other == "string":
            client.set("h", "a string")
        elif other == "list":
            client.rpush("h", "x")
        [said] = self.exchange(store, (b"a", b"1", b"x"))
        assert said == ("GONE" if other == "nothing" else "CHANGED")
        assert client.type("h") == {"string": b"string", "list": b"list"}.get(other, b"none")

    def test_expiring(self, store, client):
        """A field that expires at any moment is gone in the end, and never without a TTL."""
        if not has_ttls(client):
            assert client.info("server")["redis_version"] < "7.4"
            return
        random = Random(1)
        said = set()
        for _ in range(400):
            client.hset("h", mapping={"a": "1", "b": "2"})
            at_ms = now_ms() + random.randrange(0, 4)
            if expire(client, "h", "a", at_ms) == 1:
                said |= {*self.exchange(store, (b"a", b"1", b"x"))}
                assert expiry_of(client, "h", "a") in {at_ms, -2}
        wait_for(lambda: not client.hexists("h", "a"))
        assert said <= {"DONE", "GONE", "CHANGED"}
        assert "DONE" in said

    def test_expired_between_reading_and_writing(self, store, client):
        """In a transaction a field that expires after it was read is not brought back."""
        if not has_ttls(client) or store.field_way is not Way.TRANSACTION:
            assert hash_fields.has_field_ttls(store, FieldName(b"h", b"a")) == has_ttls(client)
            return
        for late in (1, 300):  # the server may hold it still, or has taken it away
            client.hset("h", mapping={"a": "1", "b": "2"})
            at_ms = now_ms() + 100
            expire(client, "h", "a", at_ms)
            begun = hash_fields.FieldTransaction(
                store.connection, [FieldName(b"h", b"a")], has_ttls=True
            )
            assert begun.values() == [b"1"]
            over = at_ms + late
            wait_for(lambda over=over: now_ms() > over)
            said = begun.commit([Replacement(FieldName(b"h", b"a"), b"1", b"x")])()
            assert [one.name for one in said] in (["GONE"], ["CHANGED"])
            assert client.hgetall("h") == {b"b": b"2"}

    @pytest.mark.parametrize(
        "touch",
        [
            lambda client: client.hset("h", "b", "other"),
            lambda client: client.hdel("h", "a"),
            lambda client: client.delete("h"),
            lambda client: client.rename("h", "elsewhere"),
            lambda client: client.persist("h"),
        ],
        ids=["another field", "gone", "all gone", "renamed", "persist"],
    )
    def test_disturbed(self, store, client, touch):
        """A transaction does nothing at all once somebody else has touched the hash."""
        client.hset("h", mapping={"a": "1", "b": "2"})
        client.pexpireat("h", FAR_MS)
        names = [FieldName(b"h", b"a"), FieldName(b"h", b"b")]
        has_ttls_here = hash_fields.has_field_ttls(store, names[0])
        begun = hash_fields.FieldTransaction(store.connection, names, has_ttls=has_ttls_here)
        assert begun.values() == [b"1", b"2"]
        touch(client)
        before = client.hgetall("h")
        said = begun.commit([Replacement(names[0], b"1", b"x"), Replacement(names[1], b"2", b"y")])
        assert [one.name for one in said()] == ["CHANGED", "CHANGED"]
        assert client.hgetall("h") == before

    def test_a_denied_ttl(self, either, client):
        """Who may not set a TTL again does not write at all: the TTL would be lost."""
        if not has_ttls(client):
            assert client.info("server")["redis_version"] < "7.4"
            return
        client.hset("h", "a", "1")
        expire(client, "h", "a", FAR_MS)
        for right in ("-hpexpireat", "-hpexpiretime"):
            for way in (Way.SCRIPT, Way.TRANSACTION):
                with user(client, "~*", "+@all", right) as login:
                    store = store_of(either, *login)
                    store.field_way = way
                    assert self.exchange(store, (b"a", b"1", b"x")) == ["DENIED"]
                assert (client.hget("h", "a"), expiry_of(client, "h", "a")) == (b"1", FAR_MS)

    def test_far_away(self, store, client):
        """A TTL that Lua cannot hold exactly is not touched, and neither is the value."""
        client.hset("h", "a", "1")
        try:
            expire(client, "h", "a", 2**60)
        except hash_fields.ResponseError:  # most servers refuse such a time, or any
            return
        [said] = hash_fields.start_exchange(
            store, [Replacement(FieldName(b"h", b"a"), b"1", b"x")]
        )()
        done = store.field_way is Way.TRANSACTION
        assert ("too late" in getattr(said, "message", "")) is not done
        assert (client.hget("h", "a"), expiry_of(client, "h", "a")) == (
            b"x" if done else b"1",
            2**60,
        )


@pytest.mark.parametrize("command", ["HPEXPIRETIME", "HPEXPIREAT"])
def test_a_command_of_another_name(tmp_path, command):
    """Where a command for TTLs is not to be had, no field loses its TTL: nothing is written."""
    renamed = ("--rename-command", command, "")
    running = LocalServer(*renamed, binary=program("field-ttls"))
    with running as server, server.client() as client:
        place = Place(tmp_path, cache_with(["data"], server.address))
        value = put(client, place.cache, "app:1")
        client.execute_command("HPEXPIRE", "app:1", 10**8, "FIELDS", 1, "data")
        place.run()
        assert client.hget("app:1", "data") == value
        assert client.execute_command("HPTTL", "app:1", "FIELDS", 1, "data")[0] > 0


class TestRights:
    """What `fields` needs besides."""

    @pytest.mark.parametrize("fields", [["data"], "*"])
    @pytest.mark.parametrize("ways", [SCRIPTS, ()])
    def test_enough(self, either, client, tmp_path, fields, ways):
        """With the rights that are documented all is done, also by who may not use scripts."""
        rights = [*READING, *with_fields(WRITING, fields), *ways]
        rights = [one for one in rights if has_ttls(client) or "hpexpire" not in one]
        with user(client, "~app:*", "&*", "-@all", *LOGIN, *rights) as (name, password):
            login = {"username": name, "password": password}
            cache = Cache(
                either.address,
                settings={**NO_FILES, "fields": fields, "match": ["app:*"]},
                redis=login,
            )
            place = Place(tmp_path, cache)
            entries = fill(client, cache, 60)
            report = place.run(page=20)
            assert counted(report)["rotated"] == 60
            assert report.caches[0].coverage.nodes[0].exchange == (
                "script" if ways else "transaction"
            )
        check(client, cache, entries)

    def test_missing(self, either, client, tmp_path):
        """What is missing is named before anything is written; a dry run needs none to write."""
        with user(client, "~*", "&*", "-@all", *LOGIN, *READING, *WRITING) as (name, password):
            login = {"username": name, "password": password}
            cache = Cache(either.address, settings={"fields": "*"}, redis=login)
            place = Place(tmp_path, cache)
            ttls = has_ttls(client)
            for dry_run in (True, False):
                wanted = ["+hmget", "+hlen", "+hscan", *(["+hpexpiretime"] if ttls else [])]
                if not dry_run:
                    wanted += ["+hset", *(["+hpexpireat"] if ttls else [])]
                with State(place.state) as state, pytest.raises(RightsError) as raised:
                    place.job(state, dry_run=dry_run).run()
                assert " ".join(wanted) in str(raised.value)

    def test_a_denied_hash(self, named, server, redis, tmp_path):
        """A hash that the user may not read is denied, by name."""
        put(redis, named.cache, "app:1")
        put(redis, named.cache, "secret")
        with user(redis, "~app:*", "&*", "+@all") as (name, password):
            login = {"username": name, "password": password}
            settings = named.cache.settings
            cache = Cache(server.address, keys=named.cache.keys, settings=settings, redis=login)
            place = Place(tmp_path, cache)
            report = place.run()
        assert counted(report) == {"rotated": 1, "denied": 1}


DEEDS = ("set", "set", "delete", "drop", "expire", "persist", "rename", "short", "string")


@dataclass
class Held:
    """What a field must hold: a plaintext until a time in Unix milliseconds, -1 for ever."""

    plaintext: bytes
    at_ms: int


class Writer(threading.Thread):
    """An application that does with its hashes what it likes; *journal* has what must be there."""

    def __init__(self, server, cache):
        super().__init__(daemon=True)
        self._client, self._cache, self._random = server.client(), cache, Random(1)
        self._ttls = has_ttls(self._client)
        self._stopping = threading.Event()
        self._serial = 0
        self.names = [f"own:{number}" for number in range(80)]
        self.journal: dict[tuple[str, str], Held] = {}
        self.done = dict.fromkeys(DEEDS, 0)
        for name in self.names:
            self._put(name, "data", key=1)
            self._put(name, "more", key=2)

    def _put(self, name, field, *, key, short=False):
        self._serial += 1
        plaintext = b"%d" % self._serial
        put(self._client, self._cache, name, field, plaintext, key=key)
        held = self.journal[name, field] = Held(plaintext, -1)
        if self._ttls and (short or self._random.random() < 0.4):
            soon, late = self._random.randrange(1, 40), self._random.randrange(10**9)
            held.at_ms = now_ms() + soon if short else FAR_MS + late
            if expire(self._client, name, field, held.at_ms) == 2:
                del self.journal[name, field]

    def run(self):
        """Do one thing after the other."""
        while not self._stopping.is_set():
            deed = self._random.choice(DEEDS)
            field = self._random.choice(["data", "more"])
            getattr(self, f"do_{deed}")(self._random.choice(self.names), field)
            self.done[deed] += 1

    def stop(self):
        """Tell it to stop, and wait until it has."""
        assert self.is_alive(), "the writer has ended by itself"
        self._stopping.set()
        self.join()

    def _clear(self, name):
        """Delete a name, whatever it holds."""
        self._client.delete(name)
        for field in ("data", "more", "string"):
            self.journal.pop((name, field), None)

    def _is_hash(self, name):
        """Whether a name may be treated as a hash."""
        return (name, "string") not in self.journal

    def do_set(self, name, field):
        """Write under the current key."""
        if self._is_hash(name):
            self._put(name, field, key=0)

    def do_delete(self, name, field):
        """Delete a field."""
        if self._is_hash(name):
            self._client.hdel(name, field)
            self.journal.pop((name, field), None)

    def do_drop(self, name, _field):
        """Delete a hash."""
        self._clear(name)

    def do_expire(self, name, field):
        """Give a field another TTL."""
        at_ms = FAR_MS + self._random.randrange(10**9)
        if self._ttls and self._is_hash(name) and expire(self._client, name, field, at_ms) == 1:
            self.journal[name, field].at_ms = at_ms

    def do_persist(self, name, field):
        """Take the TTL of a field away."""
        if self._ttls and self._is_hash(name):
            [said] = self._client.execute_command("HPERSIST", name, "FIELDS", 1, field)
            if said == 1:
                self.journal[name, field].at_ms = -1

    def do_rename(self, name, _field):
        """Move a hash over another one."""
        target = self._random.choice(self.names)
        if name != target and self._client.exists(name):
            moved = {f: h for (n, f), h in self.journal.items() if n == name}
            try:
                self._client.rename(name, target)
            except ResponseError as error:
                if "no such key" not in str(error):
                    raise
                return  # it has just expired
            for field in ("data", "more", "string"):
                self.journal.pop((name, field), None)
                self.journal.pop((target, field), None)
            self.journal.update({(target, field): held for field, held in moved.items()})

    def do_short(self, name, field):
        """Write under an old key, for a moment only."""
        if self._is_hash(name):
            self._put(name, field, key=1, short=True)

    def do_string(self, name, _field):
        """Put a string in the place of a hash."""
        self._clear(name)
        self._cache.put(self._client, name, b"string", key=0)
        self.journal[name, "string"] = Held(b"string", -1)

    def faults(self):
        """What differs from what was written, in words."""
        found = []
        for name in self.names:
            kind = self._client.type(name)
            fields = self._client.hgetall(name) if kind == b"hash" else {}
            if kind == b"string":
                fields = {b"string": self._client.get(name)}
            for field, value in fields.items():
                held = self.journal.get((name, field.decode()))
                if held is None:
                    found.append(f"{name} {field} has come back")
                    continue
                if self._cache.open(name, value).plaintext != held.plaintext:
                    found.append(f"{name} {field} holds another plaintext")
                at_ms = -1 if kind == b"string" else expiry_of(self._client, name, field)
                if at_ms not in {held.at_ms, -2}:
                    found.append(f"{name} {field} expires at {at_ms}, not {held.at_ms}")
            for (of, field), held in self.journal.items():
                late = held.at_ms != -1 and held.at_ms <= now_ms() + 1
                if of == name and field.encode() not in fields and not late:
                    found.append(f"{name} {field} is lost")
        return found


def test_files_written_anew(tmp_path):
    """Where all values are in hashes an append-only file holds a key no longer than elsewhere."""
    with LocalServer("--appendonly", "yes") as server, server.client() as client:
        settings = {"fields": ["data"], "assume": {"rdb": NO_FILES["assume"]["rdb"]}}
        place = Place(tmp_path, Cache(server.address, settings=settings))
        fill(client, place.cache, 50)
        quiet = timedelta(0)
        place.run(quiet=quiet)
        place.run(quiet=quiet, refresh_files=True)
        report = place.run(quiet=quiet)
        assert old_key(report, place.cache.ids[1]).verdict == "retirable"


@pytest.mark.parametrize("fields", [["data", "more"], "*"])
@pytest.mark.parametrize("scripts", [True, False])
def test_writers(either, client, tmp_path, fields, scripts):
    """Beside an application that does whatever it likes nothing is lost, and nothing comes back."""
    rights = [] if scripts else ["-evalsha", "-script"]
    with user(client, "~*", "&*", "+@all", *rights) as (name, password):
        login = {"username": name, "password": password}
        settings = {**NO_FILES, "fields": fields}
        place = Place(tmp_path, Cache(either.address, settings=settings, redis=login))
        writer = Writer(either, place.cache)
        writer.start()

        def wait(_swaps):
            before = sum(writer.done.values())
            wait_for(lambda: sum(writer.done.values()) >= before + 10)

        for _ in range(6):
            report = place.run(page=20, verify=False, kind=meddled(before_write=wait), workers=1)
            assert report.caches[0].complete
        for _ in range(10):
            place.run(page=20, verify=False, workers=1)
        writer.stop()
        assert writer.faults() == []
        assert all(writer.done.values())
        final = place.run()
        assert final.exit_code == 0
        assert set(counted(final)) <= {"rotated", "current", "gone"}


class Impatient(StopSignal):
    """Stops at every seventh question."""

    asked = 0

    def reason(self):
        """A wish to stop, now and then."""
        self.asked += 1
        return Stop.INTERRUPTED if self.asked % 7 == 0 else None


def test_interrupted_again_and_again(whole, redis, monkeypatch):
    """However often it is stopped in large hashes, no run says that all is done before it is."""
    monkeypatch.setattr(visitor, "_LONG", 200)
    for number in range(2_000):
        put(redis, whole.cache, f"large:{number % 2}", f"{number}", b"x" * 100)
    stopper = Impatient()
    for _ in range(60):
        report = whole.run(stopper=stopper, workers=1)
        if report.exit_code == 0:
            break
        assert report.exit_code == 130
    ids = [
        whole.cache.open(f"large:{n % 2}", redis.hget(f"large:{n % 2}", f"{n}")).key.id
        for n in range(2_000)
    ]
    assert set(ids) == {whole.cache.ids[0]}


class TestCluster:
    """Hashes of a cluster."""

    @pytest.mark.parametrize("fields", [["data"], "*"])
    def test_all_of_it(self, cluster, tmp_path, fields):
        """Fields on every node are rotated, each with its TTLs."""
        place = Place(tmp_path, cache_with(fields, *cluster.addresses))
        expected = []
        for node in cluster.primaries:
            slots = {
                n for first, last in cluster.member(node).slots for n in range(first, last + 1)
            }
            client = node.client()
            expected.append((client, fill(client, place.cache, names_in(slots, 150))))
        assert counted(place.run(page=50, **FAST))["rotated"] == 450
        for client, entries in expected:
            check(client, place.cache, entries)
            client.close()

    @pytest.mark.parametrize("way", [Way.SCRIPT, Way.TRANSACTION])
    @pytest.mark.parametrize("fields", [["data"], "*"])
    def test_while_a_slot_is_moved(self, cluster, tmp_path, fields, way):
        """Hashes of a slot on the move are rotated on the node where each of them is."""
        place = Place(tmp_path, cache_with(fields, *cluster.addresses))
        source, target = cluster.primaries[:2]
        slot = cluster.member(source).slots[0][0]
        names = tagged(slot, 20)
        with source.client() as client:
            for name in names:
                put(client, place.cache, name)
        cluster.move_slots(source, target, [slot], Move.HALF)
        try:
            rotate(place, source, target, way)
        finally:
            cluster.move_slots(source, target, [slot])
        with target.client() as client:
            ids = {place.cache.open(name, client.hget(name, "data")).key.id for name in names}
        assert ids == {place.cache.ids[0]}


def rotate(place, *nodes_and_way):
    """Sweep some nodes by themselves, as they are, in one way."""
    *nodes, way = nodes_and_way
    access = place.access()
    for node in nodes:

        def connect(address):
            store = access.connect(address)
            store.field_way = way
            return store

        scope = Scope(Mode.RUN, fields=access.settings.fields)
        worker = Worker(
            Address("127.0.0.1", node.port),
            connect,
            codec=access.codec,
            scope=scope,
            control=PageControl(),
        )
        worker._session.store.field_way = way
        worker.run()
