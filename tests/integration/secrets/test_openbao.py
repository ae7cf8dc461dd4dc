"""A real server that speaks HashiCorp Vault's API: OpenBao, which is built from the same code."""

import time

import pytest
import requests
import trustme

from rotator.errors import SecretError, SourceError
from rotator.secrets.provider import provider_from_url
from support.openbao import READER, OpenBao
from support.vendor_servers import SECRET, quiet, refused
from support.vendors import OTHER

ENTRY = "secret/data/maverics"


@pytest.fixture(scope="module")
def bao(tmp_path_factory):
    """A server with entries of both versions of KV, and a policy that may read them."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        server.put("sys/policies/acl/reader", policy=READER)
        server.put("sys/auth/approle", type="approle")
        server.put("sys/auth/cert", type="cert")
        server.put("sys/mounts/kv", type="kv", options={"version": "1"})
        server.put(ENTRY, data={"a": SECRET, "number": 7, "list": [SECRET]})
        server.put(f"{ENTRY}/sub", data={"b": OTHER})
        server.put("kv/maverics", a=SECRET)
        yield server


@pytest.fixture
def reader(bao):
    """Makes a provider with a token that may read an entry."""

    def make(path=ENTRY, **more):
        return provider_from_url(bao.url(path, token=bao.token("reader"), **more))

    return make


class TestRead:
    """Entries."""

    @pytest.mark.parametrize(
        ("path", "name", "value"),
        [
            (ENTRY, "a", SECRET),
            (f"v1/{ENTRY}", "a", SECRET),
            (ENTRY, "sub.b", OTHER),
            (ENTRY, "maverics.a", SECRET),
            ("kv/maverics", "a", SECRET),
        ],
    )
    def test_read(self, reader, caplog, path, name, value):
        """Entries of KV version 1 and 2 are read, and those below them by a dot."""
        assert quiet(caplog, lambda: reader(path).get(name)) == value

    @pytest.mark.parametrize("name", ["c", "sub.c", "gone.b", "number", "list"])
    def test_none(self, reader, caplog, name):
        """A key that is not there, or holds no text, is no secret."""
        refused(caplog, lambda: reader().get(name), name, kind=SecretError)

    def test_deleted(self, bao, reader, caplog):
        """A version that was deleted holds nothing."""
        bao.put("secret/data/old", data={"a": SECRET})
        bao.ask("DELETE", "secret/data/old")
        refused(caplog, lambda: reader("secret/data/old").get("a"), kind=SecretError)

    def test_without_data(self, reader, caplog):
        """The path as the command line of Vault has it, without `data`, is explained."""
        error = refused(caplog, lambda: reader("secret/maverics").get("a"), kind=SecretError)
        assert "has data/ after the engine" in error.hint

    def test_namespace(self, bao, caplog):
        """A namespace has entries and tokens of its own, and none of those outside."""
        bao.put("sys/namespaces/team")
        bao.put("team/sys/mounts/secret", type="kv", options={"version": "2"})
        bao.put("team/sys/policies/acl/reader", policy=READER)
        bao.put("team/secret/data/maverics", data={"a": OTHER})
        token = bao.put("team/auth/token/create", policies=["reader"])["auth"]["client_token"]
        inside = provider_from_url(bao.url(ENTRY, token=token, namespace="team"))
        assert quiet(caplog, lambda: inside.get("a")) == OTHER
        outside = provider_from_url(bao.url(ENTRY, token=token))
        refused(caplog, lambda: outside.get("a"), "does not allow reading", kind=SourceError)


class TestRights:
    """Tokens and roles."""

    @pytest.mark.parametrize("token", ["nonsense", None], ids=["unknown", "without rights"])
    def test_denied(self, bao, caplog, token):
        """A token that is unknown, or may not read the entry, is refused with what it needs."""
        provider = provider_from_url(bao.url(ENTRY, token=token or bao.token("default")))
        error = refused(
            caplog, lambda: provider.get("a"), "does not allow reading", kind=SourceError
        )
        assert f"read on {ENTRY}" in error.hint

    def test_ended(self, bao, caplog):
        """A token that ended between two secrets is said to have ended, not the secret missing."""
        token = bao.token("reader")
        provider = provider_from_url(bao.url(ENTRY, token=token))
        assert provider.get("a") == SECRET
        bao.put("auth/token/revoke", token=token)
        error = refused(
            caplog, lambda: provider.get("sub.b"), "does not allow reading", kind=SourceError
        )
        assert "has the token expired" in error.hint

    def test_role(self, bao, caplog):
        """A role logs in once for several secrets."""
        provider = provider_from_url(bao.url(ENTRY, **bao.role("once", secret_id_num_uses=1)))
        assert quiet(caplog, lambda: provider.get("a")) == SECRET
        assert quiet(caplog, lambda: provider.get("sub.b")) == OTHER

    def test_renewed(self, bao, caplog):
        """A role whose token ended between two secrets logs in again."""
        provider = provider_from_url(bao.url(ENTRY, **bao.role("often", token_num_uses=1)))
        assert quiet(caplog, lambda: provider.get("a")) == SECRET
        assert quiet(caplog, lambda: provider.get("sub.b")) == OTHER

    def test_used_up(self, bao, caplog):
        """A role whose secret may not be used again is refused with what to look at."""
        known = bao.role("used", token_num_uses=1, secret_id_num_uses=1)
        provider = provider_from_url(bao.url(ENTRY, **known))
        assert provider.get("a") == SECRET
        error = refused(
            caplog, lambda: provider.get("sub.b"), "login: status 400", kind=SourceError
        )
        assert "not expired" in error.hint

    def test_no_role(self, bao, caplog):
        """A role that does not exist is refused."""
        provider = provider_from_url(bao.url(ENTRY, role_id=SECRET, secret_id=SECRET))
        refused(caplog, lambda: provider.get("a"), "refused the login", kind=SourceError)

    def test_certificate(self, bao, caplog, tmp_path):
        """A certificate that is known logs in, and another one is refused."""
        made, others = trustme.CA(), trustme.CA()
        certificate = made.cert_pem.bytes().decode()
        bao.put("auth/cert/certs/rotator", certificate=certificate, token_policies=["reader"])
        providers = []
        for name, ca in (("own", made), ("other", others)):
            issued = ca.issue_cert("rotator.example", common_name="rotator")
            issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / name)
            pair = {"client_cert": str(tmp_path / name), "client_key": str(tmp_path / name)}
            providers.append(provider_from_url(bao.url(ENTRY, **pair)))
        assert quiet(caplog, lambda: providers[0].get("a")) == SECRET
        refused(caplog, lambda: providers[1].get("a"), "refused the login", kind=SourceError)


class TestServer:
    """What the server is."""

    def test_private(self, reader, caplog):
        """Its own CA has to be told."""
        error = refused(
            caplog, lambda: reader(trusting=False).get("a"), "is not trusted", kind=SourceError
        )
        assert "ca_cert=" in error.hint

    def test_plain(self, bao, caplog):
        """A server that speaks TLS only says so, and the URL that is right is named."""
        url = bao.url(ENTRY, token=bao.token("reader")).replace("hashivault:", "hashivault+http:")
        error = refused(
            caplog, lambda: provider_from_url(url).get("a"), "TLS only", kind=SourceError
        )
        assert "hashivault://" in error.hint

    def test_sealed(self, tmp_path, caplog):
        """A sealed server is said to be that at once, however patient one is."""
        with OpenBao(tmp_path) as server:
            server.put(ENTRY, data={"a": SECRET})
            provider = provider_from_url(server.url(ENTRY, token=server.root))
            server.put("sys/seal")
            begun = time.monotonic()
            error = refused(caplog, lambda: provider.get("a"), "is sealed", kind=SourceError)
            assert time.monotonic() - begun < 5
            assert "unseal" in error.hint
            with pytest.raises(requests.HTTPError):
                server.ask("GET", ENTRY)
