"""`rotator adopt`: plaintext is encrypted where the operator says so, and nothing else is."""

import json
import os
import threading
from random import Random

import pytest

from cluster.expiries import put
from rotator.run.preflight import run_lock
from rotator.server.acl import READING, WRITING
from rotator.server.store import Store
from rotator.state.state import State
from support.caches import FAR_MS, Cache, Place, contents, user
from support.clusters import check, names_in
from support.clusters import store as store_in
from support.processes import run_here

MIB = 1 << 20
PLAIN = {
    b"app:short": b"hello",
    b"app:empty": b"",
    b"app:json": b'{"sub": "somebody", "scope": "openid and e-mail", "at": "2026-11-24T01:02:03Z"}',
}
"""What no format could be: too short, or ASCII that is no encoding."""


def adopt(place, *more, yes=True):
    """The arguments of an adoption over the configuration of *place*, with its state."""
    common = ["--config", place.file, "--state", place.state, *(["--yes"] if yes else [])]
    return ["adopt", *common, *map(str, more)]


def adopted(place, *more, code=0):
    """What an adoption with these options says of the cache, as JSON."""
    done = run_here(adopt(place, *more, "--format", "json"))
    assert done.returncode == code, done.stderr
    [cache] = json.loads(done.stdout)["caches"]
    return cache


@pytest.fixture
def filled(place, redis):
    """Plaintext and values side by side, with and without a TTL."""
    for index, (name, value) in enumerate(PLAIN.items()):
        put(redis, name, value, FAR_MS + index if index % 2 else None)
    redis.set("other:1", "hello")
    for number, form in enumerate(("gcm", "gcm-base64", "sealed")):
        place.cache.put(redis, f"app:{form}", key=number, form=form)
    redis.rpush("app:list", "a")
    redis.config_resetstat()
    return place


class TestAdoption:
    """What is encrypted, and how."""

    def test_plaintext_under_the_current_key(self, filled, redis):
        """Names that match, with their TTL to the millisecond; everything else byte for byte."""
        before = contents(redis)
        cache = adopted(filled, "--match", "app:*")
        after = contents(redis)
        assert (cache["to_encrypt"], cache["encrypted"]) == (3, 3)
        assert cache["others"] == {"encrypted_already": 3, "not_string": 1}
        for name, (value, at_ms) in after.items():
            if name in PLAIN:
                opened = filled.cache.open(name, value)
                assert opened.plaintext == PLAIN[name]
                assert opened.key.id == filled.cache.ids[0]
                assert at_ms == before[name][1]
            else:
                assert (value, at_ms) == before[name]
        assert redis.lrange("app:list", 0, -1) == [b"a"]

    def test_once_more_there_is_nothing(self, filled, redis):
        """What was encrypted is found to be: nothing is encrypted twice."""
        adopted(filled, "--match", "app:*")
        before = contents(redis)
        cache = adopted(filled, "--match", "app:*")
        assert (cache["encrypted"], cache["others"]["encrypted_already"]) == (0, 6)
        assert contents(redis) == before

    def test_then_a_run_moves_the_rest(self, filled):
        """A run afterwards opens everything that was adopted."""
        adopted(filled, "--match", "*")
        outcomes = filled.run().caches[0].outcomes
        assert (outcomes["undecryptable"], outcomes["current"], outcomes["rotated"]) == (0, 5, 2)

    @pytest.mark.parametrize(
        ("settings", "form"),
        [({}, "gcm-base64"), ({"formats": ["sealed"]}, "sealed"), ({"write": "gcm"}, "gcm")],
        ids=["what the cache has", "the only one", "write"],
    )
    def test_the_format(self, server, redis, tmp_path, settings, form):
        """The format is the one to write, the only one, or the one that the cache has."""
        place = Place(tmp_path, Cache(server.address, settings=settings))
        redis.set("app:1", "hello")
        for number, key in enumerate((0, 1, 1)):
            forms = ("gcm-base64", "gcm", "gcm")
            place.cache.put(redis, f"there:{number}", key=key, form=forms[number])
        assert f"encrypted as {form}, under" in run_here(adopt(place, "--match", "app:*")).stdout
        opened = place.cache.open("app:1", redis.get("app:1"), form=form)
        assert opened.plaintext == b"hello"

    def test_a_format_nobody_can_tell(self, server, redis, tmp_path):
        """Where no value is under the current key, it has to be said which format is meant."""
        place = Place(tmp_path, Cache(server.address))
        redis.set("app:1", "hello")
        place.cache.put(redis, "there:1", key=1)

        done = run_here(adopt(place, "--match", "app:*"))

        assert done.returncode == 2
        assert "rotator.caches.shared-redis.write" in done.stderr
        assert redis.get("app:1") == b"hello"

    def test_a_format_with_text_in_it(self, server, redis, tmp_path):
        """Nothing is encrypted in a format with text in it that no application has written."""
        layout = "v1:{nonce}{ciphertext}{tag}"
        formats = {"theirs": {"encoding": "base64", "layout": layout}}
        settings = {"formats": ["theirs"]}
        place = Place(tmp_path, Cache(server.address, settings=settings), formats=formats)
        redis.set("app:1", "hello")

        done = run_here(adopt(place, "--match", "app:*"))

        assert done.returncode == 2
        assert "constant: true" in done.stderr
        assert redis.get("app:1") == b"hello"
        formats["theirs"]["constant"] = True
        place.configure(*place.caches)
        adopted(place, "--match", "app:*")
        assert redis.get("app:1").startswith(b"v1:")

    def test_random_bytes(self, server, redis, tmp_path):
        """What holds random bytes is left, unless it is said that it is no ciphertext."""
        place = Place(tmp_path, Cache(server.address, settings={"formats": ["sealed"]}))
        session = b'{"sid":"5f1d9c0e8a7b64d2c3e1f0a9b8d7c6e5"}'
        redis.set("app:1", session)
        assert adopted(place, "--match", "*", code=3)["encrypted"] == 0
        assert redis.get("app:1") == session
        assert adopted(place, "--match", "*", "--allow-random")["encrypted"] == 1
        assert place.cache.open("app:1", redis.get("app:1")).plaintext == session

    def test_several_patterns(self, filled, redis):
        """Each pattern adds names."""
        assert adopted(filled, "--match", "app:s*", "--match", "other:*")["encrypted"] == 2
        assert redis.get("app:empty") == b""

    def test_what_no_run_visits(self, server, redis, tmp_path):
        """Names that the configuration leaves out stay plaintext, and are counted."""
        place = Place(
            tmp_path, Cache(server.address, settings={"match": ["app:*"], "write": "gcm"})
        )
        redis.mset({"app:1": "hello", "other:1": "hello"})
        cache = adopted(place, "--match", "*")
        assert (cache["encrypted"], cache["others"]) == (1, {"outside": 1})
        assert redis.get("other:1") == b"hello"

    def test_nonces_are_counted(self, filled):
        """Each encryption counts towards what the current key may encrypt."""
        adopted(filled, "--match", "app:*")
        with State(filled.state) as state:
            assert state.encryptions(filled.cache.ids[0]) == 3


class TestDoubt:
    """What could be a value is left: nothing is guessed."""

    @pytest.mark.parametrize(
        "value",
        [b"\x00\xff" * 20, b"a token of forty characters, or nearly so", b"YWJj" * 12],
        ids=["noise", "text of the length of a value", "base64"],
    )
    def test_what_looks_like_a_value(self, filled, redis, value):
        """It is left and listed, and that is 3; the rest is encrypted."""
        redis.set("app:doubt", value)
        cache = adopted(filled, "--match", "app:*", code=3)
        assert redis.get("app:doubt") == value
        assert cache["encrypted"] == 3
        assert cache["others"]["undecryptable"] == 1
        [problem] = cache["problems"]
        assert (problem["name"], problem["detail"]) == ("app:doubt", "bad_tag")

    def test_values_of_strangers(self, filled, redis):
        """A value under a key that is not configured is not encrypted once more."""
        stranger = Cache(name="stranger", keys=1)
        value = stranger.seal("app:theirs", b"x", key=0, form="sealed")
        redis.set("app:theirs", value)
        assert (
            adopted(filled, "--match", "app:*", code=3)["problems"][0]["detail"] == "unknown_key_id"
        )
        assert redis.get("app:theirs") == value

    def test_what_looks_encrypted(self, server, redis, tmp_path):
        """A value in a layout that no format describes is left, and it is said why."""
        place = Place(tmp_path, Cache(server.address, settings={"formats": ["sealed"]}))
        theirs = ":".join(os.urandom(size).hex() for size in (12, 16, 30))
        redis.mset({"app:1": "hello", "app:2": theirs})
        cache = adopted(place, "--match", "*", code=3)
        assert (cache["encrypted"], cache["others"]) == (1, {"undecryptable": 1})
        assert [one["detail"] for one in cache["problems"]] == ["looks encrypted"]
        assert redis.get("app:2") == theirs.encode()

    def test_fewer_formats_leave_less_doubt(self, server, redis, tmp_path):
        """With `sealed` alone text is not in doubt: every value of it begins with its mark."""
        place = Place(tmp_path, Cache(server.address, settings={"formats": ["sealed"]}))
        redis.mset({"app:1": b"a token of forty characters, or nearly so", "app:2": b"YWJj" * 12})
        assert adopted(place, "--match", "*")["encrypted"] == 2


class TestRefusals:
    """What is not begun."""

    @pytest.mark.parametrize(
        ("options", "word"),
        [((), "--match"), (("--match", "*", "--cache", "none"), "none")],
        ids=["no match", "no such cache"],
    )
    def test_usage(self, filled, redis, options, word):
        """2, with a hint, and nothing is written."""
        before = contents(redis)
        done = run_here(adopt(filled, *options))
        assert (done.returncode, done.stdout) == (2, "")
        assert word in done.stderr
        assert "rotator: hint:" in done.stderr
        assert contents(redis) == before

    def test_nobody_to_ask(self, filled, redis):
        """Without a terminal and without --yes it is 2."""
        before = contents(redis)
        done = run_here(adopt(filled, "--match", "*", yes=False))
        assert done.returncode == 2
        assert "--yes" in done.stderr
        assert contents(redis) == before

    def test_what_applications_need_is_said(self, filled):
        """Before anything is done it says what must be true of the applications."""
        done = run_here(adopt(filled, "--match", "app:*"))
        needed = "Applications must be configured to read encrypted values before you do this"
        assert needed in done.stderr
        assert "rotator docs rotation" in done.stderr
        assert needed in run_here(adopt(filled, "--match", "other:*", "--dry-run")).stdout

    def test_encryption_off(self, filled, redis):
        """With encryption off there is no key to encrypt under."""
        document = json.loads(filled.file.read_text())
        document["caches"][0]["encryption"] = {"disabled": True}
        filled.file.write_text(json.dumps(document))
        before = contents(redis)
        assert run_here(adopt(filled, "--match", "*")).returncode == 2
        assert contents(redis) == before

    def test_a_run_is_in_progress(self, filled, redis):
        """While a run holds the cache, nothing is begun: 7."""
        before = contents(redis)
        with State(filled.state) as state, run_lock(state.path, "shared-redis"):
            assert run_here(adopt(filled, "--match", "*")).returncode == 7
        assert contents(redis) == before

    @pytest.mark.parametrize("missing", WRITING)
    def test_without_a_right(self, filled, redis, server, missing):
        """What a run needs is needed here, and named before anything is written."""
        rest = [rule for rule in (*READING, *WRITING) if rule != missing]
        before = contents(redis)
        with user(redis, "~*", *rest) as (name, password):
            login = {"username": name, "password": password}
            place = Place(filled.folder, Cache(server.address, keys=filled.cache.keys, redis=login))
            done = run_here(adopt(place, "--match", "*"))
        assert done.returncode == 1
        assert missing in done.stderr
        assert contents(redis) == before

    def test_a_dry_run_writes_nothing(self, filled, redis, server):
        """A user who may only read is enough for it."""
        before = contents(redis)
        with user(redis, "~*", *READING) as (name, password):
            login = {"username": name, "password": password}
            place = Place(filled.folder, Cache(server.address, keys=filled.cache.keys, redis=login))
            redis.config_resetstat()
            cache = adopted(place, "--match", "*", "--dry-run")
        assert (cache["to_encrypt"], cache["encrypted"]) == (4, 0)
        stats = redis.info("commandstats")
        assert not {f"cmdstat_{one}" for one in ("set", "evalsha", "script|load")} & set(stats)
        assert contents(redis) == before
        assert not place.state.exists()


class TestOthers:
    """Applications at the same time."""

    def test_a_value_replaced_after_it_was_read(self, filled, redis, monkeypatch):
        """What an application writes meanwhile is judged anew: encrypted by it, it is left."""
        original, theirs = Store.start_compare_and_set, {}

        def late(self, swaps):
            if not theirs:
                theirs[b"app:json"] = filled.cache.put(redis, b"app:json", b"fresh", key=0)
                redis.set("app:short", "other")
                redis.delete("app:empty")
            return original(self, swaps)

        monkeypatch.setattr(Store, "start_compare_and_set", late)
        cache = adopted(filled, "--match", "app:*")
        assert redis.get("app:json") == theirs[b"app:json"]
        assert filled.cache.open("app:short", redis.get("app:short")).plaintext == b"other"
        assert not redis.exists("app:empty")
        assert (cache["encrypted"], cache["changed"], cache["gone"]) == (1, 1, 1)

    def test_a_writer_at_full_speed(self, place, redis, server):
        """Beside applications that write plaintext and values, all of it stays what it was."""
        place.cache.settings = {**place.cache.settings, "write": "gcm"}
        place.configure(place.cache)
        names = [b"app:%d" % index for index in range(200)]
        redis.mset(dict.fromkeys(names, "hello"))
        over, written, random = threading.Event(), dict.fromkeys(names, b"hello"), Random(1)

        def write():
            with server.client() as client:
                while not over.is_set():
                    name, text = random.choice(names), b"%d" % random.randrange(10**9)
                    if random.randrange(2):
                        place.cache.put(client, name, text, key=0)
                    else:
                        client.set(name, text)
                    written[name] = text

        writer = threading.Thread(target=write)
        writer.start()
        try:
            adopted(place, "--match", "app:*", "--page", 3)
        finally:
            over.set()
            writer.join()
        adopted(place, "--match", "app:*")
        for name, text in written.items():
            assert place.cache.open(name, redis.get(name)).plaintext == text


def test_a_value_that_would_be_too_large(place, redis, configured):
    """What the server could not take encrypted is left, and it is said why."""
    configured("proto-max-bulk-len", MIB)
    redis.mset({"small": "hello", "large": b" " * (MIB - 9)})
    place.configure(Cache(*place.cache.redis["addresses"], settings={"formats": ["sealed"]}))
    cache = adopted(place, "--match", "*", code=3)
    assert (cache["encrypted"], cache["failed"]) == (1, 1)
    [problem] = cache["problems"]
    assert problem["name"] == "large"
    assert problem["detail"].endswith(f" bytes when encrypted, the server takes {MIB}")
    assert redis.get("large") == b" " * (MIB - 9)


def test_a_cluster(cluster, tmp_path):
    """Plaintext on every node is encrypted, with its TTL."""
    place = Place(tmp_path, Cache(*cluster.addresses, settings={"write": "sealed"}))
    entries = {
        name: (b"hello", b"hello", FAR_MS + index if index % 2 else -1)
        for index, name in enumerate(names_in(range(16384), 300))
    }
    expected = store_in(cluster, entries)
    cache = adopted(place, "--match", "app:*")
    assert cache["encrypted"] == 300
    assert all(node["encrypted"] for node in cache["nodes"])
    check(cluster, place.cache, expected)
