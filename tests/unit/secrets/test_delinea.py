"""`delinea://`, against a server that speaks Secret Server's REST API."""

import pickle
from urllib.parse import quote

import pytest

from rotator.config.types import SecretRef
from rotator.errors import SecretError, SourceError
from rotator.secrets import http
from rotator.secrets.provider import provider_from_url
from support.vendor_servers import PLANTED, SECRET, Answer, Delinea, authority, quiet, refused

USER = f"username={Delinea.user[0]}&password={quote(Delinea.user[1], safe='')}"


def item(slug, value, *, file=False):
    """One field of a secret, as the REST API gives it."""
    attachment = 5 if file else None
    return {"slug": slug, "itemValue": value, "isFile": file, "fileAttachmentId": attachment}


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """A CA that the system does not trust."""
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(autouse=True)
def environment(monkeypatch, ca):
    """The system trusts the CA."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))


@pytest.fixture
def server(ca):
    """A Secret Server with one secret in one folder."""
    with Delinea(ca.server) as running:
        running.secrets["\\some\\folder\\redis"] = [
            item("cache-key", SECRET),
            item("username", "redis"),
            item("empty", None),
            item("pem", "redis.pem", file=True),
            item("binary", "x", file=True),
        ]
        running.secrets["\\some\\folder\\redis.prod"] = [item("password", "dotted")]
        running.files = {"pem": "-----BEGIN\n", "binary": b"\xff"}
        yield running


def provider(server, rest=f"?{USER}&folder=some/folder"):
    """The provider for a server."""
    return provider_from_url(f"delinea://{server.place}{rest}")


class TestGet:
    """Secrets and fields."""

    def test_quiet(self, server, caplog):
        """A secret on its way is in no log."""
        assert quiet(caplog, lambda: provider(server).get("redis.cache-key")) == SECRET

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("redis.cache-key", SECRET),
            ("redis.username", "redis"),
            ("redis.prod.password", "dotted"),
            ("redis.pem", "-----BEGIN\n"),
        ],
    )
    def test_known(self, server, name, expected):
        """A reference is a secret and the slug of a field; a file gives what is in it."""
        assert SecretRef(f"<{name}>", "f").resolve(provider(server)) == expected

    @pytest.mark.parametrize("folder", ["some%5Cfolder", "%5C%5Csome%5C%5Cfolder", "/some/folder/"])
    def test_folder(self, server, folder):
        """The folder may be written with any slashes."""
        assert provider(server, f"?{USER}&folder={folder}").get("redis.username") == "redis"

    def test_below_a_path(self, server):
        """An installation below a path is asked there."""
        server.root = "/SecretServer"
        one = provider(server, f"/SecretServer?{USER}&folder=some/folder")
        assert one.get("redis.cache-key") == SECRET
        assert all(path.startswith("/SecretServer/") for path in server.paths())

    def test_read_once(self, server):
        """One login and one request serve all fields of a secret."""
        one = provider(server)
        assert [one.get("redis.cache-key"), one.get("redis.username")] == [SECRET, "redis"]
        assert server.paths() == ["/oauth2/token", "/api/v1/secrets/0"]

    @pytest.mark.parametrize("name", ["redis", "redis.", ".password", "."])
    def test_no_field(self, server, caplog, name):
        """A reference without a field is refused."""
        error = refused(
            caplog, lambda: provider(server).get(name), "names no field", kind=SecretError
        )
        assert "fieldSlug" in error.hint
        assert not server.asked

    def test_unknown_field(self, server, caplog):
        """A field that the secret does not have is refused."""
        error = refused(
            caplog, lambda: provider(server).get("redis.none"), "<redis.none>: ", kind=SecretError
        )
        assert "slug none" in error.hint

    @pytest.mark.parametrize("name", ["redis.empty", "redis.binary"])
    def test_not_text(self, server, caplog, name):
        """A field without a value, or with a file that is no text, is refused."""
        refused(caplog, lambda: provider(server).get(name), f"<{name}>: ", kind=SecretError)


class TestLogin:
    """User, password, tokens."""

    def test_expired_token(self, server):
        """A token that is refused is replaced by another login, once."""
        one = provider(server)
        one.get("redis.username")
        server.tokens.clear()
        assert one.get("redis.prod.password") == "dotted"
        assert len(server.paths("oauth2")) == 2

    def test_old_token(self, server):
        """A token is replaced before it expires."""
        token = Answer(200, {"access_token": f"a{PLANTED}", "expires_in": 0})
        server.tokens.add(f"Bearer a{PLANTED}")
        server.script.append(token)
        one = provider(server)
        one.get("redis.username")
        assert one.get("redis.prod.password") == "dotted"
        assert len(server.paths("oauth2")) == 2

    def test_lasting_token(self, server):
        """A token may be good for longer than anybody can count."""
        token = Answer(200, {"access_token": f"a{PLANTED}", "expires_in": 10**400})
        server.tokens.add(f"Bearer a{PLANTED}")
        server.script.append(token)
        one = provider(server)
        one.get("redis.username")
        assert one.get("redis.prod.password") == "dotted"
        assert len(server.paths("oauth2")) == 1

    def test_refused(self, server, caplog):
        """A login that is refused says so."""
        one = provider(server, f"?username=svc&password=wrong{PLANTED}&folder=some")
        error = refused(
            caplog, lambda: one.get("a.b"), "refused the login", server.place, kind=SourceError
        )
        assert "%XX" in error.hint

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(200, f"<html>{SECRET}"), "not understood"),
            (Answer(200, {"access_token": [SECRET]}), "not understood"),
            (Answer(200, {"access_token": f"{SECRET}\u00e4"}), "not understood"),
        ],
    )
    def test_other_answers(self, server, caplog, answer, words):
        """A login that gives no token is an error."""
        server.script.append(answer)
        refused(caplog, lambda: provider(server).get("a.b"), words, kind=SourceError)


class TestRefusals:
    """What a server answers when it does not answer."""

    def test_unknown(self, server, caplog):
        """A secret that is not in the folder is refused by name."""
        error = refused(caplog, lambda: provider(server).get("a.b"), "<a.b>: ", kind=SecretError)
        assert "\\some\\folder" in error.hint

    @pytest.mark.parametrize("status", [400, 403])
    def test_denied(self, server, caplog, status):
        """A secret that the user may not view is refused; older servers say 400."""
        server.script_for = "/secrets/"
        server.script.append(Answer(status, {"errorCode": "API_AccessDenied", "message": SECRET}))
        refused(
            caplog,
            lambda: provider(server).get("redis.cache-key"),
            f"status {status} (API_AccessDenied)",
            kind=SourceError,
        )

    def test_denied_file(self, server, caplog):
        """So is a file."""
        server.files.clear()
        refused(
            caplog,
            lambda: provider(server).get("redis.pem"),
            "<redis.pem>",
            "API_AccessDenied",
            kind=SourceError,
        )

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(501, {"errorCode": SECRET}), "status 501"),
            (Answer(200, [SECRET]), "not understood"),
            (Answer(302, SECRET), "status 302"),
        ],
    )
    def test_other_answers(self, server, caplog, answer, words):
        """Nothing of what a server says is repeated."""
        server.script_for = "/secrets/"
        server.script.append(answer)
        refused(caplog, lambda: provider(server).get("redis.cache-key"), words, kind=SourceError)

    @pytest.mark.parametrize("body", [{}, {"items": SECRET}, {"items": [SECRET, {}]}])
    def test_odd_secret(self, server, caplog, body):
        """A secret without fields has none."""
        server.script_for = "/secrets/"
        server.script.append(Answer(200, body))
        refused(caplog, lambda: provider(server).get("redis.a"), "<redis.a>: ", kind=SecretError)

    def test_busy(self, server, caplog):
        """A busy server is asked a few times."""
        server.script.append(Answer(429, headers={"Retry-After": "0"}))
        assert provider(server).get("redis.cache-key") == SECRET
        server.script.extend([Answer(503, SECRET, {"Retry-After": "0"})] * 9)
        refused(caplog, lambda: provider(server).get("redis.a"), "too busy", kind=SourceError)


class TestReach:
    """Connections and certificates."""

    def test_nobody_there(self, ca, caplog):
        """A closed port is said to be one."""
        with Delinea(ca.server) as server:
            pass
        refused(
            caplog, lambda: provider(server).get("a.b"), "refused the connection", kind=SourceError
        )

    def test_silence(self, server, caplog, monkeypatch):
        """A server that says nothing is not waited for."""
        monkeypatch.setattr(http, "TIMEOUT", 0.3)
        server.script.append(Answer(wait=True))
        refused(caplog, lambda: provider(server).get("a.b"), "in time", kind=SourceError)

    def test_untrusted(self, server, caplog, monkeypatch):
        """A certificate that nobody vouches for is refused, and nothing sent."""
        monkeypatch.delenv("SSL_CERT_FILE")
        error = refused(
            caplog, lambda: provider(server).get("a.b"), "is not trusted: ", kind=SourceError
        )
        assert "SSL_CERT_FILE" in error.hint
        assert not server.asked

    def test_plain_server(self, caplog):
        """A server without TLS does not get the password."""
        with Delinea() as server:
            refused(caplog, lambda: provider(server).get("a.b"), "TLS", kind=SourceError)
            assert not server.asked


class TestUrl:
    """What is wrong before anything is asked."""

    @pytest.mark.parametrize(
        ("rest", "words"),
        [
            (f"?password={PLANTED}&folder=a", "needs the parameter username"),
            ("?username=a&folder=a", "needs the parameter password"),
            (f"?username=a&password={PLANTED}", "needs the parameter folder"),
            (f"?username=a&password={PLANTED}&folder=//", "names no folder"),
            (f"?username=a&password=x&{PLANTED}=&folder=a", "parameter number 3"),
            (f"?username=a&password=x#{PLANTED}", "has a #"),
        ],
    )
    def test_refused(self, caplog, rest, words):
        """A URL that cannot work is refused without being shown."""
        refused(caplog, lambda: provider_from_url(f"delinea://h{rest}"), words, kind=SecretError)

    def test_not_shown_and_not_pickled(self, server):
        """A provider shows its address, and refuses to travel."""
        one = provider(server)
        assert repr(one) == f"SecretServer({server.place})"
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(one)
