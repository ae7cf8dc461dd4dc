"""
CyberArk: reads from Conjur and CCP.

Conjur: `conjur://host/account/host%2Fmaverics?apikey=...`, or `conjur://host`. What the URL leaves
out comes from Conjur's own environment variables: CONJUR_APPLIANCE_URL, CONJUR_ACCOUNT,
CONJUR_AUTHN_LOGIN, CONJUR_AUTHN_API_KEY; CONJUR_AUTHN_TOKEN_FILE instead of login and API key where
a sidecar keeps a token fresh; CONJUR_CERT_FILE or CONJUR_SSL_CERTIFICATE (the PEM text) for more
CAs. Only HTTPS is spoken. `<name>` is the id of a variable. A login with the API key gives a token
that lives 8 minutes; it is replaced before that. Each variable is read once for each reference.

Central Credential Provider: `cyberarkccp://host?appID=...&safe=...`. `certFile` and `keyFile` are
the client certificate (left out where the provider knows the application by its address), `caFile`
more CAs, `folder` the folder in the safe (Root unless said). `newLineDelim` stands for a new line
in the stored passwords, which cannot hold one. `<name>` is the name of the account object. Asked is
`/AIMWebService/api/Accounts`, as the vendor's documentation of the web service's REST interface has
it, once for each name.
"""

import base64
import json
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

import requests

from rotator.errors import RotatorError, SourceError
from rotator.secrets.http import HttpProvider, code_of, strict_session
from rotator.secrets.provider import ProviderUrl, text_of
from rotator.tls import reason_of, trusting

TOKEN_SECONDS = 360.0  # a token is good for 480
_TOKEN_FILE = "CONJUR_AUTHN_TOKEN_FILE"  # noqa: S105 - the name of a variable

_CCP_PARAMETERS = ("appID", "safe", "folder", "certFile", "keyFile", "caFile", "newLineDelim")
_ERROR_CODE = re.compile(r"[A-Z]{4,6}\d{3}[A-Z]")
_NOT_FOUND = frozenset({"APPAP004E", "APPAP249E", "APPAP324E"})
_AMBIGUOUS = frozenset({"APPAP227E", "APPAP228E", "APPAP229E"})
_DENIED = frozenset({"APPAP008E", "APPAP087E", "APPAP132E", "APPAP133E", "APPAP306E"})


class TokenProvider(HttpProvider, ABC):
    """Token provider: logs in for a token, before it expires and, once, when it is refused."""

    authorization: ClassVar[str]  # the header, with {} for the token
    _token = ""
    _token_until = 0.0

    def read(self, path: str, **query: str) -> requests.Response:
        """Return the answer to a request with a token."""
        response = self._read_once(path, query)
        if response.status_code == 401:
            self._token_until = 0.0  # revoked, or expired early
            response = self._read_once(path, query)
        return response

    def _read_once(self, path: str, query: Mapping[str, str]) -> requests.Response:
        """Return the answer to a request, after a login if there is no good token."""
        started = time.monotonic()
        if started >= self._token_until:
            self._token, seconds = self.log_in()
            self._token_until = started + seconds
        headers = {"Authorization": self.authorization.format(self._token)}
        return self.ask("GET", path, params=query, headers=headers)

    @abstractmethod
    def log_in(self) -> tuple[str, float]:
        """Return a new token, and for how many seconds it is to be used."""


class Conjur(TokenProvider):
    """
    Conjur: reads the variables of an account.

    Raises:
        SecretError: URL and environment lack something, or the CA cannot be used.
    """

    title: ClassVar[str] = "conjur"
    trust: ClassVar[str] = "set CONJUR_CERT_FILE to a file with its CA"
    authorization: ClassVar[str] = 'Token token="{}"'

    def __init__(self, text: str) -> None:
        url = ProviderUrl(text, ("apikey",), host_required=False)
        place, root = _appliance(url)
        account, _, login = url.path.strip("/").partition("/")
        account = unquote(account) or os.environ.get("CONJUR_ACCOUNT", "")
        self._account = quote(account, safe="")
        self._login = unquote(login) or os.environ.get("CONJUR_AUTHN_LOGIN", "")
        self._api_key = url.get("apikey") or os.environ.get("CONJUR_AUTHN_API_KEY", "")
        self._token_file = os.environ.get(_TOKEN_FILE)
        if not account:
            raise url.refusal(
                "has no account", "write conjur://host/account/login, or set CONJUR_ACCOUNT"
            )
        if not (self._login and self._api_key) and not self._token_file:
            raise url.refusal(
                "has no way to log in",
                "write conjur://host/account/login?apikey=..., or set CONJUR_AUTHN_LOGIN and"
                f" CONJUR_AUTHN_API_KEY, or {_TOKEN_FILE}",
            )
        context = trusting(
            ca_file=os.environ.get("CONJUR_CERT_FILE"),
            ca_text=os.environ.get("CONJUR_SSL_CERTIFICATE"),
        )
        super().__init__(place, strict_session(context), root=root)

    def get(self, name: str) -> str:
        """
        Return the secret in the variable *name*.

        Raises:
            SecretError: There is no such variable, it has no value, or the login does not see it.
            SourceError: Conjur could not be reached, or refused to answer.
        """
        response = self.read(f"/secrets/{self._account}/variable/{quote(name, safe='')}")
        if response.status_code == 404:
            raise self.unknown(
                name,
                "is it the full id of a variable (policy/name), does it have a value, and may the"
                " login see it?",
            )
        if response.status_code in {401, 403}:
            raise self.failure(
                f"refused to give <{name}>: status {response.status_code}",
                "permit the login to read and execute the variable",
            )
        if response.status_code != 200:
            raise self.unexpected(response.status_code)
        return text_of(name, self.raw(response), self.source, "store it as UTF-8 text there")

    def log_in(self) -> tuple[str, float]:
        """Return a new token in base64, or the one that someone else keeps fresh in a file."""
        if not (self._login and self._api_key):
            return self._from_file(), 0.0
        response = self.ask(
            "POST",
            f"/authn/{self._account}/{quote(self._login, safe='')}/authenticate",
            data=self._api_key.encode(),
            headers={"Accept-Encoding": "base64", "Content-Type": "text/plain"},
        )
        if response.status_code in {401, 403, 404}:
            raise self.failure(
                f"refused the login of {self._login}: status {response.status_code}",
                "check account, login (host/... for a host) and API key",
            )
        if response.status_code != 200:
            raise self.unexpected(response.status_code)
        return self._encoded(response.content), TOKEN_SECONDS

    def _from_file(self) -> str:
        """Return the token that is in the file now."""
        path = Path(str(self._token_file))
        try:
            return self._encoded(path.read_bytes())
        except OSError as error:
            raise SourceError(
                f"the token file {path} cannot be read: {reason_of(error)}",
                hint=f"does the authenticator that writes it run? {_TOKEN_FILE} names it",
            ) from None

    def _encoded(self, token: bytes) -> str:
        """Return it as the header wants it; it is JSON where base64 was not understood."""
        token = token.strip()
        try:
            if not token.startswith(b"{"):
                token = base64.b64decode(token, validate=True)
            signed = "signature" in json.loads(token)
        except (ValueError, TypeError, RecursionError):
            signed = False
        if not signed:
            raise self.garbled()
        return base64.b64encode(token).decode()


def _appliance(url: ProviderUrl) -> tuple[str, str]:
    """Return host with port, and the path before the API's own; the URL's or the environment's."""
    if url.host:
        return url.place, ""
    parts = urlsplit(os.environ.get("CONJUR_APPLIANCE_URL", ""))
    if parts.scheme != "https" or not parts.netloc or "@" in parts.netloc:
        raise url.refusal(
            "names no host", "write conjur://host, or set CONJUR_APPLIANCE_URL to an https:// URL"
        )
    return parts.netloc, parts.path.rstrip("/")


class CentralCredentialProvider(HttpProvider):
    """
    Central Credential Provider: reads the account objects of one safe.

    Raises:
        SecretError: The URL lacks something, or a certificate cannot be used.
    """

    title: ClassVar[str] = "the credential provider"
    trust: ClassVar[str] = "give its CA with caFile=/path/ca.pem in the provider's URL"

    def __init__(self, text: str) -> None:
        url = ProviderUrl(text, _CCP_PARAMETERS)
        if url.segments:
            raise url.refusal("takes no path", "safe and folder are parameters, after the ?")
        cert, key = url.get("certFile"), url.get("keyFile")
        if key and not cert:
            raise url.refusal("has keyFile without certFile", "add certFile=/path/cert.pem")
        self._criteria = {"AppID": url.require("appID"), "Safe": url.require("safe")}
        if folder := url.get("folder"):
            self._criteria["Folder"] = folder
        self._new_line = url.get("newLineDelim")
        context = trusting(ca_file=url.get("caFile"), cert_file=cert, key_file=key)
        super().__init__(url.place, strict_session(context))

    def get(self, name: str) -> str:
        """
        Return the password of the account object *name*.

        Raises:
            SecretError: The safe has no such object, or the application may not see it.
            SourceError: The provider could not be reached, or refused to answer.
        """
        response = self.ask(
            "GET", "/AIMWebService/api/Accounts", params={**self._criteria, "Object": name}
        )
        if response.status_code != 200:
            raise self._refusal(name, response)
        content = self.document(response).get("Content")
        if not isinstance(content, str):
            raise self.garbled()
        content = text_of(name, content, self.source, "store it as text there")
        return content if self._new_line is None else content.replace(self._new_line, "\n")

    def _refusal(self, name: str, response: requests.Response) -> RotatorError:
        """Return the error for a refusal; of its text only the code is shown."""
        code = code_of(response, _ERROR_CODE, "ErrorCode")
        safe = self._criteria["Safe"]
        if code in _NOT_FOUND:
            return self.unknown(
                name,
                f"is it the name of an account object in safe {safe}, and is the application (and"
                f" the provider's own user) a member of that safe? ({code})",
            )
        if code in _AMBIGUOUS:
            return self.unknown(name, f"more than one object matches: give the folder ({code})")
        if code in _DENIED or response.status_code in {401, 403}:
            return self.failure(
                f"refused the application {self._criteria['AppID']}{f' ({code})' if code else ''}",
                "is the appID registered, and does its authentication (client certificate,"
                " allowed machines) match certFile and this machine?",
            )
        if code == "APPAP282E":
            return self.failure(
                f"is changing the password of <{name}> ({code})", "run again in a few minutes"
            )
        return self.unexpected(response.status_code, code)
