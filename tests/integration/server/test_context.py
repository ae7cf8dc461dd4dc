"""What it takes to use a cache: resolved at the last moment, and never shown."""

import copy
import json
import os
import pickle
import traceback
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.config.load import load
from rotator.config.types import Address
from rotator.crypto.keyring import Key, generate
from rotator.errors import ConfigError, KeyMaterialError, SecretError
from rotator.retirement.places import Declarations
from rotator.run.declared import Listing, declarations, other_listings
from rotator.server.context import CacheContext, scope_digest
from rotator.tally.tally import Outcome
from support.caches import Cache, Place, user

PASSWORD = "correct horse battery staple"
KEYS = ["c0ffee00" * 8, "0dd5eed5" * 8]


class TestOpening:
    """From references to things that can be used."""

    def test_inline(self, place):
        """The keys come in their roles, with the fields that they are configured in."""
        access = place.access()
        assert [key.id for key in access.keyring.all] == place.cache.ids
        assert access.keyring.current.field == "caches[0].encryption.keys.current"
        assert [key.field for key in access.keyring.old] == [
            "caches[0].encryption.keys.old[0]",
            "caches[0].encryption.keys.old[1]",
        ]

    def test_references(self, server, redis, tmp_path, monkeypatch):
        """References are resolved: keys, user and password."""
        with user(redis, "~*", "+@all") as (name, password):
            cache = Cache(
                server.address,
                keys=["<CURRENT>", "<OLD>"],
                redis={"username": "<WHO>", "password": "<PASS>"},
            )
            place = Place(tmp_path, cache)
            current, old = generate(), generate()
            for variable, value in {
                "CURRENT": current,
                "OLD": old,
                "WHO": name,
                "PASS": password,
            }.items():
                monkeypatch.setenv(variable, value)
            config = load([place.file])
            access = CacheContext.open(config, cache.name, "env://")
            assert [key.id for key in access.keyring.all] == Cache(keys=[current, old]).ids
            store = access.connect(Address("127.0.0.1", server.port))
            with store.connection:
                assert store.connection.call("ACL", "WHOAMI").decode() == name

    @pytest.mark.parametrize("url", [None, "env://"])
    def test_the_only_cache(self, tmp_path, monkeypatch, url):
        """Without a name the only cache is opened, without a URL with the variable's provider."""
        monkeypatch.setenv("CURRENT", generate())
        monkeypatch.setenv("MAVERICS_SECRET_PROVIDER", "stranger://x" if url else "env://")
        place = Place(tmp_path, Cache("127.0.0.1:1", keys=["<CURRENT>"]))
        access = CacheContext.open(load([place.file]), provider_url=url)
        assert access.cache.name == "shared-redis"
        assert access.keyring.current.id == Cache(keys=[os.environ["CURRENT"]]).ids[0]

    def test_one_of_several(self, tmp_path):
        """Of several caches one has to be named, and it has to exist."""
        several = [Cache("127.0.0.1:1", name=name) for name in ("a", "b")]
        config = load([Place(tmp_path, *several).file])
        assert CacheContext.open(config, "b").cache.name == "b"
        for name, message in ((None, "there are several caches"), ("c", "the cache c is not in")):
            with pytest.raises(ConfigError, match=message) as caught:
                CacheContext.open(config, name)
            assert "a, b" in caught.value.hint

    def test_missing_reference(self, server, tmp_path, monkeypatch):
        """A reference that the provider does not know is named."""
        monkeypatch.delenv("CURRENT", raising=False)
        place = Place(tmp_path, Cache(server.address, keys=["<CURRENT>", generate()]))
        config = load([place.file])
        with pytest.raises(SecretError, match="CURRENT"):
            CacheContext.open(config, "shared-redis", "env://")

    @pytest.mark.parametrize("bad", ["00", "zz" * 32, "0" * 63, "0" * 128])
    def test_bad_key(self, tmp_path, monkeypatch, bad):
        """A resolved key that is none names its field and never its value."""
        monkeypatch.setenv("CURRENT", bad)
        place = Place(tmp_path, Cache("127.0.0.1:1", keys=["<CURRENT>", generate()]))
        config = load([place.file])
        with pytest.raises(KeyMaterialError, match=r"encryption\.keys\.current") as caught:
            CacheContext.open(config, "shared-redis", "env://")
        assert bad not in "".join(traceback.format_exception(caught.value))

    def test_not_encrypted(self, place):
        """A cache without encryption has neither keys nor a codec, but can be connected to."""
        section = {**place.cache.section, "encryption": {"disabled": True}}
        place.file.write_text(json.dumps({"caches": [section]}))
        access = place.access()
        assert access.keyring is None
        assert access.codec is None
        store = access.connect(access.cache.addresses[0])
        with store.connection:
            assert store.connection.call("PING") == b"PONG"

    def test_address_map(self, server, tmp_path):
        """An address that the map knows is reached where the map says."""
        told = "10.255.255.1:6379"
        settings = {"addressMap": {told: server.address}}
        access = Place(tmp_path, Cache(told, settings=settings)).access()
        store = access.connect(Address.parse(told))
        with store.connection:
            assert store.node == server.address

    def test_formats(self, tmp_path):
        """The codec reads the configured formats in their order, and writes the one to write."""
        settings = {"formats": ["gcm-base64", "sealed"], "write": "sealed"}
        access = Place(tmp_path, Cache("127.0.0.1:1", settings=settings)).access()
        assert [form.name for form in access.codec.formats] == ["gcm-base64", "sealed"]
        value = access.codec.seal(b"app:1", b"hello")
        assert access.codec.open(b"app:1", value).format.name == "sealed"


class TestOtherListings:
    """The keys that caches list which are never swept."""

    @pytest.fixture
    def listings(self, tmp_path):
        """What is found of two sections, beside a cache that is encrypted."""

        def find(*sections, provider=None):
            own = Cache("127.0.0.1:1", keys=KEYS).section
            file = tmp_path / "maverics.yaml"
            file.write_text(json.dumps({"caches": [own, *sections]}))
            return other_listings(load([file]), provider)

        return find

    @staticmethod
    def plain(**encryption):
        """A cache without encryption, with what *encryption* says besides."""
        own = Cache("127.0.0.1:1", name="plain").section
        return {**own, "encryption": {"disabled": True, **encryption}}

    @staticmethod
    def cluster(**encryption):
        """A cache of type cluster."""
        return {"name": "mesh", "type": "cluster", "encryption": encryption}

    def test_ids(self, listings):
        """Their keys are known by their ids, the encrypted cache's own are not among them."""
        ids = tuple(Key.from_text(key, "test").id for key in KEYS)
        keys = {"current": KEYS[0], "old": KEYS[1:]}
        assert listings(self.plain(keys=keys), self.cluster(keys={"old": KEYS[1:]})) == {
            "plain": Listing("disabled", ids),
            "mesh": Listing("cluster", ids[1:]),
        }

    def test_no_keys(self, listings):
        """A cache that lists no key is one that lists none."""
        assert listings(self.plain(), self.cluster()) == {
            "plain": Listing("disabled", ()),
            "mesh": Listing("cluster", ()),
        }
        assert listings() == {}

    def test_not_known(self, listings):
        """A key that cannot be resolved, or is none, makes all of that cache's keys unknown."""
        keys = {"current": KEYS[0], "old": ["<lost>"]}
        assert listings(self.plain(keys=keys), self.cluster(keys={"current": "00"})) == {
            "plain": Listing("disabled", None),
            "mesh": Listing("cluster", None),
        }
        assert listings(self.cluster(keys={"odd": 1}))["mesh"] == Listing("cluster", None)


class TestDeclarations:
    """What an operator declares of a cache."""

    @staticmethod
    def of(tmp_path, settings, **given):
        """The declarations of a cache with these *settings*."""
        cache = Cache("10.0.0.7:6379", settings=settings)
        loaded = load([Place(tmp_path, cache, Cache("127.0.0.1:1", name="old-cluster")).file])
        own = loaded.cache("shared-redis")
        found = declarations(loaded, own, **{"accepted": {}, **given})
        assert (found.scope, found.addresses) == (scope_digest(loaded, own), ("10.0.0.7:6379",))
        return replace(found, scope="", addresses=())

    def test_nothing(self, tmp_path):
        """Where nothing is declared, nothing is: retention and replicas are not known."""
        assert self.of(tmp_path, {}) == Declarations()

    def test_reasons(self, tmp_path):
        """Each assumption is kept as its reason, of addresses and caches for each of them."""
        assume = {
            "rdb": {"is": "none", "reason": "no disk"},
            "aof": {"is": "none", "reason": "never on"},
            "outside": {"is": "foreign", "reason": "the billing team's"},
            "replicas": {"is": "as-primary-says", "reason": "hidden"},
            "decommissioned": {"is": ["10.0.0.8:6379"], "reason": "deleted"},
            "caches": {"is": ["old-cluster"], "reason": "never used there"},
            "identity": {"is": "one-server", "reason": "a single instance"},
        }
        found = self.of(tmp_path, {"assume": assume, "backups": {"retention": "0s"}})
        assert found == Declarations(
            retention=timedelta(0),
            rdb="no disk",
            aof="never on",
            outside="the billing team's",
            replicas="hidden",
            decommissioned={"10.0.0.8:6379": "deleted"},
            caches={"old-cluster": "never used there"},
            identity="a single instance",
        )

    def test_only(self, tmp_path):
        """Where the replicas are said to be all there are, the cache's own addresses count too."""
        found = self.of(tmp_path, {"replicas": {"only": ["10.0.0.8:6379"]}})
        assert found.only == ("10.0.0.7:6379", "10.0.0.8:6379")

    def test_of_a_run(self, tmp_path):
        """What is accepted in a run by number, and that nothing is there, is declared with it."""
        accepted = {Outcome.UNDECRYPTABLE: 3}
        found = self.of(tmp_path, {}, accepted=accepted, outside=2, empty=True)
        assert found == Declarations(accepted=accepted, outside_accepted=2, empty=True)


class TestSecrets:
    """Nothing of it shows or travels."""

    @pytest.fixture
    def access(self, tmp_path):
        """An access with keys and a password."""
        redis = {"username": "rotator", "password": PASSWORD}
        return Place(tmp_path, Cache("127.0.0.1:1", redis=redis)).access()

    def test_repr(self, access):
        """Neither it nor any of its parts shows a key or the password."""
        shown = f"{access!r} {access} {vars(access)} {vars(access.cache)}"
        assert repr(access) == "CacheContext('shared-redis')"
        assert PASSWORD not in shown
        for reference in access.cache.key_refs:
            assert reference.resolve(None) not in shown

    @pytest.mark.parametrize("action", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_copies(self, access, action):
        """It cannot be pickled or copied."""
        with pytest.raises(TypeError, match="must not be pickled"):
            action(access)
