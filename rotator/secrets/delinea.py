r"""
Delinea Secret Server: reads a secret.

The URL is `delinea://host?username=...&password=...&folder=...`.

All secrets are in one folder, named by its path (`Maverics`, `\some\folder` or `/some/folder`). An
installation below a path is `delinea://host/SecretServer?...`.

`<secretName.fieldSlug>` is a field of a secret by its slug, which the secret's template tells; the
slug is what follows the last dot. A field that is a file gives what is in the file. Each secret is
read once, whatever the number of its fields.

The REST API is spoken directly: the vendor's client waits 60 seconds at each step and takes an
untrusted certificate for an unknown kind of server.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import requests

from rotator.errors import SecretError, SourceError
from rotator.secrets.cyberark import TokenProvider
from rotator.secrets.http import code_of, strict_session
from rotator.secrets.provider import ProviderUrl, text_of
from rotator.tls import trusting

_PARAMETERS = ("username", "password", "folder")
_ERROR_CODE = re.compile(r"(?:API|SS)_[A-Za-z]{3,40}")
_EARLY = 60.0  # seconds before its end that a token is replaced
_LONGEST = 86400.0  # seconds that a token is believed to be good for


class SecretServer(TokenProvider):
    """
    Secret Server: reads the secrets in one folder.

    Raises:
        SecretError: The URL lacks something.
    """

    title: ClassVar[str] = "secret server"
    trust: ClassVar[str] = "add its CA to the system's trust, or set SSL_CERT_FILE"
    authorization: ClassVar[str] = "Bearer {}"

    def __init__(self, text: str) -> None:
        url = ProviderUrl(text, _PARAMETERS)
        self._user = url.require("username"), url.require("password")
        parts = [part for part in re.split(r"[\\/]+", url.require("folder")) if part]
        if not parts:
            raise url.refusal("names no folder", "the secrets are in one folder: folder=Maverics")
        self._folder = "".join(f"\\{part}" for part in parts)
        self._secrets: dict[str, Mapping[str, Any]] = {}
        root = "".join(f"/{quote(part, safe='')}" for part in url.segments)
        super().__init__(url.place, strict_session(trusting()), root=root)

    def get(self, name: str) -> str:
        """
        Return the field called *name*: `secretName.fieldSlug`.

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
                if item.get("isFile"):
                    return self._file(name, found.get("id"), slug)
                hint = "give the field a value there"
                return text_of(name, item.get("itemValue"), self.source, hint)
        raise self.unknown(name, f"the secret {secret} has no field with the slug {slug}")

    def _secret(self, name: str, secret: str) -> Mapping[str, Any]:
        """Return all of one secret, looked up by its path."""
        path = f"{self._folder}\\{secret}"
        response = self.read("/api/v1/secrets/0", secretPath=path)
        if response.status_code == 200:
            return self.document(response)
        code = code_of(response, _ERROR_CODE, "errorCode")
        if response.status_code == 404 or "NotFound" in code:
            raise self.unknown(name, f"is there a secret {secret} in the folder {self._folder}?")
        raise self._refusal(name, response)

    def _file(self, name: str, number: object, slug: str) -> str:
        """Return the text in the file that a field is."""
        response = self.read(f"/api/v1/secrets/{number}/fields/{quote(slug, safe='')}")
        if response.status_code != 200:
            raise self._refusal(name, response)
        hint, problem = "attach a PEM file", "the file is not text"
        return text_of(name, self.raw(response), self.source, hint, problem=problem)

    def _refusal(self, name: str, response: requests.Response) -> SourceError:
        """Return the error for a refusal; of its text only the code is shown."""
        status, code = response.status_code, code_of(response, _ERROR_CODE, "errorCode")
        if status in {401, 403} or code == "API_AccessDenied":
            return self.failure(
                f"refused to give <{name}>: status {status}{f' ({code})' if code else ''}",
                f"does the secret exist in {self._folder}, and may the user view it without"
                " check-out, approval or comment?",
            )
        return self.unexpected(status, code)

    def log_in(self) -> tuple[str, float]:
        """Return a new token, and for how many seconds it is used."""
        username, password = self._user
        form = {"username": username, "password": password, "grant_type": "password"}
        response = self.ask("POST", "/oauth2/token", data=form)
        if response.status_code in {400, 401, 403}:
            raise self.failure(
                f"refused the login: status {response.status_code}",
                "check username and password (special characters as %XX), and that the user"
                " may use web services without a second factor",
            )
        if response.status_code != 200:
            raise self.unexpected(response.status_code)
        grant = self.document(response)
        token, seconds = grant.get("access_token"), grant.get("expires_in")
        if not isinstance(token, str) or not token.isascii():
            raise self.garbled()
        lifetime = min(seconds, _LONGEST) if isinstance(seconds, int | float) else _EARLY
        return token, max(lifetime - _EARLY, lifetime / 2)
