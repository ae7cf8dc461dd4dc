"""`rotator inspect`: one entry, described, and not one byte of what it holds."""

import hashlib
import json
import time

import pytest

from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from support.commandline import KEY_A, KEY_B, KEY_C, cache, config_file, run
from support.respfront import RespFront

NAMESPACE = "/app/oidc"
NAME = f"{NAMESPACE}:{hashlib.sha256(b'abc').hexdigest()}"
SECRET = b"a plaintext to recognise"


def value(material=KEY_A, plaintext=SECRET, form="sealed", name=NAME):
    """A value as an application writes it."""
    codec = Codec(Keyring(Key.from_text(material, "test")), [BUILTIN[form]])
    return codec.seal(name.encode(), plaintext)


@pytest.fixture
def config(tmp_path, server, redis):  # noqa: ARG001 - empties the server
    """A configuration of one cache with a current and an old key."""
    return config_file(tmp_path / "maverics.yaml", cache(server.address))


def inspect(config, *arguments, code=0):
    """What `rotator inspect --format json` says."""
    done = run(["inspect", "-c", config, "--format", "json", *arguments])
    assert done.returncode == code, done.stderr
    assert done.stderr == b""
    return json.loads(done.stdout)


class TestInspect:
    """`rotator inspect`."""

    def test_it_describes_an_entry(self, config, redis, server):
        """Name, node, database, type, size, format and key are there."""
        redis.set(NAME, value())
        assert inspect(config, NAME) == {
            "name": NAME,
            "cache": "shared-redis",
            "node": server.address,
            "database": 0,
            "type": "string",
            "size": len(value()),
            "ttl_seconds": None,
            "expires_at": None,
            "encrypted": True,
            "format": "sealed",
            "key": Key.from_text(KEY_A, "test").id,
            "role": "old",
            "field": "caches[0].encryption.keys.old[0]",
            "nested": [],
            "reason": None,
        }

    def test_a_logical_key_is_found_by_its_namespace(self, config, redis):
        """With a namespace the name is computed from the application's key."""
        redis.set(NAME, value())
        assert inspect(config, "--namespace", NAMESPACE, "abc")["name"] == NAME

    @pytest.mark.parametrize("form", ["table", "json"])
    def test_nothing_is_revealed_unasked(self, config, redis, form):
        """Without --reveal no output holds the plaintext."""
        redis.set(NAME, value())
        done = run(["inspect", "-c", config, "--format", form, NAME])
        assert b"recognise" not in done.stdout + done.stderr
        assert SECRET.hex().encode() not in done.stdout

    def test_reveal_shows_text(self, config, redis):
        """With --reveal a plaintext in UTF-8 is shown as text."""
        redis.set(NAME, value(plaintext="grüße".encode()))
        found = inspect(config, "--reveal", NAME)
        assert (found["plaintext"], found["plaintext_encoding"]) == ("grüße", "utf-8")

    def test_reveal_shows_other_bytes_in_hex(self, config, redis):
        """With --reveal a plaintext that is no UTF-8 is shown in hex."""
        redis.set(NAME, value(plaintext=b"\xff\x00"))
        found = inspect(config, "--reveal", NAME)
        assert (found["plaintext"], found["plaintext_encoding"]) == ("ff00", "hex")

    def test_a_plaintext_cannot_command_the_terminal(self, config, redis):
        """Control characters of a revealed plaintext are escaped in the table."""
        redis.set(NAME, value(plaintext=b"\x1b[2Jgone"))
        done = run(["inspect", "-c", config, "--reveal", NAME])
        assert b"\x1b" not in done.stdout
        assert rb"\x1b[2Jgone" in done.stdout

    def test_a_server_that_refuses(self, server, redis, tmp_path):
        """What a server refuses to read is no missing right, unless it says so."""
        redis.set(NAME, value())
        reading = {b"MGET", b"GET", b"PEXPIRETIME", b"PTTL"}

        def answer(words, _ask):
            return b"-ERR not now\r\n" if words[0] in reading else None

        with RespFront(server.port, answer) as front:
            path = config_file(tmp_path / "c.yaml", cache(front.address))
            done = run(["inspect", "-c", path, NAME])
        assert done.returncode == 1
        assert f"{front.address} refused to read the entry: ERR not now" in done.stderr.decode()

    def test_a_ttl_is_told(self, config, redis):
        """The expiry is told as seconds left and as a time."""
        redis.set(NAME, value(), px=3_600_000)
        found = inspect(config, NAME)
        assert 3500 < found["ttl_seconds"] <= 3600
        in_an_hour = time.strftime("%Y-%m-%dT", time.gmtime(time.time() + 3600))
        assert found["expires_at"].startswith(in_an_hour)

    @pytest.mark.parametrize(
        ("held", "reason"),
        [
            (value(KEY_C), "unknown_key_id"),
            (value(KEY_B, name="another"), "bad_tag"),
            (value(KEY_B, name=""), "wrong_name"),
            (value(KEY_C, form="gcm"), "bad_tag"),
            (b"plain", "not_a_format"),
        ],
        ids=["unknown key", "another name", "no name", "another key", "plain"],
    )
    def test_the_reason_is_given_for_what_does_not_open(self, config, redis, held, reason):
        """A value that does not open is described with the reason, and the exit code is 3."""
        redis.set(NAME, held)
        found = inspect(config, NAME, code=3)
        assert (found["reason"], found["key"], found["size"]) == (reason, None, len(held))

    def test_a_nested_value_names_the_keys_inside(self, config, redis):
        """A value within a value is described by both keys."""
        redis.set(NAME, value(KEY_B, plaintext=value(KEY_A)))
        found = inspect(config, NAME)
        assert found["key"] == Key.from_text(KEY_B, "test").id
        assert found["nested"] == [Key.from_text(KEY_A, "test").id]

    def test_a_list_is_described_not_opened(self, config, redis):
        """An entry of another type has its type and TTL, and no key."""
        redis.lpush(NAME, value())
        redis.expire(NAME, 100)
        found = inspect(config, NAME)
        assert (found["type"], found["size"], found["key"]) == ("list", None, None)
        assert 90 < found["ttl_seconds"] <= 100

    def test_an_entry_is_found_in_any_database(self, config, server):
        """Without --db every database is looked into."""
        with server.client(db=5) as fifth:
            fifth.set(NAME, value())
        assert inspect(config, NAME)["database"] == 5

    def test_two_databases_are_one_too_many(self, config, server, redis):
        """A name in two databases is a question back, and --db answers it."""
        redis.set(NAME, value())
        with server.client(db=5) as fifth:
            fifth.set(NAME, value(KEY_B))
        done = run(["inspect", "-c", config, NAME])
        assert done.returncode == 2
        assert b"databases 0 and 5" in done.stderr
        assert inspect(config, "--db", "5", NAME)["role"] == "current"

    @pytest.mark.parametrize("arguments", [[], ["--db", "3"]])
    def test_a_missing_entry_exits_with_1(self, config, arguments):
        """A name that is not there is an error with a hint."""
        done = run(["inspect", "-c", config, *arguments, "nothing"])
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"rotator: error: there is no such entry in" in done.stderr
        assert b"rotator: hint: " in done.stderr

    def test_a_binary_name_is_found(self, config, redis):
        """A name that is no UTF-8 is given and shown byte for byte."""
        redis.set(b"\xff\x01", value(form="gcm"))
        given = b"\xff\x01".decode(errors="surrogateescape")
        done = run(["inspect", "-c", config, "--format", "json", given])
        assert json.loads(done.stdout)["name"] == "\\xff\x01"

    def test_the_table_fits_100_columns(self, config, redis):
        """A long name and a long plaintext are folded."""
        redis.set("n" * 300, value(plaintext=b"p" * 300, name="n" * 300))
        done = run(["inspect", "-c", config, "--reveal", "n" * 300])
        assert max(map(len, done.stdout.decode().splitlines())) <= 100

    def test_without_encryption_the_value_is_the_plaintext(self, tmp_path, server, redis):
        """With encryption off the entry has no key, and --reveal shows the value."""
        off = {"encryption": {"disabled": True}}
        path = config_file(tmp_path / "c.yaml", cache(server.address) | off)
        redis.set(NAME, b"as it is")
        assert inspect(path, NAME)["encrypted"] is False
        assert inspect(path, "--reveal", NAME)["plaintext"] == "as it is"

    def test_an_entry_that_may_not_be_read_exits_with_1(self, tmp_path, server, redis):
        """A user without the right to read gets an error that leads to `rotator check`."""
        redis.set(NAME, value())
        redis.acl_setuser(
            "blind", enabled=True, reset=True, passwords=["+pw"], keys=["/other:*"],
            commands=["+@all"],
        )  # fmt: skip
        blind = cache(server.address, username="blind", password="pw")
        try:
            done = run(["inspect", "-c", config_file(tmp_path / "c.yaml", blind), NAME])
        finally:
            redis.acl_deluser("blind")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"has no right to read" in done.stderr

    def test_nothing_is_written(self, config, redis):
        """Describing an entry sends no command that writes."""
        redis.set(NAME, value())
        before = redis.info("persistence")["rdb_changes_since_last_save"]
        inspect(config, "--reveal", NAME)
        assert redis.info("persistence")["rdb_changes_since_last_save"] == before
