"""Every secret provider behind the commands: what they say when it serves, and when it does not."""

import json
import sys
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from urllib.parse import quote

import boto3
import pytest
from moto.server import ThreadedMotoServer

from support import misbehaviour as bad
from support.caches import held_port
from support.commandline import KEY_A, KEY_B, cache, config_file
from support.processes import run_here
from support.vendor_servers import (
    PLANTED,
    SECRET,
    Answer,
    Azure,
    Ccp,
    Conjur,
    Delinea,
    Vault,
    VendorServer,
    authority,
)

NAMES = ("current", "old")
KEYS = (KEY_B, KEY_A)


class Echo(VendorServer):
    """Answers everything with the same status, and with all that it was told."""

    def __init__(self, status, tls=None):
        super().__init__(tls)
        self.status = status

    def answer(self, asked):
        """The request again, and a secret."""
        told = f"{asked.path} {asked.query} {asked.headers} {asked.body!r} {SECRET}"
        header = {"X-Told": told.encode("ascii", "replace").decode()}
        return Answer(self.status, {"error": told, "errors": [told], "message": told}, header)


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """A CA that the system trusts, as far as these tests are concerned."""
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def moto():
    """AWS, with the keys of the cache."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "secretsmanager",
        region_name="us-west-2",
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    for name, key in zip(NAMES, KEYS, strict=True):
        client.create_secret(Name=name, SecretString=key)
    yield url
    server.stop()


def vault(_):
    """HashiCorp Vault with the keys of the cache."""
    server = Vault()
    server.entries["secret/data/maverics"] = dict(zip(NAMES, KEYS, strict=True))
    return server


def conjur(ca):
    """CyberArk Conjur with them."""
    server = Conjur(ca.server)
    server.variables = dict(zip(NAMES, KEYS, strict=True))
    return server


def delinea(ca):
    """Delinea Secret Server with them, as fields of two secrets."""
    server = Delinea(ca.server)
    for name, key in zip(NAMES, KEYS, strict=True):
        field = {"slug": "key", "itemValue": key, "isFile": False, "fileAttachmentId": None}
        server.secrets[f"\\keys\\{name}"] = [field]
    return server


def ccp(ca):
    """CyberArk CCP with them."""
    server = Ccp(ca.strict)
    server.objects = dict(zip(NAMES, KEYS, strict=True))
    return server


def azure(ca):
    """Azure Key Vault with them."""
    server = Azure(ca.server)
    server.secrets = dict(zip(NAMES, KEYS, strict=True))
    return server


def url_of(scheme, place, ca):
    """The URL of a provider at *place*, with a secret in it wherever one may be."""
    password = quote(Delinea.user[1], safe="")
    secret = quote(Azure.client_secret, safe="")
    return {
        "hashivault": f"hashivault+http://{place}/secret/data/maverics?token={Vault.token}",
        "conjur": f"conjur://{place}/myaccount/host%2Fmaverics?apikey={Conjur.api_key}",
        "delinea": f"delinea://{place}?username=svc&password={password}&folder=keys",
        "cyberarkccp": f"cyberarkccp://{place}?appID=my%20app&safe=S%26afe"
        f"&certFile={ca.cert}&keyFile={ca.key}&caFile={ca.file}",
        "azurekeyvault": f"azurekeyvault://{place}?clientID={Azure.client}&clientSecret={secret}"
        f"&tenantID={Azure.tenant}&entraIDHost={place}",
        "awssecretsmanager": "awssecretsmanager://amazonaws.com?region=us-west-2"
        f"&accessKeyID=AKIA{PLANTED}&secretAccessKey=w%2B{PLANTED}%2F",
    }[scheme]


SERVERS = {
    "hashivault": vault,
    "conjur": conjur,
    "delinea": delinea,
    "cyberarkccp": ccp,
    "azurekeyvault": azure,
}
SCHEMES = [*SERVERS, "awssecretsmanager"]


class Case:
    """A cache whose keys come from a provider, and the commands that need them."""

    def __init__(self, scheme, folder, server, ca):
        self.scheme = scheme
        self.state = folder / "state.db"
        self.ca = ca
        self.file = folder / "maverics.yaml"
        self.address = server.address
        self.configure(*NAMES)

    def configure(self, current, old):
        """Refer to the keys by these names."""
        suffix = ".key" if self.scheme == "delinea" else ""
        keys = {"current": f"<{current}{suffix}>", "old": [f"<{old}{suffix}>"]}
        settings = {"caches": {"shared-redis": {"write": "sealed"}}}
        config_file(self.file, cache(self.address, **keys), rotator=settings)

    @contextmanager
    def serving(self, running, moto=None):
        """The environment in which the provider is found while *running* serves."""
        with ExitStack() as stack:
            if running is not None:
                stack.enter_context(running)
            place = running.place if running else f"127.0.0.1:{stack.enter_context(held_port())}"
            yield {
                "MAVERICS_SECRET_PROVIDER": url_of(self.scheme, place, self.ca),
                "SSL_CERT_FILE": str(self.ca.file),
                "CONJUR_CERT_FILE": str(self.ca.file),
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto or f"http://{place}",
            }

    def commands(self, env):
        """Every command that needs keys, ended."""
        config = ["--config", self.file]
        name = ["--namespace", "ns", "key"]
        return {
            args[0]: run_here([*args[:1], *config, *args[1:]], env=env)
            for args in (
                ["run", "--state", self.state, "--log-level", "debug", "--format", "json"],
                ["keys"],
                ["check", "--format", "json"],
                ["detect"],
                ["get", *name],
                ["set", *name],
                ["inspect", "app:1"],
            )
        }


def discreet(done):
    """Nothing that is secret is in what a command has said."""
    for text in (done.stdout, done.stderr):
        for secret in (PLANTED, *KEYS, "Traceback"):
            assert secret not in text


@pytest.fixture(params=SCHEMES)
def case(request, tmp_path, server, redis, ca):
    """A cache that is empty, and one of the providers."""
    redis.set("unrelated", "x" * 64)
    return Case(request.param, tmp_path, server, ca)


def started(case, request):
    """The provider's own server, which is not running yet; the address of AWS, which is."""
    if case.scheme == "awssecretsmanager":
        return None, request.getfixturevalue("moto")
    return SERVERS[case.scheme](case.ca), None


def test_it_serves(case, request):
    """The keys come from the provider, the commands do their work, and none shows a secret."""
    with case.serving(*started(case, request)) as env:
        config = ["--config", case.file, "--namespace", "ns"]
        assert run_here(["set", *config, "key"], env=env).returncode == 0
        ended = case.commands(env)
    assert ended["keys"].returncode == 0
    assert ended["get"].returncode == 0
    assert json.loads(ended["run"].stdout)["caches"][0]["outcomes"]["current"] == 1
    steps = json.loads(ended["check"].stdout)["steps"]
    assert all(one["result"] != "failed" for one in steps)
    for done in ended.values():
        discreet(done)


def test_a_secret_that_is_not_there(case, request):
    """The field that refers to it is named, by every command, with exit code 2."""
    case.configure("current", "missing")
    with case.serving(*started(case, request)) as env:
        ended = case.commands(env)
    for done in ended.values():
        assert done.returncode == 2
        assert "caches[0].encryption.keys.old[0]" in done.stdout + done.stderr
        discreet(done)


def test_nobody_is_there(case, monkeypatch):
    """A provider that cannot be reached is a failure on the way, not of the configuration."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with case.serving(None) as env:
        ended = case.commands(env)
    for done in ended.values():
        assert done.returncode == 1
        discreet(done)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
def test_a_server_that_tells_all(case, status, monkeypatch):
    """Whatever a provider answers, none of it is repeated, nor what it was asked with."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    tls = {"hashivault": None, "awssecretsmanager": None, "cyberarkccp": case.ca.strict}
    with case.serving(Echo(status, tls.get(case.scheme, case.ca.server))) as env:
        ended = case.commands(env)
    for done in ended.values():
        assert done.returncode in {1, 2}
        discreet(done)


class Broken(VendorServer):
    """Answers everything in one of the ways that no server should."""

    def __init__(self, way, tls=None):
        super().__init__(tls)
        self.way = way

    def answer(self, _):
        """The same each time."""
        return Answer(send=self.way)


@pytest.mark.parametrize("way", [bad.trickle, bad.bomb, bad.reset], ids=lambda one: one.__name__)
def test_a_server_that_is_broken(case, way, monkeypatch):
    """A provider that never ends or never begins ends a command with 1, in time and discreetly."""
    monkeypatch.setattr("rotator.secrets.http.PATIENCE", 0.3)
    tls = {"hashivault": None, "awssecretsmanager": None, "cyberarkccp": case.ca.strict}
    config = ["--config", case.file]
    with case.serving(Broken(way, tls.get(case.scheme, case.ca.server))) as env:
        for command in (["check"], ["run", "--state", case.state, "--log-level", "debug"]):
            done = run_here([*command, *config], env=env)
            assert done.returncode == 1
            discreet(done)


def test_a_library_that_is_missing(tmp_path, server, ca, monkeypatch):
    """A provider whose extra is not installed says which one brings it."""
    monkeypatch.setitem(sys.modules, "hvac", None)
    monkeypatch.delitem(sys.modules, "rotator.secrets.vault", raising=False)
    case = Case("hashivault", tmp_path, server, ca)
    with case.serving(None) as env:
        for done in case.commands(env).values():
            assert "pip install 'redis-rotator[vault]'" in done.stdout + done.stderr
            assert done.returncode == 2
            discreet(done)


def test_what_is_planted():
    """The search would find a secret: one is in every URL that can hold one."""
    files = SimpleNamespace(cert="c", key="k", file="f")
    with_secret = [one for one in SCHEMES if PLANTED in url_of(one, "h", files)]
    assert with_secret == [one for one in SCHEMES if one != "cyberarkccp"]
