"""TLS profiles: every field, over real connections to servers that speak TLS."""

import json
import ssl

import pytest

from cluster.local_cluster import LocalCluster, ask, members
from rotator.config.load import load
from rotator.config.schema import TlsProfile
from rotator.config.types import Reading, read_section
from rotator.demo.local_server import LocalServer, free_port
from rotator.errors import ConfigError, RotatorError, ServerError
from rotator.secrets.provider import provider_from_url
from rotator.server.context import CacheContext, tls_context
from support.caches import Cache, Place, counted, fill, keys_of, wait_for
from support.commandline import run
from support.processes import run_here
from support.programs import program
from support.server_versions import since
from support.tlsfront import WAYS, Authority

LOCAL = "127.0.0.1"
AES_128 = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256")
AES_256 = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384")

# The suites of Go's crypto/tls that OpenSSL still has, by both their names.
SUITES = {
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}

pytestmark = pytest.mark.usefixtures("redis")  # it empties the session's server


@pytest.fixture
def authority(tmp_path):
    """A CA that the profiles of a test name."""
    return Authority(tmp_path)


@pytest.fixture(params=WAYS)
def serve(request, authority, server):
    """Starts TLS servers; what it gives is used with `with`, and is an address and a client."""

    def start(*names, by=authority, **demands):
        return by.serving(request.param, server, *names, **demands)

    return start


def place_at(folder, address, profile):
    """A configuration of a cache at *address* with the TLS *profile*."""
    cache = Cache(address, redis={"tls": "client"})
    return Place(folder, cache, tls={"client": profile})


def connect(place, provider_url=None):
    """Connect to the cache of *place* and say PING."""
    config = load([place.file])
    access = CacheContext.open(config, provider_url=provider_url)
    with access.connect(config.caches[0].addresses[0]).connection as connection:
        return connection.call("PING")


def tls_step(place):
    """What the TLS step of `rotator check` found."""
    done = run_here(["check", "--config", place.file, "--format", "json"])
    [found] = [one for one in json.loads(done.stdout)["steps"] if one["step"] == "TLS"]
    return found


def refused(place, *words):
    """Connecting fails, and the TLS step of `check` says every one of *words*."""
    with pytest.raises(ServerError):
        connect(place)
    found = tls_step(place)
    assert found["result"] == "failed", found
    for word in words:
        assert word in found["detail"] + found["remedy"], found


class TestTrust:
    """Whose certificates are believed, and for which host."""

    def test_a_run(self, authority, serve, tmp_path):
        """A whole run goes through TLS, verified by what the server reports in between."""
        with serve(LOCAL) as (address, client):
            place = place_at(tmp_path, address, {"caFile": str(authority.file)})
            fill(client, place.cache, 3000)
            report = place.run()
            assert (report.exit_code, counted(report)) == (0, {"rotated": 3000})
            assert report.caches[0].verification.method == "tracking"
            assert keys_of(client, place.cache) == {0: 3000}

    @pytest.mark.parametrize("field", ["caFile", "caPath"])
    @pytest.mark.parametrize("given", ["path", "content", "secret with content", "secret path"])
    def test_ca(self, field, given, authority, serve, tmp_path):
        """A CA is a file, PEM in the configuration, or a secret that holds either."""
        text = authority.pem if "content" in given else str(authority.file)
        secrets = tmp_path / "secrets.json"
        secrets.write_text(json.dumps({"secrets": {"ca": text}}))
        profile = {field: "<ca>" if "secret" in given else text}
        with serve(LOCAL) as (address, _):
            place = place_at(tmp_path, address, profile)
            assert connect(place, f"secretfile://{secrets}") == b"PONG"

    def test_it_is_added_to_the_system(self, authority, serve, tmp_path, monkeypatch):
        """With a CA in the profile, servers of the system's CAs are believed too."""
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        other = Authority(tmp_path, "other")
        with (
            serve(LOCAL) as (by_system, _),
            serve(LOCAL, by=other) as (by_profile, _),
        ):
            for address in by_system, by_profile:
                assert connect(place_at(tmp_path, address, {"caFile": str(other.file)})) == b"PONG"
            assert connect(place_at(tmp_path, by_system, {})) == b"PONG"
            refused(place_at(tmp_path, by_profile, {}), "not trusted", "caFile")

    def test_an_intermediate_is_enough(self, authority, serve, tmp_path):
        """A CA that another one signed is believed by itself, as Go does."""
        below = authority.child("below")
        with serve(LOCAL, by=below) as (address, _):
            assert connect(place_at(tmp_path, address, {"caFile": str(below.file)})) == b"PONG"

    def test_another_authority(self, serve, tmp_path):
        """A certificate of another CA is not believed."""
        other = Authority(tmp_path, "other")
        with serve(LOCAL) as (address, _):
            refused(place_at(tmp_path, address, {"caFile": str(other.file)}), "caFile")

    def test_the_host_name_is_checked(self, authority, serve, tmp_path):
        """A certificate for a name is good for that name, and not for the address behind it."""
        profile = {"caFile": str(authority.file)}
        with serve("localhost") as (address, _):
            named = address.replace(LOCAL, "localhost")
            assert connect(place_at(tmp_path, named, profile)) == b"PONG"
            refused(place_at(tmp_path, address, profile), "mismatch", "redis.addresses")


class TestClientCertificate:
    """Servers that ask for a certificate."""

    @pytest.mark.parametrize("given", ["paths", "secrets", "one file", "key with certificate"])
    def test_it_is_shown(self, given, authority, serve, tmp_path):
        """Certificate and key are paths or secrets that hold PEM, or one file with both."""
        leaf = authority.issue("rotator@example.com")
        pair = {
            "paths": {"certFile": str(leaf.cert), "keyFile": str(leaf.key)},
            "secrets": {"certFile": "<CERT>", "keyFile": "<KEY>"},
            "one file": {"certFile": str(leaf.both)},
            "key with certificate": {"certFile": str(leaf.cert), "keyFile": str(leaf.both)},
        }[given]
        with serve(LOCAL, clients=True) as (address, client):
            place = place_at(tmp_path, address, {"caFile": str(authority.file), **pair})
            place.cache.put(client, "app:1")
            done = run(
                ["run", "--config", place.file, "--state", place.state],
                env={
                    "MAVERICS_SECRET_PROVIDER": "env://",
                    "CERT": leaf.cert.read_text(),
                    "KEY": leaf.key.read_text(),
                },
            )
            assert done.returncode == 0, done.stderr
            assert keys_of(client, place.cache) == {0: 1}

    def test_none(self, authority, serve, tmp_path):
        """Without one the server hangs up, and `check` says what it may want."""
        with serve(LOCAL, clients=True) as (address, _):
            place = place_at(tmp_path, address, {"caFile": str(authority.file)})
            refused(place, "certFile", "keyFile")

    def test_a_stranger(self, authority, serve, tmp_path):
        """A certificate of a CA that the server does not know is refused in the same way."""
        leaf = Authority(tmp_path, "other").issue("rotator@example.com")
        pair = {"certFile": str(leaf.cert), "keyFile": str(leaf.key)}
        with serve(LOCAL, clients=True) as (address, _):
            place = place_at(tmp_path, address, {"caFile": str(authority.file), **pair})
            refused(place, "certFile", "keyFile")


class TestVersionsAndCiphers:
    """What is agreed on."""

    @pytest.mark.parametrize(
        ("least", "offered", "agreed"),
        [
            (None, ("1.2", "1.3"), "TLSv1.3"),
            (None, ("1.2", "1.2"), "TLSv1.2"),
            (1.2, ("1.2", "1.2"), "TLSv1.2"),
            (1.3, ("1.2", "1.3"), "TLSv1.3"),
            ("1.3", ("1.3", "1.3"), "TLSv1.3"),
        ],
    )
    def test_version(self, *, least, offered, agreed, authority, serve, tmp_path):
        """The highest version that both know is taken, if it is not below the least."""
        profile = {"caFile": str(authority.file), **({"minVersion": least} if least else {})}
        with serve(LOCAL, versions=offered) as (address, client):
            place = place_at(tmp_path, address, profile)
            place.cache.put(client, "app:1")
            assert tls_step(place)["detail"] == f"{agreed}, profile client"

    def test_too_old(self, authority, serve, tmp_path):
        """A server below the profile's least version is refused, and the field is named."""
        profile = {"caFile": str(authority.file), "minVersion": 1.3}
        with serve(LOCAL, versions=("1.2", "1.2")) as (address, _):
            refused(place_at(tmp_path, address, profile), "minVersion")

    @pytest.mark.parametrize("spelling", [0, 1], ids=["IANA", "OpenSSL"])
    def test_ciphers(self, spelling, authority, serve, tmp_path):
        """In TLS 1.2 only the suites of the profile are offered, by either of their names."""
        profile = {"caFile": str(authority.file), "enabledCiphers": [AES_128[spelling]]}
        for held, works in ((AES_128, True), (AES_256, False)):
            demands = {"versions": ("1.2", "1.2"), "ciphers": held[1]}
            with serve(LOCAL, **demands) as (address, _):
                place = place_at(tmp_path, address, profile)
                if works:
                    assert connect(place) == b"PONG"
                else:
                    refused(place, "enabledCiphers")

    def test_ciphers_do_not_concern_newer_versions(self, authority, serve, tmp_path):
        """With TLS 1.3 the suites of 1.2 do not matter."""
        profile = {"caFile": str(authority.file), "enabledCiphers": [AES_128[0]]}
        with serve(LOCAL, versions=("1.3", "1.3")) as (address, _):
            assert connect(place_at(tmp_path, address, profile)) == b"PONG"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_tls_1_1_is_refused(authority, server, tmp_path):
    """A server that knows no more than TLS 1.1 is refused by default."""
    context = authority.context(LOCAL)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with authority.front(server, LOCAL, made=context) as front:
        place = place_at(tmp_path, front.address, {"caFile": str(authority.file)})
        refused(place, "minVersion")


def profile_of(ciphers=(), **files):
    """A profile as the configuration gives it, with paths or references."""
    given = {f"{field}File": str(file) for field, file in files.items()}
    given |= {"enabledCiphers": list(ciphers)}
    return read_section(TlsProfile, given, Reading("tls.client"))


class TestContext:
    """What a profile is made into, and what is wrong with it."""

    @pytest.mark.parametrize(("iana", "openssl"), SUITES.items())
    def test_suites(self, iana, openssl):
        """Each TLS 1.2 suite of the Orchestrator's library is known by its name there."""
        context = tls_context(profile_of(ciphers=(iana,)), None)
        chosen = [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]
        assert chosen == [openssl]

    def test_order(self):
        """Several suites are offered in the order given."""
        context = tls_context(profile_of(ciphers=(AES_256[0], AES_128[0])), None)
        chosen = [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]
        assert chosen == [AES_256[1], AES_128[1]]

    def test_suites_of_1_3(self):
        """Suites of TLS 1.3 are not chosen, here as there: naming them too changes nothing."""
        plain = tls_context(profile_of(ciphers=(AES_128[0],)), None)
        named = tls_context(profile_of(ciphers=("TLS_AES_128_GCM_SHA256", AES_128[0])), None)
        assert named.get_ciphers() == plain.get_ciphers()

    def test_nothing_but_suites_of_1_3(self):
        """A list of nothing else would allow all of TLS 1.2, and is refused."""
        with pytest.raises(ConfigError, match=r"enabledCiphers: names no suite of TLS 1\.2"):
            tls_context(profile_of(ciphers=("TLS_AES_128_GCM_SHA256",)), None)

    @pytest.mark.parametrize(
        "unfit",
        [
            *("TLS_RSA_WITH_NOTHING", "TLS_FALLBACK_SCSV", "", "AES128-SHA:aNULL"),
            *("aNULL", "eNULL", "ALL", "HIGH", "DEFAULT", "@SECLEVEL=0", "!aNULL", "PSK", "kRSA"),
            *("ADH-AES128-GCM-SHA256", "AECDH-AES128-SHA", "TLS_DH_anon_WITH_AES_128_GCM_SHA256"),
            *("NULL-SHA256", "ECDHE-RSA-NULL-SHA", "TLS_RSA_WITH_NULL_SHA256"),
            *("PSK-AES128-GCM-SHA256", "TLS_PSK_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM"),
        ],
    )
    def test_unfit_suite(self, unfit):
        """What is no suite, or one without certificate or encryption, is named by its place."""
        with pytest.raises(ConfigError, match=r"tls\.client\.enabledCiphers\[1\]") as caught:
            tls_context(profile_of(ciphers=(AES_128[0], unfit)), None)
        assert "IANA" in caught.value.hint

    def test_comments_in_any_language(self, authority, tmp_path):
        """What stands between certificates does not matter."""
        commented = tmp_path / "commented.pem"
        commented.write_text(f"# Autorit\u00e9 de certification \u2713\n{authority.pem}\n# fin")
        context = tls_context(profile_of(ca=commented), None)
        assert len(context.get_ca_certs()) > len(ssl.create_default_context().get_ca_certs())

    @pytest.mark.parametrize(
        ("field", "content", "words"),
        [
            ("ca", None, "no such file"),
            ("ca", b"hello", "cannot be used"),
            ("ca", b"\xff\x30\x82", "cannot be used"),
            ("cert", None, "no such file"),
            ("cert", b"-----BEGIN CERTIFICATE-----\nnope\n", "cannot be used"),
            ("key", None, "no such file"),
            ("key", b"hello", "cannot be used"),
        ],
    )
    def test_file(self, field, content, words, authority, tmp_path):
        """A file that is missing or is no PEM is named by its field, with what it should be."""
        leaf = authority.issue("rotator@example.com")
        given = tmp_path / "given.pem"
        if content is not None:
            given.write_bytes(content)
        files = {"cert": leaf.cert, "key": leaf.key} if field != "ca" else {}
        with pytest.raises(ConfigError, match=words) as caught:
            tls_context(profile_of(**{**files, field: given}), None)
        assert f"tls.client.{field}File" in str(caught.value)
        assert "PEM" in caught.value.hint

    def test_key_of_another_certificate(self, authority):
        """A key and a certificate that do not belong together are refused."""
        one, two = authority.issue("one@example.com"), authority.issue("two@example.com")
        with pytest.raises(ConfigError, match="mismatch") as caught:
            tls_context(profile_of(cert=one.cert, key=two.key), None)
        assert "keyFile" in str(caught.value)

    def test_key_with_a_pass_phrase(self, authority, tmp_path):
        """A key under a pass phrase is refused; nobody is asked for it."""
        leaf = authority.issue("rotator@example.com")
        locked = tmp_path / "locked.key"
        locked.write_bytes(authority.locked(leaf.key, b"phrase"))
        with pytest.raises(ConfigError, match="pass phrase"):
            tls_context(profile_of(cert=leaf.cert, key=locked), None)

    def test_nothing_of_a_secret_is_said(self, tmp_path, monkeypatch):
        """PEM from a secret that is broken is not quoted, and no copy of it is left behind."""
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setenv("KEY", "-----BEGIN PRIVATE KEY-----\npLantEd\n-----END PRIVATE KEY-----")
        profile = profile_of(cert="<KEY>", key="<KEY>")
        with pytest.raises(RotatorError) as caught:
            tls_context(profile, provider_from_url("env://"))
        assert "pLantEd" not in repr(caught.value) + str(caught.value.hint)
        assert not list(tmp_path.iterdir())


class TlsCluster(LocalCluster):
    """A cluster whose nodes speak TLS with clients and with each other."""

    def _start_node(self):
        port = free_port()
        node = LocalServer(*self._options, "--tls-port", str(port), binary=self._binary)
        node.tls_port = port
        self.nodes.append(node)
        node.start()
        return node

    def _meeting_port(self, node):
        return node.tls_port


@pytest.fixture(scope="module", params=WAYS)
def tls_cluster(request, tmp_path_factory):
    """
    Three primaries that speak TLS: the cluster, its CA, its addresses and an address map.

    Their certificate is for localhost alone, and they announce that name where they can.
    """
    authority = Authority(tmp_path_factory.mktemp("cluster"))
    if request.param == "server":
        leaf = authority.issue("localhost")
        options = [
            *("--tls-cluster", "yes", "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(leaf.cert), "--tls-key-file", str(leaf.key)),
            *("--tls-ca-cert-file", str(authority.file)),
        ]
        with TlsCluster(3, 0, options, program("tls")) as cluster:
            announce(cluster)
            yield cluster, authority, [f"localhost:{one.tls_port}" for one in cluster.nodes], {}
        return
    with LocalCluster(primaries=3, replicas=0) as cluster:
        announce(cluster)
        fronts = [authority.front(node, "localhost") for node in cluster.nodes]
        with fronts[0], fronts[1], fronts[2]:
            reached = {
                f"{host}:{node.port}": f"localhost:{front.port}"
                for node, front in zip(cluster.nodes, fronts, strict=True)
                for host in (LOCAL, "localhost")
            }
            yield cluster, authority, [f"localhost:{node.port}" for node in cluster.nodes], reached


def has_host_names(cluster):
    """Whether the nodes can announce a host name; Redis since 7.0."""
    with cluster.nodes[0].client() as client:
        return since(client, 7, 0)


def announce(cluster):
    """Have each node announce its host name, and wait until all know of it."""
    if not has_host_names(cluster):
        return
    for node in cluster.nodes:
        ask(node, "CONFIG", "SET", "cluster-announce-hostname", "localhost")
    hosts = lambda node: {one.address.host for one in members(node)}  # noqa: E731 - a name for it
    wait_for(lambda: all(hosts(node) == {"localhost"} for node in cluster.nodes))


class TestCluster:
    """One profile for all nodes of a cluster."""

    @pytest.fixture
    def place(self, tls_cluster, tmp_path):
        """A configuration that lists all nodes, and an empty cluster."""
        cluster, authority, addresses, reached = tls_cluster
        for node in cluster.nodes:
            ask(node, "FLUSHALL")
        cache = Cache(*addresses, redis={"tls": "client"}, settings={"addressMap": reached})
        return Place(tmp_path, cache, tls={"client": {"caFile": str(authority.file)}})

    def put(self, cluster, place, count):
        """Store values under old keys, each on the node that owns it."""
        for index in range(count):
            name = f"app:{index}"
            with cluster.client_for(name) as client:
                place.cache.put(client, name)

    def test_every_node_is_rotated(self, tls_cluster, place):
        """A run goes to every node, through TLS, by the names in the certificate."""
        self.put(tls_cluster[0], place, 60)
        report = place.run()
        assert (report.exit_code, counted(report)) == (0, {"rotated": 60})
        assert {one.node for one in report.caches[0].coverage.nodes} == set(tls_cluster[2])

    def test_check(self, tls_cluster, place):
        """Every step is well at every node."""
        self.put(tls_cluster[0], place, 10)
        done = run_here(["check", "--config", place.file, "--format", "json"])
        steps = json.loads(done.stdout)["steps"]
        assert done.returncode == 0, steps
        found = {one["node"] for one in steps if one["step"] == "TLS" and one["result"] == "ok"}
        assert found == set(tls_cluster[2])

    @pytest.mark.parametrize("seeds", [1, 3])
    def test_the_client_finds_every_name(self, seeds, tls_cluster, place):
        """
        Entries are found at their nodes, whose redirections give addresses that no certificate has.

        A node that is not configured is reached by the name that it announces.
        """
        document = json.loads(place.file.read_text())
        listed = tls_cluster[2][:seeds] if has_host_names(tls_cluster[0]) else tls_cluster[2]
        document["caches"][0]["redis"]["addresses"] = listed
        document["rotator"]["caches"][place.cache.name]["write"] = "sealed"
        place.file.write_text(json.dumps(document))
        config = ["--config", place.file, "--namespace", "ns"]
        for index in range(6):
            set_ = run(["set", *config, f"key{index}"], input=b"value")
            assert set_.returncode == 0, set_.stderr
            assert run_here(["get", *config, f"key{index}"]).stdout == "value"
