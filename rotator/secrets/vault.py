"""
HashiCorp Vault: logs in and reads KV.

The URL is `hashivault://host:8200/secret/data/maverics?token=...`.

Schemes: `hashivault`, `hashivaults` and `hashivault+https` are HTTPS, `hashivault+http` is plain
HTTP. Older documentation of the Orchestrator has `hashivault` as plain HTTP; rotator does not send
a token in clear unless the URL says so, and names the other scheme when the server speaks no TLS.

The path is the one of Vault's HTTP API without `/v1`: for a KV version 2 engine it holds `data/`.

Log in with `token`, with `role_id` and `secret_id` (AppRole), or with `client_cert` and
`client_key` (the cert method; `client_cert_file` and `client_key_file` are accepted too); without
any of them with the variable VAULT_TOKEN. `namespace` (or VAULT_NAMESPACE) chooses a namespace,
`ca_cert` (or VAULT_CACERT) is a file with more CAs.

`<name>` is a key in the entry at the path. A name with dots is that key as it stands, else, as the
documentation describes it, what stands before the first dot is the entry (the one at the path, or
one below it) and the rest the key in it. Each entry is read once.
"""

import os
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import hvac
import requests
from hvac.adapters import RawAdapter

from rotator.errors import SourceError
from rotator.secrets.http import HttpProvider, is_busy, library_session
from rotator.secrets.provider import ProviderUrl, silence_loggers, text_of
from rotator.tls import trusting

_CERT = ("client_cert", "client_cert_file")
_KEY = ("client_key", "client_key_file")
_CA = ("ca_cert", "ca_cert_file", "caFile")
_PARAMETERS = ("token", "role_id", "secret_id", *_CERT, *_KEY, *_CA, "namespace")
_NOT_INITIALIZED, _SEALED = 501, 503

silence_loggers("hvac")


class DeniedError(SourceError):
    """Denied entry: may not be read, or does not exist; a vault does not tell."""


class Vault(HttpProvider):
    """
    Vault: reads the entry at the path of its URL, and those below it, each once.

    Raises:
        SecretError: The URL lacks the path or a way to log in, or a certificate cannot be used.
    """

    title: ClassVar[str] = "the vault"
    trust: ClassVar[str] = (
        "give its CA with ca_cert=/path/ca.pem in the provider's URL, or to the system"
    )
    plain: ClassVar[str] = (
        "if it speaks plain HTTP on purpose, write hashivault+http:// in the provider's URL"
    )

    def __init__(self, text: str) -> None:
        url = ProviderUrl(text, _PARAMETERS)
        self._path = "/".join(url.segments).removeprefix("v1/")
        if not self._path:
            raise url.refusal("needs a path", "for example /secret/data/maverics after the host")
        cert = url.get(*_CERT)
        context = trusting(
            ca_file=url.get(*_CA) or os.environ.get("VAULT_CACERT"),
            cert_file=cert,
            key_file=url.get(*_KEY),
        )
        token, self._login = _credentials(url, cert)
        self._client = hvac.Client(
            url=f"{'http' if url.scheme.endswith('+http') else 'https'}://{url.place}",
            token=token,
            verify=True,  # else hvac takes VAULT_CACERT for all there is to trust
            session=library_session(
                context, lambda response: is_busy(response) and not _is_sealed(response)
            ),
            namespace=url.get("namespace") or os.environ.get("VAULT_NAMESPACE"),
            adapter=RawAdapter,
        )
        super().__init__(url.place, self._client.session)
        self._entries: dict[str, Mapping[str, Any] | None] = {}

    def get(self, name: str) -> str:
        """
        Return the secret called *name*.

        Raises:
            SecretError: No entry has such a key, or its value is not text.
            SourceError: The vault could not be reached, refused to answer, or is sealed.
        """
        denied: DeniedError | None = None
        looked: list[str] = []
        for path, key in self._candidates(name):
            try:
                entry = self._entry(path)
            except DeniedError as error:
                denied = denied or error
                looked.append(f"the entry {path} (no right to read it)")
                continue
            if entry is not None and key in entry:
                return text_of(name, entry[key], self.source, "store the value as a string there")
            looked.append(f"the key {key} in {path}{'' if entry else ' (no such entry)'}")
        if denied is not None and not self._still_reads():
            # a policy forbids what it does not name: with an entry at hand this means little
            raise SourceError(str(denied), hint=denied.hint) from None
        raise self.unknown(
            name, f"looked for {', then '.join(looked)}{_versioned_hint(self._path)}"
        )

    def _still_reads(self) -> bool:
        """Return whether an entry that was read before can be read now: a token may have ended."""
        known = next((path for path, entry in self._entries.items() if entry), None)
        return known is not None and self._read(known).status_code != 403

    def _candidates(self, name: str) -> list[tuple[str, str]]:
        """Return the entries and keys that *name* can mean, likeliest first."""
        found = [(self._path, name)]
        entry, dot, key = name.partition(".")
        if dot and entry and key:
            if self._path.rpartition("/")[2] == entry:
                found.append((self._path, key))
            found.append((f"{self._path}/{entry}", key))
        return found

    def _entry(self, path: str) -> Mapping[str, Any] | None:
        """
        Return the keys of one entry; None if there is none.

        Raises:
            DeniedError: The token does not open this path.
            SourceError: Something else is in the way.
        """
        if path not in self._entries:
            response = self._read(path)
            if response.status_code == 403 and self._login is not None:
                self._client.token = ""  # the token may have expired: log in again, once
                response = self._read(path)
            if response.status_code == 403:
                raise DeniedError(
                    f"{self.source} does not allow reading {path}",
                    hint="has the token expired, or does its policy lack read on"
                    f" {path}?{_versioned_hint(path)}",
                )
            self._entries[path] = self._keys(response)
        return self._entries[path]

    def _read(self, path: str) -> requests.Response:
        """Return the answer to a read, after a login if there is no token yet."""
        if not self._client.token:
            self._log_in()
        return self.ask("get", quote(path))

    def _log_in(self) -> None:
        """Get a token."""
        assert self._login is not None  # noqa: S101 - a client without it has a token
        path, credentials = self._login
        response = self.ask("post", path, json=credentials)
        if response.status_code in {400, 401, 403}:
            raise self.failure(
                f"refused the login: status {response.status_code}",
                "is the login method enabled, does the role exist, and is its secret or certificate"
                " right and not expired?",
            )
        try:
            token = self._content(response)["auth"]["client_token"]
        except (KeyError, TypeError):
            raise self.garbled() from None
        if not _may_be_token(token):
            raise self.garbled()
        self._client.token = token

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request by the vendor's library."""
        answer: requests.Response = self._client.adapter.request(
            method, f"/v1/{path}", raise_exception=False, **options
        )
        return answer

    def _keys(self, response: requests.Response) -> Mapping[str, Any] | None:
        """Return the keys in an answer; KV version 2 has them one level deeper than version 1."""
        if response.status_code in {404, 405}:  # 405: an engine asked at its root
            return None
        found = self._content(response).get("data")
        if isinstance(found, dict) and isinstance(found.get("metadata"), dict) and "data" in found:
            found = {} if found["data"] is None else found["data"]
        if not isinstance(found, dict):
            raise self.garbled()
        return found

    def _content(self, response: requests.Response) -> Mapping[str, Any]:
        """Return the JSON object of a good answer; of another nothing is shown but its status."""
        if response.status_code == 200:
            return self.document(response)
        if _is_sealed(response):
            raise self.failure("is sealed", "unseal it: vault operator unseal")
        if response.status_code == _NOT_INITIALIZED:
            raise self.failure("is not initialized", "is it the right one? vault status")
        if response.status_code == 400 and b"HTTPS server" in response.content:
            raise self.failure("speaks TLS only", "write hashivault:// in the provider's URL")
        raise self.unexpected(response.status_code)


def _credentials(
    url: ProviderUrl, cert: str | None
) -> tuple[str, tuple[str, dict[str, str]] | None]:
    """Return a token, or an empty one with the API path of a login and what to send there."""
    token = url.get("token")
    role = url.pair("role_id", "secret_id")
    if token and role:
        raise url.refusal("has two ways to log in", "give token, or role_id and secret_id")
    if role:
        return "", ("auth/approle/login", {"role_id": role[0], "secret_id": role[1]})
    if cert and not token:
        return "", ("auth/cert/login", {})
    token = token or os.environ.get("VAULT_TOKEN", "")
    if not token:
        raise url.refusal(
            "has no way to log in",
            "add token=, or role_id= and secret_id=, or client_cert= and client_key=,"
            " or set VAULT_TOKEN",
        )
    if not _may_be_token(token):
        raise url.refusal("has an invalid token", "a token is printable ASCII")
    return token, None


def _may_be_token(token: object) -> bool:
    """Return whether it can stand in a header."""
    return isinstance(token, str) and token.isascii() and token.isprintable() and token != ""


def _versioned_hint(path: str) -> str:
    """Return what to add to a hint when *path* may lack what KV version 2 wants in it."""
    if "data" in path.split("/"):
        return ""
    return "; the path of a KV version 2 engine has data/ after the engine: secret/data/maverics"


def _is_sealed(response: requests.Response) -> bool:
    """Return whether a vault says that it is sealed, which no waiting changes."""
    return response.status_code == _SEALED and b"sealed" in response.content.lower()
