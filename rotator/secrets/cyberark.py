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

from __future__ import annotations

import base64
import os
import re
import time
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

import requests

from rotator.errors import RotatorError, SourceError
from rotator.secrets.http import HttpProvider, code_of, strict_session, trusting
from rotator.secrets.provider import ProviderUrl, text_of
from rotator.tls import reason_of

TOKEN_SECONDS = 360.0  # a token is good for 480
_TOKEN_FILE = "CONJUR_AUTHN_TOKEN_FILE"  # noqa: S105 - the name of a variable

_CCP_PARAMETERS = ("appID", "safe", "folder", "certFile", "keyFile", "caFile", "newLineDelim")
_ERROR_CODE = re.compile(r"[A-Z]{4,6}\d{3}[A-Z]")
_NOT_FOUND = frozenset({"APPAP004E", "APPAP249E", "APPAP324E"})
_AMBIGUOUS = frozenset({"APPAP227E", "APPAP228E", "APPAP229E"})
_DENIED = frozenset({"APPAP008E", "APPAP087E", "APPAP132E", "APPAP133E", "APPAP306E"})
_CHANGING = "APPAP282E"


class Conjur(HttpProvider):
    """
    Conjur: reads the variables of *account*.

    *login* and *api_key* get a token; without them the file *token_file* holds one.
    """

    title: ClassVar[str] = "conjur"
    trust: ClassVar[str] = "set CONJUR_CERT_FILE to a file with its CA"

    def __init__(
        self,
        place: str,
        root: str,
        account: str,
        *,
        login: tuple[str, str] | None,
        token_file: Path | None = None,
    ) -> None:
        trusted = trusting(
            ca_file=os.environ.get("CONJUR_CERT_FILE"),
            ca_text=os.environ.get("CONJUR_SSL_CERTIFICATE"),
        )
        super().__init__(place, strict_session(trusted), root=root)
        self._account = quote(account, safe="")
        self._login = login
        self._token_file = token_file
        self._token = ""
        self._token_until = 0.0

    def get(self, name: str) -> str:
        """
        Return the secret in the variable *name*.

        Raises:
            SecretError: There is no such variable, it has no value, or the login does not see it.
            SourceError: Conjur could not be reached, or refused to answer.
        """
        path = f"/secrets/{self._account}/variable/{quote(name, safe='')}"
        response = self._read(path)
        if response.status_code == 401:
            self._token_until = 0.0  # revoked or expired early: log in again, once
            response = self._read(path)
        if response.status_code == 404:
            raise self.unknown(
                name,
                "is it the full id of a variable (policy/name), does it have a value, and may the"
                " login see it?",
            )
        if response.status_code in {401, 403}:
            raise SourceError(
                f"{self.source} refused to give <{name}>: status {response.status_code}",
                hint="permit the login to read and execute the variable",
            )
        if response.status_code != 200:
            raise self.unexpected(response.status_code)
        return text_of(name, response.content, self.source, "store it as UTF-8 text there")

    def _read(self, path: str) -> requests.Response:
        """Ask once, with a token."""
        return self.ask("GET", path, headers={"Authorization": f'Token token="{self._fresh()}"'})

    def _fresh(self) -> str:
        """Return a token that is good for the next request, in base64."""
        if self._token_file is not None:
            return self._from_file(self._token_file)
        if time.monotonic() >= self._token_until:
            started = time.monotonic()
            self._token = self._authenticate()
            self._token_until = started + TOKEN_SECONDS
        return self._token

    def _authenticate(self) -> str:
        """Log in, and return the new token."""
        assert self._login is not None  # noqa: S101 - there is no token file
        login, api_key = self._login
        response = self.ask(
            "POST",
            f"/authn/{self._account}/{quote(login, safe='')}/authenticate",
            data=api_key.encode(),
            headers={"Accept-Encoding": "base64", "Content-Type": "text/plain"},
        )
        if response.status_code in {401, 403, 404}:
            raise SourceError(
                f"{self.source} refused the login of {login}: status {response.status_code}",
                hint="check account, login (host/... for a host) and API key",
            )
        if response.status_code != 200:
            raise self.unexpected(response.status_code)
        return self._encoded(response.content)

    def _from_file(self, path: Path) -> str:
        """Return the token that someone else keeps fresh."""
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
        if token.startswith(b"{"):
            return base64.b64encode(token).decode()
        try:
            base64.b64decode(token, validate=True)
            return token.decode()
        except ValueError:
            raise self.garbled() from None


def conjur_from_url(url: str) -> Conjur:
    """
    Return the provider for `conjur://`; nothing is asked yet.

    Raises:
        SecretError: URL and environment lack something, or the CA cannot be used.
    """
    locator = ProviderUrl(url, ("apikey",), host_required=False)
    place, root = _appliance(locator)
    account, _, login = locator.path.strip("/").partition("/")
    account = unquote(account) or os.environ.get("CONJUR_ACCOUNT", "")
    login = unquote(login) or os.environ.get("CONJUR_AUTHN_LOGIN", "")
    api_key = locator.get("apikey") or os.environ.get("CONJUR_AUTHN_API_KEY", "")
    token_file = os.environ.get(_TOKEN_FILE)
    if not account:
        raise locator.refusal(
            "has no account", "write conjur://host/account/login, or set CONJUR_ACCOUNT"
        )
    if login and api_key:
        return Conjur(place, root, account, login=(login, api_key))
    if token_file:
        return Conjur(place, root, account, login=None, token_file=Path(token_file))
    raise locator.refusal(
        "has no way to log in",
        "write conjur://host/account/login?apikey=..., or set CONJUR_AUTHN_LOGIN and"
        f" CONJUR_AUTHN_API_KEY, or {_TOKEN_FILE}",
    )


def _appliance(locator: ProviderUrl) -> tuple[str, str]:
    """Return host with port, and the path before the API's own; the URL's or the environment's."""
    if locator.host:
        return locator.place, ""
    parts = urlsplit(os.environ.get("CONJUR_APPLIANCE_URL", ""))
    if parts.scheme != "https" or not parts.netloc or "@" in parts.netloc:
        raise locator.refusal(
            "names no host", "write conjur://host, or set CONJUR_APPLIANCE_URL to an https:// URL"
        )
    return parts.netloc, parts.path.rstrip("/")


class CentralCredentialProvider(HttpProvider):
    """
    Central Credential Provider: reads the account objects of one safe.

    *criteria* are the parts of the query that are the same for each of them.
    """

    title: ClassVar[str] = "the credential provider"
    trust: ClassVar[str] = "give its CA with caFile=/path/ca.pem in the provider's URL"

    def __init__(
        self, locator: ProviderUrl, criteria: dict[str, str], *, new_line: str | None = None
    ) -> None:
        trusted = trusting(
            ca_file=locator.get("caFile"),
            cert_file=locator.get("certFile"),
            key_file=locator.get("keyFile"),
        )
        super().__init__(locator.place, strict_session(trusted))
        self._criteria = criteria
        self._new_line = new_line

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
            return self.unknown(name, f"more than one object fits: give the folder ({code})")
        if code in _DENIED or response.status_code in {401, 403}:
            return SourceError(
                f"{self.source} refused the application {self._criteria['AppID']}"
                f"{f' ({code})' if code else ''}",
                hint="is the appID registered, and does its authentication (client certificate,"
                " allowed machines) fit certFile and this machine?",
            )
        if code == _CHANGING:
            return SourceError(
                f"{self.source} is changing the password of <{name}> ({code})",
                hint="run again in a few minutes",
            )
        return self.unexpected(response.status_code, code)


def ccp_from_url(url: str) -> CentralCredentialProvider:
    """
    Return the provider for `cyberarkccp://`; nothing is asked yet.

    Raises:
        SecretError: The URL lacks something, or a certificate cannot be used.
    """
    locator = ProviderUrl(url, _CCP_PARAMETERS)
    if locator.segments:
        raise locator.refusal("takes no path", "safe and folder are parameters, after the ?")
    if locator.get("keyFile") and not locator.get("certFile"):
        raise locator.refusal("has keyFile without certFile", "add certFile=/path/cert.pem")
    criteria = {"AppID": locator.require("appID"), "Safe": locator.require("safe")}
    if folder := locator.get("folder"):
        criteria["Folder"] = folder
    return CentralCredentialProvider(locator, criteria, new_line=locator.get("newLineDelim"))
