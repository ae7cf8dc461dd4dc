"""
CyberArk Conjur: `conjur://host/account/host%2Fmaverics?apikey=...`, or `conjur://host`.

What the URL leaves out comes from Conjur's own environment variables: CONJUR_APPLIANCE_URL,
CONJUR_ACCOUNT, CONJUR_AUTHN_LOGIN, CONJUR_AUTHN_API_KEY; CONJUR_AUTHN_TOKEN_FILE instead of login
and API key where a sidecar keeps a token fresh; CONJUR_CERT_FILE or CONJUR_SSL_CERTIFICATE (the PEM
text) for more CAs. Only HTTPS is spoken.

`<name>` is the id of a variable. A login with the API key gives a token that lives 8 minutes; it is
replaced before that. Each variable is read once for each reference.
"""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

import httpx

from rotator.errors import SecretError, SourceError
from rotator.secrets.http import trusting
from rotator.secrets.locator import Locator
from rotator.secrets.web import Web

TOKEN_SECONDS = 360.0  # a token is good for 480
_TOKEN_FILE = "CONJUR_AUTHN_TOKEN_FILE"  # noqa: S105 - the name of a variable


class Conjur(Web):
    """
    The variables of *account*.

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
        super().__init__(place, trusted, root=root)
        self._account = quote(account, safe="")
        self._login = login
        self._token_file = token_file
        self._token = ""
        self._token_until = 0.0

    def get(self, name: str) -> str:
        """
        The secret in the variable *name*.

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
        try:
            return response.content.decode()
        except UnicodeDecodeError:
            raise SecretError(
                f"<{name}>: is not text in {self.source}", hint="store it as UTF-8 text there"
            ) from None

    def _read(self, path: str) -> httpx.Response:
        """One request with a token."""
        return self.ask("GET", path, headers={"Authorization": f'Token token="{self._fresh()}"'})

    def _fresh(self) -> str:
        """A token that is good for the next request, in base64."""
        if self._token_file is not None:
            return self._from_file(self._token_file)
        if time.monotonic() >= self._token_until:
            started = time.monotonic()
            self._token = self._authenticate()
            self._token_until = started + TOKEN_SECONDS
        return self._token

    def _authenticate(self) -> str:
        """A new token for login and API key."""
        assert self._login is not None  # noqa: S101 - there is no token file
        login, api_key = self._login
        response = self.ask(
            "POST",
            f"/authn/{self._account}/{quote(login, safe='')}/authenticate",
            content=api_key.encode(),
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
        """The token that someone else keeps fresh."""
        try:
            return self._encoded(path.read_bytes())
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise SourceError(
                f"the token file {path} cannot be read: {reason}",
                hint=f"does the authenticator that writes it run? {_TOKEN_FILE} names it",
            ) from None

    def _encoded(self, token: bytes) -> str:
        """A token as the header wants it; it is JSON where base64 was not understood."""
        token = token.strip()
        if token.startswith(b"{"):
            return base64.b64encode(token).decode()
        try:
            base64.b64decode(token, validate=True)
            return token.decode()
        except ValueError:
            raise self.garbled() from None


def from_url(url: str) -> Conjur:
    """
    The provider for `conjur://`; nothing is asked yet.

    Raises:
        SecretError: URL and environment lack something, or the CA cannot be used.
    """
    locator = Locator(url, ("apikey",), host_required=False)
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


def _appliance(locator: Locator) -> tuple[str, str]:
    """Host with port, and the path before the API's own: of the URL, or of the environment."""
    if locator.host:
        return locator.place, ""
    parts = urlsplit(os.environ.get("CONJUR_APPLIANCE_URL", ""))
    if parts.scheme != "https" or not parts.netloc or "@" in parts.netloc:
        raise locator.refusal(
            "names no host", "write conjur://host, or set CONJUR_APPLIANCE_URL to an https:// URL"
        )
    return parts.netloc, parts.path.rstrip("/")
