"""`cyberarkccp://`, against a server that speaks the web service's REST interface."""

import pickle

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from rotator.config.types import SecretRef
from rotator.errors import SecretError, SourceError
from rotator.secrets import http
from rotator.secrets.provider import provider_from_url
from support.vendor_servers import PLANTED, SECRET, Answer, Ccp, authority, quiet, refused

BASE = "appID=my%20app&safe=S%26afe"


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """A CA that the system does not trust, in a folder with a blank in its name."""
    return authority(tmp_path_factory.mktemp("my certs"))


@pytest.fixture
def ccp(ca):
    """A provider that demands a client certificate, with one account."""
    with Ccp(ca.strict) as server:
        server.objects["redis-key"] = SECRET
        yield server


def provider(server, ca, query=BASE, *, cert=True):
    """The provider for a server."""
    certificate = f"&certFile={ca.cert}&keyFile={ca.key}" if cert else ""
    url = f"cyberarkccp://{server.place}?{query}&caFile={ca.file}{certificate}"
    return provider_from_url(url.replace(" ", "%20"))


class TestGet:
    """Account objects."""

    def test_quiet(self, ccp, ca, caplog):
        """A secret on its way is in no log."""
        assert quiet(caplog, lambda: provider(ccp, ca).get("redis-key")) == SECRET

    def test_known(self, ccp, ca):
        """A reference is the name of an account object; the certificate is shown."""
        assert SecretRef("<redis-key>", "f").resolve(provider(ccp, ca)) == SECRET
        (asked,) = ccp.asked
        assert asked.peer
        assert asked.query == {"AppID": "my app", "Safe": "S&afe", "Object": "redis-key"}

    def test_folder(self, ccp, ca):
        """A folder is asked for, if one is given."""
        assert provider(ccp, ca, f"{BASE}&folder=Root%5Ca").get("redis-key") == SECRET
        assert ccp.asked[0].query["Folder"] == "Root\\a"

    def test_new_lines(self, ccp, ca):
        """The delimiter in a password stands for a new line."""
        ccp.objects["pem"] = "-----BEGIN^A^-----END"
        assert provider(ccp, ca, f"{BASE}&newLineDelim=%5E").get("pem") == "-----BEGIN\nA\n-----END"
        assert provider(ccp, ca).get("pem") == "-----BEGIN^A^-----END"

    def test_special_characters(self, ccp, ca):
        """Characters of the query in a name are encoded."""
        ccp.objects["a&b=c d"] = SECRET
        assert provider(ccp, ca).get("a&b=c d") == SECRET

    def test_without_certificate(self, ca):
        """Where machines are known by their address no certificate is needed."""
        with Ccp(ca.server) as server:
            server.objects["a"] = SECRET
            assert provider(server, ca, cert=False).get("a") == SECRET

    def test_one_file(self, ccp, ca, tmp_path):
        """The key may be in the file of the certificate."""
        both = tmp_path / "both.pem"
        both.write_bytes(ca.cert.read_bytes() + ca.key.read_bytes())
        one = provider(ccp, ca, f"{BASE}&certFile={both}", cert=False)
        assert one.get("redis-key") == SECRET


class TestRefusals:
    """What a provider answers when it does not answer."""

    def test_unknown(self, ccp, ca, caplog):
        """An object that is not there, or may not be seen, is refused by name."""
        error = refused(
            caplog, lambda: provider(ccp, ca).get("none"), "<none>: ", ccp.place, kind=SecretError
        )
        assert "APPAP004E" in error.hint
        assert "S&afe" in error.hint

    def test_application(self, ccp, ca, caplog):
        """An application that is not known is named."""
        query = "appID=other&safe=S%26afe"
        refused(
            caplog,
            lambda: provider(ccp, ca, query).get("redis-key"),
            "refused the application other (APPAP306E)",
            kind=SourceError,
        )

    def test_ambiguous(self, ccp, ca, caplog):
        """A name that fits several objects is refused by name."""
        ccp.script.append(Ccp.error(400, "APPAP228E"))
        error = refused(caplog, lambda: provider(ccp, ca).get("a"), "<a>: ", kind=SecretError)
        assert "more than one" in error.hint

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Ccp.error(505, "APPAP282E"), "changing the password"),
            (Ccp.error(400, "APPAP007E"), "status 400 (APPAP007E)"),
            (Ccp.error(400, SECRET), "status 400"),
            (Answer(403, SECRET), "refused the application"),
            (Answer(501, [SECRET]), "status 501"),
            (Answer(302, SECRET, {"Location": "https://127.0.0.1/login"}), "302"),
            (Answer(200, SECRET), "not understood"),
            (Answer(200, [SECRET]), "not understood"),
            (Answer(200, {"Content": [SECRET]}), "not understood"),
        ],
    )
    def test_other_answers(self, ccp, ca, caplog, answer, words):
        """Nothing of what a provider says is repeated, except its codes."""
        ccp.script.append(answer)
        refused(caplog, lambda: provider(ccp, ca).get("a"), words, kind=SourceError)

    def test_busy(self, ccp, ca, caplog):
        """A busy provider is asked a few times."""
        ccp.script.append(Answer(429, headers={"Retry-After": "0"}))
        assert provider(ccp, ca).get("redis-key") == SECRET
        ccp.script.extend([Answer(503, SECRET, {"Retry-After": "0"})] * 9)
        refused(caplog, lambda: provider(ccp, ca).get("redis-key"), "too busy", kind=SourceError)
        assert len(ccp.asked) == 2 + http.TRIES


class TestReach:
    """Connections and certificates."""

    def test_nobody_there(self, ca, caplog):
        """A closed port is said to be one."""
        with Ccp(ca.server) as server:
            pass
        refused(
            caplog,
            lambda: provider(server, ca).get("a"),
            "refused the connection",
            kind=SourceError,
        )

    def test_silence(self, ccp, ca, caplog, monkeypatch):
        """A server that says nothing is not waited for."""
        monkeypatch.setattr(http, "TIMEOUT", 0.3)
        ccp.script.append(Answer(wait=True))
        refused(caplog, lambda: provider(ccp, ca).get("a"), "in time", kind=SourceError)

    def test_untrusted(self, ccp, caplog):
        """A certificate that nobody vouches for is refused, and nothing sent."""
        one = provider_from_url(f"cyberarkccp://{ccp.place}?{BASE}")
        error = refused(caplog, lambda: one.get("a"), "is not trusted: ", kind=SourceError)
        assert "caFile=" in error.hint
        assert not ccp.asked

    def test_no_client_certificate(self, ccp, ca, caplog):
        """A provider that wants a certificate and gets none ends the connection."""
        one = provider(ccp, ca, cert=False)
        refused(caplog, lambda: one.get("a"), ccp.place, kind=SourceError)
        assert not ccp.asked

    def test_plain_server(self, ca, caplog):
        """A server without TLS gets nothing."""
        with Ccp() as server:
            refused(caplog, lambda: provider(server, ca).get("a"), "TLS", kind=SourceError)
            assert not server.asked


class TestUrl:
    """What is wrong before anything is asked."""

    @pytest.mark.parametrize(
        ("rest", "words"),
        [
            ("h?safe=a", "needs the parameter appID"),
            ("h?appID=a", "needs the parameter safe"),
            ("h?appID=a&safe=b&keyFile=c", "keyFile without certFile"),
            ("h/AIM?appID=a&safe=b", "takes no path"),
            (f"h?appID=a&safe=b&{PLANTED}=c", "parameter number 3"),
            ("h?appID=a&safe=b&certFile=/none.pem", "/none.pem cannot be used"),
        ],
    )
    def test_refused(self, caplog, rest, words):
        """A URL that cannot work is refused."""
        refused(caplog, lambda: provider_from_url(f"cyberarkccp://{rest}"), words, kind=SecretError)

    def test_encrypted_key(self, ca, tmp_path, caplog):
        """A key with a passphrase is refused; nobody is asked for it."""
        key = tmp_path / "key.pem"
        passphrase = BestAvailableEncryption(SECRET.encode())
        plain = load_pem_private_key(ca.key.read_bytes(), None)
        key.write_bytes(plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, passphrase))
        url = f"cyberarkccp://h?{BASE}&certFile={ca.cert}&keyFile={key}".replace(" ", "%20")
        refused(caplog, lambda: provider_from_url(url), "is encrypted", kind=SecretError)

    def test_not_shown_and_not_pickled(self, ccp, ca):
        """A provider shows its address, and refuses to travel."""
        one = provider(ccp, ca)
        assert repr(one) == f"CentralCredentialProvider({ccp.place})"
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(one)
