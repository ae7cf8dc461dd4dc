r"""
Delinea Secret Server: `delinea://host?username=...&password=...&folder=...`.

All secrets are in one folder, named by its path (`Maverics`, `\some\folder` or `/some/folder`). An
installation below a path is `delinea://host/SecretServer?...`.

`<secretName.fieldSlug>` is a field of a secret by its slug, which the secret's template tells; the
slug is what follows the last dot. A field that is a file gives what is in the file. Each secret is
read once, whatever the number of its fields.

The REST API is spoken directly: the vendor's client waits 60 seconds at each step and takes an
untrusted certificate for an unknown kind of server.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from rotator.errors import SecretError, SourceError
from rotator.secrets.http import trusting
from rotator.secrets.locator import Locator
from rotator.secrets.web import Web, code_of

_PARAMETERS = ("username", "password", "folder")
_ERROR_CODE = re.compile(r"(?:API|SS)_[A-Za-z]{3,40}")
_EARLY = 60.0  # seconds before its end that a token is replaced


class SecretServer(Web):
    """The secrets in one *folder*, a path with backslashes."""

    title: ClassVar[str] = "secret server"
    trust: ClassVar[str] = "add its CA to the system's trust, or set SSL_CERT_FILE"

    def __init__(self, locator: Locator, folder: str, user: tuple[str, str]) -> None:
        root = "".join(f"/{quote(part, safe='')}" for part in locator.segments)
        super().__init__(locator.place, trusting(), root=root)
        self._folder = folder
        self._user = user
        self._token = ""
        self._token_until = 0.0
        self._secrets: dict[str, Mapping[str, Any]] = {}

    def get(self, name: str) -> str:
        """
        The field called *name*: `secretName.fieldSlug`.

        Raises:
            SecretError: There is no such secret or field, or the user does not see it.
            SourceError: The server could not be reached, or refused to answer.
        """
        secret, dot, slug = name.rpartition(".")
        if not (dot and secret and slug):
            raise SecretError(
                f"<{name}>: names no field",
                hint="write <secretName.fieldSlug>, as in <redis.password>",
            )
        if secret not in self._secrets:
            self._secrets[secret] = self._secret(name, secret)
        found = self._secrets[secret]
        items = found.get("items")
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and item.get("slug") == slug:
                return self._value(name, found, item)
        raise self.unknown(name, f"the secret {secret} has no field with the slug {slug}")

    def _secret(self, name: str, secret: str) -> Mapping[str, Any]:
        """All of one secret, looked up by its path."""
        path = f"{self._folder}\\{secret}"
        response = self._read("/api/v1/secrets/0", {"secretPath": path})
        if response.status_code == 200:
            return self.document(response)
        code = code_of(response, _ERROR_CODE, "errorCode")
        if response.status_code == 404 or "NotFound" in code:
            raise self.unknown(name, f"is there a secret {secret} in the folder {self._folder}?")
        raise self._refusal(name, response.status_code, code)

    def _value(self, name: str, secret: Mapping[str, Any], item: Mapping[str, Any]) -> str:
        """What a field holds."""
        if item.get("isFile"):
            return self._file(name, secret.get("id"), str(item["slug"]))
        value = item.get("itemValue")
        if not isinstance(value, str):
            raise SecretError(
                f"<{name}>: is not text in {self.source}", hint="give the field a value there"
            )
        return value

    def _file(self, name: str, number: object, slug: str) -> str:
        """What is in the file that a field is."""
        response = self._read(f"/api/v1/secrets/{number}/fields/{quote(slug, safe='')}", {})
        if response.status_code != 200:
            code = code_of(response, _ERROR_CODE, "errorCode")
            raise self._refusal(name, response.status_code, code)
        try:
            return response.content.decode()
        except UnicodeDecodeError:
            raise SecretError(
                f"<{name}>: the file is not text in {self.source}", hint="attach a PEM file"
            ) from None

    def _refusal(self, name: str, status: int, code: str) -> SourceError:
        """The error for a refusal; of its text only the code is shown."""
        if status in {401, 403} or code == "API_AccessDenied":
            return SourceError(
                f"{self.source} refused to give <{name}>: status {status}"
                f"{f' ({code})' if code else ''}",
                hint=f"does the secret exist in {self._folder}, and may the user view it without"
                " check-out, approval or comment?",
            )
        return self.unexpected(status, code)

    def _read(self, path: str, query: Mapping[str, str]) -> httpx.Response:
        """The answer to a request, after another login if the token is no longer good."""
        response = self._authorized(path, query)
        if response.status_code == 401:
            self._token_until = 0.0  # the token may have expired: log in again, once
            response = self._authorized(path, query)
        return response

    def _authorized(self, path: str, query: Mapping[str, str]) -> httpx.Response:
        """The answer to a request with a token."""
        if time.monotonic() >= self._token_until:
            self._log_in()
        headers = {"Authorization": f"Bearer {self._token}"}
        return self.ask("GET", path, params=query, headers=headers)

    def _log_in(self) -> None:
        """Get a token, and note until when it is used."""
        username, password = self._user
        form = {"username": username, "password": password, "grant_type": "password"}
        started = time.monotonic()
        response = self.ask("POST", "/oauth2/token", data=form)
        if response.status_code in {400, 401, 403}:
            raise SourceError(
                f"{self.source} refused the login: status {response.status_code}",
                hint="check username and password (special characters as %XX), and that the user"
                " may use web services without a second factor",
            )
        if response.status_code != 200:
            raise self.unexpected(response.status_code)
        grant = self.document(response)
        token, seconds = grant.get("access_token"), grant.get("expires_in")
        if not isinstance(token, str) or not token.isascii():
            raise self.garbled()
        self._token = token
        lifetime = float(seconds) if isinstance(seconds, int | float) else _EARLY
        self._token_until = started + max(lifetime - _EARLY, lifetime / 2)


def from_url(url: str) -> SecretServer:
    """
    The provider for `delinea://`; nothing is asked yet.

    Raises:
        SecretError: The URL lacks something.
    """
    locator = Locator(url, _PARAMETERS)
    user = locator.require("username"), locator.require("password")
    parts = [part for part in re.split(r"[\\/]+", locator.require("folder")) if part]
    if not parts:
        raise locator.refusal("names no folder", "the secrets are in one folder: folder=Maverics")
    return SecretServer(locator, "".join(f"\\{part}" for part in parts), user)
