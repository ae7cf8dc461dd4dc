"""The cache's own switches: encryption, hashing and prefix, in every combination."""

import hashlib
import itertools
import json
import re
from dataclasses import dataclass

import pytest

from rotator.crypto.codec import Codec, Opened
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from support.commandline import KEY_A, KEY_B, cache, config_file, run
from support.documents import section
from support.processes import run_here

NAMESPACE = "/app/oidc"
VALUE = b"\x00a value\xff"


@dataclass(frozen=True)
class Switches:
    """Which of the three are on; `+` in an id is on, `-` off."""

    encrypted: bool
    hashed: bool
    prefixed: bool

    def __str__(self):
        words = ("encryption", self.encrypted), ("hashing", self.hashed), ("prefix", self.prefixed)
        return "".join(f"{'+' if on else '-'}{word}" for word, on in words)

    @property
    def allowed(self):
        """The prefix may be off only where all is."""
        return self.prefixed or not (self.encrypted or self.hashed)

    @property
    def sections(self):
        """The sections of the cache that set them."""
        return {
            "keys": {"disablePrefix": not self.prefixed},
            "encryption": {
                "disabled": not self.encrypted,
                "keys": {"current": KEY_B, "old": [KEY_A]},
            },
            "hashing": {"keys": {"disabled": not self.hashed}},
        }

    def name(self, key):
        """The name under which an entry is stored."""
        prefix = f"{NAMESPACE}:" if self.prefixed else ""
        return (
            prefix + (hashlib.sha256(key.encode()).hexdigest() if self.hashed else key)
        ).encode()


WRITE = {"caches": {"shared-redis": {"write": "sealed"}}}
ALL = [Switches(*each) for each in itertools.product([True, False], repeat=3)]
ALLOWED = [one for one in ALL if one.allowed]
FORBIDDEN = [one for one in ALL if not one.allowed]


class Case:
    """A configuration with these switches, on the session's empty server."""

    def __init__(self, folder, server, redis, switches):
        self.switches = switches
        self.redis = redis
        self.state = folder / "state.db"
        self.file = config_file(
            folder / "maverics.yaml", cache(server.address) | switches.sections, rotator=WRITE
        )
        self.namespace = ["--namespace", NAMESPACE] if switches.prefixed else []

    def ends(self, code, command, *args):
        """The command ends with this code; what it said."""
        done = run_here([command, "--config", self.file, *args])
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def put(self, key="abc", material=KEY_A):
        """What an application has stored before: under the old key, where there is encryption."""
        name, value = self.switches.name(key), VALUE
        if self.switches.encrypted:
            codec = Codec(Keyring(Key.from_text(material, "test")), [BUILTIN["gcm"]])
            value = codec.seal(name, VALUE)
        self.redis.set(name, value)
        return name

    def key_of(self, value):
        """The key that opens a value."""
        keyring = Keyring(Key.from_text(KEY_B, "new"), [Key.from_text(KEY_A, "old")])
        opened = Codec(keyring, list(BUILTIN.values())).open(self.redis.keys()[0], value)
        assert isinstance(opened, Opened)
        assert opened.plaintext == VALUE
        return opened.key.field


@pytest.fixture(params=ALLOWED, ids=str)
def case(request, tmp_path, server, redis):
    """One of the combinations that are allowed."""
    return Case(tmp_path, server, redis, request.param)


class TestAllowed:
    """What the commands do."""

    def test_set(self, case, tmp_path):
        """Name and value are stored as the switches say."""
        (tmp_path / "value").write_bytes(VALUE)
        case.ends(0, "set", *case.namespace, "--value-file", tmp_path / "value", "abc")
        [name] = case.redis.keys()
        assert name == case.switches.name("abc")
        held = case.redis.get(name)
        if case.switches.encrypted:
            assert (case.key_of(held), VALUE in held) == ("new", False)
        else:
            assert held == VALUE

    def test_get_and_delete(self, case):
        """What an application has stored is read and deleted by the application's own key."""
        case.put()
        assert run(["get", "--config", case.file, *case.namespace, "abc"]).stdout == VALUE
        case.ends(0, "delete", *case.namespace, "abc")
        assert case.redis.keys() == []
        case.ends(1, "get", *case.namespace, "abc")

    def test_a_namespace_goes_with_the_prefix(self, case):
        """With the prefix a namespace is asked for, without it one is refused."""
        given = [] if case.switches.prefixed else ["--namespace", NAMESPACE]
        for command in ("get", "set", "delete"):
            said = case.ends(2, command, *given, "abc").stderr
            assert "namespace" in said

    def test_inspect(self, case):
        """An entry is found by its stored name and by its key, and is described as it is."""
        name = case.put().decode()
        by_key = [*case.namespace, "abc"] if case.switches.prefixed else ["abc"]
        for given in ([name], by_key):
            found = json.loads(case.ends(0, "inspect", *given, "--format", "json").stdout)
            assert found["name"] == name
            assert found["encrypted"] is case.switches.encrypted
            expected = ("gcm", "old") if case.switches.encrypted else (None, None)
            assert (found["format"], found["role"]) == expected
        shown = case.ends(0, "inspect", name, "--reveal", "--format", "json").stdout
        assert json.loads(shown)["plaintext"] == VALUE.hex()

    def test_run(self, case):
        """What is encrypted is rotated under whatever name; else there is nothing to do."""
        name = case.put()
        if case.switches.encrypted:
            case.ends(0, "run", "--state", case.state)
            assert case.key_of(case.redis.get(name)) == "new"
        else:
            said = case.ends(2, "run", "--state", case.state).stderr
            assert "every cache has encryption disabled" in said
            said = case.ends(2, "run", "--state", case.state, "--cache", "shared-redis").stderr
            assert "caches[0].encryption.disabled" in said
            assert case.redis.get(name) == VALUE
        assert case.redis.keys() == [name]

    def test_check_keys_and_detect(self, case):
        """The other commands say where encryption is off, and that is no failure of `check`."""
        case.put()
        off = "encryption is off"
        assert (off in case.ends(0, "check").stdout) is not case.switches.encrypted
        assert (off in case.ends(0, "keys").stdout) is not case.switches.encrypted
        case.ends(0 if case.switches.encrypted else 2, "detect")

    def test_beside_an_encrypted_one(self, case, tmp_path, server):
        """A run over several caches passes by one without encryption, and says so."""
        other = cache(server.address, name="other")
        config_file(case.file, cache(server.address) | case.switches.sections, other)
        name = case.put()
        codec = Codec(Keyring(Key.from_text(KEY_A, "test")), [BUILTIN["gcm"]])
        case.redis.set("other:1", codec.seal(b"other:1", VALUE))
        # The plain values are in the way of the other cache, for both have one database.
        code = 0 if case.switches.encrypted else 3
        done = case.ends(code, "run", "--state", tmp_path / "s.db", "--format", "json")
        names = [one["name"] for one in json.loads(done.stdout)["caches"]]
        passed = "not encrypted, nothing to rotate" in done.stderr
        assert names == (["shared-redis", "other"] if case.switches.encrypted else ["other"])
        assert passed is not case.switches.encrypted
        assert case.redis.exists(name)


@pytest.mark.parametrize("switches", FORBIDDEN, ids=str)
@pytest.mark.parametrize("command", ["run", "get", "set", "delete", "inspect", "keys", "check"])
def test_forbidden(command, switches, tmp_path, server, redis):
    """With encryption or hashing on, the prefix must be on: every command refuses to begin."""
    case = Case(tmp_path, server, redis, switches)
    redis.set("abc", "x")
    args = ["abc"] if command in {"get", "set", "delete", "inspect"} else []
    done = case.ends(2, command, *args)
    said = re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert "caches[0].keys.disablePrefix: true requires that encryption.disabled and" in said
    assert "leave the prefix on" in said
    assert redis.get("abc") == b"x"


def test_every_combination_is_documented():
    """The page has a row for each, and says of the forbidden ones that they are refused."""
    text = section("configuration", "The switches")
    rows = {
        tuple(cell.strip() == "on" for cell in cells[:3]): cells[3]
        for cells in (
            row.strip("|").split("|") for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)[2:]
        )
    }
    assert {(one.encrypted, one.hashed, one.prefixed) for one in ALL} == set(rows)
    for one in ALL:
        refused = "refused" in rows[one.encrypted, one.hashed, one.prefixed]
        assert refused is not one.allowed
