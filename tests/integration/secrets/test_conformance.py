"""
Every provider of secrets held to one standard, by servers that speak the vendors' documented APIs.

A trial is one provider and one thing that goes wrong, with its error, its hint, its time, and no
secret in anything that is said or logged. What tells the vendors apart is in `support.vendors`.
"""

import json
import os
import re
import ssl
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from pathlib import Path

import pytest
import requests
import trustme

from rotator.config.types import SecretRef
from rotator.errors import SecretError, SourceError
from rotator.secrets import http
from rotator.secrets.provider import provider_from_url
from support import misbehaviour as bad
from support.vendor_servers import PLANTED, SECRET, Answer, authority, quiet, refused
from support.vendors import OTHER, VENDORS, holding

FIELD = "caches[0].encryption.keys.current"
BUSY = (412, 429, 500, 502, 503, 504)
LATER = {"Retry-After": "0", "X-Told": PLANTED}
WITH_LOGIN = [name for name, one in VENDORS.items() if one.login]
LOGINS = [*((name, "read") for name in VENDORS), *((name, "login") for name in WITH_LOGIN)]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT", "AWS_CA_BUNDLE")


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """A CA that the system does not trust."""
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """The file of another CA, which is all that the system trusts."""
    file = tmp_path_factory.mktemp("stranger") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    return str(file)


@pytest.fixture(autouse=True)
def environment(monkeypatch, stranger):
    """No proxy, nothing of a vendor; and pauses that a test can wait for."""
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "CONJUR_", "VAULT_")):
            monkeypatch.delenv(name)
    for name in (*PROXIES, *BUNDLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", stranger)
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", stranger)
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.001)


@pytest.fixture(scope="module")
def running(ca):
    """The servers of all vendors, each from its first trial to the last."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(VENDORS[name].serving(ca)))


class Case:
    """A provider, its server, and the secret that it is asked for."""

    def __init__(self, name, server, ca, monkeypatch, *, trusting=True):
        self.vendor = VENDORS[name]
        self.server = server
        url, env = self.vendor.url(server.place, ca, trusting=trusting)
        for variable, value in env.items():
            monkeypatch.setenv(variable, value)
        self.provider = provider_from_url(url)

    def resolve(self, reference=None):
        """The secret that a configuration refers to; the second one unless said."""
        name = reference or self.vendor.second
        return SecretRef(f"<{name}>", FIELD).resolve(self.provider)

    def hears(self, *answers):
        """Script what the server says next, and nothing else."""
        self.server.asked.clear()
        self.server.script.clear()
        self.server.script.extend(answers)

    def refused(self, caplog, *words, kind=SourceError):
        """The error of it, within seconds; the provider shows no secret after it either."""
        started = time.monotonic()
        error = refused(caplog, self.resolve, *words, kind=kind)
        assert time.monotonic() - started < 5
        assert PLANTED not in repr(self.provider)
        return error


def reset(server, name):
    """Forget what a server was told before."""
    server.asked.clear()
    server.script.clear()
    server.script_for = ""
    VENDORS[name].renew(server)


@pytest.fixture
def fresh(running, ca, monkeypatch):
    """Makes a provider of which nothing was asked yet, by its name."""

    def make(name, **more):
        reset(running(name), name)
        return Case(name, running(name), ca, monkeypatch, **more)

    return make


@pytest.fixture(params=VENDORS)
def case(request, running, ca, monkeypatch):
    """A provider that has read one secret; whatever is scripted is said to the next request."""
    return warm(request.param, running, ca, monkeypatch)


def warm(name, running, ca, monkeypatch):
    """A provider that has read the first secret already."""
    server = running(name)
    reset(server, name)
    made = Case(name, server, ca, monkeypatch)
    assert made.resolve(made.vendor.first) == SECRET
    server.script_for = made.vendor.reads
    server.asked.clear()
    return made


@pytest.fixture(params=LOGINS, ids="-".join)
def step(request, running, ca, monkeypatch):
    """The same, or a provider that has yet to log in; what is scripted is said at that step."""
    name, at = request.param
    if at == "read":
        return warm(name, running, ca, monkeypatch)
    server = running(name)
    reset(server, name)
    server.script_for = VENDORS[name].login
    return Case(name, server, ca, monkeypatch)


def hour(hours):
    """A date of HTTP."""
    return format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True)


class TestServed:
    """What goes well."""

    def test_both(self, case, caplog):
        """A second secret is given with the token of the first, and nothing is logged."""
        assert quiet(caplog, case.resolve) == OTHER
        assert not case.vendor.login or not case.server.paths(case.vendor.login)

    def test_missing(self, case, caplog):
        """A secret that is not there is refused by its field and name."""
        error = refused(caplog, lambda: case.resolve(case.vendor.missing), FIELD, kind=SecretError)
        assert f"<{case.vendor.missing}>" in str(error)

    @pytest.mark.parametrize("name", [name for name, one in VENDORS.items() if not one.by_name])
    def test_ipv6(self, name, ca, monkeypatch, caplog):
        """An address of IPv6 is one like any other."""
        with VENDORS[name].serving(ca, host="::1") as server:
            assert quiet(caplog, Case(name, server, ca, monkeypatch).resolve) == OTHER

    def test_netrc(self, case, caplog, monkeypatch, tmp_path):
        """A login in ~/.netrc does not take the place of the provider's own."""
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"default login somebody password {PLANTED}\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        assert quiet(caplog, case.resolve) == OTHER


class TestExpiry:
    """Tokens that end between the first secret and the second."""

    def test_expired(self, case, caplog):
        """A token that is no longer taken is renewed once; what cannot be renewed is said."""
        case.vendor.expire(case.server)
        if case.vendor.login:
            assert quiet(caplog, case.resolve) == OTHER
            assert len(case.server.paths(case.vendor.login)) == 1
        elif case.vendor.make.__name__ == "Aws":
            case.refused(caplog, "refused the credentials (ExpiredTokenException)")
        elif case.vendor.make.__name__ == "Vault":
            assert "expired" in case.refused(caplog, "does not allow reading").hint
        else:  # a certificate is no token
            assert quiet(caplog, case.resolve) == OTHER

    @pytest.mark.parametrize("status", [401, 403])
    def test_never_good(self, case, caplog, status):
        """A token that is never taken is renewed once at most."""
        case.server.script.extend([Answer(status, SECRET, LATER)] * 9)
        case.refused(caplog)
        assert len(case.server.paths(case.vendor.reads)) <= 4
        if case.vendor.login:
            assert len(case.server.paths(case.vendor.login)) <= 1

    @pytest.mark.parametrize("status", [400, 401, 403])
    @pytest.mark.parametrize("name", WITH_LOGIN)
    def test_login(self, name, fresh, caplog, status):
        """A login that is refused is asked for once."""
        one = fresh(name)
        one.server.script_for = VENDORS[name].login
        one.hears(*[Answer(status, {"error": SECRET}, LATER)] * 9)
        one.refused(caplog)
        assert len(one.server.paths(VENDORS[name].login)) == 1


class TestBusy:
    """Servers that want to be asked later."""

    @pytest.mark.parametrize("first", [412, 502])
    def test_passing(self, step, caplog, first):
        """What passes is waited for, at a login too."""
        start = BUSY.index(first)
        step.hears(*(Answer(status, SECRET, LATER) for status in BUSY[start : start + 3]))
        assert quiet(caplog, step.resolve) == OTHER

    def test_lasting(self, step, caplog):
        """What lasts is given up after four tries."""
        for status in BUSY:
            step.hears(*[Answer(status, SECRET, LATER)] * 99)
            step.refused(caplog, str(status))
            assert len(step.server.paths(step.server.script_for)) == http.TRIES

    @pytest.mark.parametrize(
        "when",
        [None, "-5", "1.5", hour(-1), "Mon, 23 Nov 99999 10:00:00 GMT"],
        ids=["none", "negative", "fraction", "past", "no date"],
    )
    def test_soon(self, case, caplog, when):
        """No time, one in the past and nonsense all mean the usual pause at most."""
        headers = {} if when is None else {"Retry-After": when}
        case.server.script.append(Answer(429, SECRET, headers))
        assert quiet(caplog, case.resolve) == OTHER

    def test_late(self, step, caplog):
        """Who wants an hour is given up at once."""
        for when in ("3600", "9" * 40, hour(1)):
            step.hears(*[Answer(429, SECRET, {"Retry-After": when})] * 99)
            step.refused(caplog, "429")
            assert len(step.server.paths(step.server.script_for)) == 1

    def test_in_all(self, case, caplog, monkeypatch):
        """Pauses that are each short enough end with the patience for all of them."""
        monkeypatch.setattr(http, "PATIENCE", 0.4)
        case.server.script.extend([Answer(503, SECRET, {"Retry-After": "1"})] * 99)
        case.refused(caplog, "503")
        assert len(case.server.asked) == 1


class TestRedirections:
    """Addresses that credentials must not go to."""

    @pytest.mark.parametrize("scheme", ["https", "http"])
    def test_elsewhere(self, step, ca, caplog, scheme):
        """Nothing is sent to another port, encrypted or not, and its URL is not shown."""
        with step.vendor.make(ca.server if scheme == "https" else None) as other:
            target = f"{scheme}://{other.place}/login?token={PLANTED}"
            for status in (301, 302, 303, 307, 308):
                step.hears(*[Answer(status, SECRET, {"Location": target})] * 9)
                step.refused(caplog)
            assert not other.asked

    def test_in_a_circle(self, step, caplog):
        """A redirection to the same place again and again comes to an end."""
        where = {"Location": f"https://{step.server.place}{step.server.script_for}x?{PLANTED}"}
        step.server.script.extend([Answer(307, SECRET, where)] * 99)
        step.refused(caplog)
        assert len(step.server.asked) < 40


PAGES = {
    "page": Answer(200, f"<html>{SECRET}</html>", {"Content-Type": "text/html; charset=utf-8"}),
    "text": Answer(200, SECRET, {"Content-Type": "text/plain"}),
    "no JSON": Answer(200, f'{{"value": "{SECRET}', {"Content-Type": "application/json"}),
    "list": Answer(200, [SECRET], {"Content-Type": "application/json"}),
    "text in JSON": Answer(200, json.dumps(SECRET), {"Content-Type": "application/json"}),
    "number": Answer(200, "7", {"Content-Type": "application/json"}),
    "null": Answer(200, "null", {"Content-Type": "application/json"}),
    "nothing": Answer(200, b"", {"Content-Type": "application/json"}),
    "binary": Answer(200, b"\xff\xfe\x00\xc3(", {"Content-Type": "application/octet-stream"}),
    "deep": Answer(200, "[" * 200_000, {"Content-Type": "application/json"}),
    "deep objects": Answer(200, '{"data":' * 50_000, {"Content-Type": "application/json"}),
    "unknown charset": Answer(200, b"\xff{", {"Content-Type": "application/json; charset=x-y"}),
    "other shape": Answer(200, {"told": SECRET}, {"Content-Type": "application/json"}),
}
AS_IT_IS = ("text", "no JSON", "list", "text in JSON", "number", "null", "other shape")
"""Pages that are secrets where the answer is the value itself."""


class TestContent:
    """Answers with status 200 that are none."""

    def test_read(self, case, caplog):
        """What is no secret of the documented shape is refused, and not shown."""
        for page, answer in PAGES.items():
            case.hears(answer)
            self.judge(case, caplog, page, answer)

    def judge(self, case, caplog, page, answer):
        """Ask for the secret, and see what becomes of the page."""
        if case.vendor.body is None and page in (*AS_IT_IS, "deep", "deep objects"):
            assert quiet(caplog, case.resolve).encode() == answer.content
        else:
            with_body = case.vendor.body is not None
            kind = SourceError if with_body or page == "page" else SecretError
            if page == "other shape":
                kind = (SecretError, SourceError)  # an entry without keys is one of the shapes
            case.refused(caplog, kind=kind)

    @pytest.mark.parametrize("name", WITH_LOGIN)
    def test_login(self, name, fresh, caplog):
        """What is no token of the documented shape is not sent anywhere."""
        made = fresh(name)
        made.server.script_for = VENDORS[name].login
        for page in PAGES.values():
            made.hears(*[page] * 9)
            made.refused(caplog)
            assert not [one for one in made.server.asked if PLANTED in str(one.headers)]

    def test_value(self, case, caplog):
        """A value that is no text, no whole text or empty is refused."""
        values = ["\ud800", ""]
        if case.vendor.body is not None:
            values += [7, 1.5, True, [SECRET], {"a": SECRET}]
        if case.vendor.make.__name__ == "Azure":
            values = values[:2]  # its library makes text of anything
        if case.vendor.body is not None:
            values.append(None)
        for value in values:
            case.hears(
                holding(case.vendor, value)
                if case.vendor.body is not None
                else Answer(200, value.encode("utf-8", "surrogatepass"))
            )
            case.refused(caplog, kind=(SecretError, SourceError))


@contextmanager
def little_memory():
    """See that at no moment of what is done more than 64 MiB are taken for it."""
    Path("/proc/self/clear_refs").write_text("5")  # an earlier peak would hide this one (proc(5))
    before = peak_kib()
    yield
    assert peak_kib() - before < 64 << 10


def peak_kib():
    """The most memory that this process has held, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[1])


class TestSize:
    """Answers larger than any secret."""

    @pytest.mark.parametrize(
        "flood",
        [bad.huge, bad.endless_chunks, bad.endless_size, bad.huge_header, bad.endless_headers],
        ids=lambda one: one.__name__,
    )
    def test_flood(self, step, caplog, flood):
        """A flood is not read to its end, and not kept."""
        step.server.script.append(Answer(send=flood))
        with little_memory():
            step.refused(caplog)
        assert step.server._server.flooded < http.LARGEST + (32 << 20)

    @pytest.mark.parametrize("packed", [bad.bomb, bad.bad_gzip], ids=lambda one: one.__name__)
    def test_packed(self, step, caplog, packed):
        """What grows when it is unpacked, or cannot be unpacked, is not kept."""
        step.server.script.append(Answer(send=packed))
        with little_memory():
            step.refused(caplog)


class TestTime:
    """Servers that take their time."""

    @pytest.mark.parametrize(
        "slow",
        [bad.trickle, bad.trickled_chunks, bad.trickled_head, bad.continuing],
        ids=lambda one: one.__name__,
    )
    def test_dripping(self, step, caplog, slow, monkeypatch):
        """Whatever drips in, the time for all of it is limited."""
        monkeypatch.setattr(http, "PATIENCE", 0.25)
        step.server.script.append(Answer(send=slow))
        step.refused(caplog, "in time")

    def test_silence(self, step, caplog, monkeypatch):
        """A server that says nothing is asked once and not waited for."""
        monkeypatch.setattr(http, "TIMEOUT", 0.15)
        step.server.script.extend([Answer(wait=True)] * 9)
        step.refused(caplog, "in time")
        assert len(step.server.paths(step.server.script_for)) == 1


class TestBreaks:
    """Connections that end too early."""

    def test_cut(self, step, caplog):
        """Half an answer is none, and is not asked for again."""
        for cut in (bad.reset, bad.cut_body, bad.cut_chunks, bad.cut_head, bad.hung_up, bad.babble):
            step.hears(*[Answer(send=cut)] * 9)
            step.refused(caplog)
            assert len(step.server.paths(step.server.script_for)) == 1, cut

    @pytest.mark.parametrize("name", VENDORS)
    def test_nobody(self, name, ca, monkeypatch, caplog):
        """A port at which nobody listens is said to be one."""
        with VENDORS[name].serving(ca) as server:
            pass
        Case(name, server, ca, monkeypatch).refused(caplog, "refused the connection")


def context_of(made, *names, **more):
    """A server's TLS context with a certificate by *made*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert(*names, **more).configure_cert(context)
    return context


@pytest.mark.parametrize("name", VENDORS)
class TestTls:
    """Certificates."""

    @contextmanager
    def case(self, name, ca, monkeypatch, tls, **more):
        """A provider of which nothing was asked yet, and a server with a context of its own."""
        with VENDORS[name].serving(ca, tls=tls) as server:
            yield Case(name, server, ca, monkeypatch, **more)

    def test_private(self, name, fresh, caplog):
        """Without its CA a server is not trusted and gets nothing; the hint says how to give it."""
        made = fresh(name, trusting=False)
        error = made.refused(caplog, "is not trusted: ")
        ways = (VENDORS[name].ca, "system")
        assert any(way in error.hint for way in ways)
        assert not made.server.asked

    def test_wrong_name(self, name, own, monkeypatch, caplog):
        """A certificate for another host is refused, and the hint does not ask for a CA."""
        made, files = own
        with self.case(name, files, monkeypatch, context_of(made, "other.example")) as one:
            error = one.refused(caplog, "is not trusted: ", "mismatch")
            assert "the name or the address" in error.hint
            assert not one.server.asked

    def test_expired(self, name, own, monkeypatch, caplog):
        """A certificate whose time is over is refused as that."""
        made, files = own
        old = context_of(made, "127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
        with self.case(name, files, monkeypatch, old) as one:
            error = one.refused(caplog, "is not trusted: ", "expired")
            assert "renewed" in error.hint
            assert not one.server.asked

    def test_plain(self, name, ca, monkeypatch, caplog):
        """A server without TLS gets nothing."""
        server = VENDORS[name].make()
        with server:
            Case(name, server, ca, monkeypatch).refused(caplog, "TLS")
            assert not server.asked


@pytest.fixture
def own(tmp_path, ca):
    """A CA that signs whatever it is asked to, and the files that a provider is told."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "own.pem")
    return made, type("Files", (), {"file": tmp_path / "own.pem", "cert": ca.cert, "key": ca.key})


@pytest.mark.parametrize("name", VENDORS)
class TestProxies:
    """Proxies of the environment, with a password that nobody is to see."""

    @pytest.mark.parametrize("variable", ["https_proxy", "ALL_PROXY"])
    def test_tunnel(self, name, fresh, monkeypatch, caplog, variable):
        """A tunnel is opened with the proxy's password, which the server does not get."""
        one = fresh(name)
        with bad.Proxy() as proxy:
            monkeypatch.setenv(variable, proxy.url)
            assert quiet(caplog, one.resolve) == OTHER
            assert all(head.startswith(f"CONNECT {one.server.place} ") for head in proxy.asked)
            assert all("\r\nProxy-Authorization: Basic " in head for head in proxy.asked)
            assert proxy.asked
        assert not any("Proxy-Authorization" in asked.headers for asked in one.server.asked)

    @pytest.mark.parametrize("excepted", ["127.0.0.1", "127.0.0.0/8"])
    def test_exception(self, name, fresh, monkeypatch, caplog, excepted):
        """NO_PROXY is followed, and HTTP_PROXY is for others."""
        one = fresh(name)
        with bad.Proxy() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            assert quiet(caplog, one.resolve) == OTHER
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", excepted)
            again = fresh(name)
            assert quiet(caplog, again.resolve) == OTHER
            assert not proxy.asked

    def test_refusal(self, name, fresh, monkeypatch, caplog):
        """A proxy that refuses is told from the server behind it."""
        one = fresh(name)
        with bad.Proxy(bad.refusing) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            error = one.refused(caplog, "the proxy on the way")
            assert "HTTPS_PROXY" in error.hint
        assert not one.server.asked

    @pytest.mark.parametrize("answer", [bad.silent, bad.dripping], ids=lambda one: one.__name__)
    def test_slow(self, name, fresh, monkeypatch, caplog, answer):
        """A proxy has no more time than a server."""
        monkeypatch.setattr(http, "PATIENCE", 0.25)
        one = fresh(name)
        with bad.Proxy(answer) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            one.refused(caplog)

    @pytest.mark.parametrize(
        "url",
        [f"http://u:{PLANTED}@127.0.0.1:x", f"http://:{PLANTED}@[", f"socks5://u:{PLANTED}@h"],
    )
    def test_nonsense(self, name, fresh, monkeypatch, caplog, url):
        """An address that cannot be a proxy's is refused, and not shown."""
        one = fresh(name)
        monkeypatch.setenv("HTTPS_PROXY", url)
        one.refused(caplog)
        assert not one.server.asked
