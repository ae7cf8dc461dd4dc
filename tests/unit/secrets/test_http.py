"""The session of providers that are asked without a vendor's library, against a real server."""

import pytest
import requests

from rotator.errors import SourceError
from rotator.secrets import http
from rotator.secrets.provider import provider_from_url
from support.vendor_servers import PLANTED, SECRET, Answer, Conjur, authority, quiet, refused

REST = f"myaccount/host%2Fmaverics?apikey={Conjur.api_key}"


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """A CA that the system does not trust."""
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(autouse=True)
def environment(monkeypatch, ca):
    """Conjur's client trusts the CA, and no proxy is set."""
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("CONJUR_CERT_FILE", str(ca.file))


@pytest.fixture
def server(ca):
    """A Conjur with one variable."""
    with Conjur(ca.server) as running:
        running.variables = {"a": SECRET}
        yield running


def get(server):
    """The variable of a server, read by a new provider."""
    return provider_from_url(f"conjur://{server.place}/{REST}").get("a")


def test_netrc(server, monkeypatch, tmp_path):
    """A login in ~/.netrc does not take the place of the provider's token."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert requests.utils.get_netrc_auth(f"https://{server.place}/") == ("somebody", "else")
    assert get(server) == SECRET


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_bundle_of_another_program(server, monkeypatch, ca, caplog, variable):
    """CAs that the environment names for other programs are not trusted."""
    monkeypatch.delenv("CONJUR_CERT_FILE")
    monkeypatch.setenv(variable, str(ca.file))
    refused(caplog, lambda: get(server), "is not trusted: ", kind=SourceError)
    assert not server.asked


def test_no_certificates_of_requests(monkeypatch, ca, caplog, server):
    """Neither are those that come with requests."""
    monkeypatch.delenv("CONJUR_CERT_FILE")
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(ca.file))
    refused(caplog, lambda: get(server), "is not trusted: ", kind=SourceError)
    assert not server.asked


def test_proxy(server, monkeypatch, caplog):
    """A proxy of the environment is used, but for the hosts that it excepts."""
    with Conjur() as closed:
        pass
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PLANTED}@{closed.place}")
    refused(caplog, lambda: get(server), "refused the connection", kind=SourceError)
    assert not server.asked
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert get(server) == SECRET


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirection(server, ca, caplog, status):
    """A redirection is not followed, wherever it leads."""
    with Conjur(ca.server) as other:
        server.script.append(Answer(status, SECRET, {"Location": f"https://{other.place}/"}))
        refused(caplog, lambda: get(server), f"status {status}", kind=SourceError)
    assert len(server.asked) == 1
    assert not other.asked


@pytest.mark.parametrize("target", ["https://[", "//\xff"])
def test_redirection_to_no_address(server, caplog, target):
    """A redirection to what is no address is an answer like any other."""
    server.script.append(Answer(302, SECRET, {"Location": target}))
    refused(caplog, lambda: get(server), "status 302", kind=SourceError)


@pytest.mark.parametrize("status", [412, 429, 500, 502, 503, 504])
def test_busy(server, caplog, status):
    """A busy server is asked four times, a login too, and nothing of it is logged."""
    server.script.extend([Answer(status, SECRET, {"Retry-After": "0"})] * (http.TRIES - 1))
    assert quiet(caplog, lambda: get(server)) == SECRET
    assert len(server.paths("authenticate")) == http.TRIES == 4


@pytest.mark.parametrize("status", [400, 408, 413, 425, 501, 505])
def test_asked_once(server, caplog, status):
    """Any other answer is final, even if it names a time for another try."""
    server.script.append(Answer(status, SECRET, {"Retry-After": "0"}))
    refused(caplog, lambda: get(server), f"status {status}", kind=SourceError)
    assert len(server.asked) == 1


def test_silence_is_not_asked_again(server, caplog, monkeypatch):
    """A request that got no answer in time is not sent again."""
    monkeypatch.setattr(http, "TIMEOUT", 0.3)
    server.script.extend([Answer(wait=True)] * 3)
    refused(caplog, lambda: get(server), "in time", kind=SourceError)
    assert len(server.asked) == 1


def test_pauses(server, monkeypatch):
    """Pauses double, unless the server names one."""
    slept = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    server.script.extend([Answer(503), Answer(503, headers={"Retry-After": "7"}), Answer(503)])
    assert get(server) == SECRET
    assert slept == [http.FIRST_PAUSE, 7, 4 * http.FIRST_PAUSE]
