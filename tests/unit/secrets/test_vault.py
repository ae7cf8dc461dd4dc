"""`hashivault://` and its sisters, against a server that speaks Vault's HTTP API."""

import copy
import pickle
import re
import socketserver
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme

from rotator.config.types import SecretRef
from rotator.errors import SecretError, SourceError
from rotator.secrets import http
from rotator.secrets.provider import provider_from_url
from support.vendor_servers import PLANTED, SECRET, Answer, Vault, authority, quiet, refused

PATH = "secret/data/maverics"


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """A CA that the system does not trust."""
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Nothing of Vault is in the environment."""
    for name in ("TOKEN", "CACERT", "CLIENT_CERT", "NAMESPACE", "ADDR"):
        monkeypatch.delenv(f"VAULT_{name}", raising=False)


@pytest.fixture
def vault():
    """A vault on plain HTTP with one entry."""
    with Vault() as server:
        server.entries[PATH] = {
            "cache_key": SECRET,
            "ns.key": "literal",
            "maverics.both": "literal",
            "both": "nested",
            "only": "nested",
            "number": 12345678,
        }
        server.entries[f"{PATH}/sub"] = {"key": "below", "deep.er": "deeper"}
        yield server


def provider(server, query=f"token={Vault.token}", *, scheme="hashivault+http", path=PATH):
    """The provider for a server."""
    return provider_from_url(f"{scheme}://{server.place}/{path}?{query}")


APPROLE = f"role_id={Vault.role}&secret_id={Vault.secret}"


class TestGet:
    """Keys, entries and dots."""

    def test_quiet(self, vault, caplog):
        """A secret on its way is in no log."""
        assert quiet(caplog, lambda: provider(vault, APPROLE).get("cache_key")) == SECRET

    def test_known(self, vault):
        """A reference is a key in the entry at the path."""
        assert SecretRef("<cache_key>", "f").resolve(provider(vault)) == SECRET

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("ns.key", "literal"),
            ("maverics.both", "literal"),
            ("maverics.only", "nested"),
            ("sub.key", "below"),
            ("sub.deep.er", "deeper"),
        ],
    )
    def test_dots(self, vault, name, expected):
        """A name with dots is a key as it stands, then entry and key."""
        assert provider(vault).get(name) == expected

    def test_dots_below_an_engine(self, vault):
        """With a path that is no entry itself the first part of the name is the entry."""
        assert provider(vault, path="secret/data").get("maverics.cache_key") == SECRET

    def test_version_1(self, vault):
        """An engine of KV version 1 has the keys one level higher."""
        vault.entries["kv/maverics"] = {"cache_key": SECRET, "data": "x", "metadata": "y"}
        assert provider(vault, path="kv/maverics").get("cache_key") == SECRET
        assert provider(vault, path="/v1/kv/maverics").get("data") == "x"

    def test_read_once(self, vault):
        """Each entry is read once, whatever the number of its keys."""
        one = provider(vault)
        for name in ("cache_key", "ns.key", "sub.key", "sub.deep.er"):
            one.get(name)
        assert vault.paths() == [f"/v1/{PATH}", f"/v1/{PATH}/sub"]

    def test_encoded_path(self, vault):
        """A path is encoded again after decoding."""
        vault.entries["secret/data/my app"] = {"a": "b"}
        assert provider(vault, path="secret/data/my%20app").get("a") == "b"

    @pytest.mark.parametrize("name", ["none", "maverics.none", "sub.none", "none.none", "a.", ".a"])
    def test_unknown(self, vault, caplog, name):
        """A key that no entry has is refused with where it was looked for."""
        error = refused(caplog, lambda: provider(vault).get(name), f"<{name}>: ", kind=SecretError)
        assert f"the key {name} in {PATH}" in error.hint

    def test_not_text(self, vault, caplog):
        """A number is not shown, but refused."""
        error = refused(caplog, lambda: provider(vault).get("number"), "not text", kind=SecretError)
        assert "12345678" not in str(error)

    def test_missing_entry(self, vault, caplog):
        """A path without data/ is pointed out."""
        error = refused(
            caplog, lambda: provider(vault, path="secret/maverics").get("a"), kind=SecretError
        )
        assert "(no such entry)" in error.hint
        assert "data/" in error.hint

    def test_deleted_entry(self, vault, caplog):
        """A deleted version is 404 with metadata, and no data."""
        deleted = {"data": None, "metadata": {"deletion_time": "2026-01-01T00:00:00Z"}}
        vault.script.append(Answer(404, {"data": deleted}))
        refused(caplog, lambda: provider(vault).get("cache_key"), "<cache_key>", kind=SecretError)


class TestLogin:
    """Token, AppRole, certificate, namespace."""

    def test_token_of_the_environment(self, vault, monkeypatch):
        """Without credentials in the URL VAULT_TOKEN is used."""
        monkeypatch.setenv("VAULT_TOKEN", vault.token)
        assert provider(vault, "").get("cache_key") == SECRET

    def test_token_is_encoded(self, vault):
        """A token with special characters is written as %XX."""
        vault.tokens.add(f"a&b#c+{PLANTED}")
        assert provider(vault, f"token=a%26b%23c%2B{PLANTED}").get("cache_key") == SECRET

    def test_approle(self, vault):
        """AppRole logs in once for all entries."""
        one = provider(vault, APPROLE)
        assert [one.get("cache_key"), one.get("sub.key")] == [SECRET, "below"]
        assert len(vault.paths("auth/approle/login")) == 1

    def test_expired_token(self, vault):
        """A token that is no longer good is replaced by another login."""
        one = provider(vault, APPROLE)
        one.get("cache_key")
        vault.tokens.clear()
        assert one.get("sub.key") == "below"
        assert len(vault.paths("auth/approle/login")) == 2

    def test_login_is_tried_again_once(self, vault, caplog):
        """A right that is missing is not waited for with login after login."""
        vault.denied.add(PATH)
        refused(caplog, lambda: provider(vault, APPROLE).get("a"), PATH, kind=SourceError)
        assert len(vault.paths("auth/approle/login")) == 2

    @pytest.mark.parametrize("key", ["client_key", "client_key_file"])
    def test_certificate(self, ca, key):
        """A client certificate logs in by the cert method."""
        with Vault(ca.strict) as server:
            server.entries[PATH] = {"a": SECRET}
            query = f"client_cert={ca.cert}&{key}={ca.key}&ca_cert={ca.file}"
            assert provider(server, query, scheme="hashivault").get("a") == SECRET
            assert server.paths() == ["/v1/auth/cert/login", f"/v1/{PATH}"]
            assert all(asked.peer for asked in server.asked)

    def test_namespace(self, vault, monkeypatch):
        """A namespace is that of the URL, else of the environment."""
        vault.namespace = "team/a"
        assert provider(vault, f"token={vault.token}&namespace=team/a").get("cache_key") == SECRET
        monkeypatch.setenv("VAULT_NAMESPACE", "team/a")
        assert provider(vault).get("cache_key") == SECRET

    @pytest.mark.parametrize(
        "query",
        [
            f"role_id=x{PLANTED}&secret_id={Vault.secret}",
            f"role_id={Vault.role}&secret_id=x{PLANTED}",
        ],
    )
    def test_refused(self, vault, caplog, query):
        """A login that is refused says so."""
        refused(
            caplog, lambda: provider(vault, query).get("a"), "refused the login", kind=SourceError
        )

    def test_garbled_login(self, vault, caplog):
        """A login that gives no token is not understood."""
        vault.script.append(Answer(200, {"auth": None, "x": SECRET}))
        refused(
            caplog, lambda: provider(vault, APPROLE).get("a"), "not understood", kind=SourceError
        )


class TestRefusals:
    """What a vault answers when it does not answer."""

    def test_wrong_token(self, vault, caplog):
        """A token that is not good cannot be replaced."""
        error = refused(
            caplog,
            lambda: provider(vault, f"token=hvs.wrong{PLANTED}").get("a"),
            f"does not allow reading {PATH}",
            kind=SourceError,
        )
        assert "expired" in error.hint
        assert len(vault.asked) == 1

    def test_policy(self, vault, caplog):
        """An entry below that may not be read is named, if the one above may."""
        vault.denied.add(f"{PATH}/sub")
        error = refused(caplog, lambda: provider(vault).get("sub.key"), kind=SecretError)
        assert f"the entry {PATH}/sub (no right" in error.hint

    def test_sealed(self, vault, caplog):
        """A sealed vault is not asked again."""
        vault.script.append(Answer(503, {"errors": ["Vault is sealed"]}))
        error = refused(caplog, lambda: provider(vault).get("a"), "is sealed", kind=SourceError)
        assert "unseal" in error.hint
        assert len(vault.asked) == 1

    def test_sealed_after_a_while(self, vault, caplog):
        """A vault that gets sealed while it is busy is not asked once more."""
        busy = Answer(503, SECRET, {"Retry-After": "0"})
        vault.script.extend([busy, Answer(503, {"errors": ["Vault is sealed"]}), busy])
        refused(caplog, lambda: provider(vault).get("a"), "is sealed", kind=SourceError)
        assert len(vault.asked) == 2

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(501, {"errors": [SECRET]}), "not initialized"),
            (Answer(505, {"errors": [SECRET]}), "status 505"),
            (Answer(400, SECRET), "status 400"),
            (Answer(400, "Client sent an HTTP request to an HTTPS server.\n"), "speaks TLS only"),
            (Answer(200, f"<html>{SECRET}"), "not understood"),
            (Answer(200, [SECRET]), "not understood"),
            (Answer(200, {"data": SECRET}), "not understood"),
            (Answer(302, SECRET), "status 302"),
        ],
    )
    def test_other_answers(self, vault, caplog, answer, words):
        """Nothing of what a server says is repeated."""
        vault.script.append(answer)
        refused(caplog, lambda: provider(vault).get("a"), words, vault.place, kind=SourceError)


class TestPatience:
    """Busy servers."""

    def test_too_many_requests(self, vault):
        """429 is asked again, after as long as the server wants."""
        vault.script.extend([Answer(429, headers={"Retry-After": "1"}), Answer(503), Answer(412)])
        started = time.monotonic()
        assert provider(vault).get("cache_key") == SECRET
        assert time.monotonic() - started >= 1 + 2 * http.FIRST_PAUSE
        assert len(vault.asked) == 4

    @pytest.mark.parametrize(
        "when", ["nonsense", "Mon, 23 Nov 99999 10:00:00 GMT", "Mon, 23 Nov 2020 10:00:00 GMT", "0"]
    )
    def test_retry_after(self, vault, when):
        """A moment in the past means now, and nonsense the usual pause."""
        vault.script.append(Answer(429, headers={"Retry-After": when}))
        started = time.monotonic()
        assert provider(vault).get("cache_key") == SECRET
        assert time.monotonic() - started < 2 * http.FIRST_PAUSE + 1

    def test_bounded(self, vault, caplog):
        """A server that stays busy is given up."""
        vault.script.extend([Answer(429, SECRET, {"Retry-After": "0"})] * 9)
        refused(caplog, lambda: provider(vault).get("a"), "too busy", "429", kind=SourceError)
        assert len(vault.asked) == http.TRIES

    @pytest.mark.parametrize(
        "when",
        ["3600", format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)],
        ids=["seconds", "date"],
    )
    def test_impatient(self, vault, caplog, when):
        """A server that wants an hour is given up at once."""
        vault.script.append(Answer(429, headers={"Retry-After": when}))
        refused(caplog, lambda: provider(vault).get("a"), "too busy", kind=SourceError)
        assert len(vault.asked) == 1


class TestReach:
    """Connections and certificates."""

    def test_nobody_there(self, caplog):
        """A closed port is said to be one."""
        with Vault() as server:
            pass
        refused(
            caplog, lambda: provider(server).get("a"), "refused the connection", kind=SourceError
        )

    def test_unknown_host(self, caplog):
        """A name that does not resolve is said not to."""
        url = f"hashivault://vault.invalid:8200/{PATH}?token={Vault.token}"
        refused(
            caplog,
            lambda: provider_from_url(url).get("a"),
            "vault.invalid:8200",
            "resolve",
            kind=SourceError,
        )

    def test_silence(self, vault, caplog, monkeypatch):
        """A server that says nothing is not waited for."""
        monkeypatch.setattr(http, "TIMEOUT", 0.3)
        vault.script.append(Answer(wait=True))
        refused(caplog, lambda: provider(vault).get("a"), "in time", kind=SourceError)

    @pytest.mark.parametrize("scheme", ["hashivault", "hashivaults", "hashivault+https"])
    def test_plain_server(self, vault, caplog, scheme):
        """A server without TLS does not get the token; the scheme for it is named."""
        error = refused(
            caplog, lambda: provider(vault, scheme=scheme).get("a"), "no", "TLS", kind=SourceError
        )
        assert "hashivault+http://" in error.hint
        assert not vault.asked

    @pytest.mark.parametrize("scheme", ["hashivault", "hashivaults", "hashivault+https"])
    def test_trusted(self, ca, scheme):
        """A CA in the URL is trusted."""
        with Vault(ca.server) as server:
            server.entries[PATH] = {"a": SECRET}
            query = f"token={Vault.token}&ca_cert={ca.file}"
            assert provider(server, query, scheme=scheme).get("a") == SECRET

    @pytest.mark.parametrize("variable", ["VAULT_CACERT", "SSL_CERT_FILE"])
    def test_trusted_by_the_environment(self, ca, monkeypatch, variable):
        """So is one of the environment, and the system's."""
        monkeypatch.setenv(variable, str(ca.file))
        with Vault(ca.server) as server:
            server.entries[PATH] = {"a": SECRET}
            assert provider(server, scheme="hashivaults").get("a") == SECRET

    @pytest.mark.parametrize("of", ["intermediate", "root"])
    def test_trust_in_an_intermediate_ca(self, tmp_path, of):
        """A CA by itself is trusted, whoever vouches for it, as it is for Redis."""
        root = trustme.CA()
        cas = {"root": root, "intermediate": root.create_child_ca()}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cas["intermediate"].issue_cert("127.0.0.1").configure_cert(context)
        cas[of].cert_pem.write_to_path(tmp_path / "ca.pem")
        with Vault(context) as server:
            server.entries[PATH] = {"a": SECRET}
            query = f"token={Vault.token}&ca_cert={tmp_path / 'ca.pem'}"
            assert provider(server, query, scheme="hashivault").get("a") == SECRET

    def test_untrusted(self, ca, caplog):
        """A certificate that nobody vouches for is refused, and nothing sent."""
        with Vault(ca.server) as server:
            error = refused(
                caplog,
                lambda: provider(server, scheme="hashivault").get("a"),
                "is not trusted: ",
                kind=SourceError,
            )
            assert "ca_cert=" in error.hint
            assert not server.asked

    def test_no_client_certificate(self, ca, caplog):
        """A server that wants a certificate and gets none ends the connection."""
        with Vault(ca.strict) as server:
            query = f"token={Vault.token}&ca_cert={ca.file}"
            refused(
                caplog,
                lambda: provider(server, query, scheme="hashivault").get("a"),
                kind=SourceError,
            )
            assert not server.asked

    def test_redirection_to_plain_http(self, ca, vault, caplog):
        """A redirection never takes a token from HTTPS to HTTP."""
        with Vault(ca.server) as server:
            server.script.append(
                Answer(307, headers={"Location": f"http://{vault.place}/v1/{PATH}"})
            )
            query = f"token={Vault.token}&ca_cert={ca.file}"
            one = provider(server, query, scheme="hashivault")
            refused(caplog, lambda: one.get("cache_key"), "status 307", kind=SourceError)
        assert not vault.asked

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("query", [None, "role_id=a&secret_id=b"])
    def test_redirection_to_another_host(self, vault, caplog, status, query):
        """A redirection to another address, of a login too, takes no credentials there."""
        with Vault() as standby:
            standby.script.append(
                Answer(status, headers={"Location": f"http://{vault.place}/v1/{PATH}"})
            )
            one = provider(standby, query) if query else provider(standby)
            said = refused(caplog, lambda: one.get("a"), f"status {status}", kind=SourceError)
            assert "the active node" in said.hint
            assert len(standby.asked) == 1
        assert not vault.asked

    def test_redirection(self, vault):
        """A redirection within the same server is followed."""
        vault.script.append(Answer(307, headers={"Location": f"/v1/{PATH}"}))
        assert provider(vault).get("cache_key") == SECRET

    def test_redirection_and_netrc(self, vault, monkeypatch, tmp_path):
        """Nor does the server that is redirected to get a login in ~/.netrc."""
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"default login somebody password {PLANTED}\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        vault.script.append(Answer(307, headers={"Location": f"/v1/{PATH}"}))
        assert provider(vault).get("cache_key") == SECRET
        assert not any("Authorization" in asked.headers for asked in vault.asked)

    def test_no_http(self, caplog):
        """What is not HTTP is not understood, and not shown."""

        class Babble(socketserver.StreamRequestHandler):
            """Sends a line and hangs up."""

            def handle(self):
                self.wfile.write(f"SSH-2.0-{SECRET}\r\n".encode())

        with socketserver.TCPServer(("127.0.0.1", 0), Babble) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            place = f"127.0.0.1:{server.server_address[1]}"
            url = f"hashivault+http://{place}/{PATH}?token={Vault.token}"
            refused(caplog, lambda: provider_from_url(url).get("a"), place, kind=SourceError)
            server.shutdown()


class TestUrl:
    """What is wrong before anything is asked."""

    @pytest.mark.parametrize(
        ("rest", "words"),
        [
            (f"?token={PLANTED}", "names no host"),
            (f"h?token={PLANTED}", "needs a path"),
            ("h/secret/data/a", "no way to log in"),
            (f"h/a?token={PLANTED}&tokn={PLANTED}", "parameter number 2"),
            (f"h/a?token=a&{PLANTED}=b", "parameter number 2"),
            (f"h/a?token={PLANTED}&{PLANTED}", "malformed"),
            (f"h/a?token={PLANTED}&token={PLANTED}", "twice"),
            (f"h/a?token=&role_id={PLANTED}", "empty parameter token"),
            (f"h/a?token=a#{PLANTED}", "has a #"),
            (f"{PLANTED}:{PLANTED}@h/a?token=a", "no user and password"),
            (f"h:{PLANTED}/a?token=a", "malformed"),
            (f"[{PLANTED}/a", "malformed"),
            (f"h{PLANTED}%41/a?token=a", "invalid host name"),
            (f"h/a?role_id={PLANTED}", "secret_id"),
            (f"h/a?secret_id={PLANTED}", "role_id"),
            (f"h/a?token={PLANTED}&role_id=a&secret_id=b", "two ways"),
            (f"h/a?token={PLANTED}%0A", "invalid token"),
            (f"h/a?token={PLANTED}%C3%A4", "invalid token"),
            ("h/a?token=a&ca_cert=/none.pem", "/none.pem cannot be used: no such file"),
            ("h/a?client_cert=/none.pem", "/none.pem cannot be used: no such file"),
        ],
    )
    def test_refused(self, caplog, rest, words):
        """A URL that cannot work is refused without being shown."""
        refused(caplog, lambda: provider_from_url(f"hashivault://{rest}"), words, kind=SecretError)

    def test_certificate_that_is_none(self, caplog, tmp_path, ca):
        """A file that is no certificate, or not that of the key, is refused."""
        path = tmp_path / "x.pem"
        path.write_text(SECRET, encoding="utf-8")
        for query in (
            f"client_cert={path}",
            f"client_cert={ca.file}&client_key={ca.key}",
            f"token=a&ca_cert={path}",
        ):
            url = f"hashivault://h/a?{query}"
            refused(
                caplog, lambda url=url: provider_from_url(url), "cannot be used", kind=SecretError
            )

    def test_nothing_is_asked_early(self, vault):
        """Making a provider asks nothing."""
        provider(vault, APPROLE)
        assert not vault.asked

    def test_not_shown_and_not_pickled(self, vault):
        """A provider shows its address, and refuses to travel."""
        one = provider(vault)
        one.get("cache_key")
        assert repr(one) == f"Vault({vault.place})"
        for action in (pickle.dumps, copy.deepcopy, copy.copy):
            with pytest.raises(TypeError, match="must not be pickled") as caught:
                action(one)
            assert not re.search(PLANTED, str(caught.value))
