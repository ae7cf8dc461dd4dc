"""The cache client, as a library and on the command line."""

import base64
import hashlib
import math
import pickle
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from cluster.local_cluster import LocalCluster
from rotator import Cache
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import LocalServer
from rotator.diagnose.inspect import find
from rotator.errors import ConfigError, MissingError, RightsError, ServerError, UnopenedError
from rotator.state.state import State
from support.commandline import KEY_A, KEY_B, KEY_C, cache, config_file, run
from support.documents import DOCUMENTS
from support.respfront import RespFront

NAMESPACE = "/app/oidc"
OFF = {"encryption": {"disabled": True}, "hashing": {"keys": {"disabled": True}}}


def stored(key, namespace=NAMESPACE):
    """The name under which Redis holds *key* by default."""
    return f"{namespace}:{hashlib.sha256(key.encode()).hexdigest()}".encode()


def sealed_with(material, name, plaintext, form="gcm"):
    """A value under the key *material*, as an application would write it."""
    return Codec(Keyring(Key.from_text(material, "test")), [BUILTIN[form]]).seal(name, plaintext)


def writing(form="sealed", **more):
    """The section that names the format of new values."""
    return {"caches": {"shared-redis": {"write": form, **more}}}


@pytest.fixture
def config(tmp_path, server):
    """A configuration of one cache on the session's server, with a current and an old key."""
    path = tmp_path / "maverics.yaml"
    return config_file(path, cache(server.address), rotator=writing())


@pytest.fixture
def client(config, redis):  # noqa: ARG001 - empties the server
    """The client of that cache, which is empty."""
    with Cache.open([config], namespace=NAMESPACE) as opened:
        yield opened


class TestCache:
    """`rotator.Cache`."""

    def test_get_gives_what_was_set(self, client):
        """A value comes back as it was set."""
        client.set("abc", b"value")
        assert client.get("abc") == b"value"

    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        max_examples=30,
    )
    @given(key=st.text(min_size=1), value=st.binary())
    def test_any_bytes_survive(self, client, key, value):
        """Any key of Unicode text and any bytes come back unchanged."""
        key = key.encode("utf-8", "ignore").decode()
        client.set(key, value)
        assert client.get(key) == value

    def test_the_stored_name_is_namespace_and_hash(self, client, redis):
        """Redis holds the namespace, a colon and the SHA-256 of the key in hex."""
        client.set("abc", b"value")
        assert redis.keys() == [stored("abc")]

    def test_the_server_never_sees_the_plaintext(self, client, redis):
        """What Redis holds does not contain the value."""
        client.set("abc", b"a value to recognise")
        assert b"recognise" not in redis.get(stored("abc"))

    @pytest.mark.parametrize("material", [KEY_A, KEY_B])
    @pytest.mark.parametrize("form", BUILTIN)
    def test_get_opens_under_every_key_and_format(self, client, redis, material, form):
        """A value under the current key or an old one opens, in each format."""
        redis.set(stored("abc"), sealed_with(material, stored("abc"), b"value", form))
        assert client.get("abc") == b"value"

    def test_a_default(self, client, redis):
        """Where there is no entry, the default is the answer, whatever it is; else the value."""
        redis.lpush(stored("list"), b"element")
        assert [client.get("abc", None), client.get("abc", b""), client.get("abc", 7)] == [
            None,
            b"",
            7,
        ]
        client.set("abc", b"value")
        assert client.get("abc", None) == b"value"
        with pytest.raises(UnopenedError):
            client.get("list", None)

    def test_a_missing_key_raises(self, client):
        """A key that is not there is an error that shows neither the key nor the whole hash."""
        with pytest.raises(MissingError) as caught:
            client.get("abc")
        assert "abc" not in str(caught.value).replace(hashlib.sha256(b"abc").hexdigest()[:12], "")
        assert caught.value.hint

    def test_an_unknown_key_raises(self, client, redis):
        """A value under a key that is not configured is an error with a reason and no value."""
        redis.set(stored("abc"), sealed_with(KEY_C, stored("abc"), b"value", "sealed"))
        with pytest.raises(UnopenedError, match="unknown_key_id"):
            client.get("abc")

    def test_a_moved_value_raises(self, client, redis):
        """A bound value under another name is an error that says so."""
        redis.set(stored("abc"), sealed_with(KEY_B, b"", b"value", "sealed"))
        with pytest.raises(UnopenedError, match="wrong_name"):
            client.get("abc")

    def test_a_list_raises(self, client, redis):
        """An entry of another Redis type is an error."""
        redis.lpush(stored("abc"), b"element")
        with pytest.raises(UnopenedError, match="not a string"):
            client.get("abc")

    def test_set_replaces_an_entry_of_any_type(self, client, redis):
        """A list gives way to the value that is set."""
        redis.lpush(stored("abc"), b"element")
        client.set("abc", b"value")
        assert client.get("abc") == b"value"

    def test_a_ttl_is_kept_to_the_millisecond(self, client, redis):
        """The TTL given is the TTL that Redis has."""
        client.set("abc", b"value", ttl=timedelta(hours=1, milliseconds=7))
        assert 3_590_000 < redis.pttl(stored("abc")) <= 3_600_007

    @pytest.mark.parametrize("ttl", [60, 59.9999, timedelta(minutes=1)])
    def test_a_ttl_in_seconds(self, client, redis, ttl):
        """A number is seconds, of which whole milliseconds count."""
        client.set("abc", b"value", ttl)
        assert 50_000 < redis.pttl(stored("abc")) <= 60_000

    @pytest.mark.parametrize("value", [bytearray(b"value"), memoryview(b"value")])
    def test_what_is_like_bytes(self, client, value):
        """A bytearray and a memoryview are bytes, too."""
        client.set("abc", value)
        assert client.get("abc") == b"value"

    @pytest.mark.parametrize("value", ["text", None, 7, ["a"]])
    def test_values_are_bytes(self, client, redis, value):
        """Anything else is refused with what to do, and nothing is written."""
        with pytest.raises(TypeError, match=r"values are bytes: text\.encode\(\)"):
            client.set("abc", value)
        assert redis.keys() == []

    @pytest.mark.parametrize("ttl", ["60", True, [1]])
    def test_a_ttl_is_a_time(self, client, redis, ttl):
        """A TTL that is neither a number nor a timedelta is refused."""
        with pytest.raises(TypeError, match="number of seconds or a timedelta"):
            client.set("abc", b"value", ttl)
        assert redis.keys() == []

    @pytest.mark.parametrize("namespace", [b"/app", None, 7])
    def test_a_namespace_is_text(self, config, namespace):
        """A namespace that is no text is refused: names would be others than the application's."""
        with pytest.raises(TypeError, match="a namespace is text"):
            Cache.open([config], namespace=namespace)

    @pytest.mark.parametrize("key", [b"abc", None, 7])
    def test_keys_are_text(self, client, redis, key):
        """A key that is no text is refused with what to do."""
        for call in (client.get, client.delete, lambda one: client.set(one, b"value")):
            with pytest.raises(TypeError, match="keys are text"):
                call(key)
        assert redis.keys() == []

    def test_threads_share_it(self, client):
        """Threads that use one client at the same time get each its own answers."""

        def use(number):
            for turn in range(60):
                client.set(f"key {number}", b"%d of %d" % (turn, number))
                assert client.get(f"key {number}") == b"%d of %d" % (turn, number)
                assert client.get(f"none {number}", None) is None
            return client.delete(f"key {number}")

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(use, range(8))) == [True] * 8

    def test_without_a_ttl_an_entry_stays(self, client, redis):
        """Setting without a TTL takes away the one that was there."""
        client.set("abc", b"value", ttl=timedelta(hours=1))
        client.set("abc", b"value")
        assert redis.ttl(stored("abc")) == -1

    @pytest.mark.parametrize(
        "ttl",
        [
            *(timedelta(0), timedelta(seconds=-1), timedelta(microseconds=1)),
            *(0, -1, 0.0001, math.nan, math.inf, 1e300),
        ],
    )
    def test_a_ttl_must_be_positive(self, client, redis, ttl):
        """A TTL below a millisecond is refused and nothing is written."""
        with pytest.raises(ConfigError):
            client.set("abc", b"value", ttl=ttl)
        assert redis.keys() == []

    def test_delete_says_whether_there_was_one(self, client):
        """Deleting is true the first time and false the second."""
        client.set("abc", b"value")
        assert [client.delete("abc"), client.delete("abc")] == [True, False]

    def test_several_formats(self, tmp_path, server):
        """With several formats it has to be said which one new values have, when it is opened."""
        path = config_file(tmp_path / "c.yaml", cache(server.address))
        with pytest.raises(ConfigError, match=r"rotator\.caches\.shared-redis\.write") as caught:
            Cache.open([path], namespace=NAMESPACE)
        assert "sealed, gcm and gcm-base64" in str(caught.value)
        assert "write: sealed" in caught.value.hint

    def test_one_format(self, tmp_path, server, redis):
        """With one format that is what is written, in the spelling of the value that was there."""
        settings = {"caches": {"shared-redis": {"formats": ["gcm-base64"]}}}
        path = config_file(tmp_path / "c.yaml", cache(server.address), rotator=settings)
        old = sealed_with(KEY_A, stored("abc"), b"old", "gcm-base64")
        keyring = Keyring(Key.from_text(KEY_B, "test"))
        with Cache.open([path], namespace=NAMESPACE) as client:
            for before in (old, old.rstrip(b"="), None):
                redis.set(stored("abc"), before) if before else redis.delete(stored("abc"))
                client.set("abc", b"new")
                value = redis.get(stored("abc"))
                opened = Codec(keyring, [BUILTIN["gcm-base64"]]).open(b"", value)
                assert opened.plaintext == b"new"
                assert (b"=" in value) == (before is None or b"=" in before)

    def test_a_configured_format_is_written(self, tmp_path, server, redis):
        """With a format to write, a value in another format gives way to that one."""
        settings = writing("gcm-base64")
        path = config_file(tmp_path / "c.yaml", cache(server.address), rotator=settings)
        redis.set(stored("abc"), sealed_with(KEY_A, stored("abc"), b"old", "gcm"))
        with Cache.open([path], namespace=NAMESPACE) as client:
            client.set("abc", b"new")
        base64.b64decode(redis.get(stored("abc")), validate=True)

    def test_encryption_off_stores_the_value_as_it_is(self, tmp_path, server, redis):
        """With encryption off, Redis holds the value itself, and any value is read."""
        off = {"encryption": {"disabled": True}}
        path = config_file(tmp_path / "c.yaml", cache(server.address) | off)
        with Cache.open([path], namespace=NAMESPACE) as client:
            client.set("abc", b"\x00value")
            assert redis.get(stored("abc")) == b"\x00value" == client.get("abc")

    def test_hashing_off_stores_the_key_as_it_is(self, tmp_path, server, redis):
        """With hashing off, the stored name is namespace and key, and errors do not show it."""
        off = {"hashing": {"keys": {"disabled": True}}}
        path = config_file(tmp_path / "c.yaml", cache(server.address) | off, rotator=writing())
        with Cache.open([path], namespace=NAMESPACE) as client:
            client.set("abc", b"value")
            assert redis.keys() == [b"/app/oidc:abc"]
            with pytest.raises(MissingError) as caught:
                client.get("secret-token")
        assert "secret-token" not in str(caught.value)

    def test_a_cache_without_prefix_has_bare_names(self, tmp_path, server, redis):
        """With the prefix disabled the key is the name."""
        bare = OFF | {"keys": {"disablePrefix": True}}
        path = config_file(tmp_path / "c.yaml", cache(server.address) | bare)
        with Cache.open([path]) as client:
            client.set("abc", b"value")
        assert redis.get("abc") == b"value"

    def test_a_cache_without_prefix_takes_no_namespace(self, tmp_path, server):
        """With the prefix disabled a namespace is refused."""
        bare = OFF | {"keys": {"disablePrefix": True}}
        path = config_file(tmp_path / "c.yaml", cache(server.address) | bare)
        with pytest.raises(ConfigError, match="disablePrefix"):
            Cache.open([path], namespace=NAMESPACE)

    def test_an_empty_namespace_leaves_the_colon(self, config, redis):
        """Without a namespace the stored name begins with the colon."""
        with Cache.open([config]) as client:
            client.set("abc", b"value")
        assert redis.keys() == [stored("abc", "")]

    def test_another_database_can_be_asked_for(self, config, server, redis):
        """An entry is set in the database given, and not in database 0."""
        with Cache.open([config], namespace=NAMESPACE, database=3) as client:
            client.set("abc", b"value")
        with server.client(db=3) as third:
            assert [third.keys(), redis.keys()] == [[stored("abc")], []]

    def test_a_name_is_needed_among_several(self, tmp_path, server):
        """With several caches and no name, the error lists them."""
        caches = [cache(server.address, name=name) for name in ("one", "two")]
        path = config_file(tmp_path / "c.yaml", *caches)
        with pytest.raises(ConfigError) as caught:
            Cache.open([path])
        assert "one, two" in caught.value.hint

    def test_a_lost_connection_is_made_anew(self, client, redis):
        """A client whose connection the server closed goes on."""
        client.set("abc", b"value")
        redis.client_kill_filter(_type="normal", skipme=True)
        assert client.get("abc") == b"value"

    def test_a_demoted_server_is_left(self, tmp_path):
        """A write that a demoted server refuses is sent to the new primary."""
        with LocalServer() as one, LocalServer() as two:
            path = config_file(
                tmp_path / "c.yaml", cache([one.address, two.address]), rotator=writing()
            )
            two.client().replicaof("127.0.0.1", one.port)
            with Cache.open([path], namespace=NAMESPACE) as client:
                client.set("abc", b"value")
                two.client().replicaof("NO", "ONE")
                one.client().replicaof("127.0.0.1", two.port)
                client.set("abc", b"new")
                assert two.client().exists(stored("abc")) == 1
                assert client.get("abc") == b"new"

    def test_two_servers_of_their_own_are_refused(self, tmp_path, server):
        """Addresses of two unrelated servers are an error: which one has the entry?"""
        with LocalServer() as other:
            path = config_file(
                tmp_path / "c.yaml", cache([server.address, other.address]), rotator=writing()
            )
            with Cache.open([path]) as client, pytest.raises(ServerError):
                client.get("abc")

    def test_a_missing_right_raises(self, tmp_path, server, redis):
        """A user that may only read gets an error for writing."""
        redis.acl_setuser(
            "reader", enabled=True, reset=True, passwords=["+pw"], keys=["*"],
            commands=["+info", "+mget", "+get", "+select"],
        )  # fmt: skip
        path = config_file(
            tmp_path / "c.yaml",
            cache(server.address, username="reader", password="pw"),
            rotator=writing(),
        )
        try:
            with Cache.open([path]) as client, pytest.raises(RightsError):
                client.set("abc", b"value")
        finally:
            redis.acl_deluser("reader")

    @pytest.mark.parametrize("said", [b"$1\r\n1\r\n", b"+QUEUED\r\n", b"*0\r\n", b"$-1\r\n"])
    def test_what_no_server_answers_is_no_success(self, tmp_path, server, redis, said):
        """An entry counts as written or removed only if the server says so."""

        def answer(words, _ask):
            return said if words[0] in {b"SET", b"DEL"} else None

        with RespFront(server.port, answer) as front:
            path = config_file(tmp_path / "c.yaml", cache(front.address), rotator=writing())
            with Cache.open([path], namespace=NAMESPACE) as opened:
                for command, call in (
                    ("SET", lambda: opened.set("a", b"x")),
                    ("DEL", lambda: opened.delete("a")),
                ):
                    with pytest.raises(ServerError, match=f"answer to {command} that is not"):
                        call()
        assert redis.dbsize() == 0

    def test_a_client_is_not_pickled(self, client):
        """A client holds keys, so it refuses to be pickled, and shows none."""
        with pytest.raises(TypeError):
            pickle.dumps(client)
        assert repr(client) == "Cache('shared-redis', '/app/oidc')"


@pytest.fixture(scope="module")
def cluster():
    """Three primaries."""
    with LocalCluster(primaries=3, replicas=0) as running:
        yield running


class TestCluster:
    """The client of a cluster, which is found from a single address."""

    @pytest.fixture
    def client(self, tmp_path, cluster):
        """A client that is told of one node only."""
        path = config_file(tmp_path / "c.yaml", cache(cluster.addresses[0]), rotator=writing())
        with Cache.open([path], namespace=NAMESPACE) as opened:
            yield opened

    def test_every_name_is_found_on_its_node(self, client, cluster):
        """Entries go to the nodes that own them, and come back from there."""
        for number in range(60):
            client.set(str(number), b"value %d" % number)
        assert all(client.get(str(n)) == b"value %d" % n for n in range(60))
        held = [node.client().dbsize() for node in cluster.primaries]
        assert (sum(held), min(held) > 0) == (60, True)
        assert all(client.delete(str(number)) for number in range(60))

    def test_a_slot_that_moved_is_followed(self, client, cluster):
        """An entry whose slot went to another node is found there."""
        client.set("moving", b"value")
        owner = cluster.owner_of(stored("moving"))
        target = next(node for node in cluster.primaries if node is not owner)
        cluster.move_slots(owner, target, [key_slot(stored("moving"))])
        assert client.get("moving") == b"value"
        assert client.delete("moving")

    def test_there_is_only_database_0(self, tmp_path, cluster):
        """Another database is refused with a hint."""
        path = config_file(tmp_path / "c.yaml", cache(cluster.addresses[0]), rotator=writing())
        with Cache.open([path], database=1) as client, pytest.raises(ServerError) as caught:
            client.get("abc")
        assert "only database 0" in caught.value.hint

    def test_an_entry_is_described_where_it_is(self, client, cluster):
        """Looking for an entry goes to every node."""
        client.set("abc", b"value")
        entry = find(client.access, stored("abc"))
        assert (entry.format, entry.node in cluster.addresses) == ("sealed", True)
        assert client.delete("abc")


class TestDocumented:
    """The example in the page on the library."""

    @pytest.mark.parametrize("lines", [None, -1], ids=["as it is", "without the last line"])
    def test_it_runs(self, lines, tmp_path, server, redis, monkeypatch):
        """The example does what it says, with nothing but the Orchestrator's own environment."""
        text = DOCUMENTS["library"].read_text()
        [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        code = "\n".join(code.splitlines()[:lines])
        path = config_file(
            tmp_path / "c.yaml", cache(server.address, current="<KEY>", old=[]), rotator=writing()
        )
        monkeypatch.setenv("MAVERICS_CONFIG", str(path))
        monkeypatch.setenv("MAVERICS_SECRET_PROVIDER", "env://")
        monkeypatch.setenv("KEY", KEY_A)
        names = {}
        exec(code, names)  # noqa: S102 - the code is our own
        assert names["token"] == b"token"
        left = [stored("abc123")] if lines else []
        assert redis.keys() == left
        assert all(3_590_000 < redis.pttl(name) <= 3_600_000 for name in left)

    def test_one_file_by_its_path(self, config, redis):
        """A single file may be given as such."""
        for file in config, str(config):
            with Cache.open(file, namespace=NAMESPACE) as client:
                client.set("abc", b"value")
        assert redis.keys() == [stored("abc")]


class TestCommands:
    """`rotator get`, `set` and `delete`."""

    @pytest.mark.usefixtures("redis")
    def test_get_writes_the_bytes_and_nothing_else(self, config):
        """What goes in by stdin comes out on stdout, byte for byte."""
        value = bytes(range(256)) + b"\r\n"
        put = run(["set", "-c", config, "--namespace", NAMESPACE, "abc"], input=value)
        got = run(["get", "-c", config, "--namespace", NAMESPACE, "abc"])
        assert (put.returncode, put.stdout, put.stderr) == (0, b"", b"")
        assert (got.returncode, got.stdout, got.stderr) == (0, value, b"")

    @pytest.mark.usefixtures("redis")
    def test_a_missing_key_exits_with_1(self, config):
        """Getting what is not there prints an error and a hint, and nothing on stdout."""
        got = run(["get", "-c", config, "--namespace", NAMESPACE, "abc"])
        assert (got.returncode, got.stdout) == (1, b"")
        assert b"rotator: error: there is no entry" in got.stderr
        assert b"rotator: hint:" in got.stderr

    def test_a_namespace_is_asked_for(self, config, redis):
        """Setting without a namespace is refused; an empty one has to be said aloud."""
        refused = run(["set", "-c", config, "abc"], input=b"value")
        said = run(["set", "-c", config, "--namespace", "", "abc"], input=b"value")
        assert [refused.returncode, said.returncode] == [2, 0]
        assert redis.keys() == [stored("abc", "")]

    def test_a_value_is_read_from_a_file(self, config, redis, tmp_path):
        """`--value-file` and `--ttl` make an entry of a file that expires."""
        (tmp_path / "value").write_bytes(b"from a file\n")
        arguments = ["-c", config, "--namespace", NAMESPACE]
        run(["set", *arguments, "--value-file", tmp_path / "value", "--ttl", "1h", "abc"])
        assert run(["get", *arguments, "abc"]).stdout == b"from a file\n"
        assert 3500 < redis.ttl(stored("abc")) <= 3600

    @pytest.mark.usefixtures("redis")
    def test_an_encryption_is_counted(self, config, tmp_path):
        """Setting counts for the key's nonce budget; it makes no state."""
        path = tmp_path / "state.db"
        arguments = ["set", "-c", config, "--namespace", NAMESPACE, "--state", path, "abc"]
        assert run(arguments, input=b"value").returncode == 0
        assert not path.exists()
        State(path).close()
        for _ in range(2):
            run(arguments, input=b"value")
        with closing(sqlite3.connect(path)) as database:
            assert [n for (n,) in database.execute("SELECT number FROM encryptions")] == [2]
        path.write_bytes(b"damaged")
        done = run(arguments, input=b"value")
        assert done.returncode == 0
        assert b"the encryption was not counted" in done.stderr

    def test_the_format_that_the_cache_has(self, tmp_path, server, redis):
        """A new value is in the format that most values under the current key are in."""
        path = config_file(tmp_path / "c.yaml", cache(server.address))
        for number in range(9):
            form, key = ("gcm", KEY_B) if number < 3 else ("gcm-base64", KEY_A)
            name = stored(str(number))
            redis.set(name, sealed_with(key, name, b"value", form))
        redis.set(stored("s"), sealed_with(KEY_B, stored("s"), b"value", "sealed"))
        arguments = ["set", "-c", path, "--namespace", NAMESPACE, "abc"]
        assert run(arguments, input=b"new").returncode == 0
        codec = Codec(Keyring(Key.from_text(KEY_B, "test")), [BUILTIN["gcm"]])
        assert codec.open(b"", redis.get(stored("abc"))).plaintext == b"new"

    @pytest.mark.parametrize("forms", [(), ("gcm", "sealed")])
    def test_a_format_nobody_can_tell(self, tmp_path, server, redis, forms):
        """Where no value is under the current key, or as many in two formats, it is refused."""
        path = config_file(tmp_path / "c.yaml", cache(server.address))
        redis.set("old", sealed_with(KEY_A, b"old", b"value"))
        for form in forms:
            redis.set(form, sealed_with(KEY_B, form.encode(), b"value", form))
        before = sorted(redis.keys())
        done = run(["set", "-c", path, "--namespace", NAMESPACE, "abc"], input=b"new")
        assert done.returncode == 2
        assert b"rotator.caches.shared-redis.write" in done.stderr
        assert sorted(redis.keys()) == before

    def test_a_file_that_is_not_there_is_a_usage_error(self, config, redis, tmp_path):
        """A value file that cannot be read exits with 2 and writes nothing."""
        arguments = ["-c", config, "--namespace", NAMESPACE, "--value-file", tmp_path / "none"]
        assert run(["set", *arguments, "abc"]).returncode == 2
        assert redis.keys() == []

    @pytest.mark.parametrize("ttl", ["0s", "soon", "-1h"])
    def test_a_wrong_ttl_is_a_usage_error(self, config, redis, ttl):
        """A TTL that is none exits with 2 and writes nothing."""
        arguments = ["-c", config, "--namespace", NAMESPACE, f"--ttl={ttl}"]
        assert run(["set", *arguments, "abc"], input=b"value").returncode == 2
        assert redis.keys() == []

    def test_delete_removes_the_entry(self, config, redis):
        """Deleting exits with 0 when there was an entry and with 1 when there was none."""
        redis.set(stored("abc"), b"anything")
        arguments = ["delete", "-c", config, "--namespace", NAMESPACE, "abc"]
        assert [run(arguments).returncode, run(arguments).returncode] == [0, 1]
        assert redis.keys() == []

    def test_a_database_that_is_not_there(self, config, redis):
        """A database beyond the server's last one exits with 1, an error and a hint."""
        assert redis.keys() == []
        for command in ("get", "inspect"):
            got = run([command, "-c", config, "--namespace", NAMESPACE, "--db", "4096", "abc"])
            assert (got.returncode, got.stdout) == (1, b"")
            assert b"rotator: hint: " in got.stderr

    def test_options_come_from_the_environment(self, config, redis):
        """Configuration, namespace and database may come as ROTATOR_ variables."""
        env = {
            "ROTATOR_CONFIG": str(config),
            "ROTATOR_NAMESPACE": NAMESPACE,
            "ROTATOR_DB": "2",
        }
        run(["set", "abc"], env=env, input=b"value")
        assert run(["get", "abc"], env=env).stdout == b"value"
        assert redis.keys() == []
