"""`azurekeyvault://`, against a server that speaks Key Vault's and Entra ID's APIs."""

import pickle
from urllib.parse import quote

import pytest

from rotator.config.types import SecretRef
from rotator.errors import SecretError, SourceError
from rotator.secrets import http
from rotator.secrets.provider import provider_from_url
from support.vendor_servers import PLANTED, SECRET, Answer, Azure, authority, quiet, refused

NAME = "cache-key-2026-11"


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """A CA that the system does not trust."""
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(autouse=True)
def environment(monkeypatch, ca):
    """The system trusts the CA; nothing of Azure is in the environment."""
    for name in ("CLIENT_ID", "CLIENT_SECRET", "TENANT_ID", "AUTHORITY_HOST"):
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))


@pytest.fixture
def server(ca):
    """A key vault with one secret."""
    with Azure(ca.server) as running:
        running.secrets[NAME] = SECRET
        yield running


def provider(server, secret=Azure.client_secret):
    """The provider for a server, with credentials in its URL."""
    query = f"clientID={Azure.client}&clientSecret={quote(secret, safe='')}&tenantID={Azure.tenant}"
    return provider_from_url(f"azurekeyvault://{server.place}?{query}&entraIDHost={server.place}")


class TestGet:
    """Secrets."""

    def test_quiet(self, server, caplog):
        """A secret on its way is in no log."""
        assert quiet(caplog, lambda: provider(server).get(NAME)) == SECRET

    def test_known(self, server):
        """A reference is the name of a secret, in its newest version."""
        assert SecretRef(f"<{NAME}>", "f").resolve(provider(server)) == SECRET
        assert server.paths("/secrets/")[-1].rstrip("/") == f"/secrets/{NAME}"

    @pytest.mark.parametrize("before", [0, 1, 2])
    def test_redirection(self, server, ca, caplog, before):
        """A redirection by vault or Entra ID, at whatever step, takes no credentials elsewhere."""
        with Azure(ca.server) as other:
            away = Answer(307, headers={"Location": f"https://{other.place}/secrets/{NAME}"})
            one = provider(server)
            reply, asked = server.answer, []

            def answer(request):
                asked.append(request)
                return away if len(asked) > before else reply(request)

            server.answer = answer
            refused(caplog, lambda: one.get(NAME), kind=SourceError)
            assert len(asked) > before
        assert not other.asked

    def test_one_login(self, server):
        """A token serves many secrets."""
        server.secrets["b"] = "c"
        one = provider(server)
        assert [one.get(NAME), one.get("b")] == [SECRET, "c"]
        assert len(server.paths("/token")) == 1

    def test_expired_token(self, server):
        """A token that has expired is replaced by another login."""
        server.seconds = 0
        one = provider(server)
        assert [one.get(NAME), one.get(NAME)] == [SECRET, SECRET]
        assert len(server.paths("/token")) > 1

    def test_credentials_of_the_environment(self, server, monkeypatch):
        """Without credentials in the URL Azure's usual chain finds some."""
        monkeypatch.setenv("AZURE_CLIENT_ID", Azure.client)
        monkeypatch.setenv("AZURE_CLIENT_SECRET", Azure.client_secret)
        monkeypatch.setenv("AZURE_TENANT_ID", Azure.tenant)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://{server.place}")
        assert provider_from_url(f"azurekeyvault://{server.place}").get(NAME) == SECRET

    @pytest.mark.parametrize("name", ["redis.password", "a/b", "a b", "ä", "x" * 128])
    def test_no_name(self, server, caplog, name):
        """What cannot be the name of a secret is not asked for."""
        error = refused(caplog, lambda: provider(server).get(name), f"<{name}>: ", kind=SecretError)
        assert "dashes" in error.hint
        assert not server.asked


class TestRefusals:
    """What Azure answers when it does not answer."""

    def test_unknown(self, server, caplog):
        """A secret that is not there is refused by name."""
        refused(
            caplog, lambda: provider(server).get("none"), "<none>: ", server.place, kind=SecretError
        )

    def test_disabled(self, server, caplog):
        """A disabled secret is said to be that."""
        server.disabled.add(NAME)
        refused(caplog, lambda: provider(server).get(NAME), "is disabled", kind=SecretError)

    def test_denied(self, server, caplog):
        """A secret without the right to get it is refused, with the role that is missing."""
        server.denied.add(NAME)
        error = refused(caplog, lambda: provider(server).get(NAME), f"<{NAME}>", kind=SourceError)
        assert "Key Vault Secrets User" in error.hint

    def test_login(self, server, caplog):
        """A login that is refused shows Entra ID's code, and nothing else of it."""
        error = refused(
            caplog,
            lambda: provider(server, f"wrong{PLANTED}").get(NAME),
            "refused the login (AADSTS7000215)",
            kind=SourceError,
        )
        assert "clientSecret" in error.hint

    def test_no_credentials(self, server, caplog, monkeypatch):
        """Without credentials anywhere it is said where they may stand."""
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
        one = provider_from_url(f"azurekeyvault://{server.place}")
        error = refused(caplog, lambda: one.get(NAME), "no credentials", kind=SourceError)
        assert "AZURE_CLIENT_ID" in error.hint

    def test_wrong_credentials_of_the_environment(self, server, caplog, monkeypatch):
        """Credentials that are refused are not said to be missing."""
        monkeypatch.setenv("AZURE_CLIENT_ID", Azure.client)
        monkeypatch.setenv("AZURE_CLIENT_SECRET", f"wrong{PLANTED}")
        monkeypatch.setenv("AZURE_TENANT_ID", Azure.tenant)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://{server.place}")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
        one = provider_from_url(f"azurekeyvault://{server.place}")
        refused(caplog, lambda: one.get(NAME), "AADSTS7000215", kind=SourceError)

    def test_token_of_another_tenant(self, server, caplog):
        """A token that the vault never takes is not got for ever."""
        server.script_for = "/secrets/"
        challenge = (
            f'Bearer authorization="https://{server.place}/{Azure.tenant}",'
            f' resource="{server.resource}"'
        )
        server.script.extend([Answer(401, SECRET, {"WWW-Authenticate": challenge})] * 9)
        refused(caplog, lambda: provider(server).get(NAME), "refused the token", kind=SourceError)

    def test_another_resource(self, server, caplog):
        """A server that asks for a token for somebody else gets none."""
        server.resource = "https://vault.azure.net"
        error = refused(
            caplog, lambda: provider(server).get(NAME), "does not match", kind=SourceError
        )
        assert "vault.azure.net" in error.hint
        assert not server.paths("/token")

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(501, SECRET), "status 501"),
            (Answer(400, [SECRET]), "status 400"),
            (Answer(200, SECRET, {"Content-Type": "application/json"}), "not understood"),
            (Answer(200, f"<html>{SECRET}", {"Content-Type": "text/html"}), "not understood"),
            (Answer(200, [SECRET], {"Content-Type": "application/json"}), "not understood"),
            (Answer(200, {"value": None}, {"Content-Type": "application/json"}), "not understood"),
        ],
    )
    def test_other_answers(self, server, caplog, answer, words):
        """Nothing of what a server says is repeated."""
        server.script_for = "/secrets/"
        one = provider(server)
        one.get(NAME)
        server.script.append(answer)
        refused(caplog, lambda: one.get(NAME), words, kind=SourceError)

    def test_busy(self, server, caplog):
        """A busy vault is asked a few times, after as long as it wants."""
        one = provider(server)
        one.get(NAME)
        server.script.append(Azure.error(429, "Throttled", **{"Retry-After": "0"}))
        assert one.get(NAME) == SECRET
        before = len(server.asked)
        server.script.extend([Azure.error(503, "Busy", **{"Retry-After": "0"})] * 9)
        refused(caplog, lambda: one.get(NAME), "too busy", "503", kind=SourceError)
        assert len(server.asked) - before == http.TRIES

    @pytest.mark.parametrize("part", ["openid-configuration", "/token"])
    def test_busy_login(self, server, caplog, part):
        """A login is tried again, too, and a busy Entra ID is not said to have refused it."""
        server.script_for = part
        server.script.extend([Answer(503, SECRET, {"Retry-After": "0"})] * 9)
        one = provider(server)
        refused(caplog, lambda: one.get(NAME), "Entra ID is too busy", kind=SourceError)
        assert len(server.paths(part)) == http.TRIES


class TestReach:
    """Connections and certificates."""

    def test_nobody_there(self, ca, caplog):
        """A closed port is said to be one."""
        with Azure(ca.server) as server:
            pass
        refused(
            caplog, lambda: provider(server).get("a"), "refused the connection", kind=SourceError
        )

    @pytest.mark.parametrize("part", ["/secrets/", "/token"])
    def test_silence(self, server, caplog, monkeypatch, part):
        """A vault, or Entra ID, that says nothing is not waited for."""
        monkeypatch.setattr(http, "TIMEOUT", 0.3)
        server.script_for = part
        server.script.append(Answer(wait=True))
        refused(caplog, lambda: provider(server).get("a"), "in time", kind=SourceError)

    def test_untrusted(self, server, caplog, monkeypatch):
        """A certificate that nobody vouches for is refused, and nothing sent."""
        monkeypatch.delenv("SSL_CERT_FILE")
        error = refused(
            caplog, lambda: provider(server).get("a"), "is not trusted: ", kind=SourceError
        )
        assert "SSL_CERT_FILE" in error.hint
        assert not server.asked

    def test_plain_server(self, caplog):
        """A server without TLS gets nothing."""
        with Azure() as server:
            refused(caplog, lambda: provider(server).get("a"), "TLS", kind=SourceError)
            assert not server.asked


class TestUrl:
    """What is wrong before anything is asked."""

    @pytest.mark.parametrize(
        ("rest", "words"),
        [
            (f"?clientSecret={PLANTED}&tenantID=a", "clientID"),
            ("?clientID=a&tenantID=a", "clientSecret"),
            (f"?clientID=a&clientSecret={PLANTED}", "tenantID"),
            (f"?clientID=a&clientSecret={PLANTED}&tenantID=a%20b", "invalid tenantID"),
            (
                f"?clientID=a&clientSecret={PLANTED}&tenantID=a&entraIDHost=http://h",
                "invalid tenantID",
            ),
            ("/secrets/a", "takes no path"),
        ],
    )
    def test_refused(self, caplog, rest, words):
        """A URL that cannot work is refused without being shown."""
        url = f"azurekeyvault://v.vault.azure.net{rest}"
        refused(caplog, lambda: provider_from_url(url), words, kind=SecretError)

    def test_not_shown_and_not_pickled(self, server):
        """A provider shows its address, and refuses to travel."""
        one = provider(server)
        assert repr(one) == f"KeyVault({server.place})"
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(one)
