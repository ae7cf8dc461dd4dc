"""
What tells the vendors of secrets apart, in one table: all else is the same for all of them.

    vendor = VENDORS["conjur"]
    with vendor.serving(ca) as server:
        provider_from_url(vendor.url(server.place, ca)).get(vendor.first)
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from support.vendor_servers import PLANTED, SECRET, Answer, Aws, Azure, Ccp, Conjur, Delinea, Vault

OTHER = f"other{PLANTED}"
"""The second secret of every vendor; the first is `SECRET`."""

_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Vendor:
    """
    One provider, as the trials see it.

    *reads* and *login* are parts of the paths that it asks for a secret and for a token; without a
    *login* it shows the same credentials each time. *first* and *second* are references that it
    reads in two requests, *missing* is one that is not there. *ca* is how its CA is told: a
    parameter of the URL or a variable. *body* makes the answer that holds a value; it is None where
    the answer is the value itself. *expire* makes all tokens old, *renew* good again
    those that were given from outside.
    """

    make: type
    fill: Callable
    address: str
    ca: str
    reads: str
    login: str = ""
    first: str = "a"
    second: str = "b"
    missing: str = "none"
    body: Callable | None = None
    expire: Callable = lambda server: server.tokens.clear()
    renew: Callable = id
    client: bool = False
    by_name: bool = False  # it is told by its name in the DNS, never by an address of IPv6
    env: dict = field(default_factory=dict)

    def serving(self, authority, *, tls=None, host=None):
        """Its server, with both secrets."""
        context = tls or (authority.strict if self.client else authority.server)
        kind = type("Server", (self.make,), {"host": host} if host else {})
        server = kind(context)
        self.fill(server)
        return server

    def url(self, place, authority, *, trusting=True):
        """The provider's URL for a server, and the environment that goes with it."""
        file = str(authority.file)
        url = self.address.format(place=place, cert=authority.cert, key=authority.key)
        env = {name: value.format(place=place) for name, value in self.env.items()}
        if not trusting:
            return url, env
        if self.ca.isupper():
            return url, env | {self.ca: file}
        return f"{url}&{self.ca}={quote(file)}", env


def _vault(server):
    server.entries["secret/data/maverics"] = {"a": SECRET}
    server.entries["secret/data/maverics/sub"] = {"b": OTHER}


def _conjur(server):
    server.variables = {"a": SECRET, "b": OTHER}


def _delinea(server):
    for name, value in (("a", SECRET), ("b", OTHER)):
        server.secrets[f"\\keys\\{name}"] = [{"slug": "key", "itemValue": value, "isFile": False}]


def _ccp(server):
    server.objects = {"a": SECRET, "b": OTHER}


def _named(server):
    server.secrets = {"a": SECRET, "b": OTHER}


_DATA = "/v1/secret/data/"
_VAULT = "hashivault://{place}/secret/data/maverics?"
VENDORS = {
    "vault": Vendor(
        Vault,
        _vault,
        f"{_VAULT}role_id={Vault.role}&secret_id={Vault.secret}",
        ca="ca_cert",
        reads=_DATA,
        login="auth/approle/login",
        second="sub.b",
        body=lambda value: {"data": {"data": {"b": value}, "metadata": {"version": 1}}},
    ),
    "vault token": Vendor(
        Vault,
        _vault,
        f"{_VAULT}token={Vault.token}",
        ca="VAULT_CACERT",
        reads=_DATA,
        second="sub.b",
        renew=lambda server: server.tokens.add(Vault.token),
        body=lambda value: {"data": {"data": {"b": value}, "metadata": {"version": 1}}},
    ),
    "conjur": Vendor(
        Conjur,
        _conjur,
        f"conjur://{{place}}/myaccount/host%2Fmaverics?apikey={Conjur.api_key}",
        ca="CONJUR_CERT_FILE",
        reads="/secrets/",
        login="/authenticate",
    ),
    "delinea": Vendor(
        Delinea,
        _delinea,
        "delinea://{place}?username=svc&folder=keys&password=" + quote(Delinea.user[1], safe=""),
        ca="SSL_CERT_FILE",
        reads="/secrets/",
        login="/oauth2/token",
        first="a.key",
        second="b.key",
        missing="none.key",
        body=lambda value: {"id": 7, "items": [{"slug": "key", "itemValue": value}]},
    ),
    "ccp": Vendor(
        Ccp,
        _ccp,
        "cyberarkccp://{place}?appID=my%20app&safe=S%26afe&certFile={cert}&keyFile={key}",
        ca="caFile",
        reads="/AIMWebService/",
        body=lambda value: {"Content": value, "UserName": "redis"},
        expire=id,  # nothing: a certificate is no token
        client=True,
    ),
    "azure": Vendor(
        Azure,
        _named,
        f"azurekeyvault://{{place}}?clientID={Azure.client}&tenantID={Azure.tenant}"
        f"&clientSecret={quote(Azure.client_secret, safe='')}&entraIDHost={{place}}",
        ca="SSL_CERT_FILE",
        reads="/secrets/",
        login="/token",
        body=lambda value: {"value": value, "id": f"https://h/secrets/b/{'0' * 32}"},
        by_name=True,
    ),
    "aws": Vendor(
        Aws,
        _named,
        f"awssecretsmanager://amazonaws.com?region=us-west-2&accessKeyID={Aws.access}"
        f"&secretAccessKey=w%2B{PLANTED}%2F",
        ca="AWS_CA_BUNDLE",
        reads="/",
        body=lambda value: {"Name": "b", "SecretString": value},
        expire=lambda server: setattr(server, "expired", True),
        renew=lambda server: setattr(server, "expired", False),
        env={
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://{place}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_CONFIG_FILE": "/dev/null",
        },
    ),
}


def holding(vendor, value):
    """The good answer of a vendor that holds *value*."""
    return Answer(200, vendor.body(value), _JSON)
