"""HashiCorp Vault's HTTP API, as far as reading entries needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import hvac
import requests

from rotator.errors import SourceError
from rotator.secrets.http import Remote, hush, patiently

hush("hvac", "urllib3", "requests")

_NOT_INITIALIZED, _SEALED = 501, 503


class DeniedError(SourceError):
    """An entry may not be read, or does not exist: a vault does not tell."""


class VaultApi(Remote):
    """
    Reads each entry once.

    *login* is the API path of a login and what to send there; without it the client has its token.
    """

    title: ClassVar[str] = "the vault"
    trust: ClassVar[str] = (
        "give its CA with ca_cert=/path/ca.pem in the provider's URL, or to the system"
    )
    plain: ClassVar[str] = (
        "if it is meant to speak plain HTTP, write hashivault+http:// in the provider's URL"
    )

    def __init__(
        self, client: hvac.Client, place: str, login: tuple[str, dict[str, str]] | None
    ) -> None:
        super().__init__(place)
        self._client = client
        self._login_to = login
        self._entries: dict[str, Mapping[str, Any] | None] = {}

    def entry(self, path: str) -> Mapping[str, Any] | None:
        """
        The keys of one entry; None if there is none.

        Raises:
            DeniedError: The token does not open this path.
            SourceError: Something else is in the way.
        """
        if path not in self._entries:
            response = self._read(path)
            if response.status_code == 403 and self._login_to is not None:
                self._client.token = ""  # the token may have expired: log in again, once
                response = self._read(path)
            if response.status_code == 403:
                raise DeniedError(
                    f"{self.source} refused to let {path} be read", hint=_rights(path)
                )
            self._entries[path] = self._keys(response)
        return self._entries[path]

    def _read(self, path: str) -> requests.Response:
        """The answer to a read, after a login if there is no token yet."""
        if not self._client.token:
            self._login()
        return self._ask("get", quote(path))

    def _login(self) -> None:
        """Get a token."""
        assert self._login_to is not None  # noqa: S101 - a client without it has a token
        path, credentials = self._login_to
        response = self._ask("post", path, json=credentials)
        if response.status_code in {400, 401, 403}:
            raise SourceError(
                f"{self.source} refused the login: status {response.status_code}",
                hint="is the login method enabled there, and are role and secret or certificate"
                " those of a role that exists, and not expired?",
            )
        try:
            token = self._document(response)["auth"]["client_token"]
        except (KeyError, TypeError):
            raise self.garbled() from None
        self._client.token = str(token)

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """The answer to a request, from a vault that may be busy at first."""

        def once() -> requests.Response:
            answer: requests.Response = self._client.adapter.request(
                method, f"/v1/{path}", raise_exception=False, **options
            )
            return answer

        try:
            return patiently(once, final=_sealed)
        except requests.RequestException as error:
            raise self.unreachable(error) from None

    def _keys(self, response: requests.Response) -> Mapping[str, Any] | None:
        """The keys in an answer; KV version 2 has them one level deeper than version 1."""
        if response.status_code in {404, 405}:  # 405: an engine asked at its root
            return None
        found = self._document(response).get("data")
        if isinstance(found, dict) and isinstance(found.get("metadata"), dict) and "data" in found:
            found = found["data"]
        if found is None:
            return None
        if not isinstance(found, dict):
            raise self.garbled()
        return found

    def _document(self, response: requests.Response) -> Mapping[str, Any]:
        """The JSON object of a good answer; the error for any other."""
        if response.status_code != 200:
            raise self._refusal(response)
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self.garbled() from None
        return found

    def _refusal(self, response: requests.Response) -> SourceError:
        """The error for any other status; nothing of its text is shown."""
        if _sealed(response):
            return SourceError(f"{self.source} is sealed", hint="unseal it: vault operator unseal")
        if response.status_code == _NOT_INITIALIZED:
            return SourceError(
                f"{self.source} is not initialized", hint="is it the right one? vault status"
            )
        if response.status_code == 400 and b"HTTPS server" in response.content:
            return SourceError(
                f"{self.source} speaks TLS only", hint="write hashivault:// in the provider's URL"
            )
        return self.unexpected(response.status_code)


def versioned_hint(path: str) -> str:
    """What to add to a hint when *path* may lack what KV version 2 wants in it."""
    if "data" in path.split("/"):
        return ""
    return "; the path of a KV version 2 engine has data/ after the engine: secret/data/maverics"


def _rights(path: str) -> str:
    """The hint for an entry that may not be read."""
    return f"has the token expired, or does its policy lack read on {path}?{versioned_hint(path)}"


def _sealed(response: requests.Response) -> bool:
    """Whether a vault says that it is sealed, which no waiting changes."""
    return response.status_code == _SEALED and b"sealed" in response.content.lower()
