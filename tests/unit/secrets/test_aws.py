"""`awssecretsmanager://`, against moto's server and against one that refuses."""

import json
import pickle

import boto3
import pytest
from moto.server import ThreadedMotoServer

from rotator.config.types import SecretRef
from rotator.errors import SecretError, SourceError
from rotator.secrets import http
from rotator.secrets.provider import provider_from_url
from support.vendor_servers import (
    PLANTED,
    SECRET,
    Answer,
    VendorServer,
    authority,
    quiet,
    refused,
)

REGION = "us-west-2"
KEYS = f"accessKeyID=AKIA{PLANTED}&secretAccessKey=w%2B{PLANTED}%2F"
ENDPOINT = "AWS_ENDPOINT_URL_SECRETS_MANAGER"


@pytest.fixture(scope="module")
def moto():
    """The address of moto's server, which keeps secrets for all tests of this module."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def environment(monkeypatch, moto, tmp_path):
    """AWS is moto; there are no credentials and no region, not even those of this machine."""
    for name in ("REGION", "DEFAULT_REGION", "PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv(ENDPOINT, moto)


@pytest.fixture(scope="module")
def arns(moto):
    """The ARNs of the secrets that moto keeps, by name."""
    clients = {
        region: boto3.client(
            "secretsmanager",
            region_name=region,
            endpoint_url=moto,
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        for region in (REGION, "eu-central-1")
    }
    client = clients[REGION]
    values = {
        "cache/key": SECRET,
        "json": json.dumps({"password": SECRET, "a:b": "colon", "number": 12345678}),
        "maverics-secrets": json.dumps({"key": SECRET, "ns.key": "dotted", "list": [SECRET]}),
        "list": json.dumps([SECRET]),
    }
    made = {
        name: client.create_secret(Name=name, SecretString=value)["ARN"]
        for name, value in values.items()
    }
    client.create_secret(Name="text", SecretBinary=SECRET.encode())
    client.create_secret(Name="binary", SecretBinary=b"\xff\xfe")
    client.create_secret(Name="deleted", SecretString=SECRET)
    client.delete_secret(SecretId="deleted")
    made["far"] = clients["eu-central-1"].create_secret(Name="far", SecretString="far")["ARN"]
    return made


class Refusing(VendorServer):
    """AWS, as it words an error; the text repeats what it should not."""

    code = "AccessDeniedException"
    status = 400

    def answer(self, asked):
        """An error of the JSON protocol 1.1."""
        text = f"User {asked.headers['Authorization']} may not {SECRET}"
        body = {"__type": self.code, "Message": text}
        return Answer(self.status, body, {"Content-Type": "application/x-amz-json-1.1"})


def test_redirection(monkeypatch, caplog):
    """A redirection takes no signature elsewhere."""
    with Refusing() as here, Refusing() as other:
        here.script.extend([Answer(307, headers={"Location": f"http://{other.place}/"})] * 9)
        monkeypatch.setenv(ENDPOINT, f"http://{here.place}")
        one = provider_from_url(f"awssecretsmanager://amazonaws.com?region={REGION}&{KEYS}")
        refused(caplog, lambda: one.get("json"), kind=SourceError)
        assert here.asked
        assert not other.asked


def test_trust_of_the_profile(monkeypatch, caplog, tmp_path):
    """A CA that the profile names is trusted, as boto3 does."""
    ca = authority(tmp_path)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {ca.file}\n")
    with Refusing(ca.server) as server:
        monkeypatch.setenv(ENDPOINT, f"https://{server.place}")
        one = provider_from_url(f"awssecretsmanager://amazonaws.com?region={REGION}&{KEYS}")
        refused(caplog, lambda: one.get("json"), "AccessDeniedException", kind=SourceError)


@pytest.mark.usefixtures("arns")
@pytest.mark.parametrize("name", ["arn:x", "arn:aws:secretsmanager"])
def test_cut_arn(caplog, name):
    """An ARN that is cut short is the name of no secret."""
    refused(caplog, lambda: provider().get(name), f"<{name}>", kind=(SecretError, SourceError))


@pytest.fixture
def refusing(monkeypatch):
    """A server in the place of moto that refuses."""
    with Refusing() as server:
        monkeypatch.setenv(ENDPOINT, f"http://{server.place}")
        yield server


def provider(query=f"?region={REGION}&{KEYS}", host="amazonaws.com"):
    """The provider, with credentials in its URL."""
    return provider_from_url(f"awssecretsmanager://{host}{query}")


@pytest.mark.usefixtures("arns")
class TestGet:
    """Names, JSON keys, ARNs."""

    def test_quiet(self, caplog):
        """A secret on its way is in no log."""
        assert quiet(caplog, lambda: provider().get("cache/key")) == SECRET

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("cache/key", SECRET),
            ("json:password", SECRET),
            ("json:a:b", "colon"),
            ("text", SECRET),
        ],
    )
    def test_known(self, name, expected):
        """A reference is a secret, or a secret and one of its JSON keys."""
        assert SecretRef(f"<{name}>", "f").resolve(provider()) == expected

    def test_arn(self, arns):
        """An ARN has colons of its own."""
        assert provider().get(arns["cache/key"]) == SECRET
        assert provider().get(f"{arns['json']}:password") == SECRET
        assert provider().get(f"{arns['json']}:a:b") == "colon"

    def test_arn_of_another_region(self, arns):
        """An ARN is asked for in its own region, with or without one configured."""
        assert provider().get(arns["far"]) == "far"
        assert provider(f"?{KEYS}").get(arns["far"]) == "far"

    def test_credentials_of_the_environment(self, monkeypatch):
        """Without credentials in the URL boto3 finds some."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        assert provider(f"?region={REGION}").get("cache/key") == SECRET

    @pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
    def test_region_of_the_environment(self, monkeypatch, variable):
        """Without a region in the URL that of the environment is used."""
        monkeypatch.setenv(variable, REGION)
        assert provider(f"?{KEYS}").get("cache/key") == SECRET

    def test_read_once(self, monkeypatch):
        """Each secret is read once, whatever the number of its keys."""
        one = provider()
        one.get("json:password")
        monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
        assert one.get("json:a:b") == "colon"

    def test_unknown(self, caplog):
        """A secret that is not there is refused by name."""
        error = refused(
            caplog, lambda: provider().get("none"), "<none>: ", REGION, kind=SecretError
        )
        assert "region" in error.hint

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("json:none", "no such secret"),
            ("cache/key:a", "is not a JSON object"),
            ("list:a", "is not a JSON object"),
            ("json:number", "is not text"),
            ("binary", "is binary"),
            ("deleted", "InvalidRequestException"),
        ],
    )
    def test_refused(self, caplog, name, words):
        """What is not text, or not there, is refused by name and not shown."""
        error = refused(caplog, lambda: provider().get(name), f"<{name}>", words, kind=SecretError)
        assert "12345678" not in str(error)


@pytest.mark.usefixtures("arns")
class TestOlderUrl:
    """Region and secret in the URL."""

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("key", SECRET),
            ("ns.key", "dotted"),
            ("maverics-secrets.key", SECRET),
            ("maverics-secrets:key", SECRET),
        ],
    )
    def test_known(self, name, expected):
        """A reference is a JSON key of the one secret."""
        one = provider(f"/maverics-secrets?{KEYS}", REGION)
        assert one.get(name) == expected

    def test_unknown(self, caplog):
        """A key that is not there is refused, with the secret that lacks it."""
        one = provider(f"/maverics-secrets?{KEYS}", REGION)
        error = refused(caplog, lambda: one.get("none"), "<none>: ", kind=SecretError)
        assert "maverics-secrets" in error.hint
        refused(caplog, lambda: one.get("list"), "is not text", kind=SecretError)


class TestRefusals:
    """What AWS answers when it does not answer."""

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("AccessDeniedException", "refused to give <a> (AccessDeniedException)"),
            ("DecryptionFailure", "refused to give <a> (DecryptionFailure)"),
            ("UnrecognizedClientException", "refused the credentials"),
            ("ExpiredTokenException", "refused the credentials"),
            ("InvalidSignatureException", "refused the credentials"),
            (f"{SECRET}!", "(unknown code)"),
        ],
    )
    def test_codes(self, refusing, caplog, code, words):
        """Nothing of what AWS says is repeated, except its codes."""
        refusing.code = code
        refused(caplog, lambda: provider().get("a"), words, REGION, kind=SourceError)

    def test_throttled(self, refusing, caplog):
        """Too many requests are tried again a few times."""
        refusing.code = "ThrottlingException"
        refused(caplog, lambda: provider().get("a"), "ThrottlingException", kind=SourceError)
        assert len(refusing.asked) == http.TRIES

    def test_no_credentials(self, caplog):
        """Without credentials nothing is asked, and it is said where they may stand."""
        error = refused(
            caplog,
            lambda: provider(f"?region={REGION}").get("a"),
            "no credentials",
            kind=SourceError,
        )
        assert "accessKeyID" in error.hint

    def test_no_profile(self, caplog, monkeypatch):
        """A profile that is not there is no place for credentials."""
        monkeypatch.setenv("AWS_PROFILE", "none")
        one = provider(f"?region={REGION}")
        error = refused(caplog, lambda: one.get("a"), "could not be loaded", kind=SourceError)
        assert "AWS_PROFILE" in error.hint

    def test_no_region(self, caplog):
        """Without a region nothing is asked."""
        error = refused(
            caplog, lambda: provider(f"?{KEYS}").get("a"), "no region", kind=SecretError
        )
        assert "region=" in error.hint


class TestReach:
    """Connections."""

    def test_nobody_there(self, caplog, monkeypatch):
        """A closed port is said to be one."""
        with Refusing() as server:
            monkeypatch.setenv(ENDPOINT, f"http://{server.place}")
        refused(caplog, lambda: provider().get("a"), "refused the connection", kind=SourceError)

    def test_silence(self, refusing, caplog, monkeypatch):
        """A server that says nothing is not waited for."""
        monkeypatch.setattr(http, "TIMEOUT", 0.2)
        refusing.script.extend([Answer(wait=True)] * http.TRIES)
        refused(caplog, lambda: provider().get("a"), "in time", kind=SourceError)

    def test_plain_server(self, refusing, caplog, monkeypatch):
        """A server without TLS, where HTTPS is asked, gets nothing."""
        monkeypatch.setenv(ENDPOINT, f"https://{refusing.place}")
        refused(caplog, lambda: provider().get("a"), "TLS", kind=SourceError)
        assert not refusing.asked


class TestUrl:
    """What is wrong before anything is asked."""

    @pytest.mark.parametrize(
        ("rest", "words"),
        [
            ("amazonaws.com?accessKeyID=a", "secretAccessKey"),
            (f"amazonaws.com?secretAccessKey={PLANTED}", "accessKeyID"),
            (f"amazonaws.com/a?{KEYS}", "takes no path"),
            ("us-west-2", "names a region and no secret"),
            (f"amazonaws.com?sessionToken={PLANTED}", "parameter number 1"),
        ],
    )
    def test_refused(self, caplog, rest, words):
        """A URL that cannot work is refused without being shown."""
        url = f"awssecretsmanager://{rest}"
        refused(caplog, lambda: provider_from_url(url), words, kind=SecretError)

    def test_not_shown_and_not_pickled(self):
        """A provider shows its region, and refuses to travel."""
        one = provider()
        assert repr(one) == f"SecretsManager({REGION})"
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(one)
