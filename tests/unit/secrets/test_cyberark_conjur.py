"""`conjur://`, against a server that speaks Conjur's REST API."""

import pickle

import pytest

from rotator.config.types import SecretRef
from rotator.errors import SecretError, SourceError
from rotator.secrets import cyberark, http
from rotator.secrets.provider import provider_from_url
from support.vendor_servers import PLANTED, SECRET, Answer, Conjur, authority, quiet, refused

NAME = "prod/aws/db-password"
LOGIN = f"myaccount/host%2Fmaverics?apikey={Conjur.api_key}"


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """A CA that the system does not trust."""
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(autouse=True)
def environment(monkeypatch, ca):
    """Of Conjur's variables only the CA is set."""
    for name in ("APPLIANCE_URL", "ACCOUNT", "SSL_CERTIFICATE", "AUTHN_LOGIN", "AUTHN_API_KEY"):
        monkeypatch.delenv(f"CONJUR_{name}", raising=False)
    monkeypatch.delenv("CONJUR_AUTHN_TOKEN_FILE", raising=False)
    monkeypatch.setenv("CONJUR_CERT_FILE", str(ca.file))


@pytest.fixture
def server(ca):
    """A Conjur with a few variables."""
    with Conjur(ca.server) as running:
        running.variables = {NAME: SECRET, "flat": "b", "research+dev&x": "c", "bin": b"\xff\xfe"}
        yield running


def provider(server, rest=LOGIN):
    """The provider for a server."""
    return provider_from_url(f"conjur://{server.place}/{rest}")


class TestGet:
    """Variables."""

    def test_quiet(self, server, caplog):
        """A secret on its way is in no log."""
        assert quiet(caplog, lambda: provider(server).get(NAME)) == SECRET

    def test_known(self, server):
        """A reference is the id of a variable, encoded as one part of the path."""
        assert SecretRef(f"<{NAME}>", "f").resolve(provider(server)) == SECRET
        assert server.paths() == [
            "/authn/myaccount/host%2Fmaverics/authenticate",
            "/secrets/myaccount/variable/prod%2Faws%2Fdb-password",
        ]

    def test_special_characters(self, server):
        """Whatever an id is made of is encoded."""
        assert provider(server).get("research+dev&x") == "c"

    def test_one_login(self, server):
        """A token serves many variables."""
        one = provider(server)
        assert [one.get(NAME), one.get("flat")] == [SECRET, "b"]
        assert len(server.paths("authenticate")) == 1

    def test_token_without_base64(self, server):
        """A server that gives the token as JSON gets it in base64 all the same."""
        server.speaks_base64 = False
        assert provider(server).get(NAME) == SECRET

    @pytest.mark.parametrize("login", ["host%2Fmaverics", "host/maverics"])
    def test_login_in_the_url(self, server, login):
        """A login with a slash in it is written with %2F, or as it is."""
        rest = f"myaccount/{login}?apikey={Conjur.api_key}"
        assert provider(server, rest).get(NAME) == SECRET

    def test_binary(self, server, caplog):
        """A value that is no text is refused."""
        refused(caplog, lambda: provider(server).get("bin"), "<bin>: is not text", kind=SecretError)


class TestEnvironment:
    """Conjur's own variables."""

    def test_all(self, server, monkeypatch):
        """Account, login and key come from the environment when the URL names the host alone."""
        monkeypatch.setenv("CONJUR_ACCOUNT", "myaccount")
        monkeypatch.setenv("CONJUR_AUTHN_LOGIN", "host/maverics")
        monkeypatch.setenv("CONJUR_AUTHN_API_KEY", Conjur.api_key)
        assert provider(server, "").get(NAME) == SECRET
        monkeypatch.setenv("CONJUR_APPLIANCE_URL", f"https://{server.place}/")
        assert provider_from_url("conjur://").get(NAME) == SECRET

    def test_certificate_as_text(self, server, monkeypatch, ca):
        """The CA may be given as text, with comments in any language."""
        monkeypatch.delenv("CONJUR_CERT_FILE")
        text = f"# Autorit\u00e9\n{ca.file.read_text(encoding='utf-8')}"
        monkeypatch.setenv("CONJUR_SSL_CERTIFICATE", text)
        assert provider(server).get(NAME) == SECRET

    def test_token_file(self, server, monkeypatch, tmp_path, caplog):
        """A token that someone else keeps fresh is read each time."""
        provider(server).get("flat")
        (header,) = server.tokens
        path = tmp_path / "token"
        path.write_text(header.split('"')[1], encoding="utf-8")
        monkeypatch.setenv("CONJUR_AUTHN_TOKEN_FILE", str(path))
        one = provider(server, "myaccount")
        assert one.get(NAME) == SECRET
        path.unlink()
        refused(caplog, lambda: one.get(NAME), str(path), "no such file", kind=SourceError)
        path.write_text(f"{PLANTED}!", encoding="utf-8")
        refused(caplog, lambda: one.get(NAME), "not understood", kind=SourceError)

    @pytest.mark.parametrize("url", [None, "http://h", f"https://{PLANTED}:x@h", "h"])
    def test_no_host(self, caplog, monkeypatch, url):
        """An appliance without HTTPS is none."""
        if url:
            monkeypatch.setenv("CONJUR_APPLIANCE_URL", url)
        refused(caplog, lambda: provider_from_url("conjur://"), "names no host", kind=SecretError)


class TestTokens:
    """Logins."""

    def test_revoked(self, server):
        """A token that is refused is replaced by another login, once."""
        one = provider(server)
        one.get(NAME)
        server.tokens.clear()
        assert one.get("flat") == "b"
        assert len(server.paths("authenticate")) == 2

    def test_old(self, server, monkeypatch):
        """A token is replaced before its 8 minutes are over."""
        assert cyberark.TOKEN_SECONDS < 8 * 60
        monkeypatch.setattr(cyberark, "TOKEN_SECONDS", 0.0)
        one = provider(server)
        assert [one.get(NAME), one.get("flat")] == [SECRET, "b"]
        assert len(server.paths("authenticate")) == 2

    @pytest.mark.parametrize(
        "rest",
        [
            f"myaccount/host%2Fmaverics?apikey=wrong{PLANTED}",
            f"other/host%2Fmaverics?apikey={Conjur.api_key}",
            f"myaccount/other?apikey={Conjur.api_key}",
        ],
    )
    def test_refused(self, server, caplog, rest):
        """A login that is refused says whose."""
        refused(
            caplog,
            lambda: provider(server, rest).get(NAME),
            "refused the login of",
            kind=SourceError,
        )

    @pytest.mark.parametrize("answer", [Answer(200, f"{SECRET}!"), Answer(501, SECRET)])
    def test_other_answers(self, server, caplog, answer):
        """A login that gives no token is an error."""
        server.script.append(answer)
        refused(caplog, lambda: provider(server).get(NAME), server.place, kind=SourceError)


class TestRefusals:
    """What Conjur answers when it does not answer."""

    def test_unknown(self, server, caplog):
        """A variable that is not there, or not seen, is refused by name."""
        error = refused(
            caplog, lambda: provider(server).get("none"), "<none>: ", server.place, kind=SecretError
        )
        assert "policy/name" in error.hint

    def test_denied(self, server, caplog):
        """A variable without the right to execute is refused."""
        server.denied.add(NAME)
        error = refused(
            caplog, lambda: provider(server).get(NAME), f"<{NAME}>", "403", kind=SourceError
        )
        assert "execute" in error.hint

    def test_never_good(self, server, caplog):
        """A token that is never good is not got for ever."""
        server.script_for = "/secrets/"
        server.script.extend([Answer(401, SECRET)] * 9)
        refused(caplog, lambda: provider(server).get(NAME), "status 401", kind=SourceError)
        assert len(server.paths("authenticate")) == 2

    def test_other_answer(self, server, caplog):
        """Nothing of what a server says is repeated."""
        server.script_for = "/secrets/"
        server.script.append(Answer(422, SECRET))
        refused(caplog, lambda: provider(server).get(NAME), "status 422", kind=SourceError)

    def test_busy(self, server, caplog):
        """A busy server is asked a few times."""
        server.script.append(Answer(429, headers={"Retry-After": "0"}))
        assert provider(server).get(NAME) == SECRET
        server.script.extend([Answer(502, SECRET, {"Retry-After": "0"})] * 9)
        refused(caplog, lambda: provider(server).get(NAME), "too busy", kind=SourceError)


class TestReach:
    """Connections and certificates."""

    def test_nobody_there(self, ca, caplog):
        """A closed port is said to be one."""
        with Conjur(ca.server) as server:
            pass
        refused(
            caplog, lambda: provider(server).get("a"), "refused the connection", kind=SourceError
        )

    def test_silence(self, server, caplog, monkeypatch):
        """A server that says nothing is not waited for."""
        monkeypatch.setattr(http, "TIMEOUT", 0.3)
        server.script.append(Answer(wait=True))
        refused(caplog, lambda: provider(server).get("a"), "in time", kind=SourceError)

    def test_untrusted(self, server, caplog, monkeypatch):
        """A certificate that nobody vouches for is refused, and nothing sent."""
        monkeypatch.delenv("CONJUR_CERT_FILE")
        error = refused(
            caplog, lambda: provider(server).get("a"), "is not trusted: ", kind=SourceError
        )
        assert "CONJUR_CERT_FILE" in error.hint
        assert not server.asked

    def test_plain_server(self, caplog):
        """A server without TLS does not get the key."""
        with Conjur() as server:
            refused(caplog, lambda: provider(server).get("a"), "TLS", kind=SourceError)
            assert not server.asked


class TestUrl:
    """What is wrong before anything is asked."""

    @pytest.mark.parametrize(
        ("rest", "words"),
        [
            (f"h?apikey={PLANTED}", "has no account"),
            (f"h/account?apikey={PLANTED}", "no way to log in"),
            ("h/account/login", "no way to log in"),
            (f"h/account/login?apiKey={PLANTED}", "parameter number 1"),
            (f"login:{PLANTED}@h/account", "no user and password"),
        ],
    )
    def test_refused(self, caplog, rest, words):
        """A URL that cannot work is refused without being shown."""
        refused(caplog, lambda: provider_from_url(f"conjur://{rest}"), words, kind=SecretError)

    def test_not_shown_and_not_pickled(self, server):
        """A provider shows its address, and refuses to travel."""
        one = provider(server)
        assert repr(one) == f"Conjur({server.place})"
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(one)
