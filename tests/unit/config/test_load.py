"""The configuration: what loads, what is refused, and that no message shows a value."""

import copy
import hashlib
import json
import pickle
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from rotator.config.fields import ReplicaSettings
from rotator.config.load import RotatorConfig, load
from rotator.config.types import Address, SecretRef
from rotator.errors import ConfigError

SECRET = "hunter2PLANTED"
KEY = "c0ffee00" * 8
DIGITS = "1234567890123456" * 4

GOOD = {
    "name": "shared",
    "type": "redis",
    "encryption": {"keys": {"current": "<new>", "old": ["<old>", KEY]}},
    "redis": {"addresses": ["redis-0:6379"], "password": SECRET},
}


def cache(**changes):
    """A cache that loads, with *changes*: `a__b` goes one level down, `...` removes."""
    made = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = made
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return made


@pytest.fixture
def config(tmp_path):
    """Load a configuration given as data, text or several of them, as files of a *kind*."""
    dumps = {"yaml": yaml.safe_dump, "json": json.dumps}

    def load_all(*documents, kind="yaml") -> RotatorConfig:
        files = []
        for number, given in enumerate(documents):
            path = tmp_path / f"{number}.{kind}"
            path.write_text(given if isinstance(given, str) else dumps[kind](given))
            files.append(path)
        return load(files)

    return load_all


@pytest.fixture
def refused(config):
    """Load what must be refused: the message begins with a path, there is a hint, no value."""

    def refuse(path, *words, given, kind="yaml"):
        with pytest.raises(ConfigError) as caught:
            config(given, kind=kind)
        error = caught.value
        assert str(error).startswith(f"{path}: ")
        for word in words:
            assert word in f"{error} | {error.hint}"
        assert error.hint
        assert error.__suppress_context__ or error.__context__ is None
        for secret in (SECRET, KEY, DIGITS, "12345678"):
            assert secret not in f"{error!r} {error} {error.hint}"
        return error

    return refuse


class TestCache:
    """What a cache says."""

    def test_everything(self, config):
        """Every field is read, and secrets stay references."""
        given = cache(
            keys__disablePrefix=False,
            hashing__keys__disabled=True,
            redis__addresses=["a.internal:6379", "[2001:db8::1]:6380"],
            redis__username="rotator",
            redis__tls="client",
        )
        loaded = config({"caches": [given], "tls": {"client": {}}})
        [made] = loaded.caches
        assert (made.path, made.name, made.redis.tls) == ("caches[0]", "shared", "client")
        assert not made.keys.disable_prefix
        assert not made.encryption.disabled
        assert made.hashing.keys.disabled
        keys = "caches[0].encryption.keys"
        current, *old = made.key_refs
        assert current == SecretRef("<new>", f"{keys}.current")
        assert old == [SecretRef("<old>", f"{keys}.old[0]"), SecretRef(KEY, f"{keys}.old[1]")]
        assert made.addresses == (Address("a.internal", 6379), Address("2001:db8::1", 6380))
        assert made.redis.username == SecretRef("rotator", "caches[0].redis.username")
        assert made.redis.password.resolve(None) == SECRET
        assert made.field("encryption.keys.old[1]") == old[1].field
        assert loaded.warnings == loaded.skipped == ()
        assert loaded.cache("shared") is made

    def test_defaults(self, config):
        """What is not said has the Orchestrator's defaults; null says nothing."""
        given = cache(redis__password=None, encryption__keys__old=None, hashing=None, keys=None)
        [made] = config({"caches": [given]}).caches
        assert (made.redis.username, made.redis.password, made.redis.tls) == (None, None, None)
        assert made.encryption.keys.old == ()
        assert not made.keys.disable_prefix
        assert not made.encryption.disabled
        assert not made.hashing.keys.disabled

    def test_secrets_are_not_shown(self, config):
        """No repr of the configuration holds a secret, and it refuses to be pickled with one."""
        loaded = config({"caches": [cache()]})
        for text in (repr(loaded), str(loaded), repr(loaded.caches), repr(loaded.cache("shared"))):
            assert SECRET not in text
            assert KEY not in text
            assert "<new>" in text
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(loaded)

    @pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
    def test_secrets_are_not_dumped(self, config):
        """What pydantic can make of a model does not hold a secret either, nor do its warnings."""
        loaded = config({"caches": [cache()]})
        assert SECRET not in str(loaded.model_dump())
        with pytest.raises(ValueError, match="serialize") as caught:
            loaded.model_dump_json()
        assert SECRET not in repr(caught.value)

    def test_references_travel(self, config):
        """A configuration of references alone can be sent to another process."""
        given = cache(redis__password="<pw>", encryption__keys__old=[], redis__tls="t")
        loaded = config({"caches": [given], "tls": {"t": {"caFile": "/ca.pem"}}})
        assert pickle.loads(pickle.dumps(loaded)) == loaded  # noqa: S301 - made on this line

    def test_encryption_off(self, config):
        """With encryption off no key is needed."""
        given = cache(encryption={"disabled": True})
        [made] = config({"caches": [given]}).caches
        assert made.encryption.disabled
        assert made.encryption.keys.current is None
        assert made.key_refs == ()

    def test_prefix_off(self, config):
        """With encryption and hashing off the prefix may be off too."""
        given = cache(
            keys__disablePrefix=True, encryption={"disabled": True}, hashing__keys__disabled=True
        )
        [made] = config({"caches": [given]}).caches
        assert made.keys.disable_prefix

    def test_environment(self, config, monkeypatch):
        """Variables are replaced in the fields of caches, switches and secrets included."""
        monkeypatch.setenv("ROT_HOST", "redis-9")
        monkeypatch.setenv("ROT_OFF", "true")
        monkeypatch.setenv("ROT_PW", SECRET)
        given = cache(
            redis__addresses=["{{ env.ROT_HOST }}:6379"],
            redis__password="{{ env.ROT_PW }}",
            hashing__keys__disabled="{{ env.ROT_OFF }}",
        )
        loaded = config({"caches": [given]})
        [made] = loaded.caches
        assert made.addresses == (Address("redis-9", 6379),)
        assert made.hashing.keys.disabled
        assert made.redis.password.resolve(None) == SECRET
        assert SECRET not in repr(loaded)

    def test_cluster_is_skipped_and_counted(self, config, monkeypatch):
        """A cache of type cluster is skipped, whatever it holds, and keeps its place in paths."""
        monkeypatch.delenv("ROT_UNSET", raising=False)
        other = {"name": "c", "type": "cluster", "cluster": {"name": "{{ env.ROT_UNSET }}"}, "x": 1}
        loaded = config({"caches": [other, cache()]})
        assert loaded.skipped == ("c",)
        assert loaded.warnings == ()
        [made] = loaded.caches
        assert made.path == "caches[1]"
        assert made.encryption.keys.old[1].field == "caches[1].encryption.keys.old[1]"

    @pytest.mark.parametrize(
        ("encryption", "keys"),
        [
            (..., []),
            (None, []),
            ({"disabled": True}, []),
            (
                {"keys": {"current": "<new>", "old": ["<old>", KEY]}},
                ["current", "old[0]", "old[1]"],
            ),
            ({"disabled": True, "keys": {"old": ["<old>"]}}, ["old[0]"]),
            ({"keys": {"current": "{{ env.ROT_UNSET }}"}}, None),
            ({"keys": {"current": "<new>", "pending": ["<next>"]}}, None),
            ({"keys": {"old": "<old>"}}, None),
            ({"keys": [KEY]}, None),
            (SECRET, None),
        ],
    )
    def test_keys_of_a_cache_that_is_skipped(self, config, monkeypatch, encryption, keys):
        """The keys of a cache of type cluster are known, or that they are not; never an error."""
        monkeypatch.delenv("ROT_UNSET", raising=False)
        other = {"name": "c", "type": "cluster"}
        other |= {} if encryption is ... else {"encryption": encryption}
        loaded = config({"caches": [cache(), other]})
        assert loaded.warnings == ()
        refs = loaded.every[1].listed_key_refs
        place = "caches[1].encryption.keys."
        assert (refs and [ref.field.removeprefix(place) for ref in refs]) == (keys or refs)
        assert (refs is None) is (keys is None)

    def test_keys_of_a_cache_without_encryption(self, config):
        """Where encryption is off the keys are listed still, and none is in use."""
        [made] = config({"caches": [cache(encryption__disabled=True)]}).caches
        assert made.key_refs == ()
        assert [ref.display for ref in made.listed_key_refs] == ["<new>", "<old>", "***"]
        [made] = config({"caches": [cache()]}).caches
        assert made.listed_key_refs == made.key_refs

    def test_cache_that_does_not_exist(self, config):
        """Asking for another cache is refused with the names that exist."""
        other = {"name": "c", "type": "cluster"}
        loaded = config({"caches": [cache(), other, cache(name="second")]})
        for name, reason in (("third", "not in the configuration"), ("c", "of type cluster")):
            with pytest.raises(ConfigError, match=f"the cache {name} is {reason}") as caught:
                loaded.cache(name)
            assert "shared, second" in caught.value.hint


class TestUnknownFields:
    """Fields that rotator does not know."""

    def test_warning(self, config):
        """An unknown field under caches is a warning with its path; its value is not shown."""
        given = cache(
            redis__foo=SECRET,
            hashing__disabled=True,
            encryption__keys__pending=[KEY],
            pool={"a": 1},
        )
        assert sorted(config({"caches": [given]}).warnings) == [
            "caches[0].encryption.keys.pending: unknown field, ignored",
            "caches[0].hashing.disabled: unknown field, ignored",
            "caches[0].pool: unknown field, ignored",
            "caches[0].redis.foo: unknown field, ignored",
        ]

    @pytest.mark.parametrize(
        ("given", "path", "known"),
        [
            (cache(encrpytion={}), "caches[0].encrpytion", "encryption"),
            (cache(redis__adresses=[SECRET]), "caches[0].redis.adresses", "addresses"),
            (
                cache(redis__addresses=..., redis__adresses=[SECRET]),
                "caches[0].redis.adresses",
                "addresses",
            ),
            (cache(redis__passwd=SECRET), "caches[0].redis.passwd", "password"),
            (
                cache(encryption__keys__current=..., encryption__keys__curent=KEY),
                "caches[0].encryption.keys.curent",
                "current",
            ),
            (cache(name=..., Name="x"), "caches[0].Name", "name"),
            (cache(keys__disable_prefix=True), "caches[0].keys.disable_prefix", "disablePrefix"),
        ],
    )
    def test_misspelled(self, refused, given, path, known):
        """A field that looks like a known one misspelled is refused, and the known one is named."""
        refused(path, "unknown field", f"did you mean {known}?", given={"caches": [given]})

    def test_key_in_place_of_a_name(self, config):
        """A key that slipped into the place of a field's name is not shown."""
        given = cache(encryption__keys={"current": "<new>", KEY: None})
        [warning] = config({"caches": [given]}).warnings
        assert KEY not in warning

    @pytest.mark.parametrize(
        ("rotator", "path", "word"),
        [
            ({"cachess": {}}, "rotator.cachess", "did you mean caches?"),
            ({"other": SECRET}, "rotator.other", "fields are formats, caches"),
            ({"caches": {"shared": {"macth": []}}}, "rotator.caches.shared.macth", "match"),
            ({"caches": {"shared": {"x": SECRET}}}, "rotator.caches.shared.x", "databases"),
            (
                {"caches": {"shared": {"names": {"hsah": "md5"}}}},
                "rotator.caches.shared.names.hsah",
                "hash",
            ),
            (
                {"caches": {"shared": {"backups": {"days": 3}}}},
                "rotator.caches.shared.backups.days",
                "retention",
            ),
            (
                {"formats": {"f": {"encoding": "raw", "layuot": []}}},
                "rotator.formats.f.layuot",
                "layout",
            ),
        ],
    )
    def test_under_rotator(self, refused, rotator, path, word):
        """Under rotator every unknown field is refused."""
        refused(path, "unknown field", word, given={"caches": [cache()], "rotator": rotator})


class TestRefused:
    """What is refused under caches."""

    @pytest.mark.parametrize(
        ("given", "path", "word"),
        [
            (cache(name=...), "caches[0].name", "missing"),
            (cache(name=""), "caches[0].name", "empty"),
            (cache(name="local_default"), "caches[0].name", "built-in"),
            (cache(type=...), "caches[0].type", "missing"),
            (cache(type=SECRET), "caches[0].type", "write one of redis, cluster"),
            ({"type": "cluster"}, "caches[0].name", "missing"),
            (cache(redis=...), "caches[0].redis.addresses", "missing"),
            (cache(redis__addresses=...), "caches[0].redis.addresses", "missing"),
            (cache(redis__addresses=[]), "caches[0].redis.addresses", "missing"),
            (cache(redis__addresses="a:1"), "caches[0].redis.addresses", "must be a list"),
            (cache(redis=[SECRET]), "caches[0].redis", "must be a mapping"),
            (cache(encryption=True), "caches[0].encryption", "must be a mapping"),
            (cache(encryption__keys__current=...), "caches[0].encryption.keys.current", "missing"),
            (cache(encryption__keys__current=""), "caches[0].encryption.keys.current", "keygen"),
            (cache(encryption__keys__old=["<a>", ""]), "caches[0].encryption.keys.old[1]", "empty"),
            (cache(encryption__keys__old=KEY), "caches[0].encryption.keys.old", "must be a list"),
            (cache(encryption__disabled=SECRET), "caches[0].encryption.disabled", "true or false"),
            (cache(redis__password=[SECRET]), "caches[0].redis.password", "must be text"),
            (SECRET, "caches[0]", "must be a mapping"),
        ],
    )
    def test_field(self, refused, given, path, word):
        """A field that is missing or wrong is refused with its path."""
        refused(path, word, given={"caches": [given]})

    @pytest.mark.parametrize(
        "address",
        [
            SECRET,
            f"{SECRET}:",
            f"{SECRET}:0",
            f"{SECRET}:65536",
            f"{SECRET}:six",
            ":6379",
            "::1:6379",
            "[]:6379",
            f"redis://u:{SECRET}@h:6379",
            "<redis_host>",
            6379,
        ],
    )
    def test_address(self, refused, address):
        """An address without a host, without a port or with a bad one is refused."""
        given = cache(redis__addresses=["a:1", address])
        refused("caches[0].redis.addresses[1]", "host:port", given={"caches": [given]})

    @pytest.mark.parametrize("where", [[cache()], [{"name": "shared", "type": "cluster"}]])
    def test_two_caches_with_one_name(self, refused, where):
        """Two caches with one name are refused, whatever their types."""
        refused("caches[1].name", "same name", given={"caches": [*where, cache()]})

    def test_two_caches_with_one_name_in_a_later_file(self, config):
        """Merging does not hide that a later file gives one name twice."""
        with pytest.raises(ConfigError, match=r"^caches\[1\].name: caches\[0\] has the same"):
            config({"caches": [cache()]}, {"caches": [cache(), cache()]})

    @pytest.mark.parametrize("encryption_off", [True, False])
    @pytest.mark.parametrize("hashing_off", [True, False])
    def test_prefix_off(self, config, refused, encryption_off, hashing_off):
        """The prefix may be off only with encryption and hashing off."""
        given = cache(
            keys__disablePrefix=True,
            encryption__disabled=encryption_off,
            hashing__keys__disabled=hashing_off,
        )
        if encryption_off and hashing_off:
            assert config({"caches": [given]}).caches[0].keys.disable_prefix
        else:
            refused("caches[0].keys.disablePrefix", "requires", given={"caches": [given]})

    @pytest.mark.parametrize("given", [{}, {"caches": None}, {"caches": []}, "# nothing"])
    def test_no_caches(self, refused, given):
        """A file without caches is refused."""
        refused("caches", "there is no cache", given=given)

    def test_no_redis_cache(self, refused):
        """A file with caches of type cluster only is refused."""
        refused("caches", "of type redis", given={"caches": [{"name": "c", "type": "cluster"}]})

    @pytest.mark.parametrize("given", [SECRET, {"shared": cache()}, 7])
    def test_caches_is_no_list(self, refused, given):
        """Caches are a list."""
        refused("caches", "must be a list", given={"caches": given})

    def test_unset_variable(self, refused, monkeypatch):
        """An unset variable in a cache is refused with path and name."""
        monkeypatch.delenv("ROT_UNSET", raising=False)
        given = cache(redis__password=f"{SECRET}{{{{ env.ROT_UNSET }}}}")
        refused("caches[0].redis.password", "ROT_UNSET", given={"caches": [given]})


class TestTls:
    """The profiles that caches name."""

    @staticmethod
    def document(profile):
        """A cache that names the profile *profile*."""
        return {"caches": [cache(redis__tls="client")], "tls": {"client": profile}}

    def test_no_profile(self, config):
        """A cache that names no profile has no TLS."""
        loaded = config({"caches": [cache()], "tls": {"client": {}}})
        assert loaded.tls_profile(loaded.cache("shared")) is None

    def test_everything(self, config):
        """Every field of a client's profile is read; a server's are passed over."""
        given = {
            "caFile": "/etc/ca.pem",
            "certFile": "<cert>",
            "keyFile": "/etc/key.pem",
            "minVersion": 1.3,
            "enabledCiphers": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            "clientAuth": SECRET,
            "clientCAFiles": 7,
            "maxVersion": 1.3,
        }
        loaded = config(self.document(given))
        profile = loaded.tls_profile(loaded.cache("shared"))
        assert loaded.warnings == ()
        assert profile.path == "tls.client"
        assert profile.min_version == "1.3"
        assert profile.enabled_ciphers == tuple(given["enabledCiphers"])
        assert profile.ca == SecretRef("/etc/ca.pem", "tls.client.caFile")
        assert (profile.ca.plain, profile.ca.display) == (True, "/etc/ca.pem")
        assert profile.cert_file == SecretRef("<cert>", "tls.client.certFile")
        assert profile.key_file.field == "tls.client.keyFile"

    def test_defaults(self, config):
        """An empty profile means TLS 1.2 and the system's trust."""
        loaded = config(self.document(None))
        profile = loaded.tls_profile(loaded.cache("shared"))
        assert (profile.ca, profile.cert_file, profile.key_file) == (None, None, None)
        assert (profile.min_version, profile.enabled_ciphers) == ("1.2", ())

    def test_ca_path(self, config):
        """The Console's name for the CA is accepted."""
        loaded = config(self.document({"caPath": "/ca.pem"}))
        assert loaded.tls_profile(loaded.caches[0]).ca.field == "tls.client.caPath"

    def test_pem_in_the_file(self, config):
        """A private key pasted into the file is treated as a secret."""
        pem = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
        loaded = config(self.document({"certFile": "/c.pem", "keyFile": pem}))
        key = loaded.tls_profile(loaded.caches[0]).key_file
        assert not key.plain
        assert SECRET not in repr(key)
        assert key.resolve(None) == pem

    @pytest.mark.parametrize("kind", ["yaml", "json"])
    @pytest.mark.parametrize("version", [1.2, "1.2", "TLS1.2", "TLSv1.2"], ids=repr)
    def test_min_version(self, config, version, kind):
        """The version may be a number or text."""
        loaded = config(self.document({"minVersion": version}), kind=kind)
        assert loaded.tls_profile(loaded.caches[0]).min_version == "1.2"

    @pytest.mark.parametrize("kind", ["yaml", "json"])
    @pytest.mark.parametrize("version", [1, 1.0, 1.1, "1.1", "TLS1.0"], ids=repr)
    def test_min_version_too_low(self, refused, version, kind):
        """A version below 1.2 is refused."""
        given = self.document({"minVersion": version})
        refused("tls.client.minVersion", "below 1.2", given=given, kind=kind)

    @pytest.mark.parametrize("kind", ["yaml", "json"])
    @pytest.mark.parametrize("version", [SECRET, 12, 1.4, True, [1.2], {"a": 1}])
    def test_min_version_unknown(self, refused, version, kind):
        """What is no version is refused."""
        given = self.document({"minVersion": version})
        refused("tls.client.minVersion", "1.3", given=given, kind=kind)

    @pytest.mark.parametrize(
        ("profile", "path", "word"),
        [
            ({"keyFile": SECRET}, "tls.client.keyFile", "needs certFile"),
            ({"enabledCiphers": SECRET}, "tls.client.enabledCiphers", "must be a list"),
            (SECRET, "tls.client", "must be a mapping"),
            ({"caFile": "{{ env.ROT_UNSET }}"}, "tls.client.caFile", "ROT_UNSET"),
        ],
    )
    def test_wrong(self, refused, profile, path, word):
        """A wrong field of a profile in use is refused."""
        refused(path, word, given=self.document(profile))

    @pytest.mark.parametrize(
        "profiles", [..., None, 7, SECRET, [SECRET], {"other": {"caFile": SECRET}}]
    )
    def test_missing_profile(self, refused, profiles):
        """A profile that is not there is refused at the cache that names it."""
        given = {"caches": [cache(redis__tls="client")], "tls": profiles}
        if profiles is ...:
            del given["tls"]
        refused("caches[0].redis.tls", "no such profile", given=given)

    def test_empty_name(self, refused):
        """An empty name does not mean that there is no TLS."""
        refused("caches[0].redis.tls", "no such", given={"caches": [cache(redis__tls="")]})


class TestSettings:
    """The section `rotator`."""

    @staticmethod
    def document(settings, formats=None):
        """A cache with *settings*, and custom *formats*."""
        section = {"caches": {"shared": settings}, "formats": formats or {}}
        return {"caches": [cache()], "rotator": section}

    @pytest.mark.parametrize(
        "section", [..., None, {}, {"caches": None}, {"caches": {"shared": None}}]
    )
    def test_defaults(self, config, section):
        """What is not said has its default."""
        given = {"caches": [cache()]} | ({} if section is ... else {"rotator": section})
        loaded = config(given)
        settings = loaded.settings(loaded.cache("shared"))
        assert (settings.match, settings.databases, settings.write) == (("*",), "all", "same")
        assert settings.formats == ("sealed", "gcm", "gcm-base64")
        names = settings.names
        assert (names.hash, names.encoding, names.scope) == ("sha256", "hex", "key")
        assert settings.backups.retention is None
        assert settings.address_map == {}
        assert loaded.rotator.formats == {}

    @pytest.mark.parametrize("kind", ["yaml", "json"])
    def test_everything(self, config, kind):
        """Every field is read."""
        given = self.document(
            {
                "match": ["/app/oidc:*", "/saml:*"],
                "databases": [3, 0],
                "fields": ["data"],
                "formats": ["vendor-2026", "gcm"],
                "write": "vendor-2026",
                "names": {"hash": "sha512", "encoding": "base64url", "scope": "name"},
                "backups": {"retention": "30d"},
                "addressMap": {"10.0.0.1:6379": "localhost:16379"},
            },
            {"vendor-2026": {"encoding": "base64", "layout": ["hex:02", "ciphertext"]}},
        )
        loaded = config(given, kind=kind)
        settings = loaded.settings(loaded.cache("shared"))
        assert settings.match == ("/app/oidc:*", "/saml:*")
        assert settings.databases == (0, 3)
        assert settings.fields == ("data",)
        assert settings.formats == ("vendor-2026", "gcm")
        assert settings.write == "vendor-2026"
        names = settings.names
        assert (names.hash, names.encoding, names.scope) == ("sha512", "base64url", "name")
        assert settings.backups.retention == timedelta(days=30)
        assert settings.address_map == {Address("10.0.0.1", 6379): Address("localhost", 16379)}
        [(name, custom)] = loaded.rotator.formats.items()
        assert (name, custom.encoding, custom.aad) == ("vendor-2026", "base64", "none")
        assert custom.layout == ("hex:02", "ciphertext")

    @pytest.mark.parametrize("name", sorted(hashlib.algorithms_guaranteed))
    def test_hash(self, config, refused, name):
        """Every hash that hashlib guarantees is known, but those without a length of their own."""
        given = self.document({"names": {"hash": name}})
        if name.startswith("shake"):
            refused("rotator.caches.shared.names.hash", "is not known", given=given)
        else:
            assert config(given).rotator.caches["shared"].names.hash == name

    def test_another_cache_has_its_own(self, config):
        """Settings of one cache leave the others with the defaults."""
        section = {"caches": {"b": {"databases": [1]}}}
        loaded = config({"caches": [cache(name="a"), cache(name="b")], "rotator": section})
        assert loaded.settings(loaded.cache("a")).databases == "all"
        assert loaded.settings(loaded.cache("b")).databases == (1,)

    def test_second_file(self, config):
        """The section may live in a file of its own, which may also add to a cache."""
        loaded = config(
            {"caches": [cache()]},
            {
                "caches": [{"name": "shared", "encryption": {"keys": {"current": "<newer>"}}}],
                "rotator": {"caches": {"shared": {"databases": [1]}}},
            },
        )
        made = loaded.cache("shared")
        assert made.encryption.keys.current.display == "<newer>"
        assert len(made.encryption.keys.old) == 2
        assert loaded.settings(made).databases == (1,)
        assert [path.name for path in loaded.files] == ["0.yaml", "1.yaml"]

    def test_cache_of_type_cluster(self, config):
        """Settings for a cache that is skipped are ignored, with a warning."""
        caches = [cache(), {"name": "c", "type": "cluster"}]
        loaded = config({"caches": caches, "rotator": {"caches": {"c": {}}}})
        [warning] = loaded.warnings
        assert warning.startswith("rotator.caches.c: ")

    @pytest.mark.parametrize(
        ("settings", "path", "word"),
        [
            ({"match": []}, "match", "empty"),
            ({"match": [""]}, "match", "empty"),
            ({"match": ["a", "a"]}, "match", "twice"),
            ({"match": SECRET}, "match", "must be a list"),
            ({"databases": []}, "databases", "[0, 3]"),
            ({"fields": []}, "fields", "leave the field out"),
            ({"fields": SECRET}, "fields", '"*" for all'),
            ({"fields": ["data", "*"]}, "fields[1]", 'fields: "*"'),
            ({"fields": ["data", "data"]}, "fields", "once"),
            ({"databases": SECRET}, "databases", "all"),
            ({"databases": [0, -1]}, "databases", "all"),
            ({"databases": [True]}, "databases", "all"),
            ({"databases": [1.0]}, "databases", "all"),
            ({"databases": [None]}, "databases", "all"),
            ({"databases": ["010"]}, "databases", "all"),
            ({"databases": ["1_0"]}, "databases", "all"),
            ({"databases": ["1" * 5000]}, "databases", "all"),
            ({"databases": 3}, "databases", "all"),
            ({"formats": []}, "formats", "empty"),
            ({"formats": ["gcm", SECRET]}, "formats[1]", "sealed, gcm, gcm-base64"),
            ({"write": SECRET}, "write", "same"),
            ({"write": "sealed", "formats": ["gcm"]}, "write", "one of gcm"),
            ({"names": {"hash": SECRET}}, "names.hash", "sha256"),
            ({"names": {"hash": "shake_128"}}, "names.hash", "sha256"),
            ({"names": {"encoding": SECRET}}, "names.encoding", "base64url"),
            ({"names": {"scope": SECRET}}, "names.scope", "key, name"),
            ({"names": SECRET}, "names", "mapping"),
            ({"backups": {"retention": SECRET}}, "backups.retention", "30d"),
            ({"backups": {"retention": 30}}, "backups.retention", "30d"),
            ({"backups": {"retention": "99999d"}}, "backups.retention", "at most"),
            ({"addressMap": [SECRET]}, "addressMap", "mapping"),
            ({"addressMap": {"a:1": SECRET}}, "addressMap", "host:port"),
            ({"addressMap": {SECRET: "a:1"}}, "addressMap", "host:port"),
            ({"match": ["{{ env.ROT_UNSET }}"]}, "match[0]", "ROT_UNSET"),
        ],
    )
    @pytest.mark.parametrize("kind", ["yaml", "json"])
    def test_wrong(self, refused, settings, path, word, kind):
        """A wrong setting is refused with its path."""
        given = self.document(settings)
        refused(f"rotator.caches.shared.{path}", word, given=given, kind=kind)

    @pytest.mark.parametrize(
        ("formats", "path", "word"),
        [
            ({"f": {"layout": []}}, "f.encoding", "missing"),
            ({"f": {"encoding": "raw"}}, "f.layout", "missing"),
            ({"f": {"encoding": "raw", "layout": {"a": SECRET}}}, "f.layout", "must be a text, or"),
            ({"f": SECRET}, "f", "must be a mapping"),
            ({"gcm": {"encoding": "raw", "layout": []}}, "gcm", "taken"),
            ({"same": {"encoding": "raw", "layout": []}}, "same", "taken"),
        ],
    )
    def test_wrong_format(self, refused, formats, path, word):
        """A format that is not fully described, or takes a name in use, is refused."""
        refused(f"rotator.formats.{path}", word, given=self.document({}, formats))

    def test_cache_that_does_not_exist(self, refused):
        """Settings for a cache that is not there are refused with those that are."""
        section = {"caches": {"sharde": {}}}
        given = {"caches": [cache()], "rotator": section}
        refused("rotator.caches.sharde", "no such cache", "shared", given=given)

    @pytest.mark.parametrize("section", [SECRET, [SECRET], 7])
    def test_no_mapping(self, refused, section):
        """The section is a mapping."""
        refused("rotator", "mapping", given={"caches": [cache()], "rotator": section})


class TestLabels:
    """What values call keys: `rotator.caches.<name>.labels`, and what else formats have."""

    ID = "9f2c41d07be3a655"

    @staticmethod
    def text(labels):
        """A file with these labels, as YAML."""
        return f"""
caches:
  - name: shared
    type: redis
    encryption: {{keys: {{current: {KEY}}}}}
    redis: {{addresses: [redis-0:6379]}}
rotator: {{caches: {{shared: {{labels: {labels}}}}}}}
"""

    @pytest.mark.parametrize(
        ("label", "read"),
        [
            ("k1", b"k1"),
            ('"01"', b"01"),
            ("'on'", b"on"),
            ("!!str 1e3", b"1e3"),
            ("hex:0a0B", b"\x0a\x0b"),
            ("a b", b"a b"),
            ("\u00e9", "\u00e9".encode()),
        ],
    )
    def test_read(self, config, label, read):
        """A label is a text, or `hex:` and its bytes."""
        loaded = config(self.text(f"{{{self.ID}: {label}}}"))
        assert loaded.settings(loaded.caches[0]).labels == {self.ID: read}

    @pytest.mark.parametrize(
        "label",
        ["01", "1e3", "on", "No", "0x1f", "0o7", "1_000", "2026-01-31", "1.5", ".inf", "true"],
    )
    def test_quote_it(self, refused, label):
        """What YAML makes something else of is refused with how to write it."""
        path = f"rotator.caches.shared.labels.{self.ID}"
        refused(path, "must be text", "quote it", given=self.text(f"{{{self.ID}: {label}}}"))

    def test_quote_the_key_id(self, refused):
        """So is a key id of digits; quoted it is one."""
        given = self.text("{1234567890123456: k1}")
        refused("rotator.caches.shared.labels", "a key id must be text", "quote it", given=given)

    def test_quoted_key_id(self, config):
        """A key id of digits is quoted."""
        loaded = config(self.text('{"1234567890123456": k1}'))
        assert loaded.settings(loaded.caches[0]).labels == {"1234567890123456": b"k1"}

    @pytest.mark.parametrize("kind", ["yaml", "json"])
    @pytest.mark.parametrize(
        ("labels", "path", "word"),
        [
            ([SECRET], "", "must be a mapping"),
            ({ID: ""}, f".{ID}", "is not a label"),
            ({ID: "hex:0"}, f".{ID}", "is not a label"),
            ({ID: None}, f".{ID}", "must be text"),
            ({ID: [SECRET]}, f".{ID}", "must be text"),
            ({"9f2c": "k1"}, ".9f2c", "is not a key id"),
        ],
    )
    def test_wrong(self, refused, labels, path, word, kind):
        """What is not a label, or of no key, is refused with its path."""
        given = TestSettings.document({"labels": labels})
        refused(f"rotator.caches.shared.labels{path}", word, given=given, kind=kind)

    @pytest.mark.parametrize("value", [1, 1.5, True])
    def test_numbers_in_json(self, refused, value):
        """JSON says itself that a label is none."""
        given = TestSettings.document({"labels": {self.ID: value}})
        refused(f"rotator.caches.shared.labels.{self.ID}", "quote it", given=given, kind="json")

    def test_variable(self, config, monkeypatch):
        """A label may come from the environment, whatever it looks like."""
        monkeypatch.setenv("ROT_LABEL", "01")
        loaded = config(self.text(f"{{{self.ID}: '{{{{ env.ROT_LABEL }}}}'}}"))
        assert loaded.settings(loaded.caches[0]).labels == {self.ID: b"01"}

    @pytest.mark.parametrize("kind", ["yaml", "json"])
    def test_format(self, config, kind):
        """A layout may be a text, with an encoding around it."""
        described = {
            "encoding": "base64",
            "layout": '{"iv":"{nonce}","value":"{ciphertext}","tag":"{tag}"}',
            "aad": "text:v1",
            "within": "base64",
            "constant": True,
        }
        given = TestSettings.document({"formats": ["f"]}, {"f": described})
        read = config(given, kind=kind).rotator.formats["f"]
        assert dict(read) == described

    @pytest.mark.parametrize(
        ("more", "path", "word"),
        [
            ({"within": "raw"}, "within", "is not known"),
            ({"constant": "maybe"}, "constant", "must be true or false"),
            ({"layout": [["nonce"]]}, "layout[0]", "must be text"),
            ({"laout": "x"}, "laout", "unknown field"),
        ],
    )
    def test_wrong_format(self, refused, more, path, word):
        """What a format cannot have is refused with its path."""
        described = {"encoding": "hex", "layout": "{nonce}{ciphertext}{tag}"} | more
        given = TestSettings.document({}, {"f": described})
        refused(f"rotator.formats.f.{path}", word, given=given)


class TestDeclarations:
    """What an operator knows: `replicas`, `assume` and `backups`."""

    EVERYTHING: ClassVar = {
        "rdb": {"is": "none", "reason": "no disk attached"},
        "aof": {"is": "none", "reason": "never switched on"},
        "outside": {"is": "foreign", "reason": "database of the billing team"},
        "replicas": {"is": "as-primary-says", "reason": "the provider hides replicas"},
        "decommissioned": {"is": ["10.0.0.8:6379", "[2001:db8::1]:1"], "reason": "VM deleted"},
        "caches": {"is": ["second", "c"], "reason": "the key was never used there"},
        "identity": {"is": "one-server", "reason": "a single instance"},
    }

    @staticmethod
    def document(settings):
        """Caches, two of them of type redis, the first with *settings*."""
        caches = [cache(), cache(name="second"), {"name": "c", "type": "cluster"}]
        return {"caches": caches, "rotator": {"caches": {"shared": settings}}}

    @pytest.mark.parametrize("kind", ["yaml", "json"])
    def test_everything(self, config, kind):
        """Every declaration is read, with its reason."""
        loaded = config(self.document({"assume": self.EVERYTHING}), kind=kind)
        assume = loaded.settings(loaded.cache("shared")).assume
        for name, given in self.EVERYTHING.items():
            assert getattr(assume, name).reason == given["reason"]
        values = [one.value for one in (assume.rdb, assume.aof, assume.outside, assume.replicas)]
        assert values == ["none", "none", "foreign", "as-primary-says"]
        addresses = (Address("10.0.0.8", 6379), Address("2001:db8::1", 1))
        assert assume.decommissioned.value == addresses
        assert (assume.caches.value, assume.identity.value) == (("second", "c"), "one-server")

    def test_defaults(self, config):
        """Nothing is assumed that was not said."""
        loaded = config(self.document({"assume": None, "replicas": None}))
        for settings in (loaded.settings(one) for one in loaded.caches):
            assert {
                name: getattr(settings.assume, name) for name in self.EVERYTHING
            } == dict.fromkeys(self.EVERYTHING)
            assert settings.replicas == ReplicaSettings((), announced=False, only=None)

    @pytest.mark.parametrize(
        ("given", "read"),
        [
            (["a:1", "[::1]:2"], ReplicaSettings((Address("a", 1), Address("::1", 2)))),
            ([], ReplicaSettings()),
            ("announced", ReplicaSettings(announced=True)),
            ({"only": ["a:1"]}, ReplicaSettings(only=(Address("a", 1),))),
            ({"only": []}, ReplicaSettings(only=())),
        ],
    )
    def test_replicas(self, config, given, read):
        """Replicas are listed, announced, or only those that are listed."""
        loaded = config(self.document({"replicas": given}))
        assert loaded.settings(loaded.cache("shared")).replicas == read

    def test_no_backups(self, config):
        """A retention of nothing says that there are no backups; silence says nothing."""
        loaded = config(self.document({"backups": {"retention": "0s"}}))
        assert loaded.settings(loaded.cache("shared")).backups.retention == timedelta(0)

    @pytest.mark.parametrize("name", EVERYTHING)
    @pytest.mark.parametrize("reason", [..., None, "", "  "])
    @pytest.mark.parametrize("kind", ["yaml", "json"])
    def test_without_a_reason(self, refused, name, reason, kind):
        """What is assumed without a reason is refused, with where, and what to write."""
        given = {"is": self.EVERYTHING[name]["is"]} | ({} if reason is ... else {"reason": reason})
        path = f"rotator.caches.shared.assume.{name}.reason"
        given = self.document({"assume": {name: given}})
        refused(path, "needs a reason", "such as reason:", given=given, kind=kind)

    @pytest.mark.parametrize("name", EVERYTHING)
    def test_without_what(self, refused, name):
        """A reason alone assumes nothing, and is refused."""
        given = self.document({"assume": {name: {"reason": "because"}}})
        refused(f"rotator.caches.shared.assume.{name}.is", "", given=given)

    @pytest.mark.parametrize(
        ("name", "given", "path", "word"),
        [
            ("rdb", {"is": SECRET}, "rdb.is", "write none"),
            ("rdb", {"is": None}, "rdb.is", "missing | write none"),
            ("aof", {"is": ["none"]}, "aof.is", "write none"),
            ("outside", {"is": "none"}, "outside.is", "write foreign"),
            ("replicas", {"is": "none"}, "replicas.is", "write as-primary-says"),
            ("identity", {"is": True}, "identity.is", "write one-server"),
            ("decommissioned", {"is": SECRET}, "decommissioned.is", "list of addresses"),
            ("decommissioned", {"is": []}, "decommissioned.is", "leave the declaration out"),
            ("decommissioned", {"is": ["a:1", SECRET]}, "decommissioned.is[1]", "host:port"),
            ("caches", {"is": SECRET}, "caches.is", "must be a list"),
            ("caches", {"is": []}, "caches.is", "leave the declaration out"),
            ("caches", {"is": ["second", "thrid"]}, "caches.is[1]", "shared, second, c"),
            ("caches", {"is": ["shared"]}, "caches.is[0]", "this cache itself"),
            ("rdb", {"is": "none", "reasons": "x"}, "rdb.reasons", "did you mean reason?"),
            ("rdb", SECRET, "rdb", "must be a mapping"),
            ("rbd", {"is": "none"}, "rbd", "did you mean rdb?"),
            ("network", {"is": "none"}, "network", "fields are rdb, aof, outside, replicas"),
        ],
    )
    def test_wrong(self, refused, name, given, path, word):
        """Another word, an address that is none, or an unknown cache is refused with its path."""
        given = {"reason": "because", **given} if isinstance(given, dict) else given
        given = self.document({"assume": {name: given}})
        refused(f"rotator.caches.shared.assume.{path}", word, given=given)

    @pytest.mark.parametrize(
        ("given", "path"),
        [
            (SECRET, "replicas"),
            ({"only": SECRET}, "replicas.only"),
            ({"only": ["a:1", SECRET]}, "replicas.only[1]"),
            ({"only": ["a:1"], "announced": True}, "replicas"),
            ({"just": ["a:1"]}, "replicas"),
            (["a:1", f"u:{SECRET}@h:1"], "replicas[1]"),
            ([["a:1"]], "replicas[0]"),
            (7, "replicas"),
        ],
    )
    def test_wrong_replicas(self, refused, given, path):
        """What is neither addresses nor one of the two other forms is refused."""
        given = self.document({"replicas": given})
        refused(f"rotator.caches.shared.{path}", "write", given=given)


class TestPlainValues:
    """Values without quotes, in YAML and in JSON."""

    @pytest.mark.parametrize("text", ["0123456", "1e10", "12:30:45", "on", "2026-13-45", "0o14"])
    def test_yaml(self, config, text):
        """A field that takes text takes it as written, whatever YAML may see in it."""
        given = f"""
caches:
  - name: {text}
    type: redis
    encryption: {{keys: {{current: {DIGITS}, old: [{text}]}}}}
    redis: {{addresses: [redis-0:6379], username: {text}, password: {text}, tls: {text}}}
tls: {{{text}: {{caFile: {text}}}}}
rotator: {{caches: {{{text}: {{match: [{text}]}}}}}}
"""
        loaded = config(given)
        made = loaded.cache(text)
        secrets = [*made.key_refs, made.redis.username, made.redis.password]
        assert [ref.resolve(None) for ref in secrets] == [DIGITS, text, text, text]
        assert loaded.tls_profile(made).ca.display == text
        assert loaded.settings(made).match == (text,)

    @pytest.mark.parametrize("value", [12345678, 1.2345678, True])
    @pytest.mark.parametrize(
        ("path", "given"),
        [
            ("caches[0].name", lambda value: {"caches": [cache(name=value)]}),
            ("caches[0].redis.password", lambda value: {"caches": [cache(redis__password=value)]}),
            ("caches[0].redis.tls", lambda value: {"caches": [cache(redis__tls=value)]}),
            ("tls.client.caFile", lambda value: TestTls.document({"caFile": value})),
            (
                "rotator.caches.shared.match[0]",
                lambda value: TestSettings.document({"match": [value]}),
            ),
            (
                "rotator.formats.f.layout[0]",
                lambda value: TestSettings.document(
                    {}, {"f": {"encoding": "raw", "layout": [value]}}
                ),
            ),
        ],
    )
    def test_json(self, refused, path, given, value):
        """JSON says itself that a value is no text, and that is refused with what to do."""
        refused(path, "must be text", "quote", given=given(value), kind="json")

    @pytest.mark.parametrize("word", ["true", "y", "yes", "on", "false", "n", "no", "off"])
    @pytest.mark.parametrize("form", [str.lower, str.capitalize, str.upper])
    @pytest.mark.parametrize("quote", ["", "'"])
    def test_switch(self, config, word, form, quote):
        """A switch takes the booleans of YAML 1.2, and the other words that YAML 1.1 has."""
        given = f"""
caches:
  - name: shared
    type: redis
    encryption: {{keys: {{current: {KEY}}}, disabled: {quote}{form(word)}{quote}}}
    redis: {{addresses: [redis-0:6379]}}
"""
        assert config(given).caches[0].encryption.disabled is (word in {"true", "y", "yes", "on"})

    @pytest.mark.parametrize("value", [True, False])
    def test_switch_in_json(self, config, value):
        """In JSON a switch is a boolean."""
        given = cache(encryption__disabled=value)
        assert config({"caches": [given]}, kind="json").caches[0].encryption.disabled is value

    @pytest.mark.parametrize("kind", ["yaml", "json"])
    @pytest.mark.parametrize(
        "value", [1, 0, 1.0, "1", "t", "tRUE", "yEs", "", " on", [True], {}], ids=repr
    )
    def test_no_switch(self, refused, value, kind):
        """A switch takes nothing else."""
        given = cache(encryption__disabled=value)
        path = "caches[0].encryption.disabled"
        refused(path, "must be true or false", "write", given={"caches": [given]}, kind=kind)


class TestForeignSections:
    """The rest of the file belongs to others."""

    def test_they_do_not_count(self, config, monkeypatch):
        """Other sections, and profiles that no cache names, may hold whatever they like."""
        monkeypatch.delenv("ROT_UNSET", raising=False)
        text = """
version: "1"
features: {experimental.clusters: "true"}
http: {address: "{{ env.ROT_UNSET }}:443", tls: server}
connectors: [{name: x, when: 2026-13-45, secret: !vault here, {a: b}: c}]
apps:
  - name: {{ broken }}
oidcProvider: {cache: shared}
tls:
  server: {certFile: 7, keyFile: "{{ env.ROT_UNSET }}", minVersion: 1.0, caFlie: 1}
  list: [1, 2]
  text: nothing
  7: {}
caches:
  - name: shared
    type: redis
    encryption: {keys: {current: <new>}}
    redis: {addresses: [redis-0:6379]}
"""
        loaded = config(text)
        assert loaded.cache("shared").key_refs[0].display == "<new>"
        assert loaded.warnings == ()

    def test_json(self, tmp_path):
        """The Orchestrator's JSON says the same."""
        path = tmp_path / "maverics.json"
        path.write_text(json.dumps({"caches": [cache()], "apps": [{"x": "{{ env.ROT_UNSET }}"}]}))
        assert load([path]).cache("shared").addresses == (Address("redis-0", 6379),)

    def test_default_place(self, tmp_path, monkeypatch):
        """Without files MAVERICS_CONFIG is read."""
        path = tmp_path / "maverics.yaml"
        path.write_text(yaml.safe_dump({"caches": [cache()]}))
        monkeypatch.setenv("MAVERICS_CONFIG", str(path))
        assert load().files == (path,)

    def test_no_file(self, monkeypatch):
        """A file that is not there is refused by its path."""
        monkeypatch.setenv("MAVERICS_CONFIG", "/nowhere/maverics.yaml")
        with pytest.raises(
            ConfigError, match=r"^/nowhere/maverics\.yaml: cannot be read"
        ) as caught:
            load([])
        assert "MAVERICS_CONFIG" in caught.value.hint
        with pytest.raises(ConfigError, match=r"^/elsewhere\.yaml: "):
            load([Path("/elsewhere.yaml")])


FULL = {
    "caches": [cache(redis__tls="client", redis__username="u", keys={}, hashing={"keys": {}})],
    "tls": {"client": {"caFile": "/ca", "certFile": "/c", "keyFile": "/k", "minVersion": 1.2}},
    "rotator": {
        "formats": {"f": {"encoding": "raw", "layout": ["nonce:12"], "aad": "none"}},
        "caches": {
            "shared": {
                "match": ["*"],
                "databases": [0],
                "formats": ["f"],
                "write": "f",
                "names": {"hash": "md5", "encoding": "hex", "scope": "key"},
                "backups": {"retention": "1d"},
                "addressMap": {"a:1": "b:2"},
            }
        },
    },
}

NO_HINT = "(no hint)"
SPOILED = [
    *(SECRET, [SECRET], [[SECRET]], {SECRET + "-" * 40: SECRET}, {"a": {"b": SECRET}}),
    *(f"<{SECRET}>:1", {"type": SECRET}, {"name": "x", "type": SECRET}, {"encoding": SECRET}),
    *(12345678, 1.2345678, True, "", None, [], [None], {}),
]


def places(value, above=()):
    """The path of every place in *value*."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, below in inner:
        yield (*above, name)
        if isinstance(below, dict | list):
            yield from places(below, (*above, name))


@hypothesis.given(place=st.sampled_from(list(places(FULL))), value=st.sampled_from(SPOILED))
@hypothesis.settings(max_examples=300)
def test_no_value_is_ever_shown(tmp_path_factory, place, value):
    """Whatever stands wherever, it loads or is refused with a hint, and no value is shown."""
    spoiled = copy.deepcopy(FULL)
    inner = spoiled
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path = tmp_path_factory.getbasetemp() / "spoiled.json"
    path.write_text(json.dumps(spoiled))
    hypothesis.assume(place != ("caches", 0, "name"))  # a name may be shown
    try:
        said = " ".join(load([path]).warnings)
    except ConfigError as error:
        said = f"{error} {error.hint or NO_HINT}"
    assert NO_HINT not in said
    assert SECRET not in said
    assert "2345678" not in said
