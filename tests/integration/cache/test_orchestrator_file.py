"""The Orchestrator's own file, with all that it has for others, works as it is."""

import json
import tarfile
from datetime import timedelta

import pytest
import yaml

from rotator import Cache
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import LocalServer
from support.commandline import KEY_A, KEY_B, run
from support.processes import run_here
from support.server_versions import acl
from support.tlsfront import Authority

PASSWORD = "pass-of-the-encrypted-cache"
PLAIN_PASSWORD = "pass-of-the-plain-cache"
API_KEY = "client-secret-of-an-app"
SECRETS = {
    "vault.cache_key_current": KEY_B,
    "vault.cache_key_old_1": KEY_A,
    "vault.redis_password": PASSWORD,
    "vault.redis_plain_password": PLAIN_PASSWORD,
}

# Sections and fields as published configurations have them; what rotator does not read may say
# anything, profiles that cannot be used and references that nobody knows included.
FILE = """
version: "0.3"
features:
  experimental.clusters: "true"
logger: {level: debug}
http:
  address: "{{ env.NOT_SET }}:9443"
  tls: maverics
tls:
  maverics:
    certFile: /nowhere/server.pem
    keyFile: <vault.of_nobody>
    clientAuth: RequireAndVerifyClientCert
    clientCAFiles: [/nowhere/clients.pem]
    minVersion: 1.0
  ldap:
    caFile: {not: [a, path]}
  "a profile with spaces": null
  redis-client:
    caFile: @CA@
    certFile: @CERT@
    keyFile: <vault.redis_client_key>
    minVersion: 1.2
    enabledCiphers: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
session:
  store: {type: cluster, cluster: {name: main}}
caches:
  - name: main
    type: cluster
    cluster: {name: peers}
  - name: shared-redis
    type: redis
    encryption:
      keys:
        current: <vault.cache_key_current>
        old:
          - <vault.cache_key_old_1>
    redis:
      addresses:
        - @ENCRYPTED@
      username: maverics
      password: <vault.redis_password>
      tls: redis-client
  - name: service-extensions
    type: redis
    keys:
      disablePrefix: true
    encryption:
      disabled: true
    hashing:
      keys:
        disabled: true
    redis:
      addresses: ["@PLAIN@"]
      password: <vault.redis_plain_password>
clusters:
  - name: peers
    addresses: ["10.0.0.1:9000"]
    encryption: {keys: {current: <vault.psk>}}
connectors:
  - name: azure
    type: azure
    authType: oidc
    oauthClientSecret: "client-secret-of-an-app"
    tls: ldap
oidcProvider:
  cache: shared-redis
  discovery: {issuer: "https://{{ env.ISSUER }}"}
samlProvider:
  cache: shared-redis
apps:
  - name: app
    type: oidc
    credentials:
      secrets: [<vault.of_nobody>, "client-secret-of-an-app"]
    caches: [{name: not-ours, type: redis}]
serviceExtensions: [{name: lookup, funcName: Lookup, file: "/etc/maverics/ext/lookup.go"}]
"""


class Estate:
    """Both caches, the file that describes them, and the secrets that it refers to."""

    def __init__(self, folder, encrypted, front, plain, authority):
        leaf = authority.issue("maverics@example.com")
        self.encrypted, self.plain = encrypted, plain
        self.secrets = {**SECRETS, "vault.redis_client_key": leaf.key.read_text()}
        vault = folder / "secrets.yaml"
        vault.write_text(yaml.safe_dump({"secrets": self.secrets}))
        self.file = folder / "maverics.yaml"
        self.text = FILE
        for name, value in {
            "CA": authority.file,
            "CERT": leaf.cert,
            "ENCRYPTED": front.address,
            "PLAIN": plain.address,
        }.items():
            self.text = self.text.replace(f"@{name}@", str(value))
        self.file.write_text(self.text)
        self.state = folder / "state.db"
        self.env = {"MAVERICS_SECRET_PROVIDER": f"secretfile://{vault}"}
        with encrypted.client(password=PASSWORD) as client:
            client.flushall()
            codec = Codec(Keyring(Key.from_text(KEY_A, "test")), [BUILTIN["gcm"]])
            for index in range(20):
                name = f"/app/oidc:{index}".encode()
                client.set(name, codec.seal(name, b"token"), ex=3600)
        with plain.client(password=PLAIN_PASSWORD) as client:
            client.flushall()
            client.set("abc123", "as it is")

    def ended(self, *args, code=0):
        """A command on the file, ended with *code*; nothing secret is in what it said."""
        done = run_here([args[0], "--config", self.file, *args[1:]], env=self.env)
        assert done.returncode == code, done.stdout + done.stderr
        for secret in (*self.secrets.values(), API_KEY):
            assert secret not in done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """An encrypted cache behind TLS with an ACL user, and a plain one with a password."""
    authority = Authority(tmp_path_factory.mktemp("ca"))
    with (
        LocalServer("--requirepass", PASSWORD) as encrypted,
        LocalServer("--requirepass", PLAIN_PASSWORD) as plain,
        authority.front(encrypted, "127.0.0.1", clients=True) as front,
    ):
        with encrypted.client(password=PASSWORD) as client:
            rules = ["reset", "on", f">{PASSWORD}", "~*", *acl(client, "&*", "+@all")]
            client.execute_command("ACL", "SETUSER", "maverics", *rules)
        yield encrypted, front, plain, authority


@pytest.fixture
def estate(servers, tmp_path):
    """Both caches with values in them, and the file."""
    return Estate(tmp_path, *servers)


class TestFile:
    """Each command, on the file as it is."""

    def test_run(self, estate):
        """The encrypted cache is rotated; the others are passed by with a word."""
        done = estate.ended("run", "--state", estate.state, "--format", "json")
        [report] = json.loads(done.stdout)["caches"]
        assert (report["name"], report["outcomes"]["rotated"]) == ("shared-redis", 20)
        assert report["keys"][1]["field"] == "caches[1].encryption.keys.old[0]"
        assert "not encrypted, nothing to rotate" in done.stderr
        assert "service-extensions" in done.stderr
        assert "skipped, its type is cluster" in done.stderr
        with estate.plain.client(password=PLAIN_PASSWORD) as client:
            assert client.get("abc123") == b"as it is"

    def test_dry_run(self, estate):
        """A dry run of the same file tells what would be moved."""
        done = estate.ended("run", "--dry-run", "--state", estate.state, "--format", "json")
        assert json.loads(done.stdout)["caches"][0]["outcomes"]["would_rotate"] == 20

    def test_check(self, estate):
        """Every step of both caches is well, and no field is unknown or misspelled."""
        both = [
            word for name in ("shared-redis", "service-extensions") for word in ("--cache", name)
        ]
        steps = json.loads(estate.ended("check", *both, "--format", "json").stdout)["steps"]
        assert {one["result"] for one in steps} == {"ok"}, steps
        assert {one["cache"] for one in steps} == {None, "shared-redis", "service-extensions"}
        tls = {one["cache"]: one["detail"] for one in steps if one["step"] == "TLS"}
        assert tls["shared-redis"] == "TLSv1.3, profile redis-client"
        assert tls["service-extensions"] == "none, on either side"

    def test_keys(self, estate):
        """The keys are those of the encrypted cache, by their references."""
        rows = json.loads(estate.ended("keys", "--format", "json").stdout)["keys"]
        assert [(row["role"], row["source"]) for row in rows] == [
            ("current", "<vault.cache_key_current>"),
            ("old", "<vault.cache_key_old_1>"),
        ]

    def test_single_entries(self, estate):
        """Entries of either cache are set, described and deleted, in the format of the cache."""
        estate.ended("run", "--state", estate.state)
        for cache, more in (
            ("shared-redis", ["--namespace", "/app/oidc"]),
            ("service-extensions", []),
        ):
            name = ["--cache", cache, *more, "key"]
            done = run(["set", "--config", estate.file, *name], env=estate.env, input=b"value")
            assert done.returncode == 0, done.stderr
            assert estate.ended("get", *name).stdout == "value"
            estate.ended("inspect", *name)
            estate.ended("delete", *name)

    def test_the_library(self, estate):
        """The cache client works with it too, once it is said in which format it writes."""
        url = estate.env["MAVERICS_SECRET_PROVIDER"]
        ours = estate.state.parent / "rotator.yaml"
        ours.write_text(yaml.safe_dump({"rotator": {"caches": {"shared-redis": {"write": "gcm"}}}}))
        with Cache.open([estate.file, ours], "shared-redis", "/app/oidc", url) as cache:
            cache.set("key", b"value", ttl=timedelta(minutes=1))
            assert cache.get("key") == b"value"

    @pytest.mark.parametrize("form", ["json", "bundle"])
    def test_other_forms(self, form, estate, tmp_path):
        """As JSON, and in the bundle that the Console publishes, it works as well."""
        published = tmp_path / "maverics.json"
        published.write_text(json.dumps(yaml.safe_load(estate.text)))
        estate.file = published
        if form == "bundle":
            estate.file = tmp_path / "maverics.tar.gz"
            with tarfile.open(estate.file, "w:gz") as bundle:
                bundle.add(published, "maverics.json")
                bundle.add(estate.state.parent / "secrets.yaml", "ext/lookup.go")
        estate.ended("check")
        estate.ended("run", "--state", estate.state)


class TestFailures:
    """What may go wrong with it: told without a secret."""

    @pytest.mark.parametrize(
        ("wrong", "code", "step"),
        [
            (("<vault.redis_password>", "not-the-pa55word"), 1, "authentication"),
            (("maverics\n      password", "nobody\n      password"), 1, "authentication"),
            (("      tls: redis-client\n", ""), 1, "TLS"),
            (("<vault.redis_client_key>", "/nowhere/key.pem"), 2, "key material"),
            (("<vault.cache_key_current>", "<vault.missing>"), 2, "key material"),
            (("<vault.cache_key_old_1>", "<vault.redis_password>"), 2, "key material"),
            (("<vault.redis_client_key>", "<vault.cache_key_current>"), 2, "key material"),
        ],
        ids=["password", "user", "no TLS", "no file", "no secret", "no key", "no PEM"],
    )
    def test_one_fault(self, wrong, code, step, estate):
        """`check` names the step of the one cache and finds the other well; `run` refuses."""
        assert wrong[0] in estate.text
        estate.file.write_text(estate.text.replace(*wrong, 1))
        found = json.loads(estate.ended("check", "--format", "json", code=code).stdout)["steps"]
        assert [one["step"] for one in found if one["result"] == "failed"] == [step]
        assert [one["cache"] for one in found if one["result"] == "failed"] == ["shared-redis"]
        estate.ended("run", "--state", estate.state, code=code)
        assert "not-the-pa55word" not in estate.ended("check", code=code).stdout
